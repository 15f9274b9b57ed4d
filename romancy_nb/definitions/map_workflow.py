"""The workflow that ``rn.map`` outside of any workflow is: a step for each of its rows, which are its inputs.

Rows that failed do not complete it. Its run pauses, as with ``on_failure="pause"``, and the same call makes a new run (R1), which
reuses what completed and executes what failed: failures are never reused (R2).
"""

from __future__ import annotations

import json
from typing import Any, Final

from romancy_nb.core.activation import Body
from romancy_nb.core.commands import Outcome
from romancy_nb.core.context import Ambient
from romancy_nb.definitions import registry
from romancy_nb.definitions.activity import Activity
from romancy_nb.definitions.ambient import Request
from romancy_nb.definitions.fingerprint import Fingerprint, fingerprint
from romancy_nb.definitions.options import WorkflowOptions
from romancy_nb.definitions.signature import Inputs
from romancy_nb.definitions.window import Prepared, Window, prepare
from romancy_nb.definitions.workflow import New, Workflow
from romancy_nb.errors import RowsFailed, WrongArguments
from romancy_nb.payloads.codec import canonical_digest
from romancy_nb.payloads.fields import join_payloads, split_payload
from romancy_nb.payloads.payload import Payload, document

__all__ = ["CONCURRENCY", "MapWorkflow"]

CONCURRENCY: Final = 64
"""Rows that are under way at the same time, unless the call says how many."""
_MISFIT: Final = "$misfit"
"""Stands in the journaled rows in the place of one whose values do not fit."""


class MapWorkflow(Workflow[..., Any]):
    """``map.NAME``: the steps of one ``rn.map(activity, rows)``.

    Args:
        activity: what is called for each row.
        concurrency: how many at the same time, at most.
        raises: a row that failed fails the whole, which is undone like any run.
        keeps: recorded results are used although the activity was edited since: only what failed is executed.
    """

    retries_anew = True

    def __init__(
        self,
        activity: Activity[..., Any],
        *,
        concurrency: int = CONCURRENCY,
        raises: bool = False,
        keeps: bool = False,
    ) -> None:
        name = f"map.{activity.name}"
        known = registry.defined_in("workflow", name)
        super().__init__(_stand_in(activity), name, WorkflowOptions(on_failure="compensate" if raises else "pause"))
        self.activity = activity
        self._concurrency = concurrency
        self._raises = raises
        self._keeps = keeps
        self._made: tuple[str, list[Prepared]] | None = None
        if known:
            registry.take_redefined(name)

    def rows_request(self, rows: list[Prepared], *, instance_id: str | None, new: New, site: str) -> Request:
        """Return the wish to run it for *rows*, which are journaled with its start."""
        payloads, digests, secrets = [], [], {}
        for index, row in enumerate(rows):
            if isinstance(row, Exception):
                payloads.append(Payload(document({_MISFIT: str(row)})))
                digests.append(["misfit", str(row)])
                continue
            payloads.append(row[1].payload)
            digests.append(["row", row[1].digest])
            if row[1].secrets:
                secrets[str(index)] = row[1].secrets
        digest = canonical_digest(digests)
        self._made = digest, rows
        return Request(self, Inputs(join_payloads(payloads), digest, secrets), instance_id, new, (), site)

    def let_go(self) -> None:
        """The call is over: its rows are in the journal, and need not stay in memory for who takes the run up once more."""
        self._made = None

    def retried(self) -> MapWorkflow:
        """Return what tries the failed rows again, with the activity as it is defined now."""
        activity = registry.find("activity", self.activity.name) or self.activity
        return MapWorkflow(activity, concurrency=self._concurrency, raises=self._raises, keeps=True)

    def body(self, inputs: Inputs) -> Body:
        async def run(found: Ambient) -> Payload:
            rows = self._rows(inputs)
            failures: list[str] = [
                f"row {index}: {row}" for index, row in enumerate(rows) if isinstance(row, Exception)
            ]
            errors: list[BaseException] = []

            def settle(index: int, outcome: Outcome, place: str) -> None:
                if not outcome.ok and (self._raises or len(failures) < 1):
                    error = self.activity.error_of(found, outcome)
                    errors.append(error)
                    failures.append(f"row {index}: {type(error).__name__}: {error}")

            window = Window(found, self.activity, rows, self._concurrency, settle, stop=self._raises, keeps=self._keeps)
            if not (self._raises and window.failed):
                await window.run_async()
            if window.failed:
                raise self._failed(found, window.failed, rows, failures[0], errors)
            return Payload(document({"rows": len(rows)}))

        return run

    def _failed(
        self, found: Ambient, failed: int, rows: list[Prepared], first: str, errors: list[BaseException]
    ) -> BaseException:
        what = f"{failed:,} of {len(rows):,} rows of {self.activity.name} failed"
        if self._raises and errors:
            return BaseExceptionGroup(what, errors)
        error = RowsFailed(f"{what} ({first}). The same call tries them again, and executes nothing else.")
        found.reported.append(error)  # it is what activities reported, and no slip of this code (E4)
        return error

    def _rows(self, inputs: Inputs) -> list[Prepared]:
        if self._made is not None and self._made[0] == inputs.digest:
            return self._made[1]
        rows: list[Prepared] = []
        for index, payload in enumerate(split_payload(inputs.payload)):
            misfit = json.loads(payload.text).get(_MISFIT) if payload.text.startswith(f'{{"{_MISFIT}"') else None
            if misfit is not None:
                rows.append(WrongArguments(misfit))
                continue
            args, kwargs = self.activity.signature.decode_inputs(payload, inputs.secrets.get(str(index)))
            rows.append(prepare(self.activity, (args, kwargs)))
        return rows

    def fingerprint(self) -> Fingerprint:
        return fingerprint(self.activity.function)


def _of_name(name: str) -> MapWorkflow | None:
    """A run of a map can be taken up by whoever has its activity: its rows are journaled."""
    activity = registry.find("activity", name.removeprefix("map.")) if name.startswith("map.") else None
    return MapWorkflow(activity) if activity is not None else None


registry.makers.append(_of_name)


def _stand_in(activity: Activity[..., Any]) -> Any:
    """A function that carries the name, for everything that asks a workflow for its function."""

    def rows() -> dict[str, int]:
        raise NotImplementedError

    rows.__name__ = rows.__qualname__ = f"map.{activity.name}"
    rows.__module__ = activity.__module__
    rows.__doc__ = f"rn.map({activity.__name__}, ...): a step for each row."
    return rows
