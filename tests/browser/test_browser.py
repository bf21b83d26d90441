"""What a person sees: the notebooks in JupyterLab and the book, in headless Chromium.

JupyterLab is started by the README's command, on a copy of the course whose notebooks have
the reduced parameters of the other tests. Screenshots are left in build/screenshots.
"""

from helpers.decoder import decode as model_decode
from helpers.explorer import explore
from tests.fast.test_explorer import STATE, decoded, random_vae
from tests.reduced import check_parameters
from tests.repository import NOTEBOOKS, REPOSITORY, ROOT, copy_project
from tools import class_at_once
from tools.execute import REDUCED

import os
import re
import shutil
import subprocess
from base64 import b64decode, b64encode
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from operator import attrgetter
from statistics import median
from threading import Thread
from types import SimpleNamespace
from urllib.parse import unquote

import nbformat
import numpy as np
import papermill
import pytest
from axe_playwright_python.sync_playwright import Axe
from nbconvert.preprocessors import ClearOutputPreprocessor
from playwright.sync_api import expect

HERE = REPOSITORY.removeprefix("https://github.com/")
BOOK = ROOT / "build" / "book"
PAGES = sorted(path.relative_to(BOOK).as_posix() for path in BOOK.glob("[!_]*/*.html"))
PAGES += ["search.html"] if PAGES else []
SCREENSHOTS = ROOT / "build" / "screenshots"
SCREEN, TELEPHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
TALLEST = 16_000  # CSS pixels of a screenshot that Chromium makes
EXPLORED = ("06_visualization", "07_beta")
STEM = attrgetter("stem")


@pytest.fixture
def page(chromium):
    """An empty page that keeps what goes wrong in page.errors, and page.answers."""
    with chromium.new_context(viewport=SCREEN) as context:
        yield watch(context.new_page())


def watch(page):
    """Keep what a page complains of, and all answers that it gets."""
    page.errors, page.answers = [], []
    page.on("console", lambda message: message.type == "error" and page.errors.append(message.text))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("response", lambda answer: page.answers.append(answer))
    return page


