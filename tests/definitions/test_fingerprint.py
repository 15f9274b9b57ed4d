"""A fingerprint changes when what a function reads changes, and at no other time."""

from __future__ import annotations

import importlib
import linecache
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cells import Notebook, notebook

from romancy_nb.definitions.fingerprint import OWN_CODE, Fingerprint, explain, fingerprint


def changed_by(book: Notebook, cell: str, name: str = "ask") -> str:
    """Run *cell* and say what it changed for the function *name*."""
    before = fingerprint(book[name])
    book.run(cell)
    after = fingerprint(book[name])
    said = explain(before.reads, after.reads)
    assert (before.digest == after.digest) == (said == "")
    return said


ASK = '''
def ask(text, n=1):
    """Ask the model."""
    return clean(PROMPT + text) * n
'''
CLEAN = "def clean(text): return text.strip()[:LIMIT]"
BOOK = ("PROMPT = 'Sum up: '\nLIMIT = 100", CLEAN, ASK)


@pytest.fixture
def book() -> Notebook:
    return notebook(*BOOK)


# -- what does not count ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "again",
    [
        ASK,
        "# a comment\n\n\n" + ASK,
        'def ask(text,\n    n = 1):\n    """Another docstring."""\n\n    # why\n    return (clean((PROMPT + text))\n  * n)',
        "def ask(text, n=1):\n    return clean(PROMPT + text) * n",
    ],
    ids=["run again", "comment", "layout and docstring", "no docstring"],
)
def test_comments_layout_and_docstrings_do_not_count(book: Notebook, again: str) -> None:
    assert changed_by(book, again) == ""


def test_the_name_of_the_function_does_not_count() -> None:
    one, other = notebook("def f(x):\n    return x + 1"), notebook("def g(x):\n    return x+1 # same")
    assert fingerprint(one["f"]).digest == fingerprint(other["g"]).digest


def test_equal_values_and_helpers_defined_again_do_not_count(book: Notebook) -> None:
    assert changed_by(book, "PROMPT = 'Sum ' + 'up: '") == ""
    assert changed_by(book, CLEAN + "  # again") == ""


def test_what_is_not_read_does_not_count(book: Notebook) -> None:
    assert changed_by(book, "OTHER = 1\ndef other(): return OTHER") == ""


def test_another_kernel_finds_the_same(book: Notebook) -> None:
    assert fingerprint(book["ask"]) == fingerprint(notebook(*BOOK)["ask"])


def test_our_decorators_are_options_and_not_code() -> None:
    ours = "import romancy_nb as rn\n@rn.activity(retry=rn.RetryPolicy(max_attempts={}))\ndef ask(x): return x"
    book = notebook(ours.format(2))
    assert changed_by(book, ours.format(3)) == ""
    assert fingerprint(book["ask"]).digest == fingerprint(notebook("def ask(x): return x")["ask"]).digest


# -- what counts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("PROMPT = 'Explain: '", "PROMPT changed"),
        ("LIMIT = 99", "LIMIT changed"),
        ("LIMIT = 100.0", "LIMIT changed"),
        ("def clean(text): return text.strip()", "clean() changed, no longer reads LIMIT"),
        ("def ask(text, n=1): return clean(PROMPT + text)", "its code changed"),
        ("def ask(text, n=2):\n    return clean(PROMPT + text) * n", "its code changed, default of n changed"),
        (
            "def ask(text, m=1): return clean(PROMPT + text) * m",
            "its code changed, now reads default of m, no longer reads default of n",
        ),
        ("async def ask(text, n=1): return clean(PROMPT + text) * n", "its code changed"),
        ("clean = str.strip", "no longer reads LIMIT, no longer reads clean()"),
        ("del clean", "now reads clean, no longer reads LIMIT, no longer reads clean()"),
    ],
)  # fmt: skip
def test_what_a_function_reads_counts_and_is_named(book: Notebook, cell: str, said: str) -> None:
    assert changed_by(book, cell) == said


