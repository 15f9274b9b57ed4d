"""``rn.map`` and ``workflow.map``: one step, or one instance, for each row."""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar, cast, overload

from romancy_nb.core.commands import Outcome
from romancy_nb.core.context import Ambient, ambient
from romancy_nb.definitions import registry
from romancy_nb.definitions.activity import Activity
from romancy_nb.definitions.ambient import ACTIVITY, Request, launcher
from romancy_nb.definitions.batches import Batch, Failure
from romancy_nb.definitions.map_workflow import CONCURRENCY, MapWorkflow
from romancy_nb.definitions.rows import Rows
from romancy_nb.definitions.window import Prepared, Window, prepare
from romancy_nb.definitions.workflow import New, Workflow
from romancy_nb.errors import NotJournalable, WrongArguments, WrongPlace

__all__ = ["map", "map_instances"]

T = TypeVar("T")

OnError = Literal["collect", "raise"]


@overload
def map(
    activity: Activity[..., Coroutine[Any, Any, T]],
    rows: Any,
    *,
    columns: Sequence[str] | None = None,
    concurrency: int | None = None,
    on_error: OnError = "collect",
    instance_id: str | None = None,
    new: New = False,
) -> Batch[T]: ...
@overload
def map(
    activity: Activity[..., T],
    rows: Any,
    *,
    columns: Sequence[str] | None = None,
    concurrency: int | None = None,
    on_error: OnError = "collect",
    instance_id: str | None = None,
    new: New = False,
) -> Batch[T]: ...
def map(
    activity: Activity[..., Any],
    rows: Any,
    *,
    columns: Sequence[str] | None = None,
    concurrency: int | None = None,
    on_error: OnError = "collect",
    instance_id: str | None = None,
    new: New = False,
) -> Any:
    """Call *activity* for every row, many at a time, and return what each came to, in the order of the rows.

    In workflow code each row is a step of that run; in ``async def`` code it is awaited. Anywhere else the whole is an instance
    of its own: the same call with the same rows goes on where it was, returns what is recorded, and executes the rows that
    failed.

    Args:
        activity: an ``@rn.activity``.
        rows: a data frame (pandas, polars, pyarrow), or an iterable, which is read once. A row of a frame, a dict, a
            dataclass or a model gives the arguments by name, a tuple by position, anything else is the one argument.
        columns: those of the frame's columns, or of the dicts' keys, that are arguments; all, unless given.
        concurrency: how many rows are under way at the same time, at most.
        on_error: "collect": a row that fails stops no other, and is listed in the batch. "raise": after the first failure no
            further row begins; what is under way settles, and an ``ExceptionGroup`` is raised.
        instance_id: outside of workflow code: the instance's id; it follows from the rows unless given.
        new: outside of workflow code: True: another instance, as in ``workflow.start``.

    Returns:
        A ``Batch``: ``.results``, ``.failed``, ``.df()``, ``.retry()``.

    Raises:
        WrongArguments: the rows do not go with the activity's parameters.
        ExceptionGroup: with ``on_error="raise"``.

    Example:
        >>> pages = rn.map(fetch, ["https://a.example", "https://b.example"], concurrency=8)  # doctest: +SKIP
        >>> rn.map(score, table, columns=["text"]).df()  # doctest: +SKIP
    """
    __tracebackhide__ = True
    _check(activity, concurrency, on_error)
    given = Rows(rows, columns)
    calls = given.calls(activity.signature)
    prepared = [prepare(activity, call) for call in calls]
    found = ambient()
    many = concurrency if concurrency is not None else CONCURRENCY
    if found is not None:
        if instance_id is not None or new:
            raise WrongPlace(
                "In workflow code the rows of rn.map are steps of the run, so there is no instance_id= or new= of their own."
            )
        return _Steps(found, activity, given, prepared, many, on_error).start()
    if ACTIVITY.get() is not None:
        raise WrongPlace(
            f"rn.map({activity.__name__}, ...) was called inside an activity, where a step cannot have steps. Call it in the "
            "workflow, or loop over the rows here: they are part of this step then."
        )
    workflow = MapWorkflow(activity, concurrency=many, raises=on_error == "raise")
    frame = sys._getframe(1)
    site = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    return _outside(
        workflow, given, prepared, workflow.rows_request(prepared, instance_id=instance_id, new=new, site=site)
    )


