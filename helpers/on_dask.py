"""What a sweep does on Dask: workers on the cores of this machine, or a cluster's."""

import asyncio
import logging
import socket
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack

import dask
import psutil
from dask.system import CPU_COUNT
from distributed import Client, KilledWorker, LocalCluster, Security, as_completed
from distributed.comm import CommClosedError, get_address_host_port
from distributed.core import rpc
from distributed.system import MEMORY_LIMIT
from distributed.utils import silence_logging_cmgr

WORKER_MEMORY = 1.75e9  # bytes; no process of notebooks 7 to 9 took more than 1.70 GB
CONNECT_SECONDS = 10
ENVIRONMENT = "distributed.nanny.pre-spawn-environ"  # Dask's setting: what its processes get


def workers_that_fit() -> int:
    """How many training processes this machine has cores and free memory for."""
    memory = min(
        psutil.virtual_memory().available, MEMORY_LIMIT - psutil.Process().memory_info().rss
    )
    return max(0, min(CPU_COUNT, int(memory // WORKER_MEMORY)))


def results_on_dask(
    train: Callable, missing: list, scheduler: str | None, workers: int
) -> Iterator[tuple[Hashable, object]]:
    """Each setting with train(setting), as they arrive; see `helpers.sweep.sweep`."""
    with ExitStack() as stack:
        if scheduler is None:
            # Dask would have them give freed memory back to the system at once, and fetch it anew
            # for each chunk of batches: the course's network trained 1.6 times as long.
            given = {k: v for k, v in dask.config.get(ENVIRONMENT).items() if "TRIM" not in k}
            stack.enter_context(dask.config.set({ENVIRONMENT: given}))
            # Memory was weighed when the workers were counted; Dask need not pause them for it.
            cluster = LocalCluster(
                n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=":0",
                silence_logs=logging.CRITICAL,
            )  # fmt: skip
            client = stack.enter_context(Client(stack.enter_context(cluster)))
        else:
            stack.enter_context(silence_logging_cmgr(logging.CRITICAL))
            client = stack.enter_context(_connect(scheduler))
        futures = {client.submit(train, each, pure=False): each for each in missing}
        try:
            # Not with_results: it waits forever if the scheduler is lost while a result is fetched.
            for future in as_completed(list(futures)):
                result = future.result()
                future.release()  # what has arrived is not computed again if its worker dies
                yield futures.pop(future), result
        except KilledWorker as error:
            error.add_note(f"This was the setting {futures[future]}.")
            raise
        except (CancelledError, CommClosedError) as error:
            raise ConnectionError(
                f"scheduler: {client.scheduler.address} was lost with {len(futures)} of "
                f"{len(missing)} models missing; the others are in results"
            ) from error


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
