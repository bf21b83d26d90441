"""Careless and hostile input: every helper gives the right answer or names the bad argument.

`ANSWERS` holds a definition of each helper, written in float64. Each is given the same values
in many dresses (dtype, layout, container), and then hostile things in place of one argument.
"""

from helpers import argument_checks as checks
from helpers import beta, conditional, data, decoder, deeper, evaluation, explorer, loss, published
from helpers import visualization as vis
from helpers.encoder import as_pixels, build_encoder
from helpers.sampling import Sampling
from helpers.training import build_vae, compile_with_adam
from tests.fast.test_decoder import logits_of

import inspect
import io
from fractions import Fraction
from functools import cache
from importlib import import_module

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import special, stats

MODULES = "argument_checks beta conditional data decoder deeper encoder evaluation explorer loss "
MODULES += "fused on_dask published sampling sweep training visualization"
QUICK = settings(
    derandomize=True, deadline=None, max_examples=12, database=None,
    suppress_health_check=list(HealthCheck), phases=[Phase.generate],
)  # fmt: skip
SLOW, ONCE = settings(QUICK, max_examples=3), settings(QUICK, max_examples=1)
FLOATS = ("float16", "float32", "float64", "longdouble", ">f2", ">f4", ">f8")
NUMBERS = (*FLOATS, "int8", "int64", "uint8", "uint16", ">i4")
LAYOUTS = ("as it is", "Fortran", "every second", "backwards", "read-only", "list", "tensor")

# Strategies. Each gives a pair (what the helper gets, what it means), or a list of pairs.


def exact(plain, dtype):
    with np.errstate(all="ignore"):
        return (plain.astype(dtype).astype("float64") == plain).all()


def lay_out(array, layout):
    if layout == "list":
        return list(array) if array.ndim and array.dtype == np.uint8 else array.tolist()
    if layout == "tensor":  # TensorFlow has neither long doubles nor foreign byte orders
        return tf.constant(array.astype(f"{array.dtype.kind}{min(array.dtype.itemsize, 8)}"))
    if layout in ("every second", "backwards") and array.ndim:
        step = 2 if layout == "every second" else -1
        return np.repeat(array, 2, axis=0)[::2] if step == 2 else array[::-1].copy()[::-1]
    array = np.array(array, order="F" if layout == "Fortran" else "C")
    array.flags.writeable = layout != "read-only"
    return array


@st.composite
def dressed(draw, plain, dtypes=NUMBERS):
    """`plain`, float64, in a dtype that holds it exactly and in some layout."""
    dtype = draw(st.sampled_from([dtype for dtype in dtypes if exact(plain, dtype)]))
    return lay_out(plain.astype(dtype), draw(st.sampled_from(LAYOUTS))), plain


@st.composite
def numbers(draw, shape, low=-4, high=4, dtypes=NUMBERS):
    """Eighths, or whole numbers, from `low` to `high`: float16 holds them."""
    rng, unit = np.random.default_rng(draw(st.integers(0, 99))), draw(st.sampled_from([1, 8]))
    plain = rng.integers(low * unit, high * unit + 1, shape) / unit
    return draw(dressed(np.asarray(plain), dtypes))


@st.composite
def images(draw, n=2, levels=255):
    """Images as floats or as bytes, a 255th each; binary ones with `levels` 1."""
    rng, as_bytes = np.random.default_rng(draw(st.integers(0, 99))), draw(st.booleans())
    levels = levels if as_bytes or levels == 1 else 8
    plain = rng.integers(0, levels + 1, (n, 784)) / levels
    if not as_bytes:
        return draw(dressed(plain, FLOATS))
    return draw(dressed(np.round(255 * plain), ["uint8"]))[0], plain


def labels(n):
    return numbers((n,), 0, 1).flatmap(lambda pair: dressed(np.floor(9 * pair[1])))


