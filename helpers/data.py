"""MNIST as it ships with the course: read, verified, split, scaled.

Images are kept as the bytes they are, a quarter of the memory of floats. Everything that
takes images follows one rule: bytes (uint8) count grey levels from 0 to 255, floats are
grey levels in [0, 1].
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

PIXELS = 28 * 28
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
    return int(value)


def load_mnist(validation: int = 5_000, path: Path = MNIST_PATH) -> Mnist:
    """Read MNIST (LeCun, Cortes and Burges) from the repository, checksum verified.

    The last `validation` of the 60,000 training images become the validation set;
    with 0 it is empty and the split is the one of the source. The 10,000 test images
    stay apart.

    Raises:
        ValueError: `validation` is not a whole number from 0 to 59,999.
        FileNotFoundError, OSError: the file is missing, or not the published one.
    """
    check_whole("validation", validation, 0, 59_999)
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


def check_images(x: np.ndarray, name: str = "x") -> np.ndarray:
    """Return `x` as an (n, 784) array of bytes or of floats in [0, 1], n at least 1.

    Raises:
        TypeError, ValueError: `x` is something else; the message says what.
    """
    x = np.asarray(x)
    if x.dtype != np.uint8 and not np.issubdtype(x.dtype, np.floating):
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
