"""Sweeps that outlive the processes they run on."""

from helpers import on_dask
from helpers import sweep as module
from helpers.beta import train
from helpers.on_dask import WORKER_MEMORY, workers_that_fit
from helpers.sweep import sweep
from tests.fast.test_beta import SETTINGS, SHORT

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from distributed import Client

PATIENCE = 60  # seconds, for what takes a few on an idle machine
DASK = Path(sys.executable).with_name("dask")


def wait_for(condition):
    """What `condition` returns, as soon as that is true."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


# What the sweeps run in place of training: a setting is a file, in which it leaves its process
# id. At the top of a module, so that processes elsewhere can import it.


def note(setting):
    with setting.open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    return setting.name


def noted(setting):
    """The ids of the processes that ran a setting."""
    return [int(line) for line in setting.read_text("utf-8").split()] if setting.exists() else []


def be_killed_once(setting):
    """`note`, but the first attempt at the setting named "victim" does not end by itself."""
    note(setting)
    if setting.name == "victim" and len(noted(setting)) == 1:
        time.sleep(2 * PATIENCE)
        raise AssertionError("nobody killed this process")
    return setting.name


def fail_after_others(setting):
    """`note`, but the setting named "bad" waits for a sign and fails."""
    if setting.name == "bad":
        wait_for(setting.with_name("sign").exists)
        raise ZeroDivisionError("no reason")
    return note(setting)


class Arriving(dict):
    """Results that do something in the middle of a sweep."""

    def __init__(self, count, act):
        """Call `act` once, as soon as there are `count` results."""
        super().__init__()
        self.count, self.act = count, act

    def __setitem__(self, setting, result):
        """Take a result."""
        super().__setitem__(setting, result)
        if len(self) == self.count:
            self.act()


def kill_all(process):
    """Kill a process and what it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        one = psutil.Process(process.pid)
        for each in [*one.children(recursive=True), one]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait(PATIENCE)


@contextlib.contextmanager
def running(folder, *workers):
    """A scheduler's process and address, and workers with these options; at last all are killed."""
    with contextlib.ExitStack() as stack:

        def start(name, *arguments):
            command = [DASK, *arguments, "--no-dashboard"]
            with (folder / f"{name}.log").open("wb") as log:
                process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            stack.callback(kill_all, process)
            return process

        file = folder / "scheduler.json"
        options = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", file)
        scheduler = start("scheduler", "scheduler", *options)
        wait_for(lambda: file.exists() and file.read_text("utf-8").endswith("}"))
        address = json.loads(file.read_text("utf-8"))["address"]
        for number, options in enumerate(workers):
            start(f"worker-{number}", "worker", address, *options)
        yield scheduler, address


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a scheduler with two workers, started as a cluster's user would."""
    with running(tmp_path_factory.mktemp("cluster"), [], []) as (_, address):
        yield address


@pytest.fixture(scope="module", params=["local", "cluster"])
def place(request):
    """Where a sweep runs, as its arguments say it: two local processes, or the cluster."""
    local = request.param == "local"
    return {"workers": 2} if local else {"scheduler": request.getfixturevalue("cluster")}


def test_results_stand_in_the_order_of_the_settings():
    ran = []
    results = sweep(lambda setting: ran.append(setting) or -setting, [3, 1, 3, 2, 1], workers=0)
    assert list(results.items()) == [(3, -3), (1, -1), (2, -2)]
    assert ran == [3, 1, 2]


def test_results_fill_as_they_arrive_and_are_not_trained_again():
    results = {2: "known", 9: "of another sweep"}
    seen = []
    found = sweep(lambda _: seen.append({*results}), [1, 2, 3], results, workers=0)
    assert found == {1: None, 2: "known", 3: None}
    assert seen == [{2, 9}, {1, 2, 9}]
    assert {*results} == {1, 2, 3, 9}
    assert sweep(None, [3, 1], results) == {3: None, 1: None}
    assert sweep(None, [3], results, scheduler="tcp://nowhere:1") == {3: None}  # not asked for


def test_progress_counts_the_results(monkeypatch):
    shown = []
    monkeypatch.setattr(module, "progress_line", lambda *_: lambda *counts: shown.append(counts))
    sweep(str, [1, 2, 3, 4], {2: "known", 9: "of another sweep"}, workers=0)
    assert shown == [(2, 4), (3, 4), (4, 4)]


