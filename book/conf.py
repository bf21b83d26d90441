"""The course as a book: pages of the notebooks, from their stored outputs."""

import json
import re
import tomllib
from base64 import b64decode
from hashlib import sha256
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image
from sphinx.application import Sphinx

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
PROJECT = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
WIDGET = "application/vnd.jupyter.widget-view+json"
FOLDED = {
    "tags": ["hide-cell"],
    "mystnb": {"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"},
}

author = "the authors of the course"
project = html_title = "Variational autoencoders, built and measured"
language = "en"
extensions = ["myst_nb", "sphinx-mathjax-offline"]
root_doc = "docs/index"
include_patterns = ["docs/*.md", "notebooks/*.ipynb"]
exclude_patterns = [".venv", "build"]  # not walked through
nb_execution_mode = "off"
nb_ipywidgets_js = {"live.js": {"defer": "defer"}}  # in place of scripts from a CDN
mathjax3_config = {"loader": {"load": ["input/tex", "output/chtml", "a11y/assistive-mml"]}}
myst_html_meta = {"description": PROJECT["description"]}
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_url_schemes = {
    "http": None,
    "https": None,
    "repository": REPOSITORY + "{{path}}",
}

html_theme = "sphinx_book_theme"
html_static_path = ["static"]
html_extra_path = ["index.html"]  # leads to the first page
html_css_files = ["book.css"]
html_js_files = [("book.js", {"defer": "defer"})]
html_favicon = "static/favicon.svg"
html_context = {"default_mode": "light"}  # as the pictures are
html_show_copyright = html_show_sphinx = html_use_index = False
html_theme_options = {
    "repository_url": REPOSITORY,
    "repository_branch": "students",  # what the launch buttons open: copies without solutions
    "use_repository_button": True,
    "launch_buttons": {
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
        "notebook_interface": "jupyterlab",
    },
    "navbar_persistent": [],  # one search field is enough
    "logo": {"text": "Variational autoencoders"},
    "pygments_light_style": "a11y-high-contrast-light",
}


def adapt(app: Sphinx, name: str, source: list[str]) -> None:
    """Make of a page or a notebook as it is stored what the book shows."""
    if app.env.doc2path(name).suffix != ".ipynb":  # what is no page of the book is read elsewhere
        source[0] = re.sub(r"\]\(\.\./(?!notebooks/)", "](repository:/blob/main/", source[0])
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        if "solution" in cell["metadata"].get("tags", []):
            cell["metadata"] = FOLDED
        if cell["cell_type"] == "markdown":  # no bracket or comma apart from its formula
            joint = r"(?<=\()(?=\$)|(?<=[^\s$\\]\$)(?=[,.;:?!)])"
            cell["source"] = re.sub(joint, "\u2060", "".join(cell["source"]))
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                html = picture(app, data["image/png"], **output["metadata"]["image/png"])
                if WIDGET in data:  # live.js shows it in place of the picture before it
                    html += f'<script type="{WIDGET}">{json.dumps(data[WIDGET])}</script>'
                output["data"] = {"text/html": html}
    source[0] = json.dumps(notebook)


def picture(app: Sphinx, png: str | list[str], alt: str, width: int) -> str:
    """An image element with all that the notebook knows of it, in a third of the bytes."""
    image = Image.open(BytesIO(b64decode("".join(png)))).convert("RGBA")
    height = width * image.height // image.width
    files = BytesIO(), BytesIO()  # plots and digits want different kinds of WebP
    image.save(files[0], "webp", lossless=True)
    image.save(files[1], "webp", quality=85)
    webp = min((file.getvalue() for file in files), key=len)
    path = Path(app.outdir) / "_images" / f"{sha256(webp).hexdigest()[:16]}.webp"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(webp)
    source = f'src="../_images/{path.name}" width="{width}" height="{height}" loading="lazy"'
    shape = "picture wide" if width > 1.45 * height else "picture"
    return f'<img class="{shape}" alt="{escape(alt)}" {source}>'


def setup(app: Sphinx) -> None:
    """Connect the hook, and take less of MathJax than the extension would."""
    app.connect("source-read", adapt)
    app.config.mathjax_path = "mathjax/startup.js"
