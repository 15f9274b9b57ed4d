"""A run's code is played against its history for the sake of the answer alone: does it still fit, and if not, where?

Nothing new can come of it. The first time that the code asks for anything that history does not hold, be it an activity, a
timer or a side effect, the rehearsal is over and the code is stopped there; so no side effect is called and no call is issued.
The code itself does run, as on every replay.
"""

from __future__ import annotations

from collections.abc import Sequence

from romancy_nb.core.activation import Body, Execution
from romancy_nb.core.commands import Ended
from romancy_nb.core.replay import Call, Numbered, describe
from romancy_nb.errors import HistoryMismatch, RunPutDown

__all__ = ["Rehearsal"]


class Rehearsal(Execution):
    """An execution that ends where history does.

    Attributes:
        beyond: the first thing that the code asks for beyond its history, as a short text; empty while there is none.
    """

    def __init__(self, body: Body, rows: Sequence[Numbered]) -> None:
        super().__init__(body, rows)
        self.beyond = ""
        self.ambient.prints = _nowhere
        self.ambient.displays = _nowhere

    def play(self) -> tuple[HistoryMismatch | None, Ended | None]:
        """Play the code to the end of its history; return where they part, and how the code has ended, if it has.

        Where they part, the second tells whether the code had raised or returned by then.
        """
        report = self.begin(0)
        return report.mismatch, None if self.beyond else self.ended or self._raised()

    def _raised(self) -> Ended | None:
        """The error with which the code has left, where the parting came before the run could end with it."""
        root = self._root
        error = root.exception() if root is not None and root.done() and not root.cancelled() else None
        return Ended(error=error) if error is not None and not isinstance(error, RunPutDown) else None

    def break_off(self) -> None:
        """Refuse whatever the code still asks for. The one thing here that another thread may call."""
        self.loop.dead = True

    def _find(self, place: str, kind: str, name: str, digest: str, occurrence: int, text: str = "") -> Call | None:
        call = super()._find(place, kind, name, digest, occurrence, text)
        if call is None:
            self.beyond = describe(kind, name, place, text)
            self.loop.dead = True
            raise RunPutDown
        return call

    def _deliver_recorded(self) -> None:
        """What was recorded and not delivered is beyond what the code has seen."""


def _nowhere(*_: object, **__: object) -> None:
    """Where the output of a rehearsal goes."""