def test_a_value_that_is_changed_in_place_counts() -> None:
    book = notebook("CONFIG = {'model': 'a', 'stop': ['x']}\ndef ask(): return CONFIG['model']")
    assert changed_by(book, "CONFIG['model'] = 'b'") == "CONFIG changed"
    assert changed_by(book, "CONFIG['stop'].append('y')") == "CONFIG changed"
    assert changed_by(book, "CONFIG = {'stop': ['x', 'y'], 'model': 'b'}") == "", "the order of keys says nothing"


def test_a_class_counts_by_what_it_is_made_of() -> None:
    order = "from dataclasses import dataclass\n@dataclass\nclass Order:\n    item: str\n    n: int = {}\n"
    order += "    def total(self): return self.n{}"
    book = notebook(order.format(1, ""), "def ask(x): return Order(x).total()")
    assert changed_by(book, order.format(1, "  # comment")) == ""
    assert changed_by(book, order.format(1, " * 2")) == "Order.total() changed"
    assert changed_by(book, order.format(2, " * 2")) == "Order.n changed"
    assert "class Order changed" in changed_by(
        book, order.format(2, " * 2").replace("item: str", "item: str; more: int")
    )


def test_a_model_in_an_annotation_counts() -> None:
    model = "from pydantic import BaseModel\nclass Answer(BaseModel):\n    text: str\n"
    book = notebook(model, "def ask() -> 'list[Answer]': ...")
    assert changed_by(book, model) == ""
    assert changed_by(book, model + "    score: float = 0.5") == "class Answer changed, now reads Answer.score"


def test_a_base_class_and_a_property_count() -> None:
    base = "class Base:\n    @property\n    def size(self): return {}"
    book = notebook(base.format(1), "class Box(Base): pass", "def ask(): return Box().size")
    assert changed_by(book, base.format(2) + "\nclass Box(Base): pass") == "Base.size() changed"


def test_what_a_closure_holds_counts() -> None:
    make = "def make(word, helper):\n    def ask(x): return helper(word + x)\n    return ask\ndef one(x): return x\n"
    book = notebook(make + "ask = make('a', one)")
    assert changed_by(book, "ask = make('a', one)") == ""
    assert changed_by(book, "ask = make('b', one)") == "word changed"
    assert changed_by(book, "ask = make('b', lambda x: x)") == "helper() changed"


def test_lambdas_of_one_line_are_told_apart() -> None:
    book = notebook("fs = [lambda x: x + 1, lambda x: x + 2]\ndef ask(f=fs[0]): return f")
    assert changed_by(book, "def ask(f=fs[0]): return f  # again") == ""
    assert changed_by(book, "def ask(f=fs[1]): return f", "ask") == "its code changed, default of f() changed"


def test_functions_in_containers_and_partials_are_followed() -> None:
    book = notebook(
        "from functools import partial",
        "def a(x): return 1\ndef b(x): return 2\nTOOLS = {'a': a, 'bs': [partial(b, 3)]}\ndef ask(n): return TOOLS[n]",
    )
    assert changed_by(book, "def c(x): return 3\nTOOLS['a'] = c") == "TOOLS['a']() changed"
    assert changed_by(book, "TOOLS['c'] = c") == "TOOLS changed"
    assert changed_by(book, "TOOLS['bs'] = [partial(b, 4)]") == "0 of TOOLS['bs'][0] changed"


def test_wrapped_functions_are_followed() -> None:
    wrap = (
        "import functools\ndef wrap(f):\n    @functools.wraps(f)\n    def inner(*a): return f(*a){}\n    return inner\n"
    )
    book = notebook(
        wrap.format(""), "@wrap\n@functools.lru_cache\ndef helper(x): return K\nK = 1\ndef ask(x): return helper(x)"
    )
    assert changed_by(book, "K = 2") == "K changed"


