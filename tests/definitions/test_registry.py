"""The registry knows the latest definition of a name, and whether there is more than one."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import pytest

from romancy_nb.definitions import registry
from romancy_nb.errors import DefinitionError


def test_the_latest_definition_wins_and_other_modules_are_remembered() -> None:
    first, again = SimpleNamespace(__module__="one"), SimpleNamespace(__module__="one")
    elsewhere = SimpleNamespace(__module__="two")
    registry.register("activity", "test.reserve", first)
    registry.register("activity", "test.reserve", elsewhere)
    assert registry.find("activity", "test.reserve") is elsewhere
    registry.register("activity", "test.reserve", again)
    assert registry.find("activity", "test.reserve") is again
    assert registry.defined_in("activity", "test.reserve") == ("two", "one")
    assert registry.find("workflow", "test.reserve") is None
    assert "test.reserve" in registry.names("activity")


def test_a_name_says_where_a_nested_function_is_and_not_that_it_is_local() -> None:
    def reserve() -> None: ...

    assert registry.name_of(reserve).endswith("it_is_local.reserve")


@pytest.mark.parametrize("nameless", [lambda: None, functools.partial(print)])
def test_what_has_no_name_is_refused_with_the_cure(nameless: object) -> None:
    with pytest.raises(DefinitionError, match="name="):
        registry.name_of(nameless)
