"""The branch of students' copies: what the workflow writes, by the workflow's own commands."""

from tests.repository import NOTEBOOKS, ROOT, copy_project, run

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/students.yml").read_text("utf-8"))
[MAKE] = [step["run"] for step in WORKFLOW["jobs"]["copies"]["steps"] if "run" in step]
[PUBLISH] = [step["run"] for step in WORKFLOW["jobs"]["publish"]["steps"] if "run" in step]
GIT = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"]


def bash(script, folder):
    """Run commands as a workflow does, each of which must succeed."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "MAKE"))}
    return run("bash", "-e", "-c", script, cwd=folder, env=variables | {"PATH": programs})


def commit(folder, message):
    """Commit everything in a clone, and push it to main."""
    for command in (["add", "."], ["commit", "--quiet", "--allow-empty", f"--message={message}"]):
        run(*GIT, *command, cwd=folder)
    run(*GIT, "push", "--quiet", "origin", "HEAD:main", cwd=folder)


@pytest.fixture
def origin(tmp_path):
    """A repository on a server, with the course on main."""
    server, clone = tmp_path / "server.git", tmp_path / "clone"
    run(*GIT, "init", "--quiet", "--bare", "--initial-branch=main", server)
    run(*GIT, "clone", "--quiet", server, clone)
    copy_project(clone)
    commit(clone, "Course")
    return server, clone


def publish(server, clone, folder):
    """What the two jobs of the workflow do; the commits of the branch, the last one first."""
    folder.mkdir()
    (clone / ".venv").symlink_to(ROOT / ".venv")
    try:
        bash(MAKE, clone)
    finally:
        (clone / ".venv").unlink()
    run(*GIT, "clone", "--quiet", "--depth=1", f"file://{server}", folder / "job")
    (clone / "copies.tar").rename(folder / "job" / "copies.tar")
    bash(PUBLISH, folder / "job")
    run("rm", "-r", clone / "copies")
    return run(*GIT, "log", "--format=%H", "students", cwd=server).split()


def test_the_branch_follows_main_and_holds_no_solutions(origin, tmp_path):
    server, clone = origin
    first = publish(*origin, tmp_path / "1")
    assert len(first) == 1
    commit(clone, "Nothing that students see")
    assert publish(*origin, tmp_path / "2") == first
    page = clone / "helpers" / "loss.py"
    page.write_text(page.read_text("utf-8") + "# Changed.\n", "utf-8")
    commit(clone, "Something that they see")
    assert publish(*origin, tmp_path / "3")[1:] == first

    run(*GIT, "clone", "--quiet", "--branch=students", server, tmp_path / "students")
    students = tmp_path / "students"
    assert (students / "helpers" / "loss.py").read_text("utf-8").endswith("# Changed.\n")
    assert os.access(students / "postBuild", os.X_OK)
    assert {path.name for path in students.iterdir()} == set(
        ".git .devcontainer .gitignore LICENSE Makefile README.md apt.txt course.py data "
        "environment.yml helpers notebooks postBuild pyproject.toml requirements.lock tools".split()
    )
    for notebook in NOTEBOOKS:
        nb = nbformat.read(students / "notebooks" / notebook.name, as_version=4)
        assert nb.cells[0].source.startswith("# Installs the course where it is missing")
        assert not [cell for cell in nb.cells if "solution" in cell.metadata.get("tags", [])]
        assert not [cell for cell in nb.cells if cell.get("outputs")]
    assert not [p for p in students.rglob("*") if re.search(r"answers|__pycache__|test_", p.name)]
