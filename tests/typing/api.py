"""The public API as type-checkers must see it. Never executed: test_typing.py has mypy and pyright check it.

``assert_type`` says what is right. What is wrong carries an ignore comment, and both checkers are told to complain about
ignores that silence nothing: so each wrong use below *is* an error. Where one line must be an error for one of them only,
the comment names it: ``type: ignore`` speaks to both, ``pyright: ignore`` to pyright alone.
"""
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
# pyright: basic, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar, assert_type

from pydantic import BaseModel

import romancy_nb as rn
from romancy_nb import errors

T = TypeVar("T")


@dataclass
class Box(Generic[T]):
    content: T


class Page(BaseModel, Generic[T]):
    items: list[T]
    more: bool = False


class Money(BaseModel):
    amount: float


# -- activities -------------------------------------------------------------------------------------------------------


@rn.activity
def reserve(item: str, count: int = 1) -> Money:
    return Money(amount=float(count))


@rn.activity
async def fetch(url: str, *, depth: int = 0) -> list[str]:
    return [url] * depth


@rn.activity()
def bare_parentheses(item: str) -> int:
    return len(item)


@rn.activity(
    name="charge",
    retry=rn.RetryPolicy(max_attempts=3, initial=0.1, retry_on=(ConnectionError,), give_up_on=PermissionError),
    timeout=10,
    delivery="at_most_once",
    on_doubt="fail",
    reuse="prefix",
    executor=ThreadPoolExecutor(),
)
def charge(amount: float) -> str:
    return f"{amount}"


openai = rn.limit("openai", concurrency=4, per_second=2.5)


@rn.activity(limit=openai)
def limited(text: str) -> int:
    return len(text)


@rn.activity(limit="openai", timeout=3)
async def limited_by_name(ctx: rn.Context, text: str) -> int:
    return len(text)


rn.activity(limit=(openai, "other"))
rn.compensation(limit=[openai])
assert_type(limited("a"), int)
assert_type(openai.name, str)
assert_type(openai.concurrency, int | None)
rn.activity(limit=4)  # type: ignore[call-overload]
rn.limit("openai", 4)  # type: ignore[call-arg]
rn.limit("openai", concurrency="4")  # type: ignore[arg-type]


@rn.activity(retry=3, executor="main", reuse="never")
async def audit(text: str) -> None: ...


assert_type(reserve("a"), Money)
assert_type(reserve("a", count=2), Money)
assert_type(charge(1.0), str)
assert_type(bare_parentheses("a"), int)
assert_type(reserve.name, str)
reserve()  # type: ignore[call-arg]
reserve(1)  # type: ignore[arg-type]
reserve("a", "b")  # type: ignore[arg-type]
reserve("a", amount=2)  # type: ignore[call-arg]
charge("a")  # type: ignore[arg-type]

rn.RetryPolicy(attempts=3)  # type: ignore[call-arg]
rn.RetryPolicy(max_attempts="3")  # type: ignore[arg-type]
rn.RetryPolicy(retry_on=KeyboardInterrupt)  # type: ignore[arg-type]
assert_type(rn.RetryPolicy.none(), rn.RetryPolicy)
rn.activity(retries=3)  # type: ignore[call-overload]
rn.activity(delivery="once")  # type: ignore[call-overload]
rn.activity(reuse="sometimes")  # type: ignore[call-overload]
rn.activity("reserve")  # type: ignore[call-overload]
rn.activity(name=1)  # type: ignore[call-overload]


# -- the context: a first parameter named ctx, and no other ---------------------------------------------------------------


@rn.activity
def with_context(ctx: rn.Context, item: str) -> str:
    assert_type(ctx.idempotency_key, str)
    assert_type(ctx.attempt, int)
    ctx.progress(1, 2, "half")
    ctx.log(item)
    ctx.nothing()  # type: ignore[attr-defined]
    return item


@rn.activity(timeout=1)
async def with_context_async(ctx: rn.Context, item: str) -> str:
    return item


@rn.activity
def only_context(ctx: rn.Context) -> int:
    return ctx.run


