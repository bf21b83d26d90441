"""Every notebook runs from a clean kernel, as students get it, with smaller parameters."""

from tests.reduced import execute, printed
from tests.repository import NOTEBOOKS
from tools.execute import REDUCED

import pytest


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_runs_with_reduced_parameters(notebook, handout, tmp_path):
    copy = handout[0] / notebook.name
    nb = execute(copy, tmp_path, REDUCED.get(notebook.stem, {}))  # raises if a cell fails
    assert all(cell.execution_count for cell in nb.cells if cell.cell_type == "code")
    assert printed(nb, "stderr") == ""  # where warnings and log lines appear
