"""What a click on a step shows: values that are only looked at, attempts, code then and now, and the very key that was given."""

from __future__ import annotations

import datetime as dt
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

import romancy_nb as rn
from romancy_nb.errors import RunProblem
from romancy_nb.payloads.payload import Payload
from romancy_nb.payloads.registry import PickleCodec, register_codec
from romancy_nb.payloads.shown import shown, shown_inputs
from romancy_nb.payloads.shown_failures import shown_failure
from romancy_nb.runtime import details_told
from romancy_nb.runtime.details import details

KEYS: dict[str, list[str]] = {}
FAIL: set[str] = set()
LOADED: list[str] = []
AGAIN = rn.RetryPolicy(max_attempts=3, initial=0.001)
HOSTILE = "<script>alert(1)</script>\u202e"
PROMPT = "sum up"


@pytest.fixture(autouse=True)
def fresh(journal: Path) -> None:
    KEYS.clear()
    FAIL.clear()
    LOADED.clear()


def note(name: str) -> None:
    KEYS.setdefault(name, []).append(rn.context().idempotency_key)


class Order(BaseModel):
    item: str
    amount: int = 1


class Watched:
    """Tells when it is made again."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> Any:
        return Watched, (self.name,)

    def __setattr__(self, name: str, value: Any) -> None:
        LOADED.append(name)
        object.__setattr__(self, name, value)


@rn.compensation
def refund(item: str) -> None:
    note(f"refund {item}")


@rn.activity(retry=AGAIN, compensation=refund)
def charge(item: str, api_key: str = "sk-live-1") -> str:
    note(f"charge {item}")
    print(f"charging {item}")
    rn.context().log("asked the bank")
    if item in FAIL and rn.context().attempt < 3:
        raise ValueError(f"no {HOSTILE}")
    return f"paid {PROMPT}"


@rn.activity(retry=1)
def refuse(item: str) -> None:
    note("refuse")
    try:
        {}["missing"]
    except KeyError as error:
        raise LookupError(f"no {item}") from error


def test_a_step_that_needed_three_attempts_tells_of_each_with_traceback_and_pause() -> None:
    @rn.workflow
    def shop(item: str) -> str:
        return charge(item, "sk-live-2")

    FAIL.add("lamp")
    shop.run("lamp", instance_id="i")
    told = details(rn.instance("i"), "0:0")
    assert told["input"] == {"kind": "json", "value": {"item": "lamp", "api_key": "•••"}, "truncated": False}
    assert told["output"]["value"] == "paid sum up"
    assert [each["outcome"] for each in told["attempts"]] == ["failed", "failed", "ok"]
    assert [each["number"] for each in told["attempts"]] == [1, 2, 3]
    assert told["attempts"][0]["delay_us"] is None and told["attempts"][1]["delay_us"] > 0
    assert told["attempts"][0]["error"] == f"ValueError: no {HOSTILE}"
    assert "raise ValueError" in told["attempts"][1]["traceback"]
    assert told["outputs"] == [
        {"kind": "text", "name": "stdout", "text": "charging lamp\nasked the bank\n" * 3, "truncated": False},
    ]
    assert "logs" not in told  # what is logged stands among what is printed, in order
    assert told["key"] == KEYS["charge lamp"][0] == KEYS["charge lamp"][2]
    assert told["error"] is None
    assert ["undone by", "refund"] in told["attributes"]
    assert "sk-live" not in json.dumps(told)


def test_an_error_shows_what_led_to_it_and_the_undo_has_the_key_that_it_was_given() -> None:
    @rn.workflow
    def shop(item: str) -> None:
        charge(item)
        refuse(item)

    with pytest.raises(LookupError):
        shop.run("sofa", instance_id="i")
    found = rn.instance("i")
    told = details(found, "0:1")
    assert told["error"]["type"] == "LookupError" and told["error"]["message"] == "no sofa"
    assert "KeyError: 'missing'" in told["error"]["traceback"]
    assert "direct cause" in told["error"]["traceback"]
    assert told["key"] == KEYS["refuse"][0]
    undo = details(found, "undo:0:0")
    assert undo["key"] == KEYS["refund sofa"][0]
    assert undo["input"]["value"] == {"item": "sofa"}
    # the next run does anew what was undone, and that is another call to whoever keeps keys
    with pytest.raises(LookupError):
        shop.run("sofa", instance_id="i")
    assert len(set(KEYS["charge sofa"])) == 2
    assert [details(found, "0:0", run)["key"] for run in (1, 2)] == KEYS["charge sofa"]


def test_an_error_of_a_cell_is_told_without_the_names_that_a_kernel_has_for_it() -> None:
    traceback = 'Traceback (most recent call last):\n  File "/tmp/ipykernel_70/29.py", line 3, in charge\n__main__.Declined: no\n'
    payload = Payload(json.dumps({"type": "__main__.Declined", "message": "no", "traceback": traceback}))
    told = shown_failure(payload)
    assert told is not None and told["type"] == "Declined"
    assert "\n  Cell, line 3, in charge\n" in told["traceback"]


def test_keys_of_equal_calls_of_redone_and_of_reused_ones_are_those_that_were_given() -> None:
    @rn.activity
    def step(n: int) -> int:
        note(f"step {n}")
        return n

    @rn.activity
    def last(n: int) -> int:
        note("last")
        if "last" in FAIL:
            raise ValueError
        return n

    @rn.workflow
    def flow() -> int:
        return step(1) + step(1) + last(2)

    flow.run(instance_id="i")
    flow.run(instance_id="i", redo=["last"])
    found = rn.instance("i")
    assert found.run == 2
    assert [details(found, place, 1)["key"] for place in ("0:0", "0:1")] == KEYS["step 1"]
    assert [details(found, place, 2)["key"] for place in ("0:0", "0:1")] == KEYS["step 1"]  # reused
    assert [details(found, "0:2", run)["key"] for run in (1, 2)] == KEYS["last"]
    assert ["result", "read from an earlier run"] in details(found, "0:0")["attributes"]


def test_keys_of_turns_and_of_what_a_block_of_the_code_undoes_are_those_that_were_given() -> None:
    @rn.activity(compensation=refund)
    def buy(item: str) -> str:
        note(f"buy {item}")
        return item

    @rn.workflow
    def loop(turn: int) -> None:
        buy("lamp")
        with suppress(ValueError), rn.saga():
            buy("sofa")
            raise ValueError
        if turn < 2:
            rn.recur(turn + 1)

    loop.run(1, instance_id="i")
    found = rn.instance("i")
    given = [KEYS["buy lamp"], KEYS["buy sofa"], KEYS["refund sofa"]]
    for run in (1, 2):
        rows = found._engine.ask(lambda engine, run=run: engine.journal.load(engine.journal.runs("i", run)[0].run))
        calls = [row.event.call for row in rows if row.event.kind == "activity_scheduled"]
        assert [details(found, place, run)["key"] for place in calls] == [each[run - 1] for each in given]


def test_values_are_looked_at_and_never_made_again() -> None:
    import pandas as pd

    @rn.activity
    def frame() -> Any:
        return pd.DataFrame({"when": pd.to_datetime(["2026-01-01", "2026-01-02"]), "api_key": ["a", "b"], "n": [1, 2]})

    @rn.activity
    def odd(order: Order, tags: set[str], raw: bytes) -> Any:
        return {1: (dt.date(2026, 1, 2), float("nan")), "secret": "hush", "data": b"x" * 5000}

    @rn.activity
    def many() -> list[int]:
        return list(range(100_000))

    @rn.activity
    def long() -> str:
        return "ä" * 300_000

    @rn.activity
    def array() -> Any:
        import numpy as np

        return np.eye(3)

    @rn.workflow
    def flow() -> None:
        frame()
        odd(Order(item=HOSTILE), {"a"}, b"ab")
        many()
        long()
        array()

    flow.run(instance_id="i")
    found = rn.instance("i")
    table = details(found, "0:0")["output"]
    assert table["kind"] == "table" and table["shape"] == [2, 3]
    assert table["columns"] == ["when", "api_key", "n"]
    assert [row[1:] for row in table["rows"]] == [["•••", 1], ["•••", 2]]
    told = details(found, "0:1")
    assert told["input"]["value"]["order"] in ({"item": HOSTILE, "amount": 1}, {"item": HOSTILE})
    assert told["input"]["value"]["tags"] in (["a"], {"set": ["a"]})
    assert told["output"]["value"] == {
        "1": ["2026-01-02", "nan"],
        "secret": "•••",
        "data": "<bytes (5,000 bytes)>",
    }
    cut = details(found, "0:2")["output"]
    assert cut["truncated"] and cut["value"][:2] == [0, 1] and "more" in cut["value"][-1]
    text = details(found, "0:3")["output"]
    assert text["truncated"] and len(json.dumps(text, ensure_ascii=False)) < 60_000
    assert "1." in details(found, "0:4")["output"]["text"]


def test_a_journal_of_somebody_elses_classes_is_shown_without_their_code() -> None:
    register_codec(PickleCodec(Watched))

    @rn.activity
    def make() -> Watched:
        return Watched("w")

    @rn.workflow
    def flow() -> None:
        make()

    flow.run(instance_id="i")
    LOADED.clear()
    told = details(rn.instance("i"), "0:0")["output"]
    assert LOADED == []
    assert told["kind"] == "text" and "Watched" in told["text"]


def test_code_then_and_now_and_what_it_reads_that_changed() -> None:
    space: dict[str, Any] = {"__name__": __name__, "rn": rn, "PROMPT": "short"}

    def define(body: str, **names: Any) -> None:
        import linecache

        text = f"@rn.activity(name='summary')\ndef summary(text):\n    # why: <b>\n    return {body}\n"
        name = f"<cell {len(linecache.cache)}>"
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        space.update(names)
        exec(compile(text, name, "exec"), space)

    define("PROMPT + text")

    @rn.workflow
    def flow() -> str:
        return str(space["summary"]("x"))

    flow.run(instance_id="i")
    found = rn.instance("i")
    code = details(found, "0:0")["code"]
    assert not code["changed"] and code["then"] == code["now"] and "# why: <b>" in code["then"]
    define("PROMPT + text.upper()", PROMPT="long")
    code = details(found, "0:0")["code"]
    assert code["changed"] and code["reads"] == ["its code changed", "PROMPT changed"]
    assert "-    return PROMPT + text\n+    return PROMPT + text.upper()" in code["diff"]
    with CodeKept(found) as count:
        assert count == 1


class CodeKept:
    """How often code is kept in the journal of an instance."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def __enter__(self) -> int:
        def look(engine: Any) -> int:
            query = "select count(*) from romancy.stored_payloads where codec = 'code'"
            return int(engine.journal._use().execute(query).fetchone()[0])

        return int(self.found._engine.ask(look))

    def __exit__(self, *_: object) -> None:
        pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(
                ["$type", "$part", "$value", "$redacted", "items", "fields", "value", "codec", "data", "as"]
            )
            | st.text(max_size=8),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON)
