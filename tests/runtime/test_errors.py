"""What a workflow sees of an activity's error is the same live, on replay, and in the process after a kill (E1, E2, E3)."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from error_shapes import MAKERS, make, portrait, raise_it, recipe
from forking import Zygote
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import romancy_nb as rn

SEEN: list[Any] = []
ONCE = rn.RetryPolicy(max_attempts=1)
NUMBER = iter(range(10**9))


@rn.activity(retry=ONCE, name="shape")
def shape(told: Any) -> None:
    raise_it(told)


@rn.activity(retry=ONCE, name="ashape")
async def ashape(told: Any) -> None:
    raise_it(told)


@rn.workflow(name="sees")
def sees(told: Any) -> int:
    try:
        shape(told)
    except BaseException as error:
        SEEN.append(portrait(error))
    return 1


@rn.workflow(name="asees")
async def asees(told: Any) -> int:
    try:
        await ashape(told)
    except BaseException as error:
        SEEN.append(portrait(error))
    return 1


def live_and_replayed(flow: Any, told: Any) -> tuple[Any, Any]:
    SEEN.clear()
    instance = f"shape-{next(NUMBER)}"
    assert flow.run(told, instance_id=instance) == 1
    assert flow.run(told, instance_id=instance) == 1
    live, replayed = SEEN
    return live, replayed


@pytest.mark.parametrize("number", range(len(MAKERS)))
@pytest.mark.parametrize("flow", [sees, asees], ids=["def", "async def"])
def test_each_kind_of_error_is_the_same_live_and_replayed(journal: Path, flow: Any, number: int) -> None:
    told = {"maker": number, "value": "text", "attributes": {"status": 5}, "notes": ["n"]}
    live, replayed = live_and_replayed(flow, told)
    assert live == replayed
    cause = live["cause"] or live  # Python makes a RuntimeError of a StopIteration that leaves a coroutine
    assert "raise make(told)" in live["traceback"] + cause["traceback"]


@pytest.fixture(scope="module")
def one_journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROMANCY_JOURNAL", str(tmp_path_factory.mktemp("errors") / "journal.duckdb"))
        rn.disconnect()
        yield
        rn.disconnect()


RECIPES = st.randoms(use_true_random=False).map(lambda chance: recipe(chance.randrange))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(told=RECIPES, is_async=st.booleans())
def test_an_error_of_any_shape_is_the_same_live_and_replayed(one_journal: None, told: Any, is_async: bool) -> None:
    live, replayed = live_and_replayed(asees if is_async else sees, told)
    assert live == replayed


def bare(seen: Any) -> Any:
    """A portrait without what only a journaled error has, and without what may be lost."""
    if isinstance(seen, dict):
        return {key: bare(value) for key, value in seen.items() if key != "traceback"}
    return [bare(each) for each in seen] if isinstance(seen, list) else seen


KEPT = [
    number
    for number in range(len(MAKERS))
    if isinstance(error := make({"maker": number, "value": "x"}), Exception)
    and type(error).__name__
    not in {"StopIteration", "StopAsyncIteration", "Holding", "Local", "Quarrelsome", "MemoryError"}
]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(told=RECIPES)
def test_what_the_workflow_sees_is_what_was_raised(one_journal: None, told: Any) -> None:
    def tame(each: Any) -> Any:
        kept = {**each, "maker": KEPT[each["maker"] % len(KEPT)]}
        for name in ("cause", "context"):
            if name in kept:
                kept[name] = tame(kept[name])
        if "members" in kept:
            kept["members"] = [tame(member) for member in kept["members"]]
        return kept

    told = tame(told)
    with contextlib.suppress(BaseException):
        raise_it(told)
    live, _ = live_and_replayed(sees, told)
    assert bare(live) == bare(portrait(make(told), traceback=False))


@rn.workflow(name="lets")
def lets(told: Any) -> int:
    shape(told)
    return 1


@rn.workflow(name="alets")
async def alets(told: Any) -> int:
    await ashape(told)
    return 1


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(told=RECIPES, is_async=st.booleans())
def test_who_calls_sees_the_same_error_as_who_asks_for_the_result_later(
    one_journal: None, told: Any, is_async: bool
) -> None:
    instance = f"lets-{next(NUMBER)}"
    live = left_by(lambda: (alets if is_async else lets).run(told, instance_id=instance))
    later = left_by(lambda: rn.instance(instance).result(10))
    assert portrait(live, traceback=False) == portrait(later, traceback=False)


def left_by(call: Any) -> BaseException:
    """Return the error that a call lets out. (``pytest.raises`` is no place for one that takes no attributes.)"""
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError("it raised nothing")


def test_resumed_after_a_kill_a_workflow_sees_the_same_errors(tmp_path: Path) -> None:
    environment = {"ROMANCY_JOURNAL": str(tmp_path / "journal.duckdb"), "ERRORS_SEEN": str(tmp_path / "seen")}
    with Zygote(Path(__file__).with_name("errors_program.py")) as zygote:
        for seed in range(4):
            room = tmp_path / str(seed)
            room.mkdir()
            mine = {name: value.replace(str(tmp_path), str(room)) for name, value in environment.items()}
            arguments = [str(seed), "40"]
            code, output = zygote.run(arguments, {**mine, "ERRORS_KILL": "1"}, room / "output")
            assert code == -signal.SIGKILL, output
            code, output = zygote.run(arguments, {**mine, "ERRORS_KILL": ""}, room / "output")
            assert (code, output) == (0, "41\n")
            live, resumed = map(json.loads, (room / "seen").read_text().splitlines())
            assert len(live) == 40
            for mine_live, mine_resumed in zip(live, resumed, strict=True):
                assert mine_live == mine_resumed
