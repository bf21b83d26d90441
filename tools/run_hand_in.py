"""Run one notebook that was handed in, locked up, and tell what its answers gave.

`tools.grade` starts it in a folder of its own, with a job as JSON on standard input, and judges
by itself: what is told here, a line of JSON each, are values that came out, never verdicts.
"""

from tools.locked import lock

import ast
import builtins
import json
import os
import secrets
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

LARGEST = 4_000_000  # bytes of an array that are told; of a larger one, which is wrong, its shape


class Tell:
    """What takes the place of `check`: it tells what an answer gave, in place of judging it."""

    def __init__(self, send: Callable[[dict], None], solutions: bool) -> None:
        """Tell by `send`, of solutions or of answers."""
        self.send, self.solutions = send, solutions

    def __call__(self, exercise: str, answer: object = ..., solution: bool = False) -> None:
        """Take an answer as `check` does."""
        from helpers.exercises import engine, find

        asked, told = find(exercise), {"exercise": exercise}
        if bool(solution) != self.solutions:
            return
        if isinstance(asked, engine.Build):
            told["cases"] = []
            found = engine.verdict(recorded(asked, answer, told["cases"]), answer)
        else:
            found, told["value"] = engine.verdict(asked, answer), plain(answer)
        self.send({**told, "waiting": found.state == "waiting", "text": found.text})


def recorded(exercise: object, answer: object, cases: list) -> object:
    """The exercise with a measure that adds what the answer gives to `cases`."""
    from helpers.exercises.engine import measured

    expected = {}

    def measure(function: Callable, *case: object) -> dict:
        if function is not answer:
            expected.update(measured(exercise, function, case))
            return expected.copy()
        got = measured(exercise, function, case, "result" not in expected)
        cases.append({name: encoded(value) for name, value in got.items()})
        return got

    return exercise._replace(measure=measure, gradient=())


def encoded(array: object) -> dict | None:
    """An array as JSON has it."""
    if array is None:
        return None
    data = b64encode(array.tobytes()).decode() if array.nbytes <= LARGEST else None
    return {"dtype": array.dtype.str, "shape": array.shape, "data": data}


def plain(answer: object) -> str | float | None:
    """A letter or a number as JSON has it; None for what is neither."""
    if isinstance(answer, str):
        return answer[:1000]
    try:
        return float(answer) if not isinstance(answer, bool) else None
    except (TypeError, ValueError, OverflowError):
        return None


class Redirect(ast.NodeTransformer):
    """Call `name` wherever an exercise is checked, whatever `check` has been made to mean."""

    def __init__(self, name: str, topic: str) -> None:
        """Take the name of what is called, and the topic of the exercises."""
        self.name, self.topic = name, topic

    def visit_Call(self, node: ast.Call) -> ast.Call:
        """Change a call whose first argument is the name of an exercise."""
        self.generic_visit(node)
        called = getattr(node.func, "attr", getattr(node.func, "id", None))
        match node.args:
            case [ast.Constant(value=str(text)), *_] if text.startswith(f"{self.topic}."):
                if called == "check":
                    node.func = ast.copy_location(ast.Name(self.name, ast.Load()), node.func)
        return node


def run(job: dict, send: Callable[[dict], None]) -> None:
    """Run the cells of a job one after the other, as Run All does, but past errors."""
    from helpers import exercises
    from helpers.exercises import engine
    from helpers.exercises.limits import TooSlow, limited

    import matplotlib.pyplot  # noqa: F401  (what takes long to import is not the student's time)
    from IPython.core.compilerop import CachingCompiler
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Compiler(CachingCompiler):
        """Names cells as a kernel does: without brackets, the sign of what is no student's."""

        def get_code_name(self, *arguments: object) -> str:
            return super().get_code_name(*arguments).strip("<>")

    engine.SEED, engine.SECONDS = job["seed"], job["seconds"]
    engine.NOT_THEIRS += (str(Path(__file__).parent),)
    sys.modules["distributed"] = None  # sweeps train here, in this process
    name = f"check_{secrets.token_hex(8)}"
    tell = Tell(send, job["solutions"])
    setattr(builtins, name, tell)
    exercises.check = tell  # for what calls it by another name
    config = Config({"HistoryManager": {"enabled": False}})
    shell = InteractiveShell.instance(config=config, compiler_class=Compiler)
    shell.ast_transformers.append(Redirect(name, job["topic"]))
    reduced = job["reduced"]
    send({"ready": True})
    for number, source in enumerate(job["cells"]):
        send({"cell": number})
        try:
            if "check(" in source:  # an exercise; what loops there is not to cost the others
                result = limited(2 * job["seconds"], shell.run_cell, source)
            else:
                result = shell.run_cell(source)
            error = result.error_before_exec or result.error_in_exec
            error = error and f"raised {type(error).__name__}: {error}"
        except TooSlow:
            error = f"took longer than {2 * job['seconds']:.0f} seconds, and was stopped"
        if error:
            send({"cell": number, "error": error[:500]})
        if reduced and reduced.keys() <= shell.user_ns.keys():  # the first cell has set them
            shell.user_ns.update(reduced)
            reduced = {}
    send({"done": True})


def main() -> None:
    """Take the job, leave the streams to nobody, lock up, and run."""
    job = json.load(sys.stdin.buffer)
    channel, nowhere = os.fdopen(os.dup(1), "wb"), os.open(os.devnull, os.O_RDWR)

    def send(told: dict) -> None:
        channel.write(json.dumps(told).encode() + b"\n")
        channel.flush()

    try:
        kernel = lock(Path.cwd())
        send({"locked": kernel})
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        run(job, send)
    finally:
        os._exit(0)  # whatever still runs, or waits to be run at the end


if __name__ == "__main__":
    main()
