"""Many models at once: a sweep over settings, on the cores of this machine or on a cluster.

Dask is imported when a sweep first needs it. Where it is missing, sweeps train in the kernel.
"""

from helpers.argument_checks import check_whole
from helpers.progress_line import progress_line

import threading
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from importlib.util import find_spec

_ONE_AT_A_TIME = threading.Lock()  # a cluster's worker may have threads, which share a model


def sweep(
    train: Callable[[Hashable], object],
    settings: Iterable[Hashable],
    results: dict | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
) -> dict:
    """train(setting) for every setting, in parallel on Dask: a dict from setting to result.

    By default as many local processes work as fit into the machine, and with fewer than two,
    or without Dask, this process itself; `workers` sets their number, 0 for this process.
    `scheduler` names a Dask scheduler ("tcp://host:8786") whose workers can import what `train`
    needs, and takes its place. If `train` depends on its setting alone, the results are always
    the same. A setting whose worker dies is started again on another one.

    Each result is put into `results` as soon as it arrives, and settings found there are
    not trained again: after an interruption, the same call goes on from there.

    Raises:
        ModuleNotFoundError: workers or a scheduler are asked for, and Dask is missing.
        ValueError: `workers` is no whole number of at least 0.
        ConnectionError: no scheduler answers, it has no workers, or it was lost on the way.
        ...: what `train` raises, with the setting as a note.
    """
    if workers is not None:
        workers = check_whole("workers", workers, 0)
    results = {} if results is None else results
    settings = list(dict.fromkeys(settings))
    missing = [setting for setting in settings if setting not in results]
    train = partial(_call, train)
    arriving = ((setting, train(setting)) for setting in missing)  # in this process
    asked = scheduler is not None or bool(workers)
    if missing and (asked or workers is None):
        if find_spec("distributed"):
            from helpers.on_dask import results_on_dask, workers_that_fit

            if not asked:
                workers = min(workers_that_fit(), len(missing))
            if asked or workers > 1:
                arriving = results_on_dask(train, missing, scheduler, workers)
        elif asked:
            what = "workers" if scheduler is None else "scheduler"
            raise ModuleNotFoundError(
                f"{what}: expected Dask to be installed, and it is not; `pip install distributed`, "
                "or leave the argument out to train in the kernel"
            )
    update = progress_line("starting ...", "model")
    for setting, result in arriving:
        results[setting] = result
        update(sum(setting in results for setting in settings), len(settings))
    return {setting: results[setting] for setting in settings}


def _call(train: Callable[[Hashable], object], setting: Hashable) -> object:
    with _ONE_AT_A_TIME:
        try:
            return train(setting)
        except Exception as error:
            error.add_note(f"This was {getattr(train, '__name__', train)}({setting}).")
            raise
