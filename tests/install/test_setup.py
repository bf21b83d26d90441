"""Setting up as README says it, with each Python, and what the lock holds for each system."""

from course import OTHERS
from tests.repository import ROOT, copy_project, course, python_for, run
from tools.class_at_once import Kernel, lab

import json
import platform
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import requests
from websocket import WebSocketBadStatusException, create_connection

UV = Path(sys.executable).with_name("uv")
README = (ROOT / "README.md").read_text("utf-8")
BLOCK, WITH_UV = re.findall(r"(?ms)^```\n(.*?)\n```", README)[:2]
STUDENTS = (ROOT / "requirements.lock").read_text("utf-8").partition(OTHERS)[0]
DEVCONTAINER = {
    "name": str, "image": str, "hostRequirements": dict, "onCreateCommand": str,
    "updateContentCommand": str, "forwardPorts": list, "portsAttributes": dict,
    "customizations": dict,
}  # fmt: skip
SYSTEMS = ["x86_64-pc-windows-msvc", "aarch64-apple-darwin"]
SYSTEMS += ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28"]


@pytest.fixture
def elsewhere(tmp_path):
    """A copy of the course, not set up, in a folder with spaces and letters of its own."""
    folder = tmp_path / "Kurs für Übung 3"
    copy_project(folder)
    return folder


@pytest.fixture
def origin(tmp_path):
    """A repository of the course, to clone."""
    folder = tmp_path / "origin" / "vae-course"
    copy_project(folder)
    git = ["git", "-C", folder, "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in ("init --quiet", "add .", "commit --quiet --message=Course"):
        run(*git, *command.split())
    return folder


def only(folder, **programs):
    """A path on which nothing is found but these programs, and those of the system."""
    folder.mkdir()
    for name, place in programs.items():
        (folder / name).symlink_to(place)
    return f"{folder}:/usr/bin:/bin"


def opens_the_course(folder, home, command, path, version):
    """Start JupyterLab by a command of README, and ask a kernel what it imports."""
    home.mkdir()
    with lab(
        folder, home, {"PATH": path, "UV_PYTHON_DOWNLOADS": "never"}, command=command
    ) as server:
        with closing(Kernel(server, "01_encoder")) as kernel:
            code = "import sys, helpers\nprint(helpers.__file__, *sys.version_info[:2])"
            assert kernel.run(code).split() == [
                str(folder / "helpers" / "__init__.py"), *version.split(".")
            ]  # fmt: skip


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_block_of_readme_opens_the_course(origin, tmp_path, version):
    clone, change, start = BLOCK.splitlines()
    assert (change, start) == ("cd vae-course", "python course.py lab")
    path = only(tmp_path / "bin", python=python_for(version))
    run(*clone.rsplit(" ", 1)[0].split(), origin, cwd=tmp_path)
    opens_the_course(tmp_path / "vae-course", tmp_path / "home", start.split(), path, version)


def test_uv_brings_a_python_where_there_is_none(origin, tmp_path, monkeypatch):
    """Where it keeps those that it brings lies one, since no test may fetch it."""
    python = Path(python_for("3.12"))
    kept = tmp_path / "pythons" / f"cpython-3.12.1-linux-{platform.machine()}-gnu"
    kept.mkdir(parents=True)
    for part in python.parents[1].iterdir():
        (kept / part.name).symlink_to(part)
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(kept.parent))
    path = only(tmp_path / "bin", uvx=UV.with_name("uvx"), uv=UV)
    opens_the_course(origin, tmp_path / "home", WITH_UV.split(), path, "3.12")


def test_sets_up_in_a_folder_with_spaces(elsewhere):
    run(sys.executable, "course.py", "lint", cwd=elsewhere)
    for command in (["jupyter", "lab", "--version"], ["pytest", "--version"], ["ruff", "version"]):
        run(elsewhere / ".venv" / "bin" / command[0], *command[1:], cwd=elsewhere)
    python = elsewhere / ".venv" / "bin" / "python"
    where = run(python, "-I", "-c", "import helpers; print(helpers.__file__)")
    assert where.strip() == str(elsewhere / "helpers" / "__init__.py")
    assert "All is well." in run(sys.executable, "course.py", "doctor", cwd=elsewhere)


