"""Say what is missing and what to do: python course.py doctor.

It needs nothing but Python, changes nothing, and asks no network. What an environment holds it
asks of .venv; before that is set up, of the Python that runs it, as of conda's. Each function
below yields pairs: whether all is well, and what there is to say.
"""

from course import ASKED, OTHERS, PYTHON, READY, ROOT, find_python

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

DISK_GB, MEMORY_GB = 2.5, 2.0  # to set up; for the kernel of any notebook
BELOW = 190  # characters of the longest path in the course's folder; Windows allows 260 in all
PACKAGES = """
import importlib.metadata as all, json, re
names = {each.metadata["Name"]: each.version for each in all.distributions()}
print(json.dumps({re.sub("[-_.]+", "-", name).lower(): names[name] for name in names}))
"""
MEMORY = "import json, psutil; print(json.dumps(psutil.virtual_memory().available / 1e9))"
KERNEL = """
import json
from jupyter_client import KernelManager
found = KernelManager(kernel_name="python3")
print(json.dumps([found.format_kernel_cmd()[0], found.kernel_spec.resource_dir]))
"""
HELPERS = "import json, helpers; print(json.dumps(list(helpers.__path__)[0]))"


def ask(python: str, code: str, **variables: str) -> object:
    """What some code prints in another Python, started beside the notebooks; None if it fails."""
    options = {"cwd": ROOT / "notebooks", "env": {**os.environ, **variables}, "timeout": 120}
    try:
        run = subprocess.run([python, "-c", code], capture_output=True, **options)
        return json.loads(run.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def start() -> Iterator:
    """What setting up needs: a Python, and room."""
    try:
        yield True, f"Python: {' '.join(find_python())}"
    except SystemExit as error:
        yield False, f"Python: {error}"
    if os.name == "nt" and len(str(ROOT)) > 260 - BELOW:
        advice = f"move it to a path of at most {260 - BELOW} characters, such as C:\\vae-course"
        yield False, f"folder: {ROOT} is too long a path for Windows; {advice}"
    free = shutil.disk_usage(ROOT).free / 1e9
    enough = READY.is_file() or free > DISK_GB
    yield enough, f"disk: {free:.1f} GB free" + f", and {DISK_GB} GB are needed" * (not enough)


def packages(python: str) -> Iterator:
    """Whether what is installed is what the lock names."""
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    students = lock.partition(OTHERS)[0]
    stamps = [sha256(part.encode()).hexdigest() for part in (lock, students)]
    if READY.is_file() and READY.read_text("utf-8") not in stamps:
        yield False, f"environment: the lock is newer. {ASKED} lab sets it up anew"
    there = ask(python, PACKAGES)
    if there is None:
        yield False, f"packages: {python} does not start. {ASKED} clean lab sets up anew"
        return
    other = []
    for name, version, condition in re.findall(r"(?m)^([a-z0-9.-]+)==([^\s;]+)( ;)?", students):
        found = there.get(name, "missing")
        if found != version and not (condition and found == "missing"):
            other.append(f"{name} {found}, not {version}")
    more = f" and {len(other) - 5} more" * (len(other) > 5)
    advice = f"{'; '.join(other[:5])}{more}. {ASKED} clean lab sets up anew"
    yield (
        not other,
        f"packages of {python}: {advice if other else 'as requirements.lock names them'}",
    )


def around(python: str) -> Iterator:
    """What else a notebook meets: memory, Graphviz, the kernel, modules of the same name."""
    free = ask(python, MEMORY)
    if free is not None:
        advice = f"; a notebook may take {MEMORY_GB:.0f}, so close other programs"
        yield free > MEMORY_GB, f"memory: {free:.1f} GB free{advice * (free <= MEMORY_GB)}"
    without = "not installed; it is optional, for diagrams of models. graphviz.org has it"
    yield True, f"Graphviz: {shutil.which('dot') or without}"
    # Outside of lab, what the user has set comes before the course's own.
    own = os.pathsep.join(os.environ["PYTHONPATH"].split(os.pathsep)[1:])
    settings = {"JUPYTER_PREFER_ENV_PATH": "0", "PYTHONPATH": own}
    for where, variables in [(f"{ASKED} lab", {}), ("a Jupyter started otherwise", settings)]:
        kernel = ask(python, KERNEL, **variables)
        if kernel is None:
            yield False, f"kernel in {where}: {python} has none. {ASKED} lab sets it up"
            return
        program, folder = kernel
        found = ask(program, HELPERS, **variables)
        if found is None:
            yield False, f"kernel in {where}: {program} has no helpers; {folder} names it"
        elif Path(found).resolve() != ROOT / "helpers":
            yield False, f"kernel in {where}: {found} hides the course's helpers: rename it"
        else:
            yield True, f"kernel in {where}: {program}"


def main() -> int:
    """Print what is found; 0 if all is well, else 1."""
    python = PYTHON if READY.is_file() else sys.executable
    if READY.is_file() or "keras" in ask(python, PACKAGES):
        found = [*start(), *packages(python), *around(python)]
    else:
        found = [*start(), (False, f"environment: not set up. {ASKED} lab sets it up")]
    for good, says in found:
        print("ok " if good else "NO ", says)
    well = all(good for good, _ in found)
    print("All is well." if well else "What begins with NO wants mending.")
    return 0 if well else 1
