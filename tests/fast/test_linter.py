"""The linter of notebooks, tested with one good notebook and a table of ways to break it."""

from tests.repository import ROOT
from tools.lint_notebooks import REPOSITORY, RULES, lint, main

import copy
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

GOOD = ROOT / "tests" / "fast" / "fixtures" / "good.ipynb"
(
    TITLE, PARAMETERS, SECTION, PRINT, RESULT, TEXT, PICTURE, _, EXERCISES, ANSWER, SOLUTION,
    *_, LAST, REMEMBER, READING, PROGRESS,
) = range(20)  # fmt: skip


def edit(cell, old, new):
    """A fault: other text in the source of a cell."""

    def fault(nb):
        assert old in nb.cells[cell].source
        nb.cells[cell].source = nb.cells[cell].source.replace(old, new)

    return fault


def add(cell, text):
    """A fault: more text at the end of a cell."""
    return edit(cell, source := good().cells[cell].source, source + text)


def prints(text, name="stdout"):
    """A fault: another text in the output of a cell."""
    return lambda nb: nb.cells[PRINT].outputs[0].update(name=name, text=text)


def shows(mime, data):
    """A fault: another output of the given type."""
    output = new_output("display_data", {mime: data})
    return lambda nb: nb.cells[PRINT].outputs.append(output)


def alt(text):
    """A fault: another text alternative of the picture."""
    return lambda nb: nb.cells[PICTURE].outputs[0].metadata["image/png"].update(alt=text)


def both(first, second):
    """A fault made of two edits."""
    return lambda nb: (first(nb), second(nb))


def good():
    """The good notebook, to be broken."""
    return nbformat.read(GOOD, as_version=4)


def drop(cell):
    """A fault: a cell is missing."""
    return lambda nb: nb.cells.pop(cell)


def tag(cell, *tags):
    """A fault: a cell has other tags."""
    return lambda nb: nb.cells[cell].metadata.update(tags=list(tags))


def count(cell, number):
    """A fault: a cell has another execution count."""
    return lambda nb: nb.cells[cell].update(execution_count=number)


def four_code_cells(nb):
    """A fault: no text between code cells, all of them executed in order."""
    nb.cells[TEXT : TEXT + 1] = [new_code_cell("squares")]
    in_order = (cell for cell in nb.cells if cell.cell_type == "code")
    for k, cell in enumerate(in_order, 1):
        cell.execution_count = k
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = k


def duplicate_id(nb):
    """A fault: two cells of one id."""
    nb.cells[1].id = nb.cells[0].id


def widget(still=True, shown=True, stored=("explorer", "layout"), size=300_000):
    """A fault, unless all is as said: the picture becomes the still of a widget."""

    def fault(nb):
        explorer = {
            "state": {"layout": "IPY_MODEL_layout"},
            "buffers": [{"path": ["weights"], "encoding": "base64", "data": "A" * size}],
        }
        states = {"explorer": explorer, "layout": {}, "slider": {}}
        state = {"state": {name: states[name] for name in stored}}
        nb.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": state}
        [output] = nb.cells[PICTURE].outputs
        if shown:
            output.data["application/vnd.jupyter.widget-view+json"] = {"model_id": "explorer"}
        if not still:
            del output.data["image/png"]

    return fault