def _check(activity: Any, concurrency: int | None, on_error: str = "collect") -> None:
    if isinstance(activity, Workflow):
        raise WrongArguments(
            f"{activity.name} is a workflow: {activity.__name__}.map(rows) makes an instance of each row."
        )
    if not isinstance(activity, Activity):
        what = f"the plain function {activity.__name__}" if hasattr(activity, "__name__") else repr(activity)
        raise WrongArguments(f"rn.map takes an activity, not {what}. Put @rn.activity on it.")
    _check_concurrency(concurrency)
    if on_error not in {"collect", "raise"}:
        raise WrongArguments(f'rn.map(on_error={on_error!r}): it takes "collect" or "raise".')


def _check_concurrency(concurrency: Any) -> None:
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise WrongArguments(
            f"concurrency={concurrency!r}: it takes how many rows are under way at the same time, 1 or more."
        )


# -- as an instance ----------------------------------------------------------------------------------------------------


def _outside(workflow: MapWorkflow, rows: Rows, prepared: list[Prepared], request: Request) -> Batch[Any]:
    """Run it, and put the outcomes of its steps beside the rows."""
    __tracebackhide__ = True
    activity = workflow.activity
    instance_id, outcomes = launcher().run_steps(request)
    workflow.let_go()
    results: list[Any] = [None] * len(rows)
    failures: dict[int, Failure] = {}
    each = iter(outcomes)
    for index, row in enumerate(prepared):
        if isinstance(row, Exception):
            failures[index] = Failure(row)
            continue
        outcome, place = next(each)
        if outcome.ok:
            results[index] = activity.signature.decode_result(outcome.payload)
        else:
            failures[index] = Failure(activity.error_of(None, outcome), place)

    def again(batch: Batch[Any]) -> Batch[Any]:
        retried = workflow.retried()
        wish = retried.rows_request(prepared, instance_id=instance_id, new=False, site=request.site)
        return _outside(retried, rows, prepared, wish)

    return Batch(activity.name, activity.signature, rows, results, failures, lambda index: instance_id, again)


# -- in workflow code --------------------------------------------------------------------------------------------------


class _Steps:
    """The rows of a map as steps of the run whose code makes it."""

    def __init__(
        self,
        found: Ambient,
        activity: Activity[..., Any],
        rows: Rows,
        prepared: list[Prepared],
        concurrency: int,
        on_error: OnError,
    ) -> None:
        self._found = found
        self._activity = activity
        self._rows = rows
        self._prepared = prepared
        self._concurrency = concurrency
        self._raises = on_error == "raise"
        self._results: list[Any] = [None] * len(rows)
        self._failures: dict[int, Failure] = {}
        self._completed = 0

    def start(self) -> Any:
        """Make the calls, in the colour of the code that asks."""
        return self._make(list(range(len(self._rows))))

    def _make(self, indices: list[int]) -> Any:
        found, window = self._found, self._window(indices)
        if found.is_sync():
            if not self._is_hopeless(window):
                window.run()
            return self._batch()

        async def steps() -> Batch[Any]:
            if not self._is_hopeless(window):
                await window.run_async()
            return self._batch()

        call = steps()
        found.expect(f"rn.map({self._activity.__name__}, ...)", call, what="")
        return call

    def _window(self, indices: list[int]) -> Window:
        rows = [self._prepared[index] for index in indices]
        for index, row in zip(indices, rows, strict=True):
            self._failures.pop(index, None)
            if isinstance(row, Exception):
                self._fail(index, row, "")

        def settle(position: int, outcome: Outcome, place: str) -> None:
            index = indices[position]
            if outcome.ok:
                self._completed += 1
                self._results[index] = self._activity.signature.decode_result(outcome.payload)
            else:
                self._failures[index] = Failure(self._activity.error_of(self._found, outcome), place)

        return Window(self._found, self._activity, rows, self._concurrency, settle, stop=self._raises)

    def _fail(self, index: int, error: BaseException, place: str) -> None:
        self._found.reported.append(error)  # a row that does not fit failed like any other, and is no slip of the code
        self._failures[index] = Failure(error, place)

    def _is_hopeless(self, window: Window) -> bool:
        return self._raises and bool(window.failed)

    def _batch(self) -> Batch[Any]:
        activity, instance = self._activity, self._found.instance_id
        batch: Batch[Any] = Batch(
            activity.name,
            activity.signature,
            self._rows,
            self._results,
            self._failures,
            lambda _: instance,
            self._again,
            len(self._rows) - self._completed - len(self._failures) if self._raises else 0,
        )
        return batch.raise_failed() if self._raises else batch

    def _again(self, batch: Batch[Any]) -> Any:
        """The rows of *batch* that failed are new steps."""
        steps = _Steps(self._found, self._activity, self._rows, self._prepared, self._concurrency, "collect")
        steps._results = list(batch.results)
        steps._failures = {each.index: Failure(each.error, each.step) for each in batch.failed}
        return steps._make([each.index for each in batch.failed])


