"""JupyterLab in a real browser, for tests: a notebook to click in.

JupyterLab takes seconds to load. A page of it that a test has let go is therefore taken by the next one, which opens its
notebook there, as people do; a test that is about loading says ``book.load()``.

What a page asks for and what its console says is kept. Names of other machines do not resolve in this browser, so a
request that would leave the machine fails, and ``Page.strays`` names it.

A test opens a notebook, runs it, and looks::

    book = lab.open("answer = 6 * 7\\nprint(answer)")
    book.run_all()
    book.wait_for_text("42")
    book.screenshot("answer")
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import nbformat
import pytest
from started import DEADLINE, ROOT, Server, eventually

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

__all__ = ["DEADLINE", "ROOT", "Book", "Lab", "Server", "eventually"]

_FREE: Final = "free for the next notebook"
"""The window name of a page in which JupyterLab has no notebook: the browser keeps it from one module to the next."""
_LOCAL: Final = {"127.0.0.1", "localhost", ""}
_HARMLESS: Final = (
    re.compile(r"favicon"),
    re.compile(r"ERR_NAME_NOT_RESOLVED"),  # counted as a stray request, with its address
    re.compile(r"Command 'filebrowser:open-path' not registered"),  # Notebook 7 at its start
    re.compile(r"Cannot read properties of undefined \(reading 'schema'\)"),  # Notebook 7 at its start
)
"""Complaints of the page's console that are the frontend's own and say nothing about what it shows."""


# -- the notebooks ---------------------------------------------------------------------------------------------------


class Lab:
    """Opens notebooks of one server in one browser."""

    def __init__(self, server: Server, context: BrowserContext) -> None:
        self.server = server
        self.context = context
        self._open: list[Book] = []

    def open(self, *cells: str, name: str = "", app: str = "lab", dark: bool = False, width: int = 1280) -> Book:
        """Write a notebook of code *cells* and show it.

        Args:
            cells: the source of each cell.
            name: of the file, without its ending; by default one that is free.
            app: ``"lab"`` or ``"notebook"`` (Notebook 7).
            dark: use the dark theme.
            width: of the window, in pixels.
        """
        stem = name or f"book{len(list(self.server.root.glob('*.ipynb')))}"
        path = self.server.root / f"{stem}.ipynb"
        kernel = {"name": self.server.kernel, "display_name": "Python under test", "language": "python"}
        book = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
        book.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(book, path)
        return self.show(path, app=app, dark=dark, width=width)

    def show(self, path: Path, *, app: str = "lab", dark: bool = False, width: int = 1280) -> Book:
        """Show a notebook that is in the server's folder already."""
        free = self._free_page() if app == "lab" else None
        page = free or self.context.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        page.bring_to_front()  # behind another page it would draw once a second
        book = Book(self, page, path, app)
        self._open.append(book)
        if free:
            book.open()
        else:
            book.load()
        if dark != (page.get_attribute("body", "data-jp-theme-light") == "false"):
            book.theme(dark=dark)
        return book

    def _free_page(self) -> Page | None:
        return next((page for page in self.context.pages if page.evaluate("() => window.name") == _FREE), None)

    def close(self) -> None:
        """Close every page that was opened, and end its kernel."""
        while self._open:
            self._open.pop().close()


