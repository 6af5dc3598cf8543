# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.base_models import base_models_of, base_of, parse_base_models
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import Account, parse_price_book
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError


def listing(*models: tuple[str, str | None, str | None]) -> dict[str, t.Any]:
    """As vLLM answers: ``(id, root, parent)``."""
    return {"object": "list", "data": [{"id": name, "object": "model", "root": root, "parent": parent} for name, root, parent in models]}


@pytest.mark.parametrize(
    ("models", "bases"),
    [
        ([], {}),
        ([("llama", "meta/llama", None)], {}),
        ([("llama", "meta/llama", None), ("sql-lora", "/loras/sql", "llama")], {"sql-lora": "llama"}),
        ([("sql-lora", "/loras/sql", "meta/llama"), ("llama", "meta/llama", None)], {"sql-lora": "llama"}),
        ([("llama", "meta/llama", None), ("chat", "meta/llama", None), ("sql", "/sql", "chat")], {"chat": "llama", "sql": "llama"}),
        ([("a", None, None), ("b", None, None)], {}),
        ([("sql", "/sql", "gone")], {"sql": "gone"}),
        ([("a", "a", "b"), ("b", "b", "a")], {}),
        ([("a", "a", "a")], {}),
    ],
    ids=str,
)
def test_a_model_server_says_what_is_a_part_of_what(models: list[tuple[str, str | None, str | None]], bases: dict[str, str]) -> None:
    assert base_models_of(listing(*models)) == bases
    assert parse_base_models(base_models_of(listing(*models))) == bases


@pytest.mark.parametrize("answer", [None, [], {}, {"data": "x"}, {"data": ["llama"]}, {"data": [{"root": "x"}]}], ids=str)
def test_other_answers_are_refused(answer: t.Any) -> None:
    with pytest.raises(GatewayError, match="no answer to GET /v1/models"):
        base_models_of(answer)


def test_what_users_write_is_followed_to_its_end() -> None:
    assert parse_base_models(None) == {}
    bases = parse_base_models({"v2": "sql-lora", "sql-lora": "llama", "llama": "llama"})
    assert bases == {"v2": "llama", "sql-lora": "llama"}
    assert [base_of(name, bases) for name in ("v2", "llama", "other", None)] == ["llama", "llama", "other", None]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (["sql-lora"], "llm_gateway_base_models: must be a dictionary such as {sql-lora: llama}, not list"),
        ({"sql-lora": ""}, "llm_gateway_base_models[sql-lora]: must be the name of a model"),
        ({"sql-lora": 1}, "llm_gateway_base_models[sql-lora]: must be the name of a model"),
        ({"a": "b", "b": "a"}, "llm_gateway_base_models[a]: leads back to itself"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(raw: t.Any, message: str) -> None:
    with pytest.raises(GatewayError) as caught:
        parse_base_models(raw)
    assert message in str(caught.value)


def test_a_price_of_the_base_holds_for_its_adapters_unless_they_have_one() -> None:
    entries = [
        {"name": "all", "price": {"prompt_per_1k": "1"}},
        {"name": "llama", "model": "llama", "price": {"prompt_per_1k": "2", "completion_per_1k": "3"}},
        {"name": "sql", "model": "sql", "price": {"prompt_per_1k": "4"}},
        {"name": "boss", "user": "boss", "model": "llama", "price": {"prompt_per_1k": "5"}},
    ]
    book = dataclasses.replace(parse_price_book({"currency": "EUR", "entries": entries}, []), base_models={"sql": "llama", "chat": "llama"})

    def name(model: str, meter: str = "prompt_tokens", user: str = "u") -> str | None:
        found = book.find(Account(user, "g", "t", model), meter, 0)
        return None if found is None else found.name

    assert [name("llama"), name("chat"), name("sql"), name("other")] == ["llama", "llama", "sql", "all"]
    assert [name("sql", "completion_tokens"), name("other", "completion_tokens")] == ["llama", None]
    assert name("sql", user="boss") == "boss"