def violations(page, within):
    """The serious and critical violations that axe-core finds in a part of a page."""
    result = Axe().run(page, context={"include": [within]}).response
    assert result["passes"], "axe-core looked at nothing"
    return [
        f"{rule['id']}: {node['html']}"
        for rule in result["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def picture(page):
    """What the canvas of the decoded picture holds."""
    return page.locator(".vae-decoded").first.evaluate("canvas => canvas.toDataURL()")


def use_explorer(page):
    """Move over the explorer by mouse and by key, take a digit, draw a line: the page follows.

    Gives the median of the milliseconds from a movement to the picture on the canvas.
    """
    plane = page.get_by_role("application").first
    point, digit, line = page.locator(".vae-explorer").first.locator("figure").all()
    for _ in range(3):  # what is above may still be growing
        plane.evaluate("plane => plane.scrollIntoView({ block: 'center' })")
        page.wait_for_timeout(300)
    box = plane.bounding_box()

    def at(right, up):
        return box["x"] + right * box["width"], box["y"] + (1 - up) * box["height"]

    page.evaluate("""() => {
        window.delays = [];
        window.onpointermove = (event) => window.delays.push(performance.now() - event.timeStamp);
    }""")
    seen = set()
    for k in range(60):
        page.mouse.move(*at(0.2 + 0.01 * k, 0.8 - 0.008 * k))
        seen.add(picture(page))
    assert len(seen) > 50  # another picture at almost every point
    plane.focus()
    for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"):
        before, told = picture(page), point.inner_text()
        page.keyboard.press(key)
        assert picture(page) != before and point.inner_text() != told
    expect(digit).to_be_hidden()
    page.mouse.click(*at(0.5, 0.5))
    expect(digit).to_contain_text("and its reconstruction from z_mean")
    page.mouse.move(*at(0.3, 0.5))
    page.mouse.down()
    page.mouse.move(*at(0.7, 0.6), steps=5)
    page.mouse.up()
    expect(line).to_contain_text("9 pictures on the way from z")
    named = page.locator(".vae-explorer canvas[role=img]:visible").evaluate_all(
        "all => all.map((canvas) => canvas.ariaLabel)"
    )
    assert len(named) == 5 and all(len(name) > 12 for name in named), named
    return median(page.evaluate("window.delays"))


# JupyterLab ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A copy of the course without outputs, with reduced parameters and this environment."""
    folder = tmp_path_factory.mktemp("browser") / "Kurs für Übung 3"
    copy_project(folder)
    for stem in EXPLORED:
        copied = folder / "notebooks" / f"{stem}.ipynb"
        shutil.copy(copied, copied.with_stem(f"{stem}_stored"))
    for notebook in NOTEBOOKS:
        parameters, copied = REDUCED.get(notebook.stem, {}), folder / "notebooks" / notebook.name
        check_parameters(notebook, parameters)
        nb = ClearOutputPreprocessor().preprocess(nbformat.read(notebook, as_version=4), {})[0]
        nb.metadata.pop("widgets", None)
        nbformat.write(nb, copied)
        options = {"prepare_only": True, "progress_bar": False}
        papermill.execute_notebook(copied, copied, parameters, **options)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


@pytest.fixture(scope="module")
def lab(course, tmp_path_factory):
    """JupyterLab as `make lab` starts it, without a browser of its own: address and token."""
    home = tmp_path_factory.mktemp("home")
    stored = [course / "notebooks" / f"{stem}_stored.ipynb" for stem in EXPLORED]
    trust = [ROOT / ".venv" / "bin" / "jupyter", "trust", *stored]
    variables = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")}
    variables["HOME"] = str(home)  # where it keeps what is trusted
    subprocess.run(trust, env=variables, check=True, stdout=subprocess.DEVNULL)
    with class_at_once.lab(course, home) as server:
        yield server


def open_notebook(page, lab, stem):
    """Open a notebook by the path of its Binder link, and wait for its kernel."""
    page.goto(f"{lab.url}lab/tree/notebooks/{stem}.ipynb?reset&token={lab.token}")
    status = page.locator(".jp-Notebook-ExecutionIndicator")
    expect(status).to_have_attribute("data-status", "idle", timeout=120_000)
    page.wait_for_timeout(3000)  # what is run in the first moment may be lost
    return status


def close_kernels(page, lab):
    """End all kernels of the server, so that the next notebook has the memory."""
    headers = {"Authorization": f"token {lab.token}"}
    for kernel in page.request.get(f"{lab.url}api/kernels", headers=headers).json():
        page.request.delete(f"{lab.url}api/kernels/{kernel['id']}", headers=headers)


def photograph(page, name):
    """Screenshots of the whole notebook in JupyterLab, at both widths."""
    outer = page.locator(".jp-WindowedPanel-outer")
    files = page.locator(".jp-SideBar.jp-mod-left .lm-TabBar-tab.lm-mod-current")
    if files.count():
        files.click()  # no list of files beside it, for which a telephone has no room
    for size in (TELEPHONE, SCREEN):
        page.set_viewport_size({**size, "height": TALLEST})
        page.wait_for_timeout(2000)  # cells have their height when they have been on the screen
        height = page.locator(".jp-WindowedPanel-inner").evaluate("cells => cells.scrollHeight")
        for part, top in enumerate(range(0, height, TALLEST - 1000), 1):
            rest = min(TALLEST, height - top + 200)
            page.set_viewport_size({**size, "height": rest})
            outer.evaluate("(panel, top) => panel.scrollTo(0, top)", top)
            page.wait_for_timeout(1000)
            page.screenshot(path=SCREENSHOTS / f"lab-{name}-{size['width']}-{part}.png")
        page.set_viewport_size(size)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=STEM)
def test_run_all_in_jupyterlab(page, lab, course, notebook):
    status = open_notebook(page, lab, notebook.stem)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    nb = nbformat.read(course / "notebooks" / notebook.name, as_version=4)
    cells = sum(cell.cell_type == "code" for cell in nb.cells)
    last = page.locator(".jp-InputPrompt", has_text=f"[{cells}]:")
    expect(last).to_be_attached(timeout=900_000)
    expect(status).to_have_attribute("data-status", "idle")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saving completed")).to_be_visible()
    nb = nbformat.read(course / "notebooks" / notebook.name, as_version=4)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell.outputs]
    assert [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"] == []
    with_figures = [cell.id for cell in code if pictures(cell)]
    stored = [cell for cell in nbformat.read(notebook, as_version=4).cells if pictures(cell)]
    if not shutil.which("dot"):  # without Graphviz the notebook says that a diagram is missing
        stored = [cell for cell in stored if "show_model(" not in cell.source]
    assert with_figures == [cell.id for cell in stored]
    explored = page.locator(".vae-explorer").count()
    assert explored == (notebook.stem in EXPLORED)
    shown = page.locator(".jp-RenderedImage img").evaluate_all(
        "all => all.map((image) => image.naturalWidth)"
    )
    assert len(shown) == sum(map(pictures, code)) - explored and min(shown) > 100
    if explored:
        print(f"{notebook.stem}: the picture follows in {use_explorer(page):.1f} ms")
        assert violations(page, ".vae-explorer") == []
    if notebook.stem == "07_beta":
        choose_a_model(page)
    photograph(page, notebook.stem)
    close_kernels(page, lab)
    assert page.errors == []
    expect(page.get_by_text("Jupyter news")).to_have_count(0)


def pictures(cell):
    """How many outputs of a cell hold a picture."""
    return sum("image/png" in output.get("data", {}) for output in cell.get("outputs", []))


def choose_a_model(page):
    """Another model comes from the kernel, and draws another picture of the same point."""
    before = picture(page)
    models = page.locator(".vae-explorer select")
    models.select_option(index=1)
    page.wait_for_function(
        "before => document.querySelector('.vae-decoded').toDataURL() !== before", arg=before
    )
    page.wait_for_timeout(3500)  # by now the page would have said that no model came
    assert models.input_value() == "1"


@pytest.mark.parametrize("stem", EXPLORED)
def test_a_stored_explorer_lives_before_any_cell_is_run(page, lab, stem):
    open_notebook(page, lab, f"{stem}_stored")
    outer = page.locator(".jp-WindowedPanel-outer")
    while not page.locator(".vae-explorer").count():  # a cell is drawn when it is scrolled to
        at, height = outer.evaluate("panel => [panel.scrollTop += 400, panel.scrollHeight - 1000]")
        assert at < height, "no explorer in the notebook"
        page.wait_for_timeout(300)
    assert use_explorer(page) <= 16
    close_kernels(page, lab)
    assert page.errors == []


# The book ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def book():
    """The address of the book, served from this machine."""
    assert PAGES, "there is no book: make test-browser makes it first"

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=BOOK)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def load_all(page):
    """Let every picture load, as if it had been scrolled to."""
    page.evaluate("document.querySelectorAll('img').forEach((image) => image.loading = 'eager')")
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("size", [SCREEN, TELEPHONE], ids=["screen", "telephone"])
@pytest.mark.parametrize("name", PAGES)
def test_page_of_the_book(page, book, name, size):
    page.set_viewport_size(size)
    page.goto(book + name, wait_until="networkidle")
    load_all(page)
    name = name.replace("/", "-")
    page.screenshot(path=SCREENSHOTS / f"book-{name}-{size['width']}.png", full_page=True)
    assert page.errors == []
    assert all(answer.url.startswith((book, "blob:", "data:")) for answer in page.answers)
    weight = sum(len(answer.body()) for answer in page.answers if answer.url.startswith(book))
    assert weight < 3_000_000, f"{weight / 1e6:.2f} MB"
    assert page.locator("mjx-merror").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    for image in page.locator("article img").all():
        alt, width = image.get_attribute("alt"), image.evaluate("image => image.naturalWidth")
        assert len(alt or "") >= 40 and not re.match("(?i)figure|image|plot", alt) and width, alt
    assert violations(page, "body") == []