@rn.activity
def context_unannotated(ctx, item: str) -> str:
    return item


@rn.activity
def context_as_object(ctx: object, item: str) -> str:
    return item


assert_type(with_context("a"), str)
assert_type(only_context(), int)
assert_type(context_as_object("a"), str)
with_context(rn.context(), "a")  # type: ignore[call-arg, arg-type]
with_context(1)  # type: ignore[arg-type]
context_unannotated("a")
context_unannotated(1)  # pyright: ignore[reportArgumentType]


@rn.activity
def first_is_object(x: object, n: int) -> str:
    return f"{x}{n}"


@rn.activity
def first_is_any(x: Any, n: int) -> str:
    return f"{x}{n}"


@rn.activity(retry=2)
def first_is_any_with_options(x: Any, n: int) -> str:
    return f"{x}{n}"


@rn.activity
def first_is_unannotated(x, n: int) -> str:
    return f"{x}{n}"


@rn.activity
def first_is_generic(x: T, n: int) -> list[T]:
    return [x] * n


@rn.activity
def first_is_a_union(x: rn.Context | int, n: int) -> str:
    return f"{x}{n}"


@rn.activity
def takes_everything(*args: object, **kwargs: object) -> int:
    return len(args)


assert_type(first_is_object("a", 1), str)
assert_type(first_is_any("a", 1), str)
assert_type(first_is_any_with_options("a", 1), str)
assert_type(first_is_any(x="a", n=1), str)
assert_type(first_is_generic("a", 1), list[str])
assert_type(first_is_generic(2, n=1), list[int])
assert_type(first_is_a_union(1, 1), str)
assert_type(takes_everything(1, "a", k=2), int)
first_is_object(1)  # type: ignore[call-arg]
first_is_any(1)  # type: ignore[call-arg]
first_is_any_with_options(1)  # type: ignore[call-arg]
first_is_any("a", "b")  # type: ignore[arg-type]
first_is_unannotated("a", 1)
first_is_unannotated("a")  # type: ignore[call-arg]

assert_type(rn.activity(name="length")(len)([1]), int)
rn.activity(name="twice")(lambda x: 2 * x)


class Shop:
    @rn.activity
    def method(self, item: str) -> str:  # refused when it is called on an instance, and its self stays a parameter
        return item


Shop().method("a")  # type: ignore[call-arg, arg-type]


# -- generic models and dataclasses as they pass through -------------------------------------------------------------------


@rn.activity
def unpack(box: Box[int], page: Page[Money]) -> Page[str]:
    return Page[str](items=[str(box.content)], more=page.more)


@rn.activity
async def pack(page: Page[str]) -> Box[list[str]]:
    return Box(page.items)


assert_type(unpack(Box(1), Page[Money](items=[])), Page[str])
unpack(Box("a"), Page[Money](items=[]))  # type: ignore[arg-type]
unpack(Box(1), Page[str](items=[]))  # type: ignore[arg-type]


# -- workflows -----------------------------------------------------------------------------------------------------------


@rn.workflow
def order(item: str, *, count: int = 1) -> Money:
    assert_type(reserve(item, count), Money)
    assert_type(fetch.sync(item, depth=1), list[str])
    assert_type(reserve.sync(item), Money)
    fetch.sync(item, deep=1)  # type: ignore[call-overload]
    a, b = rn.gather(reserve.bind(item), fetch.bind(item))
    assert_type(a, Money)
    assert_type(b, list[str])
    assert_type(rn.gather(reserve.bind("a"), lambda: 1, charge.bind(1.0)), tuple[Money, int, str])
    assert_type(rn.gather(reserve.bind("a"), lambda: 1, charge.bind(1.0), lambda: b""), tuple[Money, int, str, bytes])
    assert_type(
        rn.gather(reserve.bind("a"), lambda: 1, charge.bind(1.0), lambda: b"", lambda: 1.5),
        tuple[Money, int, str, bytes, float],
    )
    assert_type(rn.gather(*[reserve.bind(each) for each in ("a", "b")]), tuple[Money, ...])
    assert_type(rn.gather(*[fetch.bind(each) for each in ("a", "b")]), tuple[list[str], ...])
    rn.gather(reserve(item), reserve(item))  # type: ignore[call-overload]
    reserve.bind(1)  # type: ignore[arg-type]
    assert_type(rn.map(reserve, ["a", "b"]), rn.Batch[Money])
    assert_type(rn.map(fetch, [{"url": "a"}], concurrency=3).results, list[list[str] | None])
    assert_type(rn.map(reserve, ["a"])[0], Money | None)
    assert_type(rn.map(reserve, ["a"]).retry(), rn.Batch[Money])
    rn.sleep(1)
    return Money(amount=1)


