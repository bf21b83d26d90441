"""`make links` leads every link to another repository, and back."""

from tests.repository import REPOSITORY, copy_project, project_files, with_history

import os
import re
import subprocess
import sys

import pytest


@pytest.fixture
def fork(tmp_path):
    """A copy of the project."""
    copy_project(tmp_path)
    return tmp_path


def lead(folder, *values):
    """Call in a folder what `links` calls, with values as it is given them."""
    given = dict(value.split("=", 1) for value in values)
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "REPOSITORY")}
    command = [sys.executable, "-m", "tools.links"]
    options = {"capture_output": True, "text": True, "errors": "replace"}
    return subprocess.run(command, cwd=folder, env=kept | given, **options)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in project_files()}


def links(folder, *arguments):
    """Call make links in a folder, and return the files as it leaves them."""
    run = lead(folder, *arguments)
    assert run.returncode == 0, run.stderr
    return contents(folder)


@with_history
def test_links_lead_to_a_fork_and_back(fork):
    here, there = REPOSITORY.removeprefix("https://github.com/"), "/".join(("4you", "2-vae.course"))
    others = f"https://github.com/{here}-2 https://github.com/a/b\r\n"
    with (fork / "README.md").open("a", encoding="utf-8", newline="") as readme:
        readme.write(f"<https://github.com/{here}.git> {others}")
    before = contents(fork)
    assert links(fork) == before
    changed = links(fork, f"REPOSITORY={there}")
    assert links(fork) == links(fork, f"REPOSITORY={there}") == changed
    folder, copy = (f"lab/tree/{name.split('/')[1]}/notebooks/" for name in (here, there))
    page = changed["docs/teachers.md"].decode()
    assert f"git-pull?repo=https://github.com/{there}&" in page and copy in page
    assert changed["README.md"].decode().endswith(f"<https://github.com/{there}.git> {others}")
    for name in before:  # nothing but the name has changed, and it has in all places
        assert not re.search(rf"(?<![\w-]){here}(?![\w-])".encode(), changed[name]), name
        back = changed[name].replace(copy.encode(), folder.encode())
        assert back.replace(there.encode(), here.encode()) == before[name], name
    command = [sys.executable, "-m", "tools.lint_notebooks", "notebooks/00_autoencoder.ipynb"]
    lint = subprocess.run(command, cwd=fork, capture_output=True, text=True)
    assert "a link to" not in lint.stdout + lint.stderr
    assert links(fork, f"REPOSITORY={here}") == before


@with_history
def test_links_follow_the_name_in_the_project_file(fork):
    project = fork / "pyproject.toml"
    project.write_text(
        project.read_text("utf-8").replace(REPOSITORY, "https://github.com/me/mine"), "utf-8"
    )
    by_hand = links(fork)
    assert links(fork, "REPOSITORY=me/mine") == by_hand
    assert b"/gh/me/mine/" in by_hand["notebooks/00_autoencoder.ipynb"]


@with_history
def test_links_refuse_what_is_no_repository(fork):
    before = contents(fork)
    bad = (
        "mine|me/|/mine|me/my/fork|me/..|me/mine.git|me/my fork|mé/mine|https://github.com/me/mine"
    )
    for name in bad.split("|"):
        run = lead(fork, f"REPOSITORY={name}")
        assert run.returncode != 0, name
        assert f"REPOSITORY: expected OWNER/NAME, as in REPOSITORY=you/your-fork, got {name};" in (
            run.stderr
        )
    assert contents(fork) == before
    project = fork / "pyproject.toml"
    project.write_text(
        project.read_text("utf-8").replace(REPOSITORY, "https://example.org/me/mine"), "utf-8"
    )
    assert "got https://example.org/me/mine;" in lead(fork).stderr
    here = REPOSITORY.removeprefix("https://github.com/")
    assert links(fork, f"REPOSITORY={here}") == before
