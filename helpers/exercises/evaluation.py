"""Exercises of notebook 08."""

from helpers.exercises.engine import Build, Choice, Number, case_rng, slips

import numpy as np
from scipy.special import logsumexp


def _log_weights() -> list[tuple]:
    rng = case_rng(8)
    test = -150 + 40 * rng.normal(size=(200, 1)) - 3 * rng.gamma(1.0, size=(200, 1_000))
    far = np.array([-1000, -1003, -995, -2000, -1020])[:, None] + 2 * rng.normal(size=(5, 8))
    one = np.array([[-1000.0], [-800.0], [-3.5]])
    near = np.array([[-3.0, -1.0, 0.5, -0.2], [-1.0, -900.0, -40.0, -2.0]])
    return [(test.astype("float32"),), (far,), (one,), (near,), (far.astype("float32").T.copy(),)]


def _bound(log_w: np.ndarray) -> np.ndarray:
    return logsumexp(log_w.astype("float64"), axis=1) - np.log(log_w.shape[1])


EXERCISES = {
    1: Choice(
        "predict",
        "d",
        "p(x, z) / p(z given x) is p(x), whatever z is: all weights are equal, their average is "
        "p(x) for any k, and nothing is left to chance.",
        {
            "a": "That is an encoder with an error. What is p(x, z) divided by p(z given x)?",
            "b": "More draws never lower the bound. And can one draw be poorer than another here?",
            "c": "No bound lies above log p(x). Do the weights differ at all, to favour one?",
        },
        nudge="Does such a weight depend on the code z at which it is taken?",
    ),
    2: Number(
        "predict",
        0.9,
        "With all of the KL the sum is a -ELBO and cannot lie below 150.0: 0.9 more, at least. The "
        "KL from the clouds to the true posterior comes on top.",
        {
            3.8: "That is the least KL of the clouds. How much of it does the report charge?",
            2.9: "That is the KL that was charged. Which sum would the report need to be a bound?",
            -0.9: "The size is right. How many nats are left out is asked, so count them upwards.",
            0.0: "With nothing left out the sum would be a -ELBO. Can that lie below -log p(x)?",
        },
        hint="How large must reconstruction loss and true KL be together, for a -ELBO?",
        nudge="On which side of -log p(x) does a -ELBO lie when all of its KL is counted?",
    ),
    3: Build(
        "bound_from_draws(log_w)",
        _bound,
        _log_weights,
        "With the largest weight of each image taken out, one exp is 1 and the others are "
        "smaller: nothing overflows, and what vanishes is too small to count.",
        slips(
            "This is the mean of the logarithms, which is the ELBO. In L_k the log comes last.",
            lambda w: w.mean(axis=1),
            "The weights were added up, not averaged. What does a division by k do to the log?",
            lambda w: logsumexp(w, axis=1),
            "The log itself was divided by k. It is the sum inside of the log that is divided.",
            lambda w: logsumexp(w, axis=1) / w.shape[1],
            "The mean ran over the images, and one value for each draw came out.",
            lambda w: logsumexp(w, axis=0) - np.log(len(w)),
            "One number for all images came out. Each image has a bound of its own.",
            lambda w: _bound(w).mean(),
            "exp(-1000) is 0 to the computer, and log 0 is -inf. Which factor can be taken out "
            "of all weights of an image before the exp?",
            lambda w: np.log(np.exp(w).mean(axis=1)),
            "A small number inside of the log hides its -inf, and all such images come out alike.",
            lambda w: np.log(np.exp(w).mean(axis=1) + 1e-12),
            "One fixed number brings back the images near it, and no others. Ask each image.",
            lambda w: np.log(np.exp(w + 1000.0).mean(axis=1)) - 1000.0,
            "With the smallest taken out, the largest overflows where draws lie far apart.",
            lambda w: np.log(np.exp(w - w.min(axis=1, keepdims=True)).mean(axis=1)) + w.min(axis=1),
            "One maximum for all images leaves nothing of an image far below it. Give each image "
            "its own.",
            lambda w: np.log(np.exp(w - w.max()).mean(axis=1)) + w.max(),
            "What was subtracted before the exp must come back after the log.",
            lambda w: np.log(np.exp(w - w.max(axis=1, keepdims=True)).mean(axis=1)),
            "This is the largest log weight alone. The other draws of the image count, too.",
            lambda w: w.max(axis=1),
            "The sign: this is -L_k. A bound on log p(x) itself is asked.",
            lambda w: -_bound(w),
            "This is the mean of the weights, too small for the computer. Where is the log?",
            lambda w: np.exp(w).mean(axis=1),
        ),
        tolerance=1e-5,
        nudge="What becomes of the log of a mean when every weight is multiplied by one number?",
    ),
    4: Choice(
        "explore",
        "b",
        "Some of 5,000 draws from the prior land on nearly any hill, most of the lost ones, too. "
        "For most images the encoder knows the hill, and the prior wastes its draws elsewhere. "
        "In 50 dimensions hardly any draw of the prior would land.",
        {
            "a": "Look at the mean gap with 5,000 draws, and at the three worst images.",
            "c": "Compare the medians with 5,000 draws: which is nearer for most images?",
            "d": "Call it with 5000. How many of so many draws land on a hill 0.1 wide?",
        },
        nudge="For which images should it help that these draws do not ask the encoder?",
    ),
}
