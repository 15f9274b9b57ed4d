"""``%romancy check``: which recorded runs still fit, asked in a notebook."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.error import UsageError
from kernels import Kernel, eventually

from romancy_nb.errors import InstanceNotFound
from romancy_nb.runtime.checking import Check

STEPS = """@rn.activity
def reserve(x):
    effect(f"reserve{x}")
    return x
@rn.activity
def charge(x):
    effect(f"charge{x}")
    return x"""

FLOW = """@rn.workflow
def order(x):
    a = reserve(x)
    b = charge(x)
    return LAST"""


def flow(last: str) -> str:
    return FLOW.replace("LAST", last)


def test_before_a_workflow_is_changed_a_person_can_ask_what_still_fits(book: Kernel) -> None:
    book.ok(STEPS)
    book.ok(flow("1 / 0"))
    for number in (1, 2):
        assert book.run(f"order.run({number}, instance_id='order-{number}')").ename == "ZeroDivisionError"
    before = book.ok("[(row.seq, row.event.kind) for row in rn.instance('order-1').rows()]").result
    done = book.done()
    book.ok(flow("rn.side_effect(lambda: effect('side')) or a + b"))
    fits = book.ok("%romancy check order").result
    assert fits.startswith("2 recorded runs: all 2 fit. Nothing was executed or written."), fits
    assert "order() changed" in fits
    book.ok(flow("a").replace("charge(x)", "charge(x + 1)"))
    parts = book.ok("%romancy check order-2").result
    assert 'history holds activity charge with {"x":2}' in parts and 'with {"x":3}' in parts, parts
    assert "put the code back" in parts
    assert (
        book.ok("assert not rn.check(order) and len(rn.check()) == 2 and not rn.instance('order-1').check()").stdout
        == ""
    )
    assert book.done() == done, "no activity and no side effect was executed"
    assert book.ok("[(row.seq, row.event.kind) for row in rn.instance('order-1').rows()]").result == before
    book.ok(flow("a + b"))
    assert book.ok("assert rn.check(order)\norder.run(1, instance_id='order-1')").result == "2"


def test_the_body_of_a_cell_is_checked_without_a_trace_in_the_notebook(book: Kernel) -> None:
    book.ok(STEPS)
    body = "%%romancy_workflow --id tour-1 tour x=1\nfound = reserve(x)\nLAST"
    assert book.run(body.replace("LAST", "1 / 0")).ename == "ZeroDivisionError"
    book.ok("kept = rn.instance('tour-1').locals()")
    fits = book.ok("%romancy check tour-1").result
    assert "fits" in fits and "ZeroDivisionError" in fits, fits
    assert book.ok("'found' in globals(), rn.instance('tour-1').locals() == kept").result == "(False, True)"
    book.ok(body.replace("LAST", "found + 1"))
    assert book.ok("found").result == "1"
    assert book.done() == ["reserve1"]


def test_after_a_kill_a_new_kernel_says_whether_the_cell_fits_before_anything_is_resumed(own: Kernel) -> None:
    first = (
        f"EFFECTS = {str(own.effects)!r}\nimport time\nimport romancy_nb as rn\n%load_ext romancy_nb\n"
        "def effect(name): print(name, file=open(EFFECTS, 'a'))"
    )
    own.ok(first)
    own.ok(STEPS.replace("charge{x}", 'charge{x}"); time.sleep(60 if x == 1 else 0)#', 1))
    own.ok(flow("a + b"))
    own.send("order.run(1, instance_id='order-1')")
    eventually(lambda: "charge1" in own.done(), "the second step has begun")
    own.kill()
    new = own.again()
    new.ok(first)
    assert "is not defined here" in new.ok("%romancy check").result
    new.ok(STEPS)
    new.ok(flow("b + a"))
    assert "1 recorded run: fits" in new.ok("%romancy check").result
    new.ok(flow("b").replace("reserve(x)", "reserve(x + 1)"))
    parts = new.ok("%romancy check").result
    assert "order order-1 (run 1, interrupted): does not fit" in parts and "order() changed" in parts, parts
    assert new.done() == ["reserve1", "charge1"]


@pytest.fixture
def plain(shell: Any, capsys: pytest.CaptureFixture[str]) -> Any:
    shell.run_line_magic("load_ext", "romancy_nb")
    shell.run_cell("import romancy_nb as rn\n@rn.workflow\ndef order(x): return x").raise_error()
    capsys.readouterr()
    yield shell
    shell.run_line_magic("unload_ext", "romancy_nb")


def test_alone_it_asks_for_all_and_unknown_names_get_a_hint(plain: Any) -> None:
    plain.run_cell("order.run(1, instance_id='order-7')").raise_error()
    found = plain.run_line_magic("romancy", "check")
    assert isinstance(found, Check) and found and len(found) == 0
    assert "no unfinished instances" in found._repr_html_()
    assert len(plain.run_line_magic("romancy", "check --all")) == 1
    assert plain.run_line_magic("romancy", "check order-7")[0].status == "completed"
    with pytest.raises(InstanceNotFound, match="Did you mean %romancy check order"):
        plain.run_line_magic("romancy", "check ordr")
    with pytest.raises(UsageError):
        plain.run_line_magic("romancy", "check order --verbose")
