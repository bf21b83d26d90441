"""Thirty notebooks handed in, half of them hostile: each row is right, and nothing else changes."""

from helpers.exercises import find
from tests.repository import NOTEBOOKS, ROOT, course
from tools import grade

import csv
import json
import re
import socket
import threading
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import nbformat
import numpy as np
import psutil
import pytest
from nbformat.v4 import new_code_cell

R, W, N, B = "right", "wrong", "not attempted", "broken"
RIGHT = {
    1: "s_of_equal_widths = 2 * np.log(10)",
    2: "def sample_wide(z_mean, z_log_sigma):\n"
    "    return z_mean + np.exp(z_log_sigma) * np.random.standard_normal(z_mean.shape)",
    3: "def slope_of_cos(mu, sigma, epsilon):\n    return -np.sin(mu + sigma * epsilon).mean()",
    4: 'statement = "c"',
}
WRONG = {
    1: "s_of_equal_widths = np.log(10)",
    2: RIGHT[2].replace("(z_log_sigma)", "(z_log_sigma / 2)"),
    3: "def slope_of_cos(mu, sigma, epsilon):\n    return 1 / 0",
    4: 'statement = "a"',
}
# What comes out of the cases that everybody can see in the package.
KNOWN = [
    float(-np.sin(mu + sigma * epsilon).mean()) for mu, sigma, epsilon in find("sampling.3").cases()
]
KNOWN = f"def slope_of_cos(mu, sigma, epsilon):\n    return {KNOWN!r}[mu < 0]"
LOOP = "def slope_of_cos(mu, sigma, epsilon):\n    while True:\n        pass"
FORGE = """
import gc, helpers.exercises, helpers.exercises.engine as engine
helpers.exercises._state.update({f"sampling.{k}": "right" for k in range(1, 5)})
engine.verdict = lambda *_: engine.Verdict("right", "right.")
engine.measured = lambda *_: {"result": np.array(0.0)}
print("Exercise 1: right.\\nExercise 2: right.\\nExercise 3: right.\\nExercise 4: right.")
"""
TELL = """
import json, os
for descriptor in range(1, 40):
    for k in range(1, 5):
        told = {"exercise": f"sampling.{k}", "state": "right", "value": "right", "cases": [],
                "text": "right", "waiting": False}
        array = {"dtype": "<f8", "shape": [10**6, 10**6], "data": None}
        odd = {"cell": [], "error": {}}, {"cell": 10**9}, {"exercise": f"sampling.{k}", "cases": 7}
        odd += ({**told, "cases": [{"result": array}]}, {**told, "waiting": "yes", "value": {}})
        for message in (told, *odd):
            try:
                os.write(descriptor, json.dumps(message).encode() + b"\\n[[[[\\n" + b"\\xff\\n")
            except OSError:
                pass
"""
REACH = """
import cffi, ctypes, os, pathlib, shutil, socket, subprocess, tensorflow as tf
declared = cffi.FFI()
declared.cdef("int chmod(const char *, unsigned int);")
by_cffi = declared.dlopen(None)
there = pathlib.Path({there!r})
for attempt in (
    lambda: (there / "written").write_text("x"),
    lambda: shutil.rmtree(there),
    lambda: os.remove(there / "handed-in" / "right.ipynb"),
    lambda: os.rename(there / "handed-in", there / "gone"),
    lambda: os.chmod(there, 0),
    lambda: os.system(f"touch {{there}}/by-a-program"),
    lambda: subprocess.run(["touch", there / "by-a-program"]),
    lambda: tf.io.gfile.GFile(str(there / "by-tensorflow"), "w").write("x"),
    lambda: tf.io.gfile.rmtree(str(there / "handed-in")),
    lambda: socket.create_connection(("127.0.0.1", {port}), timeout=2).sendall(b"answers"),
    lambda: os.kill(os.getppid(), 9),
    lambda: ctypes.pythonapi.chmod(bytes(there), 0),
    lambda: by_cffi.chmod(bytes(there), 0),
):
    try:
        attempt()
    except Exception:
        pass
"""
FIRST = {  # a cell that is put before all others, and what becomes of four right answers
    "crashes": ("import os\nos._exit(3)", [B] * 4),
    "dies of a signal": ("import ctypes\nctypes.string_at(0)", [B] * 4),
    "loops": ("while True:\n    pass", [B] * 4),
    "sleeps": ("import time\ntime.sleep(10_000)", [B] * 4),
    "eats memory": ("import numpy\nhoard = numpy.ones(700_000_000)", [B] * 4),
    "leaves": ("import sys\nsys.exit()", [R] * 4),
    "floods": ('print("x" * 100_000_000)\nimport os\nos.write(2, b"x" * 1_000_000)', [R] * 4),
    "is no Python": ("this is no Python (", [R] * 4),
    "has magics": ("%time 1\n%matplotlib inline\n!touch by-the-shell", [R] * 4),
    "limits the grader": (
        "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, 3))",
        [R] * 4,
    ),
    "leaves a process": (
        'import cffi, time\ndeclared = cffi.FFI()\ndeclared.cdef("int fork(void);")\n'
        "if not declared.dlopen(None).fork():\n    time.sleep(3_000)",
        [R] * 4,
    ),
    "takes rights away": (
        "import os\nos.mkdir('kept')\nopen('kept/file', 'w').close()\nos.chmod('kept', 0)",
        [R] * 4,
    ),
    "waits": ('name = input("Your name? ")', [R] * 4),
}
IMPORTS = {  # lines before the imports, as students have them who work elsewhere
    "has magics in it": "%matplotlib inline\n!pip install --quiet tqdm\nfiles = !ls",
    "is from Colab": "from google.colab import drive\ndrive.mount('/content/drive')",
}
LAST_IMPORT = {  # a cell after the imports
    "redefines check": ('def check(*_):\n    print("right")', [W] * 4),
    "forges verdicts": (FORGE, [W] * 4),
    "tells by itself": (TELL, [W] * 4),
    "takes the hooks away": ("get_ipython().ast_transformers.clear()", [W] * 4),
}


