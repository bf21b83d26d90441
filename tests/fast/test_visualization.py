"""z[0] grows to the right and z[1] upwards in everything that is drawn."""

from helpers import visualization as vis

from functools import partial
from itertools import combinations
from unittest.mock import Mock

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.transforms import Affine2D
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special, stats

QUANTILES = stats.norm.ppf(np.linspace(0.05, 0.95, 30))
POINT = np.zeros((1, 2))


def marking_decoder(latent_dim=2):
    """Writes z[0] into pixel 0, z[1] into pixel 1, a constant 3 into row 5, column 2."""
    decoder = keras.Sequential([keras.Input((latent_dim,)), keras.layers.Dense(784)])
    kernel, bias = np.zeros((latent_dim, 784)), np.zeros(784)
    kernel[0, 0] = kernel[1, 1] = 1
    bias[28 * 5 + 2] = 3
    decoder.set_weights([kernel, bias])
    return decoder


@pytest.fixture
def ax():
    yield plt.figure().add_subplot()
    plt.close("all")


def test_grid_is_at_quantiles_of_the_prior():
    grid = vis.manifold_grid()
    assert grid.shape == (30, 30, 2)
    assert_allclose(grid[:, :, 0], np.tile(QUANTILES, (30, 1)))
    assert_allclose(grid[:, :, 1].T, np.tile(QUANTILES[::-1], (30, 1)))


def test_grid_takes_other_quantiles():
    grid = vis.manifold_grid(3, 0.1, 0.6)
    assert_allclose(grid[0, :, 0], stats.norm.ppf([0.1, 0.35, 0.6]))
    assert_allclose(grid[:, 0, 1], stats.norm.ppf([0.6, 0.35, 0.1]))


def test_manifold_has_z0_to_the_right_and_z1_upwards():
    tiles = special.logit(vis.manifold(marking_decoder()).reshape(30, 28, 30, 28).astype("float64"))
    assert_allclose(tiles[:, 0, :, 0], np.tile(QUANTILES, (30, 1)), atol=1e-5)
    assert_allclose(tiles[:, 0, :, 1].T, np.tile(QUANTILES[::-1], (30, 1)), atol=1e-5)
    assert_allclose(tiles[:, 5, :, 2], 3, atol=1e-5)  # each digit upright
    assert_allclose(tiles[:, 6:], 0, atol=1e-6)


def test_manifold_decodes_all_points_in_one_call():
    decoder = Mock(side_effect=marking_decoder(), inputs=marking_decoder().inputs)
    assert vis.manifold(decoder, 7).shape == (7 * 28, 7 * 28)
    assert [call.args[0].shape for call in decoder.call_args_list] == [(49, 2)]


def test_plotted_manifold_keeps_the_orientation(ax):
    vis.plot_manifold(ax, marking_decoder(), 5)
    assert_array_equal(ax.images[0].get_array(), vis.manifold(marking_decoder(), 5))
    assert ax.yaxis_inverted()  # row 0 of the picture is on top
    expected = [f"{z:.2f}" for z in stats.norm.ppf(np.linspace(0.05, 0.95, 5))]
    assert [label.get_text() for label in ax.get_xticklabels()] == expected
    assert [label.get_text() for label in ax.get_yticklabels()] == expected[::-1]
    assert (ax.get_xlabel(), ax.get_ylabel()) == tuple(vis.LATENT_AXES.values())


@pytest.mark.parametrize("n", [1, 0, True, 3.0])
def test_bad_grid_size_is_rejected(n):
    with pytest.raises(ValueError, match=r"^n: expected a whole number of at least 2"):
        vis.manifold_grid(n)


@pytest.mark.parametrize(("low", "high"), [(0, 0.9), (0.1, 1), (0.6, 0.4), (0.5, 0.5)])
def test_bad_quantiles_are_rejected(low, high):
    with pytest.raises(ValueError, match=r"^low, high: expected 0 < low < high < 1"):
        vis.manifold_grid(3, low, high)


def test_manifold_needs_two_latent_dimensions():
    with pytest.raises(ValueError, match=r"^z: expected shape \(n, 3\)"):
        vis.manifold(marking_decoder(3))


def random_posteriors(n=20):
    """Spread far along z[0] and little along z[1], so that swapped axes would show."""
    rng = np.random.default_rng(0)
    return rng.normal([1, -0.5], [1.5, 0.3], (n, 2)), rng.normal([-1, -3], 0.3, (n, 2))


def test_aggregate_posterior_is_a_density():
    axis = np.linspace(-8, 8, 801)
    density = vis.aggregate_posterior(*random_posteriors(), axis)
    assert density.shape == (801, 801)
    assert density.sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-3)


def test_aggregate_posterior_is_the_mixture_of_the_posteriors():
    z_mean, z_log_var = random_posteriors()
    axis = np.array([-2.0, -0.6, 0.1, 1.3])
    points = np.stack(np.meshgrid(axis, axis), axis=-1)  # a row for each z[1], a column each z[0]
    q = zip(z_mean, map(np.diag, np.exp(z_log_var)), strict=True)
    parts = [stats.multivariate_normal.pdf(points, *pair) for pair in q]
    assert_allclose(vis.aggregate_posterior(z_mean, z_log_var, axis), np.mean(parts, 0), rtol=1e-6)


