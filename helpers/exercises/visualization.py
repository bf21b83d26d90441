"""Exercises of notebook 06."""

from helpers.exercises.engine import Build, Choice, case_rng, slips

from collections.abc import Callable

import numpy as np
from scipy.stats import norm


def _points(
    values: Callable = lambda count, low, high: norm.ppf(np.linspace(low, high, count)),
) -> Callable:
    return lambda rows, columns, low, high: np.stack(
        np.meshgrid(values(columns, low, high), values(rows, low, high)[::-1]), axis=-1
    )


def _tiles(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return np.reshape(images, (rows, columns, 28, 28))


def _hung(tiles: np.ndarray) -> np.ndarray:
    rows, columns = tiles.shape[:2]
    return tiles.swapaxes(1, 2).reshape(28 * rows, 28 * columns)


def _images() -> list[tuple]:
    rng = case_rng(6)
    pages = [(2, 3), (4, 2), (1, 2), (3, 3)]
    return [(rng.random((r * c, 784), "float32"), r, c) for r, c in pages]


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
    ),
    2: Build(
        "points_on_page(rows, columns, low, high)",
        _points(),
        lambda: [(3, 5, 0.1, 0.8), (2, 4, 0.05, 0.95), (4, 4, 0.001, 0.999), (5, 2, 0.3, 0.6)],
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
    ),
    3: Build(
        "assemble(images, rows, columns)",
        lambda *case: _hung(_tiles(*case)),
        _images,
        "A line of the page runs through one line of each tile in its row: the line of the tile "
        "comes before the column of the page.",
        slips(
            "One reshape alone lays the pixels of an image side by side. What comes first along a "
            "line of the page: the next tile's pixels, or this tile's next line?",
            lambda images, rows, columns: np.reshape(images, (28 * rows, 28 * columns)),
            "The tiles hang in the right places, but each is transposed.",
            lambda *case: _hung(_tiles(*case).swapaxes(2, 3)),
            "The tiles are hung column by column. Read the page row by row.",
            lambda images, rows, columns: _hung(_tiles(images, columns, rows).swapaxes(0, 1)),
            "The first row of tiles hangs at the bottom. Row 0 of a picture is its top.",
            lambda *case: _hung(_tiles(*case)[::-1]),
            "The whole page is upside down, digits included.",
            lambda *case: _hung(_tiles(*case))[::-1],
            "Each row of tiles runs from right to left.",
            lambda *case: _hung(_tiles(*case)[:, ::-1]),
            "Rows and columns have changed places: the page should be 28 rows high.",
            lambda images, rows, columns: _hung(_tiles(images, columns, rows)),
            "All tiles hang below one another, in one column.",
            lambda images, rows, columns: np.reshape(images, (-1, 28)),
        ),
    ),
    4: Choice(
        "explore",
        "d",
        "Many images share nearly one code, and the cheapest answer to all of them is "
        "their average: that is the blur. With all 10,000 the average says too little again.",
        {
            "a": "Compare the two lines for a count of 30. Which distance is smaller?",
            "b": "Try 10,000, the average of all test images, after 300.",
            "c": "Print it for a count of 30. How many times larger is the one than the other?",
        },
    ),
}