def whole(low, high):
    kinds = st.sampled_from([int, np.uint8, np.int16, np.int64])
    return st.tuples(kinds, st.integers(low, high)).map(lambda pair: (pair[0](pair[1]), pair[1]))


def real(*values):
    """Numbers that float16 holds."""
    kinds = st.sampled_from([float, Fraction, np.float16, np.float32, np.float64, np.longdouble])
    pairs = st.tuples(kinds, st.sampled_from([float(value) for value in values]))
    return pairs.map(lambda pair: (pair[0](pair[1]), pair[1]))


def always(value):
    return st.just((value, value))


SIZE = st.tuples(st.sampled_from([1, 2, 5]), st.sampled_from([1, 2, 64]))
VECTOR, FIVE = st.sampled_from([(1,), (2,), (64,)]), st.just((5, 2))


def clouds(*more, size=SIZE, means=(-4, 4), log_vars=(-4, 4)):
    return size.flatmap(lambda s: st.tuples(numbers(s, *means), numbers(s, *log_vars), *more))


def pixels_and_logits():
    dtypes = [dtype for dtype in NUMBERS if dtype != "uint8"]
    return SIZE.flatmap(lambda s: st.tuples(numbers(s, 0, 1, dtypes), numbers(s)))


def at_points(*more):
    """A decoder and points of its width."""
    return SIZE.flatmap(lambda s: st.tuples(always(model(s[1]).decoder), *more, numbers(s)))


def on_plane(*more):
    """`joint` (2, 13, 13), an axis from -3 to 3 and two Gaussians that it holds."""
    two = clouds(*more, size=st.just((2, 2)), means=(-1, 1), log_vars=(-1, 0))
    sides = st.tuples(numbers((2, 13, 13)), dressed(np.linspace(-3, 3, 13)))
    return st.tuples(sides, two).map(lambda parts: parts[0] + parts[1])


# Definitions, and calls whose answers can be compared.


@cache
def model(latent_dim=2, build=build_vae):
    """A model whose weights are large enough to matter, always the same."""
    made, rng = build(latent_dim), np.random.default_rng(latent_dim)
    made.set_weights([rng.normal(0, 0.1, weight.shape) for weight in made.get_weights()])
    return made


for width in (1, 2, 64):
    model(width)  # now, since Hypothesis watches what draws
PLANE = model(2).decoder
TOLD = model(2, conditional.build_conditional_vae).decoder
AUDITED = model(2, lambda _: published.build_published_vae())


def again(call):
    """The definition of what draws or descends: the same on plain float32 arrays."""
    return lambda *plain: call(*(np.float32(v) if isinstance(v, np.ndarray) else v for v in plain))


def kl(m, s):
    return (np.exp(s) + m**2 - 1 - s) / 2


def plane_points(axis):
    return np.array([(a, b) for b in axis for a in axis])


def density(z_mean, z_log_var, axis):
    z, deviation = plane_points(axis)[:, None], np.exp(z_log_var / 2)
    values = stats.norm.pdf(z, z_mean, deviation).prod(axis=2).mean(axis=1)
    return values.reshape(len(axis), len(axis))


def covariance(m, s):
    away = m - m.mean(axis=0)
    return away.T @ away / len(m) + np.diag(np.exp(s).mean(axis=0))


def joint_of(decoder, x, z):
    logits = logits_of(decoder, z)
    of_z = stats.norm.logpdf(z).sum(axis=1) - np.logaddexp(0, logits).sum(axis=1)
    return x @ logits.T + of_z


def likelihood(decoder, x, half_width, step):
    joint = joint_of(decoder, x, plane_points(multiples(half_width, step)))
    return special.logsumexp(joint, axis=1) + 2 * np.log(step)


def multiples(half_width, step):
    return step * np.arange(-int(half_width / step), int(half_width / step) + 1)


