"""Every exercise takes its solution and other right answers, and knows the likely wrong ones."""

from helpers.exercises import engine, find
from helpers.exercises.engine import Build, Choice, Number, verdict
from tests.repository import NOTEBOOKS as PATHS
from tests.repository import ROOT

import importlib
import re
import sys
import time

import nbformat
import numpy as np
import pytest

NOTEBOOKS = {path.stem.partition("_")[2]: nbformat.read(path, as_version=4) for path in PATHS}
MODULES = {
    path.stem: importlib.import_module(f"helpers.exercises.{path.stem}")
    for path in sorted((ROOT / "helpers" / "exercises").glob("[a-z]*.py"))
    if path.stem not in ("engine", "limits")
}
NAMES = [f"{topic}.{k}" for topic, module in MODULES.items() for k in module.EXERCISES]
BUILDS = [name for name in NAMES if isinstance(find(name), Build)]
WRONG = [(name, at) for name in NAMES for at in range(len(find(name).wrong))]


def cells(topic, tag):
    return [c for c in NOTEBOOKS[topic].cells if tag in c.metadata.get("tags", [])]


def loops(*_):
    while True:
        pass


def stops(*_):
    raise KeyboardInterrupt


def edits(*arguments):
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            argument[...] = 0


WILD = ["b c", None, float("nan"), np.zeros((3_000, 3_000)), [1, [2, "x"]], object()]
WILD += [(k for k in range(3)), loops, lambda *_: time.sleep(10), stops, lambda *_: sys.exit()]
WILD += [lambda *_: (yield 1), lambda *_: print("noise"), edits, lambda: 1, lambda *_: 1 / 0]
WILD += [lambda *_: "seven", lambda *_: float("nan"), lambda *_: np.zeros((3_000, 3_000))]
WILD += [lambda *_: [1, [2, "x"]], lambda *_: (k for k in range(3)), lambda *_: lambda: 1]


def test_every_notebook_has_exercises():
    assert MODULES.keys() == NOTEBOOKS.keys()


@pytest.mark.parametrize("topic", MODULES)
def test_the_notebook_and_the_module_have_the_same_exercises(topic):
    exercises = MODULES[topic].EXERCISES
    text = "\n\n".join(c.source for c in NOTEBOOKS[topic].cells if c.cell_type == "markdown")
    titles = re.findall(r"(?m)^### (\d+) · (\w+): ", text)
    assert titles == [(str(k), exercise.kind.title()) for k, exercise in exercises.items()]
    assert list(exercises) == list(range(1, len(exercises) + 1))
    calls = re.findall(r'check\("(\w+\.\d)"', "\n".join(c.source for c in cells(topic, "exercise")))
    assert calls == [f"{topic}.{k}" for k in exercises]
    assert {exercise.kind for exercise in exercises.values()} <= {"predict", "build", "explore"}
    assert {"predict", "build"} <= {exercise.kind for exercise in exercises.values()}


@pytest.mark.parametrize("topic", MODULES)
def test_the_blanks_wait_and_the_solutions_are_right(topic):
    """As stored; the replay of the notebooks compares these outputs with new ones."""
    for k in MODULES[topic].EXERCISES:
        blank, solution = (cells(topic, tag)[k - 1] for tag in ("exercise", "solution"))
        assert blank.outputs[-1].text.startswith(f"Exercise {k}: not attempted yet")
        assert solution.outputs[-1].text == f"Exercise {k}, solution: right.\n"


@pytest.mark.parametrize("name", NAMES)
def test_the_blank_waits(name):
    def blank(*_): ...

    assert [verdict(find(name), answer).state for answer in (..., blank)] == ["waiting"] * 2


@pytest.mark.parametrize("name", NAMES)
def test_the_right_answer_is_right(name):
    exercise = find(name)
    right = exercise.reference if isinstance(exercise, Build) else exercise.right
    assert verdict(exercise, right) == ("right", f"right. {exercise.why}", "")


@pytest.mark.parametrize("name", NAMES)
def test_there_are_three_wrong_answers(name):
    wrong = find(name).wrong
    hints = wrong if isinstance(find(name), Build) else wrong.values()
    assert len(set(hints)) == len(wrong) >= 3
    assert all(hint[-1] in ".?" and len(hint) > 15 for hint in hints)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_hint_is_one_of_its_own(name):
    nudge, wrong = find(name).nudge, find(name).wrong
    hints = wrong if isinstance(find(name), Build) else wrong.values()
    assert len(nudge) > 15 and nudge[-1] in ".?" and nudge not in hints


@pytest.mark.parametrize(("name", "at"), WRONG)
def test_a_wrong_answer_gets_its_hint(name, at):
    exercise = find(name)
    answer, hint = list(exercise.wrong.items())[at]
    if isinstance(exercise, Build):
        answer, hint = hint, answer
    found = verdict(exercise, answer)
    assert (found.state, found.hint) == ("wrong", hint)
    assert hint not in found.text


@pytest.mark.parametrize("name", BUILDS)
def test_right_answers_of_another_form_are_right(name):
    topic, _, k = name.partition(".")
    answers = importlib.import_module(f"tests.fast.answers.{topic}").RIGHT[int(k)]
    assert len(answers) >= 2
    for answer in answers:
        assert verdict(find(name), answer).state == "right", verdict(find(name), answer).text


DRAWN = set(
    "autoencoder.3 encoder.2 encoder.5 sampling.3 decoder.3 decoder.5 loss.3 loss.4".split()
)
DRAWN |= set("evaluation.3 conditional.2 conditional.3".split())


@pytest.mark.parametrize("seed", [1, 20261126])
@pytest.mark.parametrize("name", sorted(DRAWN))
def test_a_seed_makes_other_cases_of_the_same_worth(name, seed, monkeypatch):
    exercise, topic, k = find(name), *name.split(".")
    before = exercise.cases()
    monkeypatch.setattr(engine, "SEED", seed)
    pairs = zip(before, exercise.cases(), strict=True)
    assert any(not np.array_equal(a, b) for old, new in pairs for a, b in flat(old, new))
    for answer in importlib.import_module(f"tests.fast.answers.{topic}").RIGHT[int(k)]:
        assert verdict(exercise, answer).state == "right"
    for hint, slip in exercise.wrong.items():
        assert verdict(exercise, slip).hint == hint


def flat(old, new):
    """The arrays of two cases, side by side, those in lists, too."""
    for a, b in zip(old, new, strict=True):
        yield from flat(a, b) if isinstance(a, list) else [(a, b)]


@pytest.mark.parametrize("name", NAMES)
def test_wild_answers_get_a_message(name, monkeypatch, capsys):
    monkeypatch.setattr(engine, "SECONDS", 0.5)
    assert isinstance(find(name), Choice | Number | Build)
    for answer in WILD:
        start = time.perf_counter()
        state, text, _ = verdict(find(name), answer)
        assert state == "wrong" and len(text) > 20, (answer, text)
        assert len(text) < 700 and "helpers" not in text
        assert time.perf_counter() - start < 8
    assert capsys.readouterr() == ("", "")
