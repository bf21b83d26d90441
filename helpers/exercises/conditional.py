"""Exercises of notebook 10."""

from helpers.exercises.engine import Build, Choice, Number, case_rng, slips

from collections.abc import Callable

import numpy as np
from scipy.special import expit, softmax


def _weights() -> list[tuple]:
    rng = case_rng(10)
    cases = []
    for y, d, h, p in [([7, 3, 0, 9, 4], 2, 64, 784), ([2, 2], 1, 8, 784), ([1, 0, 8], 5, 64, 9)]:
        shapes = [(len(y), d), (d + 10, h), (h,), (h, p), (p,)]
        z, *layers = (rng.normal(size=shape).astype("float32") for shape in shapes)
        cases.append((z, np.array(y), *layers))
    return cases


def _decoder(
    told: Callable = lambda z, y: np.concatenate([z, np.eye(10)[y]], axis=1),
    bend: Callable = lambda hidden: np.maximum(hidden, 0),
    end: Callable = expit,
) -> Callable:
    def decode(z: np.ndarray, y: np.ndarray, *layers: np.ndarray) -> np.ndarray:
        w1, b1, w2, b2 = layers
        inputs = told(z, y)
        return end(bend(inputs @ w1[: inputs.shape[1]] + b1) @ w2 + b2)

    return decode


def _scores() -> list[tuple]:
    rng = case_rng(11)
    cases = []
    for m, n, level in [(10, 200, -150), (47, 100, -1000), (2, 2, -3)]:
        frequency = np.arange(1.0, m + 1) ** 2
        cases.append((level + rng.normal(size=(m, n)), frequency / frequency.sum()))
    return cases


EXERCISES = {
    1: Number(
        "predict",
        9400,
        "47 more inputs into 100 hidden units are 4,700 weights in each network. A bias belongs "
        "to a unit, not to an input, so none is added.",
        {
            4700: "That is one network. Which two are told the label?",
            9600: "The hidden units had their biases before. Does an input bring one?",
            4800: "That is one network, and with biases that the hidden units had before.",
            200: "That is a label given as one number. How many inputs does a one-hot label take?",
            6016: "That is with 64 hidden units. Here there are 100.",
            2000: "That is with ten labels. Here there are 47.",
            1280: "That is this notebook's model: ten labels, 64 hidden units. Change both.",
        },
        tolerance=1e-4,
        hint="Each number of the label is an input to the hidden layer: one weight for each unit.",
        nudge="Draw the two networks: where does the label go in, and into how many units?",
    ),
    2: Build(
        "decode_by_hand(z, y, w1, b1, w2, b2)",
        _decoder(),
        _weights,
        "A one-hot label picks one row of w1, an offset for each hidden unit; from there on the "
        "decoder is the one of notebook 3.",
        slips(
            "The label is left out: these pictures do not depend on y.",
            _decoder(lambda z, y: z),
            "Code and label are joined in the wrong order: the first rows of w1 belong to z.",
            _decoder(lambda z, y: np.concatenate([np.eye(10)[y], z], axis=1)),
            "The digit went in as one number. Its ten rows of w1 ask for ten numbers.",
            _decoder(lambda z, y: np.concatenate([z, y[:, None]], axis=1)),
            "The digit stands in all ten places. One-hot is 1 in a single one, 0 elsewhere.",
            _decoder(lambda z, y: np.concatenate([z, np.tile(y[:, None], 10)], axis=1)),
            "The digit stands in its own place. One-hot has a 1 there, whichever digit it is.",
            _decoder(lambda z, y: np.concatenate([z, y[:, None] * np.eye(10)[y]], axis=1)),
            "The place of the digit is off by one. Which one is the place of 0?",
            _decoder(lambda z, y: np.concatenate([z, np.eye(10)[y - 1]], axis=1)),
            "All codes got the label of the first. Each row has its own digit.",
            _decoder(lambda z, y: np.concatenate([z, np.eye(10)[0 * y + y[0]]], axis=1)),
            "A softmax lets all pixels share one ink. Each pixel is a coin of its own.",
            _decoder(end=lambda logits: softmax(logits, axis=1)),
            "These are the logits. Probabilities are asked.",
            _decoder(end=lambda logits: logits),
            "The ReLU of the hidden layer is missing.",
            _decoder(bend=lambda hidden: hidden),
            "The hidden layer has a ReLU. The sigmoid comes at the end.",
            _decoder(bend=expit),
            "The ReLU stands after the last layer, too, so that no pixel falls below a half.",
            _decoder(end=lambda logits: expit(np.maximum(logits, 0))),
        ),
        nudge="Which ten numbers stand for a 7, and on which side of the code do they stand?",
    ),
    3: Build(
        "label_probabilities(score, frequency)",
        lambda score, frequency: softmax(score.T + np.log(frequency), axis=1),
        _scores,
        "Bayes' rule in logs: add log p(y) to the score, then divide by the sum over all labels, "
        "which is a softmax. With equal frequencies log p(y) cancels.",
        slips(
            "The frequency of the labels is left out.",
            lambda s, f: softmax(s.T, axis=1),
            "The frequency itself was added to a log. Products turn into sums of logs.",
            lambda s, f: softmax(s.T + f, axis=1),
            "The log score was multiplied by the frequency. Which of the two is a log?",
            lambda s, f: softmax(s.T * f, axis=1),
            "The frequency came after the division by the sum, so the rows do not add up to 1.",
            lambda s, f: softmax(s.T, axis=1) * f,
            "The sum ran over the images. For each image the labels must add up to 1.",
            lambda s, f: softmax(s.T + np.log(f), axis=0),
            "The values are right, but labels are in rows. One row for each image is asked.",
            lambda s, f: softmax(s + np.log(f)[:, None], axis=0),
            "This is log p(x, y). Bayes' rule goes on: exp, and divide by the sum over labels.",
            lambda s, f: s.T + np.log(f),
            "This is log p(y given x). The probability itself is asked.",
            lambda s, f: np.log(softmax(s.T + np.log(f), axis=1)),
            "The rows do not add up to 1: divide by the sum over the labels.",
            lambda s, f: np.exp(s.T + np.log(f) - (s.T + np.log(f)).max(axis=1, keepdims=True)),
            "Only the guess came out. How sure is the model of it?",
            lambda s, f: np.argmax(s.T + np.log(f), axis=1),
        ),
        nudge="Write Bayes' rule for one image, in logarithms: what is added to the score?",
    ),
    4: Choice(
        "explore",
        "a",
        "Before the ReLU the half label is the mean of the two offsets. Then come the ReLU and "
        "the sigmoid, and both bend: the mean of two labels is not drawn as the mean of two "
        "pictures.",
        {
            "b": "Look at how far the row of the half label is from the mean. Is that nothing?",
            "c": "Compare the row of the half label with both others, code by code.",
            "d": "Compare the two shares of half-grey pixels, half label and mean of both.",
        },
        nudge="Where between the label and the picture is the decoder not a straight line?",
    ),
}
