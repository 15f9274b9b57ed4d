"""Previews of journaled values, as Python would write them."""

from __future__ import annotations

from typing import Any

import pytest

from romancy_nb.payloads.codec import ANY, encode
from romancy_nb.widgets import preview


@pytest.mark.parametrize(
    "value", [(), (1,), ([0], 5, (None, True)), set(), {3}, {1: (2,), 2: {}}, {"a": {(1, 2): 3}}, [{7}]]
)
def test_a_tuple_a_set_and_a_dict_with_any_keys_are_shown_as_python_writes_them(value: Any) -> None:
    assert preview.value(encode(value, ANY, what="it")) == repr(value).replace("'", '"')
