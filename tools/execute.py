"""Run a notebook in full and store its outputs: python -m tools.execute NOTEBOOK.

The file changes only if the run ends without an error and without a word on stderr, and
then as a whole. What differs from run to run without meaning is left out, so that a run
that gives the same outputs gives the same bytes.
"""

import json
import os
import shutil
import sys
import time
from base64 import b64decode
from itertools import groupby
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
# What tests and classes at once run in place of a full run.
REDUCED = {
    "00_autoencoder": {"epochs": 1, "seeds": [1]},
    "05_training": {"epochs": 1, "short_epochs": 1, "seeds": [1]},
    "06_visualization": {"epochs": 1, "seeds": [1]},
    "07_beta": {"epochs": 1, "seeds": [1], "betas": [1, 20, 36]},
    "08_evaluation": {
        "epochs": 1, "source_epochs": 1, "seeds": [1], "draws": 200, "images": 40,
        "test_images": 60,
    },
    "09_deeper": {
        "epochs": 1, "final_epochs": 1, "seeds": [1], "images": 1_000, "latent_dims": [2],
        "grid_step": 0.1, "test_images": 60,
    },
    "10_conditional": {"epochs": 1, "seeds": [1]},
}  # fmt: skip


class RefusedError(Exception):
    """The run gave outputs that are not to be stored; the message says which."""


def execute(path: Path) -> NotebookNode:
    """The notebook at `path` with the outputs of a full run in its own folder.

    Raises:
        RefusedError: a cell failed, or wrote to stderr, or Graphviz is missing.
    """
    nb = nbformat.read(path, as_version=4)
    if not shutil.which("dot") and any("show_model(" in cell.source for cell in nb.cells):
        raise RefusedError("without Graphviz (the program dot) its diagrams would be lost")
    client = NotebookClient(
        nb,
        timeout=None,
        kernel_name="python3",
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],  # what the kernel logs goes to our terminal
        resources={"metadata": {"path": str(path.resolve().parent)}},
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise RefusedError(str(error)) from error
    for k, cell in enumerate(nb.cells, 1):
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise RefusedError(f"cell {k} wrote to stderr:\n{output.text}")
    return nb


def tidy(nb: NotebookNode) -> None:
    """Remove what differs from run to run: timing, versions, names, how text was cut."""
    nb.metadata["language_info"] = {"name": "python"}
    for cell in nb.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = merge_streams(cell.outputs)
    [widgets] = nb.metadata.get("widgets", {"": {"state": {}}}).values()
    for k, model in enumerate([*widgets["state"]]):  # in the order in which they were made
        renamed = nbformat.from_dict(json.loads(json.dumps(nb).replace(model, f"{k:032x}")))
        nb.cells, nb.metadata = renamed.cells, renamed.metadata


def merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The outputs with pieces of one stream that follow each other made one."""
    merged = []
    for stream, group in groupby(outputs, lambda output: output.get("name")):
        pieces = list(group)
        if stream:
            text = "".join(piece.text for piece in pieces)
            pieces = [nbformat.v4.new_output("stream", name=stream, text=text)]
        merged += pieces
    return merged


def write(nb: NotebookNode, path: Path) -> None:
    """Replace the file at `path` in one step, so that it is never half written."""
    new = path.with_name(path.name + ".new")
    try:
        new.write_text(nbformat.writes(nb) + "\n", encoding="utf-8", newline="\n")
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def write_pictures(nb: NotebookNode, folder: Path) -> None:
    """Store the figure of each cell tagged picture:NAME as NAME.png, for the README."""
    for cell in nb.cells:
        for tag in cell.metadata.get("tags", []):
            kind, _, name = tag.partition(":")
            if kind == "picture":
                data = next(o.data["image/png"] for o in cell.outputs if "image/png" in o.data)
                (folder / f"{name}.png").write_bytes(b64decode(data))


def peak_memory() -> str:
    """The most memory that any kernel run so far has held; nothing where nobody counts it."""
    try:
        import resource
    except ModuleNotFoundError:  # on Windows
        return ""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return f"  {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 1e9:.2f} GB"


def main(arguments: list[str]) -> int:
    """Run the one named notebook; 0 if it is stored, 1 if it is refused, 2 if none is named."""
    if len(arguments) != 1:
        print("usage: python -m tools.execute NOTEBOOK", file=sys.stderr)
        return 2
    path, start = Path(arguments[0]), time.perf_counter()
    try:
        nb = execute(path)
    except (RefusedError, OSError, nbformat.reader.NotJSONError) as error:
        print(f"{path} is left as it was: {error}", file=sys.stderr)
        return 1
    tidy(nb)
    write(nb, path)
    write_pictures(nb, path.parent.parent / "images")
    print(f"{path.name}  {time.perf_counter() - start:.1f} s{peak_memory()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
