"""What a notebook builds in the open and what its helper holds are the same thing."""

import helpers.decoder
import helpers.encoder
import helpers.loss
import helpers.sampling
import helpers.training
import helpers.visualization

import ast
from pathlib import Path

import keras
import nbformat
import numpy as np
import pytest
from keras import ops

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def defined(notebook: str) -> dict:
    """The functions and classes of a notebook, from its imports and definitions alone."""
    nb = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4)
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    sources = [cell.source for cell in nb.cells if cell.cell_type == "code"]
    body = [node for source in sources for node in ast.parse(source).body if isinstance(node, kept)]
    namespace = {"__name__": notebook}
    exec(compile(ast.Module(body, type_ignores=[]), notebook, "exec"), namespace)
    return namespace


@pytest.fixture
def x(mnist):
    """A few images as floats."""
    return mnist.x_test[:64].astype("float32") / 255


def outputs(model: keras.Model, x: np.ndarray) -> list[np.ndarray]:
    """The outputs of a model as arrays."""
    result = model(x)
    return [ops.convert_to_numpy(y) for y in (result if isinstance(result, list) else [result])]


@pytest.mark.parametrize(
    ("notebook", "name", "width", "helper"),
    [
        ("01_encoder", "build_encoder", 784, helpers.encoder),
        ("03_decoder", "build_decoder", 2, helpers.decoder),
    ],
)
def test_built_models(notebook, name, width, helper):
    models = [build(latent_dim=2) for build in (defined(notebook)[name], getattr(helper, name))]
    models[1].set_weights(models[0].get_weights())
    assert models[0].name == models[1].name
    assert [w.path for w in models[0].weights] == [w.path for w in models[1].weights]
    points = np.random.default_rng(0).random((5, width), "float32")
    for ours, theirs in zip(*(outputs(model, points) for model in models), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_sampling():
    layers = [defined("02_sampling")["Sampling"], helpers.sampling.Sampling]
    rng = np.random.default_rng(0)
    pair = [rng.normal(size=(50, 3)).astype("float32") for _ in range(2)]
    draws = [ops.convert_to_numpy(layer(seed=5)(pair)) for layer in layers]
    np.testing.assert_array_equal(*draws)
    assert layers[0](seed=5).get_config().keys() == layers[1](seed=5).get_config().keys()


def test_sampling_function():
    keras.utils.set_random_seed(0)
    z = defined("02_sampling")["sample"](ops.full((100_000, 1), 2.0), ops.full((100_000, 1), -1.0))
    assert np.mean(z) == pytest.approx(2, abs=0.01)
    assert np.var(z) == pytest.approx(np.exp(-1), rel=0.02)


def test_losses(x):
    notebook = defined("04_loss")
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, x.shape).astype("float32")
    pair = [rng.normal(size=(64, 2)).astype("float32") for _ in range(2)]
    for name, arguments in (("reconstruction_loss", (x, logits)), ("kl_divergence", pair)):
        ours, theirs = notebook[name](*arguments), getattr(helpers.loss, name)(*arguments)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_training(x):
    """Both classes of the notebook take the steps that the helper takes."""
    notebook = defined("05_training")
    builds = [notebook["StepwiseVAE"], notebook["FusedVAE"], helpers.training.VAE]
    chunk = helpers.training.Chunks(x, batch_size=32)[0]  # as `fit` would cut, unshuffled
    weights = []
    for build in builds:
        keras.utils.set_random_seed(0)
        sampling = helpers.sampling.Sampling(seed=0, name="z")
        encoder = helpers.sampling.add_sampling(helpers.encoder.build_encoder(), sampling)
        model = build(encoder, helpers.decoder.build_decoder(), beta=3.0)
        model.compile(optimizer="adam", jit_compile=True)
        if build is builds[0]:
            model.fit(x, batch_size=32, shuffle=False, verbose=0)
        else:
            model.train_step(chunk[0] if build is builds[1] else chunk)
        weights.append(model.get_weights())
    for stepwise, *others in zip(*weights, strict=True):
        for other in others:
            np.testing.assert_allclose(stepwise, other, atol=1e-6)


def test_drawings():
    notebook = defined("06_visualization")
    helper = helpers.visualization
    rng = np.random.default_rng(0)
    z_mean, z_log_var = rng.normal(size=(2, 20, 2))
    axis, decoder = np.linspace(-3, 3, 7), helpers.decoder.build_decoder()
    ends = z_mean[:2].astype("float32")
    for name, arguments in (
        ("aggregate_posterior", (z_mean, z_log_var, axis)),
        ("manifold_grid", (4, 0.1, 0.8)),
        ("manifold", (decoder, 4)),
        ("interpolate", (ends[0], ends[1], 5)),
    ):
        ours, theirs = notebook[name](*arguments), getattr(helper, name)(*arguments)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
