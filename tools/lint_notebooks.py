"""Hold the notebooks to the conventions of the course: python -m tools.lint_notebooks FILES.

Prints one line a finding, `path: cell k: rule: message`, and exits with 1 if there is any.
Cells are numbered from 1; cell 0 is the notebook as a whole.
"""

import ast
import re
import sys
import tomllib
import warnings
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from urllib.parse import unquote

import nbformat
from nbformat import NotebookNode

Findings = Iterator[tuple[int, str]]

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
REPOSITORY = PROJECT["project"]["urls"]["Repository"].removeprefix("https://github.com/")
STUDENTS_COPY = {  # never those of main, which have solutions
    "Colab": r"https://colab\.research\.google\.com/github/[^/]+/[^/]+/blob/students/notebooks/",
    "Binder": r"https://mybinder\.org/v2/gh/[^/]+/[^/]+/students\?urlpath=lab/tree/notebooks/",
}
CLOSING = ["Exercises", "What to remember", "Further reading"]
TEXT_FLAWS = {
    r"Warning|WARNING": "a warning",
    r"/(home|root|tmp|work|Users)/|\b[A-Z]:\\": "a path of one machine",
    r"(?m)^([IWEF]\d{4} \d\d:\d\d|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWEF] )": "a log line",
    r"\r|\x1b": "a carriage return or an escape code",
    r" at 0x[0-9a-f]{6,}": "an address in memory, another one each run",
}
FORBIDDEN_MODULES = {"urllib", "requests", "subprocess", "socket"}
FORBIDDEN_CALLS = {"Lambda", "get_file", "get_ipython", "system"}
FORBIDDEN_WORDS = r"(?i)\b(simply|obviously|just|trivial(?:ly)?|clearly)\b"
WIDGET = "application/vnd.jupyter.widget"
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)|(?:src|href)=[\"']([^\"']+)|^\[[^]^]+\]:\s*(\S+)", re.M)


def cells(nb: NotebookNode, kind: str) -> Iterator[tuple[int, NotebookNode]]:
    """The cells of one kind with their numbers."""
    return ((k, cell) for k, cell in enumerate(nb.cells, 1) if cell.cell_type == kind)


def prose(cell: NotebookNode) -> str:
    """The text of a markdown cell without code and formulas."""
    blocks = r"(?ms)^\s*(```|~~~).*?^\s*\1|\$\$.*?\$\$"
    return re.sub(r"(`+)(?!`).+?\1|\$[^$\n]+\$", "", re.sub(blocks, "", cell.source))


def targets(cell: NotebookNode) -> list[str]:
    """What the links and images of a markdown cell point to."""
    return [next(filter(None, match.groups())) for match in LINK.finditer(prose(cell))]


def nodes(cell: NotebookNode) -> list[ast.AST]:
    """The syntax of a code cell; none if it is not Python, which the rule `code` reports."""
    try:
        return list(ast.walk(ast.parse(cell.source)))
    except SyntaxError:
        return []


def is_literal(value: ast.expr) -> bool:
    """Whether an expression is a constant, a negative number or a collection of these."""
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError):
        return False
    return True


