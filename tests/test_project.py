"""The files of the project agree with each other, where one of them repeats another."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
REPOSITORY = PROJECT["project"]["urls"]["Repository"]
COURSE_ORDER = (
    "data figures encoder sampling decoder loss training published visualization explorer beta "
    "evaluation deeper conditional check"
).split()
TARGETS = (
    "help lab test test-slow test-notebooks test-browser load-test test-binder lint execute "
    "handout book benchmark links lock clean"
).split()
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


def installed(requirements, platform):
    """Names and versions of the requirements that hold on a platform."""
    return {
        (canonicalize_name(requirement.name), str(requirement.specifier))
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(platform)
    }


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
    pins = [requirement for requirement, *_ in locked() if requirement.name in needed]
    for platform in PLATFORMS:  # what the tests need may stand in the lock with a wider marker
        assert installed(environment()[1], platform) == installed(pins, platform), platform


@pytest.mark.parametrize("source", ["pyproject", "lock", "environment"])
def test_one_tensorflow_on_every_platform(source):
    requirements = {
        "pyproject": direct(),
        "lock": [requirement for requirement, *_ in locked()],
        "environment": environment()[1],
    }[source]
    for platform in PLATFORMS:
        chosen = [n for n, _ in installed(requirements, platform) if n.startswith("tensorflow")]
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


def test_hub_links_lead_to_files_of_this_repository():
    folder = REPOSITORY.rsplit("/")[-1]  # where nbgitpuller lays the copy
    found = 0
    for name, text in markdown():
        for link in re.findall(r"https?://[^\s)\"'`<>\]]*/git-pull\?[^\s)\"'`<>\]]*", text):
            form = r"https://[^?]+\?repo=(.+)&branch=main&urlpath=lab/tree/([\w.-]+)/([\w./-]+)"
            match = re.fullmatch(form, unquote(link))
            assert match and (match[1], match[2]) == (REPOSITORY, folder), (name, link)
            assert (ROOT / match[3]).exists(), (name, link)
            found += name == "README.md"
    assert found


def makefile_targets():
    """The targets that a person may call."""
    text = (ROOT / "Makefile").read_text("utf-8")
    return set(re.findall(r"(?m)^([a-z-]+):", text)) - {"chromium"}  # a part of others


def called(text):
    """The targets that a text calls make with, in order."""
    calls = re.findall(r"\bmake((?: [a-z][a-z-]*\b(?!=))+)", text)
    return [target for call in calls for target in call.split()]


def test_the_makefile_has_the_agreed_targets():
    assert makefile_targets() == set(TARGETS)
    assert f".PHONY: {' '.join(TARGETS)} chromium\n" in (ROOT / "Makefile").read_text("utf-8")


def test_the_readme_names_targets_that_exist():
    text = (ROOT / "README.md").read_text("utf-8")
    in_code = "\n".join(re.findall(r"(?ms)^```.*?^```|`[^`\n]+`", text))
    assert set(called(in_code)) <= makefile_targets()
    assert list(dict.fromkeys(called(in_code)))[:2] == ["lab", "test"]


def test_continuous_integration_calls_targets_that_exist():
    workflows = [*(ROOT / ".github" / "workflows").glob("*.yml")]
    texts = ["\n".join(values(yaml.safe_load(w.read_text("utf-8")), "run")) for w in workflows]
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    for text in (*texts, re.sub(r"(?m)#.*", "", script)):
        assert called(text) and set(called(text)) <= makefile_targets()


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_may_read_and_no_more(path):
    text = path.read_text("utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    wider = {
        name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job
    }
    publishing = {
        "deploy": {"pages": "write", "id-token": "write"}
    }  # of the book, and it runs no code
    assert wider == (publishing if path.stem == "book" else {})
    assert "pull_request_target" not in text and "secrets." not in text
    assert text.count("actions/checkout@") == text.count("persist-credentials: false") > 0
    for action in values(workflow, "uses"):
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", action)


def test_notebooks_bring_no_script_from_elsewhere():
    """Nothing stored runs in a reader's page but the explorer, which is compared elsewhere."""
    view, allowed = "application/vnd.jupyter.widget-view+json", set()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        nb = nbformat.read(path, as_version=4)
        for cell in nb.cells:
            assert not re.search(r"(?i)<(script|iframe|object|embed)|javascript:", cell.source)
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                allowed |= data.keys()
                html = data.get("text/html", "")
                assert not re.search(r"(?i)<(script|iframe|object|embed|link)|src=|\son\w+=", html)
        [widgets] = nb.metadata.get("widgets", {"": {"state": {}}}).values()
        for model in widgets["state"].values():
            assert model["model_module"] in ("@jupyter-widgets/base", "anywidget")
    assert allowed == {"text/plain", "text/html", "image/png", view}


def project_files():
    """The files under version control, or about to be."""
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    names = subprocess.check_output(command, cwd=ROOT, text=True).split("\0")
    return [name for name in names if (ROOT / name).is_file()]


