"""The engine of the exercises: verdicts, hints, messages, and answers that misbehave."""

from helpers import exercises
from helpers.exercises import check, engine, find, progress
from helpers.exercises.engine import Build, Choice, Number, is_blank, verdict

import _thread
import contextlib
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

CHOICE = Choice("predict", "b", "Because.", {"a": "Hint a.", "c": "Hint c."}, "Look.")
NUMBER = Number("predict", 2.0, "Because.", {-2.0: "The sign."}, "Look.", hint="Another way.")


def cases():
    rng = np.random.default_rng(0)
    return [tuple(rng.normal(size=(2, 4, 3)).astype("float32")) for _ in range(2)]


def kl(m, s):
    return 0.5 * ops.sum(ops.exp(s) + ops.square(m) - 1 - s, axis=1)


BUILD = Build(
    "kl(m, s)",
    kl,
    cases,
    "Because.",
    {
        "A half is missing.": lambda m, s: 2 * kl(m, s),
        "A mean for a sum.": lambda m, s: kl(m, s) / 3,
        "The sign.": lambda m, s: -kl(m, s),
    },
    "Look.",
    gradient=(0, 1),
)
VALUES = BUILD._replace(gradient=())


@pytest.mark.parametrize("answer", ["b", "B", " b.", "b)"])
def test_a_right_letter(answer):
    assert verdict(CHOICE, answer) == ("right", "right. Because.", "")


@pytest.mark.parametrize(
    ("answer", "says", "advises"),
    [("a", "you chose a.", "Hint a."), ("d", "expected one of the letters a, b, c, got 'd'.", ""),
     (2, "in quotes, got int.", ""), (np.zeros(3), "got ndarray of shape (3,).", ""),
     (["b"], "got list.", "")],
)  # fmt: skip
def test_another_letter(answer, says, advises):
    state, text, hint = verdict(CHOICE, answer)
    assert state == "wrong" and text.startswith("not right yet: ") and text.endswith(says)
    assert hint == advises


@pytest.mark.parametrize(
    "answer", [2, 2.0, 1.99, np.float32(2), np.int64(2), np.array(2.0), tf.constant(2.0)]
)
def test_a_right_number(answer):
    assert verdict(NUMBER, answer).state == "right"


@pytest.mark.parametrize(
    ("answer", "says", "advises"),
    [(-2, "you say -2.", "The sign."), (3, "you say 3.", "Another way."),
     (float("nan"), "you say nan.", "Another way."), (True, "expected one number, got bool.", ""),
     ("2", "expected one number, got str.", ""), (2j, "got complex.", ""),
     (np.ones(2), "of shape (2,).", "")],
)  # fmt: skip
def test_another_number(answer, says, advises):
    state, text, hint = verdict(NUMBER, answer)
    assert state == "wrong" and text.endswith(says) and hint == advises


def test_right_functions():
    def with_tensorflow(m, s):
        return tf.reduce_sum(tf.exp(s) + m**2 - 1 - s, axis=-1) / 2

    def in_place(m, s):
        m *= m
        return (np.exp(s) + m - 1 - s).sum(axis=1) / 2

    assert verdict(BUILD, with_tensorflow) == ("right", "right. Because.", "")
    for answer in (with_tensorflow, in_place, lambda m, s: list(np.asarray(kl(m, s)))):
        assert verdict(VALUES, answer).state == "right"


def test_several_results():
    pair = Build("two(m, s)", lambda m, s: (m, 2 * s), cases, "Because.", {}, "Look.")
    for answer in (lambda m, s: [m, 2 * s], lambda m, s: np.stack([m, 2 * s])):
        assert verdict(pair, answer).state == "right"
    for answer in (lambda m, s: m, lambda m, s: (m,), lambda m, s: m.sum(), lambda m, s: {}.get(1)):
        assert verdict(pair, answer).state == "wrong"
    assert "Return them all" in verdict(pair, lambda m, s: m.sum()).hint
    text = verdict(BUILD, lambda m, s: (m, s)).text
    assert text.startswith("not right yet: the result is a tuple of 2, not one array.")
    rows = Build("one(m, s)", lambda m, s: m, cases, "Because.", {}, "Look.")
    assert verdict(rows, lambda m, s: [list(row) for row in m]).state == "right"


def test_a_wrong_function_is_told_all():
    state, text, hint = verdict(BUILD, lambda m, s: kl(m, s) / 3)
    assert state == "wrong"
    lines = text.splitlines()
    assert lines[0].startswith("not right yet: tried kl(array of shape (4, 3), 0.1257, -0.1321,")
    assert lines[1].startswith("  result, came out: [") and lines[1].count(",") == 4
    assert lines[2].startswith("  result, expected: [")
    assert len(lines) == 3 and hint == "A mean for a sum."


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda m, s: np.asarray(kl(m, s)), "No gradient arrives."),
        (lambda m, s: ops.convert_to_tensor(ops.convert_to_numpy(kl(m, s))), "No gradient"),
        (lambda m, s: kl(ops.stop_gradient(m), s) + 0 * m[:, 0], "The shape is right"),
        (lambda m, s: ops.sum(kl(m, s)), "The shape should be (4,)."),
        (lambda m, s: {}.get(1), "Nothing came out."),
        (lambda m, s: print(m), "Nothing came out."),
        (lambda m, s: kl(m, s) + 1, "The shape is right"),
        (lambda m, s: kl(m, s) * np.nan, "NaN or infinity"),
    ],
)
def test_a_slip_that_is_not_in_the_list(answer, says):
    state, _, hint = verdict(BUILD, answer)
    assert state == "wrong" and hint.startswith(says)


