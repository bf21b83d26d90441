"""Exercises that answer at once: right, not attempted yet, or wrong with a hint.

An exercise is one entry of EXERCISES in the module of its notebook, and is called TOPIC.K.
"""

from helpers.exercises.engine import Build, Choice, Number, verdict

import importlib

_state: dict[str, str] = {}


def check(exercise: str, answer: object = ..., solution: bool = False) -> None:
    """Print the verdict on an answer to an exercise, such as "sampling.2".

    `...`, or a function without lines, is an answer not attempted yet. Whatever the answer
    does, no exception leaves this function. `progress` counts it unless it is the `solution`.

    Raises:
        ValueError: there is no such exercise.
    """
    found = verdict(find(exercise), answer)
    if not solution and _state.get(exercise) != "right":
        _state[exercise] = found.state
    # The reason would give the answer away, below a solution that is still folded.
    text = "right." if solution and found.state == "right" else found.text
    print(f"Exercise {exercise.rpartition('.')[2]}{', solution' * solution}: {text}")


def progress(topic: str) -> None:
    """Print which exercises of a notebook have been solved in this kernel.

    Raises:
        ValueError: the topic has no exercises.
    """
    states = {k: _state.get(f"{topic}.{k}", "waiting") for k in exercises_of(topic)}
    print(f"solved in this kernel: {list(states.values()).count('right')} of {len(states)}")
    words = {"right": "right", "waiting": "not attempted yet", "wrong": "not right yet"}
    for k, state in states.items():
        print(f"  exercise {k} ({exercises_of(topic)[k].kind}): {words[state]}")


def exercises_of(topic: str) -> dict[int, Choice | Number | Build]:
    """The exercises of a notebook by their numbers, else ValueError."""
    try:
        return importlib.import_module(f"helpers.exercises.{topic}").EXERCISES
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"topic: {topic!r} has no exercises") from error


def find(exercise: str) -> Choice | Number | Build:
    """The exercise of that name, else ValueError."""
    topic, _, number = str(exercise).rpartition(".")
    found = exercises_of(topic).get(int(number) if number.isdecimal() else None)
    if found is None:
        raise ValueError(f"exercise: expected TOPIC.NUMBER of one that exists, got {exercise!r}")
    return found
