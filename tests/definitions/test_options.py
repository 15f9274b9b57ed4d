"""Options refuse what is wrong with one sentence, and a retry policy says when."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from romancy_nb.definitions.options import NO_RETRY, ActivityOptions, RetryPolicy, WorkflowOptions
from romancy_nb.errors import CannotRestore, DefinitionError, NotJournalable, TerminalError


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_attempts", 0),
        ("max_attempts", True),
        ("max_attempts", 2.5),
        ("initial", -1),
        ("initial", "1"),
        ("initial", float("nan")),
        ("backoff", 0.5),
        ("maximum", float("inf")),
        ("jitter", 1.5),
        ("max_duration", -1),
        ("retry_on", "ValueError"),
        ("retry_on", (KeyboardInterrupt,)),
        ("give_up_on", ValueError()),
    ],
)
def test_a_wrong_retry_option_is_named_with_its_value(option: str, value: Any) -> None:
    with pytest.raises(DefinitionError) as caught:
        RetryPolicy(**{option: value})
    assert f"{option}={value!r}" in str(caught.value)
    assert "It takes" in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("delivery", "exactly_once", '"at_most_once"'),
        ("on_doubt", "retry", '"compensate"'),
        ("reuse", True, '"prefix"'),
        ("compensate_if", "failed", '"started"'),
        ("timeout", 0, "above 0"),
        ("retry", "often", "RetryPolicy"),
        ("retry", 0, "RetryPolicy"),
        ("retry", True, "RetryPolicy"),
        ("executor", "thread", '"main"'),
        ("pivot", 1, "True or False"),
    ],
)
def test_a_wrong_activity_option_is_named_with_what_it_takes(option: str, value: Any, allowed: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        ActivityOptions(**{option: value})
    assert f"{option}={value!r}" in str(caught.value)
    assert allowed in str(caught.value)


def test_a_wrong_workflow_option_is_named() -> None:
    with pytest.raises(DefinitionError, match="on_failure='undo' is wrong"):
        WorkflowOptions(on_failure="undo")  # type: ignore[arg-type]


def test_an_option_that_does_not_exist_meets_the_one_that_was_meant() -> None:
    with pytest.raises(DefinitionError, match=r"no option retries=\. Did you mean retry=\?"):
        ActivityOptions(retries=3)  # type: ignore[call-arg]


def test_options_are_normalised() -> None:
    assert RetryPolicy(retry_on=ValueError).retry_on == (ValueError,)
    assert RetryPolicy(retry_on=[ValueError]).retry_on == (ValueError,)  # type: ignore[arg-type]
    assert ActivityOptions(retry=3).retry == RetryPolicy(max_attempts=3)  # type: ignore[arg-type]
    assert ActivityOptions(timeout=timedelta(minutes=1)).timeout == 60  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as pool:
        assert ActivityOptions(executor=pool).executor is pool


def test_options_are_values() -> None:
    assert RetryPolicy() == RetryPolicy()
    assert hash(RetryPolicy()) == hash(RetryPolicy())
    assert pickle.loads(pickle.dumps(RetryPolicy(max_attempts=2))) == RetryPolicy(max_attempts=2)
    assert RetryPolicy.none() is NO_RETRY


def test_waits_grow_up_to_the_maximum() -> None:
    policy = RetryPolicy(initial=1, backoff=2, maximum=5, jitter=0)
    assert [policy.delay(attempt, 0.9) for attempt in (1, 2, 3, 4, 100_000)] == [1, 2, 4, 5, 5]


def test_jitter_goes_both_ways_alike() -> None:
    policy = RetryPolicy(initial=10, jitter=0.1)
    assert policy.delay(1, 0.0) == pytest.approx(9)
    assert policy.delay(1, 0.5) == pytest.approx(10)
    assert policy.delay(1, 1.0) == pytest.approx(11)


def test_what_is_worth_another_attempt() -> None:
    policy = RetryPolicy(retry_on=(OSError, ValueError), give_up_on=FileNotFoundError)
    assert policy.retries(ConnectionError())
    assert not policy.retries(FileNotFoundError())
    assert not policy.retries(KeyError())
    for hopeless in (TerminalError(), NotJournalable(), CannotRestore(), KeyboardInterrupt(), GeneratorExit()):
        assert not RetryPolicy().retries(hopeless)
