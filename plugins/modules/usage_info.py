#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module usage_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: usage_info
short_description: Count calls and tokens by user, group and tier over a period
version_added: 1.0.0
description:
  - Counts the calls that Limitador let through and the ones that it limited, from the raw samples that Prometheus keeps of its counters.
  - Counts tokens by user and model, and holds their sum against what the model servers counted.
  - Never extrapolates, as the function C(increase) of Prometheus does. Counters that restart, and ones that appear within the period,
    are followed from scrape
    to scrape.
  - Fails if no limiter was scraped in the period, because then the usage is unknown, not zero.
author:
  - The kuadrant.llm authors (@kuadrant)
extends_documentation_fragment:
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.info_module
  - kuadrant.llm._usage.source
  - kuadrant.llm._usage
options:
  base_models:
    description:
      - >-
        Models that are served as a part of another one, such as LoRA adapters, each with its base, as C({sql-lora: llama}) and in the
        collection-wide variable C(llm_gateway_base_models). The filter P(kuadrant.llm.base_models#filter) makes it of C(GET /v1/models).
      - Model servers count what an adapter did under its base. So that is where C(tokens.unattributed) holds the
        tokens of users against it.
    type: dict
    default: {}
seealso:
  - module: kuadrant.llm.chargeback
"""

EXAMPLES = r"""
- name: Count the calls of the last day
  kuadrant.llm.usage_info:
    prometheus_url: http://127.0.0.1:18001
    period: 24h
  register: day

- name: Count the calls of November on one route
  kuadrant.llm.usage_info:
    prometheus_url: https://prometheus.example.com
    prometheus_token: "{{ prometheus_token }}"
    start: "2026-11-01T00:00:00Z"
    end: "2026-12-01T00:00:00Z"
    limitador_namespace: llm/vllm-httproute

- name: Count what was sent just now
  kuadrant.llm.usage_info:
    prometheus_url: http://127.0.0.1:18001
    start: "{{ day.end }}"
    wait_for_scrape: 60
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
family:
  description: The counters that were read, V(upstream) or V(user_and_group).
  returned: success
  type: str
  sample: upstream
usage:
  description: One entry per user, group and tier that made calls, sorted. Calls without a user come last, with C(user) V(null).
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
      description: The tier. V(null) where the calls carry none.
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
      description: Calls let through, at most. Equal to C(authorized) where the samples decide, V(null) where they prove no bound.
      type: int
      sample: 2
    limited_upper:
      description: Calls refused, at most. Equal to C(limited) where the samples decide, V(null) where they prove no bound.
      type: int
      sample: 3
    authorized_assumed:
      description:
        - Calls let through, at most, where C(authorized_upper) is V(null) under an assumption. In the times that no scrape saw, no counter
          grew faster than at the fastest that samples show of it at that limiter. V(null) where not even that gives a bound.
      type: int
      sample: 2
    limited_assumed:
      description: The same of the calls refused.
      type: int
      sample: 3
    notes:
      description: Why upper and lower figures differ.
      type: list
      elements: str
totals:
  description:
    - The sums of C(authorized), C(limited), and of their upper and assumed figures. An upper sum is V(null) if one of its parts is.
  returned: success
  type: dict
  sample: {authorized: 2, limited: 3, authorized_upper: 2, limited_upper: 3, authorized_assumed: 2, limited_assumed: 3}
tokens:
  description:
    - Tokens and finished requests, on routes with token limits, as the custom Limitador counts them. Without it, or without token
      limits, the lists are empty.
    - A figure that ends with C(_upper) is the upper bound, equal to the figure without it where the samples decide. One that ends with
      C(_assumed) is the same, or an upper bound under the assumption of C(usage) where none is proved.
  returned: success
  type: dict
  contains:
    usage:
      description:
        - One entry per user, group, tier and model. Answers that do not name their model have C(model) V(null).
        - C(unsplit) are tokens of which only the total is known. C(cached) are some of C(prompt), which the model server had in its cache.
          C(metered) are requests whose answer reported its tokens, C(unmetered)
          those whose answer did not, by C(reasons) V(stream_without_usage), V(no_usage), V(invalid_usage), V(aborted) and V(error).
      type: list
      elements: dict
      sample:
        - user: alice
          group: free
          tier: free
          model: m
          prompt: 120
          prompt_upper: 120
          completion: 480
          completion_upper: 480
          unsplit: 0
          unsplit_upper: 0
          cached: 40
          cached_upper: 40
          metered: 10
          metered_upper: 10
          unmetered: 1
          unmetered_upper: 1
          reasons: {aborted: 1}
          notes: []
    totals:
      description: Their sums.
      type: dict
    served:
      description: What the model servers counted themselves, in all and per model. V(null) if Prometheus has no such counters.
      type: dict
      sample: {prompt: 130, prompt_upper: 130, completion: 500, completion_upper: 500, models: [], notes: []}
    unattributed:
      description:
        - C(served) less C(totals), which belongs to no user, in all and by C(models), with the C(causes) that are known. V(null) if
          C(served) is.
        - C(requests) is how many requests it comes from, by cause. V(stream_without_usage), V(no_usage), V(aborted) and V(error) are
          answers without usage. V(unreported) are admitted requests that no report came of. V(limiter_silent) are requests that passed
          because the limiter did not answer, where Prometheus scrapes the gateway. How many tokens each of them took is not known.
        - A request is in the period of the scrape that saw it. Limiters and model servers are not scraped at the same moment, so a period
          that ends in the middle of traffic leaves a small difference of either sign, which the next period has with the other sign.
      type: dict
      sample:
        prompt: 10
        completion: 20
        total: 30
        exact: true
        models: [{model: m, prompt: 10, completion: 20, total: 30}]
        requests: {aborted: 1}
        causes: ["1 answers carried no usage (1 aborted)"]
undecided:
  description:
    - Requests that were served without a decision, because the limiter did not answer, and their share of all that were served. They are
      in no other figure. V(null) where Prometheus does not scrape the gateway's own counters, and with Kuadrant's own filter, which has
      none.
    - A request that several limits of one gateway are asked about counts for each question that was not answered.
  returned: success
  type: dict
  sample: {requests: 293, requests_upper: 293, requests_assumed: 293, share_percent: "5.6"}
scrapes:
  description: One entry per limiter that Prometheus scraped.
  returned: success
  type: list
  elements: dict
  contains:
    instance:
      description: Its address.
      type: str
    job:
      description: The scrape job.
      type: str
    scrapes:
      description: Successful scrapes in the period.
      type: int
    first:
      description: Time of the first scrape in the period.
      type: str
    last:
      description: Time of the last scrape in the period.
      type: str
    interval_seconds:
      description: The usual time between two scrapes.
      type: float
    gaps:
      description: Where scrapes are missing, as C(after) and C(until).
      type: list
      elements: dict
    restarts:
      description: Where the limiter lost its counters, as C(after) and C(until).
      type: list
      elements: dict
data_quality:
  description: Whether all figures are exact (C(exact)), and what is to be known about the samples (C(notes)).
  returned: success
  type: dict
  sample: {exact: true, notes: []}
"""

import dataclasses

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._description.base_models import parse_base_models
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.options import (
    ARGUMENT_SPEC,
    MUTUALLY_EXCLUSIVE,
    REQUIRED_ONE_OF,
    measure_usage,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={**ARGUMENT_SPEC, "base_models": {"type": "dict", "default": {}}},
        mutually_exclusive=MUTUALLY_EXCLUSIVE,
        required_one_of=REQUIRED_ONE_OF,
        supports_check_mode=True,
    )
    with reporting(module):
        bases = parse_base_models(module.params["base_models"])
        usage = measure_usage(module)
        based = dataclasses.replace(usage, tokens=dataclasses.replace(usage.tokens, bases=bases))
        module.exit_json(changed=False, **based.as_dict())


if __name__ == "__main__":
    main()
