"""Every estimate of log p(x) is held against models whose log p(x) is known."""

from helpers import evaluation
from helpers.decoder import build_decoder
from helpers.evaluation import BinarySetting, BinaryVAE, binarise, build_binary_vae
from helpers.fused import Batches
from helpers.loss import kl_divergence, reconstruction_loss
from helpers.published import PublishedSampling
from helpers.sampling import Sampling
from helpers.training import VAE, build_vae, load_vae

import itertools
import math
from unittest.mock import Mock

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate, special, stats

SETTING = BinarySetting(seed=1, epochs=2, images=2_000)
STEP = 0.2  # below every width of the trained model
BIAS = np.random.default_rng(0).normal(size=784)
GREY = np.full((2, 784), 0.5)
BAD_IMAGES = [(np.zeros((2, 28, 28), "uint8"), ValueError), (GREY * 3, ValueError)]
BAD_IMAGES += [(GREY * np.nan, ValueError), (np.zeros((2, 784), "int32"), TypeError)]


@pytest.fixture(scope="module")
def weights():
    return evaluation.train_binary(SETTING)


@pytest.fixture(scope="module")
def trained(weights):
    vae = build_binary_vae()
    vae.set_weights(weights)
    return vae


@pytest.fixture(scope="module")
def x(mnist):
    """Twenty binary images as floats."""
    return binarise(mnist.x_test[:20], 0).astype("float32") / 255


def log_joint_on_plane(decoder, x, axis):
    """`log_joint` at the points [z[1], z[0]] of the grid axis x axis: (n, m, m)."""
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return evaluation.log_joint(decoder, x, points).reshape(-1, len(axis), len(axis))


@pytest.fixture(scope="module")
def plane(trained, x):
    """The posterior of the trained model on a plane: its axis, log p(x, z), log p(x).

    After so little training some codes still lie beyond 6, hence the wide plane.
    """
    axis = evaluation.plane_grid(12, STEP)
    joint = log_joint_on_plane(trained.decoder, x, axis)
    return axis, joint, evaluation.exact_log_likelihood(trained.decoder, x, 12, STEP)


def constant_vae(z_mean=0.0, z_log_var=0.0, latent_dim=2):
    """A model that takes no notice of the image or of z: its logits are BIAS, q is one for all."""
    vae = build_vae(latent_dim)
    weights = [np.zeros_like(weight) for weight in vae.get_weights()]
    weights[3][:], weights[5][:], weights[9][:] = z_mean, z_log_var, BIAS
    vae.set_weights(weights)
    return vae


def log_p_of_constant(x):
    """log p(x) of the constant model."""
    return stats.bernoulli.logpmf(x, special.expit(BIAS)).sum(axis=1)


def three_pixels():
    """A decoder under which only three pixels can be ink, and their weights."""
    rng = np.random.default_rng(1)
    w1, b1 = rng.normal(size=(2, 6)), rng.normal(size=6)
    w2, b2 = rng.normal(0, 2, (6, 3)), rng.normal(size=3)
    hidden = keras.layers.Dense(6, activation="tanh")
    decoder = keras.Sequential([keras.Input((2,)), hidden, keras.layers.Dense(784)])
    kernel, bias = np.zeros((6, 784)), np.full(784, -1000.0)
    kernel[:, :3], bias[:3] = w2, b2
    decoder.set_weights([w1, b1, kernel, bias])
    return decoder, (w1, b1, w2, b2)


EIGHT = np.zeros((8, 784), "float32")
EIGHT[:, :3] = list(itertools.product((0, 1), repeat=3))


def test_binary_images_stay():
    x = np.random.default_rng(0).integers(0, 2, (20, 784)).astype("uint8") * 255
    for images in (x, x / 255.0, x.astype("float32") / 255):
        drawn = binarise(images, 1)
        assert drawn.dtype == "uint8"
        assert_array_equal(drawn, x)


