# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.tls import Tls, parse_tls
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, None),
        ({}, None),
        ({"self_signed": True}, Tls("self_signed", (), 443, True)),
        ({"secret": "wildcard", "port": 8443, "redirect": False}, Tls("secret", (), 8443, False)),
        (
            {"issuer": {"name": "le", "kind": "ClusterIssuer"}, "hostnames": ["llm.example.com", "10.0.0.5"]},
            Tls("issuer", ("llm.example.com", "10.0.0.5"), 443, True),
        ),
        # As argument specifications complete it.
        ({"secret": "x", "issuer": None, "self_signed": False, "hostnames": []}, Tls("secret", (), 443, True)),
    ],
)
def test_reads_where_a_certificate_comes_from(raw: t.Any, expected: Tls | None) -> None:
    assert parse_tls(raw) == expected


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("yes", "must be a dictionary"),
        ({"redirect": False}, "needs one of secret, issuer, self_signed, and has none"),
        ({"secret": "x", "self_signed": True}, "has secret and self_signed"),
        ({"selfsigned": True}, "selfsigned: is not a known field"),
        ({"issuer": "le"}, "issuer: must be a dictionary"),
        ({"issuer": {"kind": "Issuer"}, "hostnames": ["a"]}, "issuer.name: is required"),
        ({"issuer": {"name": "a", "kind": "Isuer"}, "hostnames": ["a"]}, "issuer.kind: 'Isuer' is none of Issuer and ClusterIssuer"),
        ({"issuer": {"name": "a"}}, "hostnames: is required with issuer"),
        ({"self_signed": True, "hostnames": ["https://llm.example.com"]}, "'https://llm.example.com' is neither a hostname"),
        ({"self_signed": True, "hostnames": "llm.example.com"}, "hostnames: must be a list"),
        ({"self_signed": True, "port": 70000}, "port: 70000 is no port"),
        ({"self_signed": True, "port": "https"}, "port: 'https' is no port"),
    ],
)
def test_says_what_is_wrong(raw: t.Any, words: str) -> None:
    with pytest.raises(GatewayError) as raised:
        parse_tls(raw)
    assert words in raised.value.message
    assert "llm_gateway_tls" in raised.value.message
