#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_load_report
short_description: Internal to this collection, report what a load test was answered and billed
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the playbook C(kuadrant.llm.load_test). Options and results can change at any time.
  - Reads the calls of M(kuadrant.llm.gateway_load), holds them against the limits of their tiers and the bill, and writes a report.
extends_documentation_fragment:
  - kuadrant.llm._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  requests_file:
    description: The file with the calls.
    type: path
    required: true
  tiers:
    description: The tiers of the users, as in C(llm_gateway_tiers).
    type: list
    elements: dict
    required: true
  bill:
    description: The users of the bill, C(totals.user) of M(kuadrant.llm.chargeback). Other users are left out.
    type: list
    elements: dict
    default: []
  currency:
    description: The currency of the bill.
    type: str
    required: true
  title:
    description: What was tried.
    type: str
    default: Load test
  output_json:
    description: Write the report to this file as JSON. Its folder must exist.
    type: path
  output_html:
    description: Write the report to this file as one HTML page. Its folder must exist.
    type: path
"""

EXAMPLES = r"""
- name: Report the calls
  kuadrant.llm.gateway_load_report:
    requests_file: /tmp/load/requests.jsonl
    tiers: "{{ llm_gateway_tiers }}"
    currency: USD
    output_html: /tmp/load/load.html
"""

RETURN = r"""
report:
  description:
    - C(seconds), C(requests), C(requests_per_second), C(statuses), C(latency) and C(first_token) (seconds by percentile), C(tokens) of
      all calls, the same in C(tiers), C(users) with what was C(sent), C(expected), C(admitted) and C(billed) of each, and their C(bill).
  returned: success
  type: dict
table:
  description: The same by tier, for a terminal.
  returned: success
  type: list
  elements: dict
problems:
  description: What was not as expected, in sentences.
  returned: success
  type: list
  elements: str
"""

import json

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import parse_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._load.figures import load_report, problems_of, read_calls, table_of
from ansible_collections.kuadrant.llm.plugins.module_utils._load.page import load_page
from ansible_collections.kuadrant.llm.plugins.module_utils._report.files import check_destination, write_text

ARGUMENT_SPEC = {
    "requests_file": {"type": "path", "required": True},
    "tiers": {"type": "list", "elements": "dict", "required": True},
    "bill": {"type": "list", "elements": "dict", "default": []},
    "currency": {"type": "str", "required": True},
    "title": {"type": "str", "default": "Load test"},
    "output_json": {"type": "path"},
    "output_html": {"type": "path"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    with reporting(module):
        params = module.params
        for option in ("output_json", "output_html"):
            if params[option]:
                check_destination(params[option], option, predicting=module.check_mode)
        try:
            with open(params["requests_file"], encoding="utf-8") as file:
                calls = read_calls(file)
        except OSError as exc:
            raise GatewayError(f"requests_file: {params['requests_file']} cannot be read: {exc.strerror}.") from exc
        report = load_report(calls, parse_tiers(params["tiers"]), params["bill"], params["currency"])
        problems = problems_of(report)
        texts = {
            "output_json": json.dumps({"title": params["title"], **report, "problems": problems}, indent=2) + "\n",
            "output_html": load_page(report, problems, params["title"]),
        }
        written = [write_text(module, params[option], text) for option, text in texts.items() if params[option]]
        diffs = [diff for diff in written if diff]
        module.exit_json(changed=bool(diffs), diff=diffs, report=report, table=table_of(report), problems=problems)


if __name__ == "__main__":
    main()
