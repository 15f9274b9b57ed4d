"""The note on time, chance and pauses in workflow code: it comes where it is meant, and nowhere else."""

from __future__ import annotations

import datetime
import random
import time
import uuid
from collections.abc import Callable
from datetime import datetime as dt
from random import choice
from time import time as clock
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb.definitions.lint import note_of


def said(function: Callable[..., Any]) -> str:
    return note_of("flow", function) or ""


def time_itself() -> Any:
    return time.time()


def a_name_of_it() -> Any:
    return clock()


def now() -> Any:
    return datetime.datetime.now(datetime.UTC)


def now_by_class() -> Any:
    return dt.now()


def today() -> Any:
    return datetime.date.today()


def chance() -> Any:
    return random.randint(1, 6)


def choosing() -> Any:
    return choice([1, 2])


def identity() -> Any:
    return uuid.uuid4()


def imported_within() -> Any:
    import time as t

    return t.monotonic()


def imported_from_within() -> Any:
    from uuid import uuid4

    return uuid4()


def in_an_inner_function() -> Any:
    def inner() -> float:
        return time.time()

    return inner()


def pausing() -> None:
    time.sleep(1)


async def apausing() -> None:
    time.sleep(1)


@pytest.mark.parametrize(
    ("function", "call", "instead"),
    [
        (time_itself, "time.time()", "rn.now()"),
        (a_name_of_it, "clock()", "rn.now()"),
        (now, "datetime.datetime.now()", "rn.now()"),
        (now_by_class, "dt.now()", "rn.now()"),
        (today, "datetime.date.today()", "rn.now()"),
        (chance, "random.randint()", "rn.random()"),
        (choosing, "choice()", "rn.random()"),
        (identity, "uuid.uuid4()", "rn.uuid4()"),
        (imported_within, "t.monotonic()", "rn.now()"),
        (imported_from_within, "uuid4()", "rn.uuid4()"),
        (in_an_inner_function, "time.time()", "rn.now()"),
        (pausing, "time.sleep()", "rn.sleep(...)"),
        (apausing, "time.sleep()", "await asyncio.sleep(...)"),
    ],
)
def test_what_a_replay_would_answer_otherwise_is_named_with_what_to_write(
    function: Callable[..., Any], call: str, instead: str
) -> None:
    note = said(function)
    assert note.startswith(f"note: flow calls {call} (line ")
    assert f"write {instead})" in note
    assert "\n" not in note


class Clock:
    @staticmethod
    def time() -> float:
        return 0.0


def parameter_of_that_name(time: Any) -> Any:
    return time.time()


def local_of_that_name() -> Any:
    time = Clock
    return time.time()


def loop_of_that_name() -> Any:
    return [time.time() for time in [Clock]]


def helpers_of_ours() -> Any:
    return rn.now(), rn.random(), rn.uuid4()


def recorded_once() -> Any:
    return rn.side_effect(lambda: time.time()) + rn.side_effect(time.time)


def only_an_activity() -> Any:
    @rn.activity
    def inner() -> float:
        return time.time()

    return inner()


def a_date_that_is_no_question() -> Any:
    return datetime.datetime(2026, 1, 1), dt.fromisoformat("2026-01-01"), random.Random(3).random()


def names_that_nobody_knows() -> Any:
    return nothing.time()  # type: ignore[name-defined]  # noqa: F821


def a_mere_mention() -> Any:
    return "time.time()", time.time


@pytest.mark.parametrize(
    "function",
    [
        parameter_of_that_name,
        local_of_that_name,
        loop_of_that_name,
        helpers_of_ours,
        recorded_once,
        only_an_activity,
        a_date_that_is_no_question,
        names_that_nobody_knows,
        a_mere_mention,
    ],
)
def test_there_is_no_false_alarm(function: Callable[..., Any]) -> None:
    assert said(function) == ""


def test_a_closure_is_looked_into() -> None:
    def made(time: Any) -> Callable[[], Any]:
        def flow() -> Any:
            return time.time()

        return flow

    assert said(made(Clock)) == ""
    assert "rn.now()" in said(made(time))


def test_what_has_no_source_is_left_alone() -> None:
    found: dict[str, Any] = {"time": time}
    exec("def flow(): return time.time()", found)
    assert said(found["flow"]) == ""
    assert said(len) == ""


def test_the_line_is_one_however_many_there_are() -> None:
    def flow() -> Any:
        return time.time(), time.monotonic(), uuid.uuid1(), uuid.uuid4(), random.random(), choice([1])

    note = said(flow)
    assert "and 2 more" in note
    assert "\n" not in note


def test_looking_takes_no_time_that_is_felt() -> None:
    began = time.perf_counter()
    for _ in range(100):
        said(in_an_inner_function)
    assert time.perf_counter() - began < 1.0
