"""Importing this proves that the process is elsewhere, as sitecustomize.py beside it makes it."""

import io
import locale
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path


def stored(write):
    """The bytes of a file in which `write` has left a word."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "word"
        write(path)
        return path.read_bytes()


def by_open(path):
    """Write without an encoding, as `open` is mostly called."""
    with open(path, "w") as file:
        file.write("ü")


def by_wrapper(path):
    """Write through a stream made of another."""
    with open(path, "wb") as file, io.TextIOWrapper(file) as text:
        text.write("ü")


assert not any(hasattr(signal, name) for name in ("SIGALRM", "alarm", "setitimer"))
assert not any(hasattr(os, name) for name in ("fork", "forkpty", "killpg"))
try:
    import resource  # noqa: F401
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("the module resource is there")
assert locale.getpreferredencoding() == locale.getpreferredencoding(False) == "cp1252"
assert locale.getencoding() == "cp1252"
for write in (by_open, by_wrapper, lambda path: path.write_text("ü")):
    assert stored(write) == b"\xfc"
assert stored(lambda path: path.write_text("ü", encoding="utf-8")) == b"\xc3\xbc"
command = [sys.executable, "-c", r"print('\u00fc')"]  # of a process started from here
assert subprocess.run(command, capture_output=True).stdout.rstrip() == b"\xfc"
assert subprocess.run(command, capture_output=True, text=True).stdout == "ü\n"
print("elsewhere")
