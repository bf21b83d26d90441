"""Write copies of the notebooks to hand out: python -m tools.handout, called by make handout.

Students get them without solutions, outputs and what else would give an answer away, in
handout/; with WITH=solutions teachers get all, in handout-solutions/. WITH=course writes what
the branch `students` holds, to which Binder, Colab and a class are led: students' copies and
what they need to run, in handout-course/. HANDOUT names another folder.
"""

import os
import shutil
import sys
import tomllib
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
INSTALL = f"""\
# Installs the course where it is missing, as on Colab. Where it is there, nothing happens.
from importlib.util import find_spec

if find_spec("helpers") is None:
    %pip install --quiet {REPOSITORY}/archive/students.zip"""
NEEDED = ".devcontainer .gitignore LICENSE Makefile apt.txt course.py data environment.yml helpers"
NEEDED += " postBuild pyproject.toml requirements.lock tools"
README = f"""\
# Copies for students

What Binder, Colab and a class open: the notebooks of [the course]({REPOSITORY}) without solutions
and outputs, and what they need to run. A program writes this branch; changes belong in `main`.
"""


def for_students(nb: NotebookNode) -> NotebookNode:
    """The notebook without solutions and outputs, which installs the course if need be."""
    nb.cells = [cell for cell in nb.cells if "solution" not in cell.metadata.get("tags", [])]
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nb.cells.insert(0, nbformat.v4.new_code_cell(INSTALL, id="install"))
    nb.metadata = {"kernelspec": nb.metadata.kernelspec}  # without the state of widgets
    return nb


def write_course(folder: Path) -> None:
    """Copy what the notebooks need besides, in place of what is there."""
    for name in NEEDED.split():
        if (ROOT / name).is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
            shutil.copytree(ROOT / name, folder / name, ignore=lambda *_: {"__pycache__"})
        else:
            shutil.copy(ROOT / name, folder)
    (folder / "README.md").write_text(README, "utf-8")


def main() -> int:
    """Write the copies; 0 if they are written, 1 if nobody knows which are wanted."""
    wanted = os.environ.get("WITH", "")
    if wanted not in ("", "solutions", "course"):
        print(f"WITH: expected solutions, course or nothing, got {wanted}", file=sys.stderr)
        return 1
    folder = Path(os.environ.get("HANDOUT") or ROOT / f"handout-{wanted}".rstrip("-"))
    notebooks = folder / "notebooks" if wanted == "course" else folder
    notebooks.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        nb = nbformat.read(path, as_version=4)
        nbformat.write(nb if wanted == "solutions" else for_students(nb), notebooks / path.name)
    if wanted == "course":
        write_course(folder)
    print(f"Copies are in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
