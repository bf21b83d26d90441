"""Set up the course and run what is asked, on Windows, macOS and Linux: python course.py lab

Without a verb it lists them. Values are given as to make: python course.py handout WITH=solutions.
It needs nothing but Python; what a verb needs besides is installed into .venv at its first use.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
READY = VENV / "ready"  # names what is installed, and is written last
PYTHON = str(VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
OTHERS = "# What only tests, book and development need.\n"  # divides the lock
VERSIONS = "3.11", "3.12", "3.13"
SYSTEMS = "win-amd64", "darwin-arm64", "linux-x86_64", "linux-aarch64"  # those with TensorFlow
PROBE = """
import platform, sys, sysconfig
here = sys.platform + "-" + platform.machine()  # of Windows it is the machine's, not Python's own
print("%d.%d" % sys.version_info[:2], sysconfig.get_platform() if "win32" in here else here)
import ensurepip, venv
print("venv")
"""
VALUES = "WITH HANDOUT FOLDER SECONDS MEMORY SEED STUDENTS NOTEBOOK REPOSITORY RESOLUTION CHROMIUM"
VALUES = VALUES.split()
NOTEBOOKS = [f"notebooks/{path.name}" for path in sorted(ROOT.glob("notebooks/*.ipynb"))]
# Python searches a folder that a .pth file names, from where the file lies, for modules.
ADD_COURSE = """import os, sys, sysconfig
there = sysconfig.get_path("purelib")
with open(os.path.join(there, "course.pth"), "w", encoding="utf-8") as file:
    file.write(os.path.relpath(sys.argv[1], there))"""
NO_NEWS = "jupyterlab.labextensions disable --log-level=ERROR --level=sys_prefix "
NO_NEWS += "@jupyterlab/apputils-extension:announcements"
# JupyterLab listens on this machine alone; as root (in a container, say) it starts only if told.
LAB = "jupyterlab --ServerApp.ip=localhost --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/"
LAB += "notebooks/00_autoencoder.ipynb"
LAB += " --allow-root" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
if name := os.environ.get("CODESPACE_NAME"):  # whose page comes from the forwarded port
    domain = os.environ.get("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN", "app.github.dev")
    LAB += rf" --ServerApp.allow_origin_pat=https://{name}-\d+\.{re.escape(domain)}"
    LAB += " --ServerApp.use_redirect_file=False"
LINT = "ruff check", "ruff format --check", "tools.lint_notebooks " + " ".join(NOTEBOOKS)
PYTEST = "pytest -n 2 --dist worksteal tests/"
BY_FILE = "pytest -n 2 --dist loadfile tests/"  # where the tests of a file share what takes long
# The longest tests come first, so that no core waits for the other one in the end.
TEST = *LINT, PYTEST + "fast/test_notebooks.py tests/fast"
TEST_NOTEBOOKS = PYTEST + "fast/test_notebooks.py tests/slow/test_notebooks.py"
BOOK = "sphinx -W --keep-going --quiet --fresh-env -c book -d build/doctrees . build/book"
EXECUTE = ["tools.execute " + name for name in NOTEBOOKS]
# What each verb does, and the modules that it runs, one after the other, with their arguments.
VERBS = {
    "lab": ("Set up on first use, then open the course in JupyterLab", LAB),
    "setup": ("Set up, and no more", ""),
    "doctor": ("Say what is missing, and what to do",),
    "test": ("Set up on first use, then run the tests, every notebook included", *TEST),
    "test-slow": ("Run the tests that take long", BY_FILE + "slow"),
    "test-notebooks": ("Run every notebook and compare its outputs", TEST_NOTEBOOKS),
    "test-browser": (
        "Look at JupyterLab and the book in Chromium",
        BOOK,
        "pytest -n 2 tests/browser",
    ),
    "test-install": (
        "Install it as Binder, Colab and others do",
        BY_FILE + "install",
    ),
    "load-test": ("Let STUDENTS (8) run NOTEBOOK (05_training) at once", "tools.class_at_once"),
    "lint": ("Check style and format of code and notebooks", *LINT),
    "execute": ("Run every notebook in full and store its outputs", *EXECUTE),
    "handout": ("Write students' copies, or teachers' with WITH=solutions", "tools.handout"),
    "grade": ("Judge notebooks handed in: grade FOLDER=collected", "tools.grade"),
    "book": ("Build the course as a web site, build/book/index.html", BOOK),
    "benchmark": ("Measure speed, memory and loss side by side", "benchmarks.training_speed"),
    "links": ("Lead links to this repository, in a fork with REPOSITORY=OWNER/NAME", "tools.links"),
    "lock": ("Resolve the dependencies of pyproject.toml again", "tools.lock"),
    "clean": ("Remove the environment and everything generated",),
    "help": ("List the verbs",),
}
FOR_STUDENTS = "lab", "setup", "execute", "handout", "grade"  # the others need more of the lock
ASKED = "make" if "MAKELEVEL" in os.environ else "python course.py"
REMOVED = {"book": ["build/book"], "test-browser": ["build/book"]}
REMOVED["clean"] = [".venv", "build", "handout", "handout-*", ".*_cache", "**/__pycache__"]


def find_python() -> list:
    """The command of a Python that the course runs on: this one, or another that is found."""
    names = [name for k in VERSIONS[::-1] for name in ([f"python{k}"], ["py", f"-{k}"])]
    others, without_venv = set(), []
    for each in ([sys.executable], *names):
        version, system, venv = [*printed(*each, "-c", PROBE).split(), "", "", ""][:3]
        if version in VERSIONS and system not in SYSTEMS:
            others.add(system)
        elif version in VERSIONS and not venv:
            without_venv += each[:1]
        elif version in VERSIONS:
            return each
    if without_venv:
        lacks = f"{without_venv[0]} has no venv module."
        sys.exit(f"{lacks} On Debian and Ubuntu: apt install python3-venv")
    if others:
        intel = ", as Intel Macs are called" * ("darwin-x86_64" in others)
        sys.exit(
            f"TensorFlow has no wheel for {' or '.join(sorted(others))}{intel}. The course runs on "
            "Colab, Codespaces and Binder, without installing: README.md has the links. On a Mac "
            "with Apple silicon a Python for arm64 helps, on Windows one for x86-64."
        )
    path = "make PYTHON=/path/to/python" if ASKED == "make" else "/path/to/python course.py"
    sys.exit(
        f"This course needs Python 3.11, 3.12 or 3.13, and found Python {sys.version.split()[0]}. "
        f"Install one of these, and if it is not found, name it: {path} lab. "
        f"Or let uv bring one, from https://docs.astral.sh/uv: uvx python@3.12 course.py lab"
    )


def printed(*command: str) -> str:
    """What a command prints; nothing if there is no such command."""
    if not shutil.which(command[0]):
        return ""
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return run.stdout.decode("ascii", "replace")


def set_up(full: bool) -> None:
    """Make .venv what the lock names, hashes enforced; once interrupted, from nothing again.

    Modules are compiled now, since those who share a folder cannot do it later, and JupyterLab
    is told not to ask the network for news. RESOLUTION lowest-direct or highest takes the oldest
    or newest direct dependencies that pyproject.toml admits, in place of the lock.
    """
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    parts = {True: lock, False: lock.partition(OTHERS)[0]}
    stamps = {part: sha256(text.encode()).hexdigest() for part, text in parts.items()}
    there, pins = READY.read_text("utf-8") if READY.is_file() else "", VENV / "pins.txt"
    if there == stamps[True] or there == stamps[full]:
        return
    print("Setting up .venv, once: 2 GB, a minute or more", flush=True)
    if there not in stamps.values():
        run(*find_python(), "-m", "venv", "--clear", VENV)
        pins.write_text(re.search(r"(?m)^uv==.*\n(?: .*\n)+", lock)[0], "utf-8")
        pip = "-m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r"
        run(PYTHON, *pip.split(), pins)
    READY.unlink(missing_ok=True)
    install = [PYTHON, *"-m uv pip install --quiet --compile-bytecode --python".split(), PYTHON]
    if resolution := os.environ.get("RESOLUTION"):
        groups = "--group dev" if full else "--group lab"
        given = f"--resolution {resolution} --requirement pyproject.toml {groups}"
        run(*install, *given.split())
    else:
        pins.write_text(parts[full], "utf-8")
        run(*install, "--no-deps", "--require-hashes", "--requirement", pins)
    run(PYTHON, "-c", ADD_COURSE, ROOT)
    run(PYTHON, "-m", *NO_NEWS.split())
    READY.write_text(stamps[full], "utf-8")


def run(*command: object) -> None:
    """Run a command in the folder of the course, and wait for it, whatever keys are pressed."""
    process = subprocess.Popen([str(piece) for piece in command], cwd=ROOT)
    while True:
        try:
            if process.wait():
                sys.exit(process.returncode)
            return
        except KeyboardInterrupt:
            pass  # the command hears of it, too; JupyterLab asks a question then


def do(verb: str) -> None:
    """Do what a verb says."""
    if verb == "help":
        print(*(f"{ASKED} {name:<15} {does}" for name, (does, *_) in VERBS.items()), sep="\n")
    if verb == "doctor":
        from tools.doctor import main as examine  # which needs nothing but Python, either

        sys.exit(examine())
    if verb in ("test-browser", "test-install"):
        found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
        if not os.environ.setdefault("CHROMIUM", next(found, "")):
            sys.exit(
                f"{ASKED} {verb} needs Chromium, and none was found. On Debian and Ubuntu: apt "
                f"install chromium. Or name it: {ASKED} {verb} CHROMIUM=/path/to/chromium"
            )
    for pattern in REMOVED.get(verb, []):
        for folder in [*ROOT.glob(pattern)]:
            shutil.rmtree(folder, ignore_errors=True)
    if VERBS[verb][1:]:
        set_up(verb not in FOR_STUDENTS)
    for command in filter(None, VERBS[verb][1:]):
        run(PYTHON, "-m", *command.split())


def main(arguments: list) -> None:
    """Do what is asked, one after the other."""
    verbs = [word for word in arguments if "=" not in word] or ["help"]
    values = dict(word.split("=", 1) for word in arguments if "=" in word)
    for word, known in [(verb, VERBS) for verb in verbs] + [(name, VALUES) for name in values]:
        if word not in known:
            sys.exit(f"course.py: expected one of {', '.join(known)}, got {word}")
    os.environ.update(values)
    # A module of the same name elsewhere on the path, or a kernel of the same name in the home
    # directory, must not come before the course's own. Text is UTF-8, on Windows, too. Where
    # there is no home to write to, settings go to a folder of this run.
    path = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    os.environ.update(JUPYTER_PREFER_ENV_PATH="1", PYTHONUTF8="1")
    if not os.access(os.path.expanduser("~"), os.W_OK):
        os.environ["HOME"] = tempfile.mkdtemp()
    for verb in verbs:
        do(verb)


if __name__ == "__main__":
    main(sys.argv[1:])
