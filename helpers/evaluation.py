"""What the bound is worth, notebook 08: binarised digits, importance weights, exact likelihoods.

Everything is about binary images x (n, 784), pixels 0 or 1, for which p(x) is a probability.
"""

from helpers.argument_checks import (
    PIXELS,
    check_clouds,
    check_images,
    check_numbers,
    check_real,
    check_whole,
)
from helpers.beta import draw_weights
from helpers.data import load_mnist, scale
from helpers.decoder import build_decoder, check_logits
from helpers.encoder import build_encoder
from helpers.loss import as_tensor
from helpers.published import PublishedSampling
from helpers.sampling import Sampling, add_sampling
from helpers.training import VAE, compile_with_adam

from math import log, tau
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, ops
from scipy.special import logsumexp, softmax
from scipy.stats import norm

PIECE = 4_000_000  # numbers of one intermediate array, to bound memory


def binarise(x: np.ndarray, rng: np.random.Generator | int) -> np.ndarray:
    """Draw each pixel of images x (n, 784), ink with its grey level as probability.

    Returns (n, 784) bytes, 0 or 255. Binary images come back as they are. A seed in place
    of a generator gives the same pixels every time.

    Raises:
        TypeError, ValueError: images that are none (see `check_images`).
    """
    x = check_images(x)
    if not isinstance(rng, np.random.Generator):
        rng = np.random.default_rng(check_whole("rng", rng, 0))
    threshold = rng.random(x.shape, "float32")
    return np.where(threshold * (255 if x.dtype == np.uint8 else 1) < x, np.uint8(255), np.uint8(0))


def check_binary(x: np.ndarray) -> np.ndarray:
    """Return `x` as (n, 784) float32 if its pixels are ink or paper, else raise ValueError."""
    x = scale(x)
    if not ((x == 0) | (x == 1)).all():
        raise ValueError("x: expected binary images (see binarise), got grey levels")
    return x


