# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""From the options of module usage_ledger_bill to a step in the ledger."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, failing_to
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger import seal
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.anchor import check_anchor
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.bills import BillStep, latest, plan_step, read_steps
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.chain import check_links
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.options import Trust
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import BILL, HOUR, LENGTHS, Period
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.store import Ledger
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time, parse_time


@dataclasses.dataclass(frozen=True)
class StepRequest:
    """The options. ``now`` in milliseconds since the epoch."""

    directory: str
    step: BillStep
    same_person: bool
    trust: Trust


def parse_step_request(params: t.Mapping[str, t.Any], trust: Trust, now: int) -> StepRequest:
    """Raises GatewayError naming the option."""
    start, end = (parse_time(params[name], name) for name in ("start", "end"))
    for name, moment in (("start", start), ("end", end)):
        if moment % LENGTHS[HOUR]:
            raise GatewayError(f"{name}: {format_time(moment)} is not the start of an hour in UTC, and closes are of whole hours.")
    if start >= end:
        raise GatewayError(f"start: {format_time(start)} is not before the end, {format_time(end)}.")
    if not params["by"].strip():
        raise GatewayError("by: is empty. Give the person who takes the step.")
    documents: dict[str, str] = {}
    for path in params["documents"]:
        name = os.path.basename(path)
        if name in documents:
            raise GatewayError(f"documents: two are called {name}, and they are told apart by their names.")
        try:
            with open(path, "rb") as stream:
                documents[name] = hashlib.sha256(stream.read()).hexdigest()
        except OSError as exc:
            raise GatewayError(f"documents: cannot read {path}: {exc.strerror}.") from exc
    at = format_time(now - now % 1000)
    step = BillStep(0, Period(start, BILL, end), params["step"], params["by"].strip(), at, params["note"], params["invoice"], documents)
    return StepRequest(params["ledger_dir"], step, params["same_person"], trust)


def record_step(request: StepRequest, *, dry_run: bool) -> dict[str, t.Any]:
    """Add the step, if the ledger does not have it. Gives the result of the module without ``diff``."""
    ledger, trust = Ledger(request.directory), request.trust
    only_writer: contextlib.AbstractContextManager[t.Any] = contextlib.nullcontext() if dry_run else ledger.writing()
    if not os.path.isdir(request.directory):
        raise GatewayError(f"ledger_dir: {request.directory} is no folder. Module usage_ledger makes it with the first close.")
    with only_writer, failing_to(f"record that the bill is {request.step.step}"):
        entries = ledger.entries()
        noted = [(anchor, check_anchor(ledger, entries, anchor)) for anchor in trust.anchors]
        head = ledger.head(entries)
        check_links(ledger, entries, request.step.period.start, request.step.period.end)
        steps = read_steps(ledger, entries)
        planned = plan_step(entries, steps, request.step, same_person=request.same_person)
        signs = trust.sign_head(ledger, entries, head, dry_run=dry_run)
        if planned is not None:
            content, head = seal.seal_all([planned.as_record()], head)
            if not dry_run:
                ledger.append(planned.entry, content, None if trust.signer is None else trust.signer.sign(head))
        anchored = [anchor for anchor, before in noted if before != head]
        if not dry_run:
            for anchor in anchored:
                anchor.write(head)
        period = request.step.period
        told = planned or latest(steps, period.start, period.end)
        return {
            "changed": planned is not None or signs or bool(anchored),
            "step": None if told is None else told.as_dict(),
            "file": None if planned is None else planned.entry.path,
            "head": {"seq": head.seq, "sha256": head.sha256},
        }
