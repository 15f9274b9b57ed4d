"""A server, a browser and notebooks for the tests in this folder.

They are kept for one module of tests: while Playwright runs, asyncio believes that a loop runs in this thread, which other
tests would stumble over.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from lab import Lab, Server, browser_context, chromium
from lab import server as running_server

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext


@pytest.fixture(scope="module")
def kernel_python() -> str:
    """The interpreter of the notebooks' kernels; a module of tests may say another."""
    return sys.executable


@pytest.fixture(scope="module")
def jupyter(kernel_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A JupyterLab server on loopback."""
    chromium()
    with running_server(tmp_path_factory.mktemp("jupyter") / "room", kernel_python) as made:
        yield made


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """Chromium without a window, with a profile of its own."""
    with browser_context(tmp_path_factory.mktemp("profile")) as context:
        yield context


@pytest.fixture
def lab(jupyter: Server, browser: BrowserContext) -> Iterator[Lab]:
    """Opens notebooks: ``lab.open("print(1)")``. Whatever is left open is closed after the test."""
    made = Lab(jupyter, browser)
    yield made
    made.close()
