"""The two processes that all browser tests of a session share: a JupyterLab server on loopback, and Chromium.

Each costs seconds to start and more to warm up, so that a module of tests gets a folder of the server and a connection
to the browser instead of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

__all__ = ["DEADLINE", "ROOT", "Chromium", "JupyterLab", "Server", "chromium", "eventually"]

_T = TypeVar("_T")

ROOT: Final = Path(__file__).parents[3]
DEADLINE: Final = 60.0
"""Seconds after which what a test waits for has not come."""

_ARGUMENTS: Final = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--password-store=basic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-hang-monitor",
    "--metrics-recording-only",
    "--hide-scrollbars",
    "--font-render-hinting=none",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    # a page that is not in front goes on as if it were
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
]
_SETTINGS: Final[dict[str, dict[str, Any]]] = {
    # what is scrolled out of sight is in the page all the same, so that tests find it
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}
_UNUSED: Final = ("launcher", "extensionmanager")
"""Extensions of JupyterLab that no test looks at and that take time in every page."""


def chromium() -> str:
    """Return the path of Chromium, or skip the test where there is none."""
    pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    pytest.importorskip("jupyterlab", reason="the browser tests need jupyterlab")
    names = (os.environ.get("ROMANCY_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium here: install Debian's package chromium, or name one in ROMANCY_CHROMIUM")
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Chromium:
    """Chromium without a window, with a new profile; ``address`` is where Playwright connects to it."""

    def __init__(self, profile: Path) -> None:
        command = [chromium(), *_ARGUMENTS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told = profile / "DevToolsActivePort"

        def port() -> str | None:
            assert self._process.poll() is None, "Chromium ended at its start"
            lines = told.read_text().splitlines() if told.exists() else []
            return lines[0] if len(lines) > 1 else None

        self.address = f"http://127.0.0.1:{eventually(port, 'Chromium to listen')}"

    @contextmanager
    def connected(self) -> Iterator[BrowserContext]:
        """Connect Playwright to it.

        Meanwhile asyncio believes that a loop runs in this thread: stay no longer than one module of tests.
        """
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            there = playwright.chromium.connect_over_cdp(self.address)
            (context,) = there.contexts
            context.set_default_timeout(DEADLINE * 500)
            yield context
            there.close()

    def close(self) -> None:
        """End the browser."""
        _end(self._process)


@dataclass(frozen=True)
class Server:
    """What one module of tests has of the server: a folder of its own, and the kernel of the notebooks in it.

    Attributes:
        url: where it listens, ending in ``/``.
        token: what its pages want to be given.
        root: the folder.
        kernel: the name of the kernel.
    """

    url: str
    token: str
    root: Path
    kernel: str


class JupyterLab:
    """A JupyterLab server (with Notebook 7, where that is installed) whose files, settings and kernels are in one folder."""

    def __init__(self, room: Path) -> None:
        self._room = room
        self._books = room / "books"
        self._books.mkdir(parents=True)
        for name, chosen in _SETTINGS.items():
            _write(room / "settings" / f"{name}.jupyterlab-settings", chosen)
        unused = {f"@jupyterlab/{name}-extension": True for name in _UNUSED}
        _write(room / "config" / "labconfig" / "page_config.json", {"disabledExtensions": unused})
        self._log = (room / "server.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *self._options()],
            cwd=self._books,
            env=self._environment(),
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._url, self._token = self._address()

    def _options(self) -> list[str]:
        return [
            "--no-browser",
            "--allow-root",
            "--ServerApp.ip=127.0.0.1",
            "--ServerApp.port=0",
            f"--ServerApp.root_dir={self._books}",
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

    def folder(self, name: str, python: str = sys.executable) -> Server:
        """Make a folder for a module of tests, in which kernels are of *python*."""
        taken = len(list(self._books.iterdir()))
        root = self._books / f"{name}{taken}"
        root.mkdir()
        kernel = f"romancy-{name}{taken}".replace("_", "-")
        spec = {
            "argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": f"Python of {name}",
            "language": "python",
            "env": {"PYTHONPATH": str(ROOT)},
        }
        _write(self._room / "data" / "kernels" / kernel / "kernel.json", spec)
        return Server(self._url, self._token, root, kernel)

    def log(self) -> str:
        """Return what the server has written."""
        return (self._room / "server.log").read_text("utf-8", "replace")

    def close(self) -> None:
        """Stop the server and its kernels."""
        _end(self._process)
        self._log.close()


def _write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def eventually(condition: Callable[[], _T | None], what: str, within: float = DEADLINE) -> _T:
    """Wait until *condition* returns something, for what no page can wait for, and return that."""
    until = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < until, f"{what}: not within {within:g} s"
        time.sleep(0.02)
    return found
