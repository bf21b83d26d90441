"""The loss with knobs, told by a plain one, and sweeps that outlive the processes they run on."""

from helpers import beta
from helpers.beta import (
    WORKER_MEMORY,
    BetaVAE,
    Setting,
    active_units,
    aggregate_covariance,
    draw_weights,
    kl_by_unit,
    objective,
    sweep,
    train,
    workers_that_fit,
)
from helpers.encoder import build_encoder
from helpers.loss import kl_divergence
from helpers.sampling import add_sampling
from helpers.training import build_vae
from tests.fast.test_training import FixedNoise

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import psutil
import pytest
import tensorflow as tf
from distributed import Client

PATIENCE = 60  # seconds, for what takes a few on an idle machine
DASK = Path(sys.executable).with_name("dask")
SHORT = Setting(epochs=1, images=640)
SETTINGS = [
    SHORT._replace(beta=4.0),
    SHORT._replace(seed=2, reconstruction_weight=0.5),
    SHORT._replace(warm_up=10, beta_start=0.5, free_nats=0.5),
]


def wait_for(condition):
    """What `condition` returns, as soon as that is true."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


# What the sweeps run in place of training: it leaves its process id in the folder of its
# setting. At the top of a module, so that processes elsewhere can import it.


def note(setting):
    folder, name = setting
    with Path(folder, str(name)).open("a") as file:
        file.write(f"{os.getpid()}\n")
    return name


def noted(setting):
    """The ids of the processes that ran a setting."""
    file = Path(setting[0], str(setting[1]))
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def be_killed_once(setting):
    """`note`, but the first attempt at the setting named "victim" does not end by itself."""
    note(setting)
    if setting[1] == "victim" and len(noted(setting)) == 1:
        time.sleep(2 * PATIENCE)
        raise AssertionError("nobody killed this process")
    return setting[1]


def fail_after_others(setting):
    """`note`, but the setting named "bad" waits for a sign and fails."""
    if setting[1] == "bad":
        wait_for(Path(setting[0], "sign").exists)
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


@contextlib.contextmanager
def running(folder):
    """A function that starts `dask` with its arguments; all that it started is killed at last."""
    started = []

    def start(*arguments):
        log = (folder / f"{arguments[0]}-{len(started)}.log").open("w")
        with log:
            process = subprocess.Popen(
                [DASK, *arguments, "--no-dashboard"],
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a group of its own, with the nanny's children
            )
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            kill_group(process)


def kill_group(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)


def start_scheduler(start, folder):
    """A scheduler's process and its address."""
    file = folder / "scheduler.json"
    process = start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", file)
    wait_for(lambda: file.exists() and file.read_text().endswith("}"))
    return process, json.loads(file.read_text())["address"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a scheduler with two workers, started as a cluster's user would."""
    folder = tmp_path_factory.mktemp("cluster")
    with running(folder) as start:
        _, address = start_scheduler(start, folder)
        for _ in range(2):
            start("worker", address)
        yield address


@pytest.fixture(scope="module", params=["local", "cluster"])
def place(request):
    """Where a sweep runs, as its arguments say it: two local processes, or the cluster."""
    if request.param == "local":
        return {"workers": 2}
    return {"scheduler": request.getfixturevalue("cluster")}


@pytest.fixture
def codes():
    rng = np.random.default_rng(0)
    z_mean = rng.normal(size=(50, 3)) @ [[1, 0.5, 0], [0, 2, 0], [0, 0.3, 0.1]] + [0, 1, 2]
    return z_mean.astype("float32"), rng.normal(-1, 1, (50, 3)).astype("float32")


def test_kl_by_unit_sums_to_the_kl_divergence(codes):
    kl = kl_by_unit(*codes)
    assert kl.shape == (50, 3)
    np.testing.assert_allclose(np.sum(kl, axis=1), kl_divergence(*codes), rtol=1e-5)
    np.testing.assert_allclose(kl_by_unit(np.zeros((1, 2)), np.zeros((1, 2))), 0)


def test_active_units_vary_by_more_than_the_threshold():
    signs = np.array([[1.0], [-1.0]])
    z_mean = 5 + signs * np.sqrt([0.0, 0.009, 0.011, 4.0])  # these variances, around 5
    assert active_units(z_mean).tolist() == [False, False, True, True]
    assert active_units(z_mean, threshold=0.01).tolist() == [False, False, True, True]
    assert active_units(z_mean, threshold=1).tolist() == [False, False, False, True]


def test_aggregate_covariance_is_that_of_samples(codes):
    z_mean, z_log_var = codes
    n = 200_000
    rng = np.random.default_rng(1)
    chosen = rng.integers(len(z_mean), size=n)
    z = z_mean[chosen] + np.exp(z_log_var[chosen] / 2) * rng.normal(size=(n, 3))
    centred = z - z.mean(axis=0)
    error = (centred[:, :, None] * centred[:, None, :]).std(axis=0) / np.sqrt(n)
    assert np.all(abs(aggregate_covariance(*codes) - np.cov(z.T)) < 5 * error)
    assert error.max() < 0.02  # so the comparison means something


def test_aggregate_covariance_of_a_known_case():
    z_mean = np.array([[1.0, 2.0], [-1.0, -2.0]])
    z_log_var = np.log([[1.0, 3.0], [3.0, 5.0]])
    np.testing.assert_allclose(aggregate_covariance(z_mean, z_log_var), [[1 + 2, 2], [2, 4 + 4]])
    assert aggregate_covariance(z_mean[:, :1], z_log_var[:, :1]).shape == (1, 1)


def test_objective_charges_each_unit_for_free_nats_at_least():
    kl = np.array([1.0, 3.0], "float32")
    np.testing.assert_allclose(objective(100.0, kl, 2.0), 100 + 2 * (1 + 3))
    np.testing.assert_allclose(objective(100.0, kl, 2.0, 2.5, 0.5), 50 + 2 * (2.5 + 3))


@pytest.fixture
def batch(mnist):
    """Six images, of which the last is padding, and their weights."""
    return mnist.x_train[:6].astype("float32") / 255, np.array([1, 1, 1, 1, 1, 0], "float32")


def build(**knobs):
    """A BetaVAE whose gradient can be read off: plain descent, known noise."""
    encoder = add_sampling(build_encoder(), FixedNoise(name="z"))
    vae = draw_weights(BetaVAE(Setting(**knobs), encoder), 1)
    vae.compile(optimizer=keras.optimizers.SGD(1.0))
    return vae


def plain_gradient(vae, x, reconstruction_weight=1.0, beta=1.0, free_nats=0.0):
    """The gradient of the loss, its value and the KL of each unit, written out for images x."""
    with tf.GradientTape() as tape:
        mean, log_var, z = vae.encoder(x)
        pixels = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=vae.decoder(z))
        kl = tf.reduce_mean(tf.square(mean) + tf.exp(log_var) - log_var - 1, axis=0) / 2
        charged = tf.where(kl > free_nats, kl, free_nats)
        reconstruction = tf.reduce_mean(tf.reduce_sum(pixels, axis=1))
        loss = reconstruction_weight * reconstruction + beta * tf.reduce_sum(charged)
    gradient = tape.gradient(loss, vae.trainable_variables)
    return [g.numpy() for g in gradient], reconstruction.numpy(), kl.numpy()


