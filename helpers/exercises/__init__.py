"""Exercises that answer at once: right, not attempted yet, or wrong, with hints on request.

An exercise is one entry of EXERCISES in the module of its notebook, and is called TOPIC.K.
"""

from helpers.exercises.engine import Build, Choice, Number, verdict

import importlib

_state: dict[str, str] = {}
_nudged: set[str] = set()


def check(
    exercise: str, answer: object = ..., solution: bool = False, *, hint: bool = False
) -> None:
    """Print the verdict on an answer to an exercise, such as "sampling.2".

    `...`, or a function without lines, is an answer not attempted yet. Whatever the answer
    does, no exception leaves this function. `progress` counts it unless it is the `solution`.
    With `hint`, an answer that is not right gets one: at first a small one, the next time
    one about the answer itself.

    Raises:
        ValueError: there is no such exercise.
    """
    asked = find(exercise)
    found = verdict(asked, answer)
    if not solution and _state.get(exercise) != "right":
        _state[exercise] = found.state
    # The reason would give the answer away, below a solution that is still folded.
    text = "right." if solution and found.state == "right" else found.text
    if found.state == "wrong" and not hint:
        text += "\n  Stuck? Run it again as check(..., hint=True)."
    elif found.state != "right" and hint:
        second = exercise in _nudged and found.hint
        text += f"\n  Hint: {found.hint if second else asked.nudge}"
        text += "" if second or not found.hint else "\n  Run it again for a hint on your answer."
        _nudged.add(exercise)
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
