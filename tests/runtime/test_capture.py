"""What activities put out without a notebook: it goes through, is journaled with its attempt, and costs no commit (N4)."""

from __future__ import annotations

import asyncio
import io
import logging
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb import errors
from romancy_nb.core.invariants import check_history
from romancy_nb.runtime import streams
from romancy_nb.runtime.capture import LIMIT, Capture
from romancy_nb.runtime.screen import Line

once = rn.RetryPolicy(max_attempts=1)


def texts(instance: Any, name: str = "stdout") -> list[str]:
    return [o["text"] for o in instance.outputs() if o["output_type"] == "stream" and o["name"] == name]


def checked(instance: Any) -> Any:
    check_history([(row.seq, row.event) for row in instance.rows()])
    return instance


def test_prints_go_through_and_are_journaled(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler(sys.stderr)  # holds the stream of before
    talker = logging.getLogger("talker")
    talker.addHandler(handler)

    @rn.activity(retry=once)
    def says(x: int) -> int:
        print("printed", x)
        sys.stderr.write("to stderr\n")
        talker.warning("logged")
        warnings.warn("warned", stacklevel=1)
        return x

    @rn.workflow
    def flow(x: int) -> int:
        print("workflow", x)
        return says(x)

    try:
        assert flow(1) == 1
        out, err = capsys.readouterr()
        assert out == "workflow 1\nprinted 1\n"
        assert err.startswith("to stderr\nlogged\n")
        instance = checked(rn.instances()[0])
        assert texts(instance) == ["printed 1\n"]
        assert texts(instance, "stderr")[0].startswith("to stderr\nlogged\n")
        assert flow(1) == 1
        assert capsys.readouterr().out == "workflow 1\n", "a script is told nothing twice"
    finally:
        talker.removeHandler(handler)


def test_output_shares_the_commit_of_its_outcome_and_silence_writes_nothing(journal: Path) -> None:
    @rn.activity(retry=once)
    def step(x: int) -> int:
        if x % 2:
            print("odd", x)
        return x + 1

    @rn.workflow
    def flow(n: int) -> int:
        x = 0
        for _ in range(n):
            x = step(x)
        return x

    flow(6)
    rows = rn.instances()[0].rows()
    kinds = [row.event.kind for row in rows]
    assert kinds.count("attempt_output") == 3
    rn.disconnect()
    import duckdb

    with duckdb.connect(str(journal), read_only=True) as connection:
        found = connection.execute(
            "select kind, split_part(body, chr(9), 2) from romancy.history_rows order by seq"
        ).fetchall()
    turns: dict[str, list[str]] = {}
    for kind, turn in found:
        turns.setdefault(turn, []).append(kind)
    assert all("activity_completed" in kinds for kinds in turns.values() if "attempt_output" in kinds)


def test_no_view_takes_output_for_a_step_or_an_attempt(journal: Path) -> None:
    @rn.activity(retry=once)
    def says(x: int) -> int:
        print("x" * 10_000)
        return x

    @rn.workflow
    def flow(x: int) -> int:
        return says(x)

    flow(1)
    assert rn.sql("select kind, status, attempts from steps").fetchall() == [("activity", "completed", 1)]
    assert rn.sql("select status, attempt from attempts").fetchall() == [("completed", 1)]
    ((kind, length),) = rn.sql(
        "select kind, length(payload ->> '$[0].text') from events where kind = 'attempt_output'"
    ).fetchall()
    assert (kind, length) == ("attempt_output", 10_001)


def test_fifty_activities_at_once_keep_their_own_lines(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @rn.activity(retry=once)
    async def chats(name: str) -> str:
        for n in range(30):
            print(f"<{name} {n}>")
            await asyncio.sleep(0)
        return name

    @rn.activity(retry=once)
    def shouts(name: str) -> str:
        for n in range(30):
            print(f"<{name} {n}>")
        return name

    @rn.workflow
    async def crowd() -> int:
        calls = [chats(f"a{n}") for n in range(25)] + [shouts.aio(f"d{n}") for n in range(25)]
        return len(await asyncio.gather(*calls))

    assert crowd.run() == 50
    instance = checked(rn.instances()[0])
    for row in instance.rows():
        if row.event.kind == "activity_scheduled":
            name = row.event.payload.text.split('"')[-2]
            lines = "".join(o["text"] for o in instance.outputs(row.seq))
            assert lines == "".join(f"<{name} {n}>\n" for n in range(30))
    assert len(capsys.readouterr().out.splitlines()) == 1500


def test_a_late_attempt_keeps_what_it_put_out_before_and_after_its_time(journal: Path) -> None:
    gate, spoke = threading.Event(), threading.Event()

    @rn.activity(retry=once, timeout=0.05)
    def slow(x: int) -> int:
        print("in time")
        gate.wait(10)
        print("too late")
        spoke.set()
        return x

    @rn.activity(retry=once)
    def opens() -> None:
        gate.set()
        assert spoke.wait(10)

    @rn.workflow
    def flow(x: int) -> int:
        try:
            slow(x)
        except errors.AttemptTimeout:
            opens()
        return x

    flow(1)
    instance = rn.instances()[0]
    from_engine = instance.history  # whatever the late end is waiting for has been asked before this answers
    while not any(row.event.kind == "late_outcome" for row in instance.rows()):
        from_engine()
    assert texts(checked(instance)) == ["in time\n", "too late\n"]


def test_what_a_progress_bar_draws_over_is_gone() -> None:
    line = Line("stderr")
    assert line.write("\r  0%|   |") == "" and line.text == "  0%|   |"
    assert line.write("\r 50%|#  |\r100%|###|\nnext") == "100%|###|\n"
    assert line.text == "next"
    assert line.write("\r    \r") == "" and line.take() == ""
    assert line.write("a long one\rb\n") == "b long one\n"
    assert line.write("a long one\r\x1b[Kb\n") == "b\n"
    assert line.write("dos\r\nunix\n") == "dos\nunix\n"


def test_what_is_kept_is_bounded_in_memory_too() -> None:
    capture = Capture()
    for n in range(20_000):
        capture.write("stdout", f"{n:099d}\n")
        capture.display({"text/plain": "x" * 100}, {}, {}, False)
    (part,) = capture.finish()
    assert len(part.payload.text) < 3 * LIMIT
    assert "bytes of output left out" in part.payload.text
    assert f"{19_999:099d}" in part.payload.text


def test_a_display_that_is_too_large_is_named_in_its_place() -> None:
    capture = Capture()
    capture.display({"image/png": b"x" * LIMIT, "text/plain": "a figure"}, {}, {}, False)
    (part,) = capture.finish()
    assert "[image/png, 349,536 bytes: shown when it was made, too large to keep]" in part.payload.text
    assert len(part.shows.text) > LIMIT


def test_an_executor_of_ones_own_captures_nothing_and_breaks_nothing(journal: Path) -> None:
    program = """
import concurrent.futures, romancy_nb as rn
pool = concurrent.futures.ThreadPoolExecutor(1)
@rn.activity(executor=pool)
def says(x: int) -> int:
    print("printed", x)
    return x
@rn.workflow
def flow(x: int) -> int:
    return says(x)
print(flow(1), rn.instances()[0].outputs())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "printed 1\n1 []\n"


def test_a_thread_that_ipykernel_takes_for_its_own_ancestor_can_print(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream(io.StringIO):
        """As ipykernel 6's: it goes up from thread to thread at each write."""

        def __init__(self) -> None:
            super().__init__()
            self._thread_to_parent: dict[int, int] = {}

        def write(self, text: str) -> int:
            ident = threading.get_ident()
            for _ in range(1000):
                if ident not in self._thread_to_parent:
                    return super().write(text)
                ident = self._thread_to_parent[ident]
            raise AssertionError("it would look for ever")

    stream = Stream()
    monkeypatch.setattr(sys, "stderr", stream)
    streams.install()
    try:
        me = threading.get_ident()
        stream._thread_to_parent |= {me: 1, 1: 2}
        print("has parents", file=sys.stderr)
        assert stream._thread_to_parent == {me: 1, 1: 2}, "left alone"
        stream._thread_to_parent[2] = me
        print("is its own", file=sys.stderr)
    finally:
        streams.detach()
    assert stream.getvalue() == "has parents\nis its own\n"


@rn.activity
def tells_half_a_pair(n: int) -> int:
    print("file-\udcff.txt")
    return n


@rn.workflow
def half_told(n: int) -> int:
    return tells_half_a_pair(n)


def test_a_printed_name_that_is_no_text_spoils_neither_the_timeline_nor_the_views(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "utf-8", errors="surrogateescape"))
    handle = half_told.start(1)
    assert handle.result() == 1
    assert texts(handle) == ["file-\ufffd.txt\n"]
    bundle = handle.timeline()._repr_mimebundle_()
    assert "file-\ufffd.txt" in bundle["text/html"] and "file-\ufffd.txt" in bundle["text/plain"]
    assert rn.sql("select status from instances").fetchall() == [("completed",)]
    assert rn.sql("select name, status, output from steps").fetchall() == [("tells_half_a_pair", "completed", "1")]
