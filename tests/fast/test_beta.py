"""The loss with knobs, told by a plain one."""

from helpers import beta
from helpers.beta import BetaVAE, Setting, active_units, aggregate_covariance, train
from helpers.encoder import build_encoder
from helpers.loss import kl_divergence
from helpers.sampling import add_sampling
from helpers.training import build_vae
from tests.fast.test_training import FixedNoise, assert_all_close

import keras
import numpy as np
import pytest
import tensorflow as tf

SHORT = Setting(epochs=1, images=640)
SETTINGS = [
    SHORT._replace(beta=4.0),
    SHORT._replace(seed=2, reconstruction_weight=0.5),
    SHORT._replace(warm_up=10, beta_start=0.5, free_nats=0.5),
]


@pytest.fixture
def codes():
    rng = np.random.default_rng(0)
    z_mean = rng.normal(size=(50, 3)) @ [[1, 0.5, 0], [0, 2, 0], [0, 0.3, 0.1]] + [0, 1, 2]
    return z_mean.astype("float32"), rng.normal(-1, 1, (50, 3)).astype("float32")


def test_kl_by_unit_sums_to_the_kl_divergence(codes):
    kl = beta.kl_by_unit(*codes)
    assert kl.shape == (50, 3)
    np.testing.assert_allclose(np.sum(kl, axis=1), kl_divergence(*codes), rtol=1e-5)
    np.testing.assert_allclose(beta.kl_by_unit(np.zeros((1, 2)), np.zeros((1, 2))), 0)


def test_active_units_vary_by_more_than_the_threshold():
    signs = np.array([[1.0], [-1.0]])
    z_mean = 5 + signs * np.sqrt([0.0, 0.009, 0.011, 4.0])  # these variances, around 5
    assert active_units(z_mean).tolist() == [False, False, True, True]
    assert active_units(z_mean, threshold=0.01).tolist() == [False, False, True, True]
    assert active_units(z_mean, threshold=1).tolist() == [False, False, False, True]


def test_aggregate_covariance_is_that_of_samples(codes):
    z_mean, z_log_var = codes
    n = 200_000
    rng = np.random.default_rng(1)
    chosen = rng.integers(len(z_mean), size=n)
    z = z_mean[chosen] + np.exp(z_log_var[chosen] / 2) * rng.normal(size=(n, 3))
    centred = z - z.mean(axis=0)
    error = (centred[:, :, None] * centred[:, None, :]).std(axis=0) / np.sqrt(n)
    assert np.all(abs(aggregate_covariance(*codes) - np.cov(z.T)) < 5 * error)
    assert error.max() < 0.02  # so the comparison means something


def test_aggregate_covariance_of_a_known_case():
    z_mean = np.array([[1.0, 2.0], [-1.0, -2.0]])
    z_log_var = np.log([[1.0, 3.0], [3.0, 5.0]])
    np.testing.assert_allclose(aggregate_covariance(z_mean, z_log_var), [[1 + 2, 2], [2, 4 + 4]])
    assert aggregate_covariance(z_mean[:, :1], z_log_var[:, :1]).shape == (1, 1)


def test_objective_charges_each_unit_for_free_nats_at_least():
    kl = np.array([1.0, 3.0], "float32")
    np.testing.assert_allclose(beta.objective(100.0, kl, 2.0), 100 + 2 * (1 + 3))
    np.testing.assert_allclose(beta.objective(100.0, kl, 2.0, 2.5, 0.5), 50 + 2 * (2.5 + 3))


@pytest.fixture
def batch(mnist):
    """Six images."""
    return (mnist.x_train[:6].astype("float32") / 255,)


def build(**knobs):
    """A BetaVAE whose gradient can be read off: plain descent, known noise."""
    encoder = add_sampling(build_encoder(), FixedNoise(name="z"))
    vae = beta.draw_weights(BetaVAE(Setting(**knobs), encoder), 1)
    vae.compile(optimizer=keras.optimizers.SGD(1.0))
    return vae


def plain_gradient(vae, x, reconstruction_weight=1.0, beta=1.0, free_nats=0.0):
    """The gradient of the loss, its value and the KL of each unit, written out for images x."""
    with tf.GradientTape() as tape:
        mean, log_var, z = vae.encoder(x)
        pixels = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=vae.decoder(z))
        kl = tf.reduce_mean(tf.square(mean) + tf.exp(log_var) - log_var - 1, axis=0) / 2
        charged = tf.where(kl > free_nats, kl, free_nats)
        reconstruction = tf.reduce_mean(tf.reduce_sum(pixels, axis=1))
        loss = reconstruction_weight * reconstruction + beta * tf.reduce_sum(charged)
    gradient = tape.gradient(loss, vae.trainable_variables)
    return [g.numpy() for g in gradient], reconstruction.numpy(), kl.numpy()


def descent(vae, batch):
    """How far one step moves each weight, and the two terms that it reports."""
    vae.reset_metrics()
    before, logs = vae.get_weights(), vae.train_step((batch[0][:5],))
    terms = [5 * float(logs[name]) for name in ("reconstruction_loss", "kl_divergence")]
    return [a - b for a, b in zip(before, vae.get_weights(), strict=True)], terms


def assert_close(arrays, others):
    for array, other in zip(arrays, others, strict=True):
        np.testing.assert_allclose(array, other, atol=1e-4 * abs(other).max())


