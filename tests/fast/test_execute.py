"""How notebooks are run: with other parameters, compared, or in full and stored."""

from tests.reduced import check_parameters, execute, printed, replay, tagged
from tests.repository import ROOT
from tools.execute import main as run_notebook
from tools.execute import merge_streams
from tools.execute import write as store

import nbformat
import pytest

GOOD = ROOT / "tests" / "fast" / "fixtures" / "good.ipynb"


@pytest.fixture
def plain(tmp_path):
    """A copy of the good notebook without exercises, for which TensorFlow would be imported."""
    nb = nbformat.read(GOOD, as_version=4)
    nb.cells = [
        c for c in nb.cells if not c.source.startswith("progress") and "check(" not in c.source
    ]
    imported = "from helpers.exercises import check, progress\n\n"
    nb.cells[3].source = nb.cells[3].source.removeprefix(imported)
    path = tmp_path / "plain" / GOOD.name
    path.parent.mkdir()
    store(nb, path)
    return path


def test_a_mistyped_parameter_is_refused(plain, tmp_path):
    check_parameters(plain, {"draws": 3})
    with pytest.raises(ValueError, match=r"good\.ipynb has no parameters \['drwas'\]"):
        execute(plain, tmp_path, {"drwas": 3})


def test_a_parameter_reaches_the_cells(plain, tmp_path):
    assert "largest: 9\n" in printed(execute(plain, tmp_path, {"draws": 4}))


@pytest.mark.parametrize(("stored", "status"), [("[0, 1, 4]", 0), ("[0, 1, 5]", 1)])
def test_a_replay_compares_the_tagged_cells(plain, tmp_path, stored, status):
    nb = execute(plain, tmp_path, {"draws": 4}, prepare_only=True)
    cell = tagged(nb)[0]
    assert cell.outputs[0].text == "first three: [0, 1, 4]\n"
    cell.outputs[0].text = f"first three: {stored}\n"
    nbformat.write(nb, tmp_path / "good.ipynb")
    run = replay(tmp_path / "good.ipynb")
    assert run.returncode == status, run.stdout + run.stderr
    assert ("Cell outputs differ" in run.stdout) == bool(status)


def edit(path, source):
    """Let the second code cell of a notebook do something more at first."""
    nb = nbformat.read(path, as_version=4)
    nb.cells[3].source = f"{source}\n{nb.cells[3].source}"
    store(nb, path)


def test_a_run_that_changes_nothing_changes_no_byte(plain, capsys):
    before = plain.read_bytes()
    assert run_notebook([str(plain)]) == 0
    assert plain.read_bytes() == before
    assert list(plain.parent.iterdir()) == [plain]
    assert capsys.readouterr().out.startswith("good.ipynb  ")


def test_a_run_stores_outputs_whole_and_in_place(plain):
    source = "import os, time\nfor k in 1, 2:\n    print(k, flush=True)\n"
    edit(plain, source + "    time.sleep(0.4)\nprint(os.getcwd())")
    before = nbformat.read(plain, as_version=4)
    assert run_notebook([str(plain)]) == 0
    nb = nbformat.read(plain, as_version=4)
    assert [output.text for output in nb.cells[3].outputs] == [
        f"1\n2\n{plain.parent.resolve()}\nlargest: 25\n"
    ]
    assert [(c.id, c.metadata) for c in nb.cells] == [(c.id, c.metadata) for c in before.cells]
    assert nb.metadata.language_info == {"name": "python"}


def test_widgets_are_stored_under_the_same_names_each_time(plain):
    edit(
        plain,
        "from ipywidgets import FloatSlider, IntSlider\n\ndisplay(IntSlider(), FloatSlider())",
    )
    runs = [run_notebook([str(plain)]) or plain.read_bytes() for _ in range(2)]
    assert runs[0] == runs[1]
    nb = nbformat.read(plain, as_version=4)
    [state] = [widgets["state"] for widgets in nb.metadata.widgets.values()]
    shown = [o.data["application/vnd.jupyter.widget-view+json"] for o in nb.cells[3].outputs[:2]]
    assert [state[view["model_id"]].model_name for view in shown] == [
        "IntSliderModel", "FloatSliderModel"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise RuntimeError('too wide')", "too wide"),
        ("import warnings\nwarnings.warn('look out')", "look out"),
        ("import os\nos._exit(1)", "died"),
    ],
)
def test_a_run_with_errors_is_refused(plain, capsys, source, message):
    edit(plain, source)
    before = plain.read_bytes()
    assert run_notebook([str(plain)]) == 1
    assert plain.read_bytes() == before and list(plain.parent.iterdir()) == [plain]
    error = capsys.readouterr().err
    assert error.startswith(f"{plain} is left as it was: ") and message in error


def test_a_run_needs_a_notebook(tmp_path, capsys):
    assert run_notebook([]) == 2
    assert run_notebook([str(tmp_path / "missing.ipynb")]) == 1
    (tmp_path / "empty.ipynb").write_text("", "utf-8")
    assert run_notebook([str(tmp_path / "empty.ipynb")]) == 1
    assert "usage" in capsys.readouterr().err


def test_only_pieces_of_one_stream_that_follow_each_other_are_merged():
    out = [nbformat.v4.new_output("stream", name="stdout", text=text) for text in "abc"]
    picture = nbformat.v4.new_output("display_data", {"text/plain": "x"})
    merged = merge_streams([out[0], out[1], picture, picture, out[2]])
    assert [o.get("text") for o in merged] == ["ab", None, None, "c"]