def test_a_name_that_is_not_given_back_is_a_message():
    assert "called as kl(m, s), and yours cannot be" in verdict(BUILD, lambda m: m).text
    assert "this is a generator" in verdict(BUILD, (lambda m, s: (yield m))).text
    assert "got Dense" not in verdict(BUILD, keras.layers.Dense(2)).text
    assert verdict(BUILD, 5).text.endswith("expected a function, called as kl(m, s), got int.")


def test_an_exception_shows_the_own_line():
    def answer(m, s):
        inner = m + 1
        return inner.no_such_thing  # the line

    text = verdict(BUILD, answer).text
    assert "your answer raised AttributeError: " in text
    assert "return inner.no_such_thing  # the line\n" in text
    assert "tried kl(array" in text and "engine.py" not in text


def test_an_exception_inside_of_a_library_shows_the_own_line():
    def answer(m, s):
        return ops.matmul(m, s)

    text = verdict(BUILD, answer).text
    assert "return ops.matmul(m, s)\n" in text


def catches(*_):
    try:
        while True:
            pass
    except Exception:
        return 0


def clings(*_):
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with contextlib.suppress(BaseException):
            time.sleep(0.01)


@pytest.mark.parametrize("place", ["main thread", "another thread"])
@pytest.mark.parametrize(
    ("answer", "says"),
    [(catches, "was stopped"), (clings, "cannot be stopped"),
     (lambda *_: time.sleep(5), "cannot be stopped")],
)  # fmt: skip
def test_what_takes_too_long_is_stopped_or_left_behind(answer, says, place, monkeypatch):
    monkeypatch.setattr(engine, "SECONDS", 0.3)
    start = time.perf_counter()
    with ThreadPoolExecutor() as threads:
        found = threads.submit(verdict, BUILD, answer).result if place[0] == "a" else None
        text = found().text if found else verdict(BUILD, answer).text
    assert f"took longer than 0.3 seconds, and {says}" in text
    assert time.perf_counter() - start < 3
    assert verdict(BUILD, kl).state == "right"  # nothing is left over that would stop it
    time.sleep(0.5)


def test_the_stop_button_ends_an_answer():
    def press(*_):
        pressed.append(time.monotonic())
        _thread.interrupt_main()
        while True:
            done.append(time.monotonic())

    pressed, done = [], []
    # Whoever runs the tests in the background may have told them not to listen.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert "your answer raised KeyboardInterrupt" in verdict(BUILD, press).text
    finally:
        signal.signal(signal.SIGINT, before)
    time.sleep(0.3)
    assert time.monotonic() - done[-1] > 0.1 and done[-1] - pressed[0] < 5


def test_it_works_in_another_thread():
    with ThreadPoolExecutor() as threads:
        assert threads.submit(verdict, BUILD, kl).result().state == "right"


def test_blanks():
    def dots(m, s): ...
    def passes(m, s):
        pass

    def described(m, s):
        """What it will do."""

    def calls(m, s):
        kl(m, s)

    assert all(map(is_blank, (dots, passes, lambda m, s: ..., described)))
    assert not any(map(is_blank, (lambda m, s: 0, calls, lambda: (yield), kl, None, 0, "...")))


def test_check_prints_and_progress_counts(capsys, monkeypatch):
    monkeypatch.setattr(exercises, "_state", {})
    assert find("sampling.1").right == pytest.approx(2 * np.log(10))
    check("sampling.1", 2 * np.log(10), solution=True)
    check("sampling.2")
    check("sampling.3", 5)
    progress("sampling")
    out = capsys.readouterr().out
    assert out.startswith("Exercise 1, solution: right.\n")
    assert "Exercise 2: not attempted yet." in out and "Exercise 3: not right yet: " in out
    tail = "solved in this kernel: 0 of 4\n  exercise 1 (predict): not attempted yet\n"
    assert tail in out and "exercise 3 (build): not right yet\n" in out
    check("sampling.1", 4.605)
    capsys.readouterr()
    progress("sampling")
    out = capsys.readouterr().out
    assert out.startswith("solved in this kernel: 1 of 4\n  exercise 1 (predict): right\n")


def test_hints_come_on_request_and_the_small_one_first(capsys, monkeypatch):
    monkeypatch.setattr(exercises, "_nudged", set())
    monkeypatch.setattr(exercises, "find", lambda name: CHOICE)

    def said(answer, **options):
        check("loss.1", answer, **options)
        return capsys.readouterr().out

    assert said("a").splitlines()[1] == "  Stuck? Run it again as check(..., hint=True)."
    again = "  Run it again for a hint on your answer."
    assert said("a", hint=True).splitlines()[1:] == ["  Hint: Look.", again]
    assert said("c", hint=True).splitlines()[1:] == ["  Hint: Hint c."]
    for answer in (..., 3):  # about which there is nothing more to say
        assert said(answer, hint=True).splitlines()[1:] == ["  Hint: Look."]
    assert said("b", hint=True) == "Exercise 1: right. Because.\n"


@pytest.mark.parametrize(
    "name", ["", "sampling", "sampling.0", "sampling.99", "other.1", "engine.1", "a.b", 7]
)
def test_what_is_no_exercise_is_refused(name):
    with pytest.raises(ValueError, match=r"^(exercise|topic): "):
        check(name, 1)
    with pytest.raises(ValueError, match=r"^topic: 'other' has no exercises"):
        progress("other")
