"""Run the notebooks handed in to FOLDER and write a table: called by make grade FOLDER=...

Every notebook runs in a process of its own, locked up (`tools.locked`), for a limited time and in
limited memory. That process tells what its answers gave; whether that is right is judged here,
where nothing of a student's runs. The report, grades.csv and report.html, goes to FOLDER-report;
nothing else is changed.
"""

from helpers.exercises import engine, exercises_of
from tools.execute import REDUCED, ROOT
from tools.grade_report import Graded, HandIn, Verdict, write_report

import json
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from base64 import b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from math import prod
from pathlib import Path
from tempfile import mkdtemp
from threading import Thread
from typing import NamedTuple

import nbformat
import numpy as np
import psutil

TOPICS = {path.stem.partition("_")[2]: path for path in sorted(ROOT.glob("notebooks/*.ipynb"))}
MEMORY = 3.0  # GB; no notebook of the course takes more than 1.8
LARGEST = 50_000_000  # bytes that one notebook may be, or tell
MOST_CELLS = 2_000  # of which nbformat makes seconds
IGNORED = {".ipynb_checkpoints", "__MACOSX", "Thumbs.db", "desktop.ini"}
CHECK = re.compile(rf"""["']({"|".join(TOPICS)})\.(\d+)["']""")


class Run(NamedTuple):
    """What a notebook told before it ended, and how it ended if that was too early."""

    told: list[dict]
    problem: str
    seconds: float


class Limits(NamedTuple):
    """What a notebook may take, and the seed of the cases."""

    seconds: float
    memory: float  # GB
    seed: int | None


def handed_in(folder: Path) -> Iterator[HandIn]:
    """What lies in a folder: each notebook, and each student's other files who has none.

    A student is a folder or a file directly in it.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    named = [(path, path.relative_to(folder).parts) for path in files]
    named = [
        (p, parts) for p, parts in named if not any(x in IGNORED or x[0] == "." for x in parts)
    ]
    with_notebook = {parts[0] for path, parts in named if path.suffix.lower() == ".ipynb"}
    for path, parts in named:
        student = in_unicode(parts[0] if len(parts) > 1 else path.stem)
        file = in_unicode("/".join(parts))
        if path.suffix.lower() == ".ipynb":
            yield read(path, student, file)
        elif parts[0] not in with_notebook:
            packed = ", but may hold one: unpack it" * (
                path.suffix.lower() in (".zip", ".rar", ".7z")
            )
            yield HandIn(student, file, "", [], f"this is no notebook{packed}")


def in_unicode(name: str) -> str:
    """A name of a file that can be printed and written."""
    return name.encode("utf-8", "replace").decode("utf-8")


def read(path: Path, student: str, file: str) -> HandIn:
    """A notebook, whatever tool has written it, or what is wrong with it."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has {path.stat().st_size / 1e6:.0f} MB")
        text = path.read_bytes().decode("utf-8-sig")
        if text.count('"cell_type"') > MOST_CELLS:
            raise ValueError(f"it has more than {MOST_CELLS} cells")
        with warnings.catch_warnings(action="ignore"):  # of what other tools write
            nb = nbformat.reads(text, as_version=4)
        cells = [as_text(cell.source) for cell in nb.cells if cell.cell_type == "code"]
    except Exception as error:  # whatever is wrong with a file costs its own row
        reason = in_unicode(f"{type(error).__name__}: {error}".splitlines()[0][:200])
        return HandIn(student, file, "", [], f"this cannot be read as a notebook ({reason})")
    topics = [topic for topic, _ in CHECK.findall("\n".join(cells))]
    if not topics:
        return HandIn(student, file, "", [], "no cell of it checks an exercise of the course")
    return HandIn(student, file, max(topics, key=topics.count), cells)


def as_text(source: object) -> str:
    """The source of a cell, which may be a list of lines."""
    return source if isinstance(source, str) else "".join(source)


def own(topic: str) -> HandIn:
    """The course's own notebook, whose solutions are the answers."""
    nb = nbformat.read(TOPICS[topic], as_version=4)
    return HandIn(
        "", TOPICS[topic].name, topic, [c.source for c in nb.cells if c.cell_type == "code"]
    )


