"""The three kinds of exercises, and the verdict on an answer to one, with a hint."""

from helpers.exercises.limits import TooSlow, limited, silent

import contextlib
import dis
import inspect
import linecache
import sys
import traceback
from collections.abc import Callable
from math import isclose
from numbers import Real
from pathlib import Path
from types import EllipsisType, FunctionType
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

SECONDS = 20  # that a verdict may take: one of a second or two, with a class on one machine
SEED: int | None = None  # a teacher's: cases that are drawn at random are then fresh ones
NOT_THEIRS = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[1]), "<")


class Choice(NamedTuple):
    """An exercise answered with a letter."""

    kind: str  # predict or explore
    right: str
    why: str  # said when the answer is right
    wrong: dict[str, str]  # the hint for each of the other letters
    nudge: str  # the first hint, before one that names the slip


class Number(NamedTuple):
    """An exercise answered with a number, right within `tolerance` of its size."""

    kind: str
    right: float
    why: str
    wrong: dict[float, str]  # the hints for the likely slips
    nudge: str
    tolerance: float = 0.01
    hint: str = "Work it out again, step by step."  # for every other number


class Build(NamedTuple):
    """An exercise answered with a function, judged by what it does on `cases`.

    `measure` maps (function, *case) to what is compared, a dict from a name to an array or
    None; by default the result alone, or each part of it. With `gradient`, the slopes of the
    summed result in those arguments are compared, too.
    """

    call: str  # how it is called, "sample(z_mean, z_log_var)"
    reference: Callable
    cases: Callable[[], list[tuple]]  # arguments that the student has not seen, made anew
    why: str
    wrong: dict[str, Callable]  # from a hint to a function with the slip that it names
    nudge: str
    gradient: tuple[int, ...] = ()
    measure: Callable[..., dict] | None = None
    tolerance: float = 1e-3
    kind: str = "build"


def slips(*hints_and_functions: str | Callable) -> dict[str, Callable]:
    """What a Build says is `wrong`, written as it is read: each hint, then its function."""
    return dict(zip(hints_and_functions[::2], hints_and_functions[1::2], strict=True))


def case_rng(number: int) -> np.random.Generator:
    """The generator of an exercise's cases: always the same, or another one for each `SEED`."""
    return np.random.default_rng(number if SEED is None else (SEED, number))


class Verdict(NamedTuple):
    """What is found about an answer: right, wrong or waiting, what to say, and what if asked."""

    state: str
    text: str
    hint: str = ""


class Unreadable(Exception):
    """A function's result is nothing that can be compared; the message says what it is."""


def verdict(exercise: Choice | Number | Build, answer: object) -> Verdict:
    """Judge an answer, whatever it does; see `check`."""
    if isinstance(answer, EllipsisType) or is_blank(answer):
        dots = "Replace the dots by your answer"
        return Verdict("waiting", f"not attempted yet. {dots}, and run the cell again.")
    judge = {Choice: _judge_choice, Number: _judge_number, Build: _judge_function}[type(exercise)]
    hint = ""
    try:
        with silent():
            complaint, hint = limited(SECONDS, judge, exercise, answer)
    except TooSlow as slow:
        end = "was stopped" if slow.stopped else "cannot be stopped: restart the kernel"
        complaint = f"your answer took longer than {SECONDS} seconds, and {end}. "
        complaint += "Is there a loop that never ends?"
    except BaseException as error:  # KeyboardInterrupt and SystemExit, too
        complaint = _told(error)
    if complaint:
        return Verdict("wrong", f"not right yet: {complaint}", hint)
    return Verdict("right", f"right. {exercise.why}")


def is_blank(answer: object) -> bool:
    """Whether an answer is a function that holds no more than `return ...` or `pass`."""
    if not isinstance(answer, FunctionType) or inspect.isgeneratorfunction(answer):
        return False
    code = [step for step in dis.get_instructions(answer) if step.opname != "RESUME"]
    constants = [step.argval for step in code if "CONST" in step.opname]
    return len(code) <= 2 and constants in ([None], [...])


