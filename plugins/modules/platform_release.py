#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_release
short_description: Internal to this collection, decide what Helm has to do about a release
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the roles of this collection. Options and results can change at any time.
  - Reads the newest revision of a release as Helm keeps it in the cluster, and compares it with the chart, version and values that are
    wanted.
  - Deletes the record of a revision that failed, or that was interrupted long ago, so that Helm can try again. A revision that is
    under way is an error that says what to wait for.
  - Runs no Helm.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  release:
    description: The release that is wanted, with C(name), C(namespace), C(values) and C(state).
    type: dict
    required: true
  chart:
    description: The chart, as in the result of P(kuadrant.llm.platform_artifacts#filter).
    type: dict
    required: true
  pending_minutes:
    description: After how many minutes an operation of Helm that has not ended counts as interrupted.
    type: int
    default: 15
"""

EXAMPLES = r"""
- name: Decide what Helm does with istiod
  kuadrant.llm.platform_release:
    release: {name: istiod, namespace: istio-system}
    chart: "{{ platform_artifacts.charts.istiod }}"
  register: plan
"""

RETURN = r"""
action:
  description: V(install), V(upgrade), V(uninstall) or V(none).
  returned: success
  type: str
chart:
  description: The chart that was given.
  returned: success
  type: dict
message:
  description: What is going to happen, and why. Empty where nothing is.
  returned: success
  type: str
"""

import datetime as dt

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS, argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.release import plan_release, read_release

ARGUMENT_SPEC = {
    "release": {"type": "dict", "required": True},
    "chart": {"type": "dict", "required": True},
    "pending_minutes": {"type": "int", "default": 15},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    release, chart = module.params["release"], module.params["chart"]
    with reporting(module):
        kube = connect(module)
        found = read_release(kube, release["name"], release["namespace"])
        plan = plan_release(release, found, chart, module.params["pending_minutes"], dt.datetime.now(dt.UTC))
        if plan.problem:
            raise GatewayError(plan.problem)
        if plan.drop and not module.check_mode:
            # Helm upgrades from the last revision that it deployed; the record of the one that failed only stands in the way.
            kube.delete(SECRETS, release["namespace"], plan.drop)
        module.exit_json(changed=bool(plan.drop), action=plan.action, chart=chart, message=plan.message)


if __name__ == "__main__":
    main()
