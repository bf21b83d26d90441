"""Looking at a latent plane and at what the decoder makes of it, notebook 06.

Axes are the same everywhere: z[0] grows to the right, z[1] upwards, so that a scatter and
a manifold can be laid over each other. All but the drawing of images needs two latent
dimensions.
"""

from helpers.argument_checks import (
    check_clouds,
    check_images,
    check_labels,
    check_numbers,
    check_real,
    check_whole,
)
from helpers.decoder import decode
from helpers.figures import DIGIT_COLOURS, as_designed, on_paper

from collections.abc import Sequence

import keras
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import EllipseCollection
from scipy.stats import norm

LATENT_AXES = {"xlabel": "z[0], first latent dimension", "ylabel": "z[1], second latent dimension"}


@as_designed
def plot_latent(ax: plt.Axes, z: np.ndarray, labels: np.ndarray, size: float = 14) -> None:
    """Scatter points z (n, 2), each drawn as the digit that labels (n,) says it is.

    A boxed digit names each kind, with a line to the dot at its median where the box had to
    move aside.

    Raises:
        ValueError: `z` has another shape, or labels are not n digits from 0 to 9.
    """
    z = check_numbers(z, "z", "n", 2)
    labels, size = check_labels(labels, len(z), "labels"), check_real(size, "size")
    on_paper(ax)
    names = np.unique(labels)
    centres = np.array([np.median(z[labels == name], axis=0) for name in names])
    names_at = spread(centres, 0.11 * np.ptp(z, axis=0).max())
    inches = ax.get_window_extent().width / ax.figure.dpi
    style = {"weight": "bold", "ha": "center", "va": "center", "size": np.clip(3 * inches, 5, 11)}
    for digit, centre, at in zip(names, centres, names_at, strict=True):
        colour = DIGIT_COLOURS[digit]
        ax.scatter(*z[labels == digit].T, s=size, color=colour, marker=f"${digit}$", lw=0.2)
        box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": colour}
        ax.plot(*zip(centre, at, strict=True), color="black", lw=0.8, linestyle="-", zorder=3)
        ax.plot(*centre, "o", color="black", markersize=3, zorder=3)  # the box may be beside it
        ax.text(*at, str(digit), bbox=box, **style)
    ax.set(**LATENT_AXES, aspect="equal")


def spread(points: np.ndarray, gap: float) -> np.ndarray:
    """The points (n, 2) with those closer than `gap` pushed apart, so that names can be read."""
    points, gap = check_numbers(points, "points", "n", 2), check_real(gap, "gap")
    points = points + 1e-3 * gap * np.arange(len(points))[:, None]  # no two in one place
    for _ in range(50):
        apart = points[:, None] - points
        distance = np.maximum(np.linalg.norm(apart, axis=-1, keepdims=True), 1e-9)
        points = points + (apart * np.clip(gap / distance - 1, 0, None)).sum(axis=1) / 4
    return points


@as_designed
def plot_posteriors(
    ax: plt.Axes, z_mean: np.ndarray, z_log_var: np.ndarray, deviations: float = 2.0
) -> None:
    """Draw q(z given x) of each image as an ellipse of so many standard deviations.

    Raises:
        ValueError: `z_mean` or `z_log_var` is not (n, 2), or the two differ in shape.
    """
    z_mean, z_log_var = check_clouds(z_mean, z_log_var, 2)
    deviations = check_real(deviations, "deviations")
    on_paper(ax)
    width, height = 2 * deviations * np.exp(z_log_var / 2).T
    ellipses = EllipseCollection(
        width, height, np.zeros(len(width)), units="xy", offsets=z_mean,
        offset_transform=ax.transData, facecolors="none", edgecolors="C0", linewidths=0.8,
    )  # fmt: skip
    ax.add_collection(ellipses)
    ax.scatter(*z_mean.T, s=4, color="C0")
    ax.set(**LATENT_AXES, aspect="equal")


