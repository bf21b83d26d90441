import keras
import numpy as np
import tensorflow as tf
from scipy.special import expit


def with_ops(codes, weights):
    hidden = keras.ops.relu(keras.ops.matmul(codes, weights[0]) + weights[1])
    return keras.ops.sigmoid(keras.ops.matmul(hidden, weights[2]) + weights[3])


def in_place(codes, weights):
    hidden = codes @ weights[0]
    hidden += weights[1]
    hidden[hidden < 0] = 0
    logits = hidden @ weights[2]
    logits += weights[3]
    np.exp(-logits, out=logits)
    logits += 1
    return 1 / logits


def with_loops(codes, weights):
    (a, b, c, d), pictures = weights, []
    for code in codes:
        hidden = [max(0, code @ a[:, k] + b[k]) for k in range(len(b))]
        pictures.append([(1 + np.tanh((hidden @ c[:, k] + d[k]) / 2)) / 2 for k in range(len(d))])
    return np.array(pictures)


def with_tf(codes, weights):
    return tf.sigmoid(tf.nn.relu(codes @ weights[0] + weights[1]) @ weights[2] + weights[3])


def with_a_tape(logits, pixels):
    logits = tf.convert_to_tensor(logits, "float32")
    with tf.GradientTape() as tape:
        tape.watch(logits)
        prices = keras.ops.binary_crossentropy(pixels, logits, from_logits=True)
    return tape.gradient(prices, logits)


def pixel_by_pixel(logits, pixels):
    slopes = np.zeros(logits.shape)
    for at in np.ndindex(*logits.shape):
        probability = (1 + np.tanh(logits[at] / 2)) / 2
        slopes[at] = probability - 1 if pixels[at] == 1 else probability
    return slopes


RIGHT = {
    3: [with_ops, in_place, with_loops, with_tf],
    5: [
        with_a_tape,
        pixel_by_pixel,
        lambda logits, pixels: 1 / (1 + np.exp(-logits)) - pixels,
        lambda logits, pixels: keras.ops.sigmoid(logits) - pixels,
        lambda logits, pixels: -np.sign(2 * pixels - 1) * expit((1 - 2 * pixels) * logits),
    ],
}
