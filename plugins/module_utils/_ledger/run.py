# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""From the options of module usage_ledger to closes."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, UnknownUsageError, failing_to
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.anchor import Anchor, check_anchor
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.close import UNCHANGED, Closing
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.options import Trust
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import Period, periods_due
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.seal import Head
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.signature import fingerprint
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.store import Ledger
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time, parse_duration, parse_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage, period_usage, unknown_usage
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.read import Question, parse_source, read_usage
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.targets import OBSERVER_LABELS

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus

# Of the corrections of one run, this many stand in its result; the ledger has them all.
SHOWN = 100


@dataclasses.dataclass(frozen=True)
class CloseRequest:
    """The options; times in milliseconds. ``delay``: how long after its end a period may be closed."""

    directory: str
    unit: str
    start: int | None
    end: int | None
    delay: int
    close_unscraped: bool
    source: Question
    trust: Trust = dataclasses.field(default_factory=Trust)


def parse_close_request(params: t.Mapping[str, t.Any], trust: Trust) -> CloseRequest:
    """Raises GatewayError naming the option."""
    if params["end"] is not None and params["start"] is None:
        raise GatewayError("end: needs a start. Without both, everything that is due since the last close is closed.")
    return CloseRequest(
        directory=params["ledger_dir"],
        unit=params["period"],
        start=None if params["start"] is None else parse_time(params["start"], "start"),
        end=None if params["end"] is None else parse_time(params["end"], "end"),
        delay=parse_duration(params["delay"], "delay"),
        close_unscraped=params["close_unscraped"],
        source=parse_source(params),
        trust=trust,
    )


def run(request: CloseRequest, prometheus: Prometheus, *, dry_run: bool) -> dict[str, t.Any]:
    """Close what is asked for. Gives the result of the module without ``diff``. Raises GatewayError, with what was closed before."""
    ledger, trust = Ledger(request.directory), request.trust
    closing: Closing | None = None
    noted: list[tuple[Anchor, Head | None]] = []
    signs = False
    # In check mode nothing is made, not even the lock.
    only_writer: contextlib.AbstractContextManager[list[str]] = contextlib.nullcontext([]) if dry_run else ledger.writing()
    with only_writer as unfinished:
        try:
            with failing_to(f"close periods in {request.directory}"):
                noted = [(anchor, check_anchor(ledger, ledger.entries(), anchor)) for anchor in trust.anchors]
                closing = Closing(ledger, _measure(request, prometheus), _source(request.source), dry_run=dry_run, signer=trust.signer)
                signs = closing.sign_head(trust)
                closing.close(periods_due(closing.periods, request.unit, prometheus.now_ms() - request.delay, request.start, request.end))
        except GatewayError as exc:
            done = _result(closing) if closing is not None else {}
            raise GatewayError(exc.message, **exc.details, **done) from exc
        finally:
            # What was closed before an error stays closed.
            if closing is not None and not dry_run:
                for anchor, head in noted:
                    if closing.head != head:
                        anchor.write(closing.head)
    notes = [f"{path} was left behind by a run that was killed, and removed; its period was not closed then." for path in unfinished]
    result = _result(closing)
    notes += closing.issued()
    anchored = any(closing.head != head for _anchor, head in noted)
    return {
        **result,
        "changed": result["changed"] or anchored or signs,
        "signed_by": None if trust.signer is None else fingerprint(trust.signer.public),
        "notes": notes,
    }


def _measure(request: CloseRequest, prometheus: Prometheus) -> t.Callable[[Period], PeriodUsage]:
    def measure(period: Period) -> PeriodUsage:
        question = dataclasses.replace(request.source, start=period.start, end=period.end)
        try:
            return period_usage(read_usage(prometheus, question))
        except UnknownUsageError as exc:
            if not request.close_unscraped:
                raise UnknownUsageError(
                    f"{period}: {exc.message} If nothing was scraped in it and never will be, close_unscraped closes it as unknown.",
                    **exc.details,
                ) from exc
            note = f"no limiter was scraped from {format_time(period.start)} to {format_time(period.end)}; what was used then is unknown"
            return unknown_usage(period.start, period.end, note)

    return measure


def _source(question: Question) -> dict[str, t.Any]:
    return {
        "limitador_namespace": list(question.namespaces),
        "match_labels": dict(question.match_labels),
        "model_server_labels": dict(question.model_server_labels),
        "family": question.family,
        # Only where it is not the usual one, so that files of before can be made again to the byte.
        **({} if question.observers == OBSERVER_LABELS else {"observer_labels": sorted(question.observers)}),
    }


def _result(closing: Closing) -> dict[str, t.Any]:
    corrections = [record for outcome in closing.outcomes for record in outcome.corrections]
    return {
        "changed": any(outcome.action != UNCHANGED for outcome in closing.outcomes),
        "closes": [outcome.as_dict() for outcome in closing.outcomes],
        "corrected_lines": len(corrections),
        "corrections": corrections[:SHOWN],
        "head": {"seq": closing.head.seq, "sha256": closing.head.sha256},
    }
