"""The figure of the whole VAE, with the part marked that a notebook is about."""

from helpers.data import load_mnist
from helpers.figures import as_designed, show

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyBboxPatch

MARK, LINE, ROUND = "#332288", "0.3", {"boxstyle": "round,pad=0,rounding_size=1"}
# Where a row of boxes is, and how high they are.
ROWS = {"top": (38, 6), "mean": (28.25, 5.5), "middle": (24.5, 9), "variance": (20.75, 5.5)}
ROWS["bottom"] = (6.25, 6.5)
# The parts of the whole: text, row, centre, width.
BOXES = {
    "x": ("x\n784 pixels", "middle", 5.5, 11),
    "encoder": ("encoder\n784 → 64", "middle", 23.5, 13),
    "z_mean": ("z_mean\n2 numbers", "mean", 42.5, 13),
    "z_log_var": ("z_log_var\n2 numbers", "variance", 42.5, 13),
    "epsilon": ("ε from N(0, I)", "top", 61.5, 15),
    "sampling": ("sampling\nz_mean + exp(z_log_var / 2) ε", "middle", 66.5, 25),
    "plane": ("the plane of all z\nprior: N(0, I)", "top", 84.5, 17),
    "decoder": ("decoder\n2 → 64 → 784", "middle", 97, 14),
    "reconstruction": ("reconstruction\n784 probabilities", "middle", 117, 16),
    "label": ("label y", "top", 23.5, 13),
    "kl": ("kl_divergence", "bottom", 43, 14),
    "beta": ("× β", "bottom", 57, 6),
    "loss": ("loss", "bottom", 73, 12),
    "reconstruction_loss": ("reconstruction_loss", "bottom", 97, 18),
}
# What leads to its neighbour to the right, the row of the arrow first.
LINKS = {
    "middle": ["x encoder", "sampling decoder", "decoder reconstruction"],
    "mean": ["encoder z_mean", "z_mean sampling"],
    "variance": ["encoder z_log_var", "z_log_var sampling"],
    "bottom": ["kl beta", "beta loss"],
}
# Which of them the notebook of a topic is about, and what to say of it.
PARTS = {
    "autoencoder": ((), "Nothing is marked: this notebook asks what the whole is for."),
    "encoder": (("encoder", "z_mean", "z_log_var"), "Marked: the encoder with its two outputs."),
    "sampling": (("epsilon", "sampling"), "Marked: the sampling of z with its noise."),
    "decoder": (("decoder", "reconstruction"), "Marked: the decoder and its reconstruction."),
    "loss": (("kl", "loss", "reconstruction_loss"), "Marked: the two terms and the loss."),
    "training": (("gradients",), "Marked: the gradients from the loss back to both networks."),
    "visualization": (("plane",), "Marked: the plane of all z."),
    "beta": (("beta",), "Marked: beta, the weight on the KL divergence."),
    "evaluation": (("loss",), "Marked: the loss, a bound whose worth is measured."),
    "deeper": (("encoder", "decoder"), "Marked: encoder and decoder, which become deeper."),
    "conditional": (("label",), "Marked: a label, given to encoder and decoder."),
}
# Which layers the two networks have, where a notebook builds others than 784 → 64 and back.
LAYERS = {
    "deeper": {"encoder": "784 → 512\n→ 256 → 128", "decoder": "2 → 128 → 256\n→ 512 → 784"},
    "conditional": {"encoder": "784 + 10\n→ 64", "decoder": "2 + 10\n→ 64 → 784"},
}


def draw_box(ax: plt.Axes, name: str, text: str, marked: bool) -> None:
    """Draw a part of the whole with a text."""
    _, row, x, width = BOXES[name]
    y, height = ROWS[row]
    face, ink, weight = (MARK, "white", "bold") if marked else ("white", "black", "normal")
    corner = x - width / 2, y - height / 2
    ax.add_patch(FancyBboxPatch(corner, width, height, fc=face, ec="black", zorder=2, **ROUND))
    size = 8.7 if name == "sampling" and marked else 9.5  # bold, it would not fit
    ax.text(x, y, text, color=ink, weight=weight, ha="center", va="center", fontsize=size)


def draw_way(ax: plt.Axes, *points: tuple[float, float], head: str = "-|>", **style) -> None:
    """Draw a line through the points that ends in an arrow's head, or in none."""
    line = {"color": LINE, "linewidth": 1, "linestyle": "-", **style}
    ax.plot(*zip(*points, strict=True), zorder=1, **line)
    if head:
        (x0, y0), (x1, y1) = points[-2:]
        near = x1 - 0.1 * np.sign(x1 - x0), y1 - 0.1 * np.sign(y1 - y0)  # a shaft would fill gaps
        arrow = {"arrowstyle": head, **line, "linestyle": "-", "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", points[-1], near, arrowprops=arrow)