def descent(vae, batch):
    """How far one step moves each weight, and the two terms that it reports."""
    before = [variable.numpy() for variable in vae.trainable_variables]
    terms = vae.descend(*batch)
    after = [variable.numpy() for variable in vae.trainable_variables]
    return [a - b for a, b in zip(before, after, strict=True)], terms


def assert_close(arrays, others):
    for array, other in zip(arrays, others, strict=True):
        np.testing.assert_allclose(array, other, atol=1e-4 * abs(other).max())


def test_default_knobs_train_as_the_plain_vae(mnist):
    plain, vae = build_vae(seed=3), BetaVAE(Setting(seed=3))
    vae.compile(optimizer="adam")
    vae.set_weights(plain.get_weights())
    histories = [model.fit(mnist.x_train[:330], seed=4).history for model in (plain, vae)]
    for weight, other in zip(plain.get_weights(), vae.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, atol=2e-5)
    for name in ("reconstruction_loss", "kl_divergence"):
        np.testing.assert_allclose(*[history[name] for history in histories], rtol=1e-4)


def test_knobs_weigh_the_terms(batch):
    vae = build(beta=3.0, reconstruction_weight=0.25)
    expected, reconstruction, kl = plain_gradient(vae, batch[0][:5], 0.25, 3.0)
    moved, terms = descent(vae, batch)
    assert_close(moved, expected)
    np.testing.assert_allclose(terms, [5 * reconstruction, 5 * kl.sum()], rtol=1e-5)


