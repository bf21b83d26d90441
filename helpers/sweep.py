"""Many models at once: a sweep over settings, on the cores of this machine or on a cluster."""

from helpers.progress_line import progress_line

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack

import psutil
from dask.system import CPU_COUNT
from distributed import Client, Future, KilledWorker, LocalCluster, Security, as_completed
from distributed.comm import CommClosedError, get_address_host_port
from distributed.core import rpc
from distributed.system import MEMORY_LIMIT
from distributed.utils import silence_logging_cmgr

WORKER_MEMORY = 1.75e9  # bytes; no process of notebooks 7 to 9 took more than 1.70 GB
CONNECT_SECONDS = 10
_ONE_AT_A_TIME = threading.Lock()  # a cluster's worker may have threads, which share a model


def workers_that_fit() -> int:
    """How many training processes this machine has cores and free memory for."""
    memory = min(
        psutil.virtual_memory().available, MEMORY_LIMIT - psutil.Process().memory_info().rss
    )
    return max(0, min(CPU_COUNT, int(memory // WORKER_MEMORY)))


def sweep(
    train: Callable[[Hashable], object],
    settings: Iterable[Hashable],
    results: dict | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
) -> dict:
    """train(setting) for every setting, in parallel on Dask: a dict from setting to result.

    By default as many local processes work as fit into the machine, and with fewer than two,
    this process itself; `workers` sets their number, 0 for this process. `scheduler` names
    a Dask scheduler ("tcp://host:8786") whose workers can import what `train` needs, and
    takes its place. If `train` depends on its setting alone, the results are always the same.
    A setting whose worker dies is started again on another one.

    Each result is put into `results` as soon as it arrives, and settings found there are
    not trained again: after an interruption, the same call goes on from there.

    Raises:
        ConnectionError: no scheduler answers, it has no workers, or it was lost on the way.
        ...: what `train` raises, with the setting as a note.
    """
    results = {} if results is None else results
    settings = list(dict.fromkeys(settings))
    missing = [setting for setting in settings if setting not in results]
    if workers is None:
        workers = min(workers_that_fit(), len(missing))
        workers = workers if workers > 1 else 0
    update = progress_line("starting ...", "model")
    if missing and (workers or scheduler is not None):
        arriving = _on_dask(train, missing, scheduler, workers)
    else:
        arriving = ((setting, _call(train, setting)) for setting in missing)
    for setting, result in arriving:
        results[setting] = result
        update(sum(setting in results for setting in settings), len(settings))
    return {setting: results[setting] for setting in settings}


def _call(train: Callable[[Hashable], object], setting: Hashable) -> object:
    with _ONE_AT_A_TIME:
        try:
            return train(setting)
        except Exception as error:
            error.add_note(f"This was {train.__name__}({setting}).")
            raise


def _on_dask(
    train: Callable, missing: list, scheduler: str | None, workers: int
) -> Iterator[tuple[Hashable, object]]:
    with ExitStack() as stack:
        if scheduler is None:
            # Memory was weighed when the workers were counted; Dask need not pause them for it.
            cluster = LocalCluster(
                n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=":0",
                silence_logs=logging.CRITICAL,
            )  # fmt: skip
            client = stack.enter_context(Client(stack.enter_context(cluster)))
        else:
            stack.enter_context(silence_logging_cmgr(logging.CRITICAL))
            client = stack.enter_context(_connect(scheduler))
        futures = {client.submit(_call, train, each, pure=False): each for each in missing}
        try:
            # Not with_results: it waits forever if the scheduler is lost while a result is fetched.
            for future in as_completed(list(futures)):
                result = _result(future, train, futures[future])
                future.release()  # what has arrived is not computed again if its worker dies
                yield futures.pop(future), result
        except (CancelledError, CommClosedError) as error:
            raise ConnectionError(
                f"scheduler: {client.scheduler.address} was lost with {len(futures)} of "
                f"{len(missing)} models missing; the others are in results"
            ) from error


def _result(future: Future, train: Callable, setting: Hashable) -> object:
    try:
        return future.result()
    except KilledWorker as error:
        error.add_note(f"This was {train.__name__}({setting}).")
        raise


def _connect(scheduler: str) -> Client:
    advice = "start one with `dask scheduler` and `dask worker`, or leave the argument out"
    try:
        socket.create_connection(get_address_host_port(scheduler), CONNECT_SECONDS).close()
        with ThreadPoolExecutor(1) as thread:  # in a notebook, this one has a loop already
            kind = thread.submit(asyncio.run, _kind_of_server(scheduler)).result()
        if kind != "Scheduler":
            raise ValueError(f"the server there is a {kind}")
        client = Client(scheduler, timeout=CONNECT_SECONDS)
    except Exception as error:  # an answer in another protocol can raise anything
        raise ConnectionError(
            f"scheduler: expected the address of a Dask scheduler, got no answer from "
            f"{scheduler!r}; {advice}"
        ) from error
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError as error:
        client.close()
        raise ConnectionError(f"scheduler: {scheduler!r} has no workers; {advice}") from error
    return client


async def _kind_of_server(address: str) -> str:
    """Ask the server at `address`, since Client would wait forever for one that is silent."""
    arguments = Security().get_connection_args("client")
    async with asyncio.timeout(CONNECT_SECONDS):
        async with rpc(address, timeout=CONNECT_SECONDS, connection_args=arguments) as server:
            return (await server.identity())["type"]