# -- instances ---------------------------------------------------------------------------------------------------------


def map_instances(
    workflow: Workflow[..., Any], rows: Iterable[Any], columns: Sequence[str] | None, concurrency: int | None, site: str
) -> Batch[Any]:
    """Run an instance of *workflow* for each row. See ``Workflow.map``."""
    __tracebackhide__ = True
    _refuse_inside(workflow)
    _check_concurrency(concurrency)
    given = Rows(rows, columns)
    requests: list[Request | Exception] = []
    for call in given.calls(workflow.signature):
        try:
            requests.append(workflow.request(*call, site=site))
        except (WrongArguments, NotJournalable) as error:
            requests.append(error.with_traceback(None))
    return _instances(workflow, given, requests, concurrency or CONCURRENCY, None)


def _refuse_inside(workflow: Workflow[..., Any]) -> None:
    found = ambient()
    if found is not None:
        found.check()
        raise WrongPlace(
            f"{workflow.__name__}.map(...) was called inside workflow {found.workflow_name}, where instances of its own are not "
            "part of this version. Call it from outside; or make the row's work an activity, and call rn.map(activity, rows) here."
        )
    if ACTIVITY.get() is not None:
        raise WrongPlace(
            f"{workflow.__name__}.map(...) was called inside an activity. Call it where that activity's workflow is called."
        )


def _instances(
    workflow: Workflow[..., Any],
    rows: Rows,
    requests: list[Request | Exception],
    concurrency: int,
    earlier: tuple[Batch[Any], list[str]] | None,
) -> Batch[Any]:
    """Run those that have not completed in the *earlier* batch, or all."""
    __tracebackhide__ = True
    indices = [each.index for each in earlier[0].failed] if earlier is not None else list(range(len(rows)))
    results: list[Any] = list(earlier[0].results) if earlier is not None else [None] * len(rows)
    ids = list(earlier[1]) if earlier is not None else [""] * len(rows)
    failures = {index: Failure(found) for index in indices if isinstance(found := requests[index], Exception)}
    asked = [index for index in indices if index not in failures]
    wishes = [cast(Request, requests[index]) for index in asked]
    for index, (instance_id, value, error) in zip(
        asked, launcher().run_instances(wishes, concurrency, total=len(rows), failed=len(failures)), strict=True
    ):
        results[index], ids[index] = value, instance_id
        if error is not None:
            failures[index] = Failure(error)

    def again(batch: Batch[Any]) -> Batch[Any]:
        now = registry.find("workflow", workflow.name) or workflow
        wishes = [each if isinstance(each, Exception) else replace(each, workflow=now) for each in requests]
        return _instances(now, rows, wishes, concurrency, (batch, ids))

    return Batch(workflow.name, workflow.signature, rows, results, failures, ids.__getitem__, again)