COLAB = "https://colab.research.google.com/github/"
BINDER = "https://mybinder.org/v2/gh/"
FAULTS = [
    ("valid", lambda nb: nb.cells[PRINT].pop("execution_count")),
    ("valid", lambda nb: nb.cells[PRINT].update(cell_type="cod")),
    ("valid", lambda nb: nb.cells[TEXT].pop("id")),
    ("valid", duplicate_id),
    ("valid", lambda nb: nb.metadata.kernelspec.update(name="conda-env-vae-py")),
    ("valid", lambda nb: nb.metadata.pop("kernelspec")),
    ("skeleton", edit(TITLE, "# A", "A")),
    ("skeleton", edit(TITLE, "# A", "## A")),
    ("skeleton", lambda nb: nb.cells.insert(0, new_markdown_cell("Before the title."))),
    ("skeleton", edit(TITLE, BINDER, "https://example.org/v2/gh/")),
    ("skeleton", edit(TITLE, COLAB, "https://example.org/github/")),
    ("skeleton", edit(TITLE, "/blob/students/", "/blob/main/")),
    ("skeleton", edit(TITLE, "/students?", "/main?")),
    ("skeleton", edit(TITLE, "lab/tree/notebooks/good.ipynb", "lab/tree/notebooks/other.ipynb")),
    ("skeleton", edit(TITLE, "?urlpath=lab/tree/", "?filepath=")),
    ("skeleton", edit(EXERCISES, "## Exercises", "## Some exercises")),
    ("skeleton", lambda nb: nb.cells.insert(REMEMBER, nb.cells.pop(READING))),
    ("skeleton", lambda nb: nb.cells.insert(READING, new_markdown_cell("## Another thing"))),
    ("skeleton", drop(REMEMBER)),
    ("skeleton", edit(LAST - 2, "### 3.", "3)")),
    ("skeleton", add(REMEMBER, "\n- a point" * 4)),
    ("skeleton", edit(REMEMBER, "- ", "")),
    ("skeleton", edit(READING, good().cells[READING].source, "## Further reading")),
    ("parameters", tag(PARAMETERS)),
    ("parameters", tag(PRINT, "parameters")),
    ("parameters", add(PARAMETERS, "\nepochs = 2")),
    ("parameters", add(PARAMETERS, " + 1")),
    ("parameters", add(PARAMETERS, "\nprint(draws)")),
    ("parameters", edit(PARAMETERS, "6", "[6, int('6')]")),
    ("parameters", edit(PARAMETERS, "draws = 6", "draws, seed = 6, 1")),
    ("outputs", edit(RESULT, good().cells[RESULT].source, " ")),
    ("outputs", count(PRINT, None)),
    ("outputs", count(PICTURE, 7)),
    ("outputs", prints("largest: 25", "stderr")),
    ("outputs", lambda nb: nb.cells[PRINT].outputs.append(new_output("error"))),
    ("outputs", prints("x.py:1: UserWarning: slow")),
    ("outputs", prints("WARNING: All log messages before")),
    ("outputs", prints("saved to /home/ada/model.keras")),
    ("outputs", prints("saved to /root/model.keras")),
    ("outputs", prints("saved to /tmp/x1/model.keras")),
    ("outputs", prints("saved to /work/model.keras")),
    ("outputs", prints("saved to /Users/ada/model.keras")),
    ("outputs", prints(r"saved to C:\model.keras")),
    ("outputs", shows("text/html", "<pre>/tmp/x1/model.keras</pre>")),
    ("outputs", prints("I0000 00:00:1719878400.1 1 device.cc:1] Created")),
    ("outputs", prints("2026-01-02 03:04:05.678901: I tensorflow/core] This")),
    ("outputs", prints("10%\r20%\r")),
    ("outputs", prints("\x1b[1mbold\x1b[0m")),
    ("outputs", prints("<Encoder object at 0x7f32c09f5e10>")),
    ("widgets", widget(still=False)),
    ("widgets", widget(stored=("layout",))),
    ("widgets", widget(stored=("explorer", "layout", "slider"))),
    ("widgets", widget(shown=False)),
    ("widgets", widget(size=300_001)),
    ("figures", alt("")),
    ("figures", alt("x" * 39)),
    ("figures", alt("Figure of two pixels, the left one black, the right one white.")),
    ("figures", alt("Image of two pixels, the left one black, the right one white.")),
    ("figures", alt("Plot of two pixels, the left one black, the right one white.")),
    ("figures", lambda nb: nb.cells[PICTURE].outputs[0].metadata.clear()),
    ("figures", shows("image/jpeg", "/9j/4AAQ")),
    ("figures", add(PICTURE, "\nplt.show()")),
    ("figures", add(TEXT, "\n\n![](good.ipynb)")),
    ("figures", add(TEXT, "\n\n<img src='good.ipynb'>")),
    ("figures", add(TEXT, "\n\n<img src='good.ipynb' alt=''>")),
    ("code", edit(RESULT, "squares[:3]", "!ls")),
    ("code", edit(RESULT, "squares[:3]", "%timeit squares")),
    ("code", edit(RESULT, "squares[:3]", "files = !ls")),
    ("code", add(PRINT, "\nget_ipython().run_line_magic('time', 'squares')")),
    ("code", add(PRINT, "\nimport sys\n\nsys.path.append('..')")),
    ("code", add(PRINT, "\nopen('/data/mnist.npz')")),
    ("code", add(PRINT, "\nopen('~/mnist.npz')")),
    ("code", add(PRINT, "\nopen(r'C:\\mnist.npz')")),
    ("code", add(PRINT, "\nopen(f'/data/{draws}.npz')")),
    ("code", add(PRINT, "\nimport urllib.request")),
    ("code", add(PRINT, "\nfrom urllib import request")),
    ("code", add(PRINT, "\nimport json, requests")),
    ("code", add(PRINT, "\nimport subprocess")),
    ("code", add(PRINT, "\nimport socket as s")),
    ("code", add(PRINT, "\nimport os\n\nos.system('ls')")),
    ("code", add(PRINT, "\naddress = 'https://example.org/mnist.npz'")),
    ("code", add(PRINT, "\naddress = f'{draws} http://example.org/mnist.npz'")),
    ("code", add(PRINT, "\nkeras.utils.get_file('mnist.npz')")),
    ("code", add(PRINT, "\nlayers.Lambda(lambda x: x)")),
    ("code", add(PRINT, "\nLambda(lambda x: x)")),
    ("code", both(add(PRINT, "\nkeras.utils.get_file('a')"), tag(PRINT, "wrong-turn"))),
    ("code", add(PRINT, "\n" * 20 + "squares")),
    ("words", add(TEXT, " This is simply so.")),
    ("words", add(TEXT, " Obviously.")),
    ("words", add(TEXT, " It is *just* a mean.")),
    ("words", add(TEXT, " A trivial step.")),
    ("words", add(TEXT, " It follows trivially.")),
    ("words", add(TEXT, " It is clearly so.")),
    ("rhythm", four_code_cells),
    ("rhythm", add(TEXT, "\n" * 40 + "The end.")),
    ("links", add(TEXT, " [Next](missing.ipynb)")),
    ("links", add(TEXT, " [Next](<missing.ipynb>)")),
    ("links", add(TEXT, " ![A diagram of the two halves](missing.png)")),
    ("links", add(TEXT, " <a href='missing.ipynb'>next</a>")),
    ("links", add(TEXT, "\n\n[next]: missing.ipynb")),
    ("exercises", tag(ANSWER, "nbval-check-output")),
    ("exercises", tag(SOLUTION, "nbval-check-output")),
    ("exercises", tag(SOLUTION, "solution")),
    ("exercises", lambda nb: nb.cells[SOLUTION].metadata.pop("jupyter")),
    ("exercises", edit(SOLUTION, "# The solution. A click on the three dots opens it.\n", "")),
    ("exercises", edit(ANSWER, "sampling.1", "sampling.2")),
    ("exercises", edit(ANSWER, "sampling.1", "loss.1")),
    ("exercises", edit(ANSWER, "check(", "print(")),
    ("exercises", add(ANSWER, '\ncheck("sampling.1", 1)')),
    ("exercises", edit(SOLUTION, ", solution=True", "")),
    ("exercises", edit(SOLUTION, "solution_squares", "squares_of_ten")),
    ("exercises", edit(ANSWER, "squares_of_ten", "squares")),
    ("exercises", both(tag(LAST, "nbval-check-output"), tag(LAST - 1, "nbval-check-output"))),
    ("exercises", edit(PROGRESS, "sampling", "loss")),
    ("exercises", drop(PROGRESS)),
    ("links", edit(TITLE, BINDER, f"{BINDER}somebody-")),
    ("links", add(READING, "\n- [Code](https://github.com/somebody/else)")),
    ("links", add(READING, f"\n- [Code]({COLAB}somebody/else/blob/main/a.ipynb)")),
]
HARMLESS = [
    widget(),
    edit(PARAMETERS, "draws = 6", "draws = -6  # a comment"),
    edit(PARAMETERS, "draws = 6", "draws = (6, -1.5, 'grey', None)"),
    add(PRINT, "\n# !ls, plt.show(, Lambda( and https://example.org in a comment"),
    add(PRINT, "\nprint('call Lambda( or plt.show(', f'{draws}/image', 5 % 3)"),
    add(TEXT, " An adjustment is not unclear: `just`, ``obviously``."),
    add(TEXT, "\n\n~~~\nsimply [x](missing.ipynb) ![](missing.png)\n~~~"),
    add(TEXT, " $\\mathbb{E}[x](y)$ [below](#exercises) [mail](mailto:ada@example.org)"),
    add(TEXT, f" [Code](https://github.com/{REPOSITORY}.git) <a name='here'>here</a>"),
    add(TEXT, " [![Open in Binder](https://mybinder.org/badge_logo.svg)](good.ipynb)"),
    edit(EXERCISES, "### ", ""),
    add(PRINT, "\n" * 19 + "squares"),
    add(TEXT, "\n" * 39 + "The end."),
    add(REMEMBER, "\n- a point" * 3),
    alt("x" * 40),
    tag(TEXT, "some-tag"),
    both(add(PRINT, "\nlayers.Lambda(abs)"), tag(PRINT, "wrong-turn")),
    prints("a home/made, 3/4 worked example, C: 5"),
]