def bound(log_weights, k):
    groups = [log_weights[:, i : i + k] for i in range(0, log_weights.shape[1] // k * k, k)]
    return np.mean([special.logsumexp(group, axis=1) - np.log(k) for group in groups], axis=0)


def elbo(joint, axis, z_mean, z_log_var):
    q = stats.norm.pdf(axis, z_mean[..., None], np.exp(z_log_var / 2)[..., None])
    q /= q.sum(axis=2, keepdims=True)
    entropy = stats.norm.entropy(scale=np.exp(z_log_var / 2)).sum(axis=1)
    return [second @ j @ first + h for (first, second), j, h in zip(q, joint, entropy, strict=True)]


def rates(peak, steps, warm_up):
    first = min(round(warm_up * steps), steps - 1)
    down = np.linspace(0, np.pi, steps - first + 1)
    return [*(peak * np.arange(first) / max(1, first)), *(peak * (1 + np.cos(down)) / 2)]


def plane_of(n, low=0.05, high=0.95):
    quantiles = special.ndtri(low + (high - low) * np.arange(n) / (n - 1))
    return np.array([[(a, b) for a in quantiles] for b in quantiles[::-1]])


def manifold_of(decoder, n, *ends):
    pictures = special.expit(logits_of(decoder, plane_of(n, *ends).reshape(-1, 2)))
    return np.block([[*row] for row in pictures.reshape(n, n, 28, 28)])


def binarised(x, seed):
    return 255 * (np.random.default_rng(seed).random(x.shape, "float32") < x)


def on_axes(draw, read):
    """A call of what draws on axes, and what `read` finds there."""

    def call(*arguments):
        try:
            draw(plt.figure().gca(), *arguments)
            return read(plt.gca())
        finally:
            plt.close("all")

    signature = inspect.signature(draw)
    call.__signature__ = signature.replace(parameters=[*signature.parameters.values()][1:])
    return call


def in_a_row(x):
    return np.hstack(x.reshape(-1, 28, 28))


def sheet_of(x):
    return np.asarray(Image.open(io.BytesIO(explorer.sheet_of(x))))[:, :56]


def explore(x_test, y_test):
    shown = explorer.explore(model(2), x_test, y_test)
    return np.frombuffer(shown.codes, "<f4").reshape(-1, 4), shown.labels


def explored(x, y):
    return np.hstack(model(2).encoder(np.float32(x))[:2]), y


def audit(x):
    terms = published.audit(AUDITED, x)  # the others hang on the noise
    return terms["KL counted"], terms["KL true"]


def drawn_weights(seed):
    return np.concatenate([w.ravel() for w in beta.draw_weights(model(7), seed).get_weights()])


def made(build, *attributes):
    """A call of what builds a VAE, and its latent dimensions, beta, seed and others."""

    def call(*arguments):
        vae = build(*arguments)
        layer, width = vae.encoder.get_layer("z"), vae.decoder.inputs[0].shape[-1]
        return width, vae.beta, layer.seed, *(getattr(layer, name) for name in attributes)

    call.__signature__ = inspect.signature(build)
    return call


def build_deep_vae(batch_size, learning_rate, epochs, seed, images):
    setting = deeper.DeepSetting((8,), "relu", batch_size, learning_rate)
    vae = deeper.build_deep_vae(setting._replace(epochs=epochs, seed=seed, images=images))
    return vae.optimizer.learning_rate, vae.warm_up


def rate_schedule(peak, steps, warm_up):
    schedule = deeper.rate_schedule(peak, steps, warm_up)
    return [float(schedule(step)) for step in range(int(steps) + 1)]


# fmt: off
DIM, SEED, BETA, TWELVE = whole(1, 64), whole(0, 127), real(0, 1, 0.5, 2048), whole(2, 12)
HALF, ARRAY, BINARY = real(0.5, 1), numbers((3, 2)), images(levels=1)
# Name: what is called, its definition, and a strategy for each argument.
ANSWERS = {
    "check_whole": (lambda value: checks.check_whole("value", value, 1, 64), int, DIM),
    "check_numbers": (lambda value: checks.check_numbers(value, "value", "n", 2), np.array, ARRAY),
    "check_clouds": (checks.check_clouds, lambda *same: same, clouds()),
    "check_labels": (lambda y: checks.check_labels(y, 4), np.asarray, labels(4)),
    "check_images": (lambda x: data.scale(checks.check_images(x)), np.asarray, images()),
    "check_binary": (evaluation.check_binary, np.asarray, BINARY),
    "check_real": (lambda value: checks.check_real(value, "value"), float, BETA),
    "check_widths": (lambda widths: deeper.check_widths([3, widths]), lambda _: None, DIM),
    "scale": (data.scale, np.asarray, images()),
    "as_pixels": (as_pixels, np.asarray, images()),
    "binarise": (lambda x, rng: evaluation.binarise(x, rng), binarised, images(), SEED),
    "load_mnist": (lambda validation: len(data.load_mnist(validation).x_val), int, whole(0, 127)),
    "reconstruction_loss": (
        loss.reconstruction_loss, lambda x, a: (np.logaddexp(0, a) - x * a).sum(axis=1),
        pixels_and_logits()),
    "kl_divergence": (loss.kl_divergence, lambda m, s: kl(m, s).sum(axis=1), clouds()),
    "kl_by_unit": (beta.kl_by_unit, kl, clouds()),
    "active_units": (beta.active_units, lambda z, least: z.var(axis=0) > least,
                     SIZE.flatmap(numbers), real(0.0625, 4.125)),
    "aggregate_covariance": (beta.aggregate_covariance, covariance, clouds()),
    "draw_weights": (drawn_weights, again(drawn_weights), SEED),
    "build_encoder": (lambda latent_dim: build_encoder(latent_dim).count_params(),
                      lambda d: 785 * 64 + 65 * 2 * d, DIM),
    "build_decoder": (lambda latent_dim: decoder.build_decoder(latent_dim).count_params(),
                      lambda d: (d + 1) * 64 + 65 * 784, DIM),
    "build_conditional_encoder": (
        lambda latent_dim: conditional.build_conditional_encoder(latent_dim).layers[-2].units,
        int, DIM),
    "build_conditional_decoder": (
        lambda latent_dim: conditional.build_conditional_decoder(latent_dim).count_params(),
        lambda d: (d + 11) * 64 + 65 * 784, DIM),
    "build_deep_encoder": (
        lambda widths: deeper.build_deep_encoder([widths]).layers[1].units, int, DIM),
    "build_deep_decoder": (
        lambda widths: deeper.build_deep_decoder([widths]).layers[1].units, int, DIM),
    "build_vae": (made(build_vae), lambda *same: same, DIM, BETA, SEED),
    "build_conditional_vae": (
        made(conditional.build_conditional_vae), lambda *same: same, DIM, BETA, SEED),
    "build_published_vae": (made(published.build_published_vae, "noise_std", "exponent"),
                            lambda a, b, beta, seed: (2, beta, seed, a, b), HALF, HALF, BETA, SEED),
    "build_binary_vae": (
        lambda seed: evaluation.build_binary_vae(seed).encoder.layers[-1].seed, int, SEED),
    "build_deep_vae": (
        build_deep_vae, lambda batch, rate, epochs, _, n: (rate, epochs * -(-n // batch) // 2),
        whole(1, 9), HALF, whole(1, 9), SEED, whole(1, 99)),
    "compile_with_adam": (
        lambda learning_rate: compile_with_adam(model(7), learning_rate).optimizer.learning_rate,
        float, HALF),
    "rate_schedule": (rate_schedule, rates, HALF, whole(1, 40), real(0, 0.125, 0.5, 0.96875)),
    "decode": (decoder.decode, lambda d, z: special.expit(logits_of(d, z)), at_points()),
    "one_hot": (conditional.one_hot, lambda y: np.eye(10)[y.astype(int)], labels(4)),
    "decode_digit": (conditional.decode_digit, again(conditional.decode_digit),
                     always(TOLD), numbers((4, 2)), labels(4) | whole(0, 9)),
    "manifold_grid": (vis.manifold_grid, plane_of, TWELVE, real(0.25), real(0.5, 0.875)),
    "manifold": (vis.manifold, manifold_of, always(PLANE), TWELVE, real(0.25), real(0.5, 0.875)),
    "plot_manifold": (on_axes(vis.plot_manifold, lambda ax: ax.images[0].get_array()),
                      manifold_of, always(PLANE), TWELVE),
    "plot_latent": (
        on_axes(vis.plot_latent, lambda ax: np.vstack([a.get_offsets() for a in ax.collections])),
        lambda z, y, _: z[np.argsort(y, kind="stable")], numbers((4, 2)), labels(4), HALF),
    "plot_posteriors": (
        on_axes(vis.plot_posteriors,
                lambda ax: [2 * ax.collections[0]._widths, 2 * ax.collections[0]._heights]),
        lambda m, s, k: 2 * k * np.exp(s / 2).T, clouds(HALF, size=FIVE)),
    "plot_rows": (on_axes(lambda _, rows: vis.plot_rows([rows], ["images"]),
                          lambda ax: ax.images[0].get_array() / ax.images[0].get_clim()[1]),
                  in_a_row, images()),
    "spread": (vis.spread, again(vis.spread), numbers((5, 2)), HALF),
    "interpolate": (vis.interpolate, lambda a, b, n: a + (b - a) * np.arange(n)[:, None] / (n - 1),
                    VECTOR.flatmap(lambda n: st.tuples(numbers(n), numbers(n), TWELVE))),
    "aggregate_posterior": (vis.aggregate_posterior, density, clouds(numbers((6,)), size=FIVE)),
    "plane_grid": (evaluation.plane_grid, multiples, real(1, 6), real(0.125, 0.75)),
    "log_joint": (evaluation.log_joint, joint_of, at_points(BINARY)),
    "exact_log_likelihood": (
        evaluation.exact_log_likelihood, likelihood, always(PLANE), BINARY, real(1, 2), HALF),
    "log_weights": (evaluation.log_weights, again(evaluation.log_weights),
                    always(model(2)), BINARY, whole(1, 9), SEED),
    "importance_bound": (lambda log_weights, k: evaluation.importance_bound(log_weights, k)[0],
                         bound, numbers((3, 260)), whole(1, 127)),
    "gaussian_elbo": (evaluation.gaussian_elbo, elbo, on_plane()),
    "fit_gaussians": (
        evaluation.fit_gaussians, again(evaluation.fit_gaussians), on_plane(whole(1, 3))),
    "audit": (audit, again(audit), images()),
    "floats": (lambda arrays: np.frombuffer(explorer.floats(arrays), "<f4"), np.ravel, ARRAY),
    "sheet_of": (sheet_of, lambda x: np.round(255 * in_a_row(x)), images()),
    "explore": (explore, explored, images(), labels(2)),
}
# fmt: on
BUILDERS = {name for name in ANSWERS if name.startswith("build_")}
SLOW_ONES = BUILDERS | {"fit_gaussians", "explore", "load_mnist", "audit", "compile_with_adam"}
LEFT_OUT = {
    "objective": "a line of the compiled training step: scalars in, a scalar out",
    **dict.fromkeys(("check_match", "compose", "add_sampling", "dense_layers"), "models alone"),
    **dict.fromkeys(("weights_of", "draw_kernels", "knob", "start_as"), "models alone"),
    **dict.fromkeys(("train", "train_binary", "train_deep", "sweep"), "minutes: own tests"),
    "results_on_dask": "what a sweep does on Dask",
    **dict.fromkeys(("workers_that_fit", "load_vae", "script"), "no numbers to take"),
    **dict.fromkeys(
        ("as_array", "as_tensor", "check_logits", "as_clouds", "check_on_plane"), "in others"
    ),
}


def drawn_arguments(draw, name):
    drawn = [draw.draw(strategy) for strategy in ANSWERS[name][2:]]
    pairs = [pair for one in drawn for pair in (one if isinstance(one[0], tuple) else [one])]
    return [given for given, _ in pairs], [plain for _, plain in pairs]


def agree(answer, expected):
    if isinstance(expected, tuple):
        for one, other in zip(answer, expected, strict=True):
            agree(one, other)
    elif expected is not None:
        expected = np.asarray(expected, "float64")
        atol = 2e-5 * max(1, abs(expected).max())
        np.testing.assert_allclose(np.asarray(answer, "float64"), expected, rtol=0, atol=atol)


def check_answer(draw, name):
    (given, plain), (call, definition) = drawn_arguments(draw, name), ANSWERS[name][:2]
    before = [np.array(value) for value in given if isinstance(value, np.ndarray)]
    agree(call(*given), definition(*plain))
    after = [value for value in given if isinstance(value, np.ndarray)]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", sorted(ANSWERS.keys() - SLOW_ONES))
@QUICK
@given(draw=st.data())
def test_the_answer_is_right_in_any_dress(name, draw):
    check_answer(draw, name)


@pytest.mark.parametrize("name", sorted(SLOW_ONES))
@SLOW
@given(draw=st.data())
def test_the_slow_answer_is_right_in_any_dress(name, draw):
    check_answer(draw, name)


def spoiled(plain, any_shape=False):
    """Things that nothing should take in place of an array, a whole number or a number."""
    yield from ("2", b"2", 1j, object(), {}, np.array("2020-01-01", "M8[s]"), [[1], [1, 2]])
    yield from (np.nan, np.inf, -np.inf, [None], np.ma.masked, tf.constant("2"))
    if isinstance(plain, int):
        yield from (-1, True, 2.5, np.float64(2), Fraction(1, 2), [2], np.array([2, 3, 4]))
    elif isinstance(plain, float):
        yield from (-1.0, True, 10**400, np.float16(np.inf), [1.0], np.array([1.0, 2.0]), 1e300)
    else:
        yield from (plain[None], plain[..., None])[: 0 if any_shape else 2]
        yield [10**400]
        for dtype in (complex, bool, str, object, "M8[s]"):
            yield plain.astype("int" if dtype == "M8[s]" else dtype).astype(dtype)
        for bad, dtype in ((np.nan, "f2"), (np.inf, "f2"), (-np.inf, ">f4"), (1e300, "f8")):
            worse = plain.astype(dtype)
            worse.reshape(-1)[-1:] = bad
            yield worse


@pytest.mark.parametrize("name", sorted(ANSWERS))
@ONCE
@given(draw=st.data())
def test_a_spoiled_argument_is_named(name, draw):
    call, (_, plain) = ANSWERS[name][0], drawn_arguments(draw, name)
    parameters = inspect.signature(call).parameters
    for k, (parameter, good) in enumerate(zip(parameters, plain, strict=False)):
        for bad in spoiled(good, name == "floats") if not isinstance(good, keras.Model) else ():
            with pytest.raises((ValueError, TypeError)) as caught:
                pytest.fail(f"{parameter}={bad!r} gives {call(*plain[:k], bad, *plain[k + 1 :])}")
            blamed = str(caught.value).split(": ")[0].split(", ")
            assert set(blamed) <= set(parameters), (parameter, bad)


def test_no_helper_is_forgotten():
    modules = [import_module(f"helpers.{name}") for name in MODULES.split()]
    public = {
        name
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
    assert ANSWERS.keys() | LEFT_OUT.keys() == public
    assert not ANSWERS.keys() & LEFT_OUT.keys()


NO_IMAGES, NO_POINTS = np.zeros((0, 784), "uint8"), np.zeros((0, 2))


@pytest.mark.parametrize("name", ["scale", "binarise", "check_binary", "plot_rows", "sheet_of"])
def test_no_images_are_refused(name):
    with pytest.raises(ValueError, match=r"^(x|rows): expected shape \(n, 784\) with n at least 1"):
        ANSWERS[name][0](NO_IMAGES, *([1] if name == "binarise" else []))


@pytest.mark.parametrize("call", [loss.kl_divergence, beta.kl_by_unit, beta.aggregate_covariance])
def test_no_clouds_are_refused(call):
    with pytest.raises(ValueError, match=r"^z_mean: expected shape"):
        call(NO_POINTS, NO_POINTS)
    with pytest.raises(ValueError, match=r"^z_mean: expected shape"):
        beta.active_units(NO_POINTS)


def test_no_points_are_refused():
    for refused, name in (
        (lambda: decoder.decode(PLANE, NO_POINTS), "z"),
        (lambda: conditional.decode_digit(TOLD, NO_POINTS, 3), "z"),
        (lambda: evaluation.log_joint(PLANE, np.zeros((1, 784)), NO_POINTS), "z"),
        (lambda: loss.reconstruction_loss(NO_POINTS, NO_POINTS), "x"),
    ):
        with pytest.raises(ValueError, match=rf"^{name}: expected shape .* with values, got \("):
            refused()


@pytest.mark.parametrize("axis", [[0.0], [0.0, 0.0], [0.0, 1.0, 3.0], [2.0, 1.0, 0.0]])
def test_an_axis_that_is_no_grid_is_refused(axis):
    joint = np.zeros((1, len(axis), len(axis)))
    with pytest.raises(ValueError, match=r"^axis: expected"):
        evaluation.gaussian_elbo(joint, axis, np.zeros((1, 2)), np.full((1, 2), 2.0))


def test_bytes_are_no_pixels_even_in_a_compiled_function():
    compiled = tf.function(loss.reconstruction_loss, autograph=False)
    for function in (loss.reconstruction_loss, compiled):
        with pytest.raises(ValueError, match=r"^x: expected floats"):
            function(tf.zeros((2, 3), "uint8"), tf.zeros((2, 3)))


@pytest.mark.parametrize(("peak", "steps", "warm_up"), [(1.0, 1, 0.9), (1.0, 10, 0.99), (0, 3, 0)])
def test_a_warm_up_leaves_a_step(peak, steps, warm_up):
    agree(rate_schedule(peak, steps, warm_up), rates(peak, steps, warm_up))


def with_gradients(function):
    def value_and_gradients(*inputs):
        tensors = [tf.convert_to_tensor(value) for value in inputs]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return value, *tape.gradient(value, tensors)

    return value_and_gradients


FUNCTIONS = {False: [with_gradients(f) for f in (loss.reconstruction_loss, loss.kl_divergence)]}
FUNCTIONS[True] = [tf.function(f, reduce_retracing=True, autograph=False) for f in FUNCTIONS[False]]


SIGNS = st.sampled_from([-1, 1])
LOGITS = st.tuples(SIGNS, st.floats(-20, 15)).map(lambda pair: pair[0] * 10 ** pair[1])
MEANS, LOG_VARS = LOGITS, st.floats(-1e6, 80)
GREY = st.floats(0, 1)


def rows(first, second):
    pairs = st.lists(st.tuples(first, second), min_size=1, max_size=8)
    return pairs.map(lambda values: np.float32(values).T[:, None].astype("float64"))


@pytest.mark.parametrize("compiled", [False, True])
@settings(QUICK, max_examples=100)
@given(rows(GREY, LOGITS), rows(MEANS, LOG_VARS))
def test_losses_and_gradients_at_the_extremes(compiled, pixels, q):
    (x, logits), (m, s) = pixels, q
    cases = [
        (0, pixels, np.logaddexp(0, logits) - x * logits, -logits, special.expit(logits) - x),
        (1, q, kl(m, s), m, np.expm1(s) / 2),
    ]
    for k, inputs, terms, by_first, by_second in cases:
        value, *slopes = FUNCTIONS[compiled][k](*inputs.astype("float32"))
        scale = abs(inputs).sum() + abs(terms).sum()
        np.testing.assert_allclose(value, terms.sum(axis=1), rtol=1e-5, atol=1e-6 * scale)
        np.testing.assert_allclose(slopes[0], by_first, rtol=1e-6)
        np.testing.assert_allclose(slopes[1], by_second, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [Sampling, published.PublishedSampling])
@QUICK
@given(pairs=clouds())
def test_z_is_drawn_in_any_dress(layer, pairs):
    given, plain = zip(*pairs, strict=True)
    # Keras takes lists for structures, and no long doubles.
    given = [v if tf.is_tensor(v) else checks.as_array(v, "v") for v in given]
    agree(layer(seed=3)(given), layer(seed=3)([np.float32(value) for value in plain]))


@pytest.mark.parametrize("name", ["noise_std", "exponent"])
def test_a_sampling_without_noise_is_refused(name):
    for bad in [0, *spoiled(1.0)]:
        with pytest.raises(ValueError, match=f"^{name}: expected"):
            published.PublishedSampling(**{name: bad})


@pytest.mark.parametrize(("rows", "names"), [(None, []), (5, ["a"]), ([NO_IMAGES], None), ([], [])])
def test_rows_that_are_none_are_refused(rows, names):
    with pytest.raises((ValueError, TypeError), match=r"^(rows|names): expected"):
        vis.plot_rows(rows, names)


def state(vae):
    return [*vae.variables, *vae.optimizer.variables]


@cache
def trained():
    """A model, its state at first, images, and a function that trains from that state."""
    vae = build_vae(seed=1)
    start = [variable.numpy() for variable in state(vae)]
    x = np.random.default_rng(0).integers(0, 9, (10, 784)) / 8

    def weights_after(x):
        for variable, value in zip(state(vae), start, strict=True):
            variable.assign(value)
        history = vae.fit(x, batch_size=np.uint8(4), seed=np.int64(2)).history
        return np.concatenate([w.ravel() for w in vae.get_weights()]), history["loss"]

    return x, weights_after, weights_after(np.float32(x))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", ">f4", "float64", ">f8", "longdouble"])
def test_training_is_the_same_in_any_dress(dtype, layout):
    x, weights_after, expected = trained()
    agree(weights_after(lay_out(x.astype(dtype), layout)), expected)


@pytest.mark.parametrize(("latent_dim", "beta"), [(1, 0), (2, 1), (64, 1e6)])
def test_training_stays_finite(latent_dim, beta):
    vae = build_vae(latent_dim, beta, seed=1)
    x = np.random.default_rng(0).integers(0, 256, (9, 784), "uint8")
    history = vae.fit(x, batch_size=4, epochs=2, seed=1).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert all(np.isfinite(variable.numpy()).all() for variable in vae.trainable_variables)


@pytest.mark.parametrize("name", ["x", "validation_data"])
def test_fit_and_evaluate_name_a_spoiled_argument(name):
    vae, x = model(2), np.zeros((2, 784))
    for bad in spoiled(x):
        with pytest.raises((ValueError, TypeError), match=f"^{name}: expected"):
            vae.fit(**{"x": x, name: bad})
    for bad in [b for b in spoiled(1) if b is not None]:
        for argument in ("batch_size", "epochs", "seed"):
            with pytest.raises(ValueError, match=f"^{argument}: expected"):
                vae.fit(x, **{argument: bad})
