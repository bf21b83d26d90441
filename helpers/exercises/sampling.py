"""Exercises of notebook 02."""

from helpers.exercises.engine import Build, Choice, Number, case_rng, slips

from collections.abc import Callable
from math import log

import numpy as np
from keras import ops


def _draws() -> list[tuple]:
    z_mean = np.tile(np.float32([[1.5, -2.0, 0.0]]), (20_000, 1))
    return [(z_mean, np.tile(np.float32([[-1.0, 0.5, 0.2]]), (20_000, 1)))]


def _of_draws(sample: Callable, z_mean: np.ndarray, z_log_sigma: np.ndarray) -> dict:
    """What 20,000 rows of draws have to show; the last two tell shared noise from fresh noise."""
    z = np.asarray(ops.convert_to_numpy(sample(z_mean.copy(), z_log_sigma.copy())))
    if z.shape != z_mean.shape:
        return {"draws": z}
    again = np.asarray(ops.convert_to_numpy(sample(z_mean.copy(), z_log_sigma.copy())))
    own = np.mean([len(np.unique(column)) for column in z.T]) / len(z)
    with np.errstate(invalid="ignore"):
        correlation = np.corrcoef(z.T)[np.triu_indices(3, 1)]
    return {
        "share of rows with a draw of their own": own,
        "mean of the draws": z.mean(axis=0),
        "width of the draws": z.std(axis=0),
        "correlations between the dimensions": correlation,
        "share of a second call that repeats the first": np.mean(z == again),
    }


def _noisy(scale: Callable, columns: int = 3, seed: int | None = None) -> Callable:
    rng = np.random.default_rng(0)

    def sample(m: np.ndarray, s: np.ndarray) -> np.ndarray:
        noise = rng if seed is None else np.random.default_rng(seed)
        return m + scale(s) * noise.standard_normal((len(m), columns))

    return sample


def _epsilon() -> list[tuple]:
    rng = case_rng(3)
    settings = [(1.0, 1.0, 5_000), (-0.4, 0.5, 32)]
    return [(mu, sigma, rng.standard_normal(n)) for mu, sigma, n in settings]


EXERCISES = {
    1: Number(
        "predict",
        2 * log(10),
        "0.1 exp(s) = exp(s / 2) gives exp(s / 2) = 10, so s = 2 log 10. Below, the published "
        "cloud is too narrow; above, too wide.",
        {
            -2 * log(10): "The sign: where s is small, the published cloud is the narrow one.",
            log(10): "exp(s) / exp(s / 2) is exp(s / 2): half of s makes up for the 0.1.",
            2.0: "That is a logarithm to base 10. exp belongs to the natural one, np.log.",
            0.0: "At 0 the widths are 0.1 and 1. Set 0.1 exp(s) equal to exp(s / 2).",
        },
        hint="Set the two widths equal, 0.1 exp(s) = exp(s / 2), and solve for s.",
        nudge="Write down the two widths as formulas in s: what must be true of them?",
    ),
    2: Build(
        "sample_wide(z_mean, z_log_sigma)",
        _noisy(np.exp),
        _draws,
        "exp of the log of the width is the width: no half.",
        slips(
            "exp(s / 2) belongs to the log of the variance; here the head gives log sigma.",
            _noisy(lambda s: np.exp(s / 2)),
            "The noise is stretched by the standard deviation, not by the variance.",
            _noisy(lambda s: np.exp(2 * s)),
            "The width is exp(z_log_sigma): what the head gives is a logarithm.",
            _noisy(lambda s: s),
            "Ten times too narrow, like the published layer: the noise comes from N(0, 1).",
            _noisy(lambda s: 0.1 * np.exp(s)),
            "Each call gives the same draws, since the seed is set inside of the function.",
            _noisy(np.exp, seed=1),
            "All rows are alike. Draw noise of the shape of z_mean, a number for each entry.",
            lambda m, s: m + np.exp(s) * np.random.default_rng(0).standard_normal((1, 3)),
            "Where is z_mean? The clouds lie around 0.",
            lambda m, s: _noisy(np.exp)(0 * m, s),
            "One number of noise serves all dimensions of a row. Each needs its own.",
            _noisy(np.exp, columns=1),
        ),
        measure=_of_draws,
        tolerance=0.06,
        nudge="What must be done to a logarithm of a width to get the width?",
    ),
    3: Build(
        "slope_of_cos(mu, sigma, epsilon)",
        lambda mu, sigma, epsilon: -np.sin(mu + sigma * epsilon).mean(),
        _epsilon,
        "Each draw follows its own path: the slope of cos at z, times 1, the slope of z in mu.",
        slips(
            "The slope of cos is minus sin.",
            lambda m, s, e: np.sin(m + s * e).mean(),
            "This is the average of cos itself. What is its slope in mu?",
            lambda m, s, e: np.cos(m + s * e).mean(),
            "This is the score-function estimator. The pathwise one differentiates cos along z.",
            lambda m, s, e: (np.cos(m + s * e) * e / s).mean(),
            "This is the slope in sigma, since z moves by epsilon with it. The slope in mu?",
            lambda m, s, e: -(np.sin(m + s * e) * e).mean(),
            "One slope for each draw came out. The estimate is their mean.",
            lambda m, s, e: -np.sin(m + s * e),
            "A factor sigma too many: when mu moves by 1, so does z.",
            lambda m, s, e: -(np.sin(m + s * e) * s).mean(),
            "The noise is stretched by sigma, not by its square.",
            lambda m, s, e: -np.sin(m + s * s * e).mean(),
            "This is the slope at the mean alone. Take the slope at each draw, then the mean.",
            lambda m, s, e: -np.sin(m),
            "A sum over the draws came out. The estimate is their mean.",
            lambda m, s, e: -np.sin(m + s * e).sum(),
        ),
        nudge="Hold one epsilon fixed: how does z move with mu, and then cos z with z?",
    ),
    4: Choice(
        "explore",
        "c",
        "The noise of the two sides no longer cancels: its error is divided by the step. A large "
        "step tames it, and then the curve between the two sides is no longer straight.",
        {
            "a": "The difference of the two averages is off by about 0.002. Divide that by 2e-4.",
            "b": "Call it several times with this step. How many digits agree?",
            "d": "Call it several times with each step, and compare with -0.510.",
        },
        nudge="Call it five times for each of the steps 0.0001, 0.01, 0.3 and 2.",
    ),
}
