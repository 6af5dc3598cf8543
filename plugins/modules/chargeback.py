#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module chargeback."""

from __future__ import annotations

DOCUMENTATION = r"""
module: chargeback
short_description: Bill calls by user, group and tier over a period
version_added: 1.0.0
description:
  - Measures usage as M(kuadrant.llm.usage_info) does and prices each authorized call by its tier. Limited calls are shown and cost nothing.
  - Money is decimal and exact. Where the calls have a lower and an upper figure, so has the cost.
  - Calls without a tier are priced by their group, if that names exactly one of O(tiers). Calls without user and tier are shown as a line
    without a price.
  - Can write the bill as CSV and JSON. Files are replaced as a whole, and only when they change.
author:
  - The kuadrant.llm authors (@kuadrant)
extends_documentation_fragment:
  - kuadrant.llm._attributes
  - kuadrant.llm._usage.source
  - kuadrant.llm._usage
attributes:
  check_mode:
    support: full
    details:
      - Reads Prometheus, and writes no file.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - A period that ends now is another one on the next run. With O(start) and O(end) in the past, the second run changes nothing.
options:
  tiers:
    description:
      - The tiers with their prices, as in the collection-wide variable C(llm_gateway_tiers). Checked as a whole before anything is
        measured.
      - Every tier that was used needs a C(price.request). Write prices as strings, so that they stay decimal.
    type: list
    elements: dict
    required: true
  currency:
    description:
      - Currency of the prices, as an ISO 4217 code.
    type: str
    default: USD
  output_csv:
    description:
      - Write the lines to this file as CSV. Its folder must exist. Text that a spreadsheet would run as a formula gets an apostrophe in
        front.
    type: path
  output_json:
    description:
      - Write the whole report to this file as JSON. Its folder must exist.
    type: path
seealso:
  - module: kuadrant.llm.usage_info
"""

EXAMPLES = r"""
- name: Bill the last day
  kuadrant.llm.chargeback:
    prometheus_url: http://127.0.0.1:18001
    period: 24h
    tiers:
      - {name: free, requests: [{limit: 2, window: 2m}], price: {request: "0.001"}}
      - {name: premium, requests: [{limit: 10, window: 2m}], price: {request: "0.002"}}
  register: day

- name: Show the bill
  ansible.builtin.debug:
    var: day.table

- name: Bill November into files
  kuadrant.llm.chargeback:
    prometheus_url: http://127.0.0.1:18001
    start: "2026-11-01T00:00:00Z"
    end: "2026-12-01T00:00:00Z"
    tiers: "{{ llm_gateway_tiers }}"
    output_csv: /srv/reports/2026-11.csv
    output_json: /srv/reports/2026-11.json
"""

RETURN = r"""
start:
  description: Start of the period, in RFC 3339 and UTC.
  returned: success
  type: str
  sample: "2026-11-01T00:00:00Z"
end:
  description: End of the period, in RFC 3339 and UTC. With O(wait_for_scrape), the time of the scrape that was awaited.
  returned: success
  type: str
  sample: "2026-12-01T00:00:00Z"
currency:
  description: The currency of every price and cost.
  returned: success
  type: str
  sample: USD
family:
  description: The counters that were read, as in M(kuadrant.llm.usage_info).
  returned: success
  type: str
  sample: upstream
lines:
  description: The bill, one line per user, group and tier that made calls, sorted. Calls without a user come last, with C(user) V(null).
  returned: success
  type: list
  elements: dict
  contains:
    user:
      description: The user. V(null) where the calls carry none.
      type: str
      sample: alice
    group:
      description: The groups, separated by commas. V(null) where the calls carry none.
      type: str
      sample: free
    tier:
      description: The tier. V(null) where there is none.
      type: str
      sample: free
    authorized:
      description: Calls let through, at least.
      type: int
      sample: 2
    limited:
      description: Calls refused because a limit was reached, at least.
      type: int
      sample: 3
    authorized_upper:
      description: Calls let through, at most. V(null) where the samples prove no bound.
      type: int
      sample: 2
    limited_upper:
      description: Calls refused, at most. V(null) where the samples prove no bound.
      type: int
      sample: 3
    unit_price:
      description: Price of one authorized call, as a decimal string. V(null) for calls without a tier.
      type: str
      sample: "0.001"
    cost:
      description: C(authorized) times C(unit_price), as a decimal string, without rounding.
      type: str
      sample: "0.002"
    cost_upper:
      description: C(authorized_upper) times C(unit_price). V(null) where the samples prove no bound.
      type: str
      sample: "0.002"
    notes:
      description: Why upper and lower figures differ, or why there is no price.
      type: list
      elements: str
totals:
  description:
    - Sums of calls and costs. C(user), C(group) and C(tier) are lists with one entry each, C(overall) is the sum of all lines.
  returned: success
  type: dict
  sample:
    user: [{user: alice, authorized: 2, limited: 3, authorized_upper: 2, limited_upper: 3, cost: "0.002", cost_upper: "0.002"}]
    group: [{group: free, authorized: 2, limited: 3, authorized_upper: 2, limited_upper: 3, cost: "0.002", cost_upper: "0.002"}]
    tier: [{tier: free, authorized: 2, limited: 3, authorized_upper: 2, limited_upper: 3, cost: "0.002", cost_upper: "0.002"}]
    overall: {authorized: 2, limited: 3, authorized_upper: 2, limited_upper: 3, cost: "0.002", cost_upper: "0.002"}
tokens:
  description: Tokens by user and model, and what of the model servers' own count is unattributed, as in M(kuadrant.llm.usage_info).
  returned: success
  type: dict
table:
  description: The bill as lines of text for a screen.
  returned: success
  type: list
  elements: str
scrapes:
  description: One entry per limiter that Prometheus scraped, as in M(kuadrant.llm.usage_info).
  returned: success
  type: list
  elements: dict
data_quality:
  description: Whether all figures are exact (C(exact)), and what is to be known about the samples (C(notes)).
  returned: success
  type: dict
  sample: {exact: true, notes: []}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._report.bill import bill
from ansible_collections.kuadrant.llm.plugins.module_utils._report.export import to_csv, to_json
from ansible_collections.kuadrant.llm.plugins.module_utils._report.files import check_destination, write_text
from ansible_collections.kuadrant.llm.plugins.module_utils._report.report import chargeback_report, chargeback_table
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.model import parse_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import require_users, usage_lines
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.options import ARGUMENT_SPEC, MUTUALLY_EXCLUSIVE, REQUIRED_ONE_OF, measure

OUTPUTS = {"output_csv": to_csv, "output_json": to_json}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENT_SPEC,
            "tiers": {"type": "list", "elements": "dict", "required": True},
            "currency": {"type": "str", "default": "USD"},
            "output_csv": {"type": "path"},
            "output_json": {"type": "path"},
        },
        mutually_exclusive=MUTUALLY_EXCLUSIVE,
        required_one_of=REQUIRED_ONE_OF,
        supports_check_mode=True,
    )
    with reporting(module):
        tiers = parse_tiers(module.params["tiers"])
        wanted = {option: module.params[option] for option in OUTPUTS if module.params[option]}
        for option, path in wanted.items():
            check_destination(path, option)
        usage = measure(module)
        require_users(usage_lines(usage))
        report = chargeback_report(usage, bill(usage, tiers, module.params["currency"]))
        written = [write_text(module, path, OUTPUTS[option](report)) for option, path in wanted.items()]
        diffs = [diff for diff in written if diff is not None]
        module.exit_json(changed=bool(diffs), diff=diffs, table=chargeback_table(report), **report)


if __name__ == "__main__":
    main()