class Binarised:
    """What makes a VAE train on images that are binarised anew each time they are shown."""

    def shown(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Binary images."""
        return binarise(x, rng)


@keras.saving.register_keras_serializable("vae_course")
class BinaryVAE(Binarised, VAE):
    """A VAE that trains on digits binarised anew each time they are shown.

    This is dynamic binarisation (Burda, Grosse and Salakhutdinov 2015, arXiv 1509.00519);
    images that are binary already stay as they are.
    """


class BinarySetting(NamedTuple):
    """What `train_binary` trains."""

    seed: int = 1
    epochs: int = 20
    published: bool = False  # the source's sampling and beta, in place of the course's
    images: int = 55_000


def build_binary_vae(seed: int | None = None, published: bool = False) -> BinaryVAE:
    """The course's model, or the source's, for binarised digits."""
    layer, beta = (PublishedSampling, 2.0) if published else (Sampling, 1.0)
    encoder = add_sampling(build_encoder(), layer(seed=seed, name="z"))
    return compile_with_adam(BinaryVAE(encoder, build_decoder(), beta), seed=seed)


def train_binary(setting: BinarySetting) -> list[np.ndarray]:
    """Train a model as `setting` says; returns the weights for `build_binary_vae`.

    Raises:
        ValueError: a value that its name cannot have.
    """
    x = load_mnist().x_train
    x = x[: check_whole("images", setting.images, 1, len(x))]
    vae = draw_weights(build_binary_vae(setting.seed, setting.published), setting.seed)
    vae.fit(x, epochs=setting.epochs, seed=setting.seed, verbose=0)
    return vae.get_weights()


def log_joint(decoder: keras.Model, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """log p(x_i, z_j) of each image with each code: x (n, 784), z (m, latent_dim) -> (n, m).

    Nats, float32; log p(x given z) + log p(z) with Bernoulli pixels and the prior N(0, I).

    Raises:
        TypeError, ValueError: grey levels, or codes that `decoder` does not take.
    """
    z = check_numbers(z, "z", "m", decoder.inputs[0].shape[-1])
    return _log_joint(decoder, check_binary(x), z)


def _log_joint(decoder: keras.Model, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    logits = check_logits(decoder(z.astype("float32")))
    of_paper = ops.sum(ops.softplus(logits), axis=1)  # softplus is log(1 + exp(logits))
    of_z = norm.logpdf(z).sum(axis=1) - ops.convert_to_numpy(of_paper)
    return x @ logits.T + of_z.astype("float32")


def plane_grid(half_width: float = 6.0, step: float = 0.05) -> np.ndarray:
    """The multiples (m,) of `step` from -half_width to half_width: a side of a square grid.

    Raises:
        ValueError: unless 0 < step <= half_width.
    """
    half_width, step = check_real(half_width, "half_width"), check_real(step, "step", above=True)
    if step > half_width:
        raise ValueError(f"step: expected at most half_width, {half_width!r}, got {step!r}")
    count = int(min(half_width / step + 1e-9, 1e9))
    check_whole("half_width, step: their ratio", count, 1, 2_000)
    return step * np.arange(-count, count + 1)


def exact_log_likelihood(
    decoder: keras.Model, x: np.ndarray, half_width: float = 6.0, step: float = 0.05
) -> np.ndarray:
    """log p(x) of binary images x (n, 784) by quadrature over the latent plane: (n,) nats.

    The sum of p(x, z) step^2 over the points of `plane_grid`: the trapezoidal rule, where
    p(x, z) is nothing at the edge. What lies beyond the edge is left out; a wider plane and
    a finer step show what that, and the step, changes.

    Raises:
        ValueError: grey levels, other than two latent dimensions, or a bad grid.
    """
    x, axis = check_binary(x), plane_grid(half_width, step)
    if (width := decoder.inputs[0].shape[-1]) != 2:
        raise ValueError(f"decoder: expected two latent dimensions, got {width}")
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    total = np.full(len(x), -np.inf)
    for part in np.array_split(points, -(-len(points) * max(len(x), PIXELS) // PIECE)):
        joint = _log_joint(decoder, x, part)
        highest = joint.max(axis=1)
        summed = np.exp(joint - highest[:, None]).sum(axis=1, dtype="float64")
        total = np.logaddexp(total, highest + np.log(summed))
    return total + 2 * np.log(float(step))


def log_weights(vae: VAE, x: np.ndarray, k: int, seed: int) -> np.ndarray:
    """log p(x, z) - log q(z given x) for k draws z from q: binary x (n, 784) -> (n, k) nats.

    Their mean over the draws estimates the ELBO; see `importance_bound`.

    Raises:
        ValueError: grey levels, or k below 1.
    """
    x, rng = check_binary(x), np.random.default_rng(check_whole("seed", seed, 0))
    k = check_whole("k", k, 1)
    z_mean, z_log_var = (np.asarray(part, "float32") for part in vae.encoder(x)[:2])
    weights = np.empty((len(x), k), "float32")
    for i in range(len(x)):
        epsilon = rng.standard_normal((k, z_mean.shape[1]), "float32")
        z = z_mean[i] + np.exp(z_log_var[i] / 2) * epsilon
        log_q = (norm.logpdf(epsilon) - z_log_var[i] / 2).sum(axis=1)
        weights[i] = _log_joint(vae.decoder, x[i : i + 1], z)[0] - log_q
    return weights


def importance_bound(log_weights: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The importance-weighted bound L_k on log p(x), and its standard error: (n,) nats each.

    L_k is the expected log of the mean of k weights (Burda, Grosse and Salakhutdinov 2015,
    arXiv 1509.00519, equation 8). The draws (n, draws) are cut into groups of k, and the
    groups' values averaged; k 1 gives the ELBO. The error is that of the draws: from the
    spread of the groups, or by the delta method where there is one group alone; a single
    draw has no spread, and its error is NaN.

    Raises:
        ValueError: fewer than k draws.
    """
    log_weights = check_numbers(log_weights, "log_weights", "n", "draws")
    n, draws = log_weights.shape
    k = check_whole("k", k, 1, draws)
    groups = log_weights[:, : draws // k * k].reshape(n, -1, k).astype("float64")
    values = logsumexp(groups, axis=2) - np.log(k)
    if values.shape[1] > 1:
        error = values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
    else:
        error = np.sqrt(np.sum((softmax(groups[:, 0], axis=1) - 1 / k) ** 2, axis=1))
        error = error if k > 1 else np.full(n, np.nan)
    return values.mean(axis=1), error


def check_on_plane(
    joint: np.ndarray, axis: np.ndarray, z_mean: np.ndarray, z_log_var: np.ndarray
) -> None:
    """Raise what `gaussian_elbo` raises."""
    axis = check_numbers(axis, "axis", "m")
    step = np.diff(axis).max(initial=0)
    if np.diff(axis).min(initial=np.inf) < 0.99 * step or not step > 0:
        raise ValueError("axis: expected numbers that grow in even steps")
    means, log_vars = check_clouds(z_mean, z_log_var, 2)
    check_numbers(joint, "joint", len(means), len(axis), len(axis))
    widths = np.exp(log_vars / 2)
    inside = axis[0] <= (means - 2 * widths).min() and (means + 2 * widths).max() <= axis[-1]
    if not inside or widths.min() < 0.99 * step:
        held = f"between {axis[0]} and {axis[-1]}, deviations of at least {step}"
        raise ValueError(f"z_mean, z_log_var: expected clouds that the plane can hold, {held}")


def gaussian_elbo(
    joint: np.ndarray, axis: np.ndarray, z_mean: KerasTensor, z_log_var: KerasTensor
) -> KerasTensor:
    """The ELBO (n,) with q = N(z_mean, exp(z_log_var)), (n, 2) each, by the sum over a plane.

    `joint` (n, m, m) is log p(x, z) on the plane axis x axis.

    Raises:
        TypeError, ValueError: arrays of other shapes, or, outside of a compiled function, a q
            that the grid cannot hold: narrower than its step, or reaching beyond it.
    """
    if tf.executing_eagerly():
        check_on_plane(joint, axis, z_mean, z_log_var)
    joint, axis = as_tensor(joint, "joint"), as_tensor(axis, "axis")
    z_mean, z_log_var = as_tensor(z_mean, "z_mean"), as_tensor(z_log_var, "z_log_var")
    distance = (axis[:, None] - z_mean[:, None]) / ops.exp(z_log_var / 2)[:, None]
    density = ops.softmax(-0.5 * distance**2, axis=1)  # (n, m, 2), sums to 1 on the grid
    expected = ops.einsum("nij,ni,nj->n", joint, density[:, :, 1], density[:, :, 0])
    return expected + ops.sum(0.5 * (log(tau) + 1 + z_log_var), axis=1)


def fit_gaussians(
    joint: np.ndarray, axis: np.ndarray, z_mean: np.ndarray, z_log_var: np.ndarray, steps: int = 300
) -> tuple[np.ndarray, np.ndarray]:
    """Adjust each image's own z_mean and z_log_var (n, 2) to the highest `gaussian_elbo`.

    Gradient ascent from the values given; returns the adjusted pair.

    Raises:
        TypeError, ValueError: as `gaussian_elbo`, or `steps` below 1.
    """
    check_on_plane(joint, axis, z_mean, z_log_var)
    check_whole("steps", steps, 1)
    pair = [keras.Variable(as_tensor(value, "z_mean")) for value in (z_mean, z_log_var)]
    joint, axis = as_tensor(joint, "joint"), as_tensor(axis, "axis")
    adam = keras.optimizers.Adam(0.02)
    adam.build(pair)

    @tf.function(autograph=False)
    def ascend() -> None:
        with tf.GradientTape() as tape:
            loss = -ops.sum(gaussian_elbo(joint, axis, *pair))
        adam.apply(tape.gradient(loss, [v.value for v in pair]), pair)

    for _ in range(steps):
        ascend()
    return tuple(ops.convert_to_numpy(variable) for variable in pair)
