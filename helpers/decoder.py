"""The decoder, notebook 03: from a point of the latent space to an image."""

from helpers.argument_checks import PIXELS, check_numbers, check_whole

import keras
import numpy as np
from keras import KerasTensor, layers, ops


def build_decoder(latent_dim: int = 2) -> keras.Model:
    """latent_dim -> Dense 64, ReLU -> Dense 784, the logits.

    Maps z (n, latent_dim) to logits (n, 784); their sigmoid is the reconstruction, the
    probability of ink in each pixel (Kingma and Welling 2013, arXiv 1312.6114,
    appendix C.1).

    Raises:
        ValueError: `latent_dim` is not a whole number of at least 1.
    """
    latent_dim = check_whole("latent_dim", latent_dim, 1)
    z = keras.Input((latent_dim,), name="z")
    hidden = layers.Dense(64, activation="relu", name="decoder_hidden")(z)
    return keras.Model(z, layers.Dense(PIXELS, name="logits")(hidden), name="decoder")


def check_match(encoder: keras.Model, decoder: keras.Model) -> None:
    """Raise ValueError unless the encoder ends in z_mean, z_log_var, z that the decoder takes."""
    for name, model in (("encoder", encoder), ("decoder", decoder)):
        if not model.built:
            raise ValueError(f"{name}: expected a model that begins with a keras.Input, got none")
    if len(encoder.outputs) != 3:
        raise ValueError(
            "encoder: expected three outputs, z_mean, z_log_var and z (see add_sampling), "
            f"got {len(encoder.outputs)}"
        )
    width, expected = encoder.outputs[2].shape[-1], decoder.inputs[0].shape[-1]
    if width != expected:
        raise ValueError(
            f"decoder: expected a decoder of {width} latent dimensions, as the encoder has, "
            f"got one of {expected}"
        )
    rng = np.random.default_rng(0)
    points = [rng.normal(size=(4, z.shape[-1])).astype("float32") for z in decoder.inputs]
    check_logits(decoder(points if len(points) > 1 else points[0]))


def check_logits(logits: KerasTensor) -> np.ndarray:
    """Return what a decoder gives as float32, or raise ValueError if it is probabilities."""
    logits = np.asarray(logits, "float32")
    if logits.any() and 0 <= logits.min() <= logits.max() <= 1:
        raise ValueError(
            "decoder: expected one that ends in logits, got one whose values all lie from 0 to 1, "
            "as after a sigmoid; leave its last activation out"
        )
    return logits


def compose(encoder: keras.Model, decoder: keras.Model) -> keras.Model:
    """The end-to-end model: x (n, 784) -> one reconstruction (n, 784) in [0, 1].

    Raises:
        ValueError: the encoder has no sampled z, or z does not fit the decoder.
    """
    check_match(encoder, decoder)
    x = keras.Input((PIXELS,), name="x")
    reconstruction = layers.Activation("sigmoid", name="reconstruction")(decoder(encoder(x)[2]))
    return keras.Model(x, reconstruction, name="vae")


def decode(decoder: keras.Model, z: np.ndarray, *more: KerasTensor) -> np.ndarray:
    """Decode points z (n, latent_dim) in one call: images (n, 784) float32 in [0, 1].

    `more` is what the decoder takes beside z: the label, in notebook 10.

    Raises:
        TypeError, ValueError: `z` has another shape, or values that are not finite.
    """
    z = check_numbers(z, "z", "n", decoder.inputs[0].shape[-1]).astype("float32")
    logits = check_logits(decoder([ops.convert_to_tensor(z), *more] if more else z))
    return ops.convert_to_numpy(ops.sigmoid(logits))
