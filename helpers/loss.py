"""The two terms of the loss, notebook 04. Everything is in nats an image."""

from helpers.argument_checks import as_array, check_clouds, check_numbers

import tensorflow as tf
from keras import KerasTensor, ops


def as_tensor(value: KerasTensor, name: str) -> KerasTensor:
    """Return `value` as a float32 tensor; a tensor keeps its gradient."""
    value = value if tf.is_tensor(value) else as_array(value, name).astype("float32")
    return ops.convert_to_tensor(value, "float32")


def as_clouds(z_mean: KerasTensor, z_log_var: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    """Return both as float32 tensors; outside of a compiled function `check_clouds` sees them."""
    if tf.executing_eagerly():
        check_clouds(z_mean, z_log_var)
    z_mean, z_log_var = as_tensor(z_mean, "z_mean"), as_tensor(z_log_var, "z_log_var")
    _check_same_shape(z_mean=z_mean, z_log_var=z_log_var)
    return z_mean, z_log_var


def _check_same_shape(**tensors: KerasTensor) -> None:
    (first, a), (second, b) = tensors.items()
    if len(a.shape) != 2 or tuple(a.shape) != tuple(b.shape):
        raise ValueError(
            f"{first}, {second}: expected two arrays of one shape (n, width), "
            f"got {tuple(a.shape)} and {tuple(b.shape)}"
        )


def reconstruction_loss(x: KerasTensor, logits: KerasTensor) -> KerasTensor:
    """-log p(x given z) for independent Bernoulli pixels, summed over the pixels.

    With p = sigmoid(logits) a pixel costs -x log p - (1 - x) log(1 - p), which equals
    softplus(logits) - x * logits: no logarithm of a rounded 0 can occur. `x` (n, 784) in
    [0, 1] and `logits` (n, 784) give (n,) nats. On grey levels it is the mean loss of
    images binarised at random (notebook 04), not the log of a normalised density
    (Loaiza-Ganem and Cunningham 2019, arXiv 1907.06845).

    Raises:
        TypeError, ValueError: the two shapes differ; outside of a compiled function also
            bytes (see `scale`), pixels beyond [0, 1], or values that are not finite.
    """
    if getattr(x, "dtype", None) == "uint8":
        raise ValueError("x: expected floats in [0, 1] (see scale), got uint8")
    if tf.executing_eagerly():  # a compiled function has no values yet
        pixels = check_numbers(x, "x", "n", "width")
        check_numbers(logits, "logits", "n", "width")
        if not 0 <= pixels.min() <= pixels.max() <= 1:
            raise ValueError(f"x: expected 0 to 1, got {pixels.min()} to {pixels.max()}")
    x, logits = as_tensor(x, "x"), as_tensor(logits, "logits")
    _check_same_shape(x=x, logits=logits)
    return ops.sum(ops.softplus(logits) - x * logits, axis=-1)


def kl_divergence(z_mean: KerasTensor, z_log_var: KerasTensor) -> KerasTensor:
    """KL(N(z_mean, exp(z_log_var)) || N(0, I)), summed over the latent dimensions.

    (Kingma and Welling 2013, arXiv 1312.6114, appendix B.) Two arrays (n, latent_dim)
    give (n,) nats.

    Raises:
        TypeError, ValueError: the two shapes differ; outside of a compiled function also
            what `check_clouds` refuses.
    """
    z_mean, z_log_var = as_clouds(z_mean, z_log_var)
    return 0.5 * ops.sum(ops.exp(z_log_var) + ops.square(z_mean) - 1 - z_log_var, axis=-1)
