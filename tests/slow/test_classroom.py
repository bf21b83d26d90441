"""What a class does to the course: from where, interrupted, with what around it, all at once."""

from tests.repository import ROOT, copy_project
from tools.class_at_once import Kernel, lab, study

import json
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests

START = """
import keras
from helpers.data import load_mnist
from helpers.training import build_vae
x = load_mnist().x_train[:10_000]
vae = build_vae(seed=1)
"""
SLOW = """
import time
from helpers.sweep import sweep
def train(k):
    time.sleep(0.5)
    return k * k
results = {}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """JupyterLab on the course, as the README starts it."""
    with lab(ROOT, tmp_path_factory.mktemp("home")) as server:
        yield server


@pytest.fixture
def kernel(server):
    with closing(Kernel(server, "05_training")) as kernel:
        yield kernel


def until(kernel, code, word):
    """Run code, and press the stop button when a word is displayed; all that is displayed."""
    shown = []
    for message in kernel.outputs(kernel.send(code)):
        content = message["content"]
        shown.append(content.get("ename") or content.get("data", {}).get("text/plain", ""))
        if word in shown[-1]:
            kernel.interrupt()
            word = "nothing else"
    return "\n".join(shown)


@pytest.mark.parametrize(("moment", "least"), [("compiling", 0), ("epoch 2 of", 2)])
def test_the_stop_button_leaves_a_model_that_goes_on(kernel, moment, least):
    kernel.run(START)
    shown = until(kernel, "vae.fit(x, epochs=1000, seed=1, validation_data=x[:500])", moment)
    assert "KeyboardInterrupt" in shown and "then stopped" in shown
    done = kernel.run("print(*vae.history.history.get('loss', []))").split()
    assert least <= len(done) <= least + 3
    kernel.run("steps = int(vae.optimizer.iterations)\nhistory = vae.fit(x, epochs=1, seed=1)")
    after = float(kernel.run("print(history.history['loss'][0])"))
    assert after < float(done[-1]) if done else 150 < after < 400
    assert kernel.run("print(int(vae.optimizer.iterations) - steps)").split() == ["313"]
    assert 100 < float(kernel.run("print(vae.evaluate(x)['loss'])")) < after


def test_a_killed_kernel_loses_at_most_an_epoch(kernel, tmp_path):
    train = f"""