def aggregate_posterior(z_mean: np.ndarray, z_log_var: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Density of the aggregate posterior on the plane axis x axis.

    The mean over the images of q(z given x), at the points [z[1], z[0]] of the grid: row i
    holds z[1] = axis[i]. Two (n, 2) arrays and (m,) give (m, m).

    Raises:
        ValueError: `z_mean` or `z_log_var` is not (n, 2), or the two differ in shape.
    """
    z_mean, z_log_var = check_clouds(z_mean, z_log_var, 2)
    axis = check_numbers(axis, "axis", "m")
    scale = np.maximum(np.exp(z_log_var / 2), 1e-150)  # never 0, to divide by it
    first, second = (norm.pdf(axis[:, None], z_mean[:, k], scale[:, k]) for k in (0, 1))
    return second @ first.T / len(z_mean)


def manifold_grid(n: int = 30, low: float = 0.05, high: float = 0.95) -> np.ndarray:
    """Points (n, n, 2) at evenly spaced quantiles of the prior, laid out as on the page.

    Row 0 is the top, with the largest z[1]; column 0 the left, with the smallest z[0].

    Raises:
        ValueError: `n` below 2, or quantiles that are not 0 < low < high < 1.
    """
    check_whole("n", n, 2)
    low, high = check_real(low, "low"), check_real(high, "high")
    if not 0 < low < high < 1:
        raise ValueError(f"low, high: expected 0 < low < high < 1, got {low!r} and {high!r}")
    quantiles = norm.ppf(np.linspace(low, high, n))
    return np.stack(np.meshgrid(quantiles, quantiles[::-1]), axis=-1)


def manifold(
    decoder: keras.Model, n: int = 30, low: float = 0.05, high: float = 0.95
) -> np.ndarray:
    """What the decoder makes of `manifold_grid`, as one picture (28 n, 28 n), one batched call.

    Raises:
        ValueError: as `manifold_grid`, or a decoder of other than two latent dimensions.
    """
    n = check_whole("n", n, 2)
    images = decode(decoder, manifold_grid(n, low, high).reshape(-1, 2))
    return images.reshape(n, n, 28, 28).swapaxes(1, 2).reshape(28 * n, 28 * n)


@as_designed
def plot_manifold(ax: plt.Axes, decoder: keras.Model, n: int = 30) -> None:
    """Draw `manifold` with the z of some columns and rows along its axes.

    Raises:
        ValueError: as `manifold`.
    """
    on_paper(ax)
    ax.imshow(manifold(decoder, n))
    grid = manifold_grid(n)
    at = np.linspace(0, len(grid) - 1, 5).round().astype(int)
    ax.set_xticks(28 * at + 14, [f"{z:.2f}" for z in grid[0, at, 0]])
    ax.set_yticks(28 * at + 14, [f"{z:.2f}" for z in grid[at, 0, 1]])
    ax.set(**LATENT_AXES)


@as_designed
def plot_rows(rows: Sequence[np.ndarray], names: Sequence[str]) -> None:
    """Draw rows of images, each (n, 784), one row under another with its name.

    Raises:
        TypeError, ValueError: images that are none (see `check_images`), not one name a row,
            or rows of different shapes.
    """
    for name, value in (("rows", rows), ("names", names)):
        if not np.iterable(value):
            raise TypeError(f"{name}: expected one for each row, got {value!r}")
    rows = [check_images(row, "rows") for row in rows]
    if not rows or len(rows) != len(names):
        raise ValueError(f"names: expected one name a row, got {len(names)} for {len(rows)} rows")
    if any(row.shape != rows[0].shape for row in rows):
        raise ValueError(f"rows: expected one shape (n, 784), got {[row.shape for row in rows]}")
    n = len(rows[0])
    _, axes = plt.subplots(len(rows), 1, figsize=(min(10, n), 1.05 * len(rows) * min(10, n) / n))
    for ax, row, name in zip(np.atleast_1d(axes), rows, names, strict=True):
        most = 255 if row.dtype == np.uint8 else 1
        ax.imshow(row.reshape(n, 28, 28).swapaxes(0, 1).reshape(28, 28 * n), vmin=0, vmax=most)
        ax.set(xticks=[], yticks=[])
        ax.set_ylabel(name, rotation=0, ha="right", va="center")
        ax.spines[:].set_visible(False)


def interpolate(start: np.ndarray, end: np.ndarray, steps: int = 10) -> np.ndarray:
    """Points (steps, latent_dim) on the straight line from `start` to `end`, ends included.

    Raises:
        ValueError: `start` and `end` are not vectors of one length, or `steps` below 2.
    """
    start = check_numbers(start, "start", "latent_dim").astype("float32")
    end = check_numbers(end, "end", *start.shape).astype("float32")
    return np.linspace(start, end, check_whole("steps", steps, 2))