def test_default_knobs_train_as_the_plain_vae(mnist):
    plain, vae = build_vae(seed=3), BetaVAE(Setting(seed=3))
    vae.compile(optimizer="adam")
    vae.set_weights(plain.get_weights())
    histories = [model.fit(mnist.x_train[:330], seed=4).history for model in (plain, vae)]
    assert_all_close(plain.get_weights(), vae.get_weights(), atol=2e-5)
    for name in ("reconstruction_loss", "kl_divergence"):
        np.testing.assert_allclose(*[history[name] for history in histories], rtol=1e-4)


def test_knobs_weigh_the_terms(batch):
    vae = build(beta=3.0, reconstruction_weight=0.25)
    expected, reconstruction, kl = plain_gradient(vae, batch[0][:5], 0.25, 3.0)
    moved, terms = descent(vae, batch)
    assert_close(moved, expected)
    np.testing.assert_allclose(terms, [5 * reconstruction, 5 * kl.sum()], rtol=1e-5)


@pytest.mark.parametrize(
    ("start", "betas"), [(0.0, (0.1, 0.2, 0.3, 0.3)), (0.5, (0.2, 0.25, 0.3, 0.3))]
)
def test_warm_up_is_linear_in_the_steps(batch, start, betas):
    vae = build(beta=0.3, warm_up=3, beta_start=start, reconstruction_weight=0.0)
    for effective in betas:
        expected, _, _ = plain_gradient(vae, batch[0][:5], 0.0, effective)
        assert_close(descent(vae, batch)[0], expected)


def test_free_nats_spare_the_units_below(batch):
    _, _, kl = plain_gradient(build(), batch[0][:5])
    free_nats = float(kl.mean())
    vae = build(reconstruction_weight=0.0, free_nats=free_nats)
    expected, _, _ = plain_gradient(vae, batch[0][:5], 0.0, 1.0, free_nats)
    moved, terms = descent(vae, batch)
    assert_close(moved, expected)
    np.testing.assert_allclose(terms[1], 5 * kl.sum(), rtol=1e-5)  # what is reported is all of it
    z_mean_kernel = moved[2]
    assert z_mean_kernel.shape == (64, 2)
    np.testing.assert_array_equal(abs(z_mean_kernel).max(axis=0) > 0, kl > free_nats)


def test_without_reconstruction_the_posterior_becomes_the_prior():
    result = train(SHORT._replace(reconstruction_weight=0.0, epochs=20))
    assert result["kl_divergence"] < 0.01
    assert result["history"]["kl_divergence"][0] > 0.1


def test_weights_are_drawn_from_their_seed_alone():
    drawn = []
    for state, seed in ((1, 5), (2, 5), (2, 6)):
        keras.utils.set_random_seed(state)
        vae = build_vae()
        assert beta.draw_weights(vae, seed) is vae
        drawn.append(vae.get_weights())
    np.testing.assert_equal(drawn[0], drawn[1])
    kernels = [[weight for weight in weights if weight.ndim == 2] for weights in drawn]
    for kernel, other in zip(kernels[1], kernels[2], strict=True):
        limit = np.sqrt(6 / sum(kernel.shape))
        assert 0.9 * limit < abs(kernel).max() <= limit
        assert not np.isclose(kernel, other).all()
    assert not np.isclose(kernels[0][1], kernels[0][2]).all()  # two heads of one shape
    assert not any(weight.any() for weight in drawn[0] if weight.ndim == 1)


def test_a_setting_gives_the_same_numbers_whatever_was_trained_before(monkeypatch):
    monkeypatch.setattr(beta, "_compiled", {})
    first = train(SETTINGS[0])
    np.testing.assert_equal(train(SETTINGS[0]), first)
    monkeypatch.setattr(beta, "_compiled", {})
    others = [train(setting) for setting in SETTINGS[1:]]
    np.testing.assert_equal(train(SETTINGS[0]), first)
    assert len({result["reconstruction_loss"] for result in (first, *others)}) == 3
    history = first["history"]
    pairs = zip(history["reconstruction_loss"], history["kl_divergence"], strict=True)
    np.testing.assert_allclose(history["loss"], [d + 4 * r for d, r in pairs])


def test_settings_of_one_size_share_a_compiled_model(monkeypatch):
    train(SETTINGS[0])
    monkeypatch.setattr(beta, "objective", None)  # called when a step is traced
    for setting in SETTINGS[1:]:
        train(setting)


@pytest.mark.parametrize("latent_dim", [2, 3])
def test_weights_give_what_was_reported(mnist, latent_dim):
    result = train(SHORT._replace(latent_dim=latent_dim, epochs=2))
    vae = build_vae(latent_dim)
    vae.set_weights(result["weights"])
    measured = vae.evaluate(mnist.x_test)
    assert result["kl_divergence"] == pytest.approx(measured["kl_divergence"], rel=1e-4)
    # Other noise; over 10,000 images little of it is left.
    assert result["reconstruction_loss"] == pytest.approx(measured["reconstruction_loss"], rel=2e-3)
    before, after = result["history"]["reconstruction_loss"]
    assert result["reconstruction_loss"] < after < before


BAD = [("beta", np.nan), ("beta", "1"), ("seed", 1.5), ("free_nats", np.inf), ("images", 10**6)]
BAD += [(name, -1) for name in ("beta", "seed", "reconstruction_weight", "warm_up", "beta_start")]
BAD += [(name, 0) for name in ("epochs", "latent_dim", "images")]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_settings_are_rejected(name, value):
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        train(SHORT._replace(**{name: value}))
