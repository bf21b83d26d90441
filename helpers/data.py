"""MNIST as it ships with the course: read, verified, split, scaled.

Images are kept as the bytes they are, a quarter of the memory of floats.
"""

from helpers.argument_checks import PIXELS, check_images, check_whole

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

# Installed, the package has the file inside; in the repository it lies in data/.
_FOLDER = Path(__file__).resolve().parent
_PLACES = _FOLDER / "mnist.npz", _FOLDER.parent / "data" / "mnist.npz"
MNIST_PATH = next(filter(Path.is_file, _PLACES), _PLACES[-1])
MNIST_SHA256 = "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"


class Mnist(NamedTuple):
    """Images as (n, 784) uint8 arrays, labels as (n,) uint8 arrays."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


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


def scale(x: np.ndarray) -> np.ndarray:
    """Images as float32 in [0, 1]: (n, 784) bytes are divided by 255, floats are kept.

    Raises:
        TypeError, ValueError: as `check_images`.
    """
    x = check_images(x)
    return np.divide(x, 255, dtype="float32") if x.dtype == np.uint8 else np.asarray(x, "float32")
