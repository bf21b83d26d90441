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
    for n, d, h, p in [(5, 2, 64, 784), (2, 10, 16, 784)]:
        weights = [rng.normal(size=s).astype("float32") for s in [(d, h), (h,), (h, p), (p,)]]
        cases.append((rng.normal(size=(n, d)).astype("float32"), weights))
    return cases


def _generate(activation: Callable = relu, end: Callable = expit, **biases: float) -> Callable:
    """The forward pass to the only head, the pixels."""
    outputs = forward(activation, end=end, **biases)
    return lambda z, weights: outputs(weights, z)[0]


def _mistakes() -> list[tuple]:
    rng = case_rng(7)
    cases = []
    for n, spread in [(4, 3), (32, 300)]:
        logits = rng.normal(0, spread, (n, 784))
        logits[:, :3] = -1000, 0, 1000
        cases.append((logits, rng.integers(0, 2, (n, 784)).astype("float32")))
    return cases


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
        nudge="Which arrays of the decoder have a side whose length is latent_dim?",
    ),
    2: Number(
        "predict",
        log(9),
        "p / (1 - p) = exp(logit), so the logit is the logarithm of the odds, here of 9 to 1.",
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
        nudge="Will it be above or below 0, and between which two rows of the table of logits?",
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
        nudge="Follow one code: which array meets it first, and what happens to the 64 numbers "
        "before the pixels see them?",
    ),
    4: Number(
        "explore",
        37,
        "1 + exp(-37) is rounded to 1, even with 64 bits, so p is 1 and 1 - p is 0. More digits "
        "move the place where it breaks; `softplus` of the logit has no such place.",
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
        nudge="At which logit does the second column begin to differ from the third?",
    ),
    5: Build(
        "what_pixels_say(many_logits, pixels)",
        lambda a, x: expit(a) - x,
        _mistakes,
        "p for paper and p - 1 for ink are both p - pixel: what was said minus what is there. A "
        "sure hit says 0, a sure mistake says 1 or -1, however large its logit.",
        slips(
            "The sign: where there is paper the slope is p itself, as in the table.",
            lambda a, x: x - expit(a),
            "This is the slope for paper everywhere. What comes out where the pixel is ink?",
            lambda a, x: expit(a),
            "Where there is ink the price falls as the logit grows. What sign has its slope?",
            lambda a, x: np.where(x == 1, 1 - expit(a), expit(a)),
            "Ink and paper are exchanged: 1 is ink.",
            lambda a, x: expit(a) - (1 - x),
            "These are the prices. Their slopes are asked for.",
            lambda a, x: np.logaddexp(0, np.where(x == 1, -a, a)),
            "This slope is in p. How does p itself move with the logit?",
            lambda a, x: np.where(x == 1, -1 / expit(a), 1 / expit(-a)),
            "This is the slope of the sigmoid. The slope of the price has another factor.",
            lambda a, x: expit(a) * expit(-a),
            "Infinity divided by infinity is no number. Divide by exp(logit) above and below the "
            "line.",
            lambda a, x: np.exp(a) / (1 + np.exp(a)) - x,
            "A pixel that is surely wrong came out with the slope 0, as from a clipped p. It has "
            "to be told most of all.",
            lambda a, x: (expit(a) - x) * (np.abs(a) < 16),
            "A mean came out. Each pixel has a slope of its own.",
            lambda a, x: (expit(a) - x).mean(),
            "A mean or a sum over the pixels came out. Each pixel has a slope of its own.",
            lambda a, x: (expit(a) - x).sum(axis=1),
            "The slopes are divided by the number of pixels or pictures. Each price stands alone.",
            lambda a, x: (expit(a) - x) / a.shape[1],
        ),
        nudge="For paper the slope is p. Draw -log(p) over the logit for ink: does it rise or "
        "fall, and where does it become flat?",
    ),
}
