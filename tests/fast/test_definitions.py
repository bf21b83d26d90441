"""What a notebook builds in the open and what its helper holds are the same thing."""

import helpers.beta
import helpers.conditional
import helpers.decoder
import helpers.deeper
import helpers.encoder
import helpers.evaluation
import helpers.loss
import helpers.sampling
import helpers.training
import helpers.visualization
from tests.repository import ROOT

import ast

import keras
import nbformat
import numpy as np
import pytest
from keras import ops


def defined(notebook: str) -> dict:
    """The functions and classes of a notebook, from its imports and definitions alone."""
    nb = nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4)
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


def test_loss_with_knobs():
    notebook = defined("07_beta")
    z_mean, z_log_var = np.random.default_rng(0).normal(size=(2, 50, 3)).astype("float32")
    z_mean[:, 1] *= 0.05  # says next to nothing
    kl = np.float32([0.1, 0.7, 3.0])
    for name, arguments in (
        ("kl_by_unit", (z_mean, z_log_var)),
        ("active_units", (z_mean,)),
        ("active_units", (z_mean, 2.0)),
        ("aggregate_covariance", (z_mean, z_log_var)),
        ("objective", (100.0, kl, 4.0)),
        ("objective", (100.0, kl, 4.0, 0.5, 0.3)),
    ):
        ours, theirs = notebook[name](*arguments), getattr(helpers.beta, name)(*arguments)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.fixture
def spread():
    """A model for binary images whose random weights spread its codes."""
    rng = np.random.default_rng(0)
    vae = helpers.evaluation.build_binary_vae()
    vae.set_weights([rng.normal(0, 0.1, weight.shape) for weight in vae.get_weights()])
    return vae


def test_evaluation(spread, x):
    notebook, helper = defined("08_evaluation"), helpers.evaluation
    x = np.round(x[:8])
    rng = np.random.default_rng(1)
    z, log_w = rng.normal(size=(5, 2)), rng.normal(-150, 3, (8, 12))
    z_mean, z_log_var = rng.normal([[[0]], [[-1]]], 0.3, (2, 8, 2)).astype("float32")
    axis = helper.plane_grid(3, 0.25)
    on_plane = helper.log_joint_on_plane(spread.decoder, x, axis), axis.astype("float32")
    for name, arguments in (
        ("log_joint", (spread.decoder, x, z)),
        ("log_weights", (spread, x, 12, 4)),
        ("importance_bound", (log_w, 1)),
        ("importance_bound", (log_w, 5)),
        ("importance_bound", (log_w, 12)),
        ("gaussian_elbo", (*on_plane, z_mean, z_log_var)),
        ("fit_gaussians", (*on_plane, z_mean, z_log_var, 20)),
    ):
        ours, theirs = notebook[name](*arguments), getattr(helper, name)(*arguments)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-5)
    ours = notebook["quadrature"](spread.decoder, x, 6, 0.25)
    theirs = helper.exact_log_likelihood(spread.decoder, x, 6, 0.25)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("arguments", [((7, 5, 3),), ((6, 4), "relu")])
@pytest.mark.parametrize(
    ("name", "width"), [("build_deep_encoder", 784), ("build_deep_decoder", 2)]
)
def test_deep_models(name, width, arguments):
    models = [
        build(*arguments) for build in (defined("09_deeper")[name], getattr(helpers.deeper, name))
    ]
    models[1].set_weights(models[0].get_weights())
    assert models[0].name == models[1].name
    assert models[0].output_names == models[1].output_names
    points = np.random.default_rng(0).random((5, width), "float32")
    for ours, theirs in zip(*(outputs(model, points) for model in models), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("arguments", [(2e-3, 200), (1e-3, 30, 0.3)])
def test_rate_schedule(arguments):
    builds = defined("09_deeper")["rate_schedule"], helpers.deeper.rate_schedule
    rates = [[float(build(*arguments)(step)) for step in range(0, 220, 3)] for build in builds]
    np.testing.assert_array_equal(*rates)


def conditional_parts(source: dict) -> tuple[keras.Model, keras.Model]:
    """Encoder and decoder of a namespace, each with its noise or weights from one seed."""
    keras.utils.set_random_seed(0)
    return source["build_conditional_encoder"](2, seed=3), source["build_conditional_decoder"](2)


def test_conditional_models(x):
    notebook, helper = defined("10_conditional"), vars(helpers.conditional)
    y = np.arange(64) % 10
    label = ops.convert_to_numpy(notebook["one_hot"](y))
    np.testing.assert_array_equal(label, helper["one_hot"](y))
    parts = [conditional_parts(source) for source in (notebook, helper)]
    for models, first in zip(zip(*parts, strict=True), (x, x[:, 300:302]), strict=True):
        assert models[0].name == models[1].name
        for ours, theirs in zip(*(outputs(model, [first, label]) for model in models), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_decode_digit():
    decoder = helpers.conditional.build_conditional_decoder()
    z = np.random.default_rng(0).normal(size=(10, 2))
    decoders = defined("10_conditional")["decode_digit"], helpers.conditional.decode_digit
    for y in (7, np.arange(10)):
        np.testing.assert_array_equal(*(decode(decoder, z, y) for decode in decoders))


def test_conditional_terms(x):
    """What the class changes of a VAE: how it reads a pair, and the two terms."""
    pair, terms = ((255 * x).astype("uint8"), (np.arange(64) % 10).astype("uint8")), []
    for source in (defined("10_conditional"), vars(helpers.conditional)):
        vae = source["ConditionalVAE"](*conditional_parts(source))
        prepared = vae.prepare([ops.convert_to_tensor(part) for part in vae.check(pair)])
        terms.append([ops.convert_to_numpy(term) for term in vae.terms(prepared)])
    np.testing.assert_array_equal(*terms)