@pytest.mark.parametrize(
    ("start", "betas"), [(0.0, (0.1, 0.2, 0.3, 0.3)), (0.5, (0.2, 0.25, 0.3, 0.3))]
)
def test_warm_up_is_linear_in_the_steps(batch, start, betas):
    vae = build(beta=0.3, warm_up=3, beta_start=start, reconstruction_weight=0.0)
    for effective in betas:
        expected, _, _ = plain_gradient(vae, batch[0][:5], 0.0, effective)
        assert_close(descent(vae, batch)[0], expected)


def test_free_nats_spare_the_units_below(batch):
    _, _, kl = plain_gradient(build(), batch[0][:5])
    free_nats = float(kl.mean())
    vae = build(reconstruction_weight=0.0, free_nats=free_nats)
    expected, _, _ = plain_gradient(vae, batch[0][:5], 0.0, 1.0, free_nats)
    moved, terms = descent(vae, batch)
    assert_close(moved, expected)
    np.testing.assert_allclose(terms[1], 5 * kl.sum(), rtol=1e-5)  # what is reported is all of it
    z_mean_kernel = moved[2]
    assert z_mean_kernel.shape == (64, 2)
    np.testing.assert_array_equal(abs(z_mean_kernel).max(axis=0) > 0, kl > free_nats)


def test_without_reconstruction_the_posterior_becomes_the_prior():
    result = train(SHORT._replace(reconstruction_weight=0.0, epochs=20))
    assert result["kl_divergence"] < 0.01
    assert result["history"]["kl_divergence"][0] > 0.1


def test_weights_are_drawn_from_their_seed_alone():
    drawn = []
    for state, seed in ((1, 5), (2, 5), (2, 6)):
        keras.utils.set_random_seed(state)
        vae = build_vae()
        assert draw_weights(vae, seed) is vae
        drawn.append(vae.get_weights())
    np.testing.assert_equal(drawn[0], drawn[1])
    kernels = [[weight for weight in weights if weight.ndim == 2] for weights in drawn]
    for kernel, other in zip(kernels[1], kernels[2], strict=True):
        limit = np.sqrt(6 / sum(kernel.shape))
        assert 0.9 * limit < abs(kernel).max() <= limit
        assert not np.isclose(kernel, other).all()
    assert not np.isclose(kernels[0][1], kernels[0][2]).all()  # two heads of one shape
    assert not any(weight.any() for weight in drawn[0] if weight.ndim == 1)


def test_a_setting_gives_the_same_numbers_whatever_was_trained_before(monkeypatch):
    monkeypatch.setattr(beta, "_compiled", {})
    first = train(SETTINGS[0])
    np.testing.assert_equal(train(SETTINGS[0]), first)
    monkeypatch.setattr(beta, "_compiled", {})
    others = [train(setting) for setting in SETTINGS[1:]]
    np.testing.assert_equal(train(SETTINGS[0]), first)
    assert len({result["reconstruction_loss"] for result in (first, *others)}) == 3
    history = first["history"]
    pairs = zip(history["reconstruction_loss"], history["kl_divergence"], strict=True)
    np.testing.assert_allclose(history["loss"], [d + 4 * r for d, r in pairs])


