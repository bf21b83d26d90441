"""The published model is kept as it stands, and the audit tells what its loss leaves out."""

from helpers.published import PublishedSampling, audit, build_published_vae
from helpers.sampling import Sampling
from helpers.training import build_vae

import keras
import numpy as np
import pytest
from scipy import special, stats


@pytest.fixture
def x():
    return np.random.default_rng(0).random((40, 784), "float32")


@pytest.fixture
def vae():
    """A published model whose random weights spread z_mean and s by about 1."""
    rng = np.random.default_rng(1)
    vae = build_published_vae(beta=2.0, seed=0)
    vae.set_weights([rng.normal(0, 0.1, weight.shape) for weight in vae.get_weights()])
    return vae


def constant(z_mean, s, **kwargs):
    """A published model that encodes every image as the same (z_mean, s) in both dimensions."""
    vae = build_published_vae(**kwargs)
    weights = [np.zeros_like(weight) for weight in vae.encoder.get_weights()]
    weights[3][:], weights[5][:] = z_mean, s
    vae.encoder.set_weights(weights)
    return vae


@pytest.mark.parametrize(("noise_std", "exponent"), [(0.1, 1.0), (1.0, 1.0), (0.3, 0.5)])
def test_the_layer_draws_as_published(noise_std, exponent):
    n, s = 200_000, np.float32([-1, 0, 0.7])
    layer = PublishedSampling(noise_std, exponent, seed=0)
    z = np.asarray(layer((np.full((n, 3), 2, "float32"), np.broadcast_to(s, (n, 3)))), "float64")
    std = noise_std * np.exp(exponent * s)
    assert (abs(z.mean(axis=0) - 2) < 5 * std / np.sqrt(n)).all()
    assert (abs(z.std(axis=0) - std) < 5 * std / np.sqrt(2 * n)).all()
    np.testing.assert_allclose(layer.drawn_log_var(s), 2 * np.log(std), rtol=1e-5, atol=1e-6)


def test_the_defaults_are_the_sources():
    vae = build_published_vae()
    layer = vae.encoder.get_layer("z")
    assert (layer.noise_std, layer.exponent, vae.beta) == (0.1, 1.0, 2)
    assert vae.count_params() == 101_652


def test_the_repaired_layer_is_sampling():
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(50, 2)).astype("float32") for _ in range(2)]
    z = PublishedSampling(noise_std=1, exponent=0.5, seed=3)(inputs)
    np.testing.assert_allclose(z, Sampling(3)(inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("s", "counted", "true"), [(0, 0.00, 1.81), (-1, 0.18, 2.80)])
def test_known_kl_of_a_dimension(x, s, counted, true):
    result = audit(constant(0, s), x)
    assert result["KL counted"] / 2 == pytest.approx(counted, abs=0.005)
    assert result["KL true"] / 2 == pytest.approx(true, abs=0.005)


def test_audit_agrees_with_an_independent_computation(vae, x):
    w1, b1, w_mean, b_mean, w_s, b_s, w2, b2, w3, b3 = vae.get_weights()
    hidden = np.maximum(x @ w1 + b1, 0)
    z_mean, s = hidden @ w_mean + b_mean, hidden @ w_s + b_s
    assert s.std() > 0.1
    draws, q = 2_000, stats.norm(z_mean, 0.1 * np.exp(s))
    z = q.rvs((draws, *z_mean.shape), random_state=np.random.default_rng(2))
    ratios = (q.logpdf(z) - stats.norm.logpdf(z)).sum(axis=2)  # (draws, n)
    logits = np.maximum(z[:40] @ w2 + b2, 0) @ w3 + b3
    costs = (np.logaddexp(0, logits) - x * logits).sum(axis=2)
    counted = ((np.exp(s) + z_mean**2 - 1 - s) / 2).sum(axis=1).mean()

    def error(values, draws):
        return 5 * np.sqrt(values.var(axis=0).mean() / len(x) / draws)

    result = audit(vae, x)
    assert result["KL counted"] == pytest.approx(counted, rel=1e-4)
    assert result["KL true"] == pytest.approx(ratios.mean(), abs=error(ratios, draws))
    # The audit draws once an image, so its own error dominates.
    margin = error(costs, 1) + error(costs, 40)
    assert result["reconstruction"] == pytest.approx(costs.mean(), abs=margin)
    assert result["printed loss"] == pytest.approx(result["reconstruction"] + 2 * counted, rel=1e-5)
    bound = result["printed loss"] - 2 * result["KL counted"] + result["KL true"]
    assert result["-ELBO"] == pytest.approx(bound, rel=1e-6)


def test_the_repaired_model_counts_what_is_true(x):
    result = audit(constant(0.5, -0.7, noise_std=1, exponent=0.5, beta=1), x)
    assert result["KL counted"] == pytest.approx(result["KL true"], rel=1e-5)
    assert result["printed loss"] == pytest.approx(result["-ELBO"], rel=1e-6)


def test_audit_takes_bytes_and_grey_levels(x):
    images, vae = (255 * x).astype("uint8"), constant(0.5, -20)  # hardly any noise
    assert audit(vae, images) == pytest.approx(audit(vae, images / 255.0), rel=1e-5)


def test_reconstruction_of_a_constant_model(x):
    vae = constant(0, 0)
    bias = np.linspace(-2, 2, 784)
    vae.decoder.set_weights([np.zeros((2, 64)), np.zeros(64), np.zeros((64, 784)), bias])
    p = special.expit(bias)
    expected = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=1).mean()
    assert audit(vae, x)["reconstruction"] == pytest.approx(expected, rel=1e-5)


def test_it_trains_and_loads_in_safe_mode(x, tmp_path):
    keras.utils.set_random_seed(0)
    vae = build_published_vae(noise_std=0.3, exponent=0.7, beta=3)
    history = vae.fit(x, epochs=3).history
    assert history["loss"][2] < history["loss"][0]
    vae.save(tmp_path / "published.keras")
    loaded = keras.saving.load_model(tmp_path / "published.keras", safe_mode=True)
    layer = loaded.encoder.get_layer("z")
    assert isinstance(layer, PublishedSampling)
    assert (layer.noise_std, layer.exponent, loaded.beta) == (0.3, 0.7, 3)
    np.testing.assert_array_equal(loaded.encoder(x)[1], vae.encoder(x)[1])


@pytest.mark.parametrize("value", [0, -0.1, np.nan])
@pytest.mark.parametrize("name", ["noise_std", "exponent"])
def test_bad_arguments_are_rejected(name, value):
    with pytest.raises(ValueError, match=f"^{name}: expected a number above 0"):
        build_published_vae(**{name: value})


def test_audit_rejects_the_courses_model_and_other_images(vae, x):
    with pytest.raises(ValueError, match=r"^vae: expected .* got Sampling"):
        audit(build_vae(), x)
    with pytest.raises(ValueError, match=r"^x: expected"):
        audit(vae, x[:, :100])
