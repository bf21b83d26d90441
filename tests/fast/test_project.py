"""The files of the project agree with each other, where one of them repeats another."""

import course
from tests.repository import (
    NOTEBOOKS,
    PLATFORMS,
    PROJECT,
    REPOSITORY,
    ROOT,
    environment,
    environment_python,
    installed,
    project_files,
    with_history,
)

import ast
import re
import subprocess
import sys
from urllib.parse import unquote

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
COURSE_ORDER = (
    "argument_checks data figures vae_figure progress_line encoder sampling decoder loss fused "
    "training published visualization explorer on_dask sweep beta evaluation deeper conditional "
    "exercises"
).split()
# In pieces, so that this file does not name what no file may name.
REGISTRIES = ("pypi|org", "npmjs|com", "npmjs|org", "python|hosted", "anaconda|org", "anaconda|com")
MACHINE = ("/work|main", "/work|shared", "..|shared")
FORBIDDEN = [name.replace("|", "" if "hosted" in name else ".") for name in REGISTRIES]
FORBIDDEN += [name.replace("|", "/") for name in MACHINE]


def locked(whole=True):
    """What requirements.lock pins, whole or for students: requirement, number of hashes."""
    text = (ROOT / "requirements.lock").read_text("utf-8")
    text = text if whole else text.partition(course.OTHERS)[0]
    for entry in re.findall(r"(?m)^[a-z0-9].*\n(?: .*\n)+", text):
        yield Requirement(re.split(r" \\\n", entry)[0]), entry.count("--hash=sha256:")


def direct(*groups):
    """The requirements written in pyproject.toml, those of dependency groups on demand."""
    lines = [*PROJECT["project"]["dependencies"]]
    for group in groups:
        for line in PROJECT["dependency-groups"][group]:
            lines += PROJECT["dependency-groups"]["lab"] if isinstance(line, dict) else [line]
    named = {requirement.name: requirement for requirement in map(Requirement, lines)}
    # As uv reads them: what is overridden has other conditions.
    over = map(Requirement, PROJECT["tool"]["uv"]["override-dependencies"])
    return [*(named | {requirement.name: requirement for requirement in over}).values()]


def test_every_pin_is_one_version_with_hashes():
    assert list(locked())
    for requirement, hashes in locked():
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)) and hashes, requirement


@pytest.mark.parametrize(("groups", "whole"), [(["lab"], False), (["dev"], True)])
def test_the_lock_holds_what_the_project_asks_for(groups, whole):
    for wanted in direct(*groups):
        name = canonicalize_name(wanted.name)
        found = [entry for entry, _ in locked(whole) if entry.name == name]
        assert found, wanted
        for entry in found:
            [exact] = entry.specifier
            assert wanted.specifier.contains(exact.version, prereleases=True), (wanted, entry)


def test_students_get_nothing_that_only_development_needs():
    students = {entry.name for entry, _ in locked(whole=False)}
    assert not students & {"sphinx", "playwright", "jupyter-repo2docker", "pytest", "ruff"}


def test_the_environment_repeats_the_lock_without_development():
    pins = [requirement for requirement, _ in locked(whole=False)]
    assert sorted(map(str, environment()[1])) == sorted(map(str, pins))


@pytest.mark.parametrize("source", ["pyproject", "lock", "environment"])
def test_one_tensorflow_on_every_platform(source):
    requirements = {
        "pyproject": direct("lab"),
        "lock": [requirement for requirement, _ in locked(whole=False)],
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
    modules["explorer"] = ROOT / "helpers" / "explorer" / "__init__.py"
    assert {*modules, "exercises"} == set(COURSE_ORDER)
    for name, path in modules.items():
        earlier = COURSE_ORDER[: COURSE_ORDER.index(name)]
        assert set(imported(path)) <= set(earlier), name


def test_exercises_import_what_their_notebook_has_built():
    for path in (ROOT / "helpers" / "exercises").glob("*.py"):
        at = COURSE_ORDER.index(path.stem) + 1 if path.stem in COURSE_ORDER else 0
        assert set(imported(path)) <= {*COURSE_ORDER[:at], "exercises"}, path.stem


def test_a_helper_is_read_in_one_sitting():
    for path in (ROOT / "helpers").rglob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) <= 300, path.name


def test_imports_are_found_in_every_form(tmp_path):
    path = tmp_path / "some.py"
    path.write_text(
        "import numpy, helpers.data\nfrom helpers.loss import x\nfrom helpers import encoder\n"
        "from . import decoder\nfrom .sampling import y\ndef f():\n    import helpers.training\n",
        "utf-8",
    )
    assert list(imported(path)) == "data loss encoder decoder sampling training".split()


