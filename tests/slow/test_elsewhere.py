"""The unit tests and notebooks 1 to 4 under a Python that lacks what it lacks on Windows.

What is absent there, and which encoding text has, is made by tests/elsewhere/sitecustomize.py.
"""

from tests.reduced import execute, printed
from tests.repository import ROOT
from tools.execute import REDUCED

import os
import re
import subprocess
import sys

import nbformat
import pytest

LEAST = 1000  # tests that must have run


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch):
    """Let every Python that is started from here, a kernel too, be that Python."""
    path = [str(ROOT / "tests" / "elsewhere"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")  # of standard streams
    monkeypatch.setenv("PYTHONUTF8", "0")
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        monkeypatch.delenv(name)  # what runs this test would reach the tests that it runs


def run(*arguments):
    """Call Python as a person at a terminal would."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="cp1252")


def test_what_windows_lacks_is_absent():
    done = run("-c", "import proof")
    assert done.stdout == "elsewhere\n", done.stderr
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import proof'])"
    assert run("-c", child).stdout == "elsewhere\n"


def test_the_unit_tests_pass():
    # The oracle compares what TensorFlow computes, which knows nothing of text or processes.
    options = "-n 2 --dist worksteal -p no:cacheprovider"
    ignored = [f"--ignore=tests/fast/test_{name}.py" for name in ("notebooks", "oracle")]
    done = run("-m", "pytest", "tests/fast", *options.split(), *ignored)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= LEAST


@pytest.mark.parametrize("name", ["01_encoder", "02_sampling", "03_decoder", "04_loss"])
def test_a_notebook_runs(name, tmp_path):
    nb = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    nb.cells.append(nbformat.v4.new_code_cell("import proof"))
    nbformat.write(nb, tmp_path / f"{name}.ipynb")
    (tmp_path / "run").mkdir()
    nb = execute(tmp_path / f"{name}.ipynb", tmp_path / "run", REDUCED.get(name, {}))
    assert all(cell.execution_count for cell in nb.cells if cell.cell_type == "code")
    proof = nbformat.v4.new_notebook(cells=nb.cells[-1:])
    assert printed(proof) == "elsewhere\n"  # in one piece or, from a slow kernel, in more
    assert printed(nb, "stderr") == ""
