"""MNIST as it ships with the course: read, verified, split, scaled.

Images are kept as the bytes they are, a quarter of the memory of floats. Everything that
takes images follows one rule: bytes (uint8) count grey levels from 0 to 255, floats are
grey levels in [0, 1].
"""

import hashlib
from numbers import Real
from pathlib import Path
from typing import NamedTuple

import numpy as np

PIXELS = 28 * 28
LIMIT = 1e15  # of a number; float32 holds its square, and sums and multiples of that
LOG_VAR_LIMIT = 80  # float32 holds exp of this, and sums and multiples of it
MNIST_PATH = Path(__file__).resolve().parent.parent / "data" / "mnist.npz"
MNIST_SHA256 = "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"


class Mnist(NamedTuple):
    """Images as (n, 784) uint8 arrays, labels as (n,) uint8 arrays."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


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


def load_mnist(validation: int = 5_000, path: Path = MNIST_PATH) -> Mnist:
    """Read MNIST (LeCun, Cortes and Burges) from the repository, checksum verified.

    The last `validation` of the 60,000 training images become the validation set;
    with 0 it is empty and the split is the one of the source. The 10,000 test images
    stay apart.

    Raises:
        ValueError: `validation` is not a whole number from 0 to 59,999.
        FileNotFoundError, OSError: the file is missing, or not the published one.
    """
    validation = check_whole("validation", validation, 0, 59_999)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: {path.name} is missing; restore data/ from the repository")
    if hashlib.sha256(path.read_bytes()).hexdigest() != MNIST_SHA256:
        raise OSError(f"path: {path.name} is damaged; restore data/ from the repository")
    with np.load(path, allow_pickle=False) as arrays:
        x, y = arrays["x_train"].reshape(-1, PIXELS), arrays["y_train"]
        x_test, y_test = arrays["x_test"].reshape(-1, PIXELS), arrays["y_test"]
    n = len(x) - validation
    return Mnist(x[:n], y[:n], x[n:], y[n:], x_test, y_test)


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
    if x.dtype != np.uint8:
        low, high = x.min(), x.max()
        if not (low >= 0 and high <= 1):  # false for NaN too
            raise ValueError(f"{name}: expected pixels in [0, 1], got {low} to {high}")
    return x


def scale(x: np.ndarray) -> np.ndarray:
    """Images as float32 in [0, 1]: (n, 784) bytes are divided by 255, floats are kept.

    Raises:
        TypeError, ValueError: as `check_images`.
    """
    x = check_images(x)
    return np.divide(x, 255, dtype="float32") if x.dtype == np.uint8 else np.asarray(x, "float32")
