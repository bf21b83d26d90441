"""Notebooks run with smaller parameters, by papermill and by nbval.

For both, Dask is missing in the kernel: sweeps then train there, one after the other, where
starting workers would take longer than these short trainings do.
"""

import os
import subprocess
import sys

import nbformat
import papermill

WITHOUT_DASK = "import sys; sys.modules['distributed'] = None"


def check_parameters(notebook, parameters):
    """Raise ValueError if a parameter has no place in the notebook; papermill only warns."""
    unknown = parameters.keys() - papermill.inspect_notebook(notebook).keys()
    if unknown:
        raise ValueError(f"{notebook.name} has no parameters {sorted(unknown)}")


def execute(notebook, folder, parameters, prepare_only=False):
    """The copy of a notebook, in `folder`, that papermill parametrises and runs."""
    check_parameters(notebook, parameters)
    copy = folder / notebook.name
    papermill.execute_notebook(
        notebook,
        copy,
        parameters,
        prepare_only=prepare_only,
        progress_bar=False,
        execution_timeout=600,
        cwd=notebook.parent,
        extra_arguments=[f"--IPKernelApp.exec_lines={WITHOUT_DASK}"],
    )
    return nbformat.read(copy, as_version=4)


def replay(notebook):
    """Let nbval run a notebook and compare its tagged cells, out of reach of our settings.

    The kernel starts in the folder of the notebook, here a temporary one: a relative path
    finds nothing, and need not, since a course notebook reads its data through the helpers.
    """
    profile = notebook.parent / "ipython"  # nbval has no option for what a kernel runs at first
    (profile / "profile_default" / "startup").mkdir(parents=True, exist_ok=True)
    (profile / "profile_default" / "startup" / "dask.py").write_text(WITHOUT_DASK, "utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment["IPYTHONDIR"] = str(profile)
    options = ["-p", "no:cacheprovider", "-c", os.devnull, f"--rootdir={notebook.parent}"]
    nbval = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=600"]
    command = [sys.executable, "-m", "pytest", *options, *nbval, str(notebook)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def printed(nb, name="stdout"):
    """All that a notebook's cells wrote to a stream."""
    outputs = [output for cell in nb.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.get("name") == name)


def tagged(nb):
    """The cells whose output is compared."""
    return [c for c in nb.cells if "nbval-check-output" in c.metadata.get("tags", [])]