def run(hand_in: HandIn, place: Path, limits: Limits, solutions: bool = False) -> Run:
    """Run a notebook in a process of its own, in the folder `place`, which is made and removed."""
    place.mkdir(parents=True)
    job = {"topic": hand_in.topic, "cells": hand_in.cells, "solutions": solutions}
    job |= {"reduced": REDUCED.get(TOPICS[hand_in.topic].stem, {}), "seed": limits.seed}
    # A cell is given more than the 20 seconds that a verdict may take.
    job |= {"cell_seconds": max(30, limits.seconds / 2)}
    start, told, problem = time.monotonic(), [], ""
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.run_hand_in"], cwd=place, env=variables(place),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    reader = Thread(target=listen, args=(process, told), daemon=True)
    try:
        reader.start()
        Thread(target=feed, args=(process, json.dumps(job).encode()), daemon=True).start()
        while process.poll() is None and not problem:
            time.sleep(0.1)
            if time.monotonic() - start > limits.seconds:
                problem = f"stopped after {limits.seconds:.0f} seconds"
            elif memory_of(process.pid) > limits.memory:
                problem = f"stopped, since it took more than {limits.memory:g} GB of memory"
    finally:
        end(process)
        reader.join(10)
        remove(place)
    told = list(told)
    if {"too": "much"} in told:
        problem = f"stopped, since it told more than {LARGEST / 1e6:.0f} MB"
    if not problem and not any(each.get("done") is True for each in told):
        problem = f"its process ended by itself, with exit code {process.returncode}"
    return Run(told, problem, time.monotonic() - start)


def variables(place: Path) -> dict[str, str]:
    """The environment of such a process: nothing of the teacher's, and nothing to be found."""
    kept = {k: v for k, v in os.environ.items() if k in ("SYSTEMROOT", "LANG", "LC_ALL")}
    homes = dict.fromkeys("HOME USERPROFILE TMPDIR TEMP TMP MPLCONFIGDIR IPYTHONDIR".split(), place)
    fixed = {"PYTHONPATH": ROOT, "PYTHONDONTWRITEBYTECODE": 1, "PYTHONUTF8": 1, "MPLBACKEND": "Agg"}
    return {k: str(v) for k, v in (kept | homes | fixed | {"PATH": ""}).items()}


def feed(process: subprocess.Popen, job: bytes) -> None:
    """Hand a process its job; one that does not take it has ended, which is seen elsewhere."""
    try:
        with process.stdin:
            process.stdin.write(job)
    except OSError:
        return


def listen(process: subprocess.Popen, told: list[dict]) -> None:
    """Collect what a process tells, up to a limit; what cannot be read is left out."""
    length = 0
    for line in iter(lambda: process.stdout.readline(LARGEST), b""):
        length += len(line)
        if length > LARGEST:
            told.append({"too": "much"})
            process.kill()
            return
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict):
            told.append(message)


