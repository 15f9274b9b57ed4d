"""JupyterLab in a real browser, for tests: a server on loopback, Chromium without a window, and a notebook to click in.

What a page asks for and what its console says is kept. Names of other machines do not resolve in this browser, so a
request that would leave the machine fails, and ``Page.strays`` names it.

A test opens a notebook, runs it, and looks::

    book = lab.open("answer = 6 * 7\\nprint(answer)")
    book.run_all()
    book.wait_for_text("42")
    book.screenshot("answer")
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import nbformat
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

__all__ = ["DEADLINE", "Book", "Lab", "Server", "browser_context", "chromium", "eventually", "server"]

_T = TypeVar("_T")

ROOT: Final = Path(__file__).parents[3]
DEADLINE: Final = 60.0
"""Seconds after which what a test waits for in a page has not come."""

_KERNEL: Final = "romancy-test"
_ARGUMENTS: Final = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
_LOCAL: Final = {"127.0.0.1", "localhost", ""}
_SETTINGS: Final[dict[str, dict[str, Any]]] = {
    # what is scrolled out of sight is in the page all the same, so that tests find it
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}
_HARMLESS: Final = (
    re.compile(r"favicon"),
    re.compile(r"ERR_NAME_NOT_RESOLVED"),  # counted as a stray request, with its address
    re.compile(r"Command 'filebrowser:open-path' not registered"),  # Notebook 7 at its start
    re.compile(r"Cannot read properties of undefined \(reading 'schema'\)"),  # Notebook 7 at its start
)
"""Complaints of the page's console that are the frontend's own and say nothing about what it shows."""


def chromium() -> str:
    """Return the path of Chromium, or skip the test where there is none."""
    pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    pytest.importorskip("jupyterlab", reason="the browser tests need jupyterlab")
    names = (os.environ.get("ROMANCY_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium here: install Debian's package chromium, or name one in ROMANCY_CHROMIUM")
    return found


# -- the server ------------------------------------------------------------------------------------------------------


class Server:
    """A JupyterLab server (with Notebook 7, where that is installed) whose files, settings and kernels are in one folder.

    Attributes:
        url: where it listens, ending in ``/``.
        token: what its pages want to be given.
        root: the folder that it shows.
    """

    def __init__(self, room: Path, python: str = sys.executable, **env: str) -> None:
        self.root = room / "books"
        self.root.mkdir(parents=True)
        self._room = room
        _write_kernel(room / "data" / "kernels" / _KERNEL, python, env)
        for name, chosen in _SETTINGS.items():
            file = room / "settings" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(chosen))
        self._log = (room / "server.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *self._options()],
            cwd=self.root,
            env=self._environment(),
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.url, self.token = self._address()

    def _options(self) -> list[str]:
        return [
            "--no-browser",
            "--allow-root",
            "--ServerApp.ip=127.0.0.1",
            "--ServerApp.port=0",
            f"--ServerApp.root_dir={self.root}",
            "--ServerApp.allow_remote_access=False",
            "--LabApp.expose_app_in_browser=True",
            "--JupyterNotebookApp.expose_app_in_browser=True",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.news_url=None",
        ]

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("ROMANCY_", "JPY_", "JUPYTER"))
        }
        places = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        return {**kept, **{name: str(self._room / folder) for name, folder in places.items()}}

    def _address(self) -> tuple[str, str]:
        def answers() -> tuple[str, str] | None:
            assert self._process.poll() is None, f"JupyterLab ended: {self.log()[-2000:]}"
            for file in (self._room / "runtime").glob("jpserver-*.json"):
                try:
                    told = json.loads(file.read_text())
                    with urllib.request.urlopen(f"{told['url']}api?token={told['token']}", timeout=5):
                        return told["url"], told["token"]
                except (OSError, ValueError):
                    pass
            return None

        return eventually(answers, "JupyterLab to answer")

    def log(self) -> str:
        """Return what the server has written."""
        return (self._room / "server.log").read_text("utf-8", "replace")

    def close(self) -> None:
        """Stop the server and its kernels."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def _write_kernel(folder: Path, python: str, env: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    spec = {
        "argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python under test",
        "language": "python",
        "env": {"PYTHONPATH": str(ROOT), **env},
    }
    (folder / "kernel.json").write_text(json.dumps(spec))


@contextmanager
def server(room: Path, python: str = sys.executable, **env: str) -> Iterator[Server]:
    """Run a server whose kernels are *python*, with *env* in their environment."""
    made = Server(room, python, **env)
    try:
        yield made
    finally:
        made.close()


# -- the browser -----------------------------------------------------------------------------------------------------


@contextmanager
def browser_context(profile: Path) -> Iterator[BrowserContext]:
    """Run Chromium with a new profile.

    While it is there, asyncio believes that a loop runs in this thread: keep it no longer than one module of tests.
    """
    from playwright.sync_api import sync_playwright

    path = chromium()
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile), executable_path=path, args=_ARGUMENTS, viewport={"width": 1280, "height": 900}
        )
        context.set_default_timeout(DEADLINE * 500)
        try:
            yield context
        finally:
            context.close()


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
        kernel = {"name": _KERNEL, "display_name": "Python under test", "language": "python"}
        book = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
        book.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(book, path)
        return self.show(path, app=app, dark=dark, width=width)

    def show(self, path: Path, *, app: str = "lab", dark: bool = False, width: int = 1280) -> Book:
        """Show a notebook that is in the server's folder already."""
        page = self.context.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        book = Book(self, page, path, app)
        self._open.append(book)
        book.load()
        if dark:
            book.theme(dark=True)
        return book

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
        page.on("console", lambda said: said.type == "error" and self._complain(said.text))
        page.on("pageerror", lambda error: self._complain(str(error)))
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda socket: self._asked(socket.url))

    def _complain(self, text: str) -> None:
        if not any(known.search(text) for known in _HARMLESS):
            self.complaints.append(text)

    def _asked(self, url: str) -> None:
        if urlsplit(url).hostname not in _LOCAL | {None}:
            self.strays.append(url)

    def load(self) -> None:
        """Load the page (again), and wait until the notebook can be run."""
        server, name = self.lab.server, quote(self.path.name)
        where = f"notebooks/{name}?" if self.app == "notebook" else f"lab/tree/{name}?reset&"
        self.page.goto(f"{server.url}{where}token={server.token}")
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

    def close(self) -> None:
        """End the kernel and close the page."""
        try:
            self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        finally:
            self.page.close()


def eventually(condition: Callable[[], _T | None], what: str, within: float = DEADLINE) -> _T:
    """Wait until *condition* returns something, for what no page can wait for, and return that."""
    until = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < until, f"{what}: not within {within:g} s"
        time.sleep(0.02)
    return found
