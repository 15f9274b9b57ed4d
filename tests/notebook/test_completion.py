"""Tab on the lines of our magics: the pure rule, and what a frontend gets from a kernel's ``complete_request``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kernels import Kernel

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.definitions import registry
from romancy_nb.journal.on_duckdb import DuckDBJournal
from romancy_nb.journal.protocol import Batch, Row
from romancy_nb.notebook.commands import COMMANDS
from romancy_nb.notebook.completion import complete
from romancy_nb.notebook.magics import OPTIONS, parse
from romancy_nb.payloads.payload import Payload

MANY = 10_000


def offered(line: str) -> list[str]:
    found = complete(line)
    assert found is not None
    return found[1]


# -- the rule ----------------------------------------------------------------------------------------------------------


def test_every_subcommand_and_every_option_of_it_is_offered() -> None:
    assert offered("%romancy ") == list(COMMANDS)
    for name, command in COMMANDS.items():
        assert offered(f"%romancy {name[:2]}")[0:1] != []
        if command.most is not None:
            assert set(offered(f"%romancy {name} --")) == {f"--{each}" for each in (*command.flags, *command.valued)}


@pytest.mark.parametrize(
    "magic", ["%%romancy_activity", "%%romancy_workflow", "%romancy_activity", "%romancy_workflow"]
)
def test_what_is_offered_for_a_magic_is_what_it_takes(magic: str) -> None:
    valued, flags = OPTIONS[magic.strip("%")]
    found = set(offered(f"{magic} --"))
    assert found - {"--run", "--start"} == {f"--{name}" for name in valued | flags}
    for name in valued:
        parse(f"--{name} 1", valued, flags)
        assert f"--{name}" not in offered(f"{magic} --{name} 1 --"), "once is enough"


@pytest.mark.parametrize(
    ("line", "word", "some"),
    [
        ("%romancy do", "do", ["doctor"]),
        ("  %romancy help co", "co", ["connect", "compensate", "code", "config"]),
        ("%romancy ls pau", "pau", ["paused"]),
        ("%romancy sql select * from st", "st", ["steps"]),
        ("%%romancy_activity --retries 3 --deli", "--deli", ["--delivery"]),
        ("%%romancy_activity --delivery at_m", "at_m", ["at_most_once"]),
        ("%%romancy_activity --reuse ", "", ["inputs", "prefix", "never"]),
        ("%%romancy_workflow --new --ru", "--ru", ["--run"]),
        ("%romancy_workflow --on_failure p", "p", ["pause"]),
    ],
)
def test_the_word_at_the_cursor_is_completed(
    line: str, word: str, some: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_defined", {})  # what other tests have defined is offered too
    assert complete(line) == (word, some)


@pytest.mark.parametrize(
    "line",
    [
        "%romanc",
        "%romancy",
        "x = 1",
        "%time --",
        "%%romancy_workflow --run or",
        "%%romancy_workflow --run --",
        "%%romancy_workflow research to",
        "%%romancy_workflow --id x research topic=--",
        "%romancy sql sel",
        "%romancy connect fold",
        "%romancy nothing x",
    ],
)
def test_python_paths_and_foreign_lines_are_left_to_ipython(line: str) -> None:
    assert complete(line) is None


def test_names_of_activities_and_workflows_come_from_what_is_defined() -> None:
    import romancy_nb as rn

    @rn.activity(name="zz_reserve")
    def reserve() -> None: ...

    @rn.workflow(name="zz_order")
    def order() -> None: ...

    try:
        assert offered("%%romancy_workflow --redo zz") == ["zz_reserve"]
        assert offered("%%romancy_workflow --redo a,zz") == ["a,zz_reserve"]
        assert offered("%romancy ls zz") == ["zz_order"]
    finally:
        for kind, name in (("activity", "zz_reserve"), ("workflow", "zz_order")):
            registry._defined.pop((kind, name))


# -- in a kernel -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel with the extension loaded on a journal of 10,000 instances."""
    room = tmp_path_factory.mktemp("full")
    write_many(room / "journal.duckdb")
    kernel = Kernel(python, room, ROMANCY_JOURNAL=str(room / "journal.duckdb"))
    kernel.ok("import romancy_nb as rn\n%load_ext romancy_nb\n@rn.activity\ndef reserve(x: int) -> int: return x\n")
    kernel.ok("@rn.workflow\ndef order(x: int) -> int: return reserve(x)\nhere = order.start(1, instance_id='here-1')")
    kernel.ok("here.result(30)")
    yield kernel
    kernel.close()