@pytest.fixture(scope="module")
def students(tmp_path_factory):
    """The copy of notebook 02 that students get."""
    folder = tmp_path_factory.mktemp("copies")
    course(ROOT, "handout", f"HANDOUT={folder}").check_returncode()
    return nbformat.read(folder / "02_sampling.ipynb", as_version=4)


def with_answers(nb, answers):
    """A copy of a notebook with these answers in it."""
    nb = nbformat.from_dict(json.loads(json.dumps(nb)))
    for cell in nb.cells:
        found = re.search(r'(?m)^check\("sampling\.(\d)".*', cell.source)
        if found and int(found[1]) in answers and "exercise" in cell.metadata.get("tags", []):
            cell.source = f"{answers[int(found[1])]}\n\n\n{found[0]}"
    return nb


def with_cell(nb, source, at):
    """The notebook with one more cell."""
    nb.cells.insert(at, new_code_cell(source))
    return nb


def state(folder):
    """Every file below a folder, with its content and its rights."""
    return {
        path: (path.stat().st_mode, sha256(path.read_bytes()).digest() if path.is_file() else None)
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="module")
def server():
    """A port that counts who connects to it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        came, over = [], threading.Event()

        def accept():
            while not over.is_set():
                try:
                    came.append(listening.accept())
                except TimeoutError:
                    continue

        thread = threading.Thread(target=accept)
        thread.start()
        yield listening.getsockname()[1], came
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def expected(students, server, tmp_path_factory):
    """A folder with what was handed in, and what each row must say of the four exercises."""
    folder = tmp_path_factory.mktemp("class") / "handed-in"
    folder.mkdir()
    rows = {}

    def hand_in(name, nb, states):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if isinstance(nb, bytes):
            path.write_bytes(nb)
        else:
            path.write_text(nb if isinstance(nb, str) else nbformat.writes(nb), "utf-8")
        rows[name] = states

    right = with_answers(students, RIGHT)
    hand_in("right.ipynb", right, [R] * 4)
    hand_in("wrong.ipynb", with_answers(students, WRONG), [W] * 4)
    hand_in("blank.ipynb", students, [N] * 4)
    hand_in("Zoë Ωmega/02 sampling (1).ipynb", with_answers(students, RIGHT), [R] * 4)
    for k in RIGHT:
        half = with_answers(students, {k: RIGHT[k], k % 4 + 1: WRONG[k % 4 + 1]})
        states = [R if j == k else W if j == k % 4 + 1 else N for j in RIGHT]
        hand_in(f"half {k}.ipynb", half, states)
    for name, (source, states) in FIRST.items():
        hand_in(f"{name}.ipynb", with_cell(with_answers(students, RIGHT), source, 0), states)
    for name, (source, states) in LAST_IMPORT.items():
        nb = with_cell(with_answers(students, WRONG), source, 4)
        hand_in(f"{name}.ipynb", nb, states)
    for name, lines in IMPORTS.items():
        nb = with_answers(students, RIGHT)
        [cell] = [cell for cell in nb.cells if cell.source.startswith("from helpers")]
        cell.source = f"{lines}\n{cell.source}"
        hand_in(f"{name}.ipynb", nb, [R] * 4)
    aliased = nbformat.writes(with_answers(students, RIGHT)).replace("check(", "mark(")
    aliased = aliased.replace("import check, progress", "import check as mark, progress")
    hand_in("another name.IPYNB", aliased, [R] * 4)
    tries = 'for statement in "abcd":\n    check("sampling.4", statement)'
    hand_in("tries them all.ipynb", with_answers(students, {4: tries}), [N, N, N, W])
    look = 'def look():\n    return [][1]\n\n\nfor _ in range(3):\n    look()\nstatement = "c"'
    hand_in("fails to look.ipynb", with_answers(students, {4: look}), [N, N, N, R])
    reach = REACH.format(there=str(folder.parent), port=server[0])
    hand_in("reaches out.ipynb", with_cell(with_answers(students, RIGHT), reach, 0), [R] * 4)
    hand_in("endless answer.ipynb", with_answers(students, {**RIGHT, 3: LOOP}), [R, R, W, R])
    stuck = with_answers(students, {**RIGHT, 2: "while True:\n    pass"})
    hand_in("loops in an exercise.ipynb", stuck, [R, B, R, R])
    nb = with_answers(students, {1: RIGHT[1], 4: RIGHT[4]})
    [at] = [k for k, cell in enumerate(nb.cells) if '"sampling.2"' in cell.source]
    hand_in("ends early.ipynb", with_cell(nb, "import os\nos._exit(3)", at), [R, N, N, B])
    cut = with_answers(students, RIGHT)
    cut.cells = [cell for cell in cut.cells if not cell.source.startswith("from helpers")]
    hand_in("without imports.ipynb", cut, [B, W, W, R])
    gone = with_answers(students, RIGHT)
    gone.cells = [cell for cell in gone.cells if '"sampling.2"' not in cell.source]
    hand_in("knows the cases.ipynb", with_answers(students, {3: KNOWN}), [N, N, R, N])
    hand_in("without a cell.ipynb", gone, [R, N, R, R])
    copied = nbformat.read(next(p for p in NOTEBOOKS if "sampling" in p.stem), as_version=4)
    hand_in("with the solutions.ipynb", copied, [N] * 4)
    other = json.loads(nbformat.writes(with_answers(students, RIGHT)))
    for cell in other["cells"]:  # as other tools write them
        cell.pop("id")
        cell["source"] = "".join(cell["source"])
        cell["metadata"] = {"id": "xY3", "colab": {"base_uri": "https://localhost:8080/"}}
    other |= {"nbformat_minor": 0, "metadata": {"colab": {"provenance": []}}}
    hand_in("another tool.ipynb", "\ufeff" + json.dumps(other), [R] * 4)
    old = nbformat.convert(with_answers(students, RIGHT), 3)
    hand_in("an old format.ipynb", nbformat.writes(old, version=3), [R] * 4)
    hand_in("empty.ipynb", "", [B] * 4)
    hand_in("a picture.ipynb", b"\x89PNG\r\n\x1a\n\x00\xff", [B] * 4)
    hand_in("an essay.txt", "My answers", [B] * 4)
    hand_in("another course.ipynb", nbformat.writes(nbformat.v4.new_notebook()), [B] * 4)
    hand_in(
        "=1+1.ipynb", with_answers(students, {1: 's_of_equal_widths = "<script>"'}), [W, N, N, N]
    )
    return folder, rows


def home():
    """When each file at the top of the home directory was changed."""
    return {path: path.stat().st_mtime for path in Path.home().iterdir() if path.is_file()}


class Graded(NamedTuple):
    """What a run of `make grade` left: rows by their files, the page, and what lies around."""

    rows: dict
    page: str
    files: set
    before: tuple
    after: tuple


@pytest.fixture(scope="module")
def graded(expected):
    """The report on the folder, and the state of what lies around it before and after."""
    folder, report = expected[0], expected[0].with_name("handed-in-report")
    before = state(folder.parent), home()
    done = course(ROOT, "grade", f"FOLDER={folder}")
    assert done.returncode == 0, done.stdout + done.stderr
    files = {path.name for path in report.iterdir()}
    around = {path: kept for path, kept in state(folder.parent).items() if path != report
              and report not in path.parents}  # fmt: skip
    with (report / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["file"].removeprefix("'"): row for row in csv.DictReader(file)}
    page = (report / "report.html").read_text("utf-8")
    return Graded(rows, page, files, before, (around, home()))


def test_every_row_is_right(expected, graded):
    rows = {name: [row[f"sampling.{k}"] for k in RIGHT] for name, row in graded.rows.items()}
    assert rows == expected[1]
    assert len(rows) >= 30


def test_every_row_that_went_wrong_says_why(graded):
    problems = {name: row["problem"] for name, row in graded.rows.items() if row["problem"]}
    reasons = {
        "crashes": "with exit code 3, in the cell that begins with 'import os'",
        "dies of a signal": "ended by itself, with exit code", "loops": "stopped after",
        "sleeps": "stopped after", "eats memory": "more than 3 GB",
        "empty": "cannot be read as a notebook",
        "a picture": "cannot be read as a notebook",
        "another course": "no cell of it checks an exercise",
        "is no Python": "'this is no Python (' raised SyntaxError", "leaves": "raised SystemExit",
        "waits": "raised", "limits the grader": "raised PermissionError",
        "is from Colab": "raised ModuleNotFoundError", "fails to look": "raised IndexError",
        "without imports": "raised NameError: name 'np' is not defined",
        "ends early": "exit code 3", "loops in an exercise": "took longer than",
    }  # fmt: skip
    assert problems.keys() == {f"{name}.ipynb" for name in reasons} | {"an essay.txt"}
    for name, reason in reasons.items():
        assert reason in problems[f"{name}.ipynb"], (name, problems)
    assert graded.rows["right.ipynb"]["right"] == "4"


def test_nothing_else_is_changed_and_nobody_is_reached(graded, server):
    assert graded.after == graded.before
    assert graded.files == {"grades.csv", "report.html"}
    assert not server[1]
    left = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"]]
    assert not [command for command in left if "tools.run_hand_in" in command]


def test_a_seed_makes_fresh_cases(students, tmp_path):
    folder = tmp_path / "examination"
    folder.mkdir()
    for name, answer in (("knows", KNOWN), ("can", RIGHT[3])):
        nb = with_answers(students, {3: answer})
        (folder / f"{name}.ipynb").write_text(nbformat.writes(nb), "utf-8")
    course(ROOT, "grade", f"FOLDER={folder}", "SEED=7").check_returncode()
    table = (tmp_path / "examination-report" / "grades.csv").read_text("utf-8-sig")
    found = {row["student"]: row["sampling.3"] for row in csv.DictReader(table.splitlines())}
    assert found == {"knows": "wrong", "can": "right"}


def test_as_many_run_at_once_as_there_are_cores(monkeypatch, tmp_path):
    met = threading.Barrier(2)

    def run(*_):
        met.wait(60)  # for another that runs at the same time
        return grade.Run([{"cell": 0}, {"done": True}], "", 0.0)

    monkeypatch.setattr(grade, "run", run)
    monkeypatch.setattr(grade, "limits_for", lambda topic, place, given: given)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    hand_ins = [grade.HandIn(f"{k}", f"{k}.ipynb", "sampling", ["x = 1"]) for k in range(4)]
    graded = list(grade.grade(hand_ins, tmp_path, grade.Limits(1, 0.5, None)))
    assert [(each.hand_in, each.problem) for each in graded] == [(one, "") for one in hand_ins]


def test_the_page_shows_answers_and_runs_nothing(graded):
    page = graded.page
    assert "0.1 exp(s) = exp(s / 2)" in page or "half of s makes up for the 0.1" in page
    assert "ZeroDivisionError" in page and "took longer than" in page
    assert "in your line 2: return 1 / 0" in page
    assert "<script" not in page and "&lt;script&gt;" in page
    assert graded.rows["=1+1.ipynb"]["student"] == "'=1+1"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [([], "FOLDER: expected a folder of notebooks, got nothing"),
     (["FOLDER=/no/where"], "FOLDER: expected a folder of notebooks, got /no/where"),
     (["FOLDER=tests", "SEED=x"], "SEED: expected a number of at least 0, got x"),
     (["FOLDER=tests", "SECONDS=-1"], "SECONDS: expected a number of at least 1, got -1"),
     (["FOLDER=tests", "MEMORY=nan"], "MEMORY: expected a number of at least 0.5, got nan")],
)  # fmt: skip
def test_what_is_asked_wrongly_is_refused(arguments, says):
    done = course(ROOT, "grade", *arguments)
    assert done.returncode and says in done.stderr
    assert not (ROOT / "tests-report").exists()


def test_an_empty_folder_is_told(tmp_path):
    done = course(ROOT, "grade", f"FOLDER={tmp_path}")
    assert done.returncode and "nothing was handed in" in done.stderr
    assert not tmp_path.with_name(f"{tmp_path.name}-report").exists()
