import keras
import numpy as np
import tensorflow as tf


def with_numpy(z_mean, z_log_sigma):
    return np.random.default_rng().normal(z_mean, np.exp(z_log_sigma))


def in_place(z_mean, z_log_sigma):
    z_log_sigma[:] = np.exp(z_log_sigma) * np.random.standard_normal(z_mean.shape)  # noqa: NPY002
    z_mean += z_log_sigma
    return z_mean


def by_variance(z_mean, z_log_sigma):
    return z_mean + tf.sqrt(tf.exp(2 * z_log_sigma)) * keras.random.normal(z_mean.shape)


RIGHT = {
    2: [with_numpy, in_place, by_variance],
    3: [
        lambda mu, sigma, epsilon: -keras.ops.mean(keras.ops.sin(mu + sigma * epsilon)),
        lambda mu, sigma, epsilon: sum(-np.sin(mu + sigma * e) for e in epsilon) / len(epsilon),
    ],
}
