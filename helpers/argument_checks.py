"""Checks of arguments: each returns what a helper goes on with, or names the bad argument.

Everything that takes images follows one rule: bytes (uint8) count grey levels from 0 to
255, floats are grey levels in [0, 1].
"""

from numbers import Real

import numpy as np

PIXELS = 28 * 28
LIMIT = 1e15  # of a number; float32 holds its square, and sums and multiples of that
LOG_VAR_LIMIT = 80  # float32 holds exp of this, and sums and multiples of it


def check_whole(name: str, value: int, low: int, high: int | None = None) -> int:
    """Return `value` if it is a whole number from `low` to `high`, else raise ValueError."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        limits = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name}: expected a whole number {limits}, got {value!r}")
    return int(value)  # small NumPy integers overflow


def check_real(value: float, name: str, above: bool = False) -> float:
    """Return `value` as a float if it is a number from 0 to `LIMIT`, and `above` 0 if so asked.

    Raises:
        ValueError: it is something else.
    """
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else -1.0
    except OverflowError:
        number = float("inf")
    if not 0 <= number <= LIMIT or (above and not number):
        wanted = "a number above 0" if above else "a finite number of at least 0"
        raise ValueError(f"{name}: expected {wanted} and at most {LIMIT:.0e}, got {value!r}")
    return number


def as_array(value: object, name: str) -> np.ndarray:
    """Return `value` as an array in the byte order of this machine, else raise ValueError."""
    try:
        array = np.asarray(value)
        if np.ma.is_masked(value):
            raise TypeError("the values under a mask are none")
        long = array.dtype == np.longdouble  # TensorFlow has no such thing
        return array.astype("float64" if long else array.dtype.newbyteorder("="), copy=False)
    except (ValueError, TypeError, NotImplementedError) as error:
        kind = type(value).__name__
        raise ValueError(f"{name}: expected an array, got a {kind} that makes none") from error


def check_numbers(value: np.ndarray, name: str, *shape: int | str) -> np.ndarray:
    """Return `value` as an array of finite numbers up to `LIMIT`; a name in `shape` is any length.

    Less than float32, half floats and whole numbers, becomes floats: sums do not overflow.

    Raises:
        TypeError, ValueError: `value` is something else; the message says what.
    """
    array = as_array(value, name)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected numbers, got dtype {array.dtype}")
    wanted = [n if isinstance(k, str) else k for k, n in zip(shape, array.shape, strict=False)]
    if array.ndim != len(shape) or array.shape != tuple(wanted) or not array.size:
        expected = ", ".join(map(str, shape))
        raise ValueError(f"{name}: expected shape ({expected}) with values, got {array.shape}")
    array = array.astype(np.result_type(array, "float32"), copy=False)
    if not -LIMIT <= array.min() <= array.max() <= LIMIT:  # false for NaN too
        limits = f"finite values up to {LIMIT:.0e}"
        raise ValueError(f"{name}: expected {limits}, got {array.min()} to {array.max()}")
    return array


def check_clouds(
    z_mean: np.ndarray, z_log_var: np.ndarray, width: int | str = "latent_dim"
) -> tuple[np.ndarray, np.ndarray]:
    """Return what an encoder says of n images: means and log variances, float64 (n, width) each.

    Raises:
        TypeError, ValueError: as `check_numbers`, the shapes differ, or a log variance is
            above `LOG_VAR_LIMIT`.
    """
    z_mean = check_numbers(z_mean, "z_mean", "n", width)
    z_log_var = check_numbers(z_log_var, "z_log_var", *z_mean.shape)
    if z_log_var.max() > LOG_VAR_LIMIT:
        limit = f"{LOG_VAR_LIMIT}, whose exp float32 holds"
        raise ValueError(f"z_log_var: expected values up to {limit}, got {z_log_var.max()}")
    return z_mean.astype("float64"), z_log_var.astype("float64")


def check_labels(y: np.ndarray, n: int, name: str = "y") -> np.ndarray:
    """Return `y` as (n,) bytes if it holds n whole digits from 0 to 9, else raise ValueError."""
    y = as_array(y, name)
    if y.shape != (n,) or y.dtype.kind not in "fiu" or not np.isin(y, range(10)).all():
        raise ValueError(
            f"{name}: expected {n} digits from 0 to 9, got {y.dtype} of shape {y.shape}"
        )
    return y.astype("uint8")


def check_images(x: np.ndarray, name: str = "x") -> np.ndarray:
    """Return `x` as an (n, 784) array of bytes or of floats in [0, 1], n at least 1.

    Raises:
        TypeError, ValueError: `x` is something else; the message says what.
    """
    x = as_array(x, name)
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise TypeError(f"{name}: expected uint8 or float images, got dtype {x.dtype}")
    if x.ndim != 2 or x.shape[1] != PIXELS or not len(x):
        raise ValueError(f"{name}: expected shape (n, {PIXELS}) with n at least 1, got {x.shape}")
    low, high = x.min(), x.max()
    if x.dtype == np.uint8 and high == 1:
        raise ValueError(
            f"{name}: expected bytes that count from 0 to 255, got only 0 and 1; "
            "multiply them by 255, or make them floats"
        )
    if x.dtype != np.uint8 and not 0 <= low <= high <= 1:  # false for NaN too
        raise ValueError(f"{name}: expected pixels in [0, 1], got {low} to {high}")
    return x
