"""Figures reach the page as one PNG with a text alternative."""

from helpers import figures
from helpers.figures import DIGIT_COLOURS, show, show_model, show_png

from base64 import b64decode
from io import BytesIO
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import pytest

ALT = "A line that rises."


@pytest.fixture
def shown(monkeypatch):
    calls = []
    monkeypatch.setattr(figures, "display", lambda *args, **kwargs: calls.append((args, kwargs)))
    yield calls
    plt.close("all")


def png_of(shown):
    """The one picture shown, after a look at its text alternative."""
    ((data,), options), = shown  # fmt: skip
    assert data["text/plain"] == ALT
    assert options == {"raw": True, "metadata": {"image/png": {"alt": ALT}}}
    return b64decode(data["image/png"])


def test_show_emits_a_png_with_its_alternative_and_closes_the_figure(shown):
    plt.figure(figsize=(3, 2))
    plt.plot([0, 1])
    show(ALT)
    image = plt.imread(BytesIO(png_of(shown)), format="png")
    assert image.ndim == 3
    assert image[..., :3].min() < image[..., :3].max()  # something is drawn
    assert plt.get_fignums() == []


def test_show_takes_the_current_figure_alone(shown):
    first, second = plt.figure(), plt.figure()
    show(ALT)
    assert plt.get_fignums() == [first.number]
    assert not plt.fignum_exists(second.number)


def test_show_png_passes_the_bytes_on(shown):
    show_png(b"\x89PNG and more", ALT)
    assert png_of(shown) == b"\x89PNG and more"


@pytest.mark.parametrize("alt", ["", " \n", None, 3])
def test_show_rejects_an_empty_alternative(shown, alt):
    plt.figure()
    with pytest.raises(ValueError, match=r"^alt: expected a sentence"):
        show(alt)
    assert shown == []


def test_show_rejects_no_figure(shown):
    with pytest.raises(ValueError, match=r"^show: expected an open figure"):
        show(ALT)


def test_show_model_displays_the_diagram(shown, monkeypatch):
    drawn = []

    def plot_model(model, to_file, **kwargs):
        drawn.append(model)
        Path(to_file).write_bytes(b"\x89PNG diagram")

    monkeypatch.setattr(figures.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(keras.utils, "plot_model", plot_model)
    show_model("model", ALT)
    assert drawn == ["model"]
    assert png_of(shown) == b"\x89PNG diagram"


def test_show_model_without_graphviz_says_so(shown, monkeypatch, capsys):
    monkeypatch.setattr(figures.shutil, "which", lambda name: None)
    show_model("model", ALT)
    assert "Graphviz" in capsys.readouterr().out
    assert shown == []


def test_ten_colours_one_a_digit():
    assert len(set(DIGIT_COLOURS)) == 10
