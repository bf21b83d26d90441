"""Exercises of notebook 09."""

from helpers.exercises.engine import Build, Choice, Number, slips

from collections.abc import Callable

import numpy as np


def _rates(
    fall: Callable = lambda t: (1 + np.cos(np.pi * t)) / 2,
    way: Callable = lambda step, steps, first: np.clip((step - first) / (steps - first), 0, 1),
    climb: Callable = lambda step, steps, first: step / max(first, 1),
) -> Callable:
    return lambda step, peak, steps, first: (
        peak * np.where(step < first, climb(step, steps, first), fall(way(step, steps, first)))
    )


EXERCISES = {
    1: Number(
        "predict",
        704,
        "An epoch has 469 batches, the last one not full: 14,070 steps, and 5 % of them, 703.5, "
        "which `rate_schedule` rounds to 704.",
        {
            703: "Close: 5 % of the steps are no whole number. What does `round` make of it?",
            703.5: "Give the whole number that `rate_schedule` makes of it.",
            702: "The last batch of an epoch is not full. It is a step all the same.",
            14_070: "These are all the steps. Which share of them does the warm-up take?",
            645: "These are 55,000 images. Here the validation images join the training.",
            2_812: "That is the course's batch of 32. These batches have 128 images.",
            23: "That is 5 % of one epoch. The schedule spans the whole training.",
            13_366: "These are the steps of the fall. How many come before it?",
            90_000: "A step is a batch of images, not one image.",
        },
        tolerance=1e-5,
        hint="Count the batches of an epoch, then the steps in all, then the share of warm-up.",
        nudge="How many steps has an epoch, if its last batch is not full?",
    ),
    2: Choice(
        "predict",
        "a",
        "The deep network pays about a nat more for a finer code and saves twenty: its decoder can "
        "draw what the code tells, the average of fewer pictures, which is less of a blur.",
        {
            "b": "The manifold is decoded from points of a grid. No noise is added there.",
            "c": "Both losses were measured on test images, which neither network has seen.",
            "d": "Compare the two values of the KL. Which network pays more?",
        },
        nudge="Which of the two networks pays more for its codes, and what does it get for that?",
    ),
    3: Build(
        "rates_at(step, peak, steps, first)",
        _rates(),
        lambda: [
            (np.array([0, 5, 20, 29, 30, 75, 110, 170, 200, 230, 300]), 0.8, 200, 30),
            (np.array([0, 10, 40, 50, 60]), 2.0, 50, 0),  # no warm-up
            (np.array([700, 3, 12]), 1.5, 1_000, 8),
            (np.arange(0, 13_500, 25), 2e-3, 12_900, 645),
            (np.array([4]), 0.6, 9, 4),
        ],
        "Both parts meet at the peak, and the half cosine is flat at its two ends: no jump, a "
        "slow start of the fall, and a slow end.",
        slips(
            "The way down begins at `first`, not at step 0: right after the climb it is at the "
            "peak.",
            _rates(way=lambda step, steps, _: np.clip(step / steps, 0, 1)),
            "From `first` on only steps - first steps are left, and the rate should be 0 at "
            "`steps`.",
            _rates(way=lambda step, steps, first: np.clip((step - first) / steps, 0, 1)),
            "After `steps` the cosine goes up again. Hold the rate at 0 there.",
            _rates(way=lambda step, steps, first: (step - first) / (steps - first)),
            "This is a whole period of the cosine: it is back at the peak in the end.",
            _rates(lambda t: (1 + np.cos(2 * np.pi * t)) / 2),
            "1 + cos runs from 2 to 0. Where is the half?",
            _rates(lambda t: 1 + np.cos(np.pi * t)),
            "cos alone goes below 0. A learning rate never does.",
            _rates(lambda t: np.cos(np.pi * t)),
            "The sign of the cosine: this one rises from 0 to the peak after the warm-up.",
            _rates(lambda t: (1 - np.cos(np.pi * t)) / 2),
            "This is a straight line down. The fall should follow the cosine.",
            _rates(lambda t: 1 - t),
            "Without pi the angle stops at 1, long before half a turn.",
            _rates(lambda t: (1 + np.cos(t)) / 2),
            "The climb should reach the peak at `first`. This one would reach it at `steps`.",
            _rates(climb=lambda step, steps, _: step / steps),
            "Where is the warm-up? Before `first` the rate climbs from 0.",
            _rates(climb=lambda *_: 1),
            "The climb has the peak missing, or the fall: both are shares of it.",
            lambda step, peak, steps, first: _rates()(step, 1.0, steps, first),
        ),
        tolerance=1e-5,
        nudge="At which steps is the rate 0, at which the peak, and what joins these points?",
    ),
    4: Choice(
        "explore",
        "c",
        "The shape costs about a tenth of a nat, the encoder the rest. The median is far below the "
        "mean: a few images that the encoder puts into a wrong place carry most of it.",
        {
            "a": "The first line is the encoder's part. How far is its mean from 0?",
            "b": "Compare the two means. How many times larger is the first?",
            "d": "The second line is what the best Gaussians leave open. Which line is larger?",
        },
        nudge="Which of the two printed means is larger, and by how much?",
    ),
}
