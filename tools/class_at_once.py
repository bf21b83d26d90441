"""A class at once: real kernels on one JupyterLab, driven as browsers drive them.

`make load-test` calls python -m tools.class_at_once: it runs NOTEBOOK, with the parameters of the
tests, in one kernel alone and then in those of STUDENTS at once.
"""

from tools.execute import REDUCED, ROOT

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory, TemporaryFile
from threading import Event, Thread
from urllib.parse import urlsplit
from uuid import uuid4

import nbformat
import psutil
import requests
from websocket import create_connection

CLASS = 30
SET_UP = 600  # seconds, at most, until a server is up; it may have to be set up
USED = """
import psutil, sys
one = psutil.Process()
try:
    from resource import RUSAGE_SELF, getrusage
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    peak = getrusage(RUSAGE_SELF).ru_maxrss * unit
except ModuleNotFoundError:  # on Windows
    peak = one.memory_info().peak_wset
print(peak / 1e9, one.cpu_times().user + one.cpu_times().system)
"""


class FailedCellError(Exception):
    """A cell raised an error, which is the message."""


class Lab:
    """A JupyterLab that answers at `url`, to those who have its `token`."""

    def __init__(self, process: subprocess.Popen, url: str, token: str) -> None:
        """Take what the server has printed of itself."""
        self.process, self.url, self.token = process, url, token
        self.headers = {"Authorization": f"token {token}"}

    def ask(self, method: str, what: str, **body: object) -> requests.Response:
        """An answer of the server's interface, which must be a good one."""
        address = f"{self.url}api/{what}"
        answer = requests.request(method, address, headers=self.headers, json=body, timeout=60)
        answer.raise_for_status()
        return answer


def end(process: subprocess.Popen) -> None:
    """Terminate a process and all that it has started, and wait until they are gone."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)[::-1]
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.terminate()
        psutil.wait_procs(children, timeout=60)
    process.terminate()
    process.wait(60)


def listens(address: str) -> bool:
    """Whether a server listens there: Jupyter prints its address shortly before it does."""
    place = urlsplit(address)
    try:
        socket.create_connection((place.hostname, place.port), timeout=5).close()
    except OSError:
        return False
    return True


@contextmanager
def lab(
    folder: Path,
    home: Path,
    variables: Mapping[str, str] | None = None,
    wrap: Sequence[str] = (),
    command: Sequence[str] = (sys.executable, "course.py", "lab"),
) -> Iterator[Lab]:
    """JupyterLab as a command in a folder starts it, without a browser of its own.

    `variables` are added to those of the environment; `wrap` is a command that starts the other.
    """
    kept = {k: v for k, v in os.environ.items() if not re.match("JUPYTER|MFLAGS|MAKE|XDG", k)}
    # Two that start at the same moment would take the same port, unless the system chooses it.
    kept |= {"HOME": str(home), "BROWSER": "true", "JUPYTER_PORT": "0", **(variables or {})}
    program = shutil.which(command[0], path=kept["PATH"]) or command[0]
    with TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            [*wrap, program, *command[1:]], cwd=folder, env=kept,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            deadline, told = time.monotonic() + SET_UP, None
            while not told or not listens(told[1]):
                time.sleep(0.2)
                log.seek(0)
                printed = log.read()
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(printed)
                told = re.search(r"(http://localhost:\d+/)\S*\?token=(\w+)\s", printed)
            yield Lab(process, *told.groups())
        finally:
            end(process)


class Kernel:
    """A kernel that a notebook of the course opens, over HTTP and WebSocket."""

    def __init__(self, lab: Lab, notebook: str) -> None:
        """Start it as JupyterLab does when `notebooks/NOTEBOOK.ipynb` is opened."""
        self.lab, self.stderr = lab, ""
        # Sessions are one for each path: another name in its folder is another student.
        body = {"path": f"notebooks/{uuid4().hex}.ipynb", "name": notebook, "type": "notebook"}
        answer = lab.ask("POST", "sessions", **body, kernel={"name": "python3"})
        self.id = answer.json()["kernel"]["id"]
        address = f"ws{lab.url.removeprefix('http')}api/kernels/{self.id}/channels"
        self.socket = create_connection(address, timeout=900, header=lab.headers)

    def send(self, code: str) -> str:
        """Ask the kernel to run some code; the name of the request."""
        name = uuid4().hex
        header = {"msg_id": name, "msg_type": "execute_request", "version": "5.3", "date": ""}
        header |= {"session": self.id, "username": "student"}
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        self.socket.send(json.dumps(message | {"channel": "shell"}))
        return name

    def outputs(self, name: str) -> Iterator[dict]:
        """The messages about a request, until the kernel is idle again."""
        while True:
            received = self.socket.recv()
            if isinstance(received, bytes):
                continue  # what a widget sends to its page
            message = json.loads(received)
            if message["parent_header"].get("msg_id") == name:
                yield message
                if message["content"].get("execution_state") == "idle":
                    return

    def run(self, code: str) -> str:
        """What some code prints; what it writes to stderr is added to `stderr`.

        Raises:
            FailedCellError: it raised an error.
        """
        printed, error = "", None
        for message in self.outputs(self.send(code)):
            content = message["content"]
            if message["msg_type"] == "error":
                error = f"{content['ename']}: {content['evalue']}"
            elif content.get("name") == "stderr":
                self.stderr += content["text"]
            elif message["msg_type"] == "stream":
                printed += content["text"]
        if error:
            raise FailedCellError(error)
        return printed

    def interrupt(self) -> None:
        """Press the stop button."""
        self.lab.ask("POST", f"kernels/{self.id}/interrupt")

    def close(self) -> None:
        """Shut the kernel down."""
        self.socket.close()
        self.lab.ask("DELETE", f"kernels/{self.id}")


def sources(notebook: str) -> list[str]:
    """The code of a student's copy, with the reduced parameters of the tests."""
    code = []
    for cell in nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4).cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code" and "solution" not in tags:
            reduced = REDUCED.get(notebook, {}) if "parameters" in tags else {}
            code += [cell.source, *(f"{name} = {value!r}" for name, value in reduced.items())]
    return code


