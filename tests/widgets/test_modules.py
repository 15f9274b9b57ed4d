"""The browser's modules: files put together, each with its own names."""

from __future__ import annotations

import re

import pytest

from romancy_nb.widgets import modules


def test_a_file_gives_later_ones_what_it_names_and_keeps_the_rest_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "a.js": "// module: a\n// gives: one, two\nconst one = 1, two = 2, own = 3;\n",
        "b.js": "export default one;\n",
    }
    monkeypatch.setattr(modules, "_text", texts.__getitem__)
    made = modules.module.__wrapped__("a.js", "b.js")
    assert made.startswith("const { one, two } = (() => {\n")
    assert made.index("const one = 1") < made.index("return { one, two };") < made.index("export default one;")
    assert "// module" not in made


def test_the_modules_ask_nobody_for_anything() -> None:
    whole = modules.module(*modules.TIMELINE) + modules.styles(*modules.TIMELINE_STYLES)
    whole += "".join("".join(modules.more(what).values()) for what in sorted(modules.MORE))
    assert not re.search(r"https?://|\bimport\b\s*[({\"']|@import|url\(|innerHTML|insertAdjacentHTML|\beval\(", whole)


def test_what_every_page_is_given_is_less_than_150_kb() -> None:
    assert len((modules.module(*modules.HUB) + modules.styles(*modules.TIMELINE_STYLES)).encode()) < 150_000


@pytest.mark.parametrize(
    ("sheet", "root"),
    [
        ("timeline.css", ".rn-timeline"),
        ("instances.css", ".rn-instances"),
        ("compare.css", ".rn-compare"),
        ("form.css", ".romancy-form"),
    ],
)
def test_a_style_sheet_changes_nothing_outside_of_its_own_displays(sheet: str, root: str) -> None:
    """One page shows several kinds of them, and names of classes are short."""
    text = re.sub(r"/\*.*?\*/", "", modules.styles(sheet), flags=re.DOTALL)
    heads = [head.strip() for head in re.findall(r"([^{}]+)\{", text) if "@" not in head]
    selectors = [part.strip() for head in heads for part in re.split(r",(?![^()]*\))", head)]
    own = [each for each in selectors if root in each or each in {"from", "to"} or re.fullmatch(r"[\d.]+%", each)]
    assert len(own) > 20
    assert set(selectors) - set(own) <= {".rn-live:has(> .rn-c-head)"}