def test_an_error_names_its_setting_and_keeps_what_was_finished():
    results = {}
    with pytest.raises(ZeroDivisionError) as caught:
        sweep(lambda setting: 1 / setting, [2, 1, 0, 4], results, workers=0)
    assert "(0)" in caught.value.__notes__[0]
    assert results == {2: 0.5, 1: 1.0}
    with pytest.raises(ValueError, match=r"^beta: expected") as caught:
        sweep(train, [SHORT._replace(beta=-1.0)], workers=0)
    assert "train(Setting(beta=-1.0, seed=1," in caught.value.__notes__[0]


def test_an_interrupt_keeps_what_was_finished():
    def interrupted(setting):
        if setting == 2:
            raise KeyboardInterrupt
        return setting

    results = {}
    with pytest.raises(KeyboardInterrupt):
        sweep(interrupted, [0, 1, 2, 3], results, workers=0)
    assert results == {0: 0, 1: 1}
    assert sweep(str, [0, 1, 2, 3], results, workers=0) == {0: 0, 1: 1, 2: "2", 3: "3"}


def test_the_numbers_are_the_same_everywhere(place, monkeypatch):
    # Less than the processes take: Dask must not pause them for it.
    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", 10**9)
    arrived = {}
    there = sweep(train, SETTINGS, arrived, **place)
    np.testing.assert_equal(there, sweep(train, SETTINGS, workers=0))
    assert {*arrived} == {*SETTINGS}


def test_a_killed_worker_costs_only_what_it_was_running(place, tmp_path):
    victim, arrived = tmp_path / "victim", []

    def kill():
        [pid] = wait_for(lambda: noted(victim))
        arrived.extend(results)
        # Dask hears of an arrival a moment later; until then the result would count as lost.
        client = Client.current()
        wait_for(lambda: {*client.who_has()} <= {*client.futures})
        psutil.Process(pid).kill()

    # The last in the queue. Two at most may be stuck behind it, in the other thread of its
    # worker and in what was sent there beforehand.
    settings = [*(tmp_path / name for name in "0123456"), victim]
    results = Arriving(5, kill)
    expected = {setting: setting.name for setting in settings}
    assert sweep(be_killed_once, settings, results, **place) == results == expected
    assert [len(noted(setting)) for setting in arrived] == [1] * 5
    killed, again = noted(victim)
    assert killed != again
    assert os.getpid() not in {pid for setting in settings for pid in noted(setting)}


def test_an_error_on_a_cluster_names_its_setting_and_keeps_what_was_finished(cluster, tmp_path):
    settings = [tmp_path / name for name in ("0", "1", "2", "bad")]
    results = Arriving(1, (tmp_path / "sign").touch)
    with pytest.raises(ZeroDivisionError, match="no reason") as caught:
        sweep(fail_after_others, settings, results, scheduler=cluster)
    assert str(settings[-1]) in caught.value.__notes__[0]
    assert results
    assert all(result == setting.name for setting, result in results.items())


def test_a_lost_scheduler_keeps_what_was_finished(tmp_path):
    settings = [tmp_path / name for name in ("0", "1", "victim")]
    with running(tmp_path, ["--nthreads", "1"]) as (scheduler, address):

        def kill():
            wait_for(lambda: noted(settings[2]))
            kill_all(scheduler)

        results = Arriving(2, kill)
        with pytest.raises(ConnectionError, match=f"^scheduler: {address} was lost .* 1 of 3"):
            sweep(be_killed_once, settings, results, scheduler=address)
    assert results == {settings[0]: "0", settings[1]: "1"}


