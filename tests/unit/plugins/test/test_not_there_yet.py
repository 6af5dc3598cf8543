# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a dry run forgives: the texts are those of kubernetes.core 6 and of API server 1.34."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.test.not_there_yet import not_there_yet


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('Failed to apply object: {"kind":"Status","message":"namespaces \\"llm\\" not found","reason":"NotFound","code":404}', True),
        ('namespaces "llm" not found', True),
        ("Failed to find exact match for monitoring.coreos.com/v1.PodMonitor by [kind, name, singularName, shortNames]", True),
        ("Failed to apply object: 404 page not found\n", True),
        ({"msg": 'namespaces "llm" not found', "failed": True}, True),
        ({"msg": None}, False),
        ({}, False),
        ('secrets "llm" not found', False),
        ('admission webhook "x" denied the request: namespaces of this team are closed', False),
        ("secrets is forbidden: User cannot create resource", False),
    ],
)
def test_only_a_missing_namespace_or_kind_is_forgiven(value: t.Any, expected: bool) -> None:
    assert not_there_yet(value) is expected
