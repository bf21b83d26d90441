"""The files of the project agree with each other, where one of them repeats another."""

import ast
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
REPOSITORY = PROJECT["project"]["urls"]["Repository"]
COURSE_ORDER = (
    "data figures encoder sampling decoder loss training published visualization beta evaluation "
    "deeper conditional check"
).split()
TARGETS = "help lab test test-notebooks lint execute handout benchmark lock clean".split()
# In pieces, so that this file does not name what no file may name.
REGISTRIES = [".".join(name) for name in (("pypi", "org"), ("npmjs", "com"), ("npmjs", "org"))] + [
    "python" + "hosted",
    "anaconda" + ".org",
    "anaconda" + ".com",
]
MACHINE = ["/".join(path) for path in (("", "work", "main"), ("", "work", "shared"))] + [
    "/".join(("..", "shared"))
]
PLATFORMS = [
    {"sys_platform": system, "platform_machine": machine, "python_full_version": "3.11.7"}
    for system, machine in [
        ("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64")
    ]
]  # fmt: skip


def locked():
    """What requirements.lock pins, an entry each: requirement, number of hashes, what needs it."""
    text = (ROOT / "requirements.lock").read_text("utf-8")
    for entry in re.split(r"\n(?=[a-z0-9])", text)[1:]:
        needed_by = re.findall(r"(?m)^ +#(?: via)? +(\S+(?: \(.*\))?)$", entry)
        requirement = Requirement(re.split(r" \\\n", entry)[0])
        yield requirement, entry.count("--hash=sha256:"), needed_by


def locked_for(root):
    """The names of the lock's entries that `root` needs, directly or through others."""
    names, found = {root}, None
    while names != found:
        found = names
        names = found | {entry.name for entry, _, needed_by in locked() if found & {*needed_by}}
    return names - {root}


def environment():
    """What environment.yml asks of conda, and what it asks of pip."""
    parts = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    [pip] = [part["pip"] for part in parts if isinstance(part, dict)]
    return [part for part in parts if isinstance(part, str)], [Requirement(pin) for pin in pip]


def environment_python():
    """The version of Python in environment.yml, written in the one form that Binder reads."""
    [python] = [part for part in environment()[0] if part.startswith("python")]
    assert re.fullmatch(r"python=3\.\d+", python)
    return python.removeprefix("python=")


def direct(*groups):
    """The requirements written in pyproject.toml, those of dependency groups on demand."""
    lines = [*PROJECT["project"]["dependencies"]]
    for group in groups:
        lines += PROJECT["dependency-groups"][group]
    return [Requirement(line) for line in lines]


def pin(requirement):
    """A requirement in a form that compares: name, specifier, marker."""
    name, marker = canonicalize_name(requirement.name), str(requirement.marker or "")
    return name, str(requirement.specifier), marker


def test_every_pin_is_one_version_with_hashes():
    assert list(locked())
    for requirement, hashes, needed_by in locked():
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert hashes and needed_by, requirement


def test_the_lock_holds_what_the_project_asks_for():
    for wanted in direct("dev"):
        found = [entry for entry, *_ in locked() if entry.name == canonicalize_name(wanted.name)]
        assert found, wanted
        for entry in found:
            [exact] = entry.specifier
            assert wanted.specifier.contains(exact.version, prereleases=True), (wanted, entry)


def test_the_environment_repeats_the_lock_without_development():
    needed = locked_for("vae-course (pyproject.toml)")
    assert {canonicalize_name(requirement.name) for requirement in direct()} <= needed
    assert {pin(requirement) for requirement in environment()[1]} == {
        pin(requirement) for requirement, *_ in locked() if requirement.name in needed
    }


@pytest.mark.parametrize("source", ["pyproject", "lock", "environment"])
def test_one_tensorflow_on_every_platform(source):
    requirements = {
        "pyproject": direct(),
        "lock": [requirement for requirement, *_ in locked()],
        "environment": environment()[1],
    }[source]
    for platform in PLATFORMS:
        chosen = [
            r.name
            for r in requirements
            if r.name.startswith("tensorflow")
            and (r.marker or Marker("python_version > '0'")).evaluate(platform)
        ]
        on_plain_linux = (
            platform["sys_platform"] == "linux" and platform["platform_machine"] == "x86_64"
        )
        assert chosen == ["tensorflow-cpu" if on_plain_linux else "tensorflow"], platform


def test_python_of_the_environment_is_supported():
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(environment_python())


def test_python_of_the_environment_is_tested():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    versions = values(workflow["jobs"]["test"], "python-version")
    assert environment_python() in versions  # a string, since 3.10 would be read as 3.1


def values(tree, key):
    """Everything that stands under a key, at any depth, lists spread out."""
    if isinstance(tree, list):
        return [value for part in tree for value in values(part, key)]
    if not isinstance(tree, dict):
        return []
    here = tree.get(key, [])
    return (here if isinstance(here, list) else [here]) + values(list(tree.values()), key)


def test_no_folder_hides_the_environment_from_binder():
    assert not (ROOT / ".binder").exists() and not (ROOT / "binder").exists()


