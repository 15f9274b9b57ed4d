"""What happened in the demo: facts from three independent witnesses, and the text made of them.

The journal says which steps completed before the kill and which were executed after it. The ledger says which effects
the world saw. The service says which requests were asked twice. Nothing here is computed from what the notebook claims.
"""

from __future__ import annotations

import csv
import json
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from romancy_nb.demo.ledger import EFFECTS, read_entries

__all__ = ["Journaled", "Outcome", "journaled", "ledger_table", "summary"]


@dataclass(frozen=True, slots=True)
class Journaled:
    """What the journal holds of the one instance that the quickstart makes.

    Attributes:
        status: of the instance.
        run: its newest run.
        completed: (run, seq) of every completed step -> whether its result was reused from an earlier run.
        open: names of the steps that were asked for and have no outcome.
    """

    status: str
    run: int
    completed: Mapping[tuple[int, int], bool]
    open: tuple[str, ...]


def journaled(journal: Path) -> Journaled:
    """Read the journal through the public interface, and let go of it again: the next kernel needs it."""
    import romancy_nb as rn

    rn.connect(str(journal))
    try:
        instances = rn.instances()
        status, run = (instances[0].status, instances[0].run) if instances else ("absent", 0)
        rows = rn.sql("SELECT run, seq, name, status, origin FROM steps ORDER BY run, seq").fetchall()
    finally:
        rn.disconnect()
    return Journaled(
        status=status,
        run=run,
        completed={(row[0], row[1]): row[4] == "reused" for row in rows if row[3] == "completed"},
        open=tuple(row[2] for row in rows if row[3] not in ("completed", "failed") and row[0] == run),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The two executions put side by side.

    Attributes:
        before: what the journal held when the kernel was dead.
        after: what it holds at the end.
        effects: (effect, order) -> how often it stands in the ledger.
        wanted: every (effect, order) that the orders ask for.
        repeats: requests that were asked again and answered from their key, as "charge of A-1006".
    """

    before: Journaled
    after: Journaled
    effects: Mapping[tuple[str, str], int]
    wanted: frozenset[tuple[str, str]]
    repeats: tuple[str, ...]

    @classmethod
    def observe(cls, directory: Path, before: Journaled, after: Journaled, url: str) -> Outcome:
        """Ask the ledger on disk, the orders on disk, and the service at *url*."""
        entries = read_entries(directory / "ledger.jsonl")
        with (directory / "orders.csv").open(newline="", encoding="utf-8") as file:
            orders = [row["order"] for row in csv.DictReader(file)]
        with urllib.request.urlopen(f"{url}/ledger", timeout=10) as answer:
            repeats: list[dict[str, Any]] = json.load(answer)["repeats"]
        return cls(
            before=before,
            after=after,
            effects=Counter((entry["effect"], entry["order"]) for entry in entries),
            wanted=frozenset((effect, order) for order in orders for effect in EFFECTS),
            repeats=tuple(f"{repeat['effect']} of {repeat['order']}" for repeat in repeats),
        )

    @property
    def replayed(self) -> int:
        """Steps of the newest run whose result came from the journal in the second execution."""
        return sum(1 for place, reused in self._newest() if reused or place in self.before.completed)

    @property
    def executed_after(self) -> int:
        """Steps of the newest run that were executed in the second execution."""
        return sum(1 for place, reused in self._newest() if not reused and place not in self.before.completed)

    def _newest(self) -> list[tuple[tuple[int, int], bool]]:
        return [(place, reused) for place, reused in self.after.completed.items() if place[0] == self.after.run]

    @property
    def exactly_once(self) -> bool:
        """Does every effect that was wanted stand in the ledger once, and no other?"""
        return self.effects.keys() == self.wanted and set(self.effects.values()) == {1}

    def faults(self) -> Iterator[str]:
        """What is not as it must be; nothing when all is well."""
        for effect, order in sorted(self.wanted | self.effects.keys()):
            count = self.effects.get((effect, order), 0)
            if count != 1 or (effect, order) not in self.wanted:
                yield f"{effect} of {order} stands in the ledger {count} times"
        if self.after.status != "completed":
            yield f"the workflow is {self.after.status}, not completed"
        if not self.before.completed:
            yield "the journal held no completed step when the kernel died"
        if not self.executed_after:
            yield "nothing was left to execute when the kernel died: it was not killed in the middle"


def ledger_table(outcome: Outcome) -> str:
    """The ledger by order and effect: how often each stands there."""
    orders = sorted({order for _, order in outcome.wanted | outcome.effects.keys()})
    width = max((len(order) for order in orders), default=5)
    lines = [f"  {'order':<{width}}" + "".join(f"{effect:>10}" for effect in EFFECTS)]
    for order in orders:
        counts = "".join(f"{outcome.effects.get((effect, order), 0):>10}" for effect in EFFECTS)
        lines.append(f"  {order:<{width}}{counts}")
    return "\n".join(lines)


def summary(outcome: Outcome) -> str:
    """The report: what ran, what was replayed, what stood in doubt, and the ledger."""
    before = len(outcome.before.completed)
    asked = ", ".join(outcome.repeats)
    lines = [
        "What happened",
        f"  before the kill    {before} steps completed",
        f"  in the new kernel  {outcome.replayed} steps from journal, {outcome.executed_after} executed",
    ]
    if outcome.repeats:
        lines += [
            f"  asked twice        {asked}: the kernel died before the answer came, so the request was",
            "                     sent again with the same idempotency key; the service knew the key and",
            "                     gave its first answer, without a second effect",
        ]
    total = sum(outcome.effects.values())
    lines += ["", f"The ledger: {total} effects, and how often each stands there", ledger_table(outcome), ""]
    faults = list(outcome.faults())
    if faults:
        lines += ["NOT AS IT SHOULD BE:", *(f"  - {fault}" for fault in faults)]
    else:
        lines.append(f"Every one of the {len(outcome.wanted)} effects stands in the ledger exactly once.")
    return "\n".join(lines)
