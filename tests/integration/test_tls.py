# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Gateway with a certificate for trying: HTTPS answers whoever trusts its authority, HTTP leads there and answers nothing."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import requests

TLS = {"llm_gateway_tls": {"self_signed": True}}
PATH = "/v1/models?a=b"


@pytest.fixture(scope="module")
def secured(playbook: t.Any) -> t.Iterator[str]:
    """What the run said that gave the Gateway its certificate; afterwards it speaks HTTP again."""
    done = playbook("tests/integration/tls.yml", TLS)
    try:
        assert done.returncode == 0, done.stdout[-4000:]
        yield done.stdout
    finally:
        done = playbook("tests/integration/tls.yml")
        assert done.returncode == 0, done.stdout[-4000:]


@pytest.fixture
def https_url(port_base: int) -> str:
    return f"https://127.0.0.1:{port_base + 3}"


def test_clients_that_trust_the_authority_are_answered(secured: str, state_dir: pathlib.Path, https_url: str) -> None:
    authority = state_dir / "gateway-ca.crt"
    assert f"The gateway answers at {https_url} and refuses requests without a valid key." in secured
    assert f"curl -i --cacert {authority} {https_url}/" in secured
    assert requests.get(https_url + PATH, verify=authority, timeout=10).status_code == 401
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(https_url + PATH, timeout=10)


def test_http_leads_to_https_before_anything_looks_at_the_request(secured: str, gateway_url: str, https_url: str, kubectl: t.Any) -> None:
    assert secured
    for send in (requests.get, requests.post):
        answer = send(gateway_url + PATH, timeout=10, allow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (308, https_url + PATH)
    named = requests.get(gateway_url + PATH, headers={"Host": "llm.example.com:80"}, timeout=10, allow_redirects=False)
    assert named.headers["location"] == https_url.replace("127.0.0.1", "llm.example.com") + PATH
    assert "vllm-gateway-https-redirect" in kubectl("get", "envoyfilters", "-n", "llm", "-o", "name")