def imported(path):
    """The modules of the package that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "helpers" if node.level and not node.module else node.module
            module = f"helpers.{module}" if node.level and node.module else module
            bare = module == "helpers"
            names = [f"helpers.{a.name}" for a in node.names] if bare else [module]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("helpers."))


def test_helpers_import_in_course_order():
    modules = {path.stem: path for path in (ROOT / "helpers").glob("*.py")}
    assert not list(imported(modules.pop("__init__")))
    assert modules.keys() == set(COURSE_ORDER)
    for name, path in modules.items():
        earlier = COURSE_ORDER[: COURSE_ORDER.index(name)]
        assert set(imported(path)) <= set(earlier), name
    assert not list(imported(modules["check"]))


def test_exercises_import_what_their_notebook_has_built():
    for path in (ROOT / "helpers" / "exercises").glob("*.py"):
        if path.stem in COURSE_ORDER:
            built = COURSE_ORDER[: COURSE_ORDER.index(path.stem) + 1]
            assert set(imported(path)) <= {*built, "check"}, path.stem


def test_imports_are_found_in_every_form(tmp_path):
    path = tmp_path / "some.py"
    path.write_text(
        "import numpy, helpers.data\nfrom helpers.loss import x\nfrom helpers import encoder\n"
        "from . import decoder\nfrom .sampling import y\ndef f():\n    import helpers.training\n"
    )
    assert list(imported(path)) == "data loss encoder decoder sampling training".split()


def markdown():
    """The text of the README and of every markdown cell, with the name of its file."""
    yield "README.md", (ROOT / "README.md").read_text("utf-8")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                yield path.name, cell.source


def test_binder_links_lead_to_files_of_this_repository():
    here = re.escape(REPOSITORY.removeprefix("https://github.com/"))
    found = 0
    for name, text in markdown():
        for link in re.findall(r"https?://mybinder\.org/(?!badge)[^\s)\"'<>\]]*", text):
            form = rf"https://mybinder\.org/v2/gh/{here}/[\w.-]+\?urlpath=lab/tree/([\w./-]+)"
            match = re.fullmatch(form, unquote(link))
            assert match, (name, link)
            assert (ROOT / match[1]).exists(), (name, link)
            found += name == "README.md"
    assert found


def makefile_targets():
    """The targets that a person may call."""
    text = (ROOT / "Makefile").read_text("utf-8")
    return set(re.findall(r"(?m)^([a-z-]+):", text))


def called(text):
    """The targets that a text calls make with, in order."""
    calls = re.findall(r"\bmake((?: [a-z][a-z-]*\b(?!=))+)", text)
    return [target for call in calls for target in call.split()]


def test_the_makefile_has_the_agreed_targets():
    assert makefile_targets() == set(TARGETS)
    assert f".PHONY: {' '.join(TARGETS)}\n" in (ROOT / "Makefile").read_text("utf-8")


def test_the_readme_names_targets_that_exist():
    text = (ROOT / "README.md").read_text("utf-8")
    in_code = "\n".join(re.findall(r"(?ms)^```.*?^```|`[^`\n]+`", text))
    assert set(called(in_code)) <= makefile_targets()
    assert list(dict.fromkeys(called(in_code)))[:2] == ["lab", "test"]


def test_continuous_integration_calls_targets_that_exist():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    for text in ("\n".join(values(workflow, "run")), re.sub(r"(?m)#.*", "", script)):
        assert called(text) and set(called(text)) <= makefile_targets()


def text_files():
    """The files under version control, or about to be, that are text."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(command, cwd=ROOT, text=True).split("\0"):
        path = ROOT / name
        if path.is_file():
            try:
                yield name, path.read_text("utf-8")
            except UnicodeDecodeError:
                continue


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a download without its history")
def test_no_file_names_a_registry_or_a_machine():
    for name, text in text_files():
        assert [word for word in REGISTRIES + MACHINE if word in text] == [], name


def make(folder, *arguments):
    """Call make as a person at a terminal would, even if this test runs under make."""
    variables = {k: v for k, v in os.environ.items() if not re.match("PYTHON$|MFLAGS|MAKE", k)}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=variables, capture_output=True, text=True
    )


@pytest.fixture
def fresh(tmp_path):
    """A folder with what make needs to set up the environment, and without one."""
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_make_alone_prints_help(fresh):
    run = make(fresh)
    assert run.returncode == 0
    assert re.findall(r"(?m)^make ([a-z-]+)  +\S", run.stdout) == TARGETS


def test_no_python_gives_a_clear_message(fresh):
    run = make(fresh, "lab", "PYTHON=/nonexistent")
    assert run.returncode != 0
    assert "Python 3.11" in run.stderr and "make lab PYTHON=" in run.stderr
    assert not (fresh / ".venv").exists()


def test_python_without_venv_gives_a_clear_message(fresh):
    python = fresh / "python"
    python.write_text('#!/bin/sh\ncase "$2" in *venv*) exit 1 ;; esac\n')
    python.chmod(0o755)
    run = make(fresh, "lab", f"PYTHON={python}")
    assert run.returncode != 0
    assert f"{python} has no venv module" in run.stderr and "python3-venv" in run.stderr
    assert not (fresh / ".venv").exists()
