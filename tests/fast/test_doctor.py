"""The doctor finds what is missing, and says what to do."""

from tests.repository import ROOT, course
from tools import doctor

import os
import sys

import pytest


@pytest.fixture
def machine(monkeypatch):
    """A function that says what other Pythons print, by the code that they are asked to run."""
    fine = {
        "PACKAGES": None, "MEMORY": 8.0, "KERNEL": ["this", "/kernels"],
        "HELPERS": str(ROOT / "helpers"),
    }  # fmt: skip

    def ask(python, code, **variables):
        [name] = [name for name in fine if getattr(doctor, name) == code]
        told = said.get(name, fine[name])
        return told(variables) if callable(told) else told

    said = {}
    monkeypatch.setattr(doctor, "ask", ask)
    monkeypatch.setattr(doctor, "PYTHON", "this")
    monkeypatch.setattr(doctor, "ASKED", "python course.py")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return said


def no(findings):
    """What there is to complain about."""
    return [says for well, says in findings if not well]


def locked():
    """The packages of the lock, as an environment would list them."""
    lock = (ROOT / "requirements.lock").read_text("utf-8").partition(doctor.OTHERS)[0]
    lines = [line.split()[0] for line in lock.splitlines() if "==" in line]
    return dict(line.split("==") for line in lines)


def test_nothing_is_missing_here():
    done = course(ROOT, "doctor")
    assert "All is well." in done.stdout or "NO  memory" in done.stdout, done.stdout + done.stderr
    for what in ("Python", "disk", "packages", "memory", "Graphviz", "kernel in"):
        assert f"  {what}" in done.stdout


def test_a_folder_that_is_not_set_up(machine, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "READY", tmp_path / "ready")
    machine["PACKAGES"] = {"pip": "24.0"}
    assert doctor.main() == 1
    assert "NO  environment: not set up. python course.py lab" in capsys.readouterr().out


def test_other_versions_are_named(machine, monkeypatch, tmp_path):
    machine["PACKAGES"] = {**locked(), "keras": "2.1"}
    del machine["PACKAGES"]["numpy"]
    [says] = no(doctor.packages("this"))
    assert "keras 2.1, not 3" in says and "numpy missing, not 2" in says and "clean lab" in says
    machine["PACKAGES"] = locked()
    assert not no(doctor.packages("this"))
    machine["PACKAGES"] = None
    assert "does not start" in no(doctor.packages("this"))[0]
    (tmp_path / "ready").write_text("another lock", "utf-8")
    monkeypatch.setattr(doctor, "READY", tmp_path / "ready")
    assert "lock is newer" in no(doctor.packages("this"))[0]


@pytest.mark.parametrize(
    ("code", "told", "says"),
    [("MEMORY", 1.2, "memory: 1.2 GB free; a notebook may take 2"),
     ("KERNEL", None, "this has none"), ("HELPERS", None, "this has no helpers"),
     ("HELPERS", "/home/me/helpers", "/home/me/helpers hides the course's helpers: rename it"),
     ("HELPERS", lambda v: "/mine" if "JUPYTER_PREFER_ENV_PATH" in v else str(ROOT / "helpers"),
      "kernel in a Jupyter started otherwise: /mine hides")],
)  # fmt: skip
def test_what_a_notebook_meets(machine, code, told, says):
    assert not no(doctor.around("this"))
    machine[code] = told
    found = no(doctor.around("this"))
    assert says in found[0], found


def test_no_python_and_no_room(monkeypatch):
    def none():
        raise SystemExit("no Python")

    monkeypatch.setattr(doctor, "find_python", none)
    monkeypatch.setattr(doctor, "READY", ROOT / "no such file")
    usage = type("Usage", (), {"free": 1e9})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    assert no(doctor.start()) == ["Python: no Python", "disk: 1.0 GB free, and 2.5 GB are needed"]


def test_a_python_that_is_asked():
    assert doctor.ask(sys.executable, "print('[1, 2]')") == [1, 2]
    assert doctor.ask("no-such-python", "print(1)") is None
    assert doctor.ask(sys.executable, "raise SystemExit(1)") is None
    assert {*doctor.ask(sys.executable, doctor.PACKAGES)} > {"keras", "numpy"}
    program, folder = doctor.ask(sys.executable, doctor.KERNEL)
    assert os.path.samefile(program, sys.executable) and os.path.isdir(folder)