def test_activities_are_followed_into_their_function() -> None:
    step = "import romancy_nb as rn\n@rn.activity\ndef step(x): return x + {}"
    book = notebook(step.format(1), "def ask(x): return step(x)")
    assert changed_by(book, step.format(1)) == ""
    assert changed_by(book, step.format(2)) == "step() changed"


def test_functions_that_call_each_other_are_safe() -> None:
    book = notebook("def ask(n): return n and other(n - 1)\ndef other(n): return ask(n) + ONE\nONE = 1")
    assert changed_by(book, "ONE = 2") == "ONE changed"


def test_the_same_name_in_two_places_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "romancy_test_tools.py").write_text("LIMIT = 1\nPROMPT = 'p'\ndef clean(x): return x[:LIMIT]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    book = notebook(
        "import romancy_test_tools as tools\nLIMIT = 5\ndef ask(x): return tools.clean(x)[:LIMIT] + tools.PROMPT"
    )
    assert set(fingerprint(book["ask"]).reads) == {
        *(OWN_CODE, "LIMIT", "LIMIT in tools.clean()", "tools.clean()", "tools.PROMPT")
    }
    assert changed_by(book, "tools.LIMIT = 2") == "LIMIT in tools.clean() changed"
    assert changed_by(book, "tools.PROMPT = 'q'") == "tools.PROMPT changed"
    del sys.modules["romancy_test_tools"]


# -- what is not watched -----------------------------------------------------------------------------------------------------


def test_what_has_no_digest_is_listed_and_does_not_count() -> None:
    book = notebook("import threading\nclient = threading.Lock()\ndef ask(x): return client")
    assert fingerprint(book["ask"]).unwatched == ("client",)
    assert changed_by(book, "client = threading.Lock()") == ""
    assert changed_by(book, "client = 'none'") == "now reads client"


def test_a_value_over_a_megabyte_is_not_watched_until_it_is_small() -> None:
    book = notebook("big = [0] * 2_000_000\ndef ask(x): return big")
    assert fingerprint(book["ask"]).unwatched == ("big (over 1 MB)",)
    assert changed_by(book, "del big[10:]") == "now reads big"


def test_a_secret_is_not_watched() -> None:
    book = notebook("api_key = 'sk-1'\ndef ask(x): return api_key")
    found = fingerprint(book["ask"])
    assert found.unwatched == ("api_key (a secret)",)
    assert changed_by(book, "api_key = 'sk-2'") == ""


@pytest.mark.parametrize(
    "body", ["calls.append(x)", "calls[0] = x", "calls += [x]", "del calls[0]", "note(x)"], ids=lambda body: body
)
def test_what_the_code_writes_itself_is_its_state(body: str) -> None:
    declared = "    global calls\n" if "+=" in body else ""
    book = notebook(
        "calls = [0]\ndef note(x): calls.append(x)", f"def ask(x):\n{declared}    {body}\n    return len(calls)"
    )
    assert "calls" in fingerprint(book["ask"]).unwatched
    before = fingerprint(book["ask"])
    book["ask"](1)
    assert fingerprint(book["ask"]) == before


def test_libraries_and_modules_are_taken_as_they_are() -> None:
    book = notebook(
        "import json, os.path as p\nfrom json import dumps\ndef ask(x): return json.dumps(x), dumps, p.join, print, len"
    )
    assert set(fingerprint(book["ask"]).reads) == {OWN_CODE}
    assert fingerprint(book["ask"]).unwatched == ()


def test_the_variables_of_ipython_are_nobodys_input() -> None:
    book = notebook(
        "get_ipython = display = None\nIn = ['x']\n_ = 3\n_items = 4\ndef ask(x): return get_ipython, In, _, _items"
    )
    assert set(fingerprint(book["ask"]).reads) == {OWN_CODE, "_items"}


