"""Channels: who has subscribed gets what is published from then on, in order, once."""

from __future__ import annotations

import asyncio
import functools
import operator
import time
from collections.abc import Callable
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb.core.invariants import check_history
from romancy_nb.errors import InstanceEnded, WrongArguments, WrongPlace

pytestmark = pytest.mark.usefixtures("journal")


def until(true: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def rests(*handles: Any) -> None:
    for handle in handles:
        until(lambda handle=handle: handle.status == "waiting")  # type: ignore[misc]


@rn.workflow(name="listener")
def listener(name: str, mode: str) -> list[Any]:
    channel = rn.subscribe("news", mode=mode)  # type: ignore[arg-type]
    got: list[Any] = []
    while (message := channel.receive()) != "stop":
        got.append(message)
    return got


@rn.workflow(name="listener_async")
async def listener_async(name: str) -> list[Any]:
    await rn.subscribe("news")
    got: list[Any] = []
    while (message := await rn.receive("news")) != "stop":
        got.append(message)
    return got


@rn.workflow(name="teller")
def teller(count: int) -> int:
    for number in range(count):
        rn.publish("news", number)
        rn.sleep(0.001)
    rn.publish("news", "stop")
    return count


def test_every_subscriber_gets_every_message_in_order() -> None:
    handles = [listener.start("a", "broadcast"), listener.start("b", "broadcast"), listener_async.start("c")]
    rests(*handles)
    assert teller.run(20) == 20
    assert [handle.result(10) for handle in handles] == [list(range(20))] * 3
    for handle in handles:
        check_history([(row.seq, row.event) for row in handle.rows()])


def test_a_replay_publishes_and_receives_nothing_anew() -> None:
    handle = listener.start("a", "broadcast")
    rests(handle)
    teller.run(3)
    handle.result(10)
    rn.disconnect()
    late = listener.start("late", "broadcast")
    rests(late)
    assert teller.run(3) == 3
    assert listener.run("a", "broadcast") == [0, 1, 2]
    rn.publish("news", "stop")
    assert late.result(10) == []


def test_messages_before_the_subscription_are_not_seen() -> None:
    rn.publish("news", "too early")
    handle = listener.start("a", "broadcast")
    rests(handle)
    published = rn.publish("news", "stop")
    assert published.receivers == 1  # type: ignore[union-attr]
    assert handle.result(10) == []


def test_publishing_where_nobody_has_subscribed_says_so() -> None:
    published = rn.publish("nobody", 1)
    assert published.receivers == 0 and "Nobody has subscribed" in repr(published)  # type: ignore[union-attr]


def test_each_message_goes_to_exactly_one_of_the_competing() -> None:
    handles = [listener.start(f"w{n}", "competing") for n in range(3)]
    rests(*handles)
    for number in range(60):
        rn.publish("news", number)
    for _ in handles:
        rn.publish("news", "stop")
    got = [handle.result(10) for handle in handles]
    assert sorted(functools.reduce(operator.iadd, got, [])) == list(range(60))
    assert all(got)


def test_a_message_for_the_competing_is_kept_until_one_asks() -> None:
    @rn.activity(name="long")
    def long() -> None:
        time.sleep(0.05)

    @rn.workflow(name="busy")
    def busy(name: str) -> Any:
        rn.subscribe("jobs", mode="competing")
        long()
        return rn.receive("jobs")

    first = busy.start("a")
    until(lambda: any(row.event.kind == "subscribed" for row in first.rows()))
    assert rn.publish("jobs", 1).receivers == 1  # type: ignore[union-attr]
    assert first.result(10) == 1


def test_what_a_competing_subscriber_leaves_when_it_ends_goes_to_another() -> None:
    @rn.workflow(name="leaver")
    def leaver(name: str) -> Any:
        rn.subscribe("jobs", mode="competing")
        return rn.gather(lambda: rn.receive("jobs"), lambda: rn.wait_event("go"))[1]

    one = leaver.start("one")
    rests(one)
    one.cancel()
    until(lambda: one.status == "cancelled")

    @rn.workflow(name="stays")
    def stays() -> Any:
        rn.subscribe("jobs", mode="competing")
        return rn.receive("jobs")

    two = stays.start()
    rests(two)
    rn.publish("jobs", "x")
    assert two.result(10) == "x"


def test_subscribers_that_nobody_runs_find_their_messages_on_resume() -> None:
    handle = listener.start("a", "broadcast")
    rests(handle)
    rn.disconnect()
    rn.publish("news", 1)
    rn.publish("news", "stop")
    assert listener.run("a", "broadcast") == [1]


def test_queued_messages_survive_the_process() -> None:
    handle = listener.start("a", "competing")
    rests(handle)
    rn.disconnect()
    for message in (1, 2, "stop"):
        rn.publish("news", message)
    rn.disconnect()
    assert listener.run("a", "competing") == [1, 2]


def test_a_direct_message_reaches_one_instance_alone() -> None:
    @rn.workflow(name="direct")
    def direct(name: str) -> Any:
        return rn.receive(timeout=10)

    one, two = direct.start("one"), direct.start("two")
    rests(one, two)
    rn.publish("post", "for one", to=one)
    assert one.result(10) == "for one"
    assert two.status == "waiting"
    with pytest.raises(InstanceEnded):
        rn.publish("post", "again", to=one)
    two.cancel()


def test_receive_without_a_name_takes_the_oldest_of_all_channels() -> None:
    @rn.workflow(name="reader")
    def reader() -> list[Any]:
        rn.subscribe("a")
        rn.subscribe("b")
        rn.wait_event("go")
        return [rn.receive(), rn.receive(), rn.receive(), rn.receive("a")]

    handle = reader.start()
    rests(handle)
    for channel, message in (("b", 1), ("a", 2), ("b", 3), ("a", 4)):
        rn.publish(channel, message)
    handle.send("go")
    assert handle.result(10) == [1, 2, 3, 4]


def test_receiving_on_a_channel_without_a_subscription_is_refused_with_the_remedy() -> None:
    @rn.workflow(name="unsubscribed")
    async def unsubscribed() -> Any:
        return await rn.receive("news")

    with pytest.raises(WrongPlace, match=r"rn\.subscribe\('news'\)"):
        unsubscribed.run()


def test_odd_names_and_modes_are_refused() -> None:
    @rn.workflow(name="odd")
    def odd() -> None:
        rn.subscribe("news", mode="loud")  # type: ignore[arg-type]

    with pytest.raises(WrongArguments, match="broadcast"):
        odd.run()
    with pytest.raises(WrongArguments):
        rn.publish("*", 1)
    with pytest.raises(WrongPlace):
        rn.subscribe("news")


def test_a_message_that_nobody_sends_in_time_raises_timeout() -> None:
    @rn.workflow(name="impatient")
    async def impatient() -> str:
        rn.subscribe("news")
        try:
            return str(await rn.receive("news", timeout=0.03))
        except TimeoutError as error:
            return str(error)

    assert impatient.run().startswith("No message came on channel 'news'")


def test_an_edited_subscriber_misses_nothing_that_came_between() -> None:
    def define(first: str) -> Any:
        source = f"""
def edited_listener() -> list:
    news = rn.subscribe("news")
    {first}
    return [news.receive(), news.receive()]
"""
        namespace: dict[str, Any] = {"rn": rn, "__name__": "__main__"}
        exec(source, namespace)
        return rn.workflow(name="edited_listener")(namespace["edited_listener"])

    handle = define("pass").start()
    rests(handle)
    rn.publish("news", 1)
    until(lambda: any(row.event.kind == "event_received" for row in handle.rows()))
    rn.disconnect()
    rn.publish("news", 2)
    assert define("rn.uuid4()").run() == [1, 2]


def test_concurrent_receivers_of_one_run_share_the_messages() -> None:
    @rn.workflow(name="pool")
    async def pool() -> list[Any]:
        rn.subscribe("jobs")
        return list(await asyncio.gather(*(rn.receive("jobs") for _ in range(4))))

    handle = pool.start()
    rests(handle)
    for number in range(4):
        rn.publish("jobs", number)
    assert handle.result(10) == [0, 1, 2, 3]
