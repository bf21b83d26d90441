"""course.py and the Makefile that calls it: what a newcomer meets first."""

import course
from tests.repository import ROOT, make, with_make
from tests.repository import course as call

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

NEWER_THAN_3_81 = (
    r"^\.(ONESHELL|SHELLFLAGS|RECIPEPREFIX|EXTRA_PREREQS|NOTINTERMEDIATE|WAIT)\b|::|!=|&:|^-?load "
    # In the end: a program that only the shell knows, in a command that needs no shell.
    r"|\$\((file|guile|let|intcmp) |^(undefine|private) |\$\(shell (command|type|\.) [^|;&<>]*\)"
)


@pytest.fixture
def fresh(tmp_path):
    """A folder with what make needs to set up the environment, and without one."""
    for name in ("Makefile", "course.py", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@with_make
def test_make_alone_lists_what_there_is(fresh):
    run = make(fresh)
    assert run.returncode == 0
    assert re.findall(r"(?m)^make ([a-z-]+)  +\S", run.stdout) == list(course.VERBS)


def test_the_makefile_has_every_verb_and_little_more():
    text = (ROOT / "Makefile").read_text("utf-8")
    [verbs] = re.findall(r"(?m)^VERBS := ((?:.*\\\n)*.*)", text)
    assert verbs.replace("\\\n", "").split() == ["help", *(v for v in course.VERBS if v != "help")]
    assert len(text.splitlines()) <= 90


@pytest.mark.parametrize(
    ("text", "newer"),
    [(".ONESHELL:\n", True), ("X ::= 1\n", True), ("X != ls\n", True), ("a b &: c\n", True),
     ("X = $(shell command -v python3)\n", True), ("X = $(file <a)\n", True),
     ("X ?= $(shell command -v a || command -v b)\n", False),
     ((ROOT / "Makefile").read_text("utf-8"), False)],
)  # fmt: skip
def test_the_makefile_is_one_for_make_3_81(text, newer):
    assert bool(re.search(NEWER_THAN_3_81, text, re.M)) == newer


@pytest.mark.parametrize("path", ["course.py", "tools/doctor.py"])
def test_the_program_asks_for_nothing_but_a_python(path):
    tree = ast.parse((ROOT / path).read_text("utf-8"), feature_version=(3, 8))
    names = [n.name for i in ast.walk(tree) if isinstance(i, ast.Import) for n in i.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {name.partition(".")[0] for name in names}
    assert names <= sys.stdlib_module_names | {"course", "tools"}


@with_make
def test_no_python_gives_a_clear_message(fresh):
    run = make(fresh, "lab", "PYTHON=/nonexistent")
    assert run.returncode != 0
    assert "Python 3.11" in run.stderr and "make lab PYTHON=" in run.stderr
    assert not (fresh / ".venv").exists()


@pytest.mark.parametrize("target", ["test-browser", "test-install"])
def test_no_browser_gives_a_clear_message(fresh, target):
    run = call(fresh, target, "CHROMIUM=")
    assert run.returncode != 0
    assert "needs Chromium" in run.stderr and f"course.py {target} CHROMIUM=" in run.stderr
    assert not (fresh / ".venv").exists()


@pytest.mark.parametrize("word", ["labs", "STUDENT=3"])
def test_what_nobody_knows_is_refused(word):
    with pytest.raises(SystemExit, match=f"expected one of .*, got {word.partition('=')[0]}$"):
        course.main([word])


@pytest.fixture
def pythons(monkeypatch):
    """A function that says what each Python prints of itself; the others are not found."""

    def offer(**said):
        monkeypatch.setattr(sys, "executable", "this")
        found = {name.replace("_", "."): text for name, text in said.items()}
        monkeypatch.setattr(course, "printed", lambda *c: found.get(" ".join(c[:-2]), ""))

    return offer


FITS, NO_VENV = "3.12 linux-x86_64 venv", "3.12 linux-x86_64"
INTEL, ROSETTA = "3.12 darwin-x86_64 venv", "3.13 darwin-arm64 venv"


@pytest.mark.parametrize(
    ("said", "found"),
    [({"this": FITS}, ["this"]), ({"this": "3.14 linux-x86_64 venv", "python3_11": ""}, None),
     ({"this": NO_VENV, "python3_13": "", "python3_12": FITS}, ["python3.12"]),
     ({"this": INTEL, "python3_13": ROSETTA}, ["python3.13"]),
     ({"this": "3.14 win-amd64 venv", "py -3_13": "3.13 win-amd64 venv"}, ["py", "-3.13"]),
     ({"this": "3.12 win-arm64 venv", "py -3_11": "3.11 win-amd64 venv"}, ["py", "-3.11"])],
)  # fmt: skip
def test_a_python_that_fits_is_found(pythons, said, found):
    pythons(**said)
    if found:
        assert course.find_python() == found
    else:
        with pytest.raises(SystemExit):
            course.find_python()


@pytest.mark.parametrize(
    ("this", "says"),
    [("", r"needs Python 3.11, 3.12 or 3.13.* uvx python@3.12 course.py lab$"),
     ("3.14 linux-x86_64 venv", "Or let uv bring one"),
     (NO_VENV, "this has no venv.*python3-venv"),
     (INTEL, "no wheel for darwin-x86_64, as Intel Macs.*Colab, Codespaces and Binder.*arm64"),
     ("3.12 win32 venv", r"no wheel for win32\. .*x86-64")],
)  # fmt: skip
def test_no_python_that_fits_gives_a_clear_message(pythons, this, says):
    pythons(this=this)
    with pytest.raises(SystemExit, match=says):
        course.find_python()


def test_a_python_says_of_itself_what_is_asked():
    version, system, venv = course.printed(sys.executable, "-c", course.PROBE).split()
    assert version == f"{sys.version_info[0]}.{sys.version_info[1]}" and venv == "venv"
    assert system in course.SYSTEMS
    assert course.printed("no-such-python", "-c", course.PROBE) == ""


def test_the_course_is_found_from_the_folder_of_modules(tmp_path):
    """By a path of dots, which any encoding holds, wherever the folder is moved to."""
    prefix = tmp_path / "Kurs für Übung 3" / ".venv"
    code = f"import sysconfig; sysconfig.get_path = lambda _: {str(prefix / 'lib')!r}\n"
    (prefix / "lib").mkdir(parents=True)
    run = [sys.executable, "-c", code + course.ADD_COURSE, str(prefix.parent)]
    subprocess.run(run, check=True)
    line = (prefix / "lib" / "course.pth").read_text("ascii")
    assert (prefix / "lib" / line).resolve() == prefix.parent.resolve()


def test_in_a_codespace_the_forwarded_page_may_ask():
    code = "import course; print(course.LAB)"
    variables = {**os.environ, "CODESPACE_NAME": "curly-carnival-7x"}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True)
    [pattern] = re.findall(r"allow_origin_pat=(\S+)", run.stdout.decode())
    assert re.fullmatch(pattern, "https://curly-carnival-7x-8888.app.github.dev")
    for other in (
        "https://other-8888.app.github.dev",
        "https://curly-carnival-7x-8888.app.github_dev",
    ):
        assert not re.fullmatch(pattern, other)
    assert "token" not in course.LAB.lower() and "allow_origin" not in course.LAB


UV = "uv==1 \\\n    --hash=sha256:0\n"


@pytest.fixture
def installs(tmp_path, monkeypatch):
    """A course that is not set up, and what is run to do that."""
    keras = "keras==1 \\\n    --hash=sha256:1\n"
    lock = f"{keras}{course.OTHERS}pytest==1\n{UV}"
    (tmp_path / "requirements.lock").write_text(lock, "utf-8")
    commands = []

    def run(*command):
        commands.append(" ".join(map(str, command)))
        course.VENV.mkdir(exist_ok=True)
        if "pins.txt" in commands[-1]:
            commands.append((course.VENV / "pins.txt").read_text("utf-8"))

    monkeypatch.setattr(course, "ROOT", tmp_path)
    monkeypatch.setattr(course, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(course, "READY", tmp_path / ".venv" / "ready")
    monkeypatch.setattr(course, "run", run)
    return commands


def test_students_get_their_part_and_the_tests_add_theirs(installs):
    course.set_up(full=False)
    assert "-m venv --clear" in installs[0] and installs[2] == UV
    assert "keras" in installs[4] and "pytest" not in installs[4]
    assert all("--require-hashes" in installs[k] for k in (1, 3))
    count = len(installs)
    course.set_up(full=False)
    assert len(installs) == count
    course.set_up(full=True)
    assert "pytest" in installs[count + 1] and not any("venv --clear" in c for c in installs[1:])
    count = len(installs)
    course.set_up(full=False)
    course.set_up(full=True)
    assert len(installs) == count


@pytest.mark.parametrize("full", [False, True])
def test_an_interrupted_set_up_starts_again_from_nothing(installs, monkeypatch, full):
    def interrupt(*command):
        if "uv" in command and "pins.txt" in str(command):
            raise SystemExit(1)
        run(*command)

    run = course.run
    if full:
        course.set_up(full=False)
    monkeypatch.setattr(course, "run", interrupt)
    with pytest.raises(SystemExit):
        course.set_up(full)
    monkeypatch.setattr(course, "run", run)
    installs.clear()
    course.set_up(full)
    assert "-m venv --clear" in installs[0]


def test_another_lock_sets_up_from_nothing(installs):
    course.set_up(full=True)
    lock = course.ROOT / "requirements.lock"
    lock.write_text(lock.read_text("utf-8").replace("keras==1", "keras==2"), "utf-8")
    installs.clear()
    course.set_up(full=False)
    assert "-m venv --clear" in installs[0]


def test_a_failing_command_ends_with_its_status():
    with pytest.raises(SystemExit) as end:
        course.run(sys.executable, "-c", "import sys; sys.exit(7)")
    assert end.value.code == 7


def test_a_command_that_heard_the_keys_is_waited_for(tmp_path):
    """Control and C reach both; JupyterLab then asks whether to stop, and needs its terminal."""
    child = "import time; print('up', flush=True); time.sleep(1.5); print('done', flush=True)"
    code = f"import course, sys; course.run(sys.executable, '-c', {child!r}); print('after')"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        assert process.stdout.read() == "done\nafter\n" and process.wait() == 0