def test_links_inside_of_the_book_lead_somewhere(page, book):
    names, leads = {}, set()
    for name in PAGES:
        page.goto(book + name)
        hrefs = page.locator("a[href]").evaluate_all("all => all.map((link) => link.href)")
        leads |= {(name, href.removeprefix(book)) for href in hrefs if href.startswith(book)}
        ids = page.locator("[id]").evaluate_all("all => all.map((element) => element.id)")
        names[name] = {*ids, ""}
    assert len(leads) > 100
    for name, lead in leads:
        path, _, anchor = unquote(lead).partition("#")
        path = path.partition("?")[0] or "index.html"
        assert (BOOK / path).is_file(), (name, lead)
        assert path not in names or anchor in names[path], (name, lead)


def test_the_book_is_read_from_the_first_page_to_the_last(page, book):
    page.goto(book)
    page.wait_for_url(f"{book}docs/index.html")
    for notebook in NOTEBOOKS:
        page.locator("a.right-next").click()
        page.wait_for_url(f"{book}notebooks/{notebook.stem}.html")
        place = f"?urlpath=lab/tree/notebooks/{notebook.name}"
        launch = page.locator("a[href*='mybinder.org']").first.get_attribute("href")
        assert unquote(launch) == f"https://mybinder.org/v2/gh/{HERE}/students{place}"
        launch = page.locator("a[href*='colab.research']").first.get_attribute("href")
        place = f"{HERE}/blob/students/notebooks/{notebook.name}"
        assert launch == f"https://colab.research.google.com/github/{place}"
        assert page.locator("details.hide").count() >= 3
        assert not page.locator("details.hide[open]").count()
    for name in ("teachers", "classroom", "speed", "testing", "changing"):
        page.locator("a.right-next").click()
        page.wait_for_url(f"{book}docs/{name}.html")
    page.locator("a.left-prev").click()
    page.wait_for_url(f"{book}docs/testing.html")


