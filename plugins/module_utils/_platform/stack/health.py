# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What of a running stack has to be started again: processes that are there and do not answer, and an Envoy with another configuration.

istiod keeps a version for each type of resource that it has sent to a proxy, and the version of that type that the proxy has taken last
(``GET /debug/syncz`` of its HTTP port: a list of ``{proxy, resources: {type: {sent, acked, sentTime}}}``). They differ for a moment
while something changes, and for good where Envoy refuses what it got, or its stream hangs.
"""

from __future__ import annotations

import http.client
import json
import time
import typing as t
import urllib.parse

from ansible_collections.kuadrant.llm.plugins.module_utils._parallel import for_each

TIMEOUT = 5.0  # seconds for one answer
_PAUSE = 0.5


def get(url: str) -> tuple[int, bytes]:
    """Status and body, without a proxy. :raises OSError: :raises http.client.HTTPException: if there is no answer in time."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT)
    try:
        connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def silent(urls: t.Mapping[str, str], patience: float) -> list[str]:
    """Names of ``urls`` (name to address) that do not answer with 200 within ``patience`` seconds, sorted."""
    end = time.monotonic() + patience
    remaining = set(urls)
    while True:
        for_each(lambda name: remaining.discard(name) if _answers(urls[name]) else None, sorted(remaining))
        if not remaining or time.monotonic() >= end:
            return sorted(remaining)
        time.sleep(_PAUSE)


def _answers(url: str) -> bool:
    try:
        return get(url)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def outdated(istiod: str, envoy: str, proxy: str, patience: float) -> list[str]:
    """Why ``proxy`` (``<name>.<namespace>``) has not the configuration that istiod wants, if so for all of ``patience`` seconds.

    :param istiod: address of its HTTP port. :param envoy: address of the proxy's own administration.
    """
    end = time.monotonic() + patience
    while True:
        try:
            status, body = get(f"{istiod}/debug/syncz")
            found = behind(json.loads(body), proxy) if status == 200 else [f"istiod answers {status} to /debug/syncz"]
        except (OSError, http.client.HTTPException, ValueError) as exc:
            found = [f"istiod does not say what it has sent: {exc}"]
        if not found or time.monotonic() >= end:
            return found and [*found, *_refused(envoy)]
        time.sleep(_PAUSE)


def _refused(envoy: str) -> list[str]:
    """What Envoy says of listeners and routes that it refused, as far as it says anything."""
    reasons = []
    for resource in ("dynamic_listeners", "dynamic_route_configs"):
        try:
            status, body = get(f"{envoy}/config_dump?resource={resource}&mask=name,error_state.details")
            configs = json.loads(body).get("configs") or [] if status == 200 else []
        except (OSError, http.client.HTTPException, ValueError):
            continue
        reasons += [f"Envoy: {one['error_state']['details']}" for one in configs if (one.get("error_state") or {}).get("details")]
    return reasons


def behind(proxies: t.Any, proxy: str) -> list[str]:
    """Reasons by istiod's answer to ``/debug/syncz``; empty if the proxy has taken all that was sent. Pure."""
    one = next((each for each in proxies or [] if each.get("proxy") == proxy), None)
    if one is None:
        return [f"{proxy} is not connected to istiod"]
    return [
        f"{proxy} has not taken the {kind.rpartition('.')[2]} of {state.get('sentTime') or 'some time ago'}"
        for kind, state in sorted((one.get("resources") or {}).items())
        if state.get("sent") and state.get("sent") != state.get("acked")
    ]
