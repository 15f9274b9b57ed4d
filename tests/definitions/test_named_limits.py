"""``rn.limit``: what it takes, what it refuses, and how activities name it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb.definitions import limits
from romancy_nb.errors import DefinitionError


@pytest.fixture(autouse=True)
def none_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(limits, "_limits", {})
    yield


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "needs concurrency=, per_second= or both"),
        ({"concurrency": 0}, "whole number from 1 up"),
        ({"concurrency": 2.5}, "whole number from 1 up"),
        ({"concurrency": True}, "whole number from 1 up"),
        ({"concurrency": "4"}, "whole number from 1 up"),
        ({"per_second": 0}, "number above 0"),
        ({"per_second": -1}, "number above 0"),
        ({"per_second": float("nan")}, "number above 0"),
        ({"per_second": float("inf")}, "number above 0"),
        ({"per_second": "fast"}, "number above 0"),
    ],
)
def test_a_wrong_figure_meets_the_wrong_line_and_the_right_one(given: dict[str, Any], why: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        rn.limit("openai", **given)
    text = str(caught.value)
    wrong = ", ".join(["rn.limit('openai'", *(f"{key}={value!r}" for key, value in given.items())]) + ")"
    assert why in text
    assert f"wrong:  {wrong}\n" in text
    assert 'right:  rn.limit("openai", concurrency=4)' in text
    assert limits.find("openai") is None


@pytest.mark.parametrize("name", ["", "  ", 7, None])
def test_a_limit_has_a_name(name: Any) -> None:
    with pytest.raises(DefinitionError, match="A limit has a name"):
        rn.limit(name, concurrency=4)


def test_the_same_name_again_is_the_limit_from_then_on_and_is_told() -> None:
    told: list[str] = []
    limits.listeners.append(told.append)
    try:
        first = rn.limit("openai", concurrency=4)
        second = rn.limit("openai", per_second=2)
    finally:
        limits.listeners.remove(told.append)
    assert first != second and limits.find("openai") is second
    assert told == ["openai", "openai"]
    assert str(second) == "openai (2 per second)" and str(first) == "openai (4 at once)"
    assert second.facts() == {"name": "openai", "per_second": 2.0}


@pytest.mark.parametrize("many", [tuple, list, iter])
def test_an_activity_takes_a_limit_its_name_or_several(many: Any) -> None:
    openai = rn.limit("openai", concurrency=4)

    def ask() -> None: ...

    assert rn.activity(limit=openai)(ask).options.limit == ("openai",)
    assert rn.activity(limit="openai")(ask).options.limit == ("openai",)
    assert rn.activity(limit=many([openai, "other", "openai"]))(ask).options.limit == ("openai", "other")
    assert rn.activity()(ask).options.limit is None
    assert rn.compensation(limit="openai")(ask).options.limit == ("openai",)


@pytest.mark.parametrize("wrong", [4, "", (), ["openai", 4], {"openai": 4}.values()])
def test_what_is_no_limit_is_refused_where_the_activity_is_defined(wrong: Any) -> None:
    with pytest.raises(DefinitionError, match=r'activity: limit=.* is wrong. It takes rn\.limit\("openai"'):
        rn.activity(limit=wrong)


def test_the_help_of_an_activity_says_what_it_waits_for() -> None:
    @rn.activity(limit=("openai", "gone"))
    def ask() -> None: ...

    rn.limit("openai", concurrency=4, per_second=0.5)
    assert "waits for limit openai (4 at once, 0.5 per second)" in ask.getdoc()
    assert "waits for limit gone, which is not defined" in ask.getdoc()


def test_a_limit_is_no_part_of_an_activitys_code() -> None:
    def define(**options: Any) -> str:
        @rn.activity(**options)
        def ask() -> int:
            return 1

        return ask._code_now()

    assert define() == define(limit="openai")
