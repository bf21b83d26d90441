"""Every notebook still prints what its stored outputs say, and its copies hold what they should.

nbval replays the teacher's copy of each one with smaller parameters, and compares the cells
tagged nbval-check-output, whose output does not depend on the length of a training run.
"""

from tests.reduced import execute, printed, replay, tagged
from tests.repository import NOTEBOOKS, REPOSITORY, ROOT, course
from tools.execute import REDUCED
from tools.handout import INSTALL

import shutil

import nbformat
import papermill
import pytest


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
    install, *others = student.cells
    assert install.source == INSTALL and f"{REPOSITORY}/archive/students.zip" in INSTALL
    assert [c.source for c in others] == [c.source for c in nb.cells if c not in solutions(nb)]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in student.cells)
    assert student.metadata.keys() == {"kernelspec"}  # no widget that nothing shows
    assert [(c.source, c.get("outputs")) for c in teacher.cells] == [
        (c.source, c.get("outputs")) for c in nb.cells
    ]


def test_handout_takes_no_other_word(tmp_path):
    run = course(ROOT, "handout", "WITH=answers", f"HANDOUT={tmp_path / 'copies'}")
    assert (
        run.returncode and "WITH: expected solutions, course or nothing, got answers" in run.stderr
    )
    assert not (tmp_path / "copies").exists()


def test_there_are_notebooks():
    assert NOTEBOOKS
    assert REDUCED.keys() <= {notebook.stem for notebook in NOTEBOOKS}


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
