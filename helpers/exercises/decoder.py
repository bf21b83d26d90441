"""Exercises of notebook 03."""

from helpers.exercises.encoder import forward, relu
from helpers.exercises.engine import Build, Number, case_rng, slips

from collections.abc import Callable
from math import log

import numpy as np
from scipy.special import expit


def _codes() -> list[tuple]:
    rng = case_rng(6)
    cases = []
    for n, d, h, p in [(5, 3, 6, 7), (2, 2, 4, 9)]:
        weights = [rng.normal(size=s).astype("float32") for s in [(d, h), (h,), (h, p), (p,)]]
        cases.append((rng.normal(size=(n, d)).astype("float32"), weights))
    return cases


def _generate(activation: Callable = relu, end: Callable = expit, **biases: float) -> Callable:
    """The forward pass to the only head, the pixels."""
    outputs = forward(activation, end=end, **biases)
    return lambda z, weights: outputs(weights, z)[0]


def _softplus(a: np.ndarray) -> np.ndarray:
    return np.logaddexp(a, 0)


EXERCISES = {
    1: Number(
        "predict",
        512,
        "Each new latent dimension brings a weight to each of the 64 hidden units, and no bias: "
        "biases belong to outputs. The layer of the logits stays as it is.",
        {
            51_664: "That is the new total. By how many has it grown?",
            640: "That is the whole new kernel. How many of its weights were there before?",
            704: "That is the first layer with ten dimensions. By how many has it grown?",
            520: "A latent dimension is an input here. Only outputs have biases.",
            576: "The hidden units stay 64, and so do their biases. None of them is new.",
            1_040: "That is how much the encoder grows. It has two heads, and biases for each.",
            6_272: "The 784 pixels are not connected to the codes. The hidden units lie between.",
            0: "One of the two layers looks at the code. How many weights does it need for each "
            "of its inputs?",
        },
        tolerance=1e-6,
        hint="Which of the two layers has to do with the code? Count its weights before and after.",
    ),
    2: Number(
        "predict",
        log(9),
        "p / (1 - p) = exp(logit), so the logit is the logarithm of the odds, here of 9 to 1. "
        "Its name comes from there.",
        {
            1 / (1 + np.exp(-0.9)): "That is the probability for a logit of 0.9. Here it is the "
            "other way round.",
            -log(9): "The sign: a probability above one half has a positive logit.",
            9: "Those are the odds, 9 to 1. The logit is not there yet.",
            log(0.9): "That is log p. What does the 1 in the formula of the sigmoid become?",
            -log(0.1): "That is the price -log(1 - p), not the logit.",
            np.log10(9): "That is a logarithm to base 10. The sigmoid has e in it, so use np.log.",
        },
        hint="Turn p = 1 / (1 + exp(-logit)) upside down: 1 / p - 1 = exp(-logit).",
    ),
    3: Build(
        "generate_by_hand(codes, weights)",
        _generate(),
        _codes,
        "Two layers and the sigmoid are all that the generator is. Everything it will ever know "
        "about digits lies in these four arrays.",
        slips(
            "These are logits. What turns them into probabilities?",
            _generate(end=np.asarray),
            "The hidden layer has an activation. What does ReLU do to negative values?",
            _generate(np.asarray),
            "The logits may be negative: ReLU belongs to the hidden layer alone.",
            _generate(end=lambda a: expit(relu(a))),
            "The hidden layer's bias is missing.",
            _generate(first=0),
            "The bias of the pixels is missing.",
            _generate(second=0),
            "The bias belongs inside of the ReLU: product, bias, then ReLU.",
            lambda codes, w: expit((relu(codes @ w[0]) + w[1]) @ w[2] + w[3]),
            "Both biases are missing: each layer adds one after its product.",
            _generate(first=0, second=0),
            "The sign in the exponent of the sigmoid: this is the probability of paper.",
            _generate(end=lambda a: expit(-a)),
            "This is a softmax, which makes the pixels of a picture share one unit of "
            "probability. Each pixel has a probability of its own.",
            _generate(end=lambda a: np.exp(a) / np.exp(a).sum(axis=-1, keepdims=True)),
            "That is a sigmoid in the hidden layer, too. It has a ReLU.",
            _generate(expit),
        ),
    ),
    4: Number(
        "explore",
        37,
        "1 + exp(-37) is rounded to 1, even with 64 bits, so p is 1 and 1 - p is 0. More digits "
        "move the place where it breaks; the logit has no such place.",
        {
            17: "That is where 32 bits give up. Ask for float64.",
            36: "At 36 the price is off, and still finite. Go on.",
            38: "It is infinite there, and already before.",
            710: "That is where exp itself is infinite in float64. Here the price breaks far "
            "earlier: try logits from 30 on.",
            0: "At 0 both prices are log 2. Which column is the way by p?",
        },
        tolerance=1e-6,
        hint='Call two_prices(logit, "float64") in a loop over range(1, 61) and look for inf in '
        "the second column.",
    ),
    5: Build(
        "price_where_ink(many_logits)",
        lambda a: _softplus(-a),
        lambda: [
            (np.array([-1000.0, -50.0, -2.0, 0.0, 0.5, 50.0, 1000.0]),),
            (case_rng(7).normal(0, 300, 40),),
        ],
        "-log p = log(1 + exp(-logit)), the same function with the sign turned; exp(-|logit|) "
        "is at most 1, so nothing overflows.",
        slips(
            "This is the price of ink said where there is paper. Which sign has the logit in "
            "-log p?",
            _softplus,
            "Infinite: exp overflows where its exponent is large, and then p is 0. In the formula "
            "on the right no exponent is above 0.",
            lambda a: np.log(1 + np.exp(-a)),
            "Where the logit is near 0 the logarithm counts, too: at 0 the price is log 2.",
            lambda a: relu(-a),
            "Clipping p keeps the price finite, and makes it the same for every large mistake.",
            lambda a: -np.log(np.clip(np.exp(-_softplus(-a)), 1e-7, 1 - 1e-7)),
            "The exponent needs a minus sign before |logit|.",
            lambda a: relu(-a) + np.log(1 + np.exp(np.abs(a))),
            "Where the logit is large, this price is below 0. Which maximum belongs in front?",
            lambda a: np.log1p(np.exp(-np.abs(a))) - a,
            "A price below 0? -log p is positive for every p below 1.",
            lambda a: -_softplus(-a),
            "A mean came out. Each logit has a price of its own.",
            lambda a: _softplus(-a).mean(),
            "A sum came out. Each logit has a price of its own.",
            lambda a: _softplus(-a).sum(),
        ),
    ),
}