class Book:
    """A notebook in a page.

    Attributes:
        page: Playwright's page, for whatever is not here.
        complaints: what the page's console has called an error, and errors that nobody caught.
        strays: addresses on other machines that the page asked for.
    """

    def __init__(self, lab: Lab, page: Page, path: Path, app: str) -> None:
        self.lab, self.page, self.path, self.app = lab, page, path, app
        self.complaints: list[str] = []
        self.strays: list[str] = []
        self._heard: list[tuple[Any, Callable[[Any], None]]] = [
            ("console", lambda said: self._complain(said.text) if said.type == "error" else None),
            ("pageerror", lambda error: self._complain(str(error))),
            ("request", lambda request: self._asked(request.url)),
            ("websocket", lambda socket: self._asked(socket.url)),
        ]
        for event, hear in self._heard:
            page.on(event, hear)

    def _complain(self, text: str) -> None:
        if not any(known.search(text) for known in _HARMLESS):
            self.complaints.append(text)

    def _asked(self, url: str) -> None:
        if urlsplit(url).hostname not in _LOCAL | {None}:
            self.strays.append(url)

    def load(self) -> None:
        """Load the page (again), and wait until the notebook can be run."""
        server, name = self.lab.server, quote(f"{self.path.parent.name}/{self.path.name}")
        where = f"notebooks/{name}?" if self.app == "notebook" else f"lab/tree/{name}?reset&"
        self.page.goto(f"{server.url}{where}token={server.token}")
        self._ready()

    def open(self) -> None:
        """Open the notebook in a page that has JupyterLab already."""
        script = """async ([path, name]) => {
            window.name = name;
            const { commands, serviceManager, shell } = window.jupyterapp;
            await serviceManager.kernelspecs.refreshSpecs();
            shell.expandLeft();
            await commands.execute('docmanager:open', { path, factory: 'Notebook' });
        }"""
        self.page.evaluate(script, [f"{self.path.parent.name}/{self.path.name}", "taken"])
        self._ready()

    def _ready(self) -> None:
        self.page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.context?.isReady")
        self.page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget.sessionContext?.session?.kernel?.connectionStatus === 'connected'"
        )
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")

    def command(self, name: str, **arguments: Any) -> None:
        """Execute one of the frontend's own commands, such as ``notebook:run-all-cells``."""
        self.page.evaluate("([name, args]) => window.jupyterapp.commands.execute(name, args)", [name, arguments])

    def theme(self, *, dark: bool) -> None:
        """Change to the dark or the light theme."""
        self.command("apputils:change-theme", theme="JupyterLab Dark" if dark else "JupyterLab Light")
        self.page.wait_for_selector(f"body[data-jp-theme-light='{'false' if dark else 'true'}']", state="attached")
        # the attribute comes before the style sheet
        self.page.wait_for_function(
            """dark => {
                const found = getComputedStyle(document.querySelector('.jp-Notebook')).backgroundColor.match(/[0-9]+/g);
                return found !== null && found.length === 3 && (Number(found[0]) < 128) === dark;
            }""",
            arg=dark,
        )
        # JupyterLab stumbles over its own splash where the theme is changed again before it has faded away
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")

    # -- running ----------------------------------------------------------------------------------------------------

    def run_all(self, *, wait: bool = True) -> None:
        """Run all cells, as the menu does; *wait* until the kernel has nothing left to do."""
        self._run("notebook:run-all-cells", wait)

    def run(self, index: int, *, wait: bool = True) -> None:
        """Run one cell."""
        self.page.evaluate("index => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = index }", index)
        self._run("notebook:run-cell", wait)

    def _run(self, command: str, wait: bool) -> None:
        if wait:
            self.page.evaluate("name => window.jupyterapp.commands.execute(name)", command)
            self.idle()
        else:
            self.page.evaluate("name => { window.jupyterapp.commands.execute(name) }", command)

    def busy(self) -> bool:
        """Return whether the frontend shows the kernel as busy."""
        status = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status"
        return bool(self.page.evaluate(f"() => {status} === 'busy'"))

    def idle(self) -> None:
        """Wait until the kernel is idle."""
        self.page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
        )

    def restart(self) -> None:
        """Restart the kernel, without the question that the menu asks."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
        self.idle()

    def insert(self, source: str) -> int:
        """Add a cell at the end and return its index."""
        script = """source => {
            const book = window.jupyterapp.shell.currentWidget.content;
            book.model.sharedModel.addCell({cell_type: 'code', source});
            return book.widgets.length - 1;
        }"""
        return int(self.page.evaluate(script, source))

    # -- looking ----------------------------------------------------------------------------------------------------

    def cell(self, index: int) -> Locator:
        """Return a cell."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def output(self, index: int) -> Locator:
        """Return the output area of a cell."""
        return self.cell(index).locator(".jp-Cell-outputArea").first

    def text(self, index: int) -> str:
        """Return the text that stands in the output of a cell now."""
        return self.output(index).inner_text()

    def wait_for_text(self, text: str, index: int | None = None) -> None:
        """Wait until *text* is shown in the output of a cell, or of any."""
        where = self.page.locator(".jp-Notebook .jp-OutputArea") if index is None else self.output(index)
        where.get_by_text(text).first.wait_for()

    def screenshot(self, name: str, of: Locator | None = None) -> Path:
        """Save a picture of the page, or of a part of it, and return where.

        Pictures go to the folder that ``ROMANCY_SCREENSHOTS`` names, else beside the server's files.
        """
        folder = Path(os.environ.get("ROMANCY_SCREENSHOTS", "") or self.lab.server.root.parent / "pictures")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        (of or self.page).screenshot(path=str(path))
        return path

    def save(self) -> nbformat.NotebookNode:
        """Save the notebook and return what the file holds."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")
        return nbformat.read(self.path, as_version=4)

    def is_clean(self) -> None:
        """Assert that the page asked no other machine for anything and that its console has no errors."""
        assert self.strays == [], f"the page asked for {self.strays}"
        assert self.complaints == [], f"the page's console: {self.complaints}"

    def is_accessible(self, *where: str) -> None:
        """Assert that axe-core finds no fault in what the selectors *where* find."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
        found = axe.run(self.page, context=list(where))
        assert found.violations_count == 0, found.generate_report()

    def close(self) -> None:
        """End the kernel and close the notebook; leave the page to the next one."""
        script = """async name => {
            const widget = window.jupyterapp.shell.currentWidget;
            await widget.sessionContext.shutdown();
            widget.dispose();
            window.name = name;
        }"""
        try:
            self.page.evaluate(script, _FREE if self.app == "lab" else "")
        except BaseException:
            self.page.close()
            raise
        for event, hear in self._heard:
            self.page.remove_listener(event, hear)
        if self.app != "lab":
            self.page.close()