def markdown():
    """The text of every page and of every markdown cell, with the name of its file."""
    yield from ((path.name, path.read_text("utf-8")) for path in PAGES)
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                yield path.name, cell.source


HERE = re.escape(REPOSITORY.removeprefix("https://github.com/"))


@pytest.mark.parametrize(
    ("place", "form"),
    [("mybinder.org/", rf"v2/gh/{HERE}/students\?urlpath=lab/tree/([\w./-]+)"),
     ("colab.research.google.com/", rf"github/{HERE}/blob/students/([\w./-]+)"),
     ("codespaces.new/", rf"{HERE}/tree/students\?quickstart=1()")],
)  # fmt: skip
def test_links_open_students_copies_of_files_here(place, form):
    found = []
    for name, text in markdown():
        for link in re.findall(rf"https?://{re.escape(place)}(?!badge)[^\s)\"'<>\]]*", text):
            match = re.fullmatch(f"https://{re.escape(place)}{form}", unquote(link))
            assert match, (name, link)
            assert (ROOT / match[1]).exists(), (name, link)
            found += [(name, match[1])]
    if "codespaces" not in place:
        for notebook in NOTEBOOKS:
            path = f"notebooks/{notebook.name}"
            assert {("README.md", path), (notebook.name, path)} <= {*found}
    assert found


def test_hub_links_lead_to_files_of_this_repository():
    folder = REPOSITORY.rsplit("/")[-1]  # where nbgitpuller lays the copy
    found = 0
    for name, text in markdown():
        for link in re.findall(r"https?://[^\s)\"'`<>\]]*/git-pull\?[^\s)\"'`<>\]]*", text):
            form = r"https://[^?]+\?repo=(.+)&branch=students&urlpath=lab/tree/([\w.-]+)/([\w./-]+)"
            match = re.fullmatch(form, unquote(link))
            assert match and (match[1], match[2]) == (REPOSITORY, folder), (name, link)
            assert (ROOT / match[3]).exists(), (name, link)
            found += name.endswith(".md")
    assert found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_of_pages_lead_to_files(path):
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        assert (path.parent / link).exists(), link


def called(text):
    """The verbs that a text calls course.py or make with, in order."""
    calls = re.findall(r"\b(?:make|course\.py)((?: [a-z][a-z-]*\b(?!=))+)", text)
    return [target for call in calls for target in call.split()]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_name_targets_that_exist(path):
    text = path.read_text("utf-8")
    in_code = "\n".join(re.findall(r"(?ms)^```.*?^```|`[^`\n]+`", text))
    assert set(called(in_code)) <= course.VERBS.keys()
    if path.name == "README.md":
        assert list(dict.fromkeys(called(in_code)))[:2] == ["lab", "test"]
        assert len(text.split()) <= 700


def test_continuous_integration_calls_targets_that_exist():
    texts = ["\n".join(values(yaml.safe_load(w.read_text("utf-8")), "run")) for w in WORKFLOWS]
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    for text in (*texts, re.sub(r"(?m)#.*", "", script)):
        assert called(text) and set(called(text)) <= course.VERBS.keys()


def test_workflows_are_valid():
    """By the schema of GitHub's workflows."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    command += ["vendor.github-workflows", *map(str, WORKFLOWS)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_may_read_and_no_more(path):
    text = path.read_text("utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    wider = {
        name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job
    }
    publishing = {  # jobs that run nothing of the course
        "book": {"deploy": {"pages": "write", "id-token": "write"}},
        "students": {"publish": {"contents": "write"}},
    }
    assert wider == publishing.get(path.stem, {})
    assert "pull_request_target" not in text and "secrets." not in text
    kept = 1 if path.stem == "students" else 0
    assert text.count("actions/checkout@") - kept == text.count("persist-credentials: false") > 0
    assert text.count("persist-credentials: true") == kept
    for action in values(workflow, "uses"):
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", action)


def test_notebooks_bring_no_script_from_elsewhere():
    """Nothing stored runs in a reader's page but the explorer, which is compared elsewhere."""
    view, allowed = "application/vnd.jupyter.widget-view+json", set()
    for path in NOTEBOOKS:
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


def text_files(folder=ROOT):
    """Those of them that are text, as they stand in a folder."""
    for name in project_files():
        try:
            yield name, (folder / name).read_text("utf-8")
        except UnicodeDecodeError:
            continue


@with_history
def test_no_file_names_a_registry_or_a_machine():
    for name, text in text_files():
        assert [word for word in FORBIDDEN if word in text] == [], name
