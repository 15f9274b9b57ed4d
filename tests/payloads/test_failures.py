"""An error comes back as itself, or says that it is a stand-in; telling it never fails (E1, E2, E3)."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pydantic
import pytest

from romancy_nb import errors
from romancy_nb.errors import ActivityError, CannotRestore, TerminalError
from romancy_nb.payloads.failures import decode_failure, encode_failure
from romancy_nb.payloads.payload import Payload

from .things import Point


def raised(error: BaseException) -> BaseException:
    """Return *error* with a traceback, as an activity leaves it."""
    try:
        raise error
    except BaseException as caught:
        return caught


def again(error: BaseException) -> Any:
    return decode_failure(encode_failure(error))


class Declined(Exception):
    made = 0

    def __init__(self, amount: int, *, reason: str) -> None:
        Declined.made += 1
        super().__init__(f"declined {amount}: {reason}")
        self.amount = amount
        self.reason = reason
        self.where = Point(1)


class Odd(Exception):
    __slots__ = ("code",)

    def __new__(cls, code: int, other: int) -> Odd:
        made = super().__new__(cls, code)
        made.code = code
        return made


class Holding(Exception):
    def __init__(self, response: Any) -> None:
        super().__init__("holding", response)
        self.response = response
        self.status = 502


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("mute")

    __repr__ = __str__


class Reading(Exception):
    def __str__(self) -> str:
        return f"status {self.response.status}"


class Wrapped(ExceptionGroup):
    pass


class Signal(BaseException):
    pass


def test_an_error_keeps_class_arguments_and_attributes_without_being_made_again() -> None:
    error = Declined(5, reason="limit")
    made = Declined.made
    restored = again(raised(error))
    assert type(restored) is Declined
    assert restored.args == ("declined 5: limit",)
    assert (restored.amount, restored.reason, restored.where) == (5, "limit", Point(1))
    assert Declined.made == made


def test_the_text_of_an_error_is_readable() -> None:
    document = json.loads(encode_failure(ValueError("no such item")).text)
    assert document == {"type": "builtins.ValueError", "message": "no such item", "args": ["no such item"]}


def _decode_error() -> BaseException:
    try:
        b"\xff".decode()
    except UnicodeDecodeError as error:
        return error
    raise AssertionError


def _syntax_error() -> BaseException:
    try:
        compile("x = (\n", "cell", "exec")
    except SyntaxError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    "error",
    [
        KeyError("a"),
        OSError(2, "gone", "a.txt"),
        OSError(17, "there", "a", None, "b"),
        PermissionError("just a text"),
        ConnectionResetError(),
        _decode_error(),
        _syntax_error(),
        ImportError("no", name="mod", path="/x"),
        AttributeError("no", name="x", obj=threading.Lock()),
        ZeroDivisionError(),
        TimeoutError(1, (2,), {3}),
        json.JSONDecodeError("bad", "doc", 1),
        Odd(1, 2),
        TerminalError("stop"),
        errors.HistoryMismatch("parted", expected="a", asked="b"),
        ActivityError("gone", original="x.Y"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_an_error_reads_as_before(error: BaseException) -> None:
    restored = again(raised(error))
    assert type(restored) is type(error)
    assert str(restored) == str(error)
    assert restored.args == error.args
    for name in (
        "errno",
        "strerror",
        "filename",
        "filename2",
        "start",
        "end",
        "object",
        "lineno",
        "text",
        "name",
        "path",
    ):
        assert getattr(restored, name, None) == getattr(error, name, None)
    for name in ("code", "expected", "asked", "original", "pos", "colno"):
        assert getattr(restored, name, None) == getattr(error, name, None)


def test_cause_context_and_notes_come_with_it() -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise ValueError("second") from first
    except ValueError as error:
        error.add_note("while paying")
        restored = again(error)
    assert repr(restored.__cause__) == "KeyError('first')"
    assert restored.__context__ is restored.__cause__
    assert restored.__suppress_context__ is True
    assert restored.__notes__ == ["while paying"]
    try:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second")  # noqa: B904
    except ValueError as error:
        restored = again(error)
    assert repr(restored.__context__) == "KeyError('first')"
    assert restored.__cause__ is None
    assert restored.__suppress_context__ is False


def test_a_group_keeps_its_members() -> None:
    group = Wrapped("several", [ValueError(1), ExceptionGroup("inner", [Declined(1, reason="r")])])
    restored = again(raised(group))
    assert type(restored) is Wrapped
    assert restored.message == "several"
    assert repr(restored.exceptions[0]) == "ValueError(1)"
    assert restored.exceptions[1].exceptions[0].reason == "r"
    matched, _ = restored.split(Declined)
    assert matched is not None


def test_what_cannot_be_journaled_is_absent_and_a_note_says_so() -> None:
    restored = again(raised(Holding(threading.Lock())))
    assert type(restored) is Holding
    assert restored.status == 502
    with pytest.raises(AttributeError):
        _ = restored.response
    assert restored.args[0] == "holding"
    assert "lock object" in restored.args[1]
    assert restored.__notes__ == ["Not journaled, and absent here: args[1] (_thread.lock), .response (_thread.lock)"]
    assert again(restored).__notes__ == restored.__notes__


def test_the_recorded_traceback_is_the_users_own() -> None:
    def activity() -> None:
        raise ValueError("in a pool")

    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(activity).exception()
    assert error is not None
    text = again(error).__romancy_traceback__
    assert text.startswith("Traceback (most recent call last):\n")
    assert 'raise ValueError("in a pool")' in text
    assert text.endswith("ValueError: in a pool\n")
    assert "concurrent" not in text


def test_a_traceback_is_bounded() -> None:
    def deep(n: int) -> None:
        if n == 0:
            raise ValueError("x" * 100)
        deep_again(n - 1)

    def deep_again(n: int) -> None:
        deep(n)

    with pytest.raises(ValueError) as caught:
        deep(200)
    text = again(caught.value).__romancy_traceback__
    assert len(text) <= 8001
    assert text.endswith("x\n")


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (SystemExit(3), "builtins.SystemExit"),
        (KeyboardInterrupt(), "builtins.KeyboardInterrupt"),
        (GeneratorExit(), "builtins.GeneratorExit"),
        (StopIteration(5), "builtins.StopIteration"),
        (StopAsyncIteration(), "builtins.StopAsyncIteration"),
        (asyncio.CancelledError(), "asyncio.exceptions.CancelledError"),
        (Signal("s"), f"{__name__}.Signal"),
        (BaseExceptionGroup("g", [KeyboardInterrupt()]), "builtins.BaseExceptionGroup"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_is_no_exception_arrives_as_activity_error(error: BaseException, name: str) -> None:
    restored = again(raised(error))
    assert type(restored) is ActivityError
    assert restored.original == name


def test_a_class_that_is_not_loaded_has_a_stand_in() -> None:
    module = ModuleType("some_client")
    sys.modules["some_client"] = module
    exec("class HTTPError(Exception): pass", vars(module))
    payload = encode_failure(module.HTTPError("404"))
    assert type(decode_failure(payload)) is module.HTTPError
    del sys.modules["some_client"]
    restored = decode_failure(payload)
    assert isinstance(restored, ActivityError)
    assert restored.original == "some_client.HTTPError"
    assert str(restored) == "404"


@pytest.mark.parametrize("name", ["os.system", "builtins.print", "threading.Thread", "this.Zen"])
def test_only_exceptions_are_rebuilt(name: str) -> None:
    sys.modules.pop("this", None)
    restored = decode_failure(Payload(json.dumps({"type": name, "message": "m", "args": []})))
    assert type(restored) is ActivityError
    assert "this" not in sys.modules


def test_a_validation_error_has_a_stand_in_with_its_text() -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        pydantic.TypeAdapter(int).validate_python("x")
    restored = again(caught.value)
    assert isinstance(restored, ActivityError)
    assert restored.original.endswith("ValidationError")
    assert "unable to parse string as an integer" in str(restored)


def test_an_error_that_cannot_speak_is_told_all_the_same() -> None:
    restored = again(raised(Mute(threading.Lock(), Mute())))
    assert type(restored) is Mute
    assert any("raised RuntimeError" in note for note in restored.__notes__)
    reading = Reading()
    reading.response = threading.Lock()  # type: ignore[attr-defined]
    restored = again(reading)
    assert type(restored) is Reading
    assert any("Its message was" in note for note in restored.__notes__)


def test_errors_that_refer_to_each_other_end() -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__context__, second.__context__ = second, first
    first.args = (first, [second])
    first.self = first  # type: ignore[attr-defined]
    restored = again(first)
    assert type(restored) is ValueError
    assert repr(restored.__context__) == "KeyError('second')"


def test_an_error_that_wraps_its_cause_keeps_both() -> None:
    cause = Declined(1, reason="r")
    error = ValueError(cause)
    error.__cause__ = cause
    restored = again(error)
    assert restored.args[0].reason == restored.__cause__.reason == "r"
    assert not hasattr(restored, "__notes__")


def test_a_web_of_errors_ends_soon() -> None:
    web = [ValueError(number) for number in range(30)]
    for error in web:
        error.others = web  # type: ignore[attr-defined]
        error.__context__ = web[0] if error is not web[0] else web[1]
    assert isinstance(again(web[0]), ValueError)


def test_a_long_chain_is_cut() -> None:
    error: BaseException = ValueError(0)
    for number in range(1, 3000):
        following = ValueError(number)
        following.__cause__ = error
        error = following
    assert again(error).args == (2999,)


def test_texts_that_are_no_utf8_are_kept() -> None:
    restored = again(ValueError("\udcff", "\ud83d\ude00"))
    assert restored.args == ("\udcff", "\ud83d\ude00")


def test_an_error_may_itself_be_a_value() -> None:
    from romancy_nb.payloads.codec import decode, encode

    values = decode(encode([1, Declined(2, reason="r")], what="the result"), what="the result")
    assert values[1].amount == 2
    error = ValueError(1)
    assert [repr(each) for each in decode(encode([error, error], what="r"), what="r")] == ["ValueError(1)"] * 2


def test_what_is_no_error_is_refused() -> None:
    with pytest.raises(CannotRestore):
        decode_failure(Payload("[]"))
