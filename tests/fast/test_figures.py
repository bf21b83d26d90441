"""Figures reach the page as one PNG with a text alternative."""

from helpers import figures, vae_figure
from helpers.conditional import build_conditional_vae
from helpers.deeper import DeepSetting, build_deep_vae
from helpers.figures import DIGIT_COLOURS, show, show_model, show_png
from helpers.training import build_vae
from helpers.vae_figure import BOXES, PARTS, show_vae
from tests.repository import NOTEBOOKS

import re
import struct
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from unittest.mock import Mock

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

ALT = "A line that rises."
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 600, 400) + b" and more"


@pytest.fixture
def shown(monkeypatch):
    calls = []
    monkeypatch.setattr(figures, "display", lambda *args, **kwargs: calls.append((args, kwargs)))
    yield calls
    plt.close("all")


def png_of(shown):
    """The one picture shown, after a look at its text alternative."""
    [((data,), options)] = shown
    assert data["text/plain"] == ALT
    png = b64decode(data["image/png"])
    (width,) = struct.unpack(">I", png[16:20])
    assert options == {"raw": True, "metadata": {"image/png": {"alt": ALT, "width": width // 2}}}
    return png


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
    show_png(PNG, ALT)
    assert png_of(shown) == PNG


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
    plot_model = Mock(side_effect=lambda model, to_file, **_: Path(to_file).write_bytes(PNG))
    monkeypatch.setattr(figures.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(keras.utils, "plot_model", plot_model)
    show_model("model", ALT)
    assert [call.args[0] for call in plot_model.call_args_list] == ["model"]
    assert png_of(shown) == PNG


def test_show_model_without_graphviz_says_so(shown, monkeypatch, capsys):
    monkeypatch.setattr(figures.shutil, "which", lambda name: None)
    show_model("model", ALT)
    assert "Graphviz" in capsys.readouterr().out
    assert shown == []


def luminance(colour):
    """Relative luminance, from 0 for black to 1 for white (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


def test_ten_colours_one_a_digit_each_dark_enough_on_white():
    assert len(set(DIGIT_COLOURS)) == 10
    assert all(1.05 / (luminance(colour) + 0.05) >= 3 for colour in DIGIT_COLOURS)


def test_lines_differ_by_more_than_hue():
    cycle = plt.rcParams["axes.prop_cycle"].by_key()
    assert len(set(cycle["linestyle"])) == len(cycle["linestyle"]) == len(set(cycle["color"]))


@pytest.mark.parametrize("topic", PARTS)
def test_the_drawing_marks_the_part_of_its_notebook(topic, monkeypatch):
    drawn = {}

    def look(alt):
        [axes] = plt.gcf().axes
        drawn.update({text.get_text(): text.get_weight() for text in axes.texts}, alt=alt)
        plt.close()

    monkeypatch.setattr(vae_figure, "show", look)
    show_vae(topic)
    assert drawn["alt"].startswith(f"The whole VAE. {PARTS[topic][1]} A picture")
    marked = {text.split("\n")[0] for text, weight in drawn.items() if weight == "bold"}
    names = {"gradients": ("gradients",), **BOXES}
    assert marked == {names[part][0].split("\n")[0] for part in PARTS[topic][0]}
    deep = DeepSetting(widths=(512, 256, 128))
    networks = {"deeper": build_deep_vae(deep), "conditional": build_conditional_vae()}
    networks = networks.get(topic, build_vae())
    for name in ("encoder", "decoder"):
        [text] = [text for text in drawn if text.startswith(f"{name}\n")]
        assert [int(n) for n in re.findall(r"\d+", text)] == widths(getattr(networks, name))


def widths(network):
    """The numbers that go in, then the outputs of each layer, without the heads of an encoder."""
    dense = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)]
    layers = [layer.units for layer in dense if layer.name not in ("z_mean", "z_log_var")]
    return [part.shape[-1] for part in network.inputs] + layers


def test_each_notebook_has_its_drawing():
    topics = {path.stem[3:] for path in NOTEBOOKS}
    assert topics == PARTS.keys()
    for path in NOTEBOOKS:
        assert f'show_vae(\\"{path.stem[3:]}\\")' in path.read_text("utf-8")


def test_no_drawing_of_another_topic():
    with pytest.raises(ValueError, match=r"^topic: expected one of autoencoder, .* got 'gan'"):
        show_vae("gan")
