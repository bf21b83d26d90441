import math

import keras
import numpy as np
import tensorflow as tf
from scipy.special import logsumexp


def in_a_loop(log_w):
    bounds = []
    for row in log_w:
        top = max(row)
        bounds.append(top + math.log(sum(math.exp(value - top) for value in row) / len(row)))
    return bounds


def in_place(log_w):
    highest = log_w.max(axis=1)
    log_w -= highest[:, None]
    np.exp(log_w, out=log_w)
    return np.log(log_w.mean(axis=1)) + highest


RIGHT = {
    3: [
        in_a_loop,
        in_place,
        lambda log_w: logsumexp(log_w, axis=1, b=1 / log_w.shape[1]),
        lambda log_w: np.logaddexp.reduce(log_w, axis=1) - np.log(log_w.shape[1]),
        lambda log_w: keras.ops.logsumexp(log_w, axis=1) - math.log(log_w.shape[1]),
        lambda log_w: tf.reduce_logsumexp(log_w, axis=1) - np.log(log_w.shape[1]),
    ],
}
