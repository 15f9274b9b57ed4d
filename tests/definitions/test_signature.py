"""A call becomes a journaled intent, and an intent a call."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from romancy_nb.definitions.ambient import Context
from romancy_nb.definitions.signature import Inputs, Signature
from romancy_nb.errors import CannotRestore, DefinitionError, NotJournalable, WrongArguments


class Order(BaseModel):
    item: str
    count: int = 1


@dataclasses.dataclass
class Price:
    amount: float


class Machine:
    """Nothing that pydantic or a codec knows."""


def of(function: Callable[..., Any]) -> Signature:
    return Signature.of(function, what=f"activity {function.__name__}")


def encoded(signature: Signature, *args: Any, **kwargs: Any) -> Inputs:
    return signature.encode_inputs(signature.validate(signature.bind(args, kwargs)))


def called_again(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call *function* the way the engine does: with what the journal gives back."""
    signature = of(function)
    inputs = encoded(signature, *args, **kwargs)
    again, named = signature.decode_inputs(inputs.payload, inputs.secrets)
    return function(*again, **named)


def reserve(item: str, n: int = 1) -> str:
    return f"{item}{n}"


# -- what may be decorated -----------------------------------------------------------------------------------------------


def numbers() -> Iterator[int]:
    yield 1


async def later_numbers() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("function", [numbers, later_numbers])
def test_a_generator_is_refused_with_what_to_do(function: Any) -> None:
    with pytest.raises(DefinitionError, match="Return a list"):
        of(function)


def test_classes_and_nameless_things_are_refused() -> None:
    with pytest.raises(DefinitionError, match="is a class"):
        of(Order)
    with pytest.raises(DefinitionError, match="lambda has no name"):
        Signature.of(lambda: 1, what="activity <lambda>")
    with pytest.raises(DefinitionError, match="not a function"):
        Signature.of(functools.partial(reserve, "a"), what="activity x")
    assert Signature.of(lambda x: x, what="activity double").parameters.keys() == {"x"}


def test_coroutine_functions_are_known() -> None:
    async def fetch() -> None: ...

    assert of(fetch).is_async
    assert not of(reserve).is_async


def test_the_context_is_no_argument() -> None:
    def by_name(ctx, item): ...  # type: ignore[no-untyped-def]
    def by_type(c: Context, item: str) -> None: ...
    def without(item: str, ctx: str) -> None: ...

    assert of(by_name).takes_context
    assert list(of(by_name).parameters) == ["item"]
    assert of(by_type).takes_context
    assert not of(without).takes_context
    assert of(by_name).bind(("a",), {}) == {"item": "a"}


def test_a_context_that_cannot_be_passed_is_refused() -> None:
    def odd(*, ctx: Any) -> None: ...

    with pytest.raises(DefinitionError, match="ordinary first parameter"):
        of(odd)


# -- binding ---------------------------------------------------------------------------------------------------------------


def test_arguments_go_by_name_however_they_were_passed() -> None:
    signature = of(reserve)
    assert signature.bind(("a", 2), {}) == signature.bind((), {"n": 2, "item": "a"}) == {"item": "a", "n": 2}
    assert list(signature.bind((), {"n": 2, "item": "a"})) == ["item", "n"]


def test_a_default_is_no_argument_so_that_adding_a_parameter_keeps_the_digest() -> None:
    def before(item: str) -> None: ...
    def after(item: str, n: int = 1, tags: list[str] = []) -> None: ...  # noqa: B006

    old = encoded(of(before), "a")
    assert encoded(of(after), "a").digest == old.digest
    assert encoded(of(after), "a", 1, []).digest == old.digest
    assert encoded(of(after), "a", "1").digest == old.digest, "what validates to the default is the default"
    assert encoded(of(after), "a", 2).digest != old.digest


def test_true_is_not_the_default_one() -> None:
    def f(n=1): ...  # type: ignore[no-untyped-def]

    assert of(f).bind((True,), {}) == {"n": True}
    assert of(f).bind((1.0,), {}) == {"n": 1.0}


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "lacks `item`"),
        (("a",), {"m": 2}, "does not take `m`"),
        (("a",), {"itm": 2}, "did you mean `item`"),
        (("a",), {"item": "b"}, "got `item` twice"),
        (("a", 1, 2), {}, "takes 2 positional arguments, and 3 were given"),
    ],
)
def test_a_wrong_call_says_what_is_wrong_and_how_it_is_called(args: Any, kwargs: Any, said: str) -> None:
    with pytest.raises(WrongArguments) as caught:
        of(reserve).bind(args, kwargs)
    assert said in str(caught.value)
    assert str(caught.value).startswith("Activity reserve ")
    assert "reserve(item: " in str(caught.value)