def valid(nb: NotebookNode, path: Path) -> Findings:
    """The file is what the notebook format asks for, and its kernel is python3."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # nbformat repairs some faults with only a warning
            nbformat.validate(nb)
    except (nbformat.ValidationError, Warning) as error:
        yield 0, str(error).partition("\n")[0]
    if nb.metadata.get("kernelspec", {}).get("name") != "python3":
        yield 0, "the kernel's name is not python3"


def skeleton(nb: NotebookNode, path: Path) -> Findings:
    """Title and links at the top; exercises, what to remember, further reading at the end."""
    first = nb.cells[0] if nb.cells else nbformat.v4.new_markdown_cell()
    if first.cell_type != "markdown" or not first.source.startswith("# "):
        yield 1, "the first cell is not markdown that begins with '# '"
    for place, opens in STUDENTS_COPY.items():
        if not any(re.fullmatch(opens + path.name, target) for target in targets(first)):
            yield 1, f"no link opens the students' copy of this notebook on {place}"
    names = sorted({path.name, *(other.name for other in path.parent.glob("*.ipynb"))})
    at = names.index(path.name)
    for neighbour in names[max(at - 1, 0) : at] + names[at + 1 : at + 2]:
        if neighbour not in targets(first):
            yield 1, f"no link to the neighbour {neighbour}"
    text = "\n\n".join(prose(cell) for _, cell in cells(nb, "markdown"))
    sections = [part.partition("\n") for part in re.split(r"(?m)^## +", text)[1:]][-3:]
    if [title.strip() for title, _, _ in sections] != CLOSING:
        yield 0, f"the last three sections are not {', '.join(CLOSING)}"
        return
    exercises, remember, reading = (body for _, _, body in sections)
    if len(re.findall(r"(?m)^(?:### |\d+\. )", exercises)) < 3:
        yield 0, "fewer than three exercises ('### ' or '1. ')"
    if not 1 <= len(re.findall(r"(?m)^[-*] ", remember)) <= 5:
        yield 0, "not one to five points ('- ') to remember"
    if not re.search(r"https?://", reading):
        yield 0, "no link to further reading"


def parameters(nb: NotebookNode, path: Path) -> Findings:
    """One cell tagged `parameters` holds literals only, each of them used later."""
    tagged = [k for k, cell in cells(nb, "code") if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        yield 0, f"{len(tagged)} code cells are tagged parameters, not one"
        return
    [at] = tagged
    later = [node for k, cell in cells(nb, "code") if k > at for node in nodes(cell)]
    used = {node.id for node in later if isinstance(node, ast.Name)}
    for statement in next(iter(nodes(nb.cells[at - 1])), ast.Module([])).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if is_literal(value):
                if name not in used:
                    yield at, f"no later cell uses {name}"
            case _:
                yield at, f"not a name and a literal: {ast.unparse(statement)}"


def outputs(nb: NotebookNode, path: Path) -> Findings:
    """One full run in order, with no error, warning, log line or trace of the machine."""
    for count, (k, cell) in enumerate(cells(nb, "code"), 1):
        if not cell.source.strip():
            yield k, "an empty code cell"
        if cell.execution_count != count:
            yield k, f"execution count {cell.execution_count}, not {count}"
        for output in cell.outputs:
            data = output.get("data", {})
            if output.output_type == "error" or output.get("name") == "stderr":
                yield k, f"an output is an error: {output.get('ename', 'stderr')}"
            texts = [output.get("text", ""), *(data[mime] for mime in data if "text/" in mime)]
            for flaw, what in TEXT_FLAWS.items():
                if found := re.search(flaw, "\n".join(texts)):
                    yield k, f"an output shows {what}: {found[0]!r}"


def widgets(nb: NotebookNode, path: Path) -> Findings:
    """A widget lives on in a saved page: its state is stored, no other, and a still of it."""
    stored = nb.metadata.get("widgets", {}).get(f"{WIDGET}-state+json", {}).get("state", {})
    shown = set()
    for k, cell in cells(nb, "code"):
        for data in (output.get("data", {}) for output in cell.outputs):
            if view := data.get(f"{WIDGET}-view+json"):
                shown.add(view["model_id"])
                if "image/png" not in data:
                    yield k, "a widget without a still picture"
                if view["model_id"] not in stored:
                    yield k, "a widget whose state is not stored"
    needed = shown | set(
        re.findall(r"IPY_MODEL_(\w+)", str([stored.get(model) for model in shown]))
    )
    if stored.keys() - needed:
        yield 0, "the state of a widget that no output shows"
    for model in shown & stored.keys():
        for buffer in stored[model].get("buffers", []):
            if len(buffer["data"]) > 300_000:
                yield 0, f"a widget brings {len(buffer['data']) / 1000:.0f} KB of {buffer['path']}"


def figures(nb: NotebookNode, path: Path) -> Findings:
    """Every picture says in words what is to be seen."""
    for k, cell in cells(nb, "markdown"):
        if re.search(r"!\[\s*\]|<img(?![^>]*\balt=[\"'][^\"'])", prose(cell)):
            yield k, "a picture without a text alternative"
    for k, cell in cells(nb, "code"):
        calls = [ast.unparse(node.func) for node in nodes(cell) if isinstance(node, ast.Call)]
        if "plt.show" in calls:
            yield k, "plt.show( gives no text alternative, helpers.figures.show does"
        for output in cell.outputs:
            for mime in output.get("data", {}):
                alt = output.metadata.get(mime, {}).get("alt", "")
                if mime.startswith("image/") and len(alt) < 40:
                    yield k, f"a text alternative below 40 characters: {alt!r}"
                if alt.lower().startswith(("figure", "image", "plot of")):
                    yield k, f"a text alternative that begins with what it is: {alt!r}"


def code(nb: NotebookNode, path: Path) -> Findings:
    """Short cells of plain Python that stay inside the course: no shell, network or machine."""
    for k, cell in cells(nb, "code"):
        if len(cell.source.splitlines()) > 30:
            yield k, "more than 30 lines of code"
        tree = nodes(cell)
        if not tree:
            yield k, "not plain Python: a magic, a shell escape or a slip"
        # What follows a value in an f-string may begin with a stroke, as in f"{nats}/image".
        tails = {id(v) for node in tree if isinstance(node, ast.JoinedStr) for v in node.values[1:]}
        for node in tree:
            match node:
                case ast.alias(name=name) | ast.ImportFrom(module=str(name)):
                    if name.partition(".")[0] in FORBIDDEN_MODULES:
                        yield k, f"an import of {name}"
                case ast.Attribute(value=ast.Name(id="sys"), attr="path"):
                    yield k, "sys.path"
                case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                    # A wrong turn, shown to be one, may need the call that it warns of.
                    wrong_turn = name == "Lambda" and "wrong-turn" in cell.metadata.get("tags", [])
                    if name in FORBIDDEN_CALLS and not wrong_turn:
                        yield k, f"a call of {name}"
                case ast.Constant(value=str(text)):
                    if re.search(r"https?://", text):
                        yield k, "an address in a string"
                    elif re.match(r"/\w|~/|[A-Za-z]:[\\/]", text) and id(node) not in tails:
                        yield k, f"an absolute path: {text!r}"


def words(nb: NotebookNode, path: Path) -> Findings:
    """No word tells the student that it should have been easy."""
    for k, cell in cells(nb, "markdown"):
        # A link may be the title of a work, which is not ours to word.
        text = re.sub(r"\[[^\]]*\]\([^)]*\)|https?://\S+", "", prose(cell))
        yield from ((k, f"the word {word!r}") for word in re.findall(FORBIDDEN_WORDS, text))


def rhythm(nb: NotebookNode, path: Path) -> Findings:
    """Prose and code alternate, never more than a screen of either."""
    for kind, group in groupby(enumerate(nb.cells, 1), lambda numbered: numbered[1].cell_type):
        numbers = [k for k, _ in group]
        if kind == "code" and len(numbers) > 3:
            yield numbers[3], f"{len(numbers)} code cells in a row"
    for k, cell in cells(nb, "markdown"):
        if len(cell.source.splitlines()) > 40:
            yield k, "more than 40 lines of text"


def links(nb: NotebookNode, path: Path) -> Findings:
    """Relative links lead to files, and links to a repository lead to this one."""
    for k, cell in cells(nb, "markdown"):
        for target in map(unquote, targets(cell)):
            file = re.split(r"[#?]", target)[0]
            if not re.match(r"\w+:", target) and not Path(path.parent, file).exists():
                yield k, f"no such file: {file}"
            named = re.search(r"(?:github\.com|/gh|/github)/([\w.-]+/[\w.-]+)", target)
            if named and named[1].removesuffix(".git") != REPOSITORY:
                yield k, f"a link to {named[1]}, not to {REPOSITORY}"


def checks(cell: NotebookNode) -> Iterator[tuple[str, bool]]:
    """The exercises that a cell calls `check` for, and whether as a solution."""
    for node in nodes(cell):
        match node:
            case ast.Call(func=ast.Name(id="check"), args=[ast.Constant(value=str(name)), _]):
                yield name, any(keyword.arg == "solution" for keyword in node.keywords)


def bound(tree: ast.AST) -> set[str]:
    """The names that stay when a cell has run: not those inside of its functions."""
    if isinstance(tree, ast.FunctionDef | ast.ClassDef):
        return {tree.name}
    if isinstance(tree, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return set()
    here = {tree.id} if isinstance(tree, ast.Name) and isinstance(tree.ctx, ast.Store) else set()
    return here.union(*map(bound, ast.iter_child_nodes(tree)))


def exercises(nb: NotebookNode, path: Path) -> Findings:
    """Three to five exercises, each with a folded, checked solution; none needs another cell."""
    code_cells = list(cells(nb, "code"))
    answers = [
        (k, cell, tag)
        for k, cell in code_cells
        for tag in ("exercise", "solution")
        if tag in cell.metadata.get("tags", [])
    ]
    if [tag for *_, tag in answers] != ["exercise", "solution"] * (len(answers) // 2):
        yield 0, "the cells tagged exercise and solution do not take turns"
    elif not 3 <= len(answers) // 2 <= 5:
        yield 0, f"{len(answers) // 2} exercises, not three to five"
    topic = next((name.rpartition(".")[0] for _, c, _ in answers for name, _ in checks(c)), "")
    for i, (k, cell, tag) in enumerate(answers):
        wanted = f"{topic}.{i // 2 + 1}", tag == "solution"
        if list(checks(cell)) != [wanted]:
            yield k, f"not one call of check for {wanted[0]} as {tag}"
        if tag == "solution" and not cell.metadata.get("jupyter", {}).get("source_hidden"):
            yield k, "a solution that is not folded away"
        if tag == "solution" and not cell.source.startswith("# The solution"):
            yield k, "a solution whose first line, which a folded cell shows, is no comment"
        if "nbval-check-output" not in cell.metadata.tags:
            yield k, "a verdict that no test compares"
        names = set().union(*map(bound, nodes(cell)[:1]))
        for other, elsewhere in code_cells:
            used = {node.id for node in nodes(elsewhere) if isinstance(node, ast.Name)}
            used |= set().union(*map(bound, nodes(elsewhere)[:1]))
            if other != k and names & used:
                yield k, f"cell {other} has the names {sorted(names & used)}, too"
    if nb.cells and nb.cells[-1].source != f'progress("{topic}")':
        yield len(nb.cells), f'the last cell is not progress("{topic}")'


RULES = [valid, skeleton, parameters, outputs, widgets, figures, code, words, rhythm, links]
RULES += [exercises]


def lint(nb: NotebookNode, path: Path) -> Iterator[tuple[int, str, str]]:
    """Cell number, rule and message of each finding; only `valid` looks at an invalid file."""
    for rule in RULES:
        found = [(k, rule.__name__, message) for k, message in rule(nb, path)]
        yield from found
        if found and rule is valid:
            return


def main(paths: list[str]) -> int:
    """Lint the named files; 0 if all are in order, 1 if not, 2 if none is named."""
    if not paths:
        print("usage: python -m tools.lint_notebooks NOTEBOOK...", file=sys.stderr)
        return 2
    clean = True
    for path in map(Path, paths):
        try:
            nb = nbformat.v4.reads(path.read_text("utf-8"))
            found = list(dict.fromkeys(lint(nb, path)))
        except (OSError, ValueError, AttributeError, TypeError) as error:
            found = [(0, "valid", f"cannot be read as a notebook: {error!r}")]
        for k, rule, message in found:
            print(f"{path}: cell {k}: {rule}: {message}")
        clean = clean and not found
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
