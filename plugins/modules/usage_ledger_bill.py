#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module usage_ledger_bill."""

from __future__ import annotations

DOCUMENTATION = r"""
module: usage_ledger_bill
short_description: Record in a ledger that a bill was drafted, reviewed or issued
version_added: 1.0.0
description:
  - Adds a step of a bill to a ledger of M(kuadrant.llm.usage_ledger), with who took it and when, chained to what is before it.
  - The steps are V(draft), V(reviewed) and V(issued), in this order. The person who reviews is another one than the one who drafted.
  - What a step says of its period is what the closes said then. If one of them was corrected since the draft, the bill has to be drafted
    again.
  - An issued period never changes. M(kuadrant.llm.chargeback) makes its bill from the closes as they were, and later corrections are
    carried by the next bill that is drafted, as lines that refer to it.
author:
  - The kuadrant.llm authors (@kuadrant)
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
  - kuadrant.llm._ledger
  - kuadrant.llm._ledger.signing
attributes:
  check_mode:
    support: full
    details:
      - Tells whether the step would be recorded.
  diff_mode:
    support: full
    details:
      - Shows the step that is recorded.
  idempotent:
    support: full
    details:
      - A step that is recorded already, by the same person with the same documents, is not recorded again.
options:
  ledger_dir:
    description:
      - Folder of the ledger.
    type: path
    required: true
  start:
    description:
      - Start of the bill, in RFC 3339 with an offset, at the start of an hour in UTC.
    type: str
    required: true
  end:
    description:
      - End of the bill. Closes have to cover the time in between.
    type: str
    required: true
  step:
    description:
      - What was done.
    type: str
    choices: [draft, reviewed, issued]
    required: true
  by:
    description:
      - The person who did it. It is recorded as given; who may run this module is a matter of the system and of O(ledger_signing_key).
    type: str
    required: true
  note:
    description:
      - What else to record.
    type: str
    default: ""
  invoice:
    description:
      - Number of the invoice. Not given with V(reviewed) and V(issued) means that of the draft.
    type: str
  documents:
    description:
      - Files of the bill. Their names and SHA-256 are recorded. None given means those of the draft that is there, if it still stands.
      - Those of V(reviewed) and V(issued), if any are given, have to be those of the draft.
    type: list
    elements: path
    default: []
  same_person:
    description:
      - Whether one person may draft and review.
    type: bool
    default: false
seealso:
  - module: kuadrant.llm.usage_ledger
  - module: kuadrant.llm.usage_ledger_info
  - module: kuadrant.llm.chargeback
"""

EXAMPLES = r"""
- name: Draft the bill of November
  kuadrant.llm.usage_ledger_bill:
    ledger_dir: /srv/llm-ledger
    start: "2026-11-01T00:00:00Z"
    end: "2026-12-01T00:00:00Z"
    step: draft
    by: ann
    invoice: LLM-2026-11
    documents: [/srv/bills/2026-11.csv, /srv/bills/2026-11.html]

- name: Review the bill of November
  kuadrant.llm.usage_ledger_bill:
    ledger_dir: /srv/llm-ledger
    start: "2026-11-01T00:00:00Z"
    end: "2026-12-01T00:00:00Z"
    step: reviewed
    by: bob
    documents: [/srv/bills/2026-11.csv, /srv/bills/2026-11.html]

- name: Issue the bill of November
  kuadrant.llm.usage_ledger_bill:
    ledger_dir: /srv/llm-ledger
    start: "2026-11-01T00:00:00Z"
    end: "2026-12-01T00:00:00Z"
    step: issued
    by: carol
"""

RETURN = r"""
step:
  description:
    - The step as it was recorded, or the last one of this bill if nothing was. C(documents) are SHA-256 by name, C(carries) are the numbers
      of the corrections of periods issued before that this bill has.
  returned: success
  type: dict
  sample:
    step: reviewed
    by: bob
    at: "2026-12-02T10:00:00Z"
    note: ""
    invoice: LLM-2026-11
    documents: {2026-11.csv: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
    carries: []
file:
  description: The file that was added, relative to O(ledger_dir). V(null) if the step was recorded already.
  returned: success
  type: str
  sample: 2026-11/000032_2026-11-01T00_2026-12-01T00_bill.jsonl
head:
  description: Sequence number and hash of the last line.
  returned: success
  type: dict
  sample: {seq: 168, sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.options import REQUIRED_BY, SIGNING_SPEC, TRUST_SPEC, parse_trust
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.record_step import parse_step_request, record_step


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(
            **TRUST_SPEC,
            **SIGNING_SPEC,
            ledger_dir={"type": "path", "required": True},
            start={"type": "str", "required": True},
            end={"type": "str", "required": True},
            step={"type": "str", "required": True, "choices": ["draft", "reviewed", "issued"]},
            by={"type": "str", "required": True},
            note={"type": "str", "default": ""},
            invoice={"type": "str"},
            documents={"type": "list", "elements": "path", "default": []},
            same_person={"type": "bool", "default": False},
        ),
        required_by=REQUIRED_BY,
        supports_check_mode=True,
    )
    with reporting(module):
        request = parse_step_request(module.params, parse_trust(module), int(time.time() * 1000))
        result = record_step(request, dry_run=module.check_mode)
        diff = {"before": {}, "after": {result["file"]: result["step"]} if result["file"] else {}}
        module.exit_json(**result, diff=diff)


if __name__ == "__main__":
    main()
