"""How the course's figures look and how they reach the page, with a text alternative."""

import shutil
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import matplotlib.pyplot as plt
from IPython.display import display
from PIL import Image

PIXELS_A_POINT = 2  # pixels of a picture for one of the page: sharp on dense screens
# Dark enough to be read on white (at least 3 to 1) and in greyscale; the digits are told
# apart by their shape, not by these.
DIGIT_COLOURS = (
    "#332288 #2E7FB8 #1B8A6B #117733 #7A7A1A #A87410 #C04A5E #882255 #AA4499 #555555".split()
)

STYLE = {
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
plt.rcParams.update(STYLE)
# Decorates what draws: it draws as designed, and a style that the user has set stays as it is.
as_designed = plt.style.context(["default", STYLE])


def on_paper(ax: plt.Axes) -> None:
    """Give axes the look of the course, whatever style they were made in."""
    font = {"color": "black", "family": "sans-serif", "weight": "normal"}
    ticks = {"colors": "black", "direction": "out", "length": 3.5, "width": 0.8, "pad": 3.5}
    ax.figure.set_facecolor("white")
    ax.set_facecolor("white")
    ax.set_axisbelow("line")
    ax.grid(visible=False)
    ax.tick_params(**ticks, labelsize="medium", labelfontfamily="sans-serif")
    ax.spines[:].set(color="black", linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    for text, size in ((ax.title, "large"), (ax.xaxis.label, "medium"), (ax.yaxis.label, "medium")):
        text.set(**font, size=size)


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


@as_designed
def figure_png() -> bytes:
    """The bytes of a PNG of the current figure, which is closed; 256 colours are enough."""
    drawn, png = BytesIO(), BytesIO()
    plt.savefig(drawn, format="png")
    plt.close()
    Image.open(drawn).convert("RGB").quantize().save(png, "png", optimize=True)
    return png.getvalue()


def show_png(png: bytes, alt: str) -> None:
    """Display the bytes of a PNG with the text alternative `alt`, sharp on dense screens."""
    data, metadata = mime_bundle(png, alt)
    display(data, raw=True, metadata=metadata)


def mime_bundle(png: bytes, alt: str) -> tuple[dict, dict]:
    """What a page shows of a PNG, and has to know: the text alternative, the width in CSS px."""
    width = int.from_bytes(png[16:20]) // PIXELS_A_POINT  # PNG specification, chunk IHDR
    data = {"image/png": b64encode(png).decode(), "text/plain": alt}
    return data, {"image/png": {"alt": alt, "width": width}}


def show_model(model: keras.Model, alt: str) -> None:
    """Display Keras's diagram of a model; without Graphviz, or a PNG of its, say so, and go on."""
    if shutil.which("dot") is None:
        print("The diagram needs Graphviz (the program dot), which is not installed here.")
        return
    with TemporaryDirectory() as folder:
        png = Path(folder) / "model.png"
        dpi = 80 * PIXELS_A_POINT
        try:
            keras.utils.plot_model(model, png, show_shapes=True, show_layer_names=True, dpi=dpi)
        except Exception as error:  # pydot passes on whatever a dot without PNG says
            reason = str(error).strip().split("\n")[-1]
            print(f"The diagram needs a Graphviz that draws PNG; the one here does not: {reason}")
            return
        show_png(png.read_bytes(), alt)
