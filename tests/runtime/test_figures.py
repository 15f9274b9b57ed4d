"""Figures of pyplot: each attempt has its own, they are captured at its end and closed; those of others stay (N4)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import romancy_nb as rn

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
plt: Any = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def _no_figures() -> Iterator[None]:
    plt.close("all")
    yield
    plt.close("all")


def pictures(instance: Any) -> list[str]:
    return [o["data"]["image/png"] for o in instance.outputs() if "image/png" in o.get("data", {})]


def test_figures_of_an_activity_are_captured_in_order_and_closed_and_others_stay(journal: Path) -> None:
    mine = plt.figure()

    @rn.activity
    def draws(n: int) -> int:
        plt.plot([1, 2])
        print("between")
        plt.figure()
        plt.plot([3, n])
        return len(plt.get_fignums())

    @rn.workflow
    def flow(n: int) -> int:
        return draws(n)

    flow(4)
    assert len(pictures(rn.instances()[0])) == 2
    assert plt.get_fignums() == [mine.number]
    assert plt.gcf() is mine


def test_activities_at_once_do_not_draw_into_each_others_figures(journal: Path) -> None:
    meet = threading.Barrier(4)

    @rn.activity(retry=rn.RetryPolicy(max_attempts=1))
    def draws(n: int) -> int:
        meet.wait(10)
        plt.plot([n, n])
        meet.wait(10)
        plt.plot([n, n + 1])
        meet.wait(10)
        plt.close("all") if n == 3 else None
        meet.wait(10)
        return len(plt.gca().lines)

    @rn.workflow
    def flow() -> Any:
        return list(rn.gather(*(draws.bind(n) for n in range(4))))

    assert flow() == [2, 2, 2, 0]
    assert len(set(pictures(rn.instances()[0]))) == 4
    assert plt.get_fignums() == []


def test_a_figure_that_cannot_be_drawn_says_so_and_fails_nothing(journal: Path) -> None:
    @rn.activity
    def draws(n: int) -> int:
        plt.title(r"$\nonsense{$")
        return n

    @rn.workflow
    def flow(n: int) -> int:
        return draws(n)

    assert flow(1) == 1
    (output,) = rn.instances()[0].outputs()
    assert output["text"].startswith("A figure of this step cannot be drawn: ")
    assert plt.get_fignums() == []
