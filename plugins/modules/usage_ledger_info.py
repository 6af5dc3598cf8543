#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module usage_ledger_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: usage_ledger_info
short_description: List and verify the closes of a usage ledger
version_added: 1.0.0
description:
  - Lists which hours and days a ledger of M(kuadrant.llm.usage_ledger) has closed, and what is missing between them.
  - Can check every byte of it. Fails naming file and line of the first one that is not as it was written.
  - Needs neither Prometheus nor, without O(ledger_anchor_configmap), a cluster.
author:
  - The kuadrant.llm authors (@kuadrant)
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
  - kuadrant.llm._ledger
  - kuadrant.llm._attributes.info_module
options:
  ledger_dir:
    description:
      - Folder of the ledger.
    type: path
    required: true
  verify:
    description:
      - Whether to check every line against its hash and the line before it, every total against its lines, and every correction against
        the line that it names, every step of a bill against those before it, and every signature. Reads the whole ledger.
        C(signatures) in RV(verified) names who signed.
    type: bool
    default: false
  expected_head:
    description:
      - The hash of a head that an earlier close returned and that was kept elsewhere. A chain cannot tell by itself that its last files
        were removed; with this it can. Implies O(verify).
    type: str
seealso:
  - module: kuadrant.llm.usage_ledger
"""

EXAMPLES = r"""
- name: Which days are closed?
  kuadrant.llm.usage_ledger_info:
    ledger_dir: /srv/llm-ledger
  register: ledger

- name: Check every byte, and that finance signed its end
  kuadrant.llm.usage_ledger_info:
    ledger_dir: /srv/llm-ledger
    verify: true
    ledger_signers:
      finance: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2zVHWXuOsLLbLKLh5GHKqL2kB8VAJf3xX0Gv5n2c4M

- name: Check that the ledger still leads to the head that was noted
  kuadrant.llm.usage_ledger_info:
    ledger_dir: /srv/llm-ledger
    expected_head: "{{ ledger.head.sha256 }}"
"""

RETURN = r"""
closes:
  description: Every close and every correction, in the order in which they were added.
  returned: success
  type: list
  elements: dict
  sample:
    - unit: day
      start: "2026-11-24T00:00:00Z"
      end: "2026-11-25T00:00:00Z"
      correction: false
      file: 2026-11/000024_2026-11-24_day.jsonl
bills:
  description: Every step of a bill that M(kuadrant.llm.usage_ledger_bill) recorded, in the order in which they were added.
  returned: success
  type: list
  elements: dict
  sample:
    - start: "2026-11-01T00:00:00Z"
      end: "2026-12-01T00:00:00Z"
      step: issued
      by: carol
      at: "2026-12-03T09:12:44Z"
      note: ""
      invoice: LLM-2026-11
      documents: {chargeback.csv: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
      carries: []
      file: 2026-11/000033_2026-11-01T00_2026-12-01T00_bill.jsonl
missing:
  description: Times between the first and the last close that no close covers, as C(start) and C(end).
  returned: success
  type: list
  elements: dict
  sample: []
head:
  description: Sequence number and hash of the last line.
  returned: success
  type: dict
  sample: {seq: 168, sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
verified:
  description:
    - How many files and lines were checked. V(null) without O(verify).
    - C(signatures) has an entry for each key that signed, with C(signer), its name in O(ledger_signers), V(null) if it is not known, the
      fingerprint of its C(key), how many heads it C(signed), and the last of them. A signature vouches for all lines up to it.
    - C(unsigned) is how many files follow after the last one that is signed.
  returned: success
  type: dict
  sample:
    files: 24
    lines: 168
    signatures:
      - signer: finance
        key: SHA256:Yn8kkmDo4pN8hTmoJmkr1PPqpDQEhLYgKtvHCwH0ksY
        signed: 24
        seq: 168
        file: 2026-11/000024_2026-11-24_day.jsonl
    unsigned: 0
unfinished:
  description: Files that a killed run left behind. They are no part of the ledger, and the next close removes them.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, failing_to, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.anchor import require_anchor
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.bills import read_steps
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.check import verify
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.options import REQUIRED_BY, TRUST_SPEC, parse_trust
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import unclosed
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.signature import require_signature
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.store import Ledger
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(
            **TRUST_SPEC,
            ledger_dir={"type": "path", "required": True},
            verify={"type": "bool", "default": False},
            expected_head={"type": "str"},
        ),
        required_by={name: REQUIRED_BY[name] for name in REQUIRED_BY if name in TRUST_SPEC},
        supports_check_mode=True,
    )
    ledger = Ledger(module.params["ledger_dir"])
    with reporting(module), failing_to("read the ledger"):
        trust = parse_trust(module)
        if not os.path.isdir(ledger.directory):
            raise GatewayError(f"ledger_dir: {ledger.directory} is no folder. Module usage_ledger makes it with the first close.")
        entries = ledger.entries()
        require_anchor(ledger, entries, trust.anchors)
        require_signature(ledger, entries, trust.signers)
        whole = module.params["verify"] or module.params["expected_head"]
        checked = verify(ledger, module.params["expected_head"], trust.signers) if whole else None
        head = ledger.head(entries) if checked is None else checked.head
        closed = [entry.period for entry in entries if entry.closes]
        module.exit_json(
            changed=False,
            closes=[
                {
                    "unit": entry.period.unit,
                    "start": format_time(entry.period.start),
                    "end": format_time(entry.period.end),
                    "correction": entry.correction,
                    "file": entry.path,
                }
                for entry in entries
                if entry.counts
            ],
            bills=[
                {"start": format_time(one.period.start), "end": format_time(one.period.end), **one.as_dict(), "file": one.entry.path}
                for one in read_steps(ledger, entries)
            ],
            missing=[{"start": format_time(start), "end": format_time(end)} for start, end in unclosed(closed)],
            head={"seq": head.seq, "sha256": head.sha256},
            verified=None if checked is None else checked.as_dict(),
            unfinished=ledger.unfinished(),
        )


if __name__ == "__main__":
    main()
