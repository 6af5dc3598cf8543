# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""All checks over one snapshot, and their findings in the order of their weight. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.gateway import check_gateway
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.keys import check_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.live import check_answers
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.metrics import check_metrics
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.model import SEVERITIES, Finding, Snapshot
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.platform import check_platform
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.policies import check_policies

CHECKS: t.Final = (check_platform, check_gateway, check_policies, check_keys, check_metrics, check_answers)


def examine(snapshot: Snapshot) -> list[Finding]:
    """Every finding, the worst first; the same objects in the same order for the same snapshot."""
    found = [finding for check in CHECKS for finding in check(snapshot)]
    found += [
        Finding(
            "not-seen",
            "info",
            f"Kind {kind}",
            why,
            "What is wrong with its objects is not found.",
            "kuadrant.llm.gateway_doctor with credentials that may list it",
        )
        for kind, why in sorted(snapshot.unseen.items())
    ]
    return sorted(dict.fromkeys(found), key=lambda one: SEVERITIES.index(one.severity))


def result_of(findings: t.Sequence[Finding], snapshot: Snapshot) -> dict[str, t.Any]:
    """What M(kuadrant.llm.gateway_doctor) returns."""
    counts = {severity: sum(one.severity == severity for one in findings) for severity in SEVERITIES}
    said = ", ".join(f"{count} {severity}{'s' if count > 1 and severity != 'info' else ''}" for severity, count in counts.items() if count)
    return {
        "findings": [dataclasses.asdict(one) for one in findings],
        "counts": counts,
        "healthy": not counts["error"] and not counts["warning"],
        "probes": [
            {"name": one.name, "status": one.status, "expected": list(one.expected), "ok": one.status in one.expected}
            for one in snapshot.probes
        ],
        "summary": said or "nothing is wrong",
    }
