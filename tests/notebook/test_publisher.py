"""The publisher: a page that opens a timeline has, after each message, what the journal says; and cells follow, too."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb.clock import now_us
from romancy_nb.errors import RunProblem
from romancy_nb.notebook.comparing import Living, compare
from romancy_nb.notebook.live_instances import Tables
from romancy_nb.notebook.live_timeline import Publisher, instance_of
from romancy_nb.runtime import launch
from romancy_nb.widgets.deltas import apply
from romancy_nb.widgets.wire import view_json

gate = threading.Event()


@rn.activity
def waits(number: int) -> int:
    gate.wait(20)
    return number


@rn.activity
def quick(number: int) -> int:
    return number


@rn.workflow
def followed(steps: int) -> int:
    for number in range(steps):
        quick(number)
    return waits(steps)


@rn.workflow
def brief(steps: int) -> int:
    return sum(quick(number) for number in range(steps))


class Page:
    """What a page is told, put together as a page does it."""

    def __init__(self) -> None:
        self.messages: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self.view: dict[str, Any] = {}
        self.n = -1
        self.count = 0

    def until(self, condition: Any) -> dict[str, Any]:
        while not self.view or not condition(self.view):
            message = self.messages.get(timeout=20)
            self.count += 1
            if message["kind"] == "whole":
                self.view, self.n = message["view"], message["n"]
            elif message["kind"] == "delta":
                assert message["n"] == self.n + 1
                self.view, self.n = apply(message, self.view), message["n"]
        return self.view


@pytest.fixture
def publisher(journal: Any) -> Iterator[Publisher]:
    gate.clear()
    yield Publisher()
    gate.set()


def test_a_page_follows_a_run_to_its_end_and_has_then_what_the_journal_says(publisher: Publisher) -> None:
    handle, page = followed.start(40), Page()
    assert publisher.open(f"timeline:{handle.id}:1", page.messages.put)
    view = page.until(lambda view: len(view["rows"]) == 41)
    assert view["live"] and view["rows"][-1]["status"] == "running"
    assert page.count < 12  # what comes in a moment is told in one message
    gate.set()
    view = page.until(lambda view: view["status"] == "completed")
    anew = Page()
    assert publisher.open(f"timeline:{handle.id}:1", anew.messages.put)
    assert anew.until(bool)["rows"] == view["rows"] and anew.view["summary"] == view["summary"]


def test_what_no_page_looks_at_is_not_followed(publisher: Publisher) -> None:
    handle, page = followed.start(3), Page()
    taps = launch.current().taps
    assert not taps
    assert not publisher.open("timeline:nobody-knows:1", page.messages.put)
    assert publisher.open(f"timeline:{handle.id}:1", page.messages.put)
    page.until(bool)
    assert taps
    publisher.close(f"timeline:{handle.id}:1")
    while taps:
        gate.wait(0.01)


def test_a_cell_is_drawn_while_the_run_goes_on_and_once_more_at_its_end(publisher: Publisher) -> None:
    class Cell:
        def __init__(self) -> None:
            self.views: SimpleQueue[Any] = SimpleQueue()

        def draw(self, view: Any) -> None:
            self.views.put(view)

    handle, cell = followed.start(2), Cell()
    publisher.follow(cell, handle.id, 1)
    assert cell.views.get(timeout=20).live
    gate.set()
    while (view := cell.views.get(timeout=20)).status != "completed":
        assert view.live
    assert view.finished is not None and view.finished <= now_us()


def test_a_run_of_another_process_is_followed_by_looking(journal: Any, publisher: Publisher) -> None:
    program = (
        "import sys, time, romancy_nb as rn\nrn.connect(sys.argv[1])\n"
        "@rn.activity\ndef slow(n: int) -> int:\n    time.sleep(1.2)\n    return n\n"
        "@rn.workflow\ndef elsewhere(n: int) -> int:\n    return slow(n) + slow(n + 1)\n"
        "one = elsewhere.start(1, instance_id='far')\nprint('begun', flush=True)\none.result()\nprint('done', flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(journal)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None and child.stdout.readline() == "begun\n"
        rn.connect(journal)
        page = Page()
        assert publisher.open("timeline:far:1", page.messages.put)
        assert page.until(bool)["live"]
        assert len(page.until(lambda view: view["status"] == "completed")["rows"]) == 2
    finally:
        child.kill()
        child.wait()


def test_a_run_that_rests_is_followed_when_another_process_takes_it_up(
    journal: Any, publisher: Publisher, tmp_path: Any
) -> None:
    program = (
        "import sys, pathlib, romancy_nb as rn\nrn.connect(sys.argv[1])\n"
        "@rn.activity(retry=rn.RetryPolicy(max_attempts=1))\ndef opens(path: str) -> str:\n"
        "    return pathlib.Path(path).read_text()\n"
        "@rn.workflow(on_failure='pause')\ndef elsewhere(path: str) -> str:\n    return opens(path)\n"
        "try:\n    elsewhere.run(sys.argv[2], instance_id='far')\nexcept Exception:\n    pass\n"
    )
    command = [sys.executable, "-c", program, str(journal), str(tmp_path / "there")]
    subprocess.run(command, check=True, timeout=60)
    rn.connect(journal)
    page = Page()
    assert publisher.open("timeline:far:1", page.messages.put)
    assert page.until(bool)["status"] == "paused"
    (tmp_path / "there").write_text("now it is")
    subprocess.run(command, check=True, timeout=60)
    assert page.until(lambda view: view["status"] == "completed")["rows"][0]["status"] == "completed"


def tabs(view: dict[str, Any]) -> list[tuple[int, str]]:
    return [(run["number"], run["status"]) for run in view["runs"]]


def test_every_page_of_an_instance_says_how_each_of_its_runs_stands(publisher: Publisher) -> None:
    gate.set()
    first, older, newer = followed.start(2), Page(), Page()
    assert first.result(20) == 2
    assert publisher.open(f"timeline:{first.id}:1", older.messages.put)
    assert tabs(older.until(bool)) == [(1, "completed")]
    gate.clear()
    second = followed.start(2, redo=["waits"])
    assert second.id == first.id
    assert publisher.open(f"timeline:{first.id}:2", newer.messages.put)
    for page in (older, newer):
        page.until(lambda view: tabs(view) == [(1, "completed"), (2, "running")])
    gate.set()
    assert second.result(20) == 2
    for page in (older, newer):
        page.until(lambda view: tabs(view) == [(1, "completed"), (2, "completed")])
    assert older.view["status"] == newer.view["status"] == "completed"


def test_what_one_page_makes_known_is_told_to_the_others(publisher: Publisher, monkeypatch: Any) -> None:
    monkeypatch.setattr("romancy_nb.runtime.taps.Taps.passed", lambda *_: None)  # as of a run of another process
    handle, one, other = followed.start(2), Page(), Page()
    assert publisher.open(f"timeline:{handle.id}:1", one.messages.put)
    assert one.until(bool)["status"] == "running"
    gate.set()
    assert handle.result(20) == 2
    assert publisher.open(f"timeline:{handle.id}", other.messages.put)
    assert other.until(bool)["status"] == "completed"
    assert one.until(lambda view: view["status"] == "completed")["rows"] == other.view["rows"]


def test_a_cell_and_a_page_are_shown_one_reading_and_it_is_what_the_journal_says(publisher: Publisher) -> None:
    handle, page = followed.start(30), Page()
    assert publisher.open(f"timeline:{handle.id}:1", page.messages.put)
    page.until(lambda view: len(view["rows"]) == 31)
    gate.set()
    assert handle.result(20) == 30
    view, afresh = publisher.timeline(handle).view, handle.timeline().view
    assert view == afresh and view.status == "completed"
    assert page.until(lambda view: view["status"] == "completed")["rows"] == view_json(afresh)["rows"]


def test_what_was_read_for_a_cell_is_not_read_again_for_its_page(publisher: Publisher, monkeypatch: Any) -> None:
    handle, page = brief.start(20), Page()
    handle.result(20)
    shown = publisher.timeline(handle, offer=True).view
    while not publisher._offers:
        gate.wait(0.01)
    journal, asked = launch.current().journal, []
    load = journal.load
    monkeypatch.setattr(journal, "load", lambda run, **options: asked.append(run) or load(run, **options))
    assert publisher.open(f"timeline:{handle.id}:1", page.messages.put)
    assert page.until(bool)["rows"] == view_json(shown)["rows"]
    assert not asked


def test_a_page_is_told_when_what_it_shows_was_forgotten(publisher: Publisher) -> None:
    handle, page = brief.start(3), Page()
    handle.result(20)
    publisher.timeline(handle, offer=True)
    assert publisher.open(f"timeline:{handle.id}:1", page.messages.put)
    assert page.until(bool)["input"] == "steps=3"
    rn.forget(handle.id)
    assert page.until(lambda view: view["input"] != "steps=3")["input"] == "forgotten"
    assert "forgotten" in publisher.timeline(handle).view.input


def test_what_was_forgotten_is_shown_to_nobody_from_then_on(publisher: Publisher) -> None:
    shown, offered, page = brief.start(3), brief.start(4), Page()
    assert (shown.result(20), offered.result(20)) == (3, 6)
    assert publisher.open(f"timeline:{shown.id}:1", page.messages.put)
    page.until(bool)
    publisher.timeline(offered, offer=True)
    while not publisher._offers:
        gate.wait(0.01)
    for handle in (shown, offered):
        publisher.tell("report", 0)  # it sleeps now for a fifth of a second
        rn.forget(handle.id)
        assert publisher.timeline(handle).view.input == "forgotten"


def test_what_was_read_before_it_was_forgotten_is_not_kept_for_a_page(publisher: Publisher, monkeypatch: Any) -> None:
    handle, page, told = brief.start(3), Page(), publisher.tell
    handle.result(20)

    def late(what: str, content: Any) -> None:
        if what == "open":
            rn.forget(handle.id)
            while not publisher._inbox.empty():
                time.sleep(0.01)
        told(what, content)

    monkeypatch.setattr(publisher, "tell", late)
    assert publisher.open(f"timeline:{handle.id}:1", page.messages.put)
    assert page.until(lambda view: view["input"] == "forgotten")


def test_a_page_that_comes_as_the_last_one_goes_is_told_of_what_follows(publisher: Publisher, monkeypatch: Any) -> None:
    handle, page, anew = followed.start(2), Page(), Page()
    anchor, taps, told = f"timeline:{handle.id}:1", launch.current().taps, publisher.tell
    assert publisher.open(anchor, page.messages.put)
    page.until(lambda view: len(view["rows"]) == 3)

    def late(what: str, content: Any) -> None:
        if what == "open":
            told("close", anchor)
            while taps:
                time.sleep(0.01)
            gate.set()
            handle.result(20)
        told(what, content)

    monkeypatch.setattr(publisher, "tell", late)
    assert publisher.open(anchor, anew.messages.put)
    assert anew.until(lambda view: view["status"] == "completed")["rows"][-1]["status"] == "completed"


def test_a_page_is_told_of_what_a_cell_has_read_of_a_run_elsewhere(publisher: Publisher) -> None:
    handle, page, engine = followed.start(2), Page(), launch.current()
    assert publisher.open(f"timeline:{handle.id}:1", page.messages.put)
    page.until(lambda view: len(view["rows"]) == 3)
    for run in (run for _, run in publisher._shown):
        engine.taps.unwatch(run)  # what another process writes comes by no tap
    gate.set()
    assert handle.result(20) == 2
    assert publisher.timeline(handle).view.status == "completed"
    assert page.until(lambda view: view["status"] == "completed")


def test_a_page_is_told_when_another_process_forgot_what_it_shows(journal: Any, publisher: Publisher) -> None:
    handle, page = brief.start(3), Page()
    handle.result(20)
    assert publisher.open(f"timeline:{handle.id}:1", page.messages.put)
    assert page.until(bool)["input"] == "steps=3"
    program = "import sys, romancy_nb as rn\nrn.connect(sys.argv[1])\nrn.forget(sys.argv[2])\n"
    subprocess.run([sys.executable, "-c", program, str(journal), handle.id], check=True, timeout=60)
    assert page.until(lambda view: view["input"] != "steps=3")["input"] == "forgotten"


def test_a_comparison_is_told_anew_while_one_of_the_two_goes_on(publisher: Publisher) -> None:
    ended, going, living, page = brief.start(2), followed.start(2), Living(publisher), Page()
    ended.result(20)
    anchor = compare(rn.instance(ended.id), rn.instance(going.id)).anchor
    assert living.open(anchor, page.messages.put)
    assert page.until(bool)["sides"][1]["status"] == "running"
    gate.set()
    assert page.until(lambda view: view["sides"][1]["status"] == "completed")["rows"][-1]["sides"][1]["look"] == "ok"
    living.close(anchor)
    taps = launch.current().taps
    while taps:
        time.sleep(0.01)


def test_an_anchor_names_an_instance_and_a_run() -> None:
    assert instance_of("timeline:order-7:2") == ("order-7", 2)
    assert instance_of("timeline:a:b:11") == ("a:b", 11)
    assert instance_of("timeline:order-7") == ("order-7", None)


def test_what_is_to_stay_of_a_cell_is_drawn_after_all_else_and_on_the_publishers_thread(publisher: Publisher) -> None:
    drawn: SimpleQueue[tuple[str, str]] = SimpleQueue()

    class Cell:
        def draw(self, view: Any) -> None:
            drawn.put(("draws", view.status))

    handle, cell = followed.start(2), Cell()
    publisher.follow(cell, handle.id, 1)
    assert drawn.get(timeout=20)[0] == "draws"
    publisher.leave(cell, lambda: drawn.put(("stays", threading.current_thread().name)))
    while (said := drawn.get(timeout=20))[0] == "draws":
        pass
    assert said == ("stays", "romancy publisher")
    gate.set()
    assert handle.result(20) == 2
    publisher.timeline(handle)
    assert drawn.empty()


def test_a_process_that_ends_waits_for_what_is_to_stay_of_its_cells() -> None:
    program = (
        "import time\nfrom romancy_nb.notebook.live_timeline import provider\n"
        "for n in range(3):\n    provider.leave(object(), lambda n=n: (time.sleep(0.2), print(n, flush=True)))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout.split() == ["0", "1", "2"]


def test_a_page_that_looks_after_the_journal_was_let_go_of_connects_to_none(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, other, page = brief.start(2), brief.start(3), Page()
    assert ended.result(20) + other.result(20) == 4
    anchor = compare(ended, other).anchor
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.delenv("ROMANCY_JOURNAL", raising=False)
    rn.disconnect()
    assert not publisher.open(f"timeline:{ended.id}:1", page.messages.put)
    assert not Living(publisher).open(anchor, page.messages.put)
    assert not Tables().open("instances:", page.messages.put)
    with pytest.raises(RunProblem, match="No journal is connected"):
        publisher.ask(f"timeline:{ended.id}:1", "details", {"place": "0:0"})
    assert launch.connected() is None and not list((tmp_path / "elsewhere").iterdir())


class Drawn:
    """A cell that may fail to be drawn."""

    def __init__(self, fails: bool = False) -> None:
        self.views: SimpleQueue[Any] = SimpleQueue()
        self.fails = fails

    def draw(self, view: Any) -> None:
        self.views.put(view)
        if self.fails:
            raise OSError("nobody takes it")


def rounds(publisher: Publisher, monkeypatch: pytest.MonkeyPatch, seconds: float = 1.5) -> int:
    """Return how often the publisher wakes in this time."""
    woken, wait = [], publisher._wait
    monkeypatch.setattr(publisher, "_wait", lambda waiting: woken.append(1) or wait(waiting))
    time.sleep(seconds)
    return len(woken)


def test_a_run_that_goes_on_for_long_in_a_cell_that_no_page_shows_costs_nothing(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("romancy_nb.notebook.live_timeline.FORGOTTEN", 0.5)
    handle, cell = followed.start(2), Drawn()
    publisher.follow(cell, handle.id, 1)
    assert cell.views.get(timeout=20).live
    time.sleep(1)
    assert rounds(publisher, monkeypatch) < 8


def test_a_cell_that_cannot_be_drawn_is_not_tried_again_and_again(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, cell = followed.start(2), Drawn(fails=True)
    publisher.follow(cell, handle.id, 1)
    assert cell.views.get(timeout=20).live
    assert rounds(publisher, monkeypatch) < 8
    cell.fails = False
    gate.set()
    while cell.views.get(timeout=20).status != "completed":
        pass


def test_a_run_elsewhere_whose_journal_was_let_go_of_here_costs_nothing(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("romancy_nb.runtime.looking._here", lambda *_: False)  # as of a run of another process
    handle, cell = followed.start(2), Drawn()
    publisher.follow(cell, handle.id, 1)
    cell.views.get(timeout=20)
    for shown in publisher._shown.values():
        shown.undrawn = shown.stale = True
    rn.disconnect()
    time.sleep(1)
    assert rounds(publisher, monkeypatch) < 8


def test_pages_and_cells_are_told_when_the_journal_was_let_go_of_and_the_run_put_down(publisher: Publisher) -> None:
    handle, page, cell = followed.start(2), Page(), Drawn()
    assert publisher.open(f"timeline:{handle.id}:1", page.messages.put)
    page.until(lambda view: len(view["rows"]) == 3)
    publisher.close(f"timeline:{handle.id}:1")
    publisher.follow(cell, handle.id, 1)
    assert cell.views.get(timeout=20).status == "running"
    assert publisher.open(f"timeline:{handle.id}:1", page.messages.put)
    page.until(lambda view: view["live"])
    rn.disconnect()
    view = page.until(lambda view: not view["live"])
    assert view["words"] == "interrupted" and view["rows"][-1]["status"] == "in_doubt"
    while cell.views.get(timeout=20).status != "interrupted":
        pass
    afresh = view_json(rn.instance(handle.id).timeline().view)
    assert view["rows"] == afresh["rows"] and tabs(view) == [(1, "interrupted")]
    anew = Page()
    assert publisher.open(f"timeline:{handle.id}:1", anew.messages.put)
    assert anew.until(bool)["rows"] == afresh["rows"]
    # the page looks at the journal that is connected now, and at no other
    assert [shown.engine for shown in list(publisher._shown.values()) if shown.pages] == [launch.current()]


def test_a_journal_that_is_held_elsewhere_keeps_nothing_waiting_that_needs_it_not(
    journal: Any, publisher: Publisher
) -> None:
    handle, page, drawn = brief.start(2), Page(), threading.Event()
    handle.result(20)
    assert publisher.open(f"timeline:{handle.id}:1", page.messages.put)
    page.until(bool)
    program = (
        "import duckdb, sys, time\nfor _ in range(500):\n    try:\n        held = duckdb.connect(sys.argv[1])\n        break\n"
        "    except Exception:\n        time.sleep(0.02)\nprint('held', flush=True)\ntime.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(journal)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        for shown in publisher._shown.values():
            shown.here = shown.over = False  # as of a run that goes on in another process
        publisher.tell("report", 0)
        time.sleep(1.5)
        publisher.leave(Drawn(), drawn.set)
        assert drawn.wait(3)
    finally:
        child.kill()
        child.wait()
