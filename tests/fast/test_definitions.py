"""What a notebook builds in the open and what its helper holds are the same thing."""

from helpers import conditional, decoder, encoder, evaluation
from helpers.sampling import Sampling, add_sampling
from helpers.training import VAE
from tests.repository import ROOT

import ast
from importlib import import_module

import keras
import nbformat
import numpy as np
import pytest
from keras import ops, tree
from numpy.testing import assert_allclose, assert_array_equal

BUILT = [("01_encoder", "build_encoder", 784, encoder), ("03_decoder", "build_decoder", 2, decoder)]


def defined(notebook: str) -> dict:
    """The functions and classes of a notebook, from its imports and definitions alone."""
    nb = nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4)
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    sources = [cell.source for cell in nb.cells if cell.cell_type == "code"]
    body = [node for source in sources for node in ast.parse(source).body if isinstance(node, kept)]
    namespace = {"__name__": notebook}
    exec(compile(ast.Module(body, type_ignores=[]), notebook, "exec"), namespace)
    return namespace


def both(notebook: str) -> tuple[dict, dict]:
    """What a notebook defines, and what the helper named after its topic does."""
    return defined(notebook), vars(import_module(f"helpers.{notebook[3:]}"))


def check_calls(notebook: str, *calls: tuple, rtol: float = 1e-6, atol: float = 0) -> None:
    """Hold calls, each a name and its arguments, in a notebook against those of its helper."""
    ours, theirs = both(notebook)
    for name, *arguments in calls:
        assert_allclose(ours[name](*arguments), theirs[name](*arguments), rtol=rtol, atol=atol)


def check_models(ours: keras.Model, theirs: keras.Model, x: np.ndarray | list) -> None:
    """Hold the names and the outputs of two models against each other."""
    assert (ours.name, ours.output_names) == (theirs.name, theirs.output_names)
    for a, b in zip(tree.flatten(ours(x)), tree.flatten(theirs(x)), strict=True):
        assert_array_equal(a, b)


@pytest.fixture
def x(mnist):
    """A few images as floats."""
    return mnist.x_test[:64].astype("float32") / 255


@pytest.mark.parametrize(("notebook", "name", "width", "helper"), BUILT)
def test_built_models(notebook, name, width, helper):
    ours, theirs = defined(notebook)[name](latent_dim=2), getattr(helper, name)(latent_dim=2)
    theirs.set_weights(ours.get_weights())
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    check_models(ours, theirs, np.random.default_rng(0).random((5, width), "float32"))


def test_sampling():
    layers = [defined("02_sampling")["Sampling"], Sampling]
    rng = np.random.default_rng(0)
    pair = [rng.normal(size=(50, 3)).astype("float32") for _ in range(2)]
    assert_array_equal(*(layer(seed=5)(pair) for layer in layers))
    assert layers[0](seed=5).get_config().keys() == layers[1](seed=5).get_config().keys()


def test_sampling_function():
    keras.utils.set_random_seed(0)
    z = defined("02_sampling")["sample"](ops.full((100_000, 1), 2.0), ops.full((100_000, 1), -1.0))
    assert np.mean(z) == pytest.approx(2, abs=0.01)
    assert np.var(z) == pytest.approx(np.exp(-1), rel=0.02)


def test_losses(x):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, x.shape).astype("float32")
    pair = [rng.normal(size=(64, 2)).astype("float32") for _ in range(2)]
    check_calls("04_loss", ("reconstruction_loss", x, logits), ("kl_divergence", *pair))


