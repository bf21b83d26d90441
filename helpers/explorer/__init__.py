"""A latent plane to touch: a widget that decodes in the page itself, without the kernel.

Its page gets the weights of the decoder and the codes of some test digits.
"""

from helpers.argument_checks import as_array, check_images, check_labels, check_numbers
from helpers.data import scale
from helpers.decoder import check_logits
from helpers.figures import DIGIT_COLOURS, as_designed, figure_png, mime_bundle
from helpers.training import VAE
from helpers.visualization import plot_latent, plot_manifold

import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import anywidget
import keras
import matplotlib.pyplot as plt
import numpy as np
import traitlets
from PIL import Image
from scipy.special import expit

FOLDER = Path(__file__).parent
MODULES = ("decoder", "pictures", "plane", "explorer")  # of the page, each after those it imports
DIGITS = 400  # how many test digits lie on the plane
COLUMNS = 20  # of the sheet that holds their pictures
ACTIVATIONS = {  # what decoder.js can compute
    "linear": lambda v: v, "relu": lambda v: np.maximum(v, 0), "sigmoid": expit, "tanh": np.tanh,
}  # fmt: skip
ALT = (
    "A still of the latent explorer of {name}, which shows the picture of any point that is "
    "pointed at: a map of {n} test digits on the latent plane, each drawn as its digit, beside a "
    "grid of 12 by 12 pictures that the decoder makes of the middle of that plane. The middle of "
    "each kind of digit is {middles}."
)


def explore(vae: VAE | Mapping[str, VAE], x_test: np.ndarray, y_test: np.ndarray) -> "Explorer":
    """Show the latent plane of a model, or of several with their names, to be touched.

    The first `DIGITS` of the images x_test (n, 784), bytes or floats in [0, 1], lie on the
    plane at their z_mean, drawn as the digits y_test (n,). Moving over the plane shows what
    the decoder makes of each point.

    Raises:
        TypeError, ValueError: `vae` is no VAE of two latent dimensions whose decoder is a
            chain of Dense layers, or no mapping of names to such; `x_test` is not images;
            `y_test` is not one digit for each.
    """
    models = dict(vae) if isinstance(vae, Mapping) else {"the model": vae}
    if not models:
        raise ValueError("vae: expected at least one model, got an empty mapping")
    for name, model in models.items():
        if not isinstance(model, VAE):
            raise TypeError(f"vae: expected a VAE or names of several, got {model!r} for {name!r}")
        dense_layers(model.decoder)
    x = check_images(x_test, "x_test")
    y = check_labels(y_test, len(x), "y_test")
    return Explorer({str(name): model for name, model in models.items()}, x[:DIGITS], y[:DIGITS])


def dense_layers(decoder: keras.Model) -> list[keras.layers.Dense]:
    """The layers of a decoder from z (n, 2) to logits, in their order.

    Raises:
        ValueError: it is no chain of Dense layers of `ACTIVATIONS`, z has not 2 dimensions, or
            it ends in probabilities.
    """
    layers = [layer for layer in decoder.layers if not isinstance(layer, keras.layers.InputLayer)]
    if len(decoder.inputs) != 1 or decoder.inputs[0].shape[-1] != 2:
        shapes = [tuple(z.shape) for z in decoder.inputs]
        raise ValueError(f"vae: expected a decoder of one z of 2 dimensions, got inputs {shapes}")
    for layer in layers:
        name = getattr(getattr(layer, "activation", None), "__name__", "none")
        if not isinstance(layer, keras.layers.Dense) or name not in ACTIVATIONS:
            raise ValueError(
                f"vae: expected a decoder of Dense layers with activations {', '.join(ACTIVATIONS)}"
                f", got the {type(layer).__name__} {layer.name!r} with activation {name}"
            )
    if len(decoder.inputs) != 1 or decoder.inputs[0].shape[-1] != 2:
        shapes = [tuple(z.shape) for z in decoder.inputs]
        raise ValueError(f"vae: expected a decoder of one z of 2 dimensions, got inputs {shapes}")
    z = values = np.random.default_rng(0).normal(size=(9, 2)).astype("float32")
    for layer in layers:  # as the page will
        kernel, bias = weights_of(layer)
        if values.shape[1] == len(kernel):
            values = ACTIVATIONS[layer.activation.__name__](values @ kernel + bias)
    logits = check_logits(decoder(z))
    if values.shape != logits.shape or not np.allclose(values, logits, 1e-5, 1e-4):
        raise ValueError(
            "vae: expected a decoder that is its Dense layers, one after the other, in float32, "
            "got one that computes something else"
        )
    return layers