def test_an_option_of_a_start_that_is_given_to_a_call_is_told_where_it_belongs() -> None:
    with pytest.raises(WrongArguments, match=r"does not take `new` \(write order\.run\(…, new=…\)\)"):
        Signature.of(reserve, what="workflow order").bind(("a",), {"new": True})
    with pytest.raises(WrongArguments, match=r"does not take `new`\. It is called"):
        of(reserve).bind(("a",), {"new": True})


def everything(a: int, b: int = 2, /, c: int = 3, *rest: int, d: int = 4, e: int, **more: int) -> tuple[Any, ...]:
    return a, b, c, rest, d, e, more


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1,), {"e": 5}),
        ((1, 9), {"e": 5, "c": 8}),
        ((1, 2, 3, 4, 5), {"e": 5}),
        ((1, 2, 7), {"e": 5, "x": 1, "a": 2}),
        ((1, 9, 3, 3), {"e": 5, "d": 6}),
    ],
)
def test_every_kind_of_parameter_survives(args: Any, kwargs: Any) -> None:
    assert called_again(everything, *args, **kwargs) == everything(*args, **kwargs)


# -- validation ------------------------------------------------------------------------------------------------------------


def test_values_become_what_the_annotation_says() -> None:
    def f(a: int, b: float, o: Order, p: Price, s: set[int]) -> None: ...

    checked = of(f).validate({"a": "3", "b": 1, "o": {"item": "x"}, "p": Price(1.5), "s": [1, 1]})
    assert checked == {"a": 3, "b": 1.0, "o": Order(item="x"), "p": Price(1.5), "s": {1}}
    assert type(checked["b"]) is float


def test_a_value_that_does_not_fit_is_named_with_what_is_expected() -> None:
    with pytest.raises(WrongArguments) as caught:
        of(reserve).validate({"item": "a", "n": "many"})
    assert str(caught.value).startswith("Activity reserve: n='many' does not fit, int is expected")


def test_a_class_that_pydantic_does_not_know_is_checked_by_instance() -> None:
    def f(machine: Machine, machines: list[Machine]) -> None: ...

    machine = Machine()
    assert of(f).validate({"machine": machine})["machine"] is machine
    assert of(f).validate({"machines": [machine]})["machines"] == [machine]
    with pytest.raises(WrongArguments, match="Machine is expected"):
        of(f).validate({"machine": 1})


def test_a_class_that_was_defined_again_is_recognised() -> None:
    old = type("Order", (BaseModel,), {"__module__": __name__, "__annotations__": {"item": str}})

    def f(order): ...  # type: ignore[no-untyped-def]

    f.__annotations__["order"] = Order
    with pytest.raises(WrongArguments, match="run the cell of this function again"):
        of(f).validate({"order": old(item="a")})


def test_an_annotation_may_be_defined_after_the_function() -> None:
    namespace: dict[str, Any] = {}
    exec("def f(x: 'Later', n: int): return x", namespace)
    signature = of(namespace["f"])
    assert signature.validate({"x": "3", "n": "4"}) == {"x": "3", "n": 4}, "what is known is checked"
    namespace["Later"] = int
    assert signature.validate({"x": "3", "n": "4"}) == {"x": 3, "n": 4}


# -- encoding --------------------------------------------------------------------------------------------------------------


def test_the_payload_is_one_readable_object() -> None:
    def f(item: str, o: Order, words: list[str]) -> None: ...

    inputs = encoded(of(f), "a", Order(item="x"), ["é"])
    document = json.loads(inputs.payload.text)
    assert list(document) == ["item", "o", "words"]
    assert document["item"] == "a"
    assert "\n" not in inputs.payload.text


@pytest.mark.parametrize(
    "value", ["plain", 'quo"te\\', "tab\tnew\n", "é漢🎉", "\x00", 1, -1, 2**70, True, None, 1.5, 1e300, -0.0]
)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    def f(x):
        return x  # type: ignore[no-untyped-def]

    back = called_again(f, value)
    assert (type(back), repr(back)) == (type(value), repr(value))


def test_typed_values_come_back_as_their_types() -> None:
    def f(o: Order, p: Price, t: tuple[int, ...], b: bytes) -> Any:
        return o, p, t, b

    assert called_again(f, Order(item="a"), Price(2.0), (1, 2), b"\x00\xff") == (
        Order(item="a"),
        Price(2.0),
        (1, 2),
        b"\x00\xff",
    )


def test_the_function_never_gets_the_callers_objects() -> None:
    def f(items: list[int]) -> list[int]:
        return items

    mine = [1, 2]
    assert called_again(f, mine) == mine
    assert called_again(f, mine) is not mine


