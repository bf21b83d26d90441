"""The wheel, in an environment that has the versions of Colab and does not know the repository.

colab.txt has those of August 2026, and where none were known, of February: Python 3.13, no Dask.
"""

from tests.reduced import execute, printed
from tests.repository import NOTEBOOKS, REPOSITORY, ROOT, copy_project, course, python_for, run
from tools.execute import REDUCED

import json
import shutil
import sys
from pathlib import Path

import nbformat
import pytest

UV = Path(sys.executable).with_name("uv")


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """The Python of such an environment, without the course."""
    folder = tmp_path_factory.mktemp("colab")
    run(UV, "venv", "--quiet", "--seed", "--python", python_for("3.13"), folder, cwd="/")
    versions = ROOT / "tests" / "install" / "colab.txt"
    python = folder / "bin" / "python"
    # Not from the project's folder, whose settings would put tensorflow-cpu in the other's place.
    run(UV, "pip", "install", "--quiet", "--no-config", "--python", python, "-r", versions, cwd="/")
    return python


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the project, as a download has it."""
    folder = tmp_path_factory.mktemp("source") / "vae-course-main"
    copy_project(folder)
    return folder


def packages(python):
    """All that is installed, with versions."""
    return {*run(python, "-m", "pip", "freeze", "--all").splitlines()}


@pytest.fixture(scope="module")
def changes(colab, source):
    """What installing the wheel, and nothing but pip's own ways, has added and taken away."""
    run(UV, "build", "--quiet", "--wheel", "--out-dir", source.parent, source)
    [wheel] = source.parent.glob("*.whl")
    before = packages(colab)
    run(colab, "-m", "pip", "install", "--quiet", wheel, cwd="/")
    return packages(colab) - before, before - packages(colab), wheel


def test_installing_changes_no_other_package(changes):
    added, removed, wheel = changes
    assert [line.partition(" @")[0] for line in added] == ["vae-course"] and not removed
    assert wheel.stat().st_size < 15e6


def test_the_package_is_there_with_its_data(colab, changes, tmp_path):
    code = "import helpers.data as d; print(d.MNIST_PATH, d.load_mnist().x_test.shape)"
    path, *shape = run(colab, "-W", "ignore", "-c", code, cwd=tmp_path).splitlines()[-1].split()
    assert str(colab.parents[1]) in path and "".join(shape) == "(10000,784)"


@pytest.fixture(scope="module")
def kernels(colab, tmp_path_factory):
    """A folder of Jupyter's in which the kernel python3 is the one of that environment."""
    folder = tmp_path_factory.mktemp("jupyter") / "kernels" / "python3"
    folder.mkdir(parents=True)
    start = [str(colab), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": start, "display_name": "Colab", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec), "utf-8")
    return folder.parents[1]


@pytest.fixture
def there(kernels, monkeypatch):
    """Let notebooks run in that environment, which finds nothing of the repository."""
    monkeypatch.setenv("JUPYTER_PATH", str(kernels))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    monkeypatch.delenv("PYTHONPATH", raising=False)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_students_copy_runs(notebook, handout, changes, there, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(handout[0] / notebook.name, empty)
    nb = nbformat.read(empty / notebook.name, as_version=4)
    ask = "import helpers, tensorflow; print(helpers.__file__, tensorflow.__version__)"
    nb.cells.append(nbformat.v4.new_code_cell(ask))
    nbformat.write(nb, empty / notebook.name)
    (tmp_path / "run").mkdir()
    nb = execute(empty / notebook.name, tmp_path / "run", REDUCED.get(notebook.stem, {}))
    assert not nb.cells[0].outputs  # the course was there
    path, version = printed(nbformat.v4.new_notebook(cells=nb.cells[-1:])).split()
    assert version == "2.20.0" and str(ROOT) not in path
    views = [
        o for cell in nb.cells for o in cell.get("outputs", []) if "widget" in str(o.get("data"))
    ]
    assert len(views) == ("explore(" in "\n".join(cell.source for cell in nb.cells))
    assert "Traceback" not in printed(nb, "stderr")


def test_the_first_cell_installs_what_is_missing(colab, changes, source, there, tmp_path):
    """From an archive, which the branch of the copies is; here it lies beside the notebook."""
    branch = tmp_path / "vae-course-students"
    course(ROOT, "handout", "WITH=course", f"HANDOUT={branch}").check_returncode()
    archive = shutil.make_archive(tmp_path / "students", "zip", tmp_path, branch.name)
    run(colab, "-m", "pip", "uninstall", "--quiet", "--yes", "vae-course")
    before = packages(colab)
    nb = nbformat.read(branch / "notebooks" / "01_encoder.ipynb", as_version=4)
    assert f"{REPOSITORY}/archive/students.zip" in nb.cells[0].source
    nb.cells[0].source = nb.cells[0].source.replace(f"{REPOSITORY}/archive/students.zip", archive)
    (tmp_path / "run").mkdir()
    nbformat.write(nb, tmp_path / "01_encoder.ipynb")
    execute(tmp_path / "01_encoder.ipynb", tmp_path / "run", {})
    assert [line.partition(" @")[0] for line in packages(colab) - before] == ["vae-course"]