@contextlib.contextmanager
def listening(greeting):
    """The address of a server that greets whoever connects, if with anything, and is silent."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet():
            with contextlib.suppress(OSError):  # closed at last
                while True:
                    connection, _ = server.accept()
                    connection.sendall(greeting)
                    connections.append(connection)

        connections = []
        thread = threading.Thread(target=greet)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in connections:
            connection.close()


def assert_unreachable(address):
    results = {0: "known"}
    with pytest.raises(ConnectionError, match=r"^scheduler: ") as caught:
        sweep(str, [0, 1], results, scheduler=address)
    assert repr(address) in str(caught.value)
    assert results == {0: "known"}


def free_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("address", ["", "nonsense", "tcp://", "no://where:1"])
def test_an_address_that_is_none_is_an_error(address):
    assert_unreachable(address)


def test_a_scheduler_that_is_not_there_is_an_error():
    assert_unreachable(free_address())


@pytest.mark.parametrize(
    ("scheme", "greeting"), [("tcp", b""), ("tls", b""), ("tcp", b"SSH-2.0-OpenSSH_9.6\r\n")]
)
def test_a_server_that_is_no_scheduler_is_an_error(scheme, greeting, monkeypatch):
    monkeypatch.setattr(on_dask, "CONNECT_SECONDS", 1)
    with listening(greeting) as address:
        assert_unreachable(address.replace("tcp", scheme))


def test_a_scheduler_without_workers_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(on_dask, "CONNECT_SECONDS", 1)
    with running(tmp_path) as (_, address):
        assert_unreachable(address)


# A notebook's functions are in no module that a worker could import; `python -c` is like that.
NOTEBOOK = """
import helpers
from helpers import on_dask, sweep
import os
import sys

def add(setting):
    return os.getpid(), setting + offset

offset = 40
for address in {addresses}:
    try:
        on_dask.CONNECT_SECONDS = 1
        sweep.sweep(add, [1], scheduler=address)
    except ConnectionError:
        print("unreachable")
print("from here on Dask may warn", file=sys.stderr, flush=True)
results = sweep.sweep(add, [1, 2, 3], workers=1)
print([result for _, result in results.values()])
print(len({{pid for pid, _ in results.values()}} - {{os.getpid()}}), "process")
"""


def test_a_notebook_sweeps_its_own_functions_and_errors_come_without_noise(tmp_path):
    with listening(b"") as silent:
        code = NOTEBOOK.format(addresses=["nonsense", free_address(), silent])
        command, limit = [sys.executable, "-c", code], 3 * PATIENCE
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=limit)
    assert done.stderr.startswith("from here on Dask may warn")
    assert done.stdout.splitlines() == ["unreachable"] * 3 + ["[41, 42, 43]", "1 process"]


@pytest.mark.parametrize(
    ("cores", "free", "limit", "fit"),
    [(4, 9.5, 99, 4), (8, 3.5, 99, 3), (8, 99, 2.5, 2), (8, 0.5, 99, 0), (8, 99, -0.5, 0)],
)
def test_workers_fit_into_cores_and_memory(monkeypatch, cores, free, limit, fit):
    available = SimpleNamespace(available=free * WORKER_MEMORY)
    own = psutil.Process().memory_info().rss
    monkeypatch.setattr(on_dask, "CPU_COUNT", cores)
    monkeypatch.setattr(on_dask, "MEMORY_LIMIT", own + limit * WORKER_MEMORY)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: available)
    assert workers_that_fit() == fit


def test_local_workers_keep_the_memory_that_they_need_again(monkeypatch):
    """With it, glibc gives freed arrays back at once, and small networks train more slowly."""
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    assert sweep(os.getenv, ["MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS"], workers=2) == {
        "MALLOC_TRIM_THRESHOLD_": None, "OMP_NUM_THREADS": "1",
    }  # fmt: skip


@pytest.mark.parametrize(("fit", "settings"), [(0, [1, 2]), (1, [1, 2]), (8, [1]), (8, [])])
def test_fewer_than_two_workers_are_this_process(monkeypatch, fit, settings):
    monkeypatch.setattr(on_dask, "workers_that_fit", lambda: fit)
    results = sweep(lambda _: os.getpid(), settings)
    assert results == dict.fromkeys(settings, os.getpid())


def test_without_dask_sweeps_train_in_the_kernel(monkeypatch):
    for name in ("dask", "distributed"):
        monkeypatch.setitem(sys.modules, name, None)
    assert sweep(lambda _: os.getpid(), [1, 2]) == dict.fromkeys([1, 2], os.getpid())
    assert sweep(str, [1], {1: "known"}, workers=2) == {1: "known"}
    for argument in ({"workers": 2}, {"scheduler": "tcp://127.0.0.1:1"}):
        with pytest.raises(ModuleNotFoundError, match=f"^{next(iter(argument))}: expected Dask"):
            sweep(str, [1], **argument)


def test_dask_is_imported_when_it_is_needed():
    code = "import sys, helpers.beta, helpers.deeper, helpers.evaluation; from helpers.sweep import"
    code += " sweep; sweep(str, [1], workers=0); print({'dask', 'distributed'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
