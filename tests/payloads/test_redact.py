"""Secrets are known by their type or their name, read word by word (D5)."""

from __future__ import annotations

import pandas as pd
import pytest
from pydantic import SecretBytes, SecretStr

from romancy_nb.payloads.codec import encode
from romancy_nb.payloads.redact import is_secret, redacted

from .things import back

SECRETS = """
api_key apiKey API_KEY OPENAI_API_KEY apikey token access_token accessToken hf_token token2 token_value password db_password
passwd secret client_secret authorization Authorization authorization_header credentials private_key
"""
OTHERS = """
token_count max_tokens tokens tokenizer monkey keyboard key sort_key primary_key keys secretary password_file passwordless n
item_id author authority
"""


@pytest.mark.parametrize("name", SECRETS.split())
def test_a_name_of_a_secret_is_known(name: str) -> None:
    assert is_secret(name, "x")


@pytest.mark.parametrize("name", OTHERS.split())
def test_a_name_that_only_resembles_one_is_not(name: str) -> None:
    assert not is_secret(name, "x")


def test_the_type_decides_whatever_the_name() -> None:
    assert is_secret("x", SecretStr("s"))
    assert is_secret("x", SecretBytes)
    assert is_secret("x", SecretStr | None)


def test_a_number_is_no_secret() -> None:
    assert not is_secret("token", 5)
    assert not is_secret("token", int)


def test_any_value_may_be_asked_about() -> None:
    assert is_secret("token", pd.DataFrame({"a": [1]}))


def test_a_placeholder_is_journaled_in_the_place_of_a_secret() -> None:
    assert encode({"k": redacted("api_key")}, what="the inputs").text == '{"k":{"$redacted":"api_key"}}'
    assert back(redacted("api_key")) == redacted("api_key")
