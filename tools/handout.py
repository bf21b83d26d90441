"""Write copies of the notebooks to hand out: python -m tools.handout, called by make handout.

Students get them without solutions, outputs and what else would give an answer away, in
handout/; with WITH=solutions teachers get all, in handout-solutions/. HANDOUT names another folder.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent


def for_students(nb: NotebookNode) -> NotebookNode:
    """The notebook without solutions and outputs."""
    nb.cells = [cell for cell in nb.cells if "solution" not in cell.metadata.get("tags", [])]
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nb.metadata = {"kernelspec": nb.metadata.kernelspec}  # without the state of widgets
    return nb


def main() -> int:
    """Write the copies; 0 if they are written, 1 if nobody knows which are wanted."""
    wanted = os.environ.get("WITH", "")
    if wanted not in ("", "solutions"):
        print(f"WITH: expected solutions or nothing, got {wanted}", file=sys.stderr)
        return 1
    folder = Path(os.environ.get("HANDOUT") or ROOT / f"handout-{wanted}".rstrip("-"))
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        nb = nbformat.read(path, as_version=4)
        nbformat.write(nb if wanted else for_students(nb), folder / path.name)
    print(f"Copies are in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
