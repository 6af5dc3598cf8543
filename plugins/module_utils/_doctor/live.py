# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Live probes: what the gateway answers at this moment, to requests that spend nothing. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.model import Finding, Probed, Snapshot

#: Name of a probe, whether it sends a key, and the statuses that are right. A Gateway that denies what no policy admits says 403.
PROBES: t.Final = (("no key", None, (401, 403)), ("wrong key", "no-such-key-of-the-doctor", (401, 403)))


def check_answers(snapshot: Snapshot) -> t.Iterator[Finding]:
    for probe in snapshot.probes:
        if probe.status not in probe.expected:
            yield _wrong(probe, snapshot)


def _wrong(probe: Probed, snapshot: Snapshot) -> Finding:
    where = f"{probe.url} ({probe.name})"
    answered = f"It was answered {probe.status or 'not at all'}{f': {probe.said}' if probe.said else ''}."
    describe = snapshot.scope.command(f"describe gateway/{snapshot.scope.gateway}")
    if probe.status == 0:
        return Finding("gateway-silent", "error", where, answered, "No request is served.", describe)
    if probe.status == 404:
        return Finding(
            "gateway-knows-no-route",
            "error",
            where,
            answered,
            "No route matches hostname and path.",
            snapshot.scope.command("describe httproute"),
        )
    if probe.status >= 500:
        return Finding(
            "gateway-fails",
            "error",
            where,
            answered,
            "No request is served.",
            "see the logs of the gateway, of Authorino and of the model server",
        )
    if probe.name.startswith("key "):
        return Finding(
            "good-key-refused",
            "error",
            where,
            answered,
            "A key of a user is not let in.",
            "kuadrant.llm.api_key_info tells what is wrong with it",
        )
    return Finding(
        "gateway-open", "error", where, answered, "Whoever asks is answered, without a valid key.", "ansible-playbook kuadrant.llm.site"
    )