def study(lab: Lab, notebook: str) -> dict:
    """Run all of a notebook in a kernel of its own: what it printed, needed, or failed with."""
    start, result = time.perf_counter(), {"error": None, "printed": "", "stderr": ""}
    try:
        kernel = Kernel(lab, notebook)
        for code in sources(notebook):
            result["printed"] += kernel.run(code)
        result["memory"], result["work"] = map(float, kernel.run(USED).split())
        result["stderr"] = kernel.stderr
        kernel.close()
    except Exception as error:  # a failure of one is a finding, not the end
        result["error"] = f"{type(error).__name__}: {error}"
    return result | {"seconds": time.perf_counter() - start}


@contextmanager
def least_free_memory() -> Iterator[list[float]]:
    """Watch the memory of the machine: GB free at the start, and at the worst."""
    free, done = [psutil.virtual_memory().available / 1e9] * 2, Event()

    def watch() -> None:
        while not done.wait(0.2):
            free[1] = min(free[1], psutil.virtual_memory().available / 1e9)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield free
    finally:
        done.set()
        thread.join()


def main() -> int:
    """Let STUDENTS run NOTEBOOK, report, and return 1 if one of them failed."""
    students = os.environ.get("STUDENTS", "8")
    notebook = os.environ.get("NOTEBOOK", "05_training")
    if not students.isdecimal() or int(students) < 1:
        print(f"STUDENTS: expected a whole number of at least 1, got {students}", file=sys.stderr)
        return 2
    if not (ROOT / "notebooks" / f"{notebook}.ipynb").is_file():
        print(f"NOTEBOOK: expected a name like 05_training, got {notebook}", file=sys.stderr)
        return 2
    students = int(students)
    with TemporaryDirectory() as home, lab(ROOT, Path(home)) as server:
        alone = study(server, notebook)
        with least_free_memory() as free, ThreadPoolExecutor(students) as threads:
            results = list(threads.map(lambda _: study(server, notebook), range(students)))
    failed = [each["error"] for each in results if each["error"]]
    print(f"{notebook}: {students} at once on {os.cpu_count()} cores")
    print(f"  finished {students - len(failed)}, failed {len(failed)}", *failed, sep="\n  ")
    if failed or alone["error"]:
        print(f"  alone: {alone['error'] or 'finished'}")
        return 1
    memory, work = max(r["memory"] for r in results), mean(r["work"] for r in results)
    slowest, together = max(r["seconds"] for r in results), free[0] - free[1]
    print(f"  alone {alone['seconds']:.0f} s; the slowest of all at once {slowest:.0f} s, ", end="")
    print(f"{slowest / alone['seconds']:.1f} times as long")
    print(f"  memory: {alone['memory']:.2f} GB alone, at most {memory:.2f} GB each, ", end="")
    print(f"{together:.1f} GB together")
    minutes = CLASS * work / 60
    print(f"  a class of {CLASS}: {CLASS * together / students:.0f} GB, and {minutes:.0f} minutes ")
    print(f"  of one core if all press Run All at once, {minutes / 8:.1f} minutes on eight cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())