@rn.workflow
async def crawl(url: str, *, depth: int = 0) -> Page[str]:
    found = await fetch(url, depth=depth)
    assert_type(found, list[str])
    assert_type(await reserve.aio(url), Money)
    assert_type(await fetch.aio(url), list[str])
    await reserve.aio(1)  # type: ignore[arg-type]
    audit("forgotten")  # type: ignore[unused-coroutine]
    a, b = await asyncio.gather(fetch(url), reserve.aio(url))
    assert_type(a, list[str])
    assert_type(b, Money)
    c, d, _ = await asyncio.gather(reserve.aio(url), fetch.aio(url), audit(url))
    assert_type(c, Money)
    assert_type(d, list[str])
    assert_type(await asyncio.wait_for(reserve.aio(url), 1), Money)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(fetch(url))
        other = group.create_task(reserve.aio(url))
    assert_type(task.result(), list[str])
    assert_type(other.result(), Money)
    assert_type(await rn.map(fetch, ["a", "b"]), rn.Batch[list[str]])
    await rn.sleep(1)
    return Page[str](items=found)


@rn.workflow
def calls_children(url: str) -> Money:
    assert_type(crawl.sync(url), Page[str])
    a, b = rn.gather(order.bind(url), crawl.bind(url, depth=1))
    assert_type(a, Money)
    assert_type(b, Page[str])
    assert_type(order.start(url, detach=True).result(), Money)
    crawl.sync(1)  # type: ignore[call-overload]
    return order(url, count=2)


@rn.workflow
async def awaits_children(url: str) -> Money:
    assert_type(await crawl(url), Page[str])
    assert_type(await order.aio(url), Money)
    handle = crawl.start(url)
    assert_type(await handle, Page[str])
    assert_type(await crawl.start(url, detach=True), Page[str])
    return await order.aio(url, count=2)


@rn.workflow(name="watched", on_failure="pause", timeout=60)
async def with_context_workflow(ctx: rn.Context, item: str) -> str:
    assert_type(ctx.instance_id, str)
    assert_type(ctx.is_replaying, bool)
    return item


@rn.workflow
def context_workflow_unannotated(ctx, item: str) -> str:
    return item


@rn.workflow
def any_workflow(x: Any, n: int) -> str:
    return f"{x}{n}"


@rn.workflow(on_failure="compensate")
def object_workflow(x: object, n: int) -> str:
    return f"{x}{n}"


rn.workflow(on_failure="stop")  # type: ignore[call-overload]
rn.workflow(retry=3)  # type: ignore[call-overload]
assert_type(order("a"), Money)
assert_type(any_workflow("a", 1), str)
assert_type(object_workflow("a", 1), str)
order(1)  # type: ignore[arg-type]
order("a", 2)  # type: ignore[call-arg]
any_workflow("a")  # type: ignore[call-arg]
object_workflow("a")  # type: ignore[call-arg]
context_workflow_unannotated("a")


# -- starting, and what comes of it ----------------------------------------------------------------------------------------


