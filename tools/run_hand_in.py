"""Run one notebook that was handed in, locked up, and tell what its answers gave.

`tools.grade` starts it in a folder of its own, with a job as JSON on standard input, and judges
by itself: what is told here, a line of JSON each, are values that came out, never verdicts.
"""

from tools.locked import end_with_parent, lock, own_namespaces

import ast
import builtins
import json
import os
import re
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
        self.send, self.solutions, self.count = send, solutions, 0

    def __call__(
        self, exercise: str, answer: object = ..., solution: bool = False, *, hint: bool = False
    ) -> None:
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
        self.count += 1
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

    engine.SEED = job["seed"]
    engine.NOT_THEIRS += (str(Path(__file__).parent),)
    sys.modules["distributed"] = None  # sweeps train here, in this process
    name = f"check_{secrets.token_hex(8)}"
    tell = Tell(send, job["solutions"])
    setattr(builtins, name, tell)
    exercises.check = tell  # for what calls it by another name
    shell = make_shell()
    shell.ast_transformers.append(Redirect(name, job["topic"]))
    quoted = re.compile(rf"""["']{job["topic"]}\.\d+["']""")

    def fails(source: str, seconds: float = 0) -> str:
        """Run a cell, for a limited time if that is given; what went wrong with it."""
        try:
            result = limited(seconds, shell.run_cell, source) if seconds else shell.run_cell(source)
            error = result.error_before_exec or result.error_in_exec
            return f"raised {said(error)}" if error else ""
        except TooSlow:
            return f"took longer than {seconds:.0f} seconds, and was stopped"

    reduced = job["reduced"]
    for number, source in enumerate(job["cells"]):
        send({"cell": number})
        checks, before = quoted.search(source), tell.count
        # What loops in an exercise is not to cost the others.
        if error := fails(source, job["cell_seconds"] if checks else 0):
            send({"cell": number, "error": error[:500]})
            # An import that is only to be had on Colab, or a look that takes long, or that fails
            # in a shortened run, is not to cost what else the cell defines.
            for piece in pieces(shell.transform_cell(source), quoted):
                if tell.count == before:
                    fails(piece, job["cell_seconds"] / 4)
        if reduced and reduced.keys() <= shell.user_ns.keys():  # the first cell has set them
            shell.user_ns.update(reduced)
            reduced = {}
    send({"done": True})


def make_shell() -> object:
    """IPython without a kernel, in which what belongs to a screen or a system does nothing."""
    from IPython.core.compilerop import CachingCompiler
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Compiler(CachingCompiler):
        """Names cells as a kernel does: without brackets, the sign of what is no student's."""

        def get_code_name(self, *arguments: object) -> str:
            return super().get_code_name(*arguments).strip("<>")

    class Shell(InteractiveShell):
        """Takes `%matplotlib inline`, `!pip install` and `exit()`, and goes on."""

        def enable_gui(self, gui: object = None) -> None: ...
        def enable_matplotlib(self, gui: object = None) -> tuple:
            return gui, "agg"

        def system(self, command: str) -> None: ...
        def ask_exit(self) -> None: ...
        def getoutput(self, command: str, *options: object) -> list:
            return []

    config = Config({"HistoryManager": {"enabled": False}})
    return Shell.instance(config=config, compiler_class=Compiler)


def pieces(source: str, quoted: re.Pattern) -> list[str]:
    """What a cell imports, defines and checks, each by itself, as far as it is Python."""
    try:
        lines = ast.parse(source).body
    except SyntaxError:
        return []
    kept = ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign
    texts = [(line, ast.unparse(line)) for line in lines]
    return [text for line, text in texts if isinstance(line, kept) or quoted.search(text)]


def said(error: BaseException) -> str:
    """The kind and the text of an error, which may be a student's own."""
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:
        return type(error).__name__


def apart() -> bool:
    """On Linux, go on as the first process of a namespace, whose end is the end of all in it.

    From there no other process can be seen, and so none can be stopped or changed. False where
    the system does not let it.
    """
    if sys.platform != "linux" or not own_namespaces():
        return False
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(code if code >= 0 else 128 - code)
    end_with_parent()
    return True


def main() -> None:
    """Take the job, leave the streams to nobody, lock up, and run."""
    job = json.load(sys.stdin.buffer)
    alone = apart()
    channel, nowhere = os.fdopen(os.dup(1), "wb"), os.open(os.devnull, os.O_RDWR)

    def send(told: dict) -> None:
        channel.write(json.dumps(told).encode() + b"\n")
        channel.flush()

    try:
        lock(Path.cwd(), alone)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        run(job, send)
    finally:
        os._exit(0)  # whatever still runs, or waits to be run at the end


if __name__ == "__main__":
    main()
