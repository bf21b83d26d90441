import keras
import numpy as np
import tensorflow as tf
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist


def in_place(points, known):
    for k, point in enumerate(points):
        point -= known[np.argmin(((known - point) ** 2).sum(axis=1))]
        points[k, 0] = np.sqrt(point @ point)
    return points[:, 0]


def with_tf(points, known):
    squares = tf.reduce_sum((points[:, None] - tf.constant(known)) ** 2, axis=-1)
    return tf.sqrt(tf.reduce_min(squares, axis=1))


RIGHT = {
    3: [
        in_place,
        with_tf,
        lambda points, known: [min(sum((p - k) ** 2) ** 0.5 for k in known) for p in points],
        lambda p, k: keras.ops.min(keras.ops.norm(p[:, None] - k[None], axis=2), axis=1),
        lambda points, known: cKDTree(known).query(points)[0],
        lambda points, known: cdist(points, known).min(axis=1),
    ]
}
