# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible._internal._datatag._tags import Origin
from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._description.config import read_config
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, kind_of, reporting

Run = t.Callable[..., dict[str, t.Any]]
NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("value", "name"),
    [(1, "int"), (1.5, "float"), ("a", "str"), (True, "bool"), (None, "NoneType"), ([1], "list"), ({}, "dict"), (NOW.date(), "date")],
    ids=str,
)
def test_types_have_the_names_that_users_know(value: t.Any, name: str) -> None:
    assert kind_of(value) == name
    if not isinstance(value, (bool, type(None))):
        assert kind_of(Origin(path="/inventory.yml").tag(value)) == name


@pytest.mark.parametrize(
    ("tiers", "keys", "message"),
    [
        ([{"name": 7}], [], "name: must be text, not int"),
        ([7], [], "llm_gateway_tiers[0]: must be a dictionary, not int"),
        ([{"name": "free", "price": 1.5}], [], "not float"),
        ([{"name": "free"}], [{"name": 5}], "must be text, not int"),
    ],
    ids=str,
)
def test_no_message_shows_a_class_of_ansible(tiers: t.Any, keys: t.Any, message: str) -> None:
    def tagged(value: t.Any) -> t.Any:
        if isinstance(value, dict):
            return {name: tagged(one) for name, one in value.items()}
        return [tagged(one) for one in value] if isinstance(value, list) else Origin(path="/inventory.yml").tag(value)

    with pytest.raises(GatewayError) as caught:
        read_config(tagged(tiers), tagged(keys), now=NOW)
    assert message in caught.value.message
    assert "Ansible" not in caught.value.message


def main() -> None:
    count = {"type": "int"}
    inner = {"type": "list", "elements": "dict", "options": {"count": count}}
    module = AnsibleModule({"wait": count, "inner": inner, "one": {"type": "dict", "options": {"count": count}}, "yes": {"type": "bool"}})
    with reporting(module):
        module.exit_json(changed=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wait": True}, "wait: must be a number, not true"),
        ({"wait": False}, "wait: must be a number, not false"),
        ({"inner": [{"count": 1}, {"count": True}]}, "inner[1].count: must be a number, not true"),
        ({"one": {"count": True}}, "one.count: must be a number, not true"),
        ({"wait": 0, "inner": [{}], "one": {"count": "1"}, "yes": True}, None),
    ],
    ids=str,
)
def test_true_is_no_number(run_module: Run, options: dict[str, t.Any], message: str | None) -> None:
    result = run_module(main, **options)
    assert result.get("msg") == (message and f"Nothing was changed. {message}.")