def test_the_frequency_of_ink_is_the_grey_level():
    levels = np.arange(256, dtype="uint8")
    drawn = binarise(np.tile(np.resize(levels, 784), (2_000, 1)), 0)
    assert drawn.dtype == "uint8"
    assert set(np.unique(drawn)) == {0, 255}
    frequency = (drawn[:, : 3 * 256] > 0).reshape(-1, 256).mean(axis=0)
    p = levels / 255
    assert (abs(frequency - p) <= 5 * np.sqrt(p * (1 - p) / 6_000)).all()


def test_pixels_are_drawn_independently():
    drawn = binarise(np.full((4_000, 784), 0.5), 0)[:, :40] > 0
    correlations = np.corrcoef(drawn.T)[np.triu_indices(40, 1)]
    assert abs(correlations).max() < 5 / np.sqrt(4_000)


def test_a_seed_fixes_the_pixels_and_a_generator_advances(mnist):
    grey = mnist.x_test[:5]
    assert_array_equal(binarise(grey, 1), binarise(grey, 1))
    assert_array_equal(binarise(grey, 1), binarise(grey, np.random.default_rng(1)))
    rng = np.random.default_rng(1)
    assert (binarise(grey, rng) != binarise(grey, rng)).any()
    assert (binarise(grey, 1) != binarise(grey, 2)).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_and_bytes_agree(mnist, dtype):
    grey = mnist.x_test[:50]
    assert_array_equal(binarise(grey, 3), binarise(grey.astype(dtype) / 255, 3))


def test_each_epoch_shows_other_drawings_whose_mean_is_the_image(mnist):
    grey, drawn = mnist.x_test[:3], np.zeros((1_000, 3, 784), "uint8")
    chunks = Batches(grey, 2, True, 0, True, build_binary_vae().shown)
    for epoch in drawn:
        images, count = chunks[0]
        assert (images.shape, images.dtype, count) == ((2, 2, 784), "uint8", 3)
        rows = np.reshape(images, (4, 784))
        assert not rows[3].any()
        epoch[chunks.order] = rows[:3]
    assert set(np.unique(drawn)) == {0, 255}
    assert (drawn[0] != drawn[1]).any()
    p = grey / 255
    assert (abs(drawn.mean(axis=0) / 255 - p) <= 5 * np.sqrt(p * (1 - p) / 1_000)).all()


def test_fit_shows_binary_images_drawn_anew_each_epoch(mnist, monkeypatch):
    seen = []

    def train_step(self, chunk):
        seen.append(chunk[0].numpy().reshape(-1, 784))
        return {"loss": 0.0}

    monkeypatch.setattr(VAE, "train_step", train_step)
    vae = build_binary_vae()
    vae.compile(run_eagerly=True)
    vae.fit(mnist.x_train[:1], epochs=3, batch_size=1)
    assert set(np.unique(seen)) == {0, 255}
    for first, second in itertools.combinations(seen, 2):
        assert (first != second).any()


def test_evaluate_takes_binary_images_as_they_are(x):
    binary, plain = (build(seed=3) for build in (build_binary_vae, build_vae))
    plain.set_weights(binary.get_weights())
    assert binary.evaluate(x) == plain.evaluate(x)


def test_evaluate_on_grey_levels_draws_them(mnist):
    grey = mnist.x_test[:300]
    vae = BinaryVAE(constant_vae().encoder, constant_vae().decoder)
    vae.compile()
    p, ink = grey / 255, special.expit(BIAS)
    expected = -(p * np.log(ink) + (1 - p) * np.log(1 - ink)).sum(axis=1).mean()
    error = np.sqrt((p * (1 - p) * BIAS**2).sum()) / 300
    first, second = (vae.evaluate(grey)["loss"] for _ in range(2))
    assert first == pytest.approx(expected, abs=5 * error)
    assert first != second


def test_saved_and_loaded_it_still_draws(trained, x, tmp_path):
    trained.save(tmp_path / "binary.keras")
    loaded = load_vae(tmp_path / "binary.keras")
    assert type(loaded) is BinaryVAE
    assert_array_equal(trained.encoder(x)[:2], loaded.encoder(x)[:2])


