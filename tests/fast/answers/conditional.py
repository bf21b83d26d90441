import keras
import numpy as np
import tensorflow as tf


def by_rows_of_w1(z, y, w1, b1, w2, b2):
    d = z.shape[1]
    hidden = np.maximum(z @ w1[:d] + w1[d + y] + b1, 0)
    return 0.5 * (1 + np.tanh((hidden @ w2 + b2) / 2))


def by_layers(z, y, w1, b1, w2, b2):
    inputs = [keras.Input(z.shape[1:]), keras.Input((10,))]
    hidden = keras.layers.Dense(len(b1), "relu")(keras.layers.Concatenate()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(len(b2), "sigmoid")(hidden))
    model.set_weights([w1, b1, w2, b2])
    return model([tf.constant(z), tf.one_hot(y, 10)])


def by_tensors(z, y, w1, b1, w2, b2):
    hidden = tf.nn.relu(tf.concat([z, tf.one_hot(y, 10)], axis=1) @ w1 + b1)
    return keras.ops.sigmoid(hidden @ w2 + b2)


def in_a_loop(score, frequency):
    rows = []
    for column in score.T:
        weights = [np.exp(s - max(column)) * f for s, f in zip(column, frequency, strict=True)]
        rows.append([weight / sum(weights) for weight in weights])
    return rows


def in_place(score, frequency):
    score += np.log(frequency)[:, None]
    score -= np.logaddexp.reduce(score, axis=0)
    return np.exp(score, out=score).T


RIGHT = {
    2: [by_rows_of_w1, by_layers, by_tensors],
    3: [
        in_a_loop,
        in_place,
        lambda score, frequency: keras.ops.softmax(score.T + np.log(frequency), axis=-1),
        lambda score, frequency: tf.nn.softmax(tf.transpose(score) + tf.math.log(frequency)),
    ],
}
