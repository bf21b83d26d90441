import tensorflow as tf
from keras import ops


def with_a_loop(reconstruction, kl_of_units, weight, target):
    kl = sum(kl_of_units[j] for j in range(kl_of_units.shape[0]))
    return reconstruction + weight * (kl - target if kl > target else target - kl)


RIGHT = {
    3: [
        with_a_loop,
        lambda d, kl, weight, target: d + weight * tf.abs(tf.reduce_sum(kl) - target),
        lambda d, kl, w, c: d + w * (ops.relu(ops.sum(kl, axis=0) - c) + ops.relu(c - ops.sum(kl))),
        lambda d, kl, w, c: ops.add(d, w * ops.maximum(ops.sum(kl) - c, c - ops.sum(kl))),
    ]
}
