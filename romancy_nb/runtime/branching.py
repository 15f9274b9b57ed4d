"""What an instance is to others: one that goes on from a step of it (R16), and one that it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    from romancy_nb.definitions.workflow import Workflow
    from romancy_nb.runtime.engine import Engine
    from romancy_nb.runtime.instance import Instance

__all__ = ["Branching", "use_comparison"]

T = TypeVar("T")

_comparison: Callable[[Instance[Any], Instance[Any] | int | None], Any] | None = None


def use_comparison(make: Callable[[Instance[Any], Instance[Any] | int | None], Any]) -> None:
    """Say what compares two runs; the read side and its widgets are rooms above this one."""
    global _comparison
    _comparison = make


class Branching(Generic[T]):
    """The part of an ``Instance`` that makes others of it."""

    _engine: Engine
    _workflow: Workflow[Any, Any] | None
    id: str
    workflow_name: str

    def fork(
        self,
        at: int | str | None = None,
        edits: Mapping[int | str, Any] | None = None,
        *,
        instance_id: str | None = None,
    ) -> Instance[T]:
        """Make a new instance that has the history of this one up to a step, and goes on from there in the background (R16).

        Nothing that was done before the step is executed again. This instance stays as it was, and so do its effects: what
        becomes of the fork undoes only what the fork does (R17).

        Args:
            at: the first step to be done anew: its number (see ``steps()``), place or name. None: the one behind the first of
                *edits*.
            edits: results to go on with instead of the recorded ones, by step.
            instance_id: of the fork.

        Raises:
            RunProblem: it cannot be forked there; the message says why and what can be done.

        Example:
            >>> other = order.fork(edits={5: {"price": 80}})  # doctest: +SKIP
            >>> order.diff(other)  # doctest: +SKIP
        """
        from romancy_nb.runtime import forks
        from romancy_nb.runtime.instance import Instance

        made = forks.fork(self._engine, self.id, at, edits, instance_id)
        return Instance(self._engine, made, self.workflow_name, self._workflow)

    @property
    def forked_from(self) -> tuple[str, int, int] | None:
        """(id of the instance, number of its run, number of the step) that this one was forked from; None for others."""
        from romancy_nb.runtime import forks

        found: tuple[str, int, int] | None = self._engine.ask(lambda engine: forks.forked_from(engine, self.id))
        return found

    def diff(self, other: Instance[Any] | int | None = None) -> Any:
        """Compare the newest run with another: what is the same, what changed, what only one of them did. It shows itself.

        Args:
            other: an instance; the number of another run of this one; None: what it was forked from, else the run before.

        Raises:
            RunProblem: there is nothing to compare with.

        Example:
            >>> print(order.diff())  # doctest: +SKIP
        """
        assert _comparison is not None, "import romancy_nb first"
        return _comparison(cast("Instance[Any]", self), other)
