#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module usage_ledger."""

from __future__ import annotations

DOCUMENTATION = r"""
module: usage_ledger
short_description: Close hours and days of usage in an append-only ledger
version_added: 1.0.0
description:
  - Measures usage as M(kuadrant.llm.usage_info) does and adds it to a ledger, a folder of files in which every line is chained to the one
    before by its hash. Files are never written again, so a bill made from a ledger can be made again after Prometheus has forgotten.
  - Without O(start), closes everything that is over since the last close. Every moment is closed once, as part of an hour or of a day.
  - A period that is closed already is measured again. If nothing differs, nothing is written. Late samples become correction lines, each
    with the line that it corrects, the difference, and what the figure was and is.
  - Fails without writing anything for a period of which Prometheus has fewer samples than when it was closed.
author:
  - The kuadrant.llm authors (@kuadrant)
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
  - kuadrant.llm._ledger
  - kuadrant.llm._ledger.signing
  - kuadrant.llm._usage.source
attributes:
  check_mode:
    support: full
    details:
      - Measures, and tells which files would be added and which head the ledger would have.
  diff_mode:
    support: full
    details:
      - Shows the files that are added, with their numbers of lines, and the head.
  idempotent:
    support: full
options:
  ledger_dir:
    description:
      - Folder of the ledger. Created if it is missing, except for its parent folders' permissions, which are the system's.
      - One run writes at a time; another one fails and says so.
    type: path
    required: true
  period:
    description:
      - Whether to close whole hours or whole days, in UTC. Where hours of a day are closed already, its other hours are closed as hours.
    type: str
    choices: [hour, day]
    default: day
  start:
    description:
      - Start of the first period to close, in RFC 3339 with an offset, at the start of an hour or a day in UTC.
      - Not given means the end of the last close. Of an empty ledger, that is the last whole O(period) that is over.
    type: str
  end:
    description:
      - End of the last period to close. Not given means everything that is over. Needs O(start).
    type: str
  delay:
    description:
      - How long a period has to be over before it may be closed, so that its last samples have arrived.
    type: str
    default: 5m
  close_unscraped:
    description:
      - Whether to close a period in which no limiter was scraped, as unknown, not as zero. Calls that are counted until the next scrape
        are in the period of that scrape.
      - V(false) fails instead, so that a person looks.
    type: bool
    default: false
seealso:
  - module: kuadrant.llm.usage_ledger_info
  - module: kuadrant.llm.chargeback
"""

EXAMPLES = r"""
- name: Close every day that is over since the last close
  kuadrant.llm.usage_ledger:
    prometheus_url: http://127.0.0.1:18001
    ledger_dir: /srv/llm-ledger
  register: closed

- name: Keep the head elsewhere, so that a shortened ledger is noticed
  ansible.builtin.debug:
    var: closed.head

- name: Measure two closed days again, for samples that came late
  kuadrant.llm.usage_ledger:
    prometheus_url: http://127.0.0.1:18001
    ledger_dir: /srv/llm-ledger
    start: "2026-11-01T00:00:00Z"
    end: "2026-11-03T00:00:00Z"

- name: Close, sign the head, and note it in the cluster
  kuadrant.llm.usage_ledger:
    prometheus_url: http://127.0.0.1:18001
    ledger_dir: /srv/llm-ledger
    ledger_signing_key: /etc/llm-ledger/signing-key.pem
    ledger_anchor_configmap: llm-ledger-head
    ledger_anchor_namespace: llm-finance

- name: Close hours
  kuadrant.llm.usage_ledger:
    prometheus_url: http://127.0.0.1:18001
    ledger_dir: /srv/llm-ledger-hourly
    period: hour
"""

RETURN = r"""
closes:
  description: What became of each period, in order.
  returned: always
  type: list
  elements: dict
  contains:
    unit:
      description: V(hour) or V(day).
      type: str
    start:
      description: Start of the period.
      type: str
    end:
      description: End of the period.
      type: str
    action:
      description: V(closed), V(corrected), or V(unchanged) if it was closed and nothing differs.
      type: str
    file:
      description: The file that was added, relative to O(ledger_dir). V(null) if nothing was.
      type: str
    lines:
      description: Its lines after the header, one per user, model and meter.
      type: int
  sample:
    - unit: day
      start: "2026-11-24T00:00:00Z"
      end: "2026-11-25T00:00:00Z"
      action: closed
      file: 2026-11/000024_2026-11-24_day.jsonl
      lines: 6
corrected_lines:
  description: How many lines were corrected.
  returned: always
  type: int
  sample: 0
corrections:
  description: The first hundred correction lines.
  returned: always
  type: list
  elements: dict
  sample: []
head:
  description: Sequence number and hash of the last line. The hash fixes everything before it.
  returned: always
  type: dict
  sample: {seq: 168, sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
signed_by:
  description: Fingerprint of the key that heads were signed with. V(null) without O(ledger_signing_key).
  returned: success
  type: str
  sample: SHA256:Yn8kkmDo4pN8hTmoJmkr1PPqpDQEhLYgKtvHCwH0ksY
notes:
  description: What else happened, such as the removal of what a killed run left behind.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.options import REQUIRED_BY, SIGNING_SPEC, TRUST_SPEC, parse_trust
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.run import parse_close_request, run
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.options import SOURCE_SPEC, connect_prometheus, pass_on_warnings


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(
            **SOURCE_SPEC,
            **TRUST_SPEC,
            **SIGNING_SPEC,
            ledger_dir={"type": "path", "required": True},
            period={"type": "str", "choices": ["hour", "day"], "default": "day"},
            start={"type": "str"},
            end={"type": "str"},
            delay={"type": "str", "default": "5m"},
            close_unscraped={"type": "bool", "default": False},
        ),
        required_by=REQUIRED_BY,
        supports_check_mode=True,
    )
    with reporting(module):
        request = parse_close_request(module.params, parse_trust(module))
        prometheus = connect_prometheus(module)
        result = run(request, prometheus, dry_run=module.check_mode)
        pass_on_warnings(module, prometheus)
        added = {close["file"]: f"{close['lines']} lines" for close in result["closes"] if close["file"]}
        diff = {"before": {}, "after": {**added, "head": result["head"]} if added else {}}
        module.exit_json(**result, diff=diff)


if __name__ == "__main__":
    main()