@pytest.mark.parametrize("package", ["uv", "traitlets"])
def test_another_package_than_the_one_named_is_refused(elsewhere, package):
    lock = elsewhere / "requirements.lock"
    text = lock.read_text("utf-8")
    [entry] = re.findall(rf"(?m)^{package}==.*\n(?: .*\n)+", text)
    altered = re.sub(r"sha256:\w{8}", "sha256:00000000", entry)
    lock.write_text(text.replace(entry, altered), "utf-8")
    done = course(elsewhere, "lab")
    assert done.returncode and re.search(r"(?i)hash", done.stderr), done.stderr
    assert package in done.stderr and not (elsewhere / ".venv" / "ready").exists()


def wheels_of(folder, system, version, lock):
    """Ask uv which wheels of a lock it would install on another system; how that ended."""
    (folder / "requirements.txt").write_text(lock, "utf-8")
    options = "--dry-run --quiet --no-config --no-deps --require-hashes --only-binary :all:".split()
    options += ["--python-platform", system, "--python-version", version, "--target", folder]
    command = [UV, "pip", "install", *options, "--requirement", "requirements.txt"]
    return subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8")


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_lock_has_wheels_for(system, version, tmp_path):
    done = wheels_of(tmp_path, system, version, STUDENTS)
    assert done.returncode == 0, done.stderr


def test_the_lock_has_no_wheels_for_an_intel_mac(tmp_path):
    """Else what README and the message of the set-up say were no longer so."""
    [tensorflow] = re.findall(r"(?m)^tensorflow==.*\n(?: .*\n)+", STUDENTS)
    done = wheels_of(tmp_path, "x86_64-apple-darwin", "3.12", tensorflow)
    assert done.returncode and "tensorflow" in done.stderr


def test_the_commands_of_the_devcontainer(elsewhere):
    """What it runs but for apt-get; the schema is its specification's, as far as we use it."""
    container = json.loads((elsewhere / ".devcontainer" / "devcontainer.json").read_text("utf-8"))
    assert not set(container) - DEVCONTAINER.keys()
    for name, kind in DEVCONTAINER.items():
        assert isinstance(container[name], kind)
    for size in ("memory", "storage"):
        assert re.fullmatch(r"\d+([tgmk]b)?", container["hostRequirements"][size])
    assert container["onCreateCommand"].startswith(
        "sudo apt-get update && xargs --arg-file=apt.txt"
    )
    run("bash", "-c", container["updateContentCommand"], cwd=elsewhere)
    settings = container["customizations"]["vscode"]["settings"]
    python = settings["python.defaultInterpreterPath"]
    python = python.replace("${containerWorkspaceFolder}", str(elsewhere))
    kernel = run(python, "-c", "import ipykernel, helpers; print(helpers.__file__)", cwd="/")
    assert kernel.strip() == str(elsewhere / "helpers" / "__init__.py")


@pytest.fixture
def codespace(elsewhere, tmp_path):
    """JupyterLab as it is started in a codespace, without its port being forwarded."""
    (elsewhere / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "home").mkdir()
    with lab(elsewhere, tmp_path / "home", {"CODESPACE_NAME": "curly-carnival-7x"}) as server:
        yield server


def test_the_forwarded_port_of_a_codespace(codespace):
    """The page comes from another origin than the server knows, and must be answered, once the
    link with the token has been followed; pages of other origins must not, nor without a token."""
    port = codespace.url.rsplit(":")[-1].strip("/")
    ours = f"https://curly-carnival-7x-{port}.app.github.dev"
    with requests.Session() as browser:
        browser.get(f"{codespace.url}lab?token={codespace.token}", timeout=60).raise_for_status()
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    kernel = codespace.ask("POST", "kernels", name="python3").json()["id"]
    channel = f"ws{codespace.url.removeprefix('http')}api/kernels/{kernel}/channels"

    def connects(origin, cookie):
        try:
            create_connection(channel, timeout=60, origin=origin, cookie=cookie).close()
        except WebSocketBadStatusException as error:
            assert error.status_code == 403
            return False
        return True

    assert connects(ours, cookies)
    assert connects(codespace.url.strip("/"), cookies)
    assert not connects("https://other-8888.app.github.dev", cookies)
    assert not connects(ours, None)