def test_an_object_that_makes_up_attributes_is_safe() -> None:
    class Anything:
        def __getattr__(self, name: str) -> Any:
            return Anything()

        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        __hash__ = None  # type: ignore[assignment]

    book = notebook("def ask(x): return thing.get(x)")
    book["thing"] = Anything()
    assert fingerprint(book["ask"]).unwatched == ("thing",)


# -- where the source is -----------------------------------------------------------------------------------------------------


def test_code_without_source_has_a_fingerprint_of_its_own() -> None:
    spaces: list[dict[str, Any]] = [{}, {}, {}]
    for space, source in zip(spaces, ["def f(): return K", "def f(): return K", "def f(): return K + 1"], strict=True):
        exec(source, space)
        space["K"] = 1
    first, same, other = (fingerprint(space["f"]) for space in spaces)
    assert first == same
    assert explain(first.reads, other.reads) == "its code changed"
    assert "K" in first.reads


def test_a_library_function_has_a_fingerprint() -> None:
    assert fingerprint(len).digest != fingerprint(sorted).digest


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, ModuleType]]:
    path = tmp_path / "romancy_test_module.py"
    path.write_text("def ask(x):\n    return x + 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield path, importlib.import_module("romancy_test_module")
    del sys.modules["romancy_test_module"]


def test_a_module_edited_on_disk_counts_when_it_is_loaded_again(module: tuple[Path, ModuleType]) -> None:
    path, loaded = module
    before = fingerprint(loaded.ask)
    path.write_text("def ask(x):\n    return x + 2\n")
    os.utime(path, (1, 1))
    linecache.checkcache()
    assert fingerprint(loaded.ask) == before
    importlib.reload(loaded)
    assert fingerprint(loaded.ask) != before
    path.write_text("def ask(x):  # the first again\n    return x + 1\n")
    importlib.reload(loaded)
    assert fingerprint(loaded.ask) == before


def test_a_module_edited_before_the_first_look_is_not_taken_for_its_code(module: tuple[Path, ModuleType]) -> None:
    path, loaded = module
    path.write_text("def ask(x):\n    return x + 2\n")
    linecache.checkcache()
    old = fingerprint(loaded.ask)
    importlib.reload(loaded)
    assert fingerprint(loaded.ask) != old


def test_code_that_was_swapped_in_place_counts() -> None:
    book = notebook("def ask(x): return 1\ndef new(x): return 2")
    before = fingerprint(book["ask"])
    book["ask"].__code__ = book["new"].__code__
    assert fingerprint(book["ask"]) != before


# -- words and time ----------------------------------------------------------------------------------------------------------


def test_many_causes_are_summed_up() -> None:
    old = dict.fromkeys("abcdef", "1")
    assert explain(old, old) == ""
    assert explain(old, dict.fromkeys("abcdef", "2")) == "a changed, b changed, c changed, and 3 more"


def test_the_second_look_is_quick(capsys: pytest.CaptureFixture[str]) -> None:
    book = notebook(
        "A = 'x'\nB = 3\ndef h(x): return A\ndef g(x): return h(x)\ndef k(x): return B\ndef ask(x): return g(x), k(x)"
    )
    started = time.perf_counter()
    first: Fingerprint = fingerprint(book["ask"])
    cold = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(2000):
        assert fingerprint(book["ask"]) is first
    warm = (time.perf_counter() - started) / 2000
    with capsys.disabled():
        sys.stdout.write(f"\n  first look {cold * 1e6:.0f} µs, second look {warm * 1e6:.1f} µs ")


def test_methods_of_objects_are_followed() -> None:
    book = notebook(
        "class Tool:\n    def run(self, x): return x",
        "tool = Tool()\nrun = tool.run\ndef ask(x): return tool.run(x), run(x)",
    )
    assert fingerprint(book["ask"]).unwatched in {("run.__self__", "tool"), ("tool",)}
    assert "Tool.run()" in fingerprint(book["ask"]).reads or "run()" in fingerprint(book["ask"]).reads
