import keras
import tensorflow as tf
from keras import ops


def as_the_source_has_it(z_mean, z_log_var):
    return -0.5 * ops.sum(1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var), axis=1)


def with_tensorflow(z_mean, z_log_var):
    variance = tf.exp(z_log_var)
    return tf.reduce_sum((variance + z_mean**2 - 1 - tf.math.log(variance)) / 2, axis=-1)


def one_dimension_after_the_other(z_mean, z_log_var):
    total = 0
    for mu, s in zip(tf.unstack(z_mean, axis=1), tf.unstack(z_log_var, axis=1), strict=True):
        total += 0.5 * (tf.exp(s) + mu * mu - 1 - s)
    return total


def by_width(z_mean, z_log_var):
    sigma = ops.exp(z_log_var / 2)
    return ops.sum((sigma**2 + z_mean**2) / 2 - 0.5 - ops.log(sigma), axis=-1)


def with_keras_losses(x, logits, z_mean, z_log_var):
    pixels = keras.losses.binary_crossentropy(x, logits, from_logits=True) * x.shape[-1]
    return pixels + as_the_source_has_it(z_mean, z_log_var)


def with_tensorflow_all_along(x, logits, z_mean, z_log_var):
    prices = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits)
    return tf.reduce_sum(prices, axis=1) + with_tensorflow(z_mean, z_log_var)


def picture_by_picture(x, logits, z_mean, z_log_var):
    losses = []
    for k in range(len(x)):
        prices = ops.logaddexp(0.0, logits[k]) - x[k] * logits[k]
        losses.append(ops.sum(prices) + by_width(z_mean[k], z_log_var[k]))
    return ops.stack(losses)


RIGHT = {
    2: [as_the_source_has_it, with_tensorflow, one_dimension_after_the_other, by_width],
    3: [with_keras_losses, with_tensorflow_all_along, picture_by_picture],
}
