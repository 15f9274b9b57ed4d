"""Durable notebooks from the engine's side: calls of cells, answered by a ledger or executed (R14)."""

from __future__ import annotations

import logging
from typing import Any, cast

from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.core.commands import Delivery, OpenCall, Outcome
from romancy_nb.core.events import Event
from romancy_nb.core.ledger import NOTEBOOK, Answer, Ledger
from romancy_nb.core.transitions import ACTIVE
from romancy_nb.errors import RomancyError, RunHeldElsewhere, RunProblem
from romancy_nb.journal.protocol import Head
from romancy_nb.payloads.payload import NULL, Payload
from romancy_nb.runtime import endings, ownership, starts
from romancy_nb.runtime.activations import Activations
from romancy_nb.runtime.inbox import CellCalls, Finished, Paused, Withdrawn
from romancy_nb.runtime.live import LiveRun

__all__ = ["Notebooks", "id_of"]

log = logging.getLogger("romancy_nb")


def id_of(name: str) -> str:
    """Return the id of the instance of the notebook called *name*."""
    return f"notebook-{name}"


class _TheNotebook:
    """Stands where a run has its workflow."""

    name = NOTEBOOK


class Notebooks(Activations):
    """The layer that keeps notebooks."""

    def open_notebook(self, name: str, path: str | None, *, fresh: bool = False) -> Head | None:
        """Find or begin the run of a notebook, and return how it stood; None: it is new.

        Args:
            name: of the notebook.
            path: of its file, where known.
            fresh: begin a new run, in which nothing is recorded.

        Raises:
            RunHeldElsewhere: another living kernel has it open.
            RunProblem: the id is taken by another workflow.
        """
        instance = id_of(name)
        live = self.newest.get(instance)
        if live is not None and live.unsaved:
            self.save(live)
        head = self.journal.heads([instance]).get(instance)
        if head is not None:
            self._may_open(head, name)
            head = self._take_up.recover(head)
        if live is not None:
            self.forget(live)
        if head is None or fresh or self._is_forgotten(head):
            self._begin(instance, path, head)
        else:
            self._reopen(head)
        # at once and not with the first step: it tells another kernel that the notebook is open here
        run = self.newest[instance]
        self.record(run, run.opening)
        run.opening = []
        self._commit()
        return head

    def _may_open(self, head: Head, name: str) -> None:
        if head.workflow != NOTEBOOK:
            raise RunProblem(
                f"The id {head.instance} belongs to workflow {head.workflow}. Give the notebook another NAME: "
                f"%romancy notebook NAME."
            )
        if head.status in ACTIVE and head.owner != self.token and ownership.alive(head.owner, self.other_engines()):
            raise RunHeldElsewhere(
                f"Notebook {name} is open in {ownership.describe(head.owner)}. Shut that kernel down first, or give this "
                "notebook a NAME of its own: %romancy notebook NAME."
            )

    def _is_forgotten(self, head: Head) -> bool:
        return starts.is_forgotten([(row.seq, row.event) for row in self.journal.load(head.run, parts=False)[:1]])

    def _begin(self, instance: str, path: str | None, head: Head | None) -> None:
        now = now_us()
        number = head.number + 1 if head is not None else 1
        run = self._notebook_run(starts.new_run_key(now), instance, number)
        meta: dict[str, Any] = {
            "kind": "notebook",
            "number": number,
            "reason": "start" if head is None else "fresh",
            "owner": self.token,
            "epoch": 1,
            "versions": starts.versions(),
        }
        if path:
            meta["notebook"] = path
        started = Event(ev.RUN_STARTED, now, instance, NOTEBOOK, payload=Payload("{}"), meta=meta)
        run.started = now
        run.ledger = Ledger([(1, started)])
        run.opening = [started]

    def _reopen(self, head: Head) -> None:
        rows = [(row.seq, row.event) for row in self.journal.load(head.run)]
        run = self._notebook_run(head.run, head.instance, head.number)
        run.next_seq, run.epoch, run.started = head.last_seq + 1, head.epoch, head.started
        run.ledger = Ledger(rows)
        if head.owner != self.token:
            run.epoch += 1
            meta = {"owner": self.token, "epoch": run.epoch, "reason": "notebook"}
            run.opening = [Event(ev.RUN_RESUMED, now_us(), meta=meta)]

    def _notebook_run(self, key: int, instance: str, number: int) -> LiveRun:
        run = LiveRun(key, instance, number, cast(Any, _TheNotebook), "", "", lambda: None)
        self.live[key] = self.newest[instance] = run
        return run

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _cell_calls(self, item: CellCalls) -> None:
        if item.abandoned:
            return
        run = self.newest.get(item.instance)
        try:
            if self.journal.foreign():  # somebody may have deleted it, and what we remember with it
                self.hold()
            if run is None or run.ledger is None or run.finished or run.status == "paused":
                self.hold()
                self._commit()
                self.open_notebook(item.instance.removeprefix(id_of("")), None)
                run = self.newest[item.instance]
            self._ask(run, item)
        except RomancyError as error:
            item.waiter.tell(Finished(error=error))
        except Exception as bug:  # whoever called must not wait for ever because of an error of ours
            log.exception("internal error while a cell called an activity")
            item.waiter.tell(
                Finished(error=RomancyError(f"internal error of romancy_nb: {bug!r}. Nothing recorded is lost."))
            )

    def _ask(self, run: LiveRun, item: CellCalls) -> None:
        ledger = run.ledger
        assert ledger is not None
        found = ledger.ask(item.asked, now_us())
        if isinstance(found, Answer):
            item.waiter.tell(found)
            return
        if isinstance(found, str):
            place = found
            if place in run.calls:
                self._adopt(run, place, item)
            else:
                if ledger.in_doubt(place):
                    item.waiter.tell(Answer(Outcome(False, NULL, _doubt(run, item)), True, 0, now_us()))
                    return
                self._execute(run, ledger.again(place, item.asked.command), item)
        else:
            place = found.place
            self.record(run, [*run.opening, ledger.intent(place)])
            run.opening = []
            self._execute(run, found, item)
        run.asking.setdefault(place, []).append(item.waiter)
        run.waiters.append(item.waiter)

    def _adopt(self, run: LiveRun, place: str, item: CellCalls) -> None:
        """It is executing here: from now on it talks in the cell that waits for it now."""
        flying = self._dispatcher.flying.get((run.key, place))
        run.calls[place].host, run.calls[place].output = item.host, item.output
        if flying is not None and (part := flying.capture.move(item.output)) is not None:
            self._put_out(run, flying, [part._replace(live=False)])
            run.calls[place].unshown += (part.payload,)

    def _execute(self, run: LiveRun, call: OpenCall, item: CellCalls) -> None:
        for place, other in run.calls.items():  # what the cell's other calls put out is shown with their outcomes now
            flying = self._dispatcher.flying.get((run.key, place))
            if other.cell == call.cell and flying is not None and (part := flying.capture.lose_floor()) is not None:
                self._put_out(run, flying, [part])
        if run.opening:
            self.record(run, run.opening)
            run.opening = []
        call.host, call.output = item.host, item.output
        run.calls[call.place] = call
        self.execute(run, call)

    def _deliver_later(self, run: LiveRun, delivery: Delivery) -> None:
        ledger = run.ledger
        if ledger is None or run.status == "paused":
            super()._deliver_later(run, delivery)
            return
        run.calls.pop(delivery.place, None)
        row, answer = ledger.settle(delivery)
        self.record(run, [row])
        for waiter in run.asking.pop(delivery.place, ()):
            if waiter in run.waiters:
                run.waiters.remove(waiter)
            self.tell_after_commit(run, waiter, answer)

    def _withdrawn(self, item: Withdrawn) -> None:
        """Stop: what is in flight is interrupted; what completes all the same is recorded (A2)."""
        left: list[str] = []
        for asked in item.calls:
            asked.abandoned = True
            run = self.newest.get(asked.instance)
            if run is None or run.ledger is None:
                continue
            for place, waiters in list(run.asking.items()):
                if asked.waiter not in waiters:
                    continue
                waiters.remove(asked.waiter)
                if asked.waiter in run.waiters:
                    run.waiters.remove(asked.waiter)
                if waiters:
                    continue
                del run.asking[place]
                self._let_go(run, place, left)
        item.waiter.tell(Paused(0, tuple(left), ""))

    def _let_go(self, run: LiveRun, place: str, left: list[str]) -> None:
        """Nobody waits for the call any more."""
        call = run.calls.get(place)
        if call is None or run.ledger is None:
            return
        left.append(call.command.name)
        run.ledger.note(place, attempts=call.attempts, failed=call.failed, failures=call.failures)
        flying = self._dispatcher.flying.get((run.key, place))
        if flying is not None:
            self._stop_attempt(flying)
        else:
            self._timers.cancel((run.key, place, "retry"))
            self.limits.drop((run.key, place))
            run.calls.pop(place, None)


def _doubt(run: LiveRun, item: CellCalls) -> BaseException:
    name = item.asked.command.name
    return endings.InDoubt(
        f"Activity {name} was started by this cell of {run.instance} before, and nobody recorded how it ended. It is "
        f"`at_most_once`, so it is not executed again by itself. Look whether it had its effect; if it had none, call it in "
        "`with rn.fresh(): ...`."
    )
