"""A server, a browser and notebooks for the tests in this folder.

The two processes run as long as the session. A module connects to the browser and lets go of it again: while Playwright
runs, asyncio believes that a loop runs in this thread, which other tests would stumble over.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from lab import Lab, Server
from started import Chromium, JupyterLab, chromium

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext


@pytest.fixture(scope="session")
def jupyterlab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    """The server of the session."""
    chromium()
    made = JupyterLab(tmp_path_factory.mktemp("jupyter") / "room")
    yield made
    made.close()


@pytest.fixture(scope="session")
def running_chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The browser of the session: what it has once loaded and compiled, it keeps."""
    made = Chromium(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def kernel_python() -> str:
    """The interpreter of the notebooks' kernels; a module of tests may say another."""
    return sys.executable


@pytest.fixture(scope="module")
def jupyter(kernel_python: str, jupyterlab: JupyterLab, request: pytest.FixtureRequest) -> Server:
    """A folder of the server for the notebooks of this module."""
    return jupyterlab.folder(request.module.__name__.rpartition(".")[2], kernel_python)


@pytest.fixture(scope="module")
def browser(running_chromium: Chromium) -> Iterator[BrowserContext]:
    """The browser, for this module."""
    with running_chromium.connected() as context:
        yield context


@pytest.fixture
def lab(jupyter: Server, browser: BrowserContext) -> Iterator[Lab]:
    """Opens notebooks: ``lab.open("print(1)")``. Whatever is left open is closed after the test."""
    made = Lab(jupyter, browser)
    yield made
    made.close()
