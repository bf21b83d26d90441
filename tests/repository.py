"""The files of the project, copied and called as a person would."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
REPOSITORY = PROJECT["project"]["urls"]["Repository"]
PLATFORMS = [
    {"sys_platform": system, "platform_machine": machine, "python_full_version": "3.11.7"}
    for system, machine in [
        ("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64")
    ]
]  # fmt: skip


def environment():
    """What environment.yml asks of conda, and what it asks of pip."""
    parts = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    [pip] = [part["pip"] for part in parts if isinstance(part, dict)]
    return [part for part in parts if isinstance(part, str)], [Requirement(pin) for pin in pip]


def environment_python():
    """The version of Python in environment.yml, written in the one form that Binder reads."""
    [python] = [part for part in environment()[0] if part.startswith("python")]
    assert re.fullmatch(r"python=3\.\d+", python)
    return python.removeprefix("python=")


def installed(requirements, platform):
    """Names and versions of the requirements that hold on a platform."""
    return {
        (canonicalize_name(requirement.name), str(requirement.specifier))
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(platform)
    }


def project_files():
    """The files under version control, or about to be."""
    command = "git -c safe.directory=* ls-files -z --cached --others --exclude-standard".split()
    names = subprocess.check_output(command, cwd=ROOT, encoding="utf-8").split("\0")
    return [name for name in names if (ROOT / name).is_file()]


def copy_project(folder):
    """Copy the files of the project, and nothing else, to a folder."""
    for name in project_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


with_history = pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="a download without its history"
)


def course(folder, *arguments, program=(sys.executable, "course.py")):
    """Call course.py as a person at a terminal would, even if this test runs under make."""
    variables = {k: v for k, v in os.environ.items() if not re.match("PYTHON$|MFLAGS|MAKE", k)}
    command = [*program, *arguments]
    # Read in the encoding of the system, in which a Python writes to whoever reads.
    return subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, errors="replace"
    )


def make(folder, *arguments):
    """The same by make, where there is one."""
    return course(folder, *arguments, program=["make"])


with_make = pytest.mark.skipif(not shutil.which("make"), reason="a system without make")


def run(*command, **options):
    """What a command prints; all of it in the message if the command fails."""
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "timeout": 1500}
    # What runs this test names the course to be found first.
    plain = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "RESOLUTION")}
    options.setdefault("env", plain)
    done = subprocess.run([*map(str, command)], encoding="utf-8", **options)
    assert done.returncode == 0, f"{command[0]}: {done.stdout}"
    return done.stdout


def python_for(version):
    """The path of a Python of some version, such as 3.12; this one's, if there is none."""
    kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for place in (shutil.which(f"python{version}"), *kept):
        if place and subprocess.run([place, "-c", ""], capture_output=True).returncode == 0:
            return str(Path(place).resolve())
    return str(Path(sys.executable).resolve())
