# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is PRIVATE to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    """The options of every module that measures usage; the argument spec is in module_utils/_usage/options.py.

    Section source says where the counters are, the main one which period to measure.
    """

    SOURCE = r"""
requirements:
  - requests
options:
  prometheus_url:
    description:
      - Address of Prometheus, or of anything that speaks its query API, before C(/api/v1).
    type: str
    required: true
  prometheus_token:
    description:
      - Bearer token for Prometheus.
    type: str
  prometheus_ca_cert:
    description:
      - File with the certificates of the authorities to trust. Not given means those of the system's Python.
    type: path
  prometheus_validate_certs:
    description:
      - Whether to check the certificate of Prometheus.
    type: bool
    default: true
  prometheus_timeout:
    description:
      - Seconds that one query may take.
    type: int
    default: 60
  limitador_namespace:
    description:
      - Count only calls of these Limitador namespaces, which Kuadrant names C(<namespace>/<HTTPRoute>). None given means all.
    type: list
    elements: str
    default: []
  match_labels:
    description:
      - Count only series that carry these labels, such as C(job) or C(cluster), for a Prometheus that sees several gateways.
    type: dict
    default: {}
  model_server_labels:
    description:
      - Labels of the model servers behind the gateway, such as C(job), for a Prometheus that sees others as well. What they count
        (C(vllm:prompt_tokens_total), C(vllm:generation_tokens_total)) is the sum that the tokens of all users are held against.
    type: dict
    default: {}
  observer_labels:
    description:
      - Labels by which replicas of Prometheus, its agents or its receivers tell their samples apart. Targets that differ in none but these,
        and in labels of the scrape job, are one limiter or model server that is scraped more than once, and count once.
      - Targets that differ in another label and show the same figures at the same times are an error that names the label.
    type: list
    elements: str
    default: [prometheus, prometheus_replica, prometheus_pod, replica, receive, receive_replica, thanos_replica, vm_replica]
  family:
    description:
      - Which of Limitador's counters to read.
      - V(upstream) is C(authorized_calls) and C(limited_calls), with user, group and tier labels from the custom Limitador or a
        TelemetryPolicy.
      - V(user_and_group) is C(authorized_calls_with_user_and_group) and C(limited_calls_with_user_and_group) of the fork that came before.
      - V(auto) takes the first of the two that carries users. They hold the same calls and are never added up.
    type: str
    choices: [auto, upstream, user_and_group]
    default: auto
"""

    DOCUMENTATION = r"""
notes:
  - A call belongs to the period in which Prometheus first saw it, which is up to one scrape interval after the call.
    Periods that follow one another share no call and lose none. Use O(wait_for_scrape) for a report right after traffic.
  - Where the samples decide, the figures are exact. Where they do not (a limiter that restarted and lost its counters, one that is no
    longer scraped, a first scrape that already shows calls), the lower and the upper figure differ and a note says why. An upper figure of
    V(null) means that the samples prove no upper bound.
  - A limiter that loses its counters between two scrapes, and counts past all their old values before the second one, looks like one that
    did not. The custom Limitador of this collection keeps its counters when it is restarted, and says since when it counts, which decides.
    Without that, upper figures are V(null) unless so many users stood still between any two scrapes that chance is ruled out (19 of 19,
    46 of 60, 462 of 1000).
  - A limiter that is scraped twice (two monitors, a pair of Prometheus servers) is counted once, and a note says so. A call belongs to the
    period in which it was first seen, whoever saw it.
  - A limiter or model server that a Service, a virtual address or a proxy puts in front of several, so that each scrape meets another one,
    is an error that names the address. Scrape each of them by itself.
  - A period that begins before all samples of Prometheus is an error if older ones may have been thrown away. If not, it has no upper
    figures, unless every limiter says that it began to count later. A O(limitador_namespace) that no counter has, although others do, is
    an error too.
options:
  start:
    description:
      - Start of the period, in RFC 3339 with an offset, such as V(2026-11-01T00:00:00Z). The calls counted by the last scrape at or
        before it are not in.
      - Exactly one of O(start) and O(period) is needed.
    type: str
  end:
    description:
      - End of the period, in RFC 3339 with an offset. Not given means now, by the clock of Prometheus.
    type: str
  period:
    description:
      - Length of the period up to O(end), such as V(24h), V(7d) or V(1h30m). A day is 24 hours.
      - Or a month or day of the calendar, in UTC, such as V(2026-11) or V(2026-11-30). It must be over.
    type: str
  wait_for_scrape:
    description:
      - Seconds to wait until Prometheus has scraped every limiter once more after O(end).
      - The period then ends with that scrape, so that every call made before O(end) is in it. RV(end) tells its time; a report that goes on
        from here starts there.
      - V(0) does not wait.
    type: int
    default: 0
"""
