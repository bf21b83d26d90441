"""Exercises of notebook 00."""

from helpers.exercises.engine import Build, Choice, Number, case_rng, slips

from math import exp, log

import numpy as np

ENTROPY = -(0.75 * log(0.75) + 0.25 * log(0.25))


def _clouds() -> list[tuple]:
    """Draws and codes on a plane as wide as the autoencoder's, and pictures."""
    rng = case_rng(8)
    sizes = [(60, 500, 2), (1, 300, 2), (8, 60, 784)]
    return [(rng.normal(-10, 20, (m, d)), rng.normal(-10, 15, (n, d))) for m, n, d in sizes]


def _distances(points: np.ndarray, known: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None] - known, axis=2)


EXERCISES = {
    1: Number(
        "predict",
        exp(ENTROPY),
        "Two digits occur, but so unevenly that they count as fewer than two: exp(0.562) = 1.75.",
        {
            ENTROPY: "That is the entropy. The measurement is its exponential.",
            2.0: "Two kinds in equal shares would count as 2. These shares are uneven.",
            exp(-ENTROPY): "The minus sign of the entropy is missing. Can there be fewer than one "
            "kind?",
            ENTROPY / log(2): "That is the entropy to base 2, in bits. Use np.log, and then exp.",
            2**ENTROPY: "exp belongs to the natural logarithm. A power of 2 does not undo it.",
            exp(ENTROPY / log(2)): "A logarithm to base 2 and an exponential to base e do not fit "
            "together.",
            1.6: "One divided by the sum of the squared shares is another measure. Here it is the "
            "exponential of the entropy.",
            -ENTROPY: "Mind the minus sign before the sum, and take the exponential.",
            exp(-0.75 * log(0.75)): "That is the share of the 3s alone. The 8s belong to the sum, "
            "too.",
        },
        tolerance=0.005,
        hint="Only two of the ten terms differ from 0: those with the shares 0.75 and 0.25.",
        nudge="Before you count: will it be above 1, and will it be below 2?",
    ),
    2: Choice(
        "predict",
        "c",
        "The decoder reads what it read before, noise and all, so every picture is rebuilt as "
        "before. But the pull charges for each unit of distance from the origin. So this loss has "
        "a unit of length, and a plane that is stretched as a whole is a worse one.",
        {
            "a": "The centres lie farther apart, and the clouds are as many times wider. What is "
            "left of the difference, once the decoder has divided?",
            "b": "That holds for the first part. The second part reads the codes before the "
            "decoder divides them.",
            "d": "The decoder divides the noise by 100, too. What does it read in the end?",
        },
        nudge="What does the decoder read after it has divided, and what does the pull read?",
    ),
    3: Build(
        "distance_to_nearest(points, known)",
        lambda points, known: _distances(points, known).min(axis=1),
        _clouds,
        "One distance for each pair of a point and a code, and then the smallest for each point. "
        "The tree in the notebook finds the same without computing all pairs.",
        slips(
            "These are the distances from each code to its nearest point. It is asked the other "
            "way round.",
            lambda p, k: _distances(p, k).min(axis=0),
            "These are squared distances. The root is missing.",
            lambda p, k: (_distances(p, k) ** 2).min(axis=1),
            "This is the mean over all codes. Only the nearest one counts.",
            lambda p, k: _distances(p, k).mean(axis=1),
            "This is the distance to the farthest code.",
            lambda p, k: _distances(p, k).max(axis=1),
            "This is the number of the nearest code. How far away is it?",
            lambda p, k: _distances(p, k).argmin(axis=1),
            "This adds up the differences without their signs. A straight line is shorter, by "
            "Pythagoras.",
            lambda p, k: np.abs(p[:, None] - k).sum(axis=2).min(axis=1),
            "This is the distance to the centre of all codes. No code need lie there.",
            lambda p, k: np.linalg.norm(p - k.mean(axis=0), axis=1),
            "All pairs came out, a row for each point. Which entry of a row is wanted?",
            _distances,
            "One number came out, the smallest of all pairs. Every point has its own.",
            lambda p, k: _distances(p, k).min(),
            "The nearest codes themselves came out. How far are they from the points?",
            lambda p, k: k[_distances(p, k).argmin(axis=1)],
        ),
        nudge="How would you do it for a single point, and what is left to do for all of them?",
    ),
    4: Choice(
        "explore",
        "d",
        "How large a share is depends on what you call far. That the autoencoder's fitted normal "
        "wastes most does not. And a kernel density with blots of no width would waste next to "
        "nothing: it hands out training codes. So this measurement must not choose the width.",
        {
            "a": "Compare a tenth with a half. Which yardstick is easier to exceed?",
            "b": "Call count_far(0.5) and look at the row of the fitted normal.",
            "c": "Call count_far(0.1) and compare the rows of the two.",
        },
        nudge="Call it with 0.1, 0.2 and 0.5: which row is the largest each time?",
    ),
}
