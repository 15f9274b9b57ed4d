"""What a cell's body reads of the notebook and what it binds."""

from __future__ import annotations

import ast

import pytest

from romancy_nb.definitions.bodies import BodyNames, names_of, statements_digest


def names(source: str) -> BodyNames:
    tree = ast.parse(source)
    return names_of(tree, compile(tree, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT))


@pytest.mark.parametrize(
    ("source", "roots"),
    [
        ("y = x", ["x"]),
        ("x = 1\ny = x", []),
        ("x = x + 1", ["x"]),
        ("x += 1", ["x"]),
        ("if c:\n    x = 1\nprint(x)", ["c", "print"]),
        ("for i in rows:\n    i", ["rows"]),
        ("[a for a in b if c]", ["b", "c"]),
        ("[a for a in a]", ["a"]),
        ("{k: f(v) for k, v in d.items()}", ["d", "f"]),
        ("[(n := a) for a in b]\nn", ["b"]),
        ("def f(p=q):\n    return p + r + s\ns = 1", ["q", "r"]),
        ("def f():\n    t = 1\n    return t", []),
        ("def f():\n    return later\nlater = 1\nf()", []),
        ("async def f():\n    return await ask(x)", ["ask", "x"]),
        ("g = lambda v: v + w", ["w"]),
        ("class C(B):\n    n = m\n    def get(self):\n        return n", ["B", "m", "n"]),
        ("import a.b\nfrom c import d as e\na, e", []),
        ("from math import *\nsqrt(x)", ["x"]),
        ("with open(p) as f:\n    f.read()", ["open", "p"]),
        ("try:\n    a\nexcept E as e:\n    e\nfinally:\n    z", ["E", "a", "z"]),
        (
            "match m:\n    case {'k': v, **rest}:\n        v, rest\n    case [x, *xs]:\n        x, xs\n    case K(y):\n        y",
            ["K", "m"],
        ),
        ("r = await ask(q)", ["ask", "q"]),
        ("async with room(n) as m:\n    m", ["n", "room"]),
        ("x: int = y\nx", ["int", "y"]),
        ("a, *b = c\na, b", ["c"]),
        ("d[k] = v", ["d", "k", "v"]),
    ],
)
def test_a_body_reads_the_names_that_it_has_not_bound_by_then(source: str, roots: list[str]) -> None:
    assert names(source).roots == roots


def test_a_name_is_read_with_its_attributes() -> None:
    assert names("helpers.text.clean(x)").reads == (("helpers", "text", "clean"), ("x",))


def test_what_the_body_binds_is_known() -> None:
    assert names("import os\nx = [y := 1]\ndef f(): z = 1\nclass C: w = 1\nfor i in (): pass").binds == {
        "os",
        "x",
        "y",
        "f",
        "C",
        "i",
    }


def test_the_notebooks_own_objects_that_a_body_changes_in_place_are_named() -> None:
    assert names("log.append(1)\nown = []\nown.append(2)\ndf['a'] = 1").written == {"log", "df"}


def test_layout_and_comments_do_not_count_in_a_bodys_digest() -> None:
    one, same = ast.parse("x = f( 1 )  # why\n'text'\n"), ast.parse("x = f(1)")
    assert statements_digest(one) == statements_digest(same) != statements_digest(ast.parse("x = f(2)"))
