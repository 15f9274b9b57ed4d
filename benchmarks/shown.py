"""A workflow of quick steps in a real kernel, with its timeline followed by a page and without: what the display costs.

The page is a frontend that opens the anchor over the comm as a browser does, and reads what it is told. Beside it, in this process:
what one update of a long run costs the kernel.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from typing import Any

from jupyter_client.manager import KernelManager
from side_by_side import folder, ratio, show

STEPS = int(os.environ.get("STEPS", "400"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))

SETUP = """
%load_ext romancy_nb
import time
@rn.activity
def step(number: int) -> int:
    return number
@rn.workflow
def steps(name: str, count: int) -> int:
    for number in range(count):
        step(number)
    return count
"""


class Page:
    """A kernel, and a frontend that opens what is displayed to it."""

    def __init__(self, where: str) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=where)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.comm = ""
        self.told = 0
        self.look = True

    def run(self, source: str, cell: str) -> None:
        """Execute a cell as a frontend does, and answer what is displayed meanwhile."""
        message = self.client.session.msg("execute_request", {"code": source, "silent": False, "store_history": True})
        message["metadata"]["cellId"] = cell
        self.client.shell_channel.send(message)
        while True:
            heard = self.client.get_iopub_msg(timeout=120)
            self._hear(heard)
            parent = heard["parent_header"].get("msg_id")
            if parent == message["header"]["msg_id"] and heard["content"].get("execution_state") == "idle":
                return
            if heard["msg_type"] == "error":
                raise SystemExit("\n".join(heard["content"]["traceback"]))

    def _hear(self, heard: dict[str, Any]) -> None:
        content = heard["content"]
        if heard["msg_type"] == "comm_open" and "_esm" in content["data"].get("state", {}):
            self.comm = content["comm_id"]
            created = self.client.session.msg("create_subshell_request", {})
            self.client.control_channel.send(created)
            self.subshell = self.client.get_control_msg(timeout=20)["content"]["subshell_id"]
        elif heard["msg_type"] == "comm_msg" and content["comm_id"] == self.comm:
            self.told += content["data"].get("content", {}).get("kind") == "delta"
        elif heard["msg_type"] == "display_data" and self.look and self.comm:
            html = content["data"].get("text/html", "")
            if 'data-romancy-live="' in html:
                self._send({"kind": "open", "anchor": html.split('data-romancy-live="')[1].split('"')[0]})

    def _send(self, data: dict[str, Any]) -> None:
        content = {"comm_id": self.comm, "data": {"method": "custom", "content": data}}
        message = self.client.session.msg("comm_msg", content)
        message["header"]["subshell_id"] = self.subshell
        self.client.shell_channel.send(message)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def in_a_kernel() -> None:
    page = Page(str(folder()))
    page.run(SETUP, "setup")
    page.run("steps('warm', 20)", "warm")
    shown: list[float] = []
    alone: list[float] = []
    for number in range(ROUNDS):
        for look, samples in ((True, shown), (False, alone)):
            page.look = look
            page.run(f"from romancy_nb import settings\nsettings.override('show', {look})", "show")
            begin = time.perf_counter()
            page.run(f"_ = steps('{number}{look}', {STEPS})", f"cell{number}{look}")
            samples.append(time.perf_counter() - begin)
    print(f"{STEPS} quick steps in a kernel, {ROUNDS} times each, in turn ({page.told} updates were sent)")
    with_page = show("shown, and followed by a page", shown)
    without = show("nothing shown", alone)
    ratio("followed / nothing shown", with_page / without, "at most 1.05")
    ratio(
        "the same, median of pairs", statistics.median(a / b for a, b in zip(shown, alone, strict=True)), "at most 1.05"
    )
    page.close()


def one_update() -> None:
    """What the kernel does for one update of a run of 1,000 steps, of which some have just changed."""
    os.environ["ROMANCY_JOURNAL"] = str(folder() / "journal.duckdb")
    import romancy_nb as rn
    from romancy_nb.clock import now_us
    from romancy_nb.widgets.following import Following

    @rn.activity
    def step(number: int) -> int:
        return number

    @rn.workflow
    def steps(count: int) -> int:
        for number in range(count):
            step(number)
        return count

    handle = steps.start(1_000)
    handle.result()
    rows = handle.rows()
    following = Following(rows[:-60], alive=True)
    following.whole(now_us())
    samples = []
    for first in range(len(rows) - 60, len(rows), 6):
        begin = time.perf_counter()
        following.take(rows[first : first + 6])
        following.delta(now_us())
        samples.append(time.perf_counter() - begin)
    print("one update at 1,000 steps")
    show("rows taken and the delta made", samples)
    begin = time.perf_counter()
    following.whole(now_us())
    show("the whole view, when a page opens it", [time.perf_counter() - begin])
    rn.disconnect()


if __name__ == "__main__":
    one_update()
    if "--update" not in sys.argv:
        in_a_kernel()
