#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module chargeback."""

from __future__ import annotations

DOCUMENTATION = r"""
module: chargeback
short_description: Bill requests and tokens by user, group, tier and model over a period
version_added: 1.0.0
description:
  - Measures usage as M(kuadrant.llm.usage_info) does, or takes it from a ledger, and prices it by a price book or by the prices of the
    tiers.
  - Money is decimal and exact. Where the usage has a lower and an upper figure, so has the cost.
  - Every line tells the quantity, what of it was included, the unit price, the entry of the price book that it comes from, the time
    for which
    that entry holds, and what is to be known about the figures.
  - Usage that should have a price and has none, or one that two entries claim, is a line without a cost and a warning, unless
    O(require_prices). Usage without user and tier is
    shown as
    a line without a price.
  - Usage without a tier is priced by its group, if that names exactly one of O(tiers).
  - Can write the bill as CSV, JSON, FOCUS 1.2, as one HTML page with plots and as PDF. Files are replaced as a whole, and only when they
    change.
  - Can be the bill of one team (O(only)), and be split into those of all teams (O(split_by)).
author:
  - The kuadrant.llm authors (@kuadrant)
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
  - kuadrant.llm._ledger
  - kuadrant.llm._usage.source
  - kuadrant.llm._usage
requirements:
  - pygal >= 3.0, for pages and PDF
  - weasyprint >= 62, for PDF, with the library Pango of the system
  - babel >= 2.12, for O(locale)
attributes:
  check_mode:
    support: full
    details:
      - Reads usage, and writes no file. A folder that is missing is taken for what an earlier step would have created.
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
      - Without O(price_book), every tier that was used needs a C(price.request). Write prices as strings, so that they stay decimal.
      - With O(price_book), only their names are used.
      - At least one of O(tiers) and O(price_book) is needed.
    type: list
    elements: dict
  currency:
    description:
      - Currency of the prices of O(tiers), as an ISO 4217 code. A price book has its own.
    type: str
    default: USD
  price_book:
    description:
      - Prices with effective dates, as in the collection-wide variable C(llm_gateway_price_book).
      - A price that changes within the period is no problem. What was used before the change is measured by itself and keeps the old price.
    type: dict
    suboptions: &price_book
      currency:
        description: Currency of all prices, as an ISO 4217 code.
        type: str
        required: true
      fee_proration:
        description:
          - How every C(monthly_fee) is due. V(second), by the seconds of membership. V(month), in full as soon as a membership begins, and
            where a dearer one follows in the same month, the difference.
          - A membership begins with the day, in UTC, on which the first use of the month was seen, and lasts until the month ends, or until
            a day on which the user was only seen under other fees, or under none. A day under several fees belongs to the dearest.
          - Under both rules the bills of days add up to the bill of the month. Every day of the month is looked at for that, also if the
            period begins later.
        type: str
        choices: [second, month]
        default: second
      entries:
        description:
          - Each entry prices something for one user, group, tier or model, or for all. Of the entries that fit, the one that names the user
            applies, else one that names the group, else the tier, else the model. An entry may name several of them.
          - Of entries for the same scope, a later C(valid_from) takes over for what it prices.
        type: list
        elements: dict
        required: true
        suboptions:
          name:
            description: Name of the entry, by which the bill refers to it. No other entry may have it.
            type: str
            required: true
          user:
            description: The entry is only for this user.
            type: str
          group:
            description: The entry is only for users in this group.
            type: str
          tier:
            description: The entry is only for this tier.
            type: str
          model:
            description: The entry is only for tokens of this model. Requests are not counted by model.
            type: str
          valid_from:
            description: >-
              From when on the entry applies, a date such as V(2026-11-01), which begins in UTC, or a time in RFC 3339. By default
              always.
            type: str
          valid_until:
            description: Until when it applies. By default until another entry for the same scope takes over.
            type: str
          price:
            description:
              - Prices as decimal numbers, written as text. The fields are C(request), C(limited_request), C(unmetered_request),
                C(prompt_per_1k), C(completion_per_1k), C(cached_per_1k) and C(unsplit_per_1k), for the latter four also with C(_per_1m).
              - Tokens of which only the sum is known cost C(unsplit_per_1k), or else the higher of the prices of prompt and completion
                tokens.
            type: dict
          monthly_fee:
            description: >-
              Fixed fee a calendar month, written as text, for each who used something, and for whom the entry names. See C(fee_proration).
            type: str
          per:
            description: Who pays the monthly fee once, and who shares what is included.
            type: str
            choices: [user, group, tier]
            default: user
          included:
            description:
              - Units a calendar month, in UTC, that are free before the price applies, by meter. Meters are V(requests),
                V(limited_requests),
                V(unmetered_requests), V(prompt_tokens), V(completion_tokens), V(cached_tokens) and V(unsplit_tokens).
              - What was used earlier in the month counts. It is measured as well where the period begins in the middle of a month.
            type: dict
          volume:
            description:
              - Prices for what is used above so many units a calendar month, in UTC, by meter. What is below keeps the price before.
                Each entry of a list has C(above), units a month, what is included counted, and C(price), for as many units as the meter's
                own price.
              - Units count for whom C(per) names, as for C(included).
            type: dict
  what_if_price_book:
    description:
      - Another price book. The result shows what the same usage would cost under it, and the difference for every user. Nothing else
        changes.
    type: dict
    suboptions: *price_book
  require_prices:
    description:
      - Whether usage without a price, where the price book sells such usage, is an error. By default it is a line without a cost, with a
        warning, so that what others used is billed all the same.
    type: bool
    default: false
  base_models:
    description:
      - >-
        Models that are served as a part of another one, such as LoRA adapters, each with its base, as C({sql-lora: llama}) and in the
        collection-wide variable C(llm_gateway_base_models). The filter P(kuadrant.llm.base_models#filter) makes it of C(GET /v1/models).
      - Model servers count what an adapter did under its base. So that is where the tokens of users are held against it; lines name the
        adapter. A price of the base holds for its adapters, unless they have one of their own.
    type: dict
    default: {}
  budgets:
    description:
      - What users, groups and tiers may spend in a calendar month, in UTC, as in the collection-wide variable C(llm_gateway_budgets).
      - They are held against the month in which the period ends, from its start. Usage of that month before the period is measured as well.
    type: list
    elements: dict
    default: []
    suboptions:
      user:
        description: The user whose budget it is. Exactly one of user, group and tier is needed.
        type: str
      group:
        description: The group whose budget it is.
        type: str
      tier:
        description: The tier whose budget it is.
        type: str
      amount:
        description: Amount of the bill's currency, written as text.
        type: str
        required: true
      thresholds:
        description: Shares of the amount, in percent, that the result tells about when they are reached.
        type: list
        elements: int
        default: [50, 80, 100]
      on_reached:
        description:
          - What M(kuadrant.llm.budget_enforcement) does when the amount is spent. V(report) does nothing, V(limit) moves the keys to a
            slower tier, V(refuse) to one whose limit is 0.
        type: str
        choices: [report, limit, refuse]
        default: report
  adjustments:
    description:
      - Credits, discounts and minimum commitments, as in the collection-wide variable C(llm_gateway_adjustments). Each is a line of the
        bill, or one for each whom a discount is for.
      - Each may name a user, a group, a tier and attributes that it is for. Without them it is for everything.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the adjustment, by which the bill refers to it. No other may have it.
        type: str
        required: true
      kind:
        description:
          - A V(credit) takes an amount off the bill whose period has the time C(on). It may be more than the bill.
          - A V(discount) takes a share off what usage and fees cost. Several discounts are each of the full cost.
          - A V(minimum) is what is to be paid at least in a calendar month, in UTC, after discounts and before credits. What is missing is
            a line of the bill that has the month's end; what was used earlier in the month counts.
        type: str
        choices: [credit, discount, minimum]
        required: true
      user:
        description: It is only for this user.
        type: str
      group:
        description: It is only for users in this group.
        type: str
      tier:
        description: It is only for this tier.
        type: str
      attributes:
        description: It is only for those who have these values of O(attributes).
        type: dict
      amount:
        description: Amount of a credit or a minimum, positive, written as text.
        type: str
      percent:
        description: Percent of a discount, written as text.
        type: str
      'on':
        description: Date or time of a credit, as C(valid_from) of a price. Write the key in quotes, because YAML reads it as true.
        type: str
      valid_from:
        description: From when on a discount or a minimum holds. A minimum holds for the months that begin within its time.
        type: str
      valid_until:
        description: Until when it holds.
        type: str
      reason:
        description: Why, for the line of the bill. Required for a credit and for a discount.
        type: str
  attributes:
    description:
      - Cost centres, projects and whatever else a bill has to carry or is split by, as in the collection-wide variable
        C(llm_gateway_attributes). They are in every export, and tags in O(output_focus).
      - What a user has applies, else what the user's groups have, else what the tier has, attribute by attribute.
    type: dict
    suboptions:
      users:
        description: By name of the user, a dictionary of attributes and their values, which are text.
        type: dict
      groups:
        description: By name of the group.
        type: dict
      tiers:
        description: By name of the tier.
        type: dict
  keys:
    description:
      - Keys as in the collection-wide variable C(llm_gateway_keys). Only C(user) and C(attributes) of each are looked at. What is written
        at a key is the user's, and keys of one user may not differ in it.
      - Other fields of a key are taken, and not looked at. Its value has no place here.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the key, for messages.
        type: str
      user:
        description: User that the key belongs to.
        type: str
      attributes:
        description: Attributes of the user.
        type: dict
      state:
        description: Keys that are V(absent) are not looked at.
        type: str
        choices: [present, revoked, absent]
      key:
        description: Not looked at.
        type: str
      tier:
        description: Not looked at.
        type: str
      owner:
        description: Not looked at.
        type: str
      expires_at:
        description: Not looked at.
        type: str
      rotation:
        description: Not looked at.
        type: str
      overlap:
        description: Not looked at.
        type: str
      groups:
        description: Not looked at.
        type: list
        elements: str
  only:
    description:
      - Bill only those who have these values, by C(user), C(group), C(tier) or the name of an attribute. A user in several groups has the
        C(group) of all of them, with commas.
      - Such a bill says nothing of others. Everything is measured all the same.
    type: dict
  split_by:
    description:
      - Write a bill for each C(user), C(group), C(tier) or value of an attribute, with an index of them, to O(output_dir). What belongs
        to nobody is a part as well, so the parts add up to the whole, exactly.
    type: str
  output_dir:
    description:
      - Folder for the files of O(split_by), which must exist. C(index.html) and C(index.csv) name the others. Files of parts that there are
        no more stay.
    type: path
  output_formats:
    description: What to write for each part of O(split_by).
    type: list
    elements: str
    choices: [csv, json, focus, html, pdf]
    default: [csv, html]
  invoice:
    description:
      - Makes the bill an invoice. With O(split_by), each part has the number with its own name at the end.
      - The taxes and the rounding are then also lines of O(output_csv) and O(output_focus), which so add up to what is to be paid.
    type: dict
    suboptions:
      number:
        description: Its number. In O(output_focus) it is C(InvoiceId).
        type: str
        required: true
      issuer:
        description: Who issues it. A dictionary with C(name), C(address) (lines of text), C(tax_id) and C(contact).
        type: dict
        required: true
      recipient:
        description: Who receives it, in the same form.
        type: dict
      recipients:
        description: Who receives the parts of O(split_by), by the name of the part. Others are named after the part.
        type: dict
      issued_on:
        description: Date, such as V(2026-12-01).
        type: str
      due_on:
        description: Date until which it is to be paid.
        type: str
      reference:
        description: A reference of the recipient, such as the number of an order.
        type: str
      note:
        description: Text below the amount.
        type: str
      taxes:
        description: >-
          Each is a line, a dictionary with C(name), C(percent) of the net amount as text, and C(note) for what has to be said of it.
        type: list
        elements: dict
  locale:
    description:
      - How pages write numbers, such as V(de_DE). By default as in English, with commas. Other formats are for programs.
    type: str
  prometheus_url:
    description:
      - Address of Prometheus, or of anything that speaks its query API, before C(/api/v1).
      - Exactly one of O(prometheus_url) and O(ledger_dir) is needed.
    type: str
    required: false
  ledger_dir:
    description:
      - Folder of a ledger that M(kuadrant.llm.usage_ledger) keeps. The usage comes from its closes, and Prometheus is not asked.
      - Every line of the files that are read is checked against its hash and the line before it. With O(ledger_anchor),
        O(ledger_anchor_configmap) or O(ledger_signers), the end of the ledger is checked as well.
    type: path
  timeline:
    description:
      - Whether the result also has the usage by V(hour) or by V(day). V(auto) does so for O(output_html), by hour up to three days.
      - From Prometheus, every bucket is measured by itself.
    type: str
    choices: [auto, hour, day, none]
    default: auto
  output_csv:
    description:
      - Write the lines to this file as CSV. Its folder must exist. Text that a spreadsheet would run as a formula gets an apostrophe in
        front.
    type: path
  output_json:
    description:
      - Write the whole report to this file as JSON. Its folder must exist.
    type: path
  output_focus:
    description:
      - Write the priced lines to this file in the FinOps Open Cost and Usage Specification 1.2, as CSV. Its folder must exist.
    type: path
  output_html:
    description:
      - Write the report to this file as one HTML page with plots, which needs no network and runs no script. Its folder must exist.
    type: path
  output_pdf:
    description:
      - Write the same page to this file as PDF, for print. Its folder must exist.
    type: path
  billing_account:
    description:
      - Who pays the whole bill, as C(BillingAccountId) of O(output_focus).
    type: str
    default: llm-gateway
  provider:
    description:
      - Who runs the gateway and issues the bill, as C(ProviderName) of O(output_focus) and in the title of O(output_html).
    type: str
    default: LLM gateway
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

- name: Bill November into files, with token prices that changed in the middle of it
  kuadrant.llm.chargeback:
    prometheus_url: http://127.0.0.1:18001
    start: "2026-11-01T00:00:00Z"
    end: "2026-12-01T00:00:00Z"
    price_book:
      currency: EUR
      entries:
        - {name: list, price: {request: "0.001", prompt_per_1k: "0.15", completion_per_1k: "0.60"}}
        - {name: list-2, valid_from: "2026-11-16", price: {completion_per_1k: "0.50"}}
        - {name: premium, tier: premium, monthly_fee: "20.00"}
    budgets:
      - {group: research, amount: "500.00"}
    output_csv: /srv/reports/2026-11.csv
    output_json: /srv/reports/2026-11.json
    output_focus: /srv/reports/2026-11-focus.csv
    output_html: /srv/reports/2026-11.html
  register: november

- name: Tell who has spent 80 percent of the budget
  ansible.builtin.debug:
    msg: "{{ november.budgets | selectattr('reached', 'contains', 80) }}"

- name: Bill every team, by its cost centre, with page and PDF each
  kuadrant.llm.chargeback:
    prometheus_url: http://127.0.0.1:18001
    start: "2026-11-01T00:00:00Z"
    end: "2026-12-01T00:00:00Z"
    tiers: "{{ llm_gateway_tiers }}"
    currency: EUR
    attributes:
      groups:
        research: {cost_center: "4711"}
        support: {cost_center: "4712"}
      users:
        chen: {cost_center: "4713", project: apollo}
    adjustments:
      - {name: outage, kind: credit, group: research, amount: "25.00", "on": "2026-11-03", reason: Outage of 3 November}
      - {name: partner, kind: discount, percent: "10", reason: Partner agreement}
    invoice:
      number: "2026-11"
      issuer: {name: Example Ltd, address: [1 High Street, London], tax_id: GB 000 0000 00}
      issued_on: "2026-12-01"
      taxes: [{name: VAT, percent: "20"}]
    split_by: cost_center
    output_dir: /srv/reports/2026-11
    output_formats: [csv, html, pdf]

- name: Bill October from the ledger
  kuadrant.llm.chargeback:
    ledger_dir: /srv/ledger
    start: "2026-10-01T00:00:00Z"
    end: "2026-11-01T00:00:00Z"
    tiers: "{{ llm_gateway_tiers }}"
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
  description: The counters that were read, as in M(kuadrant.llm.usage_info). V(null) if the usage came from a ledger.
  returned: success
  type: str
  sample: upstream
lines:
  description:
    - The bill, one line per user, group, tier, model, meter and price entry, sorted. Usage without a user comes last, with C(user) V(null).
    - A fee of a whole group or tier has C(user) V(null) too.
  returned: success
  type: list
  elements: dict
  contains:
    start:
      description: Start of the part of the period in which this price holds.
      type: str
      sample: "2026-11-01T00:00:00Z"
    end:
      description: End of that part.
      type: str
      sample: "2026-12-01T00:00:00Z"
    user:
      description: The user. V(null) where there is none.
      type: str
      sample: alice
    group:
      description: The groups, separated by commas. V(null) where there are none.
      type: str
      sample: free
    tier:
      description: The tier. V(null) where there is none.
      type: str
      sample: free
    model:
      description: The model. V(null) for requests, which are not counted by model, and where an answer did not name it.
      type: str
      sample: null
    attributes:
      description: Attributes of the user, group and tier, by name.
      type: dict
      sample: {cost_center: "4711"}
    meter:
      description: >-
        What was counted: C(requests), C(limited_requests), C(unmetered_requests), C(prompt_tokens), C(completion_tokens), C(cached_tokens),
        C(unsplit_tokens) or C(monthly_fee); or a line of O(adjustments), C(discount), C(credit) or C(minimum), whose cost may be negative.
      type: str
      sample: requests
    quantity:
      description: How much, at least.
      type: int
      sample: 2
    quantity_upper:
      description: How much, at most. V(null) where the samples prove no bound.
      type: int
      sample: 2
    quantity_assumed:
      description:
        - How much, at most, where C(quantity_upper) is V(null) under the assumption that no counter, in the times that no scrape saw, grew
          faster than at the fastest that samples show of it. V(null) where not even that gives a bound.
      type: int
      sample: 2
    included:
      description: What of C(quantity) was free because the entry includes it.
      type: int
      sample: 0
    billable:
      description: What of C(quantity) is paid for. 0 where there is no price.
      type: int
      sample: 2
    billable_upper:
      description: The upper bound of that.
      type: int
      sample: 2
    billable_assumed:
      description: The one under the assumption of C(quantity_assumed).
      type: int
      sample: 2
    unit_price:
      description: Price of C(per) units, as a decimal string. V(null) for what has no price.
      type: str
      sample: "0.001"
    per:
      description: For how many units the price is, 1, 1000 or 1000000.
      type: int
      sample: 1
    cost:
      description: C(billable) times C(unit_price) by C(per), as a decimal string, without rounding. Only fees are rounded, once.
      type: str
      sample: "0.002"
    cost_upper:
      description: The same of C(billable_upper). V(null) where the samples prove no bound.
      type: str
      sample: "0.002"
    cost_assumed:
      description: The same of C(billable_assumed), equal to C(cost_upper) where that is proved.
      type: str
      sample: "0.002"
    price_entry:
      description: >-
        Name of the entry of the price book, of the tier, or of the adjustment that the price comes from. V(null) for what has no price.
      type: str
      sample: free
    notes:
      description: Why upper and lower figures differ, why there is no price, or how the fee came about.
      type: list
      elements: str
summary:
  description:
    - The bill, one entry per user, group and tier, with C(cost) and the figures of all meters, C(authorized) (requests let through),
      C(limited),
      C(unmetered), C(prompt), C(completion), C(cached) and C(unsplit), each also with C(_upper) and C(_assumed).
    - C(prompt) is with the cached tokens, which are a part of it.
  returned: success
  type: list
  elements: dict
  sample: [{user: alice, group: free, tier: free, authorized: 2, authorized_upper: 2, limited: 3, limited_upper: 3, cost: "0.002"}]
totals:
  description:
    - The same sums in lists C(user), C(group), C(tier) and C(model) with one entry each, and C(overall), the sum of all lines.
  returned: success
  type: dict
  sample:
    user: [{user: alice, authorized: 2, limited: 3, authorized_upper: 2, limited_upper: 3, cost: "0.002", cost_upper: "0.002"}]
    overall: {authorized: 2, limited: 3, authorized_upper: 2, limited_upper: 3, cost: "0.002", cost_upper: "0.002"}
payable:
  description:
    - What is to be paid, and how it comes about, as decimal text. RV(payable.charges) (usage and fees) and RV(payable.adjustments) are
      RV(payable.net); with RV(payable.taxes) that is RV(payable.total), exactly. RV(payable.rounding) makes RV(payable.amount) of it, an
      amount of the currency's minor unit in ISO 4217. Nothing is rounded before; a half goes away from zero.
    - RV(payable.amount_upper) is the same of the upper figures, V(null) where there is none.
  returned: success
  type: dict
  contains:
    currency:
      description: The currency.
      type: str
    charges:
      description: Cost of usage and fees.
      type: str
    adjustments:
      description: Sum of credits, discounts and what is missing to minimums.
      type: str
    net:
      description: The sum of both.
      type: str
    taxes:
      description: One entry a tax, with C(name), C(percent), C(amount) and C(note).
      type: list
      elements: dict
    total:
      description: Net and taxes.
      type: str
    rounding:
      description: What is added to the total.
      type: str
    amount:
      description: What is to be paid.
      type: str
    amount_upper:
      description: What may be to be paid at most.
      type: str
  sample: {currency: USD, charges: "0.022", adjustments: "0", net: "0.022", taxes: [], total: "0.022", rounding: "-0.002", amount: "0.02",
    amount_upper: "0.02"}
invoice:
  description: What O(invoice) says, without the taxes. V(null) without it.
  returned: success
  type: dict
part:
  description: Whose bill this is, with O(only); V(null) if it is of all.
  returned: success
  type: dict
  sample: {of: [{by: group, value: research}], title: group research}
attributes:
  description: Names of all attributes that there are.
  returned: success
  type: list
  elements: str
parts:
  description:
    - With O(split_by), one entry a part, in the order of the index, with C(part) (a title), C(name) (V(null) for those who have none),
      C(invoice), C(users), the amounts of RV(payable), C(tax), and C(files) in O(output_dir).
  returned: success
  type: list
  elements: dict
reconciliation:
  description:
    - Tokens per model (C(models)) and in all (C(overall)), of C(users), C(unattributed), and their sum, what the model servers
      C(served) by their
      own counters. C(causes) say where unattributed tokens come from.
    - C(unattributed) and C(served) are V(null) if there are no counters of a model server.
  returned: success
  type: dict
  sample:
    models: []
    overall:
      users: {prompt: 70, completion: 30, unsplit: 0, total: 100}
      unattributed: {prompt: 5, completion: 1000, total: 1005}
      served: {prompt: 75, completion: 1030, total: 1105}
      exact: true
    causes: ["1 answers carried no usage (1 aborted)"]
undecided:
  description:
    - Requests that were served without a decision, as in M(kuadrant.llm.usage_info), with C(cost), what they would have cost at the average
      of a request that was decided, without fees. They are on no user's bill.
  returned: success
  type: dict
  sample: {requests: 293, requests_upper: 293, requests_assumed: 293, share_percent: "5.6", cost: "0.59"}
budgets:
  description:
    - One entry per budget. C(reached) are the thresholds that C(spent) has reached for sure, C(possibly_reached) those that the upper
      bound has.
    - C(forecast) is C(spent) at the end of the month, if the rest of the month is like what was seen of it, and C(forecast_reached)
      what it reaches.
  returned: success
  type: list
  elements: dict
  sample:
    - group: research
      amount: "500.00"
      month_start: "2026-11-01T00:00:00Z"
      month_end: "2026-12-01T00:00:00Z"
      until: "2026-11-16T00:00:00Z"
      spent: "300.00"
      spent_upper: "300.00"
      spent_percent: "60.0"
      reached: [50]
      possibly_reached: [50]
      forecast: "600.00"
      forecast_upper: "600.00"
      forecast_reached: [50, 80, 100]
what_if:
  description: >-
    With O(what_if_price_book), C(cost), C(what_if) and C(difference) for every user, group and tier (C(lines)) and in all
    (C(overall)).
  returned: success
  type: dict
price_book:
  description: The prices that were applied, in the form of O(price_book).
  returned: success
  type: dict
timeline:
  description: Usage by hour or by day, see O(timeline). The figures of a bucket in which nothing was scraped are V(null).
  returned: success
  type: list
  elements: dict
table:
  description: The bill as lines of text for a screen.
  returned: success
  type: list
  elements: str
closes:
  description:
    - With O(ledger_dir), the files of the ledger that the figures are the sum of, with the hash of their first line. A line of the
      bill comes
      from those between its C(start) and C(end).
  returned: success
  type: list
  elements: dict
scrapes:
  description: One entry per limiter that Prometheus scraped, as in M(kuadrant.llm.usage_info).
  returned: success
  type: list
  elements: dict
data_quality:
  description:
    - Whether all figures are exact (C(exact)), what is to be known about the samples (C(notes)), and what was used and is in no user's cost
      (C(unpriced)). C(missing_prices) names who used something that should have a price.
  returned: success
  type: dict
  sample: {exact: true, notes: [], unpriced: [], missing_prices: []}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.options import REQUIRED_BY, TRUST_SPEC
from ansible_collections.kuadrant.llm.plugins.module_utils._price.rate import MISSING_PRICES
from ansible_collections.kuadrant.llm.plugins.module_utils._report.export import to_csv, to_json
from ansible_collections.kuadrant.llm.plugins.module_utils._report.files import check_destination, check_folder, write_text
from ansible_collections.kuadrant.llm.plugins.module_utils._report.focus import to_focus
from ansible_collections.kuadrant.llm.plugins.module_utils._report.make import from_ledger, from_prometheus, parse_pricing
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page import require_plots, to_html
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_text import require_locale
from ansible_collections.kuadrant.llm.plugins.module_utils._report.pdf import require_pdf, write_pdf
from ansible_collections.kuadrant.llm.plugins.module_utils._report.report import chargeback_table
from ansible_collections.kuadrant.llm.plugins.module_utils._report.split import write_parts
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.options import ARGUMENT_SPEC, MUTUALLY_EXCLUSIVE, REQUIRED_ONE_OF

# A key as users describe it, so that its value is hidden where somebody gives it all the same.
_KEY_SPEC: dict[str, t.Any] = {
    "name": {"type": "str"},
    "user": {"type": "str"},
    "attributes": {"type": "dict"},
    "state": {"type": "str", "choices": ["present", "revoked", "absent"]},
    "key": {"type": "str", "no_log": True},
    **{name: {"type": "str"} for name in ("tier", "owner", "expires_at", "rotation", "overlap")},
    "groups": {"type": "list", "elements": "str"},
}
# Ends of the files of a part.
_ENDS = {"csv": ".csv", "json": ".json", "focus": "-focus.csv", "html": ".html"}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argument_spec(**{**ARGUMENT_SPEC, **TRUST_SPEC}),
            "prometheus_url": {"type": "str"},
            "ledger_dir": {"type": "path"},
            "tiers": {"type": "list", "elements": "dict"},
            "currency": {"type": "str", "default": "USD"},
            # Their entries are checked by the rules of the description, which name the entry and the field.
            "price_book": {"type": "dict"},
            "what_if_price_book": {"type": "dict"},
            "require_prices": {"type": "bool", "default": False},
            "base_models": {"type": "dict", "default": {}},
            "budgets": {"type": "list", "elements": "dict", "default": []},
            "adjustments": {"type": "list", "elements": "dict", "default": []},
            "attributes": {"type": "dict"},
            "keys": {"type": "list", "elements": "dict", "default": [], "no_log": False, "options": _KEY_SPEC},
            "invoice": {"type": "dict"},
            "only": {"type": "dict"},
            "split_by": {"type": "str"},
            "timeline": {"type": "str", "choices": ["auto", "hour", "day", "none"], "default": "auto"},
            "output_csv": {"type": "path"},
            "output_json": {"type": "path"},
            "output_focus": {"type": "path"},
            "output_html": {"type": "path"},
            "output_pdf": {"type": "path"},
            "output_dir": {"type": "path"},
            "output_formats": {"type": "list", "elements": "str", "choices": [*_ENDS, "pdf"], "default": ["csv", "html"]},
            "locale": {"type": "str"},
            "billing_account": {"type": "str", "default": "llm-gateway"},
            "provider": {"type": "str", "default": "LLM gateway"},
        },
        mutually_exclusive=[*MUTUALLY_EXCLUSIVE, ("prometheus_url", "ledger_dir")],
        required_one_of=[*REQUIRED_ONE_OF, ("prometheus_url", "ledger_dir"), ("tiers", "price_book")],
        required_together=[("split_by", "output_dir")],
        required_by={name: REQUIRED_BY[name] for name in REQUIRED_BY if name in TRUST_SPEC},
        supports_check_mode=True,
    )
    with reporting(module):
        bill(module)


def bill(module: AnsibleModule) -> None:
    params = module.params

    def page(report: t.Mapping[str, t.Any]) -> str:
        return to_html(report, params["provider"], params["locale"])

    makers: dict[str, t.Callable[[t.Mapping[str, t.Any]], str]] = {
        "csv": to_csv,
        "json": to_json,
        "focus": lambda report: to_focus(report, params["billing_account"], params["provider"]),
        "html": page,
    }
    wanted = parse_pricing(params)
    paths = {name: params[f"output_{name}"] for name in (*makers, "pdf") if params[f"output_{name}"]}
    for name, path in paths.items():
        check_destination(path, f"output_{name}", predicting=module.check_mode)
    formats = dict.fromkeys(params["output_formats"]) if wanted.split_by else {}
    if wanted.split_by:
        check_folder(params["output_dir"], "output_dir", predicting=module.check_mode)
    pages = {"html", "pdf"} & {*paths, *formats}
    if pages:
        require_plots()
    if "pdf" in pages:
        require_pdf()
    require_locale(params["locale"])
    timeline = "none" if params["timeline"] == "auto" and not pages else params["timeline"]
    statement = (from_ledger if params["ledger_dir"] else from_prometheus)(module, wanted, timeline)
    report = statement.report()
    if report["data_quality"]["missing_prices"]:
        module.warn(next(note for note in report["data_quality"]["notes"] if note.startswith(MISSING_PRICES)))
    if wanted.only is not None and not report["lines"]:
        module.warn(f"only: there is nothing to bill for {wanted.only.title}")
    written = [
        write_pdf(module, path, page(report)) if name == "pdf" else write_text(module, path, makers[name](report))
        for name, path in paths.items()
    ]
    diffs = [diff for diff in written if diff is not None]
    parts: list[dict[str, t.Any]] = []
    if wanted.split_by:
        parts, more = write_parts(
            module,
            statement,
            wanted.split_by,
            params["output_dir"],
            {end: makers[name] for name, end in _ENDS.items() if name in formats},
            pdf=page if "pdf" in formats else None,
            provider=params["provider"],
            locale=params["locale"],
        )
        diffs += more
    module.exit_json(changed=bool(diffs), diff=diffs, table=chargeback_table(report), parts=parts, **report)


if __name__ == "__main__":
    main()