def test_training(x):
    """Both classes of the notebook take the steps that the helper takes."""
    notebook = defined("05_training")
    builds = [notebook["StepwiseVAE"], notebook["FusedVAE"], VAE]
    weights = []
    for build in builds:
        keras.utils.set_random_seed(0)
        with_z = add_sampling(encoder.build_encoder(), Sampling(seed=0, name="z"))
        model = build(with_z, decoder.build_decoder(), beta=3.0)
        model.compile(optimizer="adam", jit_compile=True)
        if build is builds[1]:
            model.train_step(x.reshape(-1, 32, 784))
        else:
            model.fit(x, batch_size=32, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    for stepwise, *others in zip(*weights, strict=True):
        for other in others:
            assert_allclose(stepwise, other, atol=1e-6)


def test_drawings():
    z_mean, z_log_var = np.random.default_rng(0).normal(size=(2, 20, 2))
    check_calls(
        "06_visualization",
        ("aggregate_posterior", z_mean, z_log_var, np.linspace(-3, 3, 7)),
        ("manifold_grid", 4, 0.1, 0.8),
        ("manifold", decoder.build_decoder(), 4),
        ("interpolate", *z_mean[:2].astype("float32"), 5),
    )


def test_loss_with_knobs():
    z_mean, z_log_var = np.random.default_rng(0).normal(size=(2, 50, 3)).astype("float32")
    z_mean[:, 1] *= 0.05  # says next to nothing
    kl = np.float32([0.1, 0.7, 3.0])
    check_calls(
        "07_beta",
        ("kl_by_unit", z_mean, z_log_var),
        ("active_units", z_mean),
        ("active_units", z_mean, 2.0),
        ("aggregate_covariance", z_mean, z_log_var),
        ("objective", 100.0, kl, 4.0),
        ("objective", 100.0, kl, 4.0, 0.5, 0.3),
    )


def test_evaluation(x):
    rng, vae = np.random.default_rng(0), evaluation.build_binary_vae()
    vae.set_weights([rng.normal(0, 0.1, w.shape) for w in vae.get_weights()])  # spread its codes
    x, rng = np.round(x[:8]), np.random.default_rng(1)
    z, log_w = rng.normal(size=(5, 2)), rng.normal(-150, 3, (8, 12))
    q = rng.normal([[[0]], [[-1]]], 0.3, (2, 8, 2)).astype("float32")
    axis = evaluation.plane_grid(3, 0.25)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    joint = evaluation.log_joint(vae.decoder, x, points).reshape(-1, len(axis), len(axis))
    on_plane = joint, axis.astype("float32")
    check_calls(
        "08_evaluation",
        ("log_joint", vae.decoder, x, z),
        ("log_weights", vae, x, 12, 4),
        *(("importance_bound", log_w, k) for k in (1, 5, 12)),
        ("gaussian_elbo", *on_plane, *q),
        ("fit_gaussians", *on_plane, *q, 20),
        atol=1e-5,
    )
    ours = defined("08_evaluation")["quadrature"](vae.decoder, x, 6, 0.25)
    assert_allclose(ours, evaluation.exact_log_likelihood(vae.decoder, x, 6, 0.25), rtol=1e-6)


@pytest.mark.parametrize("arguments", [((7, 5, 3),), ((6, 4), "relu", 5)])
@pytest.mark.parametrize("name", ["build_deep_encoder", "build_deep_decoder"])
def test_deep_models(name, arguments):
    ours, theirs = (source[name](*arguments) for source in both("09_deeper"))
    theirs.set_weights(ours.get_weights())
    x = np.random.default_rng(0).random((5, theirs.input_shape[1]), "float32")
    check_models(ours, theirs, x)


@pytest.mark.parametrize("arguments", [(2e-3, 200), (1e-3, 30, 0.3)])
def test_rate_schedule(arguments):
    schedules = [source["rate_schedule"](*arguments) for source in both("09_deeper")]
    assert_array_equal(*([float(rate(k)) for k in range(0, 220, 3)] for rate in schedules))


def conditional_parts(source: dict) -> tuple[keras.Model, keras.Model]:
    """Encoder and decoder of a namespace, each with its noise or weights from one seed."""
    keras.utils.set_random_seed(0)
    return source["build_conditional_encoder"](2, seed=3), source["build_conditional_decoder"](2)


def test_conditional_models(x):
    y = np.arange(64) % 10
    check_calls("10_conditional", ("one_hot", y), rtol=0)
    parts = [conditional_parts(source) for source in both("10_conditional")]
    for ours, theirs, first in zip(*parts, (x, x[:, 300:302]), strict=True):
        check_models(ours, theirs, [first, np.asarray(conditional.one_hot(y))])


def test_decode_digit():
    told, z = conditional.build_conditional_decoder(), np.random.default_rng(0).normal(size=(10, 2))
    digits = [("decode_digit", told, z, y) for y in (7, np.arange(10))]
    check_calls("10_conditional", *digits, rtol=0)


def test_conditional_terms(x):
    """What the class changes of a VAE: how it reads a pair, and the two terms."""
    pair, terms = ((255 * x).astype("uint8"), (np.arange(64) % 10).astype("uint8")), []
    for source in both("10_conditional"):
        vae = source["ConditionalVAE"](*conditional_parts(source))
        prepared = vae.prepare([ops.convert_to_tensor(part) for part in vae.check(pair)])
        terms.append([ops.convert_to_numpy(term) for term in vae.terms(prepared)])
    assert_array_equal(*terms)
