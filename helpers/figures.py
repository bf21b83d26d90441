"""How the course's figures look and how they reach the page, with a text alternative."""

from helpers.data import load_mnist

import shutil
import struct
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.patches import FancyBboxPatch
from PIL import Image

PIXELS_A_POINT = 2  # pixels of a picture for one of the page: sharp on dense screens
# Dark enough to be read on white (at least 3 to 1) and in greyscale; the digits are told
# apart by their shape, not by these.
DIGIT_COLOURS = (
    "#332288 #2E7FB8 #1B8A6B #117733 #7A7A1A #A87410 #C04A5E #882255 #AA4499 #555555".split()
)

plt.rcParams.update(
    {
        "figure.figsize": (7, 4),
        "figure.dpi": 100,
        "savefig.dpi": 96 * PIXELS_A_POINT,
        "savefig.bbox": "tight",
        "font.size": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "image.cmap": "gray_r",
        "axes.prop_cycle": plt.cycler(
            color=["#332288", "#C04A5E", "#117733", "#2E7FB8"], linestyle=["-", "--", "-.", ":"]
        ),
    }
)


def show(alt: str) -> None:
    """Display the current figure as a PNG whose text alternative is `alt`, and close it.

    Raises:
        ValueError: `alt` is empty, or no figure is open.
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt: expected a sentence that says what is to be seen, got {alt!r}")
    if not plt.get_fignums():
        raise ValueError("show: expected an open figure, got none")
    show_png(figure_png(), alt)


def figure_png() -> bytes:
    """The bytes of a PNG of the current figure, which is closed; 256 colours are enough."""
    drawn, png = BytesIO(), BytesIO()
    plt.savefig(drawn, format="png")
    plt.close()
    Image.open(drawn).convert("RGB").quantize().save(png, "png", optimize=True)
    return png.getvalue()


def show_png(png: bytes, alt: str) -> None:
    """Display the bytes of a PNG with the text alternative `alt`, sharp on dense screens."""
    data = {"image/png": b64encode(png).decode(), "text/plain": alt}
    display(data, raw=True, metadata={"image/png": picture_metadata(png, alt)})


def picture_metadata(png: bytes, alt: str) -> dict:
    """What a page has to know of the bytes of a PNG: the text alternative, the width in CSS px."""
    (width,) = struct.unpack(">I", png[16:20])  # PNG specification, chunk IHDR
    return {"alt": alt, "width": width // PIXELS_A_POINT}


def show_model(model: keras.Model, alt: str) -> None:
    """Display Keras's diagram of a model; without Graphviz say so, and go on."""
    if shutil.which("dot") is None:
        print("The diagram needs Graphviz (the program dot), which is not installed here.")
        return
    with TemporaryDirectory() as folder:
        png = Path(folder) / "model.png"
        dpi = 80 * PIXELS_A_POINT
        keras.utils.plot_model(model, png, show_shapes=True, show_layer_names=True, dpi=dpi)
        show_png(png.read_bytes(), alt)