def text_files(folder=ROOT):
    """Those of them that are text, as they stand in a folder."""
    for name in project_files():
        try:
            yield name, (folder / name).read_text("utf-8")
        except UnicodeDecodeError:
            continue


def copy_project(folder):
    """Copy the files of the project, and nothing else, to a folder."""
    for name in project_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


with_history = pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="a download without its history"
)


@with_history
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


def test_an_old_make_gives_a_clear_message(fresh):
    run = make(fresh, ".FEATURES=what make 3.81 has", "help")
    assert run.returncode and "This needs GNU make 3.82 or later" in run.stderr


def test_no_python_gives_a_clear_message(fresh):
    run = make(fresh, "lab", "PYTHON=/nonexistent")
    assert run.returncode != 0
    assert "Python 3.11" in run.stderr and "make lab PYTHON=" in run.stderr
    assert not (fresh / ".venv").exists()


@pytest.mark.parametrize("target", ["test-browser", "test-binder"])
def test_no_browser_gives_a_clear_message(fresh, target):
    run = make(fresh, target, "CHROMIUM=")
    assert run.returncode != 0
    assert "needs Chromium" in run.stderr and f"make {target} CHROMIUM=" in run.stderr
    assert not (fresh / ".venv").exists()


def test_python_without_venv_gives_a_clear_message(fresh):
    python = fresh / "python"
    python.write_text('#!/bin/sh\ncase "$2" in *venv*) exit 1 ;; esac\n')
    python.chmod(0o755)
    run = make(fresh, "lab", f"PYTHON={python}")
    assert run.returncode != 0
    assert f"{python} has no venv module" in run.stderr and "python3-venv" in run.stderr
    assert not (fresh / ".venv").exists()


@pytest.fixture
def fork(tmp_path):
    """A copy of the project in which make finds an environment: the one that runs this test."""
    copy_project(tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (tmp_path / ".venv" / "ready").touch()
    return tmp_path


def contents(folder):
    return {name: (folder / name).read_bytes() for name in project_files()}


def links(folder, *arguments):
    """Call make links in a folder, and return the files as it leaves them."""
    run = make(folder, "links", *arguments)
    assert run.returncode == 0, run.stderr
    return contents(folder)


@with_history
def test_links_lead_to_a_fork_and_back(fork):
    here, there = REPOSITORY.removeprefix("https://github.com/"), "/".join(("4you", "2-vae.course"))
    others = f"https://github.com/{here}-2 https://github.com/a/b\r\n"
    with (fork / "README.md").open("a", encoding="utf-8", newline="") as readme:
        readme.write(f"<https://github.com/{here}.git> {others}")
    before = contents(fork)
    assert links(fork) == before
    changed = links(fork, f"REPOSITORY={there}")
    assert links(fork) == links(fork, f"REPOSITORY={there}") == changed
    folder, copy = (f"lab/tree/{name.split('/')[1]}/notebooks/" for name in (here, there))
    assert f"git-pull?repo=https://github.com/{there}&" in changed["README.md"].decode()
    assert copy in changed["README.md"].decode()
    assert changed["README.md"].decode().endswith(f"<https://github.com/{there}.git> {others}")
    for name in before:  # nothing but the name has changed, and it has in all places
        assert not re.search(rf"(?<![\w-]){here}(?![\w-])".encode(), changed[name]), name
        back = changed[name].replace(copy.encode(), folder.encode())
        assert back.replace(there.encode(), here.encode()) == before[name], name
    command = [sys.executable, "-m", "tests.notebook_linter", "notebooks/00_autoencoder.ipynb"]
    lint = subprocess.run(command, cwd=fork, capture_output=True, text=True)
    assert "a link to" not in lint.stdout + lint.stderr
    assert links(fork, f"REPOSITORY={here}") == before


@with_history
def test_links_follow_the_name_in_the_project_file(fork):
    project = fork / "pyproject.toml"
    project.write_text(project.read_text("utf-8").replace(REPOSITORY, "https://github.com/me/mine"))
    by_hand = links(fork)
    assert links(fork, "REPOSITORY=me/mine") == by_hand
    assert b"/gh/me/mine/" in by_hand["notebooks/00_autoencoder.ipynb"]


@with_history
def test_links_refuse_what_is_no_repository(fork):
    before = contents(fork)
    bad = (
        "mine|me/|/mine|me/my/fork|me/..|me/mine.git|me/my fork|mé/mine|https://github.com/me/mine"
    )
    for name in bad.split("|"):
        run = make(fork, "links", f"REPOSITORY={name}")
        assert run.returncode != 0, name
        assert f"REPOSITORY: expected OWNER/NAME, as in REPOSITORY=you/your-fork, got {name};" in (
            run.stderr
        )
    assert contents(fork) == before
    project = fork / "pyproject.toml"
    project.write_text(
        project.read_text("utf-8").replace(REPOSITORY, "https://example.org/me/mine")
    )
    assert "got https://example.org/me/mine;" in make(fork, "links").stderr
    here = REPOSITORY.removeprefix("https://github.com/")
    assert links(fork, f"REPOSITORY={here}") == before
