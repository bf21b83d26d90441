import keras
import numpy as np
import tensorflow as tf


def in_place(z_mean, z_log_sigma):
    z_log_sigma[:] = np.exp(z_log_sigma) * np.random.standard_normal(z_mean.shape)  # noqa: NPY002
    z_mean += z_log_sigma
    return z_mean


RIGHT = {
    2: [
        in_place,
        lambda m, s: np.random.default_rng().normal(m, np.exp(s)),
        lambda m, s: m + tf.sqrt(tf.exp(2 * s)) * keras.random.normal(m.shape),
    ],
    3: [
        lambda mu, sigma, epsilon: -keras.ops.mean(keras.ops.sin(mu + sigma * epsilon)),
        lambda mu, sigma, epsilon: sum(-np.sin(mu + sigma * e) for e in epsilon) / len(epsilon),
    ],
}
