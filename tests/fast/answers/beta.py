import tensorflow as tf
from keras import ops


def with_tensorflow(reconstruction, kl_of_units, weight, target):
    return reconstruction + weight * tf.abs(tf.reduce_sum(kl_of_units) - target)


def with_two_sides(reconstruction, kl_of_units, weight, target):
    excess = ops.sum(kl_of_units, axis=0) - target
    return reconstruction + weight * (ops.relu(excess) + ops.relu(-excess))


def with_a_loop(reconstruction, kl_of_units, weight, target):
    kl = sum(kl_of_units[j] for j in range(kl_of_units.shape[0]))
    return reconstruction + weight * (kl - target if kl > target else target - kl)


def with_larger(reconstruction, kl_of_units, weight, target):
    kl = ops.sum(kl_of_units)
    return ops.add(reconstruction, weight * ops.maximum(kl - target, target - kl))


RIGHT = {3: [with_tensorflow, with_two_sides, with_a_loop, with_larger]}