def test_a_dict_that_looks_like_ours_stays_a_dict() -> None:
    def f(x: dict[str, Any], y: Any) -> Any:
        return x, y

    for odd in ({"$redacted": True}, {"$part": 0}, {"$part": "x", "a": 1}):
        assert called_again(f, odd, odd) == (odd, odd)


def test_binary_parts_of_several_arguments_are_numbered_through() -> None:
    numpy = pytest.importorskip("numpy")

    def f(a, b, c):
        return a, b, c  # type: ignore[no-untyped-def]

    arrays = [numpy.arange(3), [numpy.arange(4), 1], numpy.arange(5.0)]
    a, b, c = called_again(f, *arrays)
    assert a.tolist() == [0, 1, 2]
    assert b[0].tolist() == [0, 1, 2, 3]
    assert c.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_the_digest_does_not_depend_on_how_a_value_was_passed() -> None:
    signature = of(reserve)
    assert encoded(signature, "a", 2).digest == encoded(signature, n="2", item="a").digest
    assert encoded(signature, "a", 2).digest != encoded(signature, "a", 3).digest


def test_what_cannot_be_journaled_is_named() -> None:
    def f(x): ...  # type: ignore[no-untyped-def]

    with pytest.raises(NotJournalable, match="x"):
        encoded(of(f), Machine())


def test_an_intent_that_the_function_outgrew_says_how() -> None:
    inputs = encoded(of(reserve), "a", 2)

    def narrower(item: str) -> None: ...
    def other(item: str, n: int, colour: str) -> None: ...

    with pytest.raises(CannotRestore, match="has `n`, which it no longer takes"):
        of(narrower).decode_inputs(inputs.payload)
    with pytest.raises(CannotRestore, match="lacks `colour`"):
        of(other).decode_inputs(inputs.payload)


def test_a_result_goes_by_the_return_annotation() -> None:
    def f() -> Order: ...  # type: ignore[empty-body]

    signature = of(f)
    assert signature.decode_result(signature.encode_result(Order(item="a"), "the result")) == Order(item="a")
    assert of(reserve).decode_result(of(reserve).encode_result("x")) == "x"


# -- secrets ---------------------------------------------------------------------------------------------------------------


def ask(prompt: str, api_key: str, other: SecretStr | None = None) -> str:
    return f"{prompt} {api_key}"


def test_a_secret_is_in_neither_payload_nor_digest() -> None:
    signature = of(ask)
    inputs = encoded(signature, "hi", "sk-1", SecretStr("sk-2"))
    assert signature.secrets == {"api_key", "other"}
    assert "sk-" not in inputs.payload.text
    assert "sk-" not in repr(inputs)
    assert inputs.secrets["api_key"] == "sk-1"
    assert encoded(signature, "hi", "sk-9").digest == inputs.digest


def test_a_secret_lives_as_long_as_its_process() -> None:
    signature = of(ask)
    inputs = encoded(signature, "hi", "sk-1")
    args, kwargs = signature.decode_inputs(inputs.payload, inputs.secrets)
    assert ask(*args, **kwargs) == "hi sk-1"
    with pytest.raises(CannotRestore, match=r'os\.environ\["API_KEY"\]'):
        signature.decode_inputs(inputs.payload, None)


def test_a_secret_among_keywords_is_kept_out_too() -> None:
    def call(url: str, **options: str) -> Any:
        return url, options

    signature = of(call)
    inputs = encoded(signature, "u", api_key="sk-1", colour="red")
    assert "sk-1" not in inputs.payload.text
    assert "red" in inputs.payload.text
    args, kwargs = signature.decode_inputs(inputs.payload, inputs.secrets)
    assert call(*args, **kwargs) == ("u", {"api_key": "sk-1", "colour": "red"})
    with pytest.raises(CannotRestore, match="API_KEY"):
        signature.decode_inputs(inputs.payload)


def test_a_wrong_secret_is_not_shown() -> None:
    with pytest.raises(WrongArguments) as caught:
        of(ask).validate({"prompt": "a", "api_key": ["sk-1"]})
    assert "sk-1" not in str(caught.value)


# -- how long it takes (printed, for people) -----------------------------------------------------------------------------


def test_timings(capsys: pytest.CaptureFixture[str]) -> None:
    signature = of(reserve)
    inputs = encoded(signature, "a", 2)
    times = {}
    for name, work in {
        "bind+validate+encode_inputs": lambda: encoded(signature, "item", 2),
        "decode_inputs": lambda: signature.decode_inputs(inputs.payload),
    }.items():
        started = time.perf_counter()
        for _ in range(2000):
            work()
        times[name] = (time.perf_counter() - started) / 2000 * 1e6
    with capsys.disabled():
        sys.stdout.write("".join(f"\n  {name}: {us:.1f} µs" for name, us in times.items()) + " ")