def weights_of(layer: keras.layers.Dense) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (inputs, units) and bias (units,) of a layer, zeros if it has none."""
    bias = np.zeros(layer.units) if layer.bias is None else layer.bias
    return np.asarray(layer.kernel), np.asarray(bias)


def floats(*arrays: np.ndarray) -> bytes:
    """The values of arrays, one after the other, as little-endian float32."""
    arrays = [as_array(array, "arrays") for array in arrays]
    arrays = [check_numbers(array, "arrays", *array.shape) for array in arrays]
    return b"".join(array.astype("<f4").tobytes() for array in arrays)


def script() -> str:
    """The modules of the page as one, since a widget brings a single one."""
    texts = [(FOLDER / f"{name}.js").read_text("utf-8") for name in MODULES]
    return re.sub(r'(?m)^import .* from "\./.*\n', "", "\n".join(texts))


class Explorer(anywidget.AnyWidget):
    """What `explore` shows. Only the weights of the chosen model are in the page."""

    _esm, _css = script(), (FOLDER / "explorer.css").read_text("utf-8")
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    chosen = traitlets.Int().tag(sync=True)  # which of the names, set in the page
    loaded = traitlets.Int().tag(sync=True)  # whose weights are in the page
    layers = traitlets.List().tag(sync=True)  # [inputs, units, activation] of each Dense layer
    weights = traitlets.Bytes().tag(sync=True)  # kernel (inputs, units), bias; layer by layer
    codes = traitlets.Bytes().tag(sync=True)  # z_mean, z_log_var: (n, 4)
    labels = traitlets.List(traitlets.Int()).tag(sync=True)
    colours = traitlets.List(traitlets.Unicode(), DIGIT_COLOURS).tag(sync=True)
    sheet = traitlets.Bytes().tag(sync=True)  # a PNG of the digits, COLUMNS in a row

    def __init__(self, models: dict[str, VAE], x: np.ndarray, y: np.ndarray) -> None:
        """Show the first of some models; arguments are checked by `explore`."""
        self.models, self.x = models, x
        super().__init__(names=list(models), labels=y.tolist(), sheet=sheet_of(x))
        self.load()

    @traitlets.observe("chosen")
    def load(self, change: object = None) -> None:
        """Send the chosen model to the page."""
        vae = self.models[self.names[self.chosen]]
        layers = dense_layers(vae.decoder)
        z_mean, z_log_var = vae.encoder.predict(scale(self.x), verbose=0)[:2]
        with self.hold_sync():
            self.layers = [[*map(int, d.kernel.shape), d.activation.__name__] for d in layers]
            self.weights = floats(*(w for layer in layers for w in weights_of(layer)))
            self.codes = floats(np.hstack([check_numbers(z_mean, "z_mean", "n", 2), z_log_var]))
            self.loaded = self.chosen

    @as_designed
    def _repr_mimebundle_(self, **kwargs: object) -> tuple[dict, dict]:
        """The widget of the models as they are now, and a still for where no widget can run."""
        self.load()
        data, metadata = super()._repr_mimebundle_(**kwargs)
        z_mean = np.frombuffer(self.codes, "<f4").reshape(-1, 4)[:, :2]
        labels = np.array(self.labels)
        middles = [(digit, *np.median(z_mean[labels == digit], 0)) for digit in np.unique(labels)]
        name = self.names[self.loaded]
        _, (left, right) = plt.subplots(1, 2, figsize=(11, 5.4))
        plot_latent(left, z_mean, labels, size=24)
        plot_manifold(right, self.models[name].decoder, n=12)
        where = ", ".join(f"{digit} at ({a:z.1f}, {b:z.1f})" for digit, a, b in middles)
        alt = ALT.format(name=name, n=len(labels), middles=where)
        still, its_metadata = mime_bundle(figure_png(), alt)
        return {**data, **still}, {**metadata, **its_metadata}


def sheet_of(x: np.ndarray) -> bytes:
    """A PNG that shows images x (n, 784) in rows of `COLUMNS`, ink white on black."""
    x = np.round(255 * scale(x)).astype("uint8")
    x = np.pad(x, ((0, -len(x) % COLUMNS), (0, 0)))
    sheet = x.reshape(-1, COLUMNS, 28, 28).swapaxes(1, 2).reshape(-1, 28 * COLUMNS)
    png = BytesIO()
    Image.fromarray(sheet).save(png, "png", optimize=True)
    return png.getvalue()
