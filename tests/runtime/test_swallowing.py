"""Whatever workflow code catches, the engine's own control flow passes: nothing is executed that history does not tell (E2, X3)."""

from __future__ import annotations

import contextlib
import linecache
import threading
from pathlib import Path
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb import errors

DONE: list[str] = []
GATE = threading.Event()
BEGUN = threading.Semaphore(0)


@rn.activity(name="step")
def step(name: str) -> str:
    DONE.append(name)
    return name


@rn.activity(name="hold")
def hold(name: str) -> str:
    BEGUN.release()
    GATE.wait(20)
    DONE.append(name)
    return name


CATCHES = {
    "except Exception": "try:\n    CALL\nexcept Exception:\n    pass",
    "except BaseException": "try:\n    CALL\nexcept BaseException:\n    pass",
    "bare except": "try:\n    CALL\nexcept:\n    pass",
    "suppress": "with contextlib.suppress(BaseException):\n    CALL",
    "except star": "try:\n    CALL\nexcept* BaseException:\n    pass",
    "return in finally": "def inner():\n    try:\n        CALL\n    finally:\n        return 1\ninner()",
    "break in finally": "while True:\n    try:\n        CALL\n    finally:\n        break",
    "again and again": "for _ in range(500):\n    try:\n        CALL\n        break\n    except BaseException:\n        continue",
    "swallowing exit": "with Swallows():\n    CALL",
    "generator": "def each():\n    try:\n        yield\n    except BaseException:\n        pass\n"
    "with contextlib.contextmanager(each)():\n    CALL",
    "wrapped": "try:\n    CALL\nexcept BaseException as error:\n    try:\n        raise ValueError('other') from error\n"
    "    except ValueError:\n        pass",
}


class Swallows:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> bool:
        return True


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def workflow(catch: str, first: str, is_async: bool) -> Any:
    """A workflow that makes a call within *catch*, and then further ones, whatever became of it."""
    wait, aio = ("await ", ".aio") if is_async else ("", "")
    call = f"{wait}{first.replace('(', f'{aio}(', 1)}"
    text = CATCHES[catch].replace("CALL", call)
    if is_async:
        text = text.replace("def inner", "async def inner").replace("\ninner()", "\nawait inner()")
    body = indented(text) + indented(
        f"{wait}step{aio}('after')\nrn.side_effect(lambda: DONE.append('side'))\nreturn 'end'"
    )
    source = f"{'async ' if is_async else ''}def swallows():\n{body}"
    space: dict[str, Any] = {"rn": rn, "step": step, "hold": hold, "contextlib": contextlib}
    space |= {"Swallows": Swallows, "DONE": DONE, "__name__": __name__}
    file = f"<{catch} {first} {is_async}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    exec(compile(source, file, "exec"), space)
    return rn.workflow(name="swallows")(space["swallows"])


@pytest.fixture(autouse=True)
def fresh(journal: Path) -> None:
    DONE.clear()
    GATE.clear()
    while BEGUN.acquire(blocking=False):
        pass


@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async def"])
@pytest.mark.parametrize("catch", CATCHES)
def test_a_run_that_is_put_down_goes_nowhere_and_ends_as_ever(catch: str, is_async: bool) -> None:
    flow = workflow(catch, "hold('held')", is_async)
    handle = flow.start(instance_id="swallows-1")
    assert BEGUN.acquire(timeout=20)
    before = [row.event.kind for row in handle.rows()]
    rn.disconnect()
    GATE.set()
    kinds = [row.event.kind for row in rn.instance("swallows-1").rows()]
    assert kinds[: len(before)] == before and "run_completed" not in kinds and "side_effect" not in kinds
    assert "after" not in DONE and "side" not in DONE
    assert flow.run(instance_id="swallows-1") == "end"
    assert DONE.count("after") == DONE.count("side") == 1


@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async def"])
@pytest.mark.parametrize("catch", CATCHES)
def test_code_that_parts_from_its_history_goes_nowhere(catch: str, is_async: bool) -> None:
    flow = workflow(catch, "hold('held')", is_async)
    flow.start(instance_id="swallows-1")
    assert BEGUN.acquire(timeout=20)
    rn.disconnect()
    GATE.set()
    workflow(catch, "step('another')", is_async)
    assert not rn.instance("swallows-1").check()
    with pytest.raises(errors.RunStuck, match="another"):
        rn.instance("swallows-1").resume(strict=True).result(20)
    assert not {"another", "after", "side"} & set(DONE), "nothing was executed"