def _judge_choice(exercise: Choice, answer: object) -> tuple[str, str]:
    letters = ", ".join(sorted([exercise.right, *exercise.wrong]))
    if not isinstance(answer, str):
        return f"expected one of the letters {letters} in quotes, got {_kind(answer)}.", ""
    letter = answer.strip().strip(".)(").lower()
    if letter == exercise.right:
        return "", ""
    if letter not in exercise.wrong:
        return f"expected one of the letters {letters}, got {answer[:20]!r}.", ""
    return f"you chose {letter}.", exercise.wrong[letter]


def _judge_number(exercise: Number, answer: object) -> tuple[str, str]:
    numeric = isinstance(answer, Real | np.ndarray | tf.Tensor | tf.Variable)
    if not numeric or isinstance(answer, bool) or tuple(np.shape(answer)):
        comma = " Write it without a comma." * isinstance(answer, tuple)
        return f"expected one number, got {_kind(answer)}.{comma}", ""
    value = float(answer)

    def near(other: float) -> bool:
        return isclose(value, other, rel_tol=exercise.tolerance, abs_tol=1e-9)

    if near(exercise.right):
        return "", ""
    hints = [hint for slip, hint in exercise.wrong.items() if near(slip)]
    return f"you say {value:g}.", hints[0] if hints else exercise.hint


def _judge_function(exercise: Build, answer: object) -> tuple[str, str]:
    if not callable(answer):
        return f"expected a function, called as {exercise.call}, got {_kind(answer)}.", ""
    if inspect.isgeneratorfunction(answer):
        return "this is a generator, since it says yield. Return the result instead.", ""
    with contextlib.suppress(ValueError, TypeError):  # some callables have no signature
        try:
            inspect.signature(answer).bind(*exercise.cases()[0])
        except TypeError as error:
            return f"it is called as {exercise.call}, and yours cannot be: {error}.", ""
    for number, case in enumerate(exercise.cases()):
        expected = measured(exercise, exercise.reference, exercise.cases()[number])
        tried = ", ".join(map(_short, exercise.cases()[number]))
        tried = f"tried {exercise.call.partition('(')[0]}({tried})"
        try:
            got = measured(exercise, answer, case, "result" not in expected)
        except Exception as error:
            return f"{_told(error)}\n  {tried}", ""
        for name, value in expected.items():
            if _differ(got.get(name), value, exercise.tolerance):
                at, came, wanted = _shown(got.get(name), value, exercise.tolerance)
                complaint = f"{tried}.\n  {name}{at}, came out: {came}"
                complaint += f"\n  {name}{at}, expected: {wanted}"
                return complaint, _hint(exercise, number, got, name, value)
    return "", ""


def measured(exercise: Build, function: Callable, case: tuple, several: bool | None = None) -> dict:
    """What is compared of one call, a dict of arrays, and the slopes where they are asked for.

    The result has `several` parts if that of the reference is a tuple.
    """
    if exercise.measure:
        return {name: _array(value) for name, value in exercise.measure(function, *case).items()}
    case = list(case)
    for k in exercise.gradient:
        case[k] = tf.convert_to_tensor(case[k])
    watched = [case[k] for k in exercise.gradient]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        result = function(*case)
        several = isinstance(result, tuple) if several is None else several
        if several is False and isinstance(result, tuple):
            raise Unreadable(f"the result is a tuple of {len(result)}, not one array")
        whole = not isinstance(result, tuple | list) and not np.shape(result)
        parts = [result] if whole or not several else list(result)
        total = sum(tf.reduce_sum(p) for p in parts if exercise.gradient and tf.is_tensor(p))
    names = [f"part {k} of the result" for k in range(1, len(parts) + 1)]
    values = dict(zip(names if len(parts) > 1 else ["result"], map(_array, parts), strict=True))
    slopes = tape.gradient(total, watched) if tf.is_tensor(total) else [None] * len(watched)
    arguments = exercise.call.partition("(")[2].strip(")").split(", ")
    for k, slope in zip(exercise.gradient, slopes, strict=True):
        values[f"gradient in {arguments[k]}"] = _array(slope)
    return values


