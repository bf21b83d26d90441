"""The decoder is the network of the source: 2-64 with ReLU and 784 logits."""

from helpers.decoder import build_decoder, compose, decode
from helpers.encoder import build_encoder
from helpers.sampling import add_sampling
from tests.fast.test_encoder import BAD_LATENT_DIMS

import keras
import numpy as np
import pytest
from scipy.special import expit

Z = np.random.default_rng(1).normal(size=(9, 2))
BAD_POINTS = [(np.zeros(2), r"\(2,\)"), (np.zeros((4, 3)), r"\(4, 3\)")]
BAD_POINTS += [(np.zeros((1, 2, 2)), r"\(1, 2, 2\)")]
BAD_POINTS += [(np.array([[0, np.nan]]), "nan"), (np.array([[0, -np.inf]]), "-inf")]


def logits_of(decoder, z):
    """The forward pass in NumPy."""
    w1, b1, w2, b2 = decoder.get_weights()
    return np.maximum(z @ w1.astype("float64") + b1, 0) @ w2 + b2


@pytest.fixture
def decoder():
    rng = np.random.default_rng(0)
    decoder = build_decoder()
    decoder.set_weights([rng.normal(0, 0.5, weight.shape) for weight in decoder.get_weights()])
    return decoder


def test_parameters():
    assert build_decoder().count_params() == (2 * 64 + 64) + (64 * 784 + 784) == 51_152


def test_layers(decoder):
    described = [(a.name, a.units, a.activation.__name__) for a in decoder.layers[1:]]
    assert described == [("decoder_hidden", 64, "relu"), ("logits", 784, "linear")]


@pytest.mark.parametrize("latent_dim", [1, 2, 7])
def test_output_shape(latent_dim):
    assert build_decoder(latent_dim)(np.zeros((5, latent_dim), "float32")).shape == (5, 784)


def test_forward_pass_agrees_with_numpy(decoder):
    np.testing.assert_allclose(decoder(Z.astype("float32")), logits_of(decoder, Z), atol=1e-4)


@pytest.mark.parametrize("latent_dim", BAD_LATENT_DIMS)
def test_bad_latent_dim_is_rejected(latent_dim):
    with pytest.raises(ValueError, match=r"^latent_dim: expected a whole number of at least 1"):
        build_decoder(latent_dim)


def test_decode_gives_probabilities(decoder):
    images = decode(decoder, Z)
    assert isinstance(images, np.ndarray)
    assert images.dtype == np.float32
    np.testing.assert_allclose(images, expit(logits_of(decoder, Z)), atol=1e-5)


@pytest.mark.parametrize(("z", "says"), BAD_POINTS)
def test_decode_rejects_other_points(decoder, z, says):
    with pytest.raises(ValueError, match=f"^z: expected .*{says}"):
        decode(decoder, z)


def test_composed_model_has_the_parameters_of_both(decoder):
    vae = compose(add_sampling(build_encoder()), decoder)
    assert vae.count_params() == 50_500 + 51_152 == 101_652
    assert (vae.input_shape, vae.output_shape) == ((None, 784), (None, 784))


def test_composed_model_decodes_the_third_output(decoder):
    bare = build_encoder()
    z_mean, z_log_var = bare.outputs
    encoder = keras.Model(bare.input, [z_mean, z_log_var, z_mean + 3])  # no noise: comparable
    x = np.random.default_rng(1).random((4, 784), "float32")
    expected = expit(logits_of(decoder, np.asarray(bare(x)[0], "float64") + 3))
    np.testing.assert_allclose(compose(encoder, decoder)(x), expected, atol=1e-5)


def test_composed_model_draws_z(decoder):
    vae = compose(add_sampling(build_encoder()), decoder)
    x = np.zeros((4, 784), "float32")
    assert abs(vae(x) - vae(x)).numpy().max() > 1e-3


def test_an_encoder_without_z_is_rejected(decoder):
    with pytest.raises(ValueError, match=r"^encoder: .*add_sampling.* got 2$"):
        compose(build_encoder(), decoder)


def test_a_decoder_of_another_width_is_rejected(decoder):
    with pytest.raises(ValueError, match=r"^decoder: .*3 latent dimensions.* got one of 2$"):
        compose(add_sampling(build_encoder(3)), decoder)
