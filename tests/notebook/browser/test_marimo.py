"""Timelines in marimo, in a real browser: a call's is its cell's output, an instance that is displayed lives."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from lab import ROOT, eventually
from playwright.sync_api import BrowserContext, Page, expect

pytest.importorskip("anywidget")
pytest.importorskip("marimo")
pytestmark = [pytest.mark.kernel, pytest.mark.browser]

APP = """
import marimo
app = marimo.App()

@app.cell
def _():
    import time
    from pathlib import Path
    import romancy_nb as rn
    rn.connect("journal.duckdb")
    return Path, rn, time

@app.cell
def _(Path, rn, time):
    @rn.activity
    def get(topic):
        while not Path(topic).exists():
            time.sleep(0.02)
        return "<img src=x onerror=window.caught=1>"
    @rn.workflow
    def flow(topic):
        return [get(topic), get(topic)]
    @rn.workflow
    def approval(topic):
        get(topic)
        return rn.wait_event("go")
    return approval, flow

@app.cell
def _(flow):
    found = flow("owls")
    return (found,)

@app.cell
def _(approval, found):
    handle = approval.start("owls", instance_id="approval-1")
    handle
    return
"""
SEND = "import romancy_nb as rn; rn.connect('journal.duckdb'); rn.send('approval-1', 'go', 'yes')"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("marimo")
    (made / "app.py").write_text(APP)
    return made


@pytest.fixture(scope="module")
def address(room: Path) -> Iterator[str]:
    """A server of marimo that shows the notebook as an app."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    options = ["run", "app.py", "--headless", "--no-token", "--host", "127.0.0.1", "--port", str(port)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(room)}
    with (room / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "marimo", *options], cwd=room, env=env, stdout=log, stderr=subprocess.STDOUT
        )

        def answers() -> bool:
            assert server.poll() is None, (room / "server.log").read_text()
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=5):
                    return True
            except OSError:
                return False

        eventually(answers, "marimo to answer")
        yield url
        server.terminate()
        server.wait(20)


def test_a_call_is_drawn_as_it_goes_on_and_an_instance_that_is_displayed_lives(
    address: str, room: Path, browser: BrowserContext
) -> None:
    page = browser.new_page()
    strays: list[str] = []
    faults: list[str] = []
    page.on("request", lambda asked: strays.append(asked.url) if urlsplit(asked.url).hostname != "127.0.0.1" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(address)
    expect(page.locator("table").filter(has_text="running")).to_be_visible(timeout=60_000)
    (room / "owls").touch()
    expect(page.get_by_text("2 executed").first).to_be_visible(timeout=20_000)
    living = page.locator(".rn-live")
    expect(living).to_contain_text("waiting", timeout=20_000)
    picture(page, "marimo_waiting")
    subprocess.run([sys.executable, "-c", SEND], cwd=room, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    expect(living).to_contain_text("completed", timeout=20_000)
    picture(page, "marimo_completed")
    assert page.evaluate("window.caught") is None
    assert (strays, faults) == ([], [])
    page.close()


def picture(page: Page, name: str) -> None:
    """For people who want to see it."""
    if folder := os.environ.get("ROMANCY_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))
