import keras
import numpy as np
import tensorflow as tf


def in_place(z_mean, z_log_var):
    z_log_var /= 2
    reach = 2 * np.exp(z_log_var)
    low = z_mean - reach
    z_mean += reach
    return [low, z_mean]


def with_loops(weights, images):
    kernel, bias, *heads = weights
    rows = [
        [max(0.0, sum(image * column) + b) for column, b in zip(kernel.T, bias, strict=True)]
        for image in images
    ]
    return [np.array(rows) @ heads[k] + heads[k + 1] for k in (0, 2)]


def with_ops(weights, images):
    hidden = keras.ops.relu(keras.ops.matmul(images, weights[0]) + weights[1])
    return tuple(keras.ops.matmul(hidden, weights[k]) + weights[k + 1] for k in (2, 4))


def in_float64(weights, images):
    a, b, c, d, e, f = (np.float64(w) for w in weights)
    hidden = np.einsum("np,ph->nh", images, a) + b
    hidden *= hidden > 0
    return hidden.dot(c) + d, hidden.dot(e) + f


RIGHT = {
    2: [
        in_place,
        lambda m, s: (m - 2 * tf.sqrt(tf.exp(s)), m + 2 * tf.sqrt(tf.exp(s))),
        lambda m, s: np.stack([m + sign * 2 * np.sqrt(np.exp(s)) for sign in (-1, 1)]),
    ],
    5: [with_loops, with_ops, in_float64],
}
