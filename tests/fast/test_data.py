"""The data are MNIST as published, split as documented, and nothing else is let in."""

from helpers import data
from helpers.argument_checks import check_images
from helpers.data import load_mnist, scale

import hashlib
import struct

import numpy as np
import pytest

CHECKSUMS = {
    "x_train": "6bbc9ace898e44ae57da46a324031adb",
    "y_train": "a25bea736e30d166cdddb491f175f624",
    "x_test": "2646ac647ad5339dbf082846283269ea",
    "y_test": "27ae3e4e09519cfbb04c329615203637",
}
BAD_VALUES = [(np.nan, "nan"), (np.inf, "inf"), (-0.001, r"-0\.001"), (255.0, r"255\.0")]
BAD_IMAGES = [
    *((np.zeros((2, 784), dtype), TypeError, dtype) for dtype in ("int64", "bool", "complex64")),
    (np.zeros((2, 28, 28), "uint8"), ValueError, r"\(2, 28, 28\)"),
    (np.zeros((2, 783)), ValueError, r"\(2, 783\)"),
    (np.zeros(784), ValueError, r"\(784,\)"),
    (np.zeros((0, 784)), ValueError, r"\(0, 784\)"),
    *((np.full((1, 784), value), ValueError, says) for value, says in BAD_VALUES),
]


def idx_md5(array):
    """The md5 sum of an array of bytes written as an IDX file, the format of the publication."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return hashlib.md5(header + array.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def source():
    return load_mnist(validation=0)


@pytest.mark.parametrize(("name", "md5"), CHECKSUMS.items())
def test_arrays_have_the_published_checksums(source, name, md5):
    array = getattr(source, name)
    assert idx_md5(array.reshape(-1, 28, 28) if name.startswith("x") else array) == md5


def test_mean_pixels(source):
    assert source.x_train.mean() == pytest.approx(33.318421449829934, rel=1e-12)
    assert source.x_test.mean() == pytest.approx(33.791224489795916, rel=1e-12)


@pytest.mark.parametrize("validation", [0, 1, 5_000, 59_999])
def test_split_sizes_and_dtypes(validation):
    split = load_mnist(validation)
    sizes = [60_000 - validation] * 2 + [validation] * 2 + [10_000] * 2
    assert [len(array) for array in split] == sizes
    assert all(array.dtype == np.uint8 for array in split)
    assert all(x.shape[1:] == (784,) for x in split[::2])


def test_default_validation_images_are_the_last_5000(mnist, source):
    assert len(mnist.x_val) == 5_000
    for part, start, stop in (("train", 0, 55_000), ("val", 55_000, 60_000)):
        np.testing.assert_array_equal(getattr(mnist, f"x_{part}"), source.x_train[start:stop])
        np.testing.assert_array_equal(getattr(mnist, f"y_{part}"), source.y_train[start:stop])


def test_no_image_is_in_two_parts(mnist):
    parts = [{image.tobytes() for image in x} for x in mnist[::2]]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 70_000


@pytest.mark.parametrize("validation", [-1, 60_000, 0.5, "5000", None])
def test_bad_validation_is_rejected(validation):
    with pytest.raises(ValueError, match=r"^validation: .*0 to 59999"):
        load_mnist(validation)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^path: gone\.npz is missing"):
        load_mnist(path=tmp_path / "gone.npz")


def test_damaged_file(tmp_path):
    content = bytearray(data.MNIST_PATH.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    (tmp_path / "mnist.npz").write_bytes(content)
    with pytest.raises(OSError, match=r"^path: mnist\.npz is damaged"):
        load_mnist(path=tmp_path / "mnist.npz")


def test_pickled_objects_are_not_loaded(tmp_path, monkeypatch):
    path = tmp_path / "mnist.npz"
    np.savez(path, x_train=np.array([{}], dtype=object))
    monkeypatch.setattr(data, "MNIST_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(ValueError, match="allow_pickle"):
        load_mnist(path=path)


def test_scale_divides_bytes_by_255():
    x = np.arange(784 * 2).reshape(2, 784).astype("uint8")
    scaled = scale(x)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, x.astype("float64") / 255, rtol=1e-7)
    assert (scaled.min(), scaled.max()) == (0, 1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_scale_keeps_floats(dtype):
    x = np.linspace(0, 1, 784, dtype=dtype)[None]
    assert scale(x).dtype == np.float32
    np.testing.assert_array_equal(scale(x), x.astype("float32"))


def test_good_images_pass_unchanged():
    for x in (np.zeros((1, 784), "uint8"), np.ones((3, 784), "float32")):
        assert check_images(x) is x


@pytest.mark.parametrize("check", [check_images, scale])
@pytest.mark.parametrize(("x", "error", "says"), BAD_IMAGES)
def test_bad_images_are_rejected(check, x, error, says):
    with pytest.raises(error, match=rf"^x: expected .*{says}"):
        check(x)


def test_the_message_names_the_argument():
    with pytest.raises(ValueError, match=r"^validation_data: "):
        check_images(np.zeros(3), "validation_data")