def write_many(path: Path) -> None:
    journal = DuckDBJournal(path, holder={})
    journal.acquire(10)
    rows = []
    for number in range(1, MANY + 1):
        meta = {"number": 1, "reason": "first", "owner": "", "epoch": 1}
        started = Event(ev.RUN_STARTED, number, f"many-{number:05}", "order", "d", "c", 0, Payload("{}"), meta)
        rows += [Row(number, 1, started), Row(number, 2, Event(ev.RUN_COMPLETED, number + 1, payload=Payload("1")))]
    journal.commit(Batch(1, rows))
    journal.release()


def tab(kernel: Kernel, code: str) -> tuple[list[str], str, float]:
    """Press Tab at the end of *code*: the matches, the text they replace, and how long it took."""
    began = time.monotonic()
    reply: Any = kernel.client.complete(code, len(code), reply=True, timeout=30)
    took = time.monotonic() - began
    content = reply["content"]
    return content["matches"], code[content["cursor_start"] : content["cursor_end"]], took


CASES = [
    ("%romancy ", "", "show"),
    ("%romancy sh", "sh", "show"),
    ("%romancy connect --na", "--na", "--namespace"),
    ("%romancy ls pau", "pau", "paused"),
    ("%romancy ls ord", "ord", "order"),
    ("%romancy show many-0123", "many-0123", "many-01234"),
    ("%romancy resume here", "here", "here-1"),
    ("x = 1\n%romancy show here", "here", "here-1"),
    ("%%romancy_workflow --re", "--re", "--redo"),
    ("%%romancy_workflow --redo res", "res", "reserve"),
    ("%%romancy_workflow --id here", "here", "here-1"),
    ("%romancy_workflow --st", "--st", "--start"),
    ("%%workflow --ru", "--ru", "--run"),
    ("%%romancy_activity --delivery at_m", "at_m", "at_most_once"),
    ("%activity --ti", "--ti", "--timeout"),
]


@pytest.mark.kernel
@pytest.mark.parametrize("jedi", [True, False], ids=["with jedi", "without jedi"])
def test_tab_completes_through_the_kernel(full: Kernel, jedi: bool) -> None:
    full.ok(f"%config IPCompleter.use_jedi = {jedi}")
    for code, typed, wanted in CASES:
        matches, replaced, _ = tab(full, code)
        assert wanted in matches, code
        assert replaced == typed, code
        assert all(match.startswith(typed) for match in matches), f"{code}: {matches} are somebody else's"


@pytest.mark.kernel
@pytest.mark.parametrize("jedi", [True, False], ids=["with jedi", "without jedi"])
def test_python_behind_run_is_completed_as_python(full: Kernel, jedi: bool) -> None:
    full.ok(f"%config IPCompleter.use_jedi = {jedi}\nquantities = [1]")
    assert "quantities" in tab(full, "%%romancy_workflow --run quan")[0]
    assert "quantities" in tab(full, "%%romancy_workflow research topic=quan")[0]


@pytest.mark.kernel
def test_where_nothing_fits_nothing_else_is_offered(full: Kernel) -> None:
    for jedi in (True, False):
        full.ok(f"%config IPCompleter.use_jedi = {jedi}")
        assert tab(full, "%romancy show nobody-has-this")[0] == []
        assert tab(full, "%romancy doctor xyz")[0] == []


@pytest.mark.kernel
def test_tab_is_quick_with_ten_thousand_instances(full: Kernel) -> None:
    full.ok("%config IPCompleter.use_jedi = True")
    assert full.value("len(rn.instances())") == MANY + 1
    tab(full, "%romancy show m")
    took = [tab(full, "%romancy show many-0")[2] for _ in range(5)]
    print(f"\n  Tab with {MANY:,} instances: {min(took) * 1000:.0f} ms", end=" ")
    assert min(took) < 0.05
    assert len(tab(full, "%romancy show ")[0]) == 200


@pytest.mark.kernel
def test_tab_does_not_open_the_journal(full: Kernel) -> None:
    full.ok(
        "import time\nfrom romancy_nb.journal.on_duckdb import DuckDBJournal\nfrom romancy_nb.runtime import launch\n"
        "opened = []\n_acquire = DuckDBJournal.acquire\n"
        "def counted(self, *a):\n    opened.append(self)\n    return _acquire(self, *a)\n"
        "while launch.current().journal.held: time.sleep(0.01)\nDuckDBJournal.acquire = counted"
    )
    for code, _, wanted in CASES:
        assert wanted in tab(full, code)[0]
    assert full.value("(len(opened), launch.current().journal.held)") == (0, False)
    full.ok("DuckDBJournal.acquire = _acquire")


@pytest.mark.kernel
def test_nothing_is_completed_after_unloading(own: Kernel) -> None:
    own.ok("%load_ext romancy_nb")
    assert tab(own, "%romancy do")[0] == ["doctor"]
    own.ok("%unload_ext romancy_nb")
    assert "doctor" not in tab(own, "%romancy do")[0]
