"""Exercises of notebook 06."""

from helpers.exercises.engine import Build, Choice, Number, slips

from collections.abc import Callable

import numpy as np
from scipy.stats import norm


def _points(
    values: Callable = lambda count, low, high: norm.ppf(np.linspace(low, high, count)),
) -> Callable:
    return lambda rows, columns, low, high: np.stack(
        np.meshgrid(values(columns, low, high), values(rows, low, high)[::-1]), axis=-1
    )


EXERCISES = {
    1: Choice(
        "predict",
        "b",
        "An image at random, then a draw from its cloud: that is a draw from q(z), the average of "
        "all clouds. It needs images at hand. A draw from N(0, I) needs none, and it is what the "
        "model itself says about codes.",
        {
            "a": "epsilon is, but z is shifted by the mean and shrunk by the width of the cloud.",
            "c": "He does not average the clouds' centres: each code comes from one cloud.",
            "d": "How wide is a cloud near the centre of the plane? The prior has width 1.",
        },
        nudge="Whose mu and sigma are in z, and are they the same for the next picture?",
    ),
    2: Build(
        "points_on_page(rows, columns, low, high)",
        _points(),
        lambda: [
            (3, 5, 0.1, 0.8),
            (30, 20, 0.05, 0.95),
            (15, 15, 0.001, 0.999),
            (12, 40, 0.3, 0.6),
        ],
        "Columns follow z[0], rows z[1] in reverse. Between neighbours lies the same share of the "
        "prior in each dimension, so the points are dense where the prior is.",
        slips(
            "Upside down: row 0 is the top of the page, and there z[1] is largest.",
            lambda *case: _points()(*case)[::-1],
            "Left and right: z[0] is smallest in column 0.",
            lambda *case: _points()(*case)[:, ::-1],
            "The two coordinates have changed places: the first one, z[0], goes with columns.",
            lambda *case: _points()(*case)[..., ::-1],
            "Rows and columns have changed places: the first axis holds the rows.",
            lambda *case: _points()(*case).swapaxes(0, 1),
            "The two coordinates of a point belong into the last axis.",
            lambda *case: np.moveaxis(_points()(*case), -1, 0),
            "These codes are evenly spaced in z. Space the probabilities evenly, not the codes.",
            _points(lambda count, *ends: np.linspace(*norm.ppf(ends), count)),
            "These are probabilities. Which function turns one into a code?",
            _points(lambda count, low, high: np.linspace(low, high, count)),
            "norm.cdf maps a code to a probability. You need its inverse.",
            _points(lambda count, low, high: norm.cdf(np.linspace(low, high, count))),
            "The quantile of high is missing. Does your range include its end?",
            _points(lambda n, *ends: norm.ppf(np.linspace(*ends, n, endpoint=False))),
        ),
        measure=lambda points, *case: {"the points": points(*case)},
        nudge="Write down the corners first: which code hangs at the top left, which at the right?",
    ),
    3: Number(
        "predict",
        6 - np.log(50),
        "A code says at most log 50 = 3.91 nats about which of 50 pictures it is, since it can do "
        "no more than name one. The other 2.09 nats are a difference from the prior.",
        {
            6: "That would leave nothing for the information. Must a code say nothing?",
            0: "Then all 6 nats would be information. Can a code say so much of 50 pictures?",
            np.log(50): "That is the most that the information can be. What is left of the KL?",
            6 - np.log2(50): "That is a logarithm to base 2. Nats belong to the natural one.",
            6 - np.log10(50): "That is a logarithm to base 10. Nats belong to the natural one.",
            6 + np.log(50): "The KL is the sum of the two parts. Which of them do you want?",
        },
        hint="The mean KL is a sum of two parts, and one of them has a largest value.",
        nudge="Into which two parts does a mean KL fall, and how large can each of them be?",
    ),
    4: Choice(
        "explore",
        "d",
        "Many images share nearly one code, and the cheapest answer to all of them is "
        "their average: that is the blur. An average of few is still grainy, and one of all "
        "10,000 says too little.",
        {
            "a": "Compare the two lines for a count of 30. Which distance is smaller?",
            "b": "Try 10,000, the average of all test images, after 300.",
            "c": "Print it for a count of 30. How many times larger is the one than the other?",
        },
        nudge="Which of the two lines changes with the count, and for which count is it lowest?",
    ),
}
