#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_rollback
short_description: Bring a Helm release back to a chart version, internal to playbook rollback
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the playbook C(kuadrant.llm.rollback), and may change with any release.
  - Helm keeps the charts of earlier revisions on the cluster, so that no chart repository is needed.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: full
    details:
      - Helm is asked for a dry run.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  binary_path:
    description: Path of Helm.
    type: path
    required: true
  name:
    description: Name of the release.
    type: str
    required: true
  namespace:
    description: Its namespace.
    type: str
    required: true
  chart:
    description: Name of its chart.
    type: str
    required: true
  version:
    description: Version of the chart to go back to.
    type: str
    required: true
  timeout:
    description: Seconds that Helm may take.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Bring back istiod
  kuadrant.llm.release_rollback:
    binary_path: /usr/local/bin/helm
    name: istiod
    namespace: istio-system
    chart: istiod
    version: 1.29.0
"""

RETURN = r"""
revision:
  description: The revision that the release was, or would be, brought back to. Null if it was there already.
  returned: success
  type: int
"""

import json
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.history import revision_of
from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes

ARGUMENT_SPEC = {
    "binary_path": {"type": "path", "required": True},
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "chart": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "timeout": {"type": "int", "default": 300},
}

# How Helm is told what kubernetes.core's options say.
ENVIRONMENT = {
    "kubeconfig": "KUBECONFIG",
    "context": "HELM_KUBECONTEXT",
    "host": "HELM_KUBEAPISERVER",
    "api_key": "HELM_KUBETOKEN",
    "ca_cert": "HELM_KUBECAFILE",
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    params, release = module.params, f"{module.params['namespace']}/{module.params['name']}"
    chart = f"{params['chart']}-{params['version']}"
    with reporting(module):
        history = json.loads(helm(module, "history", params["name"], "--output=json"))
        revision = revision_of(history, release, chart)
        changes = Changes()
        if revision is not None:
            dry = f"--dry-run={'true' if module.check_mode else 'false'}"
            helm(module, "rollback", params["name"], str(revision), f"--timeout={params['timeout']}s", dry)
            changes.record(f"Helm release {release}", {"chart": history[-1]["chart"]}, {"chart": chart, "as revision": revision})
        module.exit_json(**changes.result(diff=module._diff, revision=revision))


def helm(module: AnsibleModule, *arguments: str) -> str:
    """What Helm prints; raises GatewayError with what it says."""
    params = module.params
    command = [params["binary_path"], *arguments, f"--namespace={params['namespace']}"]
    environment = {variable: str(params[option]) for option, variable in ENVIRONMENT.items() if params[option]}
    if params["validate_certs"] is False:
        environment["HELM_KUBEINSECURE_SKIP_TLS_VERIFY"] = "true"
    code, out, err = module.run_command(command, environ_update=environment)
    if code:
        said = " ".join((err or out).split())
        raise GatewayError(f"helm {arguments[0]} of release {params['namespace']}/{params['name']} failed: {said}")
    return t.cast("str", out)


if __name__ == "__main__":
    main()