def test_settings_of_one_size_share_a_compiled_model(monkeypatch):
    train(SETTINGS[0])
    monkeypatch.setattr(beta, "objective", None)  # called when a step is traced
    for setting in SETTINGS[1:]:
        train(setting)


@pytest.mark.parametrize("latent_dim", [2, 3])
def test_weights_give_what_was_reported(mnist, latent_dim):
    result = train(SHORT._replace(latent_dim=latent_dim, epochs=2))
    vae = build_vae(latent_dim)
    vae.set_weights(result["weights"])
    measured = vae.evaluate(mnist.x_test)
    assert result["kl_divergence"] == pytest.approx(measured["kl_divergence"], rel=1e-4)
    # Other noise; over 10,000 images little of it is left.
    assert result["reconstruction_loss"] == pytest.approx(measured["reconstruction_loss"], rel=2e-3)
    before, after = result["history"]["reconstruction_loss"]
    assert result["reconstruction_loss"] < after < before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beta", -1),
        ("beta", np.nan),
        ("beta", "1"),
        ("seed", -1),
        ("seed", 1.5),
        ("epochs", 0),
        ("latent_dim", 0),
        ("reconstruction_weight", -1),
        ("warm_up", -1),
        ("beta_start", -1),
        ("free_nats", np.inf),
        ("images", 0),
        ("images", 10**6),
    ],
)
def test_bad_settings_are_rejected(name, value):
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        train(SHORT._replace(**{name: value}))


def test_results_stand_in_the_order_of_the_settings():
    ran = []
    results = sweep(lambda setting: ran.append(setting) or -setting, [3, 1, 3, 2, 1], workers=0)
    assert list(results.items()) == [(3, -3), (1, -1), (2, -2)]
    assert ran == [3, 1, 2]


def test_results_fill_as_they_arrive_and_are_not_trained_again():
    results = {2: "known", 9: "of another sweep"}
    seen = []
    assert sweep(lambda _: seen.append({*results}), [1, 2, 3], results, workers=0) == {
        1: None,
        2: "known",
        3: None,
    }
    assert seen == [{2, 9}, {1, 2, 9}]
    assert {*results} == {1, 2, 3, 9}
    assert sweep(None, [3, 1], results) == {3: None, 1: None}
    assert sweep(None, [3], results, scheduler="tcp://nowhere:1") == {3: None}  # not asked for


def test_progress_counts_the_results(monkeypatch):
    shown = []
    monkeypatch.setattr(beta, "progress_line", lambda *_: lambda *counts: shown.append(counts))
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
    np.testing.assert_equal(
        sweep(train, SETTINGS, arrived, **place), sweep(train, SETTINGS, workers=0)
    )
    assert {*arrived} == {*SETTINGS}


def test_a_killed_worker_costs_only_what_it_was_running(place, tmp_path):
    folder = str(tmp_path)
    others = [(folder, name) for name in range(7)]
    victim = (folder, "victim")
    arrived = []

    def kill():
        [pid] = wait_for(lambda: noted(victim))
        arrived.extend(results)
        # Dask hears of an arrival a moment later; until then the result would count as lost.
        client = Client.current()
        wait_for(lambda: {*client.who_has()} <= {*client.futures})
        os.kill(pid, signal.SIGKILL)

    # The last in the queue. Two at most may be stuck behind it, in the other thread of its
    # worker and in what was sent there beforehand.
    results = Arriving(5, kill)
    settings = [*others, victim]
    expected = {setting: setting[1] for setting in settings}
    assert sweep(be_killed_once, settings, results, **place) == results == expected
    assert [len(noted(setting)) for setting in arrived] == [1] * 5
    killed, again = noted(victim)
    assert killed != again
    assert os.getpid() not in {pid for setting in settings for pid in noted(setting)}


