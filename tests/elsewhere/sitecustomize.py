"""Make this Python lack what it lacks on Windows, and give text the encoding that it has there.

Python imports this file as it starts if PYTHONPATH names its folder: in a process with that
variable, in those that it starts, and in kernels. Standard streams are left to PYTHONIOENCODING.
"""

import builtins
import io
import locale
import os
import signal

ENCODING = "cp1252"
ABSENT = {signal: "SIGALRM alarm setitimer", os: "fork forkpty killpg"}
# These ask which system they run on, and need it on this one.
MAY_IMPORT_RESOURCE = "psutil._pslinux", "ptyprocess.ptyprocess", "distributed.cli.dask_scheduler"

plain_import, plain_open, Wrapper = builtins.__import__, io.open, io.TextIOWrapper


def import_all_but_resource(name, globals=None, *rest, **options):
    """`import`, which does not find the module `resource`, even if it was imported before."""
    importer = (globals or {}).get("__name__")
    if name == "resource" and importer not in MAY_IMPORT_RESOURCE:
        raise ModuleNotFoundError("No module named 'resource'", name="resource")
    return plain_import(name, globals, *rest, **options)


def open_here(file, mode="r", buffering=-1, encoding=None, *rest, **options):
    """`open` with the encoding of this folder where none is given."""
    if "b" not in mode and encoding in (None, "locale"):
        encoding = ENCODING
    return plain_open(file, mode, buffering, encoding, *rest, **options)


class Kind(type(Wrapper)):
    """What makes a file of `open` an instance of io.TextIOWrapper, as it was."""

    def __instancecheck__(cls, thing):
        """Whether it is one of the class, in whose place the subclass stands."""
        return type.__instancecheck__(Wrapper if cls is WrapperHere else cls, thing)


class WrapperHere(Wrapper, metaclass=Kind):
    """`io.TextIOWrapper` in the same way; subprocess makes its streams with it."""

    def __init__(self, buffer, encoding=None, *rest, **options):
        """Take what it takes."""
        encoding = ENCODING if encoding in (None, "locale") else encoding
        super().__init__(buffer, encoding, *rest, **options)


for module, names in ABSENT.items():
    for name in names.split():
        vars(module).pop(name, None)
builtins.__import__, io.TextIOWrapper = import_all_but_resource, WrapperHere
builtins.open = io.open = open_here
locale.getencoding = lambda: ENCODING
locale.getpreferredencoding = lambda do_setlocale=True: ENCODING