# The parts of the whole: text, left, bottom, width, height.
BOXES = {
    "x": ("x\n784 pixels", 0, 20, 11, 9),
    "encoder": ("encoder\n784 → 64", 17, 20, 13, 9),
    "z_mean": ("z_mean\n2 numbers", 36, 25.5, 13, 5.5),
    "z_log_var": ("z_log_var\n2 numbers", 36, 18, 13, 5.5),
    "epsilon": ("ε from N(0, I)", 54, 35, 15, 6),
    "sampling": ("sampling\nz_mean + exp(z_log_var / 2) ε", 54, 20, 25, 9),
    "plane": ("the plane of all z\nprior: N(0, I)", 76, 35, 17, 6),
    "decoder": ("decoder\n2 → 64 → 784", 90, 20, 14, 9),
    "reconstruction": ("reconstruction\n784 probabilities", 109, 20, 16, 9),
    "label": ("label y", 17, 35, 13, 6),
    "kl": ("kl_divergence", 36, 3, 14, 6.5),
    "beta": ("× β", 54, 3, 6, 6.5),
    "loss": ("loss", 67, 3, 12, 6.5),
    "reconstruction_loss": ("reconstruction_loss", 88, 3, 18, 6.5),
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


def show_vae(topic: str) -> None:
    """Draw the whole VAE and mark the part that the notebook of `topic` is about.

    Raises:
        ValueError: no notebook has this topic.
    """
    if topic not in PARTS:
        raise ValueError(f"topic: expected one of {', '.join(PARTS)}, got {topic!r}")
    marked, remark = PARTS[topic]
    fig = plt.figure(figsize=(11, 4))
    ax = fig.add_axes((0, 0, 1, 1), xlim=(-1, 126), ylim=(-2, 44))
    ax.axis("off")
    both = {"boxstyle": "round,pad=0,rounding_size=1", "fc": "0.95", "ec": "0.6", "linestyle": ":"}
    ax.add_patch(FancyBboxPatch((34.8, 16.7), 15.4, 15.6, **both))
    ax.text(42.5, 33, "q(z | x), a cloud for x", ha="center", fontsize=9.5)
    for name, (text, left, bottom, width, height) in BOXES.items():
        if name == "label" and topic != "conditional":
            continue
        face, ink = ("#332288", "white") if name in marked else ("white", "black")
        style = {"boxstyle": "round,pad=0,rounding_size=1", "fc": face, "ec": "black"}
        ax.add_patch(FancyBboxPatch((left, bottom), width, height, zorder=2, **style))
        weight = "bold" if name in marked else "normal"
        centre = left + width / 2, bottom + height / 2
        size = 8.7 if name == "sampling" and name in marked else 9.5  # bold, it would not fit
        ax.text(*centre, text, color=ink, weight=weight, ha="center", va="center", fontsize=size)

    def arrow(*points: tuple[float, float], to: str = "", dashed: bool = False) -> None:
        """A line through the points that ends in an arrow's head."""
        colour, width = ("#332288", 2.5) if to in marked and to == "gradients" else ("0.3", 1)
        line = {"color": colour, "linewidth": width, "linestyle": "--" if dashed else "-"}
        ax.plot(*zip(*points[:-1], points[-1], strict=False), zorder=1, **line)
        ax.annotate("", points[-1], points[-2], arrowprops={"arrowstyle": "-|>", **line})

    for start, end in [(11, 17), (79, 90), (104, 109)]:
        arrow((start, 24.5), (end, 24.5))
    for y in (28.25, 20.75):
        arrow((30, y), (36, y))
        arrow((49, y), (54, y))
    arrow((61.5, 35), (61.5, 29))
    ax.plot([84.5, 84.5], [24.5, 35], color="0.3", linewidth=1, zorder=1)
    ax.text(84.5, 22.6, "z", ha="center", style="italic")
    arrow((43, 16.7), (43, 9.5))
    arrow((50, 6.25), (54, 6.25))
    arrow((60, 6.25), (67, 6.25))
    arrow((88, 6.25), (79, 6.25))
    arrow((117, 20), (117, 6.25), (106, 6.25))
    arrow((5.5, 20), (5.5, -0.5), (97, -0.5), (97, 3))
    arrow((70, 9.5), (70, 14), (23.5, 14), (23.5, 20), to="gradients", dashed=True)
    arrow((76, 9.5), (76, 14), (97, 14), (97, 20), to="gradients", dashed=True)
    ax.text(57, 14.9, "gradients", color="#332288" if "gradients" in marked else "0.3",
            weight="bold" if "gradients" in marked else "normal", fontsize=9.5)  # fmt: skip
    if topic == "conditional":
        arrow((23.5, 35), (23.5, 29))
        arrow((30, 38), (50, 38), (50, 43), (97, 43), (97, 29))
    digit = ax.inset_axes((0.5, 30.5, 10, 10), transform=ax.transData)
    digit.imshow(load_mnist().x_test[0].reshape(28, 28))
    digit.axis("off")
    show(
        f"The whole VAE. {remark} A picture x of 784 pixels goes through the encoder's layer of "
        "64, which gives z_mean and z_log_var, two numbers each: a cloud for x. Sampling draws "
        "noise epsilon from N(0, I) and gives z = z_mean + exp(z_log_var / 2) epsilon, a point of "
        "the latent plane, whose prior is N(0, I). The decoder, 2 to 64 to 784, makes a "
        "reconstruction of z, 784 probabilities. x and the reconstruction give the reconstruction "
        "loss, z_mean and z_log_var the KL divergence; the loss is their sum, the KL weighted by "
        "beta, and its gradients train both networks."
    )