def remove(folder: Path) -> None:
    """Remove a folder, even if rights were taken away in it."""
    for place, folders, _ in os.walk(folder):
        for name in folders:
            if not os.path.islink(os.path.join(place, name)):
                os.chmod(os.path.join(place, name), 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def memory_of(pid: int) -> float:
    """The memory of a process and those that it has started, in GB."""
    total = 0
    try:
        one = psutil.Process(pid)
        for each in [one, *one.children(recursive=True)]:
            total += each.memory_info().rss
    except psutil.Error:
        pass  # it has ended meanwhile
    return total / 1e9


def end(process: subprocess.Popen) -> None:
    """End a process and those that it has started."""
    try:
        one = psutil.Process(process.pid)
        for each in [*one.children(recursive=True), one]:
            each.kill()
    except psutil.Error:
        pass
    process.kill()
    process.wait()


def judge(hand_in: HandIn, ran: Run) -> Graded:
    """A verdict on each exercise of the notebook, and what went wrong with it as a whole."""
    topic, verdicts = hand_in.topic, {}
    told = [
        m for m in ran.told if type(m.get("cell")) is int and m["cell"] in range(len(hand_in.cells))
    ]
    reached = max((m["cell"] for m in told), default=-1)
    errors = {m["cell"]: in_unicode(str(m["error"])[:500]) for m in told if "error" in m}
    untouched = {cell.strip() for cell in own(topic).cells}
    for k, exercise in exercises_of(topic).items():
        name = f"{topic}.{k}"
        found = [judged(exercise, m) for m in ran.told if m.get("exercise") == name]
        tried = [verdict for verdict in found if verdict.state != "not attempted"]
        cells = [
            i for i, cell in enumerate(hand_in.cells) if (topic, str(k)) in CHECK.findall(cell)
        ]
        failed = [errors[i] for i in cells if i in errors]
        if found:
            verdicts[k] = (tried or found)[-1]  # the last word counts
        elif failed:
            verdicts[k] = Verdict("broken", f"the cell {failed[0]}")
        elif all(hand_in.cells[i].strip() in untouched for i in cells):
            verdicts[k] = Verdict("not attempted", "")
        elif ran.problem and cells[-1] >= reached:
            verdicts[k] = Verdict("broken", f"not run, or not to its end: {ran.problem}")
        else:
            verdicts[k] = Verdict("not attempted", "no cell that was run checks it")
    where = f"in {start_of(hand_in.cells[reached])}" if reached >= 0 else "before its first cell"
    problems = [f"{ran.problem}, {where}"] if ran.problem else []
    problems += [f"{start_of(hand_in.cells[i])} {errors[i]}" for i in sorted(errors)[:1]]
    return Graded(hand_in, verdicts, "; ".join(problems))


def start_of(cell: str) -> str:
    """How a cell is named to a teacher, who sees no numbers of cells: by its first line."""
    return f"the cell that begins with {in_unicode((cell.strip().splitlines() or [''])[0][:60])!r}"


def judged(exercise: object, message: dict) -> Verdict:
    """The verdict on what a notebook told of an answer."""
    own_words = str(message.get("text", ""))[:2000]
    if message.get("waiting") is True:
        return Verdict("not attempted", own_words)
    if not isinstance(exercise, engine.Build):
        value = message.get("value")
        if not isinstance(value, str | float):
            return Verdict("wrong", own_words)
        return with_hint(engine.verdict(exercise, value))
    cases, missing = message.get("cases"), []
    try:
        gave = iter([{str(name): decoded(value) for name, value in case.items()} for case in cases])
    except Exception as error:  # the process may tell anything
        return Verdict("broken", f"its answer cannot be read: {type(error).__name__}")

    def answer(*case: object) -> None:
        raise NotImplementedError("stands for the student's function, which ran elsewhere")

    def measure(function: Callable, *case: object) -> dict:
        if function is not answer:
            return engine.measured(exercise, function, case)
        missing[:] = [got := next(gave, None)]
        return got

    found = engine.verdict(exercise._replace(measure=measure, gradient=()), answer)
    told_less = found.state != "right" and missing == [None]
    return Verdict("wrong", own_words) if told_less else with_hint(found)


def with_hint(found: engine.Verdict) -> Verdict:
    """A verdict with the hint that a student would have to ask for."""
    return Verdict(found.state, found.text + f"\n  Hint: {found.hint}" * bool(found.hint))


def decoded(array: dict | None) -> np.ndarray | None:
    """An array as it was before JSON; one that was too large to be told, as zeros."""
    if array is None:
        return None
    kind, shape = np.dtype(array["dtype"]), tuple(int(n) for n in array["shape"])
    if kind.kind not in "biuf" or prod(shape) > LARGEST:
        raise ValueError(f"numbers were expected, not {kind} of shape {shape}")
    if array["data"] is None:
        return np.broadcast_to(np.zeros((), kind), shape)
    return np.frombuffer(b64decode(array["data"]), kind).reshape(shape)


def number(name: str, kind: Callable, least: float) -> float | None:
    """The number that was given under a name; None if there is none."""
    text = os.environ.get(name)
    if not text:
        return None
    try:
        value = kind(text)
    except ValueError:
        value = float("nan")
    if not value >= least:
        raise ValueError(f"{name}: expected a number of at least {least:g}, got {text}")
    return value


def limits_for(topic: str, place: Path, given: Limits) -> Limits:
    """What a notebook may take: unless it is given, four times as long as the course's own.

    That one is run first, which shows that grading works on this machine, too. Half a minute
    is added, since others run beside a student's.

    Raises:
        RuntimeError: its solutions are not found right.
    """
    mine = own(topic)
    ran = run(mine, place, given._replace(seconds=given.seconds or 1800), solutions=True)
    found = judge(mine, ran).verdicts
    wrong = {k: verdict for k, verdict in found.items() if verdict.state != "right"}
    if wrong:
        why = ran.problem or "; ".join(f"{k}: {verdict.text}" for k, verdict in wrong.items())
        raise RuntimeError(f"the course's own {mine.file} is not found right here: {why}")
    seconds = given.seconds or 4 * ran.seconds + 30
    print(
        f"{mine.file}: the course's own took {ran.seconds:.0f} s, so the limit is {seconds:.0f} s"
    )
    return given._replace(seconds=seconds)


def grade(hand_ins: list[HandIn], places: Path, given: Limits) -> Iterator[Graded]:
    """Run each notebook, as many at once as there are cores and memory for, and judge it."""
    topics = [topic for topic in TOPICS if any(each.topic == topic for each in hand_ins)]
    limits = {topic: limits_for(topic, places / topic, given) for topic in topics}
    fit = int(psutil.virtual_memory().available / 1e9 // given.memory)
    with ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, fit))) as threads, ExitStack() as stack:
        stack.callback(threads.shutdown, wait=False, cancel_futures=True)  # if it is interrupted
        futures = [
            each.topic and threads.submit(run, each, places / str(k), limits[each.topic])
            for k, each in enumerate(hand_ins)
        ]
        for hand_in, future in zip(hand_ins, futures, strict=True):
            if not future:
                yield Graded(hand_in, {}, hand_in.problem)
            else:
                try:
                    yield judge(hand_in, future.result())
                except Exception as error:  # what a process tells may be anything
                    problem = f"what it told cannot be judged ({type(error).__name__})"
                    broken = dict.fromkeys(exercises_of(hand_in.topic), Verdict("broken", problem))
                    yield Graded(hand_in, broken, problem)