def test_the_course_and_the_source():
    course, source = build_binary_vae(), build_binary_vae(published=True)
    assert type(course) is type(source) is BinaryVAE
    assert type(course.encoder.get_layer("z")) is Sampling
    assert type(source.encoder.get_layer("z")) is PublishedSampling
    assert (course.beta, source.beta) == (1, 2)
    assert course.count_params() == source.count_params() == 101_652


def test_training_depends_on_its_setting_alone(weights):
    keras.utils.set_random_seed(7)
    for a, b in zip(weights, evaluation.train_binary(SETTING), strict=True):
        assert_array_equal(a, b)


def test_training_heeds_its_setting(mnist, monkeypatch):
    calls = []
    monkeypatch.setattr(evaluation, "load_mnist", lambda: mnist)
    monkeypatch.setattr(BinaryVAE, "fit", lambda *args, **kwargs: calls.append((args, kwargs)))
    settings = [BinarySetting(), BinarySetting(2, 3, True, 500), BinarySetting(epochs=4)]
    first, other, again = (evaluation.train_binary(setting) for setting in settings)
    assert abs(first[0] - other[0]).max() > 0.01
    assert_array_equal(first[0], again[0])
    for setting, ((vae, x), kwargs) in zip(settings, calls, strict=True):
        beta, layer = (2, PublishedSampling) if setting.published else (1, Sampling)
        assert (vae.beta, type(vae.encoder.get_layer("z"))) == (beta, layer)
        assert (kwargs["seed"], kwargs["epochs"]) == (setting.seed, setting.epochs)
        assert_array_equal(x, mnist.x_train[: setting.images])


def test_log_joint_is_the_two_terms_of_the_definition(trained, x):
    z = np.random.default_rng(0).normal(0, 2, (7, 2)).astype("float32")
    joint = evaluation.log_joint(trained.decoder, x, z)
    assert (joint.shape, joint.dtype) == ((20, 7), "float32")
    prior = stats.multivariate_normal.logpdf(z, np.zeros(2))
    for i, j in itertools.product((0, 5, 19), range(7)):
        loss = reconstruction_loss(x[i : i + 1], trained.decoder(z[j : j + 1]))
        assert joint[i, j] == pytest.approx(prior[j] - float(loss[0]), rel=1e-5)


@pytest.mark.parametrize(("half_width", "step", "count"), [(6, 0.05, 241), (2, 0.1, 41), (3, 3, 3)])
def test_the_grid_of_the_plane(half_width, step, count):
    axis = evaluation.plane_grid(half_width, step)
    assert_allclose(axis, np.linspace(-half_width, half_width, count), atol=1e-12)


def test_the_grid_stays_inside_and_has_the_origin():
    assert_allclose(evaluation.plane_grid(1, 0.3), [-0.9, -0.6, -0.3, 0, 0.3, 0.6, 0.9])


def test_exact_agrees_with_adaptive_quadrature():
    decoder, (w1, b1, w2, b2) = three_pixels()
    exact = evaluation.exact_log_likelihood(decoder, EIGHT)
    for i in (1, 6):
        signs = 2 * EIGHT[i, :3] - 1

        def density(b, a, signs=signs):
            logits = np.tanh(a * w1[0] + b * w1[1] + b1) @ w2 + b2
            return np.exp(-(a * a + b * b) / 2) / np.prod(1 + np.exp(-signs * logits)) / math.tau

        area, _ = integrate.dblquad(density, -6, 6, -6, 6, epsabs=1e-6, epsrel=1e-6)
        assert exact[i] == pytest.approx(np.log(area), abs=1e-5)


