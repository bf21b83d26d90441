"""Both terms of the loss against their definitions, in float64 and written independently."""

from helpers.argument_checks import check_real
from helpers.loss import kl_divergence, reconstruction_loss

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from scipy import integrate, special, stats

# Means and log variances of some Gaussians, one a row.
GAUSSIANS = [(0, 0), (1.5, 0), (0, 1), (-0.7, -2), (2, 0.8), (0.1, -6)]
TERMS = [(reconstruction_loss, "x, logits"), (kl_divergence, "z_mean, z_log_var")]
BAD_SHAPES = [((4, 3), (4, 1)), ((4, 3), (1, 3)), ((3,), (3,)), ((2, 3, 4), (2, 3, 4))]


def kl(z_mean, z_log_var):
    return kl_divergence(np.atleast_2d(z_mean), np.atleast_2d(z_log_var)).numpy()


def gradients(function, *inputs):
    inputs = [tf.constant(a, "float32") for a in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.reduce_sum(function(*inputs))
    return [gradient.numpy() for gradient in tape.gradient(total, inputs)]


@pytest.mark.parametrize(("m", "s"), GAUSSIANS)
def test_kl_agrees_with_numerical_integration(m, s):
    q, p = stats.norm(m, np.sqrt(np.exp(s))), stats.norm(0, 1)
    ends = q.mean() - 12 * q.std(), q.mean() + 12 * q.std()
    integral, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), *ends)
    assert kl(m, s)[0] == pytest.approx(integral, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("m", "s"), GAUSSIANS)
def test_kl_agrees_with_monte_carlo(m, s):
    q = stats.norm(m, np.sqrt(np.exp(s)))
    z = q.rvs(100_000, random_state=0)
    ratios = q.logpdf(z) - stats.norm.logpdf(z)
    error = ratios.std() / np.sqrt(100_000)
    assert kl(m, s)[0] == pytest.approx(ratios.mean(), abs=5 * error + 1e-6)


def test_kl_is_zero_at_the_prior_and_positive_elsewhere():
    assert kl([0, 0, 0], [0, 0, 0])[0] == 0
    m, s = (a.reshape(-1, 1) for a in np.meshgrid(np.linspace(-3, 3, 41), np.linspace(-5, 3, 41)))
    values = kl_divergence(m, s).numpy()
    away = (abs(m) + abs(s))[:, 0] > 1e-9
    assert (values >= 0).all()
    assert (values[away] > 0).all()


def test_kl_sums_over_the_latent_dimensions():
    m, s = np.array(GAUSSIANS).T
    assert kl(m, s)[0] == pytest.approx(sum(kl(*pair)[0] for pair in GAUSSIANS), rel=1e-6)
    assert kl(m, s).shape == (1,)


def test_kl_gradients_agree_with_finite_differences():
    def integral(m, s):  # of q log(q / p), from the definition
        scale = np.exp(s / 2)
        z = np.linspace(m - 12 * scale, m + 12 * scale, 4001)
        q, p = stats.norm(m, scale), stats.norm(0, 1)
        return integrate.simpson(q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), x=z, axis=0)

    m, s, h = *np.array(GAUSSIANS).T, 1e-4
    by_mean, by_log_var = gradients(kl_divergence, m[:, None], s[:, None])
    finite = (integral(m + h, s) - integral(m - h, s)) / (2 * h)
    assert_allclose(by_mean[:, 0], finite, rtol=0, atol=1e-5)
    finite = (integral(m, s + h) - integral(m, s - h)) / (2 * h)
    assert_allclose(by_log_var[:, 0], finite, rtol=0, atol=1e-5)


def test_reconstruction_agrees_with_the_bernoulli_likelihood():
    rng = np.random.default_rng(0)
    logits, ink = rng.normal(0, 3, (6, 784)), rng.integers(0, 2, (6, 784))
    expected = -stats.bernoulli.logpmf(ink, special.expit(logits)).sum(axis=1)
    assert_allclose(reconstruction_loss(ink, logits), expected, rtol=1e-5)