@example({"$part": None, "codec": []})
@example({"$part": 0, "codec": "arrow", "columns": 3})
@example({"$type": "pandas", "data": 1})
def test_whatever_a_journal_holds_is_shown_as_json_of_limited_size(document: Any) -> None:
    text = json.dumps(document)
    for told in (shown(Payload(text)), shown_inputs(Payload(text)), shown_failure(Payload(text))):
        assert len(json.dumps(told)) < 400_000
    assert shown(Payload(text[:-1] or "x"))["kind"] in {"text", "json", "table", "none"}


def test_a_secret_in_the_code_is_not_kept() -> None:
    @rn.activity
    def call(text: str, token: str = "t-123") -> str:
        password = "hunter2"
        return text + str(len(password) + len(token))

    @rn.workflow
    def flow() -> str:
        return call("x")

    flow.run(instance_id="i")
    then = details(rn.instance("i"), "0:0")["code"]["then"]
    assert "return text" in then and "hunter2" not in then and "t-123" not in then


def test_questions_come_with_their_form_and_waits_with_their_schema() -> None:
    @rn.workflow
    def flow() -> None:
        with suppress(TimeoutError):
            rn.wait_event("paid", type=Order, timeout=0.01)
        rn.ask("Go on?")

    asked = details_of_first(flow)
    kinds = [asked[key] for key in ("question", "wait")]
    assert kinds[0] is not None
    assert kinds[0]["text"] == "Go on?" and kinds[0]["form"]["root"]["kind"] == "boolean"