def main() -> int:
    """Grade FOLDER; 0 if the report is written, 1 if there is nothing, 2 if told wrongly."""
    name = os.environ.get("FOLDER", "")
    if not name or not Path(name).is_dir():
        got = f"{name}, which is none" if name else "nothing"
        print(f"FOLDER: expected a folder of notebooks, got {got}", file=sys.stderr)
        return 2
    try:
        seed, memory = number("SEED", int, 0), number("MEMORY", float, 0.5) or MEMORY
        given = Limits(number("SECONDS", float, 1) or 0, memory, seed)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    folder = Path(name).resolve()
    hand_ins = list(handed_in(folder))
    if not hand_ins:
        print(f"FOLDER: nothing was handed in to {folder}", file=sys.stderr)
        return 1
    engine.SEED = seed
    report = folder.with_name(f"{folder.name}-report")
    report.mkdir(exist_ok=True)
    for left in report.glob("running-*"):  # by a grading that was killed
        remove(left)
    places, graded = Path(mkdtemp(prefix="running-", dir=report)), []
    try:
        for each in grade(hand_ins, places, given):
            graded.append(each)
            right = sum(verdict.state == "right" for verdict in each.verdicts.values())
            how = f"{right} of {len(each.verdicts)} right" if each.verdicts else "not run"
            print(
                f"{each.hand_in.file}: {how}{f', {each.problem}' * bool(each.problem)}", flush=True
            )
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: the report holds those that were done")
    finally:
        remove(places)
    write_report(graded, report)
    print(f"Written: {report / 'grades.csv'} and {report / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