def test_latent_points_are_drawn_where_they_lie(ax):
    z, labels = np.random.default_rng(0).normal(size=(200, 2)), np.arange(200) % 9
    vis.plot_latent(ax, z, labels)
    assert len(ax.collections) == 9  # no 9 in the data
    for digit, points in enumerate(ax.collections):
        assert_allclose(np.reshape(points.get_offsets(), (-1, 2)), z[labels == digit])
    assert [text.get_text() for text in ax.texts] == list("012345678")
    assert (ax.get_xlabel(), ax.get_ylabel()) == tuple(vis.LATENT_AXES.values())


def test_names_of_digits_stand_in_their_middle_and_never_on_each_other(ax):
    middles = np.array([[-4, 0], [4, 0], [0, 3], [0.01, 3], [0, 3.01]])
    z = np.repeat(middles, 3, axis=0) + np.tile([[0, 0], [0.1, 0.2], [-0.1, -0.2]], (5, 1))
    vis.plot_latent(ax, z, np.repeat(range(5), 3))
    at = np.array([text.get_position() for text in ax.texts])
    assert_allclose(at[:2], middles[:2], atol=0.02)  # far from all others
    assert np.abs(at - middles).max() < 1
    for k, (line, dot) in enumerate(zip(ax.lines[::2], ax.lines[1::2], strict=True)):
        middle = np.median(z[3 * k : 3 * k + 3], axis=0)
        assert_allclose(line.get_xydata(), [middle, at[k]])
        assert_allclose(dot.get_xydata(), [middle])
    assert min(np.linalg.norm(at[i] - at[j]) for i, j in combinations(range(5), 2)) > 0.4


def test_no_points_are_refused(ax):
    with pytest.raises(ValueError, match=r"^z: expected shape \(n, 2\) with values"):
        vis.plot_latent(ax, np.zeros((0, 2)), np.zeros(0, int))


@pytest.mark.parametrize("labels", [[1, 2], [[1], [2], [3]], [1, 2, 10], [1, 2, -1]])
def test_bad_labels_are_rejected(ax, labels):
    with pytest.raises(ValueError, match=r"^labels: expected 3 digits"):
        vis.plot_latent(ax, np.zeros((3, 2)), labels)


@pytest.mark.parametrize(("deviations", "factor"), [(2.0, 4), (1.0, 2)])
def test_ellipses_have_full_widths(ax, deviations, factor):
    z_mean, variance = np.array([[[0, 1], [2, -1.0]], [[0.25, 4], [1, 0.01]]])
    vis.plot_posteriors(ax, z_mean, np.log(variance), deviations)
    ax.figure.draw_without_rendering()
    ellipses, to_pixels = ax.collections[0], ax.transData.transform
    assert_allclose(ellipses.get_offsets(), z_mean)
    unit = to_pixels([1, 1]) - to_pixels([0, 0])
    (circle,) = ellipses.get_paths()
    for matrix, variances in zip(ellipses.get_transforms(), variance, strict=True):
        extent = circle.transformed(Affine2D(matrix) + ellipses.get_transform()).get_extents()
        assert_allclose(extent.size / unit, factor * np.sqrt(variances))


@pytest.mark.parametrize("z", [POINT[0], np.zeros((4, 3)), POINT + np.nan, POINT + np.inf])
def test_what_is_not_in_a_plane_is_rejected(ax, z):
    with pytest.raises(ValueError, match=r"^z: expected"):
        vis.plot_latent(ax, z, np.zeros(len(z), int))
    of_axis = partial(vis.aggregate_posterior, axis=np.linspace(-1, 1, 3))
    for function in (partial(vis.plot_posteriors, ax), of_axis):
        with pytest.raises(ValueError, match=r"^z_mean: expected"):
            function(z, POINT)
        for other in (z, np.zeros((5, 2))):
            with pytest.raises(ValueError, match=r"^z_log_var: expected"):
                function(POINT, other)


def test_rows_show_their_images_side_by_side(ax):
    rows = np.random.default_rng(0).random((2, 3, 784))
    vis.plot_rows(rows, ["first", "second"])
    axes = plt.gcf().axes
    assert [a.get_ylabel() for a in axes] == ["first", "second"]
    for a, row in zip(axes, rows, strict=True):
        assert_array_equal(a.images[0].get_array(), np.hstack(row.reshape(-1, 28, 28)))
        assert a.images[0].get_clim() == (0, 1)  # black is 1 in every row


def test_bad_rows_are_rejected():
    row = np.zeros((3, 784))
    for rows, names in (([row], []), ([], []), ([row, row], ["one"])):
        with pytest.raises(ValueError, match=r"^names: expected one name a row"):
            vis.plot_rows(rows, names)
    for other in (np.zeros((2, 784)), np.zeros((3, 28, 28)), row + 2):
        with pytest.raises(ValueError, match=r"^rows: expected (one )?(shape \(n, 784\)|pixels)"):
            vis.plot_rows([row, other], ["one", "two"])


def test_interpolation_is_a_straight_line_with_its_ends():
    points = vis.interpolate([0, 1, 5], [1, -1, 5], 5)
    expected = [[0, 1, 5], [0.25, 0.5, 5], [0.5, 0, 5], [0.75, -0.5, 5], [1, -1, 5]]
    assert_allclose(points, expected, atol=1e-7)
    assert vis.interpolate([0], [1]).shape == (10, 1)


def test_bad_ends_and_steps_are_rejected():
    for start, end in (([0, 0], [1]), ([[0]], [[1]]), (0, 1)):
        with pytest.raises(ValueError, match=r"^(start|end): expected shape"):
            vis.interpolate(start, end)
    for steps in (1, 0, True, 3.0):
        with pytest.raises(ValueError, match=r"^steps: expected a whole number of at least 2"):
            vis.interpolate([0], [1], steps)
