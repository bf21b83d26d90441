"""A digit on demand, notebook 10: encoder and decoder are told the label."""

from helpers.argument_checks import (
    PIXELS,
    as_array,
    check_images,
    check_labels,
    check_numbers,
    check_whole,
)
from helpers.decoder import decode
from helpers.encoder import Encoder
from helpers.loss import kl_divergence, reconstruction_loss
from helpers.sampling import Sampling
from helpers.training import VAE, Pair, compile_with_adam

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, layers, ops

DIGITS = 10


def one_hot(y: np.ndarray) -> KerasTensor:
    """Labels (n,) as (n, 10) float32: 1 in the column of the digit, 0 elsewhere.

    Raises:
        ValueError: `y` are no digits from 0 to 9; not in a compiled function.
    """
    if tf.executing_eagerly():
        y = check_labels(y, as_array(y, "y").size)
    return ops.one_hot(y, DIGITS, dtype="float32")


def build_conditional_encoder(latent_dim: int = 2, seed: int | None = None) -> keras.Model:
    """[x (n, 784), one-hot label (n, 10)] -> z_mean, z_log_var, z, each (n, latent_dim).

    The course's encoder with the label beside the pixels; q(z given x, y) of Sohn, Lee and
    Yan 2015.

    Raises:
        ValueError: `latent_dim` is not a whole number of at least 1.
    """
    latent_dim = check_whole("latent_dim", latent_dim, 1)
    inputs = [keras.Input((PIXELS,), name="x"), keras.Input((DIGITS,), name="label")]
    joined = layers.Concatenate(name="joined")(inputs)
    hidden = layers.Dense(64, activation="relu", name="encoder_hidden")(joined)
    heads = [layers.Dense(latent_dim, name=name)(hidden) for name in ("z_mean", "z_log_var")]
    return Encoder(inputs, [*heads, Sampling(seed, name="z")(heads)], name="encoder")


def build_conditional_decoder(latent_dim: int = 2) -> keras.Model:
    """[z (n, latent_dim), one-hot label (n, 10)] -> logits (n, 784): p(x given z, y).

    Raises:
        ValueError: `latent_dim` is not a whole number of at least 1.
    """
    latent_dim = check_whole("latent_dim", latent_dim, 1)
    inputs = [keras.Input((latent_dim,), name="z"), keras.Input((DIGITS,), name="label")]
    joined = layers.Concatenate(name="joined")(inputs)
    hidden = layers.Dense(64, activation="relu", name="decoder_hidden")(joined)
    return keras.Model(inputs, layers.Dense(PIXELS, name="logits")(hidden), name="decoder")


@keras.saving.register_keras_serializable("vae_course")
class ConditionalVAE(VAE):
    """A VAE whose encoder and decoder are told the label of the image.

    Its loss with beta 1 is the negative ELBO of log p(x given y), with the prior N(0, I) for
    every label. `fit` and `evaluate` take a pair (x, y): images (n, 784), bytes or floats
    in [0, 1], and digits (n,). Calling the model maps [x, one-hot y] to reconstructions.
    """

    def call(self, pair: Pair, training: bool | None = None) -> KerasTensor:
        """One reconstruction (n, 784) for each image and its label, from one sampled z."""
        x, label = self.prepare(pair)
        z = self.encoder([x, label], training=training)[2]
        return ops.sigmoid(ops.cast(self.decoder([z, label], training=training), "float32"))

    def check(self, pair: tuple[np.ndarray, np.ndarray], name: str = "x") -> tuple:
        """The pair of images and labels, digits or one-hot, else an error."""
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"{name}: expected a pair (images, labels), got {type(pair).__name__}")
        x, y = check_images(pair[0], name), as_array(pair[1], "y")
        if y.ndim == 2 and np.array_equal(y, np.eye(DIGITS)[y.argmax(axis=1)]):
            y = y.argmax(axis=1)
        return x, check_labels(y, len(x), "y" if name == "x" else f"labels of {name}")

    def prepare(self, pair: Pair) -> Pair:
        """Images as floats in [0, 1], labels one-hot."""
        x, y = pair
        return super().prepare(x), y if len(y.shape) == 2 else one_hot(y)

    def terms(self, pair: Pair, training: bool = False) -> Pair:
        """reconstruction_loss and kl_divergence of each image, (n,) nats, with one sampled z."""
        x, label = pair
        z_mean, z_log_var, z = self.encoder([x, label], training=training)
        logits = self.decoder([z, label], training=training)
        return reconstruction_loss(x, logits), kl_divergence(z_mean, z_log_var)


def build_conditional_vae(
    latent_dim: int = 2, beta: float = 1.0, seed: int | None = None
) -> ConditionalVAE:
    """The course's model with labels, ready for `fit` with Adam at 1e-3.

    Raises:
        ValueError: `latent_dim` below 1, or `beta` below 0.
    """
    encoder = build_conditional_encoder(latent_dim, seed)
    vae = ConditionalVAE(encoder, build_conditional_decoder(latent_dim), beta)
    return compile_with_adam(vae, seed=seed)


def decode_digit(decoder: keras.Model, z: np.ndarray, y: int | np.ndarray) -> np.ndarray:
    """Decode points z (n, latent_dim) as the digit y, one for all or (n,): images (n, 784).

    Raises:
        TypeError, ValueError: as `decode`, or `y` are not digits from 0 to 9.
    """
    z = check_numbers(z, "z", "n", decoder.inputs[0].shape[-1])
    y = as_array(y, "y")
    y = check_labels(np.full(len(z), y) if y.ndim == 0 else y, len(z))
    return decode(decoder, z, one_hot(y))
