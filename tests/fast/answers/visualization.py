import numpy as np
import tensorflow as tf
from keras import ops
from scipy.stats import norm


def point_by_point(rows, columns, low, high):
    points = np.empty((rows, columns, 2), "float32")
    for i in range(rows):
        for j in range(columns):
            points[i, j, 0] = norm.ppf(low + (high - low) * j / (columns - 1))
            points[i, j, 1] = norm.ppf(high - (high - low) * i / (rows - 1))
    return points


def by_broadcasting(rows, columns, low, high):
    across = norm.ppf(np.linspace(low, high, columns))[None, :]
    downwards = norm.ppf(np.linspace(high, low, rows))[:, None]
    return ops.stack([across + 0 * downwards, downwards + 0 * across], axis=-1)


def by_indexing(rows, columns, low, high):
    quantiles = [norm.ppf(np.linspace(low, high, count)) for count in (columns, rows)]
    pairs = np.stack(np.meshgrid(*quantiles, indexing="ij"), axis=-1)
    return pairs.swapaxes(0, 1)[::-1]


def in_lists(rows, columns, low, high):
    across, down = (norm.ppf(np.linspace(low, high, count)) for count in (columns, rows))
    return [[[a, d] for a in across] for d in down[::-1]]


def with_stacks(images, rows, columns):
    lines = [images[k * columns : (k + 1) * columns] for k in range(rows)]
    return np.vstack([np.hstack([image.reshape(28, 28) for image in line]) for line in lines])


def with_transpose(images, rows, columns):
    tiles = tf.reshape(images, (rows, columns, 28, 28))
    return tf.reshape(tf.transpose(tiles, (0, 2, 1, 3)), (28 * rows, 28 * columns))


def pixel_lines(images, rows, columns):
    tiles = ops.reshape(images, (rows, columns, 28, 28))
    lines = [ops.reshape(tiles[i, :, y], (-1,)) for i in range(rows) for y in range(28)]
    return ops.stack(lines)


RIGHT = {
    2: [point_by_point, by_broadcasting, by_indexing, in_lists],
    3: [
        with_stacks,
        with_transpose,
        pixel_lines,
        lambda images, r, c: np.block([list(line) for line in images.reshape(r, c, 28, 28)]),
    ],
}
