"""Every notebook runs from a clean kernel and still prints what its stored outputs say.

Papermill runs the student's copy of each one with the smaller parameters below. nbval then
replays the teacher's copy with the same parameters and compares the cells tagged
nbval-check-output, whose output does not depend on the length of a training run. Both are
told that they have the memory of Binder: sweeps then train in the kernel, one after the
other, where starting workers would take longer than these short trainings do.
"""

from tests.run_notebook import main as run_notebook
from tests.run_notebook import merge_streams
from tests.run_notebook import write as store
from tests.test_project import make

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

ROOT = Path(__file__).resolve().parent.parent
GOOD = ROOT / "tests" / "fixtures" / "good.ipynb"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
REDUCED = {
    "00_autoencoder": {"epochs": 1},
    "05_training": {"epochs": 1, "seeds": [1]},
    "06_visualization": {"epochs": 1},
    "07_beta": {"epochs": 1, "seeds": [1], "betas": [0, 1, 32]},
    "08_evaluation": {"epochs": 1, "seeds": [1], "draws": 200, "test_images": 60},
    "09_deeper": {
        "epochs": 1, "final_epochs": 1, "images": 5_000, "final_images": 5_000,
        "grid_steps": [0.1, 0.1, 0.05], "test_images": 60,
    },
    "10_conditional": {"epochs": 1},
}  # fmt: skip
ON_BINDER = "import resource; resource.setrlimit(resource.RLIMIT_RSS, (2 * 10**9, 2 * 10**9))"


def check_parameters(notebook, parameters):
    """Raise ValueError if a parameter has no place in the notebook; papermill only warns."""
    unknown = parameters.keys() - papermill.inspect_notebook(notebook).keys()
    if unknown:
        raise ValueError(f"{notebook.name} has no parameters {sorted(unknown)}")


@pytest.fixture(scope="session")
def handout(tmp_path_factory):
    """The folder of the students' copies, and that of the teacher's."""
    folders = [tmp_path_factory.mktemp("handout") / name for name in ("students", "teacher")]
    for folder, variables in zip(folders, ([], ["WITH=solutions"]), strict=True):
        make(ROOT, "handout", f"HANDOUT={folder}", *variables).check_returncode()
    return folders


def execute(notebook, folder, parameters, prepare_only=False):
    """The copy of a notebook, in `folder`, that papermill parametrises and runs."""
    check_parameters(notebook, parameters)
    copy = folder / notebook.name
    papermill.execute_notebook(
        notebook,
        copy,
        parameters,
        prepare_only=prepare_only,
        progress_bar=False,
        execution_timeout=600,
        cwd=notebook.parent,
        extra_arguments=[f"--IPKernelApp.exec_lines={ON_BINDER}"],
    )
    return nbformat.read(copy, as_version=4)


def replay(notebook):
    """Let nbval run a notebook and compare its tagged cells, out of reach of our settings.

    The kernel starts in the folder of the notebook, here a temporary one: a relative path
    finds nothing, and need not, since a course notebook reads its data through the helpers.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    options = ["-p", "no:cacheprovider", "-c", os.devnull, f"--rootdir={notebook.parent}"]
    nbval = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=600"]
    script = f"{ON_BINDER}; import pytest, sys; sys.exit(pytest.main())"
    command = [sys.executable, "-c", script, *options, *nbval, str(notebook)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def printed(nb, name="stdout"):
    """All that a notebook's cells wrote to a stream."""
    outputs = [output for cell in nb.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.get("name") == name)


def tagged(nb):
    """The cells whose output is compared."""
    return [c for c in nb.cells if "nbval-check-output" in c.metadata.get("tags", [])]


def solutions(nb):
    """The cells that students do not get."""
    return [cell for cell in nb.cells if "solution" in cell.metadata.get("tags", [])]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_student_copies_hold_no_solution_and_no_output(notebook, handout):
    nb = nbformat.read(notebook, as_version=4)
    student, teacher = (nbformat.read(folder / notebook.name, as_version=4) for folder in handout)
    text = (handout[0] / notebook.name).read_text("utf-8")
    assert solutions(nb) and not solutions(student) and "solution=True" not in text
    kept = "\n".join(cell.source for cell in nb.cells if cell not in solutions(nb))
    for cell in solutions(nb):
        assert f'"id": "{cell.id}"' not in text
        for line in cell.source.splitlines():
            if len(line.strip()) > 8 and line.strip() not in kept:
                assert line.strip() not in "\n".join(c.source for c in student.cells)
    assert [c.source for c in student.cells] == [
        c.source for c in nb.cells if c not in solutions(nb)
    ]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in student.cells)
    assert student.metadata.keys() == {"kernelspec"}  # no widget that nothing shows
    assert [(c.source, c.get("outputs")) for c in teacher.cells] == [
        (c.source, c.get("outputs")) for c in nb.cells
    ]


def test_handout_takes_no_other_word(tmp_path):
    run = make(ROOT, "handout", "WITH=answers", f"HANDOUT={tmp_path / 'copies'}")
    assert run.returncode and "WITH: expected solutions or nothing, got answers" in run.stderr
    assert not (tmp_path / "copies").exists()


def test_there_are_notebooks():
    assert NOTEBOOKS
    assert REDUCED.keys() <= {notebook.stem for notebook in NOTEBOOKS}


@pytest.mark.slow  # make test runs the same code, and that of the solutions, by nbval
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_runs_with_reduced_parameters(notebook, handout, tmp_path):
    copy = handout[0] / notebook.name
    nb = execute(copy, tmp_path, REDUCED.get(notebook.stem, {}))  # raises if a cell fails
    assert all(cell.execution_count for cell in nb.cells if cell.cell_type == "code")
    assert printed(nb, "stderr") == ""  # where warnings and log lines appear


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_says_what_is_stored(notebook, handout, tmp_path):
    copy = handout[1] / notebook.name
    nb = execute(copy, tmp_path, REDUCED.get(notebook.stem, {}), prepare_only=True)
    assert len(tagged(nb)) >= 3
    assert all(cell.execution_count and cell.outputs for cell in tagged(nb))
    run = replay(tmp_path / notebook.name)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_training_is_reduced(notebook):
    if "epochs" in papermill.inspect_notebook(notebook):
        assert "epochs" in REDUCED.get(notebook.stem, {})


def test_diagrams_without_graphviz(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert shutil.which("dot") is None
    nb = execute(ROOT / "notebooks" / "03_decoder.ipynb", tmp_path, REDUCED.get("03_decoder", {}))
    assert "Graphviz" in printed(nb)
    assert printed(nb, "stderr") == ""


@pytest.fixture
def plain(tmp_path):
    """A copy of the good notebook without exercises, for which TensorFlow would be imported."""
    nb = nbformat.read(GOOD, as_version=4)
    nb.cells = [
        c for c in nb.cells if not c.source.startswith("progress") and "check(" not in c.source
    ]
    nb.cells[3].source = nb.cells[3].source.removeprefix(
        "from helpers.check import check, progress\n\n"
    )
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
    (tmp_path / "empty.ipynb").write_text("")
    assert run_notebook([str(tmp_path / "empty.ipynb")]) == 1
    assert "usage" in capsys.readouterr().err


def test_only_pieces_of_one_stream_that_follow_each_other_are_merged():
    out = [nbformat.v4.new_output("stream", name="stdout", text=text) for text in "abc"]
    picture = nbformat.v4.new_output("display_data", {"text/plain": "x"})
    merged = merge_streams([out[0], out[1], picture, picture, out[2]])
    assert [o.get("text") for o in merged] == ["ab", None, None, "c"]