def test_the_likelihoods_of_all_images_add_up_to_1():
    exact = evaluation.exact_log_likelihood(three_pixels()[0], EIGHT, step=0.1)
    assert exact.max() - exact.min() > 0.5
    assert np.exp(exact).sum() == pytest.approx(1, abs=1e-6)
    impossible = np.zeros((1, 784), "float32")
    impossible[0, 500] = 1
    assert evaluation.exact_log_likelihood(three_pixels()[0], impossible, step=0.1)[0] < -900


def test_halving_the_step_sees_what_the_sum_cannot():
    coarse, fine, finer = (
        np.exp(evaluation.exact_log_likelihood(three_pixels()[0], EIGHT, step=step))
        for step in (1, 0.1, 0.05)
    )
    assert coarse.sum() == pytest.approx(1, abs=1e-6)
    assert abs(coarse / fine - 1).max() > 0.01
    assert_allclose(fine, finer, rtol=1e-4)


def test_exact_of_a_decoder_that_ignores_z(x):
    exact = evaluation.exact_log_likelihood(constant_vae().decoder, x, step=0.2)
    assert exact.shape == (20,)
    assert_allclose(exact, log_p_of_constant(x), rtol=1e-6)


def test_exact_takes_bytes(trained, x):
    of_floats = evaluation.exact_log_likelihood(trained.decoder, x, step=0.5)
    of_bytes = evaluation.exact_log_likelihood(trained.decoder, (255 * x).astype("uint8"), step=0.5)
    assert_array_equal(of_bytes, of_floats)


def test_exact_converges(trained, x, plane):
    for half_width, step in [(12, STEP / 2), (15, STEP)]:
        finer = evaluation.exact_log_likelihood(trained.decoder, x[:6], half_width, step)
        assert_allclose(finer, plane[2][:6], atol=1e-3)


def test_what_the_plane_leaves_out_is_missing(trained, x):
    exact = evaluation.exact_log_likelihood
    values = [exact(trained.decoder, x, half_width, STEP) for half_width in (2, 4, 8, 12)]
    assert (np.diff(values, axis=0) > -1e-4).all()
    assert values[-1].mean() - values[0].mean() > 1


@pytest.mark.parametrize("n", [1, 20, 1_000])
def test_in_pieces_it_is_the_same(trained, x, monkeypatch, n):
    images = np.resize(x, (n, 784))
    whole = evaluation.exact_log_likelihood(trained.decoder, images, step=0.5)
    piece = Mock(wraps=evaluation._log_joint)
    monkeypatch.setattr(evaluation, "PIECE", 40_000)
    monkeypatch.setattr(evaluation, "_log_joint", piece)
    pieces = evaluation.exact_log_likelihood(trained.decoder, images, step=0.5)
    assert_allclose(pieces, whole, atol=1e-4)
    calls = [call.args for call in piece.call_args_list]
    sizes = [len(z) * max(len(x), 784) for decoder, x, z in calls]
    assert len(sizes) >= 625 * max(n, 784) / 40_000
    assert max(sizes) <= 40_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": GREY}, "x: expected binary images"),
        ({"x": np.full((2, 784), 128, "uint8")}, "x: expected binary images"),
        ({"x": np.full((2, 784), np.nan)}, "x: expected pixels in"),
        ({"x": np.zeros((2, 100))}, "x: expected shape"),
        ({"decoder": 3}, "decoder: expected two latent dimensions, got 3"),
        ({"step": 0}, "step: expected a number above 0"),
        ({"step": -0.1}, "step: expected a number above 0"),
        ({"step": 6.1}, "step: expected at most half_width, 6"),
        ({"step": np.nan}, "step: expected a number above 0"),
        ({"step": 0.001}, "half_width, step: their ratio: expected .* from 1 to 2000, got 6000"),
        ({"half_width": np.nan}, "half_width: expected a finite number"),
        ({"half_width": np.inf}, "half_width: expected a finite number"),
    ],
)
def test_exact_rejects_what_it_cannot_integrate(arguments, message):
    arguments = {"decoder": 2, "x": np.zeros((2, 784)), **arguments}
    with pytest.raises(ValueError, match=f"^{message}"):
        evaluation.exact_log_likelihood(build_decoder(arguments.pop("decoder")), **arguments)