def _array(value: object) -> np.ndarray | None:
    """A result as an array of numbers; None stays."""
    if value is None:
        return None
    if isinstance(value, tf.Variable | tf.Tensor | keras.Variable):
        value = ops.convert_to_numpy(value)
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise Unreadable(f"the result is {_kind(value)}, not numbers")
    return array


def _differ(got: np.ndarray | None, expected: np.ndarray | None, tolerance: float) -> bool:
    if got is None or expected is None:
        return got is not expected
    if got.shape != expected.shape:
        return True
    return not np.allclose(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def _shown(got: np.ndarray | None, expected: np.ndarray, tolerance: float) -> tuple[str, str, str]:
    """Where two results differ, and both there: of large ones the first entry that differs."""
    if got is None or expected is None or got.shape != expected.shape or expected.size <= 6:
        return "", _short(got), _short(expected)
    close = np.isclose(got, expected, rtol=tolerance, atol=tolerance)
    at = tuple(int(k) for k in np.argwhere(~close)[0])
    return f" {list(at)}", f"{got[at]:.5g}", f"{expected[at]:.5g}"


def _hint(exercise: Build, number: int, got: dict, name: str, expected: np.ndarray) -> str:
    """Name the slip that gives what came out, or else what is odd about it."""
    for hint, slip in exercise.wrong.items():
        with contextlib.suppress(Exception):
            same = measured(exercise, slip, exercise.cases()[number])
            if name in same and not _differ(got.get(name), same[name], exercise.tolerance):
                return hint
    value = got.get(name)
    if value is None and name.startswith("gradient"):
        return (
            "No gradient arrives. NumPy and float() leave the tape; write it with keras.ops, "
            "on the tensors that you are given."
        )
    if value is None and name.startswith("part "):
        return "The result has several parts. Return them all, separated by commas."
    if value is None:
        return "Nothing came out. Is there a return, and does it name the result?"
    if value.shape != expected.shape:
        return f"The shape should be {expected.shape}. Look at the axis of each sum and mean."
    if not np.isfinite(value).all():
        return "NaN or infinity: look for a logarithm of 0, a division by 0, a huge exponential."
    return "The shape is right, the values are not. Try it by hand on the smallest case."


def _told(error: BaseException) -> str:
    """An exception of an answer, with the line of the answer where it arose."""
    text = (str(error).strip().splitlines() or [""])[0][:200]
    name = type(error).__name__
    if isinstance(error, Unreadable):
        return f"{text}."
    complaint = f"your answer raised {name}{': ' * bool(text)}{text}"
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(NOT_THEIRS)]
    if theirs:
        line = linecache.getline(theirs[-1].filename, theirs[-1].lineno).strip()
        complaint += f"\n  in your line {theirs[-1].lineno}: {line}"
    return complaint


def _kind(value: object) -> str:
    shape = np.shape(value) if isinstance(value, np.ndarray | tf.Tensor) else ()
    return f"{type(value).__name__}{f' of shape {tuple(shape)}' * bool(shape)}"


def _short(value: object) -> str:
    """A value in a few characters: small arrays in full, large ones by shape and first numbers."""
    if isinstance(value, tf.Tensor | np.ndarray | np.number):
        array = np.asarray(value)
        if array.size <= 6:
            return np.array2string(array, precision=4, separator=", ").replace("\n", "")
        first = ", ".join(f"{number:.4g}" for number in array.flat[:3])
        return f"array of shape {array.shape}, {first}, ..."
    if isinstance(value, int | float | str | None):
        return repr(value)[:40]
    return type(value).__name__
