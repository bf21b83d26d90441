"""The encoder, notebook 01: from an image to the two parameters of q(z given x)."""

from helpers.argument_checks import PIXELS, check_whole

import keras
from keras import layers


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
    return keras.Model(x, [z_mean, z_log_var], name="encoder")
