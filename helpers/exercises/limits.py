"""Running an answer so that it does no harm: for a limited time, and in silence."""

import contextlib
import ctypes
import io
import threading
import time
import warnings
from collections.abc import Callable, Iterator

GRACE = 1.0  # seconds that an answer has to end once it is told to


class TooSlow(BaseException):
    """An answer took longer than it may, and whether it could be `stopped`."""

    stopped = True


def limited(seconds: float, function: Callable, *arguments: object) -> object:
    """function(*arguments), in a thread of its own, on any system.

    Raises:
        TooSlow: it took longer. It is then stopped by an exception at its next line of Python;
            what never comes to one is left behind.
        BaseException: what it raised.
    """
    ended, done = {}, threading.Event()

    def run() -> None:
        try:
            ended["result"] = function(*arguments)
        except BaseException as error:  # SystemExit, too, which is silent in a thread
            ended["error"] = error
        done.set()

    thread = threading.Thread(target=run, daemon=True)
    slow, deadline = TooSlow(), time.monotonic() + seconds
    try:
        thread.start()
        while not done.is_set() and time.monotonic() < deadline:
            done.wait(min(seconds, 0.5))  # Windows hears of the stop button only in between
    finally:
        late, deadline = not done.is_set(), time.monotonic() + GRACE
        while thread.ident and not done.is_set() and time.monotonic() < deadline:
            # Again and again: an answer might catch it.
            number = ctypes.c_ulong(thread.ident)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(number, ctypes.py_object(TooSlow))
            done.wait(GRACE / 5)
    if late:
        slow.stopped = done.is_set()
        raise slow
    if "error" in ended:
        raise ended["error"]
    return ended["result"]


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Swallow what an answer prints, and its warnings."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(action="ignore"),
    ):
        yield
