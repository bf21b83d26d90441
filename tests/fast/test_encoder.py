"""The encoder is the network of the source: 784-64 with ReLU and two linear heads."""

from helpers.encoder import build_encoder

import keras
import numpy as np
import pytest

BAD_LATENT_DIMS = [0, -1, True, 2.0, "2", None]


def test_parameters():
    assert build_encoder().count_params() == (784 * 64 + 64) + 2 * (64 * 2 + 2) == 50_500


@pytest.mark.parametrize("latent_dim", [1, 2, 7])
def test_output_shapes(latent_dim):
    z_mean, z_log_var = build_encoder(latent_dim)(np.zeros((5, 784), "float32"))
    assert z_mean.shape == z_log_var.shape == (5, latent_dim)


def test_layers():
    encoder = build_encoder()
    dense = [layer for layer in encoder.layers if isinstance(layer, keras.layers.Dense)]
    described = [f"{layer.name} {layer.units} {layer.activation.__name__}" for layer in dense]
    assert described == ["encoder_hidden 64 relu", "z_mean 2 linear", "z_log_var 2 linear"]
    assert len(encoder.layers) == 4  # and the input
    assert encoder.output_names == ["z_mean", "z_log_var"]


def test_forward_pass_agrees_with_numpy():
    rng, encoder = np.random.default_rng(0), build_encoder(3)
    weights = [rng.normal(0, 0.1, weight.shape) for weight in encoder.get_weights()]
    encoder.set_weights(weights)
    x = rng.random((9, 784))
    hidden = np.maximum(x @ weights[0] + weights[1], 0)
    assert (hidden == 0).any()  # or ReLU would go untested
    z_mean, z_log_var = encoder(x.astype("float32"))
    np.testing.assert_allclose(z_mean, hidden @ weights[2] + weights[3], atol=1e-5)
    np.testing.assert_allclose(z_log_var, hidden @ weights[4] + weights[5], atol=1e-5)


@pytest.mark.parametrize("latent_dim", BAD_LATENT_DIMS)
def test_bad_latent_dim_is_rejected(latent_dim):
    with pytest.raises(ValueError, match=r"^latent_dim: expected a whole number of at least 1"):
        build_encoder(latent_dim)