def test_grey_levels_are_rejected(trained):
    with pytest.raises(ValueError, match=r"^x: expected binary images"):
        evaluation.log_weights(trained, GREY, 5, 0)
    with pytest.raises(ValueError, match=r"^x: expected binary images"):
        evaluation.log_joint(trained.decoder, GREY, np.zeros((1, 2)))


@pytest.mark.parametrize(("images", "error"), BAD_IMAGES)
def test_bad_images_are_rejected(images, error):
    with pytest.raises(error, match=r"^x: expected"):
        binarise(images, 0)
    with pytest.raises(error, match=r"^x: expected"):
        evaluation.log_weights(constant_vae(), images, 5, 0)
    with pytest.raises(error, match=r"^x: expected"):
        build_binary_vae().fit(images)


def test_weights_repeat_by_seed(trained, x):
    first, again, other = (evaluation.log_weights(trained, x, 5, seed) for seed in (1, 1, 2))
    assert (first.shape, first.dtype) == ((20, 5), "float32")
    assert_array_equal(first, again)
    assert (first != other).all()


def test_mean_weight_of_the_constant_model_is_its_elbo(x):
    """The ELBO is log p(x) - KL(q || prior) here, since z says nothing about x."""
    z_mean, z_log_var, k = [0.8, -0.3, 0.0], [-1.0, 0.4, 0.1], 4_000
    vae = constant_vae(z_mean, z_log_var, latent_dim=3)
    kl = float(kl_divergence(np.array([z_mean]), np.array([z_log_var]))[0])
    log_w = evaluation.log_weights(vae, x[:5], k, seed=0)
    assert kl > 0.5
    error = log_w.std(axis=1) / np.sqrt(k)
    assert (abs(log_w.mean(axis=1) - (log_p_of_constant(x[:5]) - kl)) < 5 * error).all()


def test_mean_weight_is_the_elbo_by_other_draws(trained, x):
    k, rng = 1_000, np.random.default_rng(5)
    z_mean, z_log_var = (np.asarray(part) for part in trained.encoder(x)[:2])
    log_w = evaluation.log_weights(trained, x, k, seed=0)
    kl = np.asarray(kl_divergence(z_mean, z_log_var))
    for i in range(0, 20, 4):
        z = rng.normal(z_mean[i], np.exp(z_log_var[i] / 2), (k, 2)).astype("float32")
        losses = np.asarray(reconstruction_loss(np.tile(x[i], (k, 1)), trained.decoder(z)))
        error = np.hypot(losses.std(), log_w[i].std()) / np.sqrt(k)
        assert log_w[i].mean() == pytest.approx(-losses.mean() - kl[i], abs=5 * error)


def test_weights_are_unbiased_for_the_likelihood(x):
    """The mean of p(x, z) / q(z) over q is p(x); here q is wider than the posterior."""
    k = 4_000
    log_w = evaluation.log_weights(constant_vae([0.3, 0.0], [0.5, 0.3]), x[:5], k, seed=1)
    ratio = np.exp(log_w - log_p_of_constant(x[:5])[:, None])
    assert (abs(ratio.mean(axis=1) - 1) < 5 * ratio.std(axis=1) / np.sqrt(k)).all()


def test_where_q_is_the_posterior_every_weight_is_p_of_x(x):
    log_w = evaluation.log_weights(constant_vae(), x, 100, seed=0)
    assert_allclose(log_w, np.tile(log_p_of_constant(x)[:, None], 100), rtol=1e-6)
    for k in (1, 7, 100):
        bound, error = evaluation.importance_bound(log_w, k)
        assert_allclose(bound, log_p_of_constant(x), rtol=1e-6)
        assert (error < 1e-5).all()


def test_bound_of_one_draw_is_the_mean():
    log_w = np.random.default_rng(0).normal(-150, 3, (5, 40))
    bound, error = evaluation.importance_bound(log_w, 1)
    assert_allclose(bound, log_w.mean(axis=1))
    assert_allclose(error, stats.sem(log_w, axis=1))