def test_an_error_on_a_cluster_names_its_setting_and_keeps_what_was_finished(cluster, tmp_path):
    settings = [(str(tmp_path), name) for name in (0, 1, 2, "bad")]
    results = Arriving(1, (tmp_path / "sign").touch)
    with pytest.raises(ZeroDivisionError, match="no reason") as caught:
        sweep(fail_after_others, settings, results, scheduler=cluster)
    assert str(settings[-1]) in caught.value.__notes__[0]
    assert results
    assert all(result == setting[1] for setting, result in results.items())


def test_a_lost_scheduler_keeps_what_was_finished(tmp_path):
    settings = [(str(tmp_path), name) for name in (0, 1, "victim")]
    with running(tmp_path) as start:
        scheduler, address = start_scheduler(start, tmp_path)
        start("worker", address, "--nthreads", "1")

        def kill():
            wait_for(lambda: noted(settings[2]))
            kill_group(scheduler)

        results = Arriving(2, kill)
        with pytest.raises(ConnectionError, match=f"^scheduler: {address} was lost .* 1 of 3"):
            sweep(be_killed_once, settings, results, scheduler=address)
    assert results == {settings[0]: 0, settings[1]: 1}


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
    monkeypatch.setattr(beta, "CONNECT_SECONDS", 1)
    with listening(greeting) as address:
        assert_unreachable(address.replace("tcp", scheme))


def test_a_scheduler_without_workers_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(beta, "CONNECT_SECONDS", 1)
    with running(tmp_path) as start:
        _, address = start_scheduler(start, tmp_path)
        assert_unreachable(address)


# A notebook's functions are in no module that a worker could import; `python -c` is like that.
NOTEBOOK = """
import helpers
from helpers import beta
import os
import sys

def add(setting):
    return os.getpid(), setting + offset

offset = 40
for address in {addresses}:
    try:
        beta.CONNECT_SECONDS = 1
        beta.sweep(add, [1], scheduler=address)
    except ConnectionError:
        print("unreachable")
print("from here on Dask may warn", file=sys.stderr, flush=True)
results = beta.sweep(add, [1, 2, 3], workers=1)
print([result for _, result in results.values()])
print(len({{pid for pid, _ in results.values()}} - {{os.getpid()}}), "process")
"""


def test_a_notebook_sweeps_its_own_functions_and_errors_come_without_noise(tmp_path):
    with listening(b"") as silent:
        code = NOTEBOOK.format(addresses=["nonsense", free_address(), silent])
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
        )
    assert done.stderr.startswith("from here on Dask may warn")
    assert done.stdout.splitlines() == ["unreachable"] * 3 + ["[41, 42, 43]", "1 process"]


@pytest.mark.parametrize(
    ("cores", "free", "limit", "fit"),
    [(4, 9.5, 99, 4), (8, 3.5, 99, 3), (8, 99, 2.5, 2), (8, 0.5, 99, 0), (8, 99, -0.5, 0)],
)
def test_workers_fit_into_cores_and_memory(monkeypatch, cores, free, limit, fit):
    available = SimpleNamespace(available=free * WORKER_MEMORY)
    own = psutil.Process().memory_info().rss
    monkeypatch.setattr(beta, "CPU_COUNT", cores)
    monkeypatch.setattr(beta, "MEMORY_LIMIT", own + limit * WORKER_MEMORY)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: available)
    assert workers_that_fit() == fit


@pytest.mark.parametrize(("fit", "settings"), [(0, [1, 2]), (1, [1, 2]), (8, [1]), (8, [])])
def test_fewer_than_two_workers_are_this_process(monkeypatch, fit, settings):
    monkeypatch.setattr(beta, "workers_that_fit", lambda: fit)
    results = sweep(lambda _: os.getpid(), settings)
    assert results == dict.fromkeys(settings, os.getpid())