def test_reconstruction_of_grey_is_the_cross_entropy():
    rng = np.random.default_rng(1)
    x, logits = rng.random((6, 784)), rng.normal(0, 3, (6, 784))
    p = special.expit(logits)
    expected = -(special.xlogy(x, p) + special.xlogy(1 - x, 1 - p)).sum(axis=1)
    assert_allclose(reconstruction_loss(x, logits), expected, rtol=1e-5)


def test_a_fair_coin_a_pixel_costs_log_2():
    x = np.random.default_rng(2).random((3, 784))
    assert_allclose(reconstruction_loss(x, 0 * x), 784 * np.log(2), rtol=1e-6)


def test_reconstruction_is_finite_at_extreme_logits():
    x = np.array([[0, 1], [1, 0], [0.5, 0.5]])
    logits = np.array([[-1e4, 1e4], [-1e4, 1e4], [1e4, -1e4]])
    assert_allclose(reconstruction_loss(x, logits), [0, 2e4, 1e4])
    _, by_logits = gradients(reconstruction_loss, x, logits)
    assert_allclose(by_logits, special.expit(logits) - x)


def test_reconstruction_gradients_agree_with_finite_differences():
    rng = np.random.default_rng(3)
    x, logits, h = rng.random((4, 20)), rng.normal(0, 3, (4, 20)), 1e-5

    def cost(logits):
        p = special.expit(logits)
        return -x * np.log(p) - (1 - x) * np.log1p(-p)

    by_x, by_logits = gradients(reconstruction_loss, x, logits)
    finite = (cost(logits + h) - cost(logits - h)) / (2 * h)
    assert_allclose(by_logits, finite, atol=1e-5)
    assert_allclose(by_x, -logits, rtol=1e-5)


def test_perfect_reconstruction_costs_the_entropy_of_the_grey_levels(mnist):
    x = mnist.x_test / np.float64(255)
    logits = np.clip(special.logit(x), -1e4, 1e4)
    cost = np.mean(reconstruction_loss(x, logits))
    assert cost == pytest.approx(45.5, abs=0.05)
    assert cost == pytest.approx((special.entr(x) + special.entr(1 - x)).sum() / 10_000, rel=1e-5)


def test_the_mean_image_costs_what_total_collapse_costs(mnist):
    x = mnist.x_test / np.float64(255)
    mean_image = np.clip(mnist.x_train.mean(axis=0) / 255, 1e-6, 1)  # ink in test alone is rare
    logits = np.broadcast_to(special.logit(mean_image), x.shape)
    assert np.mean(reconstruction_loss(x, logits)) == pytest.approx(205.9, abs=0.15)


@pytest.mark.parametrize(("function", "names"), TERMS)
@pytest.mark.parametrize("shapes", BAD_SHAPES)
def test_shapes_that_would_broadcast_are_rejected(function, names, shapes):
    with pytest.raises(ValueError, match=r": expected shape|: expected two arrays of one shape"):
        function(*map(np.zeros, shapes))
    with pytest.raises(ValueError, match=f"^{names}: expected two arrays of one shape"):
        tf.function(function, autograph=False)(*(tf.zeros(shape) for shape in shapes))


@pytest.mark.parametrize("beta", [0, 1, 0.5, np.float32(4)])
def test_good_betas(beta):
    assert check_real(beta, "beta") == beta
    assert type(check_real(beta, "beta")) is float


@pytest.mark.parametrize("beta", [-0.1, np.nan, np.inf, True, "1", None])
def test_bad_betas_are_rejected(beta):
    with pytest.raises(ValueError, match=r"^beta: expected a finite number of at least 0"):
        check_real(beta, "beta")


@pytest.mark.parametrize("s", [80.5, 1e15])
def test_a_variance_beyond_float32_is_refused(s):
    with pytest.raises(ValueError, match=r"^z_log_var: expected values up to 80, .* got "):
        kl_divergence(np.zeros((2, 3)), np.full((2, 3), s))
