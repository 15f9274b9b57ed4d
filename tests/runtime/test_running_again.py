"""What a repeated call does: section "Running again", rules R."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import served

import romancy_nb as rn
from romancy_nb import errors


class Effects(list[str]):
    """What activities did."""

    def act(self, name: str) -> Any:
        def function(value: int = 0) -> int:
            self.append(name)
            return value + 1

        function.__name__ = function.__qualname__ = name
        return function


@pytest.fixture
def effects() -> Effects:
    return Effects()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "romancy_nb"]


def test_the_same_call_returns_the_recorded_result_and_executes_nothing(
    journal: Path, effects: Effects, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "romancy_nb")
    first = rn.activity(effects.act("first"))

    @rn.workflow
    def flow(start: int) -> int:
        return first(start)

    assert flow(1) == 2
    assert flow(1) == 2
    assert effects == ["first"]
    assert lines(caplog)[-1].startswith("Returned the result of ")
    assert "Run again: new=True" in lines(caplog)[-1]


def test_the_record_survives_the_engine(journal: Path, effects: Effects) -> None:
    first = rn.activity(effects.act("first"))

    @rn.workflow
    def flow(start: int) -> int:
        return first(start)

    assert flow(1) == 2
    rn.disconnect()
    assert flow(1) == 2
    assert effects == ["first"]


def test_other_inputs_are_another_instance(journal: Path, effects: Effects) -> None:
    first = rn.activity(effects.act("first"))

    @rn.workflow
    def flow(start: int) -> int:
        return first(start)

    assert [flow(1), flow(2), flow(1)] == [2, 3, 2]
    assert len(rn.instances()) == 2


def test_a_default_and_the_same_value_spelled_out_are_the_same_call(journal: Path, effects: Effects) -> None:
    first = rn.activity(effects.act("first"))

    @rn.workflow
    def flow(start: int = 1) -> int:
        return first(start)

    assert [flow(), flow(1), flow(start=1)] == [2, 2, 2]
    assert effects == ["first"]


def test_new_true_makes_another_instance(journal: Path, effects: Effects) -> None:
    first = rn.activity(effects.act("first"))

    @rn.workflow
    def flow() -> int:
        return first(1)

    flow()
    assert flow.run(new="always") == 2
    assert effects == ["first", "first"]
    assert len(rn.instances()) == 2


def test_one_id_with_other_inputs_is_refused_showing_both(journal: Path, effects: Effects) -> None:
    first = rn.activity(effects.act("first"))

    @rn.workflow
    def flow(start: int) -> int:
        return first(start)

    flow.start(1, instance_id="order-7").result(10)
    with pytest.raises(errors.InputsDiffer) as refused:
        flow.start(2, instance_id="order-7")
    assert '{"start":1}' in str(refused.value).replace(" ", "")
    assert '{"start":2}' in str(refused.value).replace(" ", "")
    assert effects == ["first"]


def test_a_failed_run_executes_the_failed_activity_again_and_nothing_else(
    journal: Path, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rn.activity(effects.act("first"))
    monkeypatch.setenv("SERVICE", "down")  # the world outside: what the code itself reads would count as an edit (R6)

    @rn.activity(retry=1)
    def second(value: int) -> int:
        effects.append("second")
        if os.environ["SERVICE"] == "down":
            raise ConnectionError("the service is down")
        return value + 10

    @rn.workflow
    def flow() -> int:
        return second(first(1))

    with pytest.raises(ConnectionError, match="the service is down"):
        flow()
    instance = rn.instances()[0]
    assert instance.status == "failed"
    monkeypatch.setenv("SERVICE", "up")
    assert flow() == 12
    assert effects == ["first", "second", "second"]
    assert (instance.status, instance.run) == ("completed", 1)


def test_an_edited_activity_is_executed_again_and_the_rest_is_reused(journal: Path, effects: Effects) -> None:
    space: dict[str, Any] = {"rn": rn, "effects": effects}
    define(space, "def first(value):\n    effects.append('first')\n    return value + 1\n", "activity")
    define(space, "def second(value):\n    effects.append('second')\n    return value * 10\n", "activity")
    define(space, "def flow(value):\n    return second(first(value))\n", "workflow")
    assert space["flow"](1) == 20
    define(space, "def second(value):\n    effects.append('second')\n    return value * 100\n", "activity")
    assert space["flow"](1) == 200
    assert effects == ["first", "second", "second"]
    instance = rn.instances()[0]
    assert instance.run == 2
    assert [step["origin"] for step in instance.steps().dicts()] == ["reused", "executed"]
    assert len(instance.runs()) == 2


def test_comments_and_formatting_are_no_edit(journal: Path, effects: Effects) -> None:
    space: dict[str, Any] = {"rn": rn, "effects": effects}
    define(space, "def first(value):\n    effects.append('first')\n    return value + 1\n", "activity")
    define(space, "def flow(value):\n    return first(value)\n", "workflow")
    space["flow"](1)
    define(space, "def flow(value):\n    # a remark\n    return first( value )\n", "workflow")
    assert space["flow"](1) == 2
    assert effects == ["first"]
    assert rn.instances()[0].run == 1


def test_a_constant_that_changed_is_an_edit_and_is_named(
    journal: Path, effects: Effects, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "romancy_nb")
    space: dict[str, Any] = {"rn": rn, "effects": effects, "FACTOR": 2}
    define(space, "def scale(value):\n    effects.append('scale')\n    return value * FACTOR\n", "activity")
    define(space, "def flow(value):\n    return scale(value)\n", "workflow")
    assert space["flow"](3) == 6
    space["FACTOR"] = 5
    assert space["flow"](3) == 15
    assert any("FACTOR changed" in line for line in lines(caplog))


def test_redo_executes_a_recorded_step_again(journal: Path, effects: Effects) -> None:
    first, second = rn.activity(effects.act("first")), rn.activity(effects.act("second"))

    @rn.workflow
    def flow() -> int:
        return second(first(1))

    flow()
    flow.run(redo=["second"])
    assert effects == ["first", "second", "second"]


def test_a_running_instance_is_followed_not_started_twice(journal: Path, effects: Effects) -> None:
    @rn.activity
    def slow() -> int:
        effects.append("slow")
        time.sleep(0.3)
        return 5

    @rn.workflow
    def flow() -> int:
        return slow()

    one, two = flow.start(), flow.start()
    assert (one.result(10), two.result(10), one.id == two.id) == (5, 5, True)
    assert effects == ["slow"]


def test_helpers_repeat_themselves_in_a_new_run(journal: Path, effects: Effects) -> None:
    space: dict[str, Any] = {"rn": rn, "effects": effects}
    define(space, "def see(*values):\n    return list(values)\n", "activity")
    define(space, "def late(value):\n    return value\n", "activity")
    source = "def flow():\n    seen = see(str(rn.now()), str(rn.uuid4()), rn.random())\n    return [seen, late({n})]\n"
    define(space, source.format(n=1), "workflow")
    before = space["flow"]()
    define(space, source.format(n=2), "workflow")
    after = space["flow"]()
    assert before[0] == after[0]
    assert (before[1], after[1]) == (1, 2)


def test_an_error_comes_back_from_the_journal_as_its_own_type(journal: Path) -> None:
    @rn.activity(retry=1)
    def look() -> int:
        raise LookupError("no such order")

    @rn.workflow
    async def flow() -> str:
        try:
            await look.aio()
        except LookupError as error:
            return f"handled: {error}"
        return "found"

    async def call() -> str:
        return await flow()

    assert asyncio.run(call()) == "handled: no such order"
    rn.disconnect()
    assert asyncio.run(call()) == "handled: no such order"


def define(space: dict[str, Any], source: str, kind: str) -> None:
    """Define what a notebook cell would: a function from source that can be read again."""
    import linecache
    import uuid

    name = f"<cell {uuid.uuid4().hex}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    space.setdefault("__name__", "__main__")
    exec(compile(source, name, "exec"), space)
    function = source.split("(", maxsplit=1)[0].removeprefix("def ")
    space[function] = getattr(rn, kind)(space[function])


def test_executing_again_by_choice_has_another_idempotency_key(journal: Path) -> None:
    keys: list[str] = []

    @rn.activity
    def charge() -> int:
        keys.append(rn.context().idempotency_key)
        return len(keys)

    @rn.workflow
    def flow() -> int:
        return charge()

    flow()
    flow.run(redo=["charge"])
    assert len(set(keys)) == 2


def test_a_new_run_does_not_repeat_a_call_that_may_have_run_and_must_not_run_twice(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys\n"
        "import romancy_nb as rn\n"
        "@rn.activity(delivery='at_most_once', on_doubt='fail', retry=1)\n"
        "def pay(ledger: str) -> int:\n"
        "    with open(ledger, 'a') as file: file.write('paid\\n')\n"
        "    if os.environ.get('DIE'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return 1\n"
        "EDIT = os.environ.get('EDIT')\n"
        "@rn.workflow\n"
        "def flow(ledger: str) -> int: return pay(ledger) + len(EDIT or '')\n"
        "flow(sys.argv[1])\n"
    )
    ledger = tmp_path / "ledger"

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        return served.program(program, str(ledger), ROMANCY_JOURNAL=str(tmp_path / "j.duckdb"), **more)

    assert run(DIE="1").returncode == -signal.SIGKILL
    edited = run(EDIT="yes")  # another value that the workflow reads: a new run
    assert "nobody recorded how it ended" in edited.stderr
    assert ledger.read_text() == "paid\n"


def test_redo_of_something_that_is_not_recorded_names_what_is(journal: Path, effects: Effects) -> None:
    first = rn.activity(effects.act("first"))

    @rn.workflow
    def flow() -> int:
        return first(1)

    flow()
    with pytest.raises(errors.WrongArguments, match="Recorded: first"):
        flow.run(redo=["second"])
    assert effects == ["first"]


@pytest.mark.parametrize("on_doubt", ["ask", "fail"])
@pytest.mark.parametrize("answer", ["", "executed", "not_executed"])
def test_a_doubt_that_a_new_run_inherits_stays_until_a_person_settles_it(
    tmp_path: Path, on_doubt: str, answer: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys\n"
        "import romancy_nb as rn\n"
        "from romancy_nb.core.invariants import check_history\n"
        "@rn.activity(delivery='at_most_once', on_doubt=sys.argv[2], retry=1)\n"
        "def pay(ledger: str, number: int) -> int:\n"
        "    with open(ledger, 'a') as file: file.write(f'{number}\\n')\n"
        "    if sys.argv[3] == 'die': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return number\n"
        "EDIT = os.environ.get('EDIT')\n"
        "@rn.workflow\n"
        "async def flow(ledger: str) -> int:\n"
        "    return await pay.aio(ledger, 3) + len(EDIT or '')\n"
        "if sys.argv[3] in {'executed', 'not_executed'}:\n"
        "    rn.instance('i').resolve('pay', sys.argv[3], 30)\n"
        "try: print(flow.run(sys.argv[1], instance_id='i'))\n"
        "except Exception as error: print(f'{type(error).__name__}: {error}')\n"
        "check_history([(row.seq, row.event) for row in rn.instance('i').rows()])\n"
    )
    ledger = tmp_path / "ledger"

    def run(todo: str, edit: str) -> subprocess.CompletedProcess[str]:
        more = {"ROMANCY_JOURNAL": str(tmp_path / "j.duckdb"), "EDIT": edit}
        return served.program(program, str(ledger), on_doubt, todo, **more)

    assert run("die", "").returncode == -signal.SIGKILL
    for edit in ("a", "a", "a", "b", "b"):  # new runs, and the same call again after each
        again = run("go", edit)
        assert "nobody recorded how it ended" in again.stdout, again
        assert ledger.read_text() == "3\n"
    if answer and on_doubt == "ask":
        settled = run(answer, "b")
        assert settled.stdout.strip() == {"executed": "31", "not_executed": "4"}[answer], settled
        assert run("go", "b").stdout == settled.stdout
        assert ledger.read_text() == {"executed": "3\n", "not_executed": "3\n3\n"}[answer]
