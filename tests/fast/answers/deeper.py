from math import cos, pi

import numpy as np
import tensorflow as tf
from keras import ops


def with_a_loop(step, peak, steps, first):
    rates = []
    for s in step:
        if s < first:
            rates.append(peak * s / first)
        elif s < steps:
            rates.append(0.5 * peak * (1 + cos(pi * (s - first) / (steps - first))))
        else:
            rates.append(0)
    return rates


def with_tensorflow(step, peak, steps, first):
    step = tf.cast(step, "float32")
    way = tf.minimum((step - first) / (steps - first), 1.0)
    fall = peak * 0.5 * (1.0 + tf.cos(pi * way))
    return tf.where(step < first, peak * step / max(first, 1), fall)


def with_keras(step, peak, steps, first):
    way = ops.clip((ops.cast(step, "float32") - first) / (steps - first), 0, 1)
    climb = ops.cast(step, "float32") / first if first else 1.0
    return peak * ops.minimum(climb, ops.cos(pi * way / 2) ** 2)


def in_place(step, peak, steps, first):
    rates = np.zeros(len(step))
    up, down = step < first, (step >= first) & (step <= steps)
    rates[up] = peak * step[up] / (first or 1)
    rates[down] = peak / 2 * (1 + np.cos(pi * (step[down] - first) / (steps - first)))
    return rates


RIGHT = {3: [with_a_loop, with_tensorflow, with_keras, in_place]}