safe = keras.callbacks.BackupAndRestore({str(tmp_path / "safe")!r}, double_checkpoint=True)
history = vae.fit(x, epochs=6, seed=1, callbacks=[safe])
print(*history.epoch, "then", history.history["loss"][0])
"""
    [pid] = kernel.run(START + "import os\nprint(os.getpid())").split()
    for message in kernel.outputs(kernel.send(train)):
        if "epoch 3 of" in message["content"].get("data", {}).get("text/plain", ""):
            psutil.Process(int(pid)).kill()
            break
    path, deadline = f"kernels/{kernel.id}", time.monotonic() + 120
    while kernel.lab.ask("GET", path).json()["execution_state"] in ("busy", "dead", "restarting"):
        assert time.monotonic() < deadline
        kernel.send("")  # one that is up again answers, should its first word have been lost
        time.sleep(1)
    [another] = kernel.run(START + "import os\nprint(os.getpid())").split()
    epochs, loss = kernel.run(train).split("then")
    assert another != pid and epochs.split() in (["2", "3", "4", "5"], ["3", "4", "5"])
    first = kernel.run("print(build_vae(seed=1).fit(x, seed=1).history['loss'][0])")
    assert float(loss) < float(first) - 20
    assert not list(tmp_path.glob("safe/*"))  # what is done needs no checkpoint


def test_an_interrupted_sweep_leaves_its_results_and_no_process(kernel):
    [pid] = kernel.run(SLOW + "import os\nprint(os.getpid())").split()
    sweep = "sweep(train, range(8), results, workers=2)"
    assert "KeyboardInterrupt" in until(kernel, sweep, "model 3 of 8")
    left = psutil.Process(int(pid)).children(recursive=True)
    workers = [process for process in left if "spawn_main" in " ".join(process.cmdline())]
    assert not psutil.wait_procs(workers, timeout=20)[1]
    assert 3 <= int(kernel.run("print(len(results))")) < 8
    assert kernel.run(f"print({sweep} == {{k: k * k for k in range(8)}})") == "True\n"


def test_a_few_students_at_once_with_nothing_prepared(tmp_path):
    """Two kernels that find no cache of Matplotlib or IPython write it at the same time."""
    with lab(ROOT, tmp_path) as server, ThreadPoolExecutor(2) as threads:
        results = list(threads.map(lambda _: study(server, "01_encoder"), range(2)))
    assert [result["error"] for result in results] == [None, None]


def test_nobody_else_gets_in(tmp_path):
    """Even where the user's settings open every server to the network."""
    settings = tmp_path / ".jupyter"
    settings.mkdir()
    opened = "c.ServerApp.ip = '0.0.0.0'\nc.ServerApp.allow_remote_access = True\n"
    (settings / "jupyter_server_config.py").write_text(opened, "utf-8")
    with lab(ROOT, tmp_path) as server:
        port = urlsplit(server.url).port
        listening = [c for c in psutil.net_connections("inet") if c.status == "LISTEN"]
        heard = {connection.laddr.ip for connection in listening if connection.laddr.port == port}
        assert heard and heard <= {"127.0.0.1", "::1"}
        assert len(server.token) >= 32
        for path in ("api/contents", "api/kernels", "files/README.md"):
            answer = requests.get(server.url + path, allow_redirects=False, timeout=30)
            assert answer.status_code == 403 or "/login" in answer.headers["Location"], path
        assert requests.post(server.url + "api/kernels", timeout=30).status_code == 403


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A checkout that belongs to somebody else, cannot be written to, and has a difficult path.

    Its environment uses the packages of the one that runs this test.
    """
    folder = tmp_path_factory.mktemp("shared") / "Kurs für Übung 3"
    copy_project(folder)
    shutil.copytree(ROOT / ".venv" / "bin", folder / ".venv" / "bin", symlinks=True)
    for name in ("lib", "share", "pyvenv.cfg", "ready"):
        (folder / ".venv" / name).symlink_to(ROOT / ".venv" / name)
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            if os.geteuid() == 0:
                os.chown(path, 12345, 12345)
            path.chmod(path.stat().st_mode & ~0o222 | 0o444)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


def as_student():
    """The start of a command that may read what belongs to others, and write only its own."""
    if os.geteuid():
        return []
    powers = ",".join(f"-{name}" for name in ("dac_override", "dac_read_search", "fowner", "chown"))
    return [shutil.which("setpriv"), f"--bounding-set={powers}", f"--inh-caps={powers}"]


def state(folder):
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


def test_a_shared_folder_and_no_home(shared, tmp_path):
    home, bare = tmp_path / "home", tmp_path / "bin"
    home.mkdir(mode=0o555)
    if os.geteuid() == 0:
        os.chown(home, 12345, 12345)
    bare.mkdir()
    for name in ("make", "sh", "env", "uname"):  # no dot, so no diagrams
        (bare / name).symlink_to(shutil.which(name))
    (bare / "python3").symlink_to(Path(sys.executable).resolve())
    before = state(shared)
    here = ["make", "--no-print-directory", "lab"]
    with lab(shared, home, {"PATH": str(bare)}, as_student(), here) as server:
        with closing(Kernel(server, "03_decoder")) as kernel:
            place = kernel.run("import os, helpers\nprint(os.getcwd())\nprint(helpers.__file__)")
            found = [shared / "notebooks", shared / "helpers" / "__init__.py"]
            assert place.splitlines() == [*map(str, found)]
            with pytest.raises(Exception, match=r"Permission|Read-only"):
                kernel.run("open('mine.txt', 'w')")
        result = study(server, "03_decoder")
        assert result["error"] is None and "Graphviz" in result["printed"]
        assert result["stderr"] == ""
    assert state(shared) == before and not list(home.iterdir())


def test_modules_and_kernels_of_the_same_name(shared, tmp_path):
    """The course's own are found first; what else lies there can still be imported."""
    for name in ("helpers", "tests", "another"):
        (tmp_path / f"{name}.py").write_text("STRANGER = True\n", "utf-8")
    stale = tmp_path / ".local" / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    stale.parent.mkdir(parents=True)
    gone = {"argv": ["/gone/python", "-f", "{connection_file}"], "display_name": "Old"}
    stale.write_text(json.dumps(gone | {"language": "python"}), "utf-8")
    with lab(shared, tmp_path, {"PYTHONPATH": str(tmp_path)}, as_student()) as server:
        with closing(Kernel(server, "01_encoder")) as kernel:
            code = "import sys, another, helpers\nprint(sys.prefix)\nprint(helpers.__file__)"
            found = [shared / ".venv", shared / "helpers" / "__init__.py"]
            assert kernel.run(code).splitlines() == [*map(str, found)]