def broken(nb, fault):
    """A copy of the notebook with one fault, its text in one string as when read from a file."""
    nb = copy.deepcopy(nb)
    fault(nb)
    return nb


def test_the_good_notebook_is_clean():
    assert list(lint(good(), GOOD)) == []


@pytest.mark.parametrize(("rule", "fault"), FAULTS)
def test_a_fault_breaks_its_rule_and_no_other(rule, fault):
    assert {name for _, name, _ in lint(broken(good(), fault), GOOD)} == {rule}


@pytest.mark.parametrize("change", HARMLESS)
def test_what_only_looks_like_a_fault_passes(change):
    assert list(lint(broken(good(), change), GOOD)) == []


def test_every_rule_has_a_broken_notebook():
    assert {rule.__name__ for rule in RULES} == {rule for rule, _ in FAULTS}


def test_a_finding_names_the_cell_counted_from_one():
    assert [k for k, _, _ in lint(broken(good(), add(TEXT, " Clearly.")), GOOD)] == [TEXT + 1]


def test_neighbours_are_linked(tmp_path):
    for name in ("a.ipynb", "good.ipynb", "z.ipynb", "zz.ipynb"):
        (tmp_path / name).write_bytes(GOOD.read_bytes())
    path = tmp_path / "good.ipynb"
    messages = [message for _, _, message in lint(good(), path)]
    assert messages == [f"no link to the neighbour {name}" for name in ("a.ipynb", "z.ipynb")]
    linked = broken(good(), add(TITLE, " [before](a.ipynb) [after](z.ipynb)"))
    assert list(lint(linked, path)) == []


def test_the_command_prints_one_line_a_finding(tmp_path, capsys):
    path = tmp_path / "good.ipynb"
    nbformat.write(broken(good(), add(TEXT, " Clearly.")), path)
    assert main([str(GOOD), str(path)]) == 1
    assert capsys.readouterr().out == f"{path}: cell {TEXT + 1}: words: the word 'Clearly'\n"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"nbformat": 3, "worksheets": []}', None])
def test_a_file_that_is_no_notebook_is_a_finding(tmp_path, capsys, text):
    path = tmp_path / "broken.ipynb"
    if text is not None:
        path.write_text(text, "utf-8")
    assert main([str(path)]) == 1
    assert capsys.readouterr().out.startswith(f"{path}: cell 0: valid: ")


@pytest.mark.parametrize(("arguments", "status"), [([], 2), ([GOOD], 0)])
def test_the_exit_status(arguments, status):
    command = [sys.executable, "-m", "tools.lint_notebooks", *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == status
    assert run.stdout == "" and ("usage" in run.stderr) == (status == 2)
