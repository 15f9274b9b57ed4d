"""Small workflow programs made by chance, and ways to run them. ``main([WAY, SEED, …])`` prints {seed: result} as JSON.

WAY is "straight"; "down": the journal is disconnected again and again while a program runs; "kill:N": the process dies
after its N-th commit. Results depend on nothing but the seed, however a program is run.
"""

from __future__ import annotations

import asyncio
import json
import linecache
import os
import random
import threading
from typing import Any

import romancy_nb as rn
from romancy_nb import errors, testing

SOON = rn.RetryPolicy(max_attempts=4, initial=0.001, jitter=0)


@rn.activity
def add(a: int, b: int) -> int:
    return a + b


@rn.activity
async def aadd(a: int, b: int) -> int:
    await asyncio.sleep(0.001)
    return a + b


@rn.activity
def echo(value: Any) -> Any:
    return value


@rn.activity(retry=1)
def fail(number: int) -> int:
    raise ValueError(f"number {number}")


@rn.activity(retry=SOON)
def flaky(number: int) -> int:
    if rn.context().attempt < 2:
        raise ConnectionError("not yet")
    return number


@rn.activity(retry=1)
async def nap(seconds: float, value: int) -> int:
    await asyncio.sleep(seconds)
    return value


class Writer:
    """Writes the source of one program."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.is_async = bool(seed % 2)
        self.lines: list[str] = []
        self.helpers = 0
        self.seed = seed

    def source(self) -> str:
        self.lines = [f"{'async ' if self.is_async else ''}def program_{self.seed}() -> list:", "    out = []"]
        self.block(1, self.chance.randint(3, 6))
        self.lines.append("    return out")
        return "\n".join(self.lines) + "\n"

    def say(self, depth: int, *lines: str) -> None:
        self.lines += ["    " * depth + line for line in lines]

    def call(self) -> str:
        n, wait = self.chance.randint(0, 9), "await " if self.is_async else ""
        form = ".aio" if self.is_async else ".sync"
        name = self.chance.choice(["add", "aadd"])
        return f"{wait}{name}{form}({n}, len(out))"

    def block(self, depth: int, size: int) -> None:
        kinds = [self.step, self.step, self.loop, self.gather, self.caught, self.flaky, self.sleep]
        kinds += [self.drawn, self.drawn, self.effect, self.helper, self.cleanup]
        if self.is_async:
            kinds += [self.timeout, self.wait_for, self.first, self.group, self.nested]
        for _ in range(size):
            self.chance.choice(kinds)(depth)

    def step(self, depth: int) -> None:
        self.say(depth, f"out.append({self.call()})")

    def loop(self, depth: int) -> None:
        self.say(depth, f"for i in range({self.chance.randint(1, 3)}):", f"    out.append({self.call()} + i)")
        if depth < 3 and self.chance.random() < 0.3:
            self.block(depth + 1, 1)

    def gather(self, depth: int) -> None:
        n = self.chance.randint(2, 4)
        if self.is_async:
            calls = ", ".join(f"{self.chance.choice(['aadd', 'add'])}.aio({i}, 1)" for i in range(n))
            self.say(depth, f"out.append(list(await asyncio.gather({calls})))")
        else:
            calls = ", ".join(f"{self.chance.choice(['aadd', 'add'])}.bind({i}, 1)" for i in range(n))
            self.say(depth, f"out.append(list(rn.gather({calls}, lambda: echo({n}))))")

    def caught(self, depth: int) -> None:
        call = "await fail.aio(len(out))" if self.is_async else "fail(len(out))"
        self.say(depth, "try:", f"    {call}", "except ValueError as error:", "    out.append(str(error))")

    def flaky(self, depth: int) -> None:
        self.say(depth, "out.append(await flaky.aio(len(out)))" if self.is_async else "out.append(flaky(len(out)))")

    def sleep(self, depth: int) -> None:
        self.say(depth, "await asyncio.sleep(0.003)" if self.is_async else "rn.sleep(0.003)")

    def drawn(self, depth: int) -> None:
        self.stable(depth, self.chance.choice(["str(rn.uuid4())", "rn.random()", "str(rn.now())"]))

    def stable(self, depth: int, what: str) -> None:
        """What an activity was given on one execution is what the code sees on all others."""
        again = "await echo.aio(drawn)" if self.is_async else "echo(drawn)"
        self.say(depth, f"drawn = {what}", f"out.append([drawn == {again}, drawn == {again}])")

    def effect(self, depth: int) -> None:
        self.stable(depth, "rn.side_effect(lambda: os.urandom(4).hex())")

    def helper(self, depth: int) -> None:
        self.helpers += 1
        name, call = f"helper_{self.helpers}", self.call()
        kind, wait = ("async ", "await ") if self.is_async else ("", "")
        self.say(depth, f"{kind}def {name}(n):", f"    return {call} * n", f"out.append({wait}{name}(2))")

    def cleanup(self, depth: int) -> None:
        fails = "await fail.aio(3)" if self.is_async else "fail(3)"
        self.say(depth, "try:", "    try:", f"        {fails}", "    finally:", f"        out.append({self.call()})")
        self.say(depth, "except ValueError:", "    out.append('after')")

    def timeout(self, depth: int) -> None:
        self.say(depth, "try:", "    async with asyncio.timeout(0.01):", "        out.append(await nap(60, 1))")
        self.say(depth, "except TimeoutError:", "    out.append('too long')")

    def wait_for(self, depth: int) -> None:
        self.say(depth, "out.append(await asyncio.wait_for(nap(0.001, 5), 60))")

    def first(self, depth: int) -> None:
        self.say(
            depth,
            "tasks = [asyncio.ensure_future(nap(0.001, 1)), asyncio.ensure_future(nap(60, 2))]",
            "done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)",
            "out.append([task.result() for task in done])",
            "for task in pending:",
            "    task.cancel()",
        )

    def group(self, depth: int) -> None:
        self.say(
            depth,
            "async with asyncio.TaskGroup() as group:",
            "    made = [group.create_task(nap(0.001 * n, n)) for n in range(3)]",
            "out.append([task.result() for task in made])",
        )

    def nested(self, depth: int) -> None:
        self.helpers += 1
        name = f"branch_{self.helpers}"
        self.say(depth, f"async def {name}(n):", "    await asyncio.sleep(0.001 * n)", "    return await aadd(n, n)")
        self.say(depth, f"out.append(list(await asyncio.gather(*({name}(n) for n in range(3)))))")


def program(seed: int) -> Any:
    """Return the workflow of *seed*."""
    source, name = Writer(seed).source(), f"<program {seed}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    names = {"rn": rn, "asyncio": asyncio, "os": os, "__name__": "programs"}
    space: dict[str, Any] = names | {a.name: a for a in (add, aadd, echo, fail, flaky, nap)}
    exec(compile(source, name, "exec"), space)
    return rn.workflow(space[f"program_{seed}"])


def put_down_often(flow: Any, chance: random.Random) -> Any:
    """Run it, disconnecting after every few commits, until it has ended."""
    for _ in range(100):
        commits = threading.Semaphore(0)
        with testing.on_commit(after=lambda number, batch: commits.release()):
            handle = flow.start()
            for _ in range(chance.randint(2, 5)):
                if not commits.acquire(timeout=0.05):
                    break
            try:
                return handle.result(0.001)
            except (TimeoutError, errors.RunPaused):
                rn.disconnect()
    raise AssertionError("it does not end")


def main(arguments: list[str]) -> None:
    way, *seeds = arguments
    flows = {seed: program(int(seed)) for seed in seeds}
    if way.startswith("kill:"):
        testing.crash_at(int(way[5:]), "after")
    if way == "down":
        found = {seed: put_down_often(flow, random.Random(seed)) for seed, flow in flows.items()}
    else:
        handles = {seed: flow.start() for seed, flow in flows.items()}
        found = {seed: handle.result(60) for seed, handle in handles.items()}
    rn.disconnect()
    print(json.dumps(found))