def details_of_first(flow: Any) -> dict[str, Any]:
    found = flow.start(instance_id="i")
    until = time.monotonic() + 10
    while not found.questions():
        assert time.monotonic() < until
        time.sleep(0.01)
    try:
        places = [row.event.call for row in found.rows() if row.event.kind == "wait_started"]
        told = [details(found, place) for place in places]
        assert told[0]["wait"]["event"] == "paid" and "item" in told[0]["wait"]["schema"]["properties"]
        return next(each for each in told if each["question"])
    finally:
        found.cancel()


def test_a_run_of_many_steps_is_not_read_for_one_of_them() -> None:
    @rn.activity
    def step(n: int) -> int:
        return n

    @rn.workflow
    def flow() -> None:
        for n in range(1000):
            step(n)

    flow.run(instance_id="i")
    found = rn.instance("i")
    details(found, "0:700")
    took = []
    for place in ("0:3", "0:700", "0:990"):
        began = time.perf_counter()
        details(found, place)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.05


def test_an_answer_keeps_within_its_size_and_html_comes_as_its_text() -> None:
    told = details_told.outputs(
        [
            {
                "output_type": "display_data",
                "data": {"text/html": f"<b>bold</b> &lt;i&gt; {HOSTILE} <style>p {{}}</style>"},
            },
            {"output_type": "display_data", "data": {"image/png": "A" * 50_000}},
            {"output_type": "display_data", "data": {"image/png": '"><script>'}},
            {"output_type": "stream", "name": "stdout", "text": "x" * 100_000},
            {"output_type": "stream", "name": "stdout", "text": "more"},
        ]
    )
    assert [each["kind"] for each in told] == ["html-text", "image", "text", "text", "text"]
    assert (
        told[0]["text"].startswith("bold  <i>") and "<script>" not in told[0]["text"] and "p {}" not in told[0]["text"]
    )
    assert told[3]["truncated"] and told[4]["text"] == "… and more"

    @rn.activity(retry=1)
    def heavy(text: list[str]) -> list[str]:
        raise ValueError("x" * 200_000)

    @rn.workflow
    def flow() -> None:
        heavy(["y" * 3_000] * 100)

    with pytest.raises(ValueError):
        flow.run(instance_id="i")
    assert len(json.dumps(details(rn.instance("i"), "0:0"), ensure_ascii=False)) <= 200_000


def test_what_is_not_there_is_said() -> None:
    @rn.workflow
    def flow() -> None:
        charge("lamp")

    flow.run(instance_id="i")
    with pytest.raises(RunProblem, match="no step at '0:9'"):
        details(rn.instance("i"), "0:9")
    with pytest.raises(RunProblem, match="no run 7"):
        details(rn.instance("i"), "0:0", 7)
    flow.run(instance_id="other")
    rn.forget("i")
    told = details(rn.instance("i"), "0:0")
    with CodeKept(rn.instance("i")) as count:
        assert count == 1  # another instance needs it
    rn.forget("other")
    with CodeKept(rn.instance("i")) as count:
        assert count == 0
    flow.run(instance_id="other")
    with CodeKept(rn.instance("i")) as count:
        assert count == 1
    assert told["output"]["text"] == told["input"]["text"] == "forgotten"