def draw_ways(ax: plt.Axes, gradients: bool, label: bool) -> None:
    """Draw what leads from part to part, the gradients marked if so asked, the label if any."""
    x, row = ({name: box[k] for name, box in BOXES.items()} for k in (2, 1))
    left, right = ({name: x[name] + k * BOXES[name][3] for name in x} for k in (-0.5, 0.5))
    y = {name: middle for name, (middle, _) in ROWS.items()}
    bottom, top = ({n: y[row[n]] + k * ROWS[row[n]][1] for n in x} for k in (-0.5, 0.5))
    frame = (left["z_mean"] - 1.2, bottom["z_log_var"] - 1.3), 15.4, 15.6
    ax.add_patch(FancyBboxPatch(*frame, fc="0.95", ec="0.6", linestyle=":", **ROUND))
    for at, links in LINKS.items():
        for start, end in map(str.split, links):
            draw_way(ax, (right[start], y[at]), (left[end], y[at]))
    draw_way(ax, (x["kl"], frame[0][1]), (x["kl"], top["kl"]))
    draw_way(ax, (x["epsilon"], bottom["epsilon"]), (x["epsilon"], top["sampling"]))
    draw_way(ax, (x["plane"], y["middle"]), (x["plane"], bottom["plane"]), head="")
    price = "reconstruction_loss"
    draw_way(ax, (left[price], y["bottom"]), (right["loss"], y["bottom"]))
    corner = x["reconstruction"], y["bottom"]
    draw_way(ax, (corner[0], bottom["reconstruction"]), corner, (right[price], corner[1]))
    way = (x["x"], bottom["x"]), (x["x"], -0.5), (x[price], -0.5), (x[price], bottom[price])
    draw_way(ax, *way)
    style = {"color": MARK, "linewidth": 2.5} if gradients else {}
    cloud, low, back = frame[0][0] + frame[1], y["middle"] - 3.3, {"linestyle": "--", **style}
    for to, end, out in ((cloud - 3, frame[0][1], -3), (x["decoder"], bottom["decoder"], 3)):
        out += x["loss"]
        draw_way(ax, (out, top["loss"]), (out, 14), (to, 14), (to, end), **back)
    draw_way(ax, (left["decoder"], low), (right["sampling"], low), **back)
    draw_way(ax, (left["sampling"], y["middle"]), (cloud, y["middle"]), **back)
    draw_way(ax, (frame[0][0], y["middle"]), (right["encoder"], y["middle"]), **back)
    if label:
        draw_way(ax, (x["label"], bottom["label"]), (x["label"], top["encoder"]))
        way = (50, y["top"]), (50, 43), (x["decoder"], 43), (x["decoder"], top["decoder"])
        draw_way(ax, (right["label"], y["top"]), *way)


@as_designed
def show_vae(topic: str) -> None:
    """Draw the whole VAE and mark the part that the notebook of `topic` is about.

    Raises:
        ValueError: no notebook has this topic.
    """
    if topic not in PARTS:
        raise ValueError(f"topic: expected one of {', '.join(PARTS)}, got {topic!r}")
    marked, remark = PARTS[topic]
    texts = {name: box[0] for name, box in BOXES.items()}
    texts |= {name: f"{name}\n{layers}" for name, layers in LAYERS.get(topic, {}).items()}
    down, up = (" ".join(texts[name].split()[1:]) for name in ("encoder", "decoder"))
    ax = plt.figure(figsize=(11, 4)).add_axes((0, 0, 1, 1), xlim=(-1, 126), ylim=(-2, 44))
    ax.axis("off")
    draw_ways(ax, "gradients" in marked, topic == "conditional")
    for name in BOXES:
        if name != "label" or topic == "conditional":
            draw_box(ax, name, texts[name], name in marked)
    given = "x, y" if topic == "conditional" else "x"
    ax.text(42.5, 33, f"q(z | {given}), a cloud for x", ha="center", fontsize=9.5)
    ax.text(84.5, 22.6, "z", ha="center", style="italic")
    style = {"color": MARK, "weight": "bold"} if "gradients" in marked else {"color": LINE}
    ax.text(57, 14.9, "gradients", fontsize=9.5, **style)
    digit = ax.inset_axes((0.5, 30.5, 10, 10), transform=ax.transData)
    digit.imshow(load_mnist().x_test[0].reshape(28, 28))
    digit.axis("off")
    show(
        f"The whole VAE. {remark} A picture x of 784 pixels goes through the encoder, {down}, "
        "which gives z_mean and z_log_var, two numbers each: a cloud for x. Sampling draws "
        "noise epsilon from N(0, I) and gives z = z_mean + exp(z_log_var / 2) epsilon, a point of "
        f"the latent plane, whose prior is N(0, I). The decoder, {up}, makes a "
        "reconstruction of z, 784 probabilities. x and the reconstruction give the reconstruction "
        "loss, z_mean and z_log_var the KL divergence; the loss is their sum, the KL weighted by "
        "beta. Its gradients, dashed, go back through the decoder and the sampling, and from the "
        "KL directly, to z_mean and z_log_var, and on to the encoder."
    )