def test_bound_is_the_mean_log_of_the_mean_weight_of_a_group():
    log_w = np.random.default_rng(0).normal(0, 2, (3, 14))
    groups = np.log(np.exp(log_w[:, :12]).reshape(3, 3, 4).mean(axis=2))  # two draws are left over
    bound, error = evaluation.importance_bound(log_w, 4)
    assert_allclose(bound, groups.mean(axis=1))
    assert_allclose(error, stats.sem(groups, axis=1))


def test_bound_grows_with_k_where_groups_nest():
    """By Jensen's inequality, for any weights and without a random error."""
    log_w = np.random.default_rng(0).normal(-200, 5, (50, 240))
    bounds = [evaluation.importance_bound(log_w, k)[0] for k in (1, 2, 6, 24, 120, 240)]
    assert (np.diff(bounds, axis=0) > 0).all()


def test_bound_of_a_constant_weight_is_that_weight():
    for k in (1, 3, 8, 24):
        bound, error = evaluation.importance_bound(np.full((2, 24), -2_000.0, "float32"), k)
        assert_allclose(bound, -2_000, rtol=1e-12)
        assert_allclose(error, 0, atol=1e-12)


@pytest.mark.parametrize("k", [1, 10, 200, 400])
def test_standard_error_is_calibrated(k):
    """Each row repeats the experiment; k 400 leaves one group, hence the delta method."""
    log_w = np.random.default_rng(0).normal(0, 0.7, (1_000, 400))
    bound, error = evaluation.importance_bound(log_w, k)
    assert np.sqrt((error**2).mean()) == pytest.approx(bound.std(), rel=0.1)


def test_a_single_draw_has_no_error():
    bound, error = evaluation.importance_bound(np.array([[-150.0], [-140.0]]), 1)
    assert bound.tolist() == [-150, -140]
    assert np.isnan(error).all()


@pytest.mark.parametrize("k", [0, -1, 41, True, 1.0])
def test_bad_k_is_rejected(k):
    with pytest.raises(ValueError, match=r"^k: expected a whole number from 1 to 40"):
        evaluation.importance_bound(np.zeros((2, 40)), k)
    if k != 41:
        with pytest.raises(ValueError, match=r"^k: expected a whole number of at least 1"):
            evaluation.log_weights(constant_vae(), np.zeros((1, 784)), k, 0)


def test_every_bound_is_on_its_side(trained, x, plane):
    exact, log_w = plane[2], evaluation.log_weights(trained, x, 1_000, seed=4)
    bounds = [evaluation.importance_bound(log_w, k) for k in (1, 10, 100, 1_000)]
    assert (np.diff([bound for bound, _ in bounds], axis=0) >= 0).all()
    for bound, error in bounds:
        # The delta method sees no draws that it missed, hence the wide margin for one image.
        assert (bound - exact < 8 * error + 1e-3).all()
        assert (bound - exact).sum() < 4 * np.sqrt((error**2).sum())
    elbo, best = bounds[0][0].mean(), bounds[-1][0].mean()
    assert exact.mean() - best < 0.2 * (exact.mean() - elbo)


def test_gaussian_elbo_of_the_constant_model(x):
    """log p(x) - KL(q || prior), for a q of any place and width that the plane holds."""
    axis = evaluation.plane_grid(step=STEP)
    joint = log_joint_on_plane(constant_vae().decoder, x, axis)
    rng = np.random.default_rng(0)
    z_mean = rng.uniform(-2, 2, (20, 2)).astype("float32")
    z_log_var = rng.uniform(2 * np.log(STEP), 0, (20, 2)).astype("float32")
    kl = np.asarray(kl_divergence(z_mean, z_log_var))
    assert kl.std() > 0.5
    elbo = evaluation.gaussian_elbo(joint, axis, z_mean, z_log_var)
    assert elbo.shape == (20,)
    assert_allclose(elbo, log_p_of_constant(x) - kl, atol=1e-3)


