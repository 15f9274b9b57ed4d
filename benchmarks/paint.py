"""Timelines in JupyterLab in headless Chromium: from the end of a cell until its rows stand on the screen, and scrolling them.

The browser, the server and the notebooks are those of the tests (``tests/notebook/browser``). The end of a cell is the moment
at which the page hears that the kernel is idle again; rows count as painted in the frame after the one that drew them. The
plain cell beside them shows the same number of lines of text: what the frontend itself takes. Each instance is shown once: what a
kernel and a page have shown already is there sooner.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from side_by_side import folder, show

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "notebook" / "browser"))

from lab import Book, Lab
from started import Chromium, JupyterLab

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SIZES = (1_000, 10_000)

SETUP = f"""
%load_ext romancy_nb
@rn.activity
def step(number: int) -> int:
    return number
@rn.workflow
def steps(name: str, count: int) -> int:
    for number in range(count):
        step(number)
    return count
for size in {SIZES}:
    for each in range({ROUNDS}):
        steps.start('old', size, instance_id=f'old{{size}}-{{each}}').result()
steps.start('first', 20, instance_id='first').result()
"""

# Runs the active cell, and answers how long after the cell's end (ms) what is awaited was painted; negative: before it.
PAINTED = """async ({index, awaited}) => {
    const book = window.jupyterapp.shell.currentWidget;
    book.content.activeCellIndex = index;
    const kernel = book.sessionContext.session.kernel;
    const cell = book.content.widgets[index].node;
    const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    const there = () => [...cell.querySelectorAll(awaited.of)].some((node) => node.textContent.includes(awaited.says));
    let idle;
    const ended = new Promise((done) => {
        kernel.iopubMessage.connect(function hear(_, message) {
            if (message.header.msg_type !== "status" || message.content.execution_state !== "idle") return;
            if (message.parent_header.msg_type !== "execute_request") return;
            kernel.iopubMessage.disconnect(hear);
            idle = performance.now();
            done();
        });
    });
    const painted = (async () => {
        while (!there()) await frame();
        await frame();
        return performance.now();
    })();
    window.jupyterapp.commands.execute("notebook:run-cell");
    await ended;
    return (await painted) - idle;
}"""

# Scrolls the rows from top to bottom in two seconds, and answers the time of each frame (ms).
SCROLLED = """async (node) => {
    const took = [];
    let last = performance.now();
    for (let i = 1; i <= 120; i++) {
        node.scrollTop = (node.scrollHeight - node.clientHeight) * i / 120;
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        took.push(now - last);
        last = now;
    }
    return took;
}"""


def painted(book: Book, source: str, of: str, says: str) -> float:
    """Run a new cell and return the seconds from its end until *says* stands in what *of* selects."""
    index = book.insert(source)
    found: Any = book.page.evaluate(PAINTED, {"index": index, "awaited": {"of": of, "says": says}})
    return float(found) / 1_000


def main() -> None:
    room = folder()
    with (
        closing(JupyterLab(room / "server")) as jupyterlab,
        closing(Chromium(room / "profile")) as chromium,
        chromium.connected() as context,
    ):
        lab = Lab(jupyterlab.folder("paint"), context)
        book = lab.open(SETUP)
        book.run_all()
        painted(book, "rn.instance('first')", ".rn-live [data-id]", "step")  # the page has the module from now on
        print(f"from the end of the cell until it is painted, {ROUNDS} times each")
        for size in SIZES:
            plain = [
                painted(book, f"print('line\\n' * {size} + 'last line')", ".jp-OutputArea", "last line")
                for _ in range(ROUNDS)
            ]
            show(f"{size:,} printed lines", plain)
            shown = [
                painted(book, f"rn.instance('old{size}-{each}')", ".rn-live [data-id]", "step")
                for each in range(ROUNDS)
            ]
            show(f"an instance of {size:,} steps, shown", shown)
            ran = [
                painted(book, f"_ = steps('{n}', {size})", ".rn-live", "completed")
                for n in range(ROUNDS if size < 5_000 else 1)
            ]
            show(f"a run of {size:,} steps, at its end", ran)
        rows = book.page.locator(".rn-live .rn-scroll").last
        rows.scroll_into_view_if_needed()
        show("a frame while 10,000 rows are scrolled", [ms / 1_000 for ms in rows.evaluate(SCROLLED)])
        book.is_clean()
        lab.close()


if __name__ == "__main__":
    main()
