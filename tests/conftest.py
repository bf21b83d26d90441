"""What the tests share: TensorFlow set up before its import, no windows, MNIST read once."""

import helpers  # noqa: F401  (its settings must come before the first import of TensorFlow)
from helpers.data import load_mnist

import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def mnist():
    return load_mnist()
