"""The two terms of the loss, notebook 04. Everything is in nats an image."""

from numbers import Real

from keras import KerasTensor, ops


def check_beta(beta: float, name: str = "beta") -> float:
    """Return `beta` as a float if it is a finite number of at least 0, else raise ValueError."""
    if isinstance(beta, bool) or not isinstance(beta, Real) or not 0 <= beta < float("inf"):
        raise ValueError(f"{name}: expected a finite number of at least 0, got {beta!r}")
    return float(beta)


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
        ValueError: the two shapes differ.
    """
    x, logits = ops.convert_to_tensor(x, "float32"), ops.convert_to_tensor(logits, "float32")
    _check_same_shape(x=x, logits=logits)
    return ops.sum(ops.softplus(logits) - x * logits, axis=-1)


def kl_divergence(z_mean: KerasTensor, z_log_var: KerasTensor) -> KerasTensor:
    """KL(N(z_mean, exp(z_log_var)) || N(0, I)), summed over the latent dimensions.

    (Kingma and Welling 2013, arXiv 1312.6114, appendix B.) Two arrays (n, latent_dim)
    give (n,) nats.

    Raises:
        ValueError: the two shapes differ.
    """
    z_mean = ops.convert_to_tensor(z_mean, "float32")
    z_log_var = ops.convert_to_tensor(z_log_var, "float32")
    _check_same_shape(z_mean=z_mean, z_log_var=z_log_var)
    return 0.5 * ops.sum(ops.exp(z_log_var) + ops.square(z_mean) - 1 - z_log_var, axis=-1)
