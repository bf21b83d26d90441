"""The encoder, notebook 01: from an image to the two parameters of q(z given x)."""

from helpers.argument_checks import PIXELS, check_images, check_whole

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, layers, ops, tree


def as_pixels(x: KerasTensor) -> KerasTensor:
    """Images as a float32 tensor in [0, 1], as `scale` does, also in a compiled function.

    Raises:
        TypeError, ValueError: neither bytes nor floats; where values are known, as `check_images`.
    """
    checked = check_images(x) if tf.executing_eagerly() else x
    x = x if tf.is_tensor(x) else tf.convert_to_tensor(checked)  # a tensor keeps its gradient
    if x.dtype != tf.uint8 and not x.dtype.is_floating:
        raise TypeError(f"x: expected uint8 or float images, got dtype {x.dtype.name}")
    return ops.cast(x, "float32") / (255 if x.dtype == tf.uint8 else 1)


@keras.saving.register_keras_serializable("vae_course")
class Encoder(keras.Model):
    """A Keras model whose first input are images (n, 784), bytes or floats in [0, 1]."""

    def call(self, inputs: KerasTensor, training: bool | None = None, mask: None = None) -> list:
        """The outputs; bytes are scaled first."""
        x, *more = tree.flatten(inputs)
        x = as_pixels(x)
        return super().call([x, *more] if more else x, training=training, mask=mask)

    def predict(self, x: np.ndarray | list, *args, **kwargs) -> list:
        """Keras's `predict`.

        Raises:
            TypeError, ValueError: images that are none (see `check_images`).
        """
        _check_first(x)
        return super().predict(x, *args, **kwargs)

    def predict_on_batch(self, x: np.ndarray | list) -> list:
        """Keras's `predict_on_batch`; raises what `predict` does."""
        _check_first(x)
        return super().predict_on_batch(x)


def _check_first(x: object) -> None:
    """Raise what `check_images` does for the first input; a Dataset's are not looked at."""
    if not isinstance(x, tf.data.Dataset):
        check_images(x[0] if isinstance(x, (list, tuple)) else x)


def build_encoder(latent_dim: int = 2) -> keras.Model:
    """784 -> Dense 64, ReLU -> two heads, z_mean and z_log_var.

    Maps x (n, 784) in [0, 1] to two tensors (n, latent_dim): the mean of the Gaussian
    q(z given x) and the log of its variance, one for each latent dimension
    (Kingma and Welling 2013, arXiv 1312.6114, appendix C.2).

    Raises:
        ValueError: `latent_dim` is not a whole number of at least 1.
    """
    latent_dim = check_whole("latent_dim", latent_dim, 1)
    x = keras.Input((PIXELS,), name="x")
    hidden = layers.Dense(64, activation="relu", name="encoder_hidden")(x)
    z_mean = layers.Dense(latent_dim, name="z_mean")(hidden)
    z_log_var = layers.Dense(latent_dim, name="z_log_var")(hidden)
    return Encoder(x, [z_mean, z_log_var], name="encoder")
