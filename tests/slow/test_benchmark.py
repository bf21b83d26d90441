"""The benchmark runs and prints its table; what it measures is asserted nowhere."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "training_speed.py"


def run(*options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, SCRIPT, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_row_is_measured():
    result = run("--images", "1600", "--epochs", "2", "--rounds", "1", "--models", "2")
    assert result.returncode == 0, result.stderr
    table = {line[:22].strip(): line[22:].split() for line in result.stdout.splitlines()}
    for row in ("plain Keras fit", "the course's fit", "matrix products alone"):
        seconds, faster, of_products, memory, unit, loss = table[row]
        assert float(seconds) >= 0 and float(faster) > 0 and float(of_products) > 0
        assert float(memory) > 0.05 and unit == "GB"
        assert loss == "-" if row == "matrix products alone" else 150 < float(loss) < 500
    for row in ("plain fit, one by one", "the course's sweep"):
        seconds, faster = table[row]
        assert float(seconds) > 0 and float(faster) > 0


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("--epochs", "1", "expected at least 2"), ("--models", "9", "expected 1 to 8, got 9")],
)
def test_bad_options_are_refused(option, value, message):
    result = run(option, value)
    assert result.returncode == 2
    assert f"{option}: {message}" in result.stderr
