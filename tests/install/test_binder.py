"""What Binder and a hub make of the branch `students`, without Docker: make test-install."""

from tests.repository import (
    PLATFORMS,
    ROOT,
    course,
    environment,
    environment_python,
    installed,
    python_for,
    run,
    with_history,
)
from tools.class_at_once import listens

import os
import re
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import nbformat
import pytest
from playwright.sync_api import expect

TOOLS = Path(sys.executable).parent
NOTEBOOK = "notebooks/01_encoder.ipynb"
pytestmark = with_history


@pytest.fixture(scope="module")
def branch(tmp_path_factory):
    """The branch that the links lead to, in a repository of its own."""
    folder = tmp_path_factory.mktemp("origin") / "vae-course"
    course(ROOT, "handout", "WITH=course", f"HANDOUT={folder}").check_returncode()
    git = ["git", "-C", folder, "-c", "user.name=A", "-c", "user.email=a@example.org"]
    run(*git, "init", "--quiet", "--initial-branch=students")
    run(*git, "add", ".")
    run(*git, "commit", "--quiet", "--message=Course")
    return folder


@pytest.fixture(scope="module")
def image(branch, tmp_path_factory):
    """The environment as Binder makes it, conda's part apart: its folder of programs."""
    folder = tmp_path_factory.mktemp("image")
    python = python_for(environment_python())
    run(TOOLS / "uv", "venv", "--quiet", "--seed", "--python", python, folder)
    pins = folder / "pins.txt"
    pins.write_text("\n".join(map(str, environment()[1])), "utf-8")
    run(TOOLS / "uv", "pip", "install", "--quiet", "--python", folder, "--no-deps", "-r", pins)
    programs = folder / "bin"
    run("./postBuild", cwd=branch, env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"})
    return programs


def test_binder_builds_what_we_mean(branch):
    printed = run(TOOLS / "jupyter-repo2docker", "--no-build", "--debug", ".", cwd=branch)
    assert f"Building conda environment for python={environment_python()}\n" in printed
    steps = [
        r"COPY \S+ src/environment\.yml ",
        r"apt-get install .*\bgraphviz\b",
        r"env update .*--file \"environment\.yml\"",
        r"COPY \S+ src/ ",  # so that a change of the course leaves the environment as it is
        r"RUN \./postBuild\n",
    ]
    found = [re.search(step, printed) for step in steps]
    assert all(found), f"no {steps[found.index(None)]} in:\n{printed}"
    assert found == sorted(found, key=re.Match.start), printed


def test_the_pins_are_whole_and_agree():
    """For Binder's machine, from wheels alone, they ask for each other and nothing else."""
    pins = environment()[1]
    resolved = run(
        *(TOOLS / "uv", "pip", "compile", "--quiet", "--no-annotate", "--no-header"),
        *("--python-version", environment_python(), "--python-platform", "x86_64-manylinux_2_28"),
        *("--only-binary", ":all:", "-"),
        input="\n".join(map(str, pins)),
    )
    assert {tuple(line.split("==")) for line in resolved.split()} == {
        (name, version.removeprefix("==")) for name, version in installed(pins, PLATFORMS[0])
    }


def test_the_environment_has_the_course(image, tmp_path):
    run(image / "python", "-c", "import anywidget, helpers.explorer, tensorflow", cwd=tmp_path)
    check = [image / "python", "-m", "pip", "check"]
    printed = subprocess.run(check, capture_output=True, text=True).stdout
    # tensorflow-cpu is there in its place.
    assert printed == "vae-course 1.0.0 requires tensorflow, which is not installed.\n"


@pytest.fixture
def lab(image, tmp_path):
    """JupyterLab of that environment, as a hub starts it: its address, token and root folder."""
    token, root, log = secrets.token_hex(), tmp_path / "home" / "work", tmp_path / "log"
    root.mkdir(parents=True)
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "XDG"))}
    variables |= {"HOME": str(root.parent), "PATH": f"{image}:{os.environ['PATH']}"}
    command = [image / "jupyter-lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}"]
    with (
        log.open("w") as output,
        subprocess.Popen(command, env=variables, cwd=root, stdout=output, stderr=output) as server,
    ):
        try:
            address = None
            deadline = time.monotonic() + 60
            while not address or not listens(address[0]):
                assert server.poll() is None and time.monotonic() < deadline, log.read_text("utf-8")
                time.sleep(0.2)
                address = re.search(r"http://127\.0\.0\.1:[1-9]\d*", log.read_text("utf-8"))
            yield address[0], token, root
        finally:
            server.terminate()  # it ends its kernels, and a kernel ends without its server
            with suppress(subprocess.TimeoutExpired):
                server.wait(10)
            server.kill()


def test_a_link_of_nbgitpuller_opens_the_notebook(branch, lab, chromium):
    address, token, root = lab
    title = nbformat.read(ROOT / NOTEBOOK, as_version=4).cells[0].source.splitlines()[0]
    place = f"lab/tree/{branch.name}/{NOTEBOOK}"
    query = urlencode({"repo": branch, "branch": "students", "urlpath": place, "token": token})
    with chromium.new_page() as page:
        answer = page.goto(f"{address}/git-pull?{query}")
        assert answer.ok, f"{answer.status}: the environment does not know such links"
        page.wait_for_url(f"{address}/{place}", timeout=60_000)
        heading = page.locator(".jp-Notebook h1").first
        expect(heading).to_contain_text(title.removeprefix("# "), timeout=60_000)
        kernel = page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")
        expect(kernel).to_be_visible(timeout=60_000)
        expect(page.get_by_text("Jupyter news")).to_have_count(0)
    copy = nbformat.read(root / branch.name / NOTEBOOK, as_version=4)
    assert copy.cells[0].source.startswith("# Installs the course where it is missing")
    assert not [
        c for c in copy.cells if c.get("outputs") or "solution" in c.metadata.get("tags", [])
    ]