async def starting() -> None:
    assert_type(await crawl("a", depth=1), Page[str])
    assert_type(await with_context_workflow("a"), str)

    assert_type(order.start("a", count=2).result(), Money)
    assert_type(crawl.start("a").result(timeout=1.5), Page[str])
    assert_type(with_context_workflow.start("a").result(), str)
    order.start(1)  # type: ignore[call-overload]
    order.start("a", amount=1)  # type: ignore[call-overload]
    crawl.start()  # type: ignore[call-overload]

    assert_type(order.start("a", instance_id="order-7").result(), Money)
    assert_type(crawl.start("a", instance_id="crawl-7", new=True, redo=["fetch"]).result(), Page[str])
    assert_type(order.start("a", new="always").result(), Money)
    assert_type(crawl.start("a", redo=("fetch",)).result(), Page[str])
    order.start("a", new="sometimes")  # type: ignore[call-overload]
    order.start("a", instance_id=7)  # type: ignore[call-overload]

    assert_type(order.run("a", new=True), Money)
    assert_type(crawl.run("a"), Page[str])

    assert_type(order.map(["a"], concurrency=2), rn.Batch[Money])
    assert_type(crawl.map([{"url": "a"}]).retry().results, list[Page[str] | None])
    assert_type(crawl.map(["a"]).failed[0].error, BaseException)
    for result in rn.map(fetch, ["a"], on_error="raise", instance_id="f", new=True):
        assert_type(result, list[str] | None)
    rn.map(order, ["a"])  # type: ignore[call-overload]
    rn.map(fetch, ["a"], on_error="stop")  # type: ignore[call-overload]
    order.map(["a"], parallel=2)  # type: ignore[call-arg]

    handle = crawl.start("a")
    assert_type(await handle, Page[str])
    assert_type(handle.id, str)
    assert_type(handle.status, str)
    assert_type(handle.run, int)
    assert_type(handle.workflow_name, str)
    assert_type(handle.resume().result(), Page[str])
    handle.result("1")  # type: ignore[arg-type]
    handle.stop()  # type: ignore[attr-defined]

    by_name = rn.start("order", "a", count=2, instance_id="order-8", new=True)
    named: rn.Instance[Any] = by_name
    assert_type(named.id, str)
    rn.start(order, "a")  # type: ignore[arg-type]
    found: rn.Instance[Any] = rn.instance("order-7")
    assert_type(found.status, str)
    rn.instance(7)  # type: ignore[arg-type]
    for each in rn.instances(status="failed", workflow="order", limit=3):
        listed: rn.Instance[Any] = each
        assert_type(listed.run, int)
        each.steps().df()
        each.history().arrow()
    rn.instances(("failed", "paused")).df()
    rn.instances(state="failed")  # type: ignore[call-arg]
    rn.sql("select 1").fetchall()
    rn.sql(1)  # type: ignore[arg-type]


def typed_handle(found: rn.Instance[Money]) -> Money:
    assert_type(found.result(), Money)
    return found.resume().result()


async def typed_handle_awaited(found: rn.Instance[Money]) -> Money:
    assert_type(await found, Money)
    return await found


# -- the rest of the face ----------------------------------------------------------------------------------------------------

rn.connect()
rn.connect(Path("journal.duckdb"), namespace="me", adopt=True)
rn.connect(7)  # type: ignore[arg-type]
rn.disconnect()
assert_type(rn.context(), rn.Context)
assert_type(rn.now(), datetime)
assert_type(rn.uuid4(), uuid.UUID)
assert_type(rn.random(), float)
assert_type(rn.side_effect(lambda: 3), int)
assert_type(rn.side_effect(Path.cwd), Path)
rn.side_effect(3)  # type: ignore[arg-type]

decorated: Callable[[str], int] = bare_parentheses
activity_as_parameter: rn.Activity[[str], int] = bare_parentheses
wider: rn.Activity[[str], object] = bare_parentheses
coroutine_activity: rn.Activity[[str], Coroutine[Any, Any, None]] = audit
workflow_as_parameter: rn.Workflow[[str, int], str] = any_workflow


def handle_errors() -> str:
    try:
        order("a")
    except rn.TerminalError:
        raise
    except rn.ActivityError as error:
        return error.original
    except errors.HistoryMismatch as error:
        assert_type(error.expected, str | None)
    except errors.RunProblem:
        pass
    return ""


raise rn.TerminalError("gone")