def test_gaussian_elbo_agrees_with_draws(trained, x, plane):
    axis, joint, _ = plane
    bound, error = evaluation.importance_bound(evaluation.log_weights(trained, x, 2_000, seed=6), 1)
    elbo = np.asarray(evaluation.gaussian_elbo(joint, axis, *trained.encoder(x)[:2]))
    assert (abs(elbo - bound) < 5 * error).all()


def test_gaussian_elbo_knows_its_axes(trained, x, plane):
    """The gap is KL(q || posterior), summed by scipy for a q unlike in its two dimensions."""
    axis, joint, exact = plane
    z_mean, z_log_var = np.array([[1.0, -0.5]]), np.array([[-2.0, 0.0]])
    one, other = (stats.norm.pdf(axis, z_mean[0, d], np.exp(z_log_var[0, d] / 2)) for d in (0, 1))
    q = np.outer(other, one) * STEP**2  # z[1] downwards, z[0] to the right
    gap = np.sum(q * (np.log(q / STEP**2) - (joint[3].astype("float64") - exact[3])))
    elbo = evaluation.gaussian_elbo(joint[3:4], axis, z_mean, z_log_var)
    assert exact[3] - float(elbo[0]) == pytest.approx(gap, abs=1e-3)


def test_gaussian_elbo_is_never_above_the_likelihood(plane):
    axis, joint, exact = plane
    rng = np.random.default_rng(0)
    for _ in range(20):
        q = rng.uniform(-3, 3, (20, 2)), rng.uniform(2 * np.log(STEP), -0.5, (20, 2))
        assert (np.asarray(evaluation.gaussian_elbo(joint, axis, *q)) < exact + 1e-3).all()


def test_fitted_gaussians_find_a_gaussian_posterior(x):
    axis = evaluation.plane_grid(step=STEP)
    joint = log_joint_on_plane(constant_vae().decoder, x[:4], axis)
    start = np.float32([[1, -1]] * 4), np.float32([[-1.5, 0.3]] * 4)
    z_mean, z_log_var = evaluation.fit_gaussians(joint, axis, *start)
    assert isinstance(z_mean, np.ndarray)
    assert_allclose([z_mean, z_log_var], np.zeros((2, 4, 2)), atol=0.01)
    elbo = evaluation.gaussian_elbo(joint, axis, z_mean, z_log_var)
    assert_allclose(elbo, log_p_of_constant(x[:4]), atol=1e-3)


def test_fitted_gaussians_close_a_part_of_the_gap(trained, x, plane):
    axis, joint, exact = plane
    start = [np.asarray(part) for part in trained.encoder(x)[:2]]
    fitted = evaluation.fit_gaussians(joint, axis, *start)
    assert (fitted[1] > 2 * np.log(STEP)).all()  # wide enough for the step, so these are bounds
    before = np.asarray(evaluation.gaussian_elbo(joint, axis, *start))
    after = np.asarray(evaluation.gaussian_elbo(joint, axis, *fitted))
    assert (after > before - 0.01).all()
    assert (after < exact + 1e-3).all()
    assert (exact - after).mean() < 0.8 * (exact - before).mean()


@pytest.mark.parametrize("images", [0, -1, 55_001, True, 100.0])
def test_bad_number_of_images_is_rejected(images, mnist, monkeypatch):
    monkeypatch.setattr(evaluation, "load_mnist", lambda: mnist)
    with pytest.raises(ValueError, match=r"^images: expected a whole number from 1 to 55000"):
        evaluation.train_binary(BinarySetting(images=images))


@pytest.mark.parametrize(("name", "value"), [("seed", -1), ("seed", 1.5), ("epochs", 0)])
def test_other_settings_are_rejected(name, value):
    with pytest.raises(ValueError, match=f"^{name}: expected a whole number"):
        evaluation.train_binary(BinarySetting()._replace(**{name: value}))
