"""What the tests share: TensorFlow set up before its import, no windows, MNIST read once."""

import helpers  # noqa: F401  (its settings must come before the first import of TensorFlow)
from helpers.data import load_mnist
from tests.repository import ROOT, course

import os

import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def mnist():
    return load_mnist()


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium, the one that make has found."""
    from playwright.sync_api import sync_playwright  # only some tests look at pages

    path = os.environ.get("CHROMIUM") or pytest.fail("CHROMIUM is not set: use make test-browser")
    # Without a sandbox, since a container has none; and it asks for nothing of its own.
    quiet = "no-sandbox disable-gpu no-first-run disable-background-networking"
    quiet += " disable-component-update disable-sync"
    options = [f"--{option}" for option in quiet.split()]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def handout(tmp_path_factory):
    """The folder of the students' copies, and that of the teacher's."""
    folders = [tmp_path_factory.mktemp("handout") / name for name in ("students", "teacher")]
    for folder, variables in zip(folders, ([], ["WITH=solutions"]), strict=True):
        course(ROOT, "handout", f"HANDOUT={folder}", *variables).check_returncode()
    return folders