def test_a_solution_opens_by_key(page, book):
    page.goto(f"{book}notebooks/02_sampling.html")
    solution = page.locator("details").filter(has_text="The solution").first
    expect(solution.locator(".cell_input")).to_be_hidden()
    solution.locator("summary").press("Enter")
    expect(solution.locator(".cell_input")).to_be_visible()


def test_the_book_is_searched(page, book):
    page.goto(f"{book}search.html?q=posterior")
    hits = page.locator("#search-results li a")
    expect(hits.first).to_be_visible(timeout=20_000)
    hits.first.click()
    expect(page.locator("main")).to_contain_text("posterior")
    assert page.errors == []


@pytest.mark.parametrize("stem", EXPLORED)
def test_the_explorer_of_the_book_needs_no_kernel_and_no_network(page, book, stem):
    page.goto(f"{book}notebooks/{stem}.html", wait_until="networkidle")
    load_all(page)
    page.context.set_offline(True)
    stored = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4).metadata.widgets
    [model] = [m for m in stored[STATE].state.values() if m.model_name == "AnyModel"]
    buffers = {buffer.path[0]: b64decode(buffer.data) for buffer in model.buffers}
    state = SimpleNamespace(layers=model.state.layers, weights=buffers["weights"])
    drawn = page.locator(".vae-decoded").evaluate(
        """canvas => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, 28, 28);
            return Array.from(data).filter((_, k) => k % 4 === 0);
        }"""
    )
    expected = 255 * (1 - decoded(state, np.zeros((1, 2)))[0])
    np.testing.assert_allclose(drawn, expected, atol=0.51)
    delay = use_explorer(page)
    print(f"{stem}: the picture follows in {delay:.2f} ms")
    assert delay <= 16
    assert page.errors == []
    options = page.locator(".vae-explorer option").all()
    assert [o.is_disabled() for o in options] == [False, *[True] * (len(model.state.names) - 1)]
    page.context.set_offline(False)  # axe-core reads the style sheets again
    assert violations(page, ".vae-explorer") == []


def test_the_page_decodes_as_the_model_does(page):
    model = random_vae(0)
    explorer = explore(model, np.zeros((1, 784)), [0])
    points = np.concatenate(
        [np.random.default_rng(2).normal(0, 2, (50, 2)), [[0, 0], [40, -40], [-1e6, 1e6]]]
    )
    source = explorer._esm
    weights = b64encode(explorer.weights).decode()
    found = page.evaluate(
        """async ([source, layers, weights, points]) => {
            const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
            const { unpack, decode } = await import(url);
            const bytes = Uint8Array.from(atob(weights), (c) => c.charCodeAt(0));
            const decoder = unpack(layers, new DataView(bytes.buffer));
            return points.map((z) => Array.from(decode(decoder, z)));
        }""",
        [source, explorer.layers, weights, points.tolist()],
    )
    np.testing.assert_allclose(found, model_decode(model.decoder, points), atol=1e-4)


def test_a_finger_explores(chromium, book):
    with chromium.new_context(viewport=TELEPHONE, has_touch=True, is_mobile=True) as context:
        page = watch(context.new_page())
        page.goto(f"{book}notebooks/06_visualization.html", wait_until="networkidle")
        plane = page.get_by_role("application")
        plane.scroll_into_view_if_needed()
        before = picture(page)
        plane.tap(position={"x": 150, "y": 150})
        assert picture(page) != before
        expect(page.locator(".vae-explorer figure").nth(1)).to_contain_text("Test digit")
        expect(page.get_by_role("button", name="Draw a line with a finger")).to_be_visible()
        page.screenshot(path=SCREENSHOTS / "explorer-finger.png")
        assert page.errors == []


def test_without_scripts_a_picture_stands_in_place_of_the_explorer(chromium, book):
    with chromium.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{book}notebooks/06_visualization.html")
        expect(page.get_by_alt_text("A still of the latent explorer")).to_be_visible()
        assert page.locator(".vae-explorer").count() == 0
