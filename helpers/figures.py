"""How the course's figures look and how they reach the page, with a text alternative."""

import shutil
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import matplotlib.pyplot as plt
from IPython.display import display

# Ten colours that stay apart without full colour vision (Paul Tol's "muted" scheme and a
# grey); the digits are told apart by their shape as well.
DIGIT_COLOURS = (
    "#332288 #88CCEE #44AA99 #117733 #999933 #DDCC77 #CC6677 #882255 #AA4499 #555555".split()
)

plt.rcParams.update(
    {
        "figure.figsize": (7, 4),
        "figure.dpi": 100,
        "savefig.dpi": 130,
        "savefig.bbox": "tight",
        "font.size": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "image.cmap": "gray_r",
        "axes.prop_cycle": plt.cycler(
            color=["#332288", "#CC6677", "#117733", "#999933"], linestyle=["-", "--", "-.", ":"]
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
    png = BytesIO()
    plt.savefig(png, format="png")
    plt.close()
    show_png(png.getvalue(), alt)


def show_png(png: bytes, alt: str) -> None:
    """Display the bytes of a PNG with the text alternative `alt`."""
    data = {"image/png": b64encode(png).decode(), "text/plain": alt}
    display(data, raw=True, metadata={"image/png": {"alt": alt}})


def show_model(model: keras.Model, alt: str) -> None:
    """Display Keras's diagram of a model; without Graphviz say so, and go on."""
    if shutil.which("dot") is None:
        print("The diagram needs Graphviz (the program dot), which is not installed here.")
        return
    with TemporaryDirectory() as folder:
        png = Path(folder) / "model.png"
        keras.utils.plot_model(model, png, show_shapes=True, show_layer_names=True, dpi=110)
        show_png(png.read_bytes(), alt)
