"""What the explorer hands to the page is the model; what it refuses it refuses with a reason."""

from helpers.conditional import build_conditional_vae
from helpers.decoder import decode
from helpers.deeper import DeepSetting, build_deep_vae
from helpers.explorer import COLUMNS, DIGITS, Explorer, explore, script
from helpers.training import build_vae
from tests.repository import NOTEBOOKS

from base64 import b64decode, b64encode
from io import BytesIO

import nbformat
import numpy as np
import pytest
from PIL import Image

STATE = "application/vnd.jupyter.widget-state+json"
GELU = DeepSetting((8,), "gelu")


def random_vae(seed):
    """A model whose weights, biases included, are drawn at random."""
    vae, rng = build_vae(), np.random.default_rng(seed)
    vae.set_weights([rng.normal(0, 0.1, w.shape) for w in vae.get_weights()])
    return vae


@pytest.fixture(scope="module")
def vaes():
    return {"beta 1": random_vae(0), "beta 4": random_vae(1)}


@pytest.fixture(scope="module")
def digits(mnist):
    return mnist.x_test[:500], mnist.y_test[:500]


def decoded(explorer, z):
    """What a page makes of z from the state it gets, computed here with NumPy alone."""
    values, weights = z, np.frombuffer(explorer.weights, "<f4")
    for inputs, units, activation in explorer.layers:
        kernel, bias, weights = np.split(weights, [inputs * units, (inputs + 1) * units])
        values = values @ kernel.reshape(inputs, units) + bias
        values = np.maximum(values, 0) if activation == "relu" else values
    assert not len(weights)
    return 1 / (1 + np.exp(-values))


def test_the_state_is_the_model(vaes, digits):
    x, y = digits
    explorer, z = explore(vaes["beta 1"], x, y), np.random.default_rng(1).normal(0, 3, (50, 2))
    np.testing.assert_allclose(decoded(explorer, z), decode(vaes["beta 1"].decoder, z), atol=1e-5)
    codes = np.frombuffer(explorer.codes, "<f4").reshape(-1, 4)
    z_mean, z_log_var, _ = vaes["beta 1"].encoder.predict(x[:DIGITS] / np.float32(255), verbose=0)
    np.testing.assert_allclose(codes, np.hstack([z_mean, z_log_var]), atol=1e-5)
    assert explorer.labels == y[:DIGITS].tolist()


@pytest.mark.parametrize("n", [1, COLUMNS, COLUMNS + 1])
def test_the_sheet_holds_the_digits_row_by_row(vaes, digits, n):
    for x in (digits[0][:n], digits[0][:n] / 255):
        explorer = explore(vaes["beta 1"], x, digits[1][:n])
        sheet = np.asarray(Image.open(BytesIO(explorer.sheet)))
        for i in range(n):
            top, left = 28 * (i // COLUMNS), 28 * (i % COLUMNS)
            picture = sheet[top : top + 28, left : left + 28].reshape(-1)
            np.testing.assert_array_equal(picture, digits[0][i])


def test_another_model_comes_when_it_is_chosen(vaes, digits):
    explorer = explore(vaes, *digits)
    assert (explorer.names, explorer.loaded) == (["beta 1", "beta 4"], 0)
    before, z = explorer.weights, np.ones((1, 2))
    explorer.chosen = 1  # as the page sets it
    assert explorer.loaded == 1 and len(explorer.weights) == len(before)
    np.testing.assert_allclose(decoded(explorer, z), decode(vaes["beta 4"].decoder, z), atol=1e-5)


def test_a_page_grows_little(vaes, digits):
    state = explore(vaes, *digits).get_state()
    assert len(b64encode(state["weights"])) <= 300_000
    assert sum(len(b64encode(state[name])) for name in ("codes", "sheet")) <= 150_000


def test_where_no_widget_runs_a_picture_stands(vaes, digits):
    data, metadata = explore(vaes["beta 1"], *digits)._repr_mimebundle_()
    assert data.keys() == {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"}
    png = Image.open(BytesIO(b64decode(data["image/png"])))
    assert metadata["image/png"]["alt"] == data["text/plain"]
    assert f"{DIGITS} test digits" in data["text/plain"]
    assert metadata["image/png"]["width"] == png.width // 2 > 400


def test_the_saved_pages_hold_the_explorer_of_today():
    found = set()
    for path in NOTEBOOKS:
        widgets = nbformat.read(path, as_version=4).metadata.get("widgets", {STATE: {"state": {}}})
        for model in widgets[STATE]["state"].values():
            if model["model_name"] == "AnyModel":
                found.add(path.stem)
                for name in ("_esm", "_css"):
                    text = getattr(Explorer, name)
                    assert model["state"][name] == text, f"{path.name} is older than {name}"
    assert found == {"06_visualization", "07_beta"}


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (lambda: build_vae().decoder, TypeError, "^vae: expected a VAE"),
        (lambda: {"a": None}, TypeError, "^vae: expected a VAE .* got None for 'a'"),
        (dict, ValueError, "^vae: expected at least one model"),
        (lambda: build_vae(latent_dim=3), ValueError, "^vae: .* z of 2 dimensions"),
        (lambda: {"deep": build_deep_vae(GELU)}, ValueError, "^vae: .* activation gelu"),
        (build_conditional_vae, (TypeError, ValueError), "^vae: expected a"),
    ],
)
def test_other_models_are_refused(digits, model, error, message):
    with pytest.raises(error, match=message):
        explore(model(), *digits)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((3, 28, 28)), [1, 2, 3], r"^x_test: expected shape"),
        (np.zeros((0, 784)), [], r"^x_test: expected shape \(n, 784\) with n at least 1"),
        (np.full((1, 784), np.nan), [1], r"^x_test: expected pixels in \[0, 1\]"),
        (np.zeros((3, 784)), [1, 2], r"^y_test: expected 3 digits"),
        (np.zeros((2, 784)), [1, 10], r"^y_test: expected 2 digits from 0 to 9"),
    ],
)
def test_other_digits_are_refused(vaes, x, y, message):
    with pytest.raises(ValueError, match=message):
        explore(vaes, x, y)


def test_every_part_of_the_state_reaches_the_page():
    for name in Explorer.class_own_traits(sync=True):
        assert name.startswith("_") or f'"{name}"' in script(), name
