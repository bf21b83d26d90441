"""z is drawn from N(z_mean, exp(z_log_var)), lets gradients through, and repeats by seed."""

from helpers.encoder import build_encoder
from helpers.sampling import Sampling, add_sampling
from tests.fast.test_loss import gradients

import keras
import numpy as np
import pytest
import scipy.stats

N = 200_000
Z_MEAN = np.float32([1.5, -0.5, 0])
Z_LOG_VAR = np.float32([-2, 1.2, 0])  # a log of a standard deviation would give other variances


def draw(n, seed=0):
    inputs = [np.broadcast_to(a, (n, 3)) for a in (Z_MEAN, Z_LOG_VAR)]
    return np.asarray(Sampling(seed)(inputs), "float64")


def test_mean_and_variance_of_the_draws():
    z, variance = draw(N), np.exp(Z_LOG_VAR)
    assert (abs(z.mean(axis=0) - Z_MEAN) < 5 * np.sqrt(variance / N)).all()
    error = variance * np.sqrt(2 / (N - 1))
    assert (abs(z.var(axis=0, ddof=1) - variance) < 5 * error).all()


def test_draws_are_normal_and_independent():
    epsilon = (draw(N) - Z_MEAN) / np.exp(Z_LOG_VAR / 2)
    for column in epsilon.T:
        assert scipy.stats.kstest(column, "norm").pvalue > 1e-6
    columns = [*epsilon.T, np.roll(epsilon[:, 0], 1)]  # the last: independent across rows too
    assert abs(np.corrcoef(columns) - np.eye(4)).max() < 5 / np.sqrt(N)


def test_gradients_agree_with_the_closed_form():
    # E[z^2] = m^2 + exp(s), so its derivatives are 2 m and exp(s).
    m, s, shape = 0.7, -0.8, (N, 1)
    pair = gradients(lambda *q: Sampling(1)(q) ** 2, np.full(shape, m), np.full(shape, s))
    variances = 4 * np.exp(s), m**2 * np.exp(s) + 2 * np.exp(2 * s)
    for gradient, expected, variance in zip(pair, (2 * m, np.exp(s)), variances, strict=True):
        gradient = gradient.astype("float64")
        assert gradient.var() == pytest.approx(variance, rel=0.05)
        assert gradient.mean() == pytest.approx(expected, abs=5 * np.sqrt(variance / N))


def test_gradients_agree_with_finite_differences_under_the_same_noise():
    def z(*inputs):
        return Sampling(2)(inputs)

    h, inputs = 1e-2, [np.broadcast_to(a, (50, 3)) for a in (Z_MEAN, Z_LOG_VAR)]
    for i, gradient in enumerate(gradients(z, *inputs)):
        up, down = ([a + sign * h * (i == j) for j, a in enumerate(inputs)] for sign in (1, -1))
        np.testing.assert_allclose(gradient, (z(*up) - z(*down)) / (2 * h), atol=5e-4)


def test_a_seed_fixes_the_draws():
    np.testing.assert_array_equal(draw(10, seed=3), draw(10, seed=3))
    assert not np.isclose(draw(10, seed=3), draw(10, seed=4)).any()


def test_without_a_seed_the_global_one_decides():
    draws = []
    for seed in (5, 5, 6):
        keras.utils.set_random_seed(seed)
        draws.append(draw(10, seed=None))
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.isclose(draws[0], draws[2]).any()


def test_every_call_draws_anew():
    layer, inputs = Sampling(0), (np.zeros((10, 2), "float32"),) * 2
    assert not np.isclose(layer(inputs), layer(inputs)).any()


def test_saved_and_loaded_in_safe_mode(tmp_path):
    encoder = add_sampling(build_encoder(), Sampling(7, name="z"))
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras", safe_mode=True)
    x = np.random.default_rng(0).random((4, 784), "float32")
    assert isinstance(loaded.get_layer("z"), Sampling)
    np.testing.assert_array_equal(encoder(x), loaded(x))  # the same noise as well


def test_add_sampling_shares_the_weights_and_adds_none():
    bare = build_encoder()
    encoder = add_sampling(bare)
    assert encoder.count_params() == 50_500
    assert [id(w) for w in encoder.trainable_weights] == [id(w) for w in bare.trainable_weights]
    assert [output.shape for output in encoder.outputs] == [(None, 2)] * 3
    x = np.random.default_rng(0).random((4, 784), "float32")
    np.testing.assert_array_equal(bare(x), encoder(x)[:2])


def test_add_sampling_uses_the_encoders_own_parameters():
    rng, bare = np.random.default_rng(0), build_encoder()
    bare.set_weights([rng.normal(0, 0.1, weight.shape) for weight in bare.get_weights()])
    encoder = add_sampling(bare, Sampling(8))
    x = rng.random((500, 784), "float32")
    z_mean, z_log_var, z = (np.asarray(output, "float64") for output in encoder(x))
    epsilon = (z - z_mean) / np.exp(z_log_var / 2)
    assert scipy.stats.kstest(epsilon.ravel(), "norm").pvalue > 1e-6


@pytest.mark.parametrize("outputs", [1, 3])
def test_add_sampling_rejects_other_encoders(outputs):
    x = keras.Input((784,))
    encoder = keras.Model(x, [keras.layers.Dense(2)(x) for _ in range(outputs)])
    with pytest.raises(ValueError, match=f"^encoder: expected two outputs.* got {outputs}$"):
        add_sampling(encoder)
