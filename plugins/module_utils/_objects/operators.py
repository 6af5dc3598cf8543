# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Why the operator behind a kind does not do its work, as far as its own log tells: the API server refuses it something."""

from __future__ import annotations

import re

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Object, Resource

DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
PODS = Resource("v1", "Pod", "pods")
LINES, SECONDS = 400, 180  # of a log, from its end: what is older may have been mended since

# By the group of a kind: the Deployments whose operators work off its objects, named alike by Helm, OLM and manifests.
_OPERATORS = {
    "kuadrant.io": ("kuadrant-operator-controller-manager",),
    "extensions.kuadrant.io": ("kuadrant-operator-controller-manager",),
    "limitador.kuadrant.io": ("limitador-operator-controller-manager",),
    "operator.authorino.kuadrant.io": ("authorino-operator",),
}
# In a log, quotes may be escaped: ``authconfigs.authorino.kuadrant.io "x" is forbidden: User "system:serviceaccount:…" cannot create …``
_REFUSED = re.compile(
    r'[a-z0-9./-]+(?: "[^"]*")? is forbidden: User "system:serviceaccount:[^"]+" cannot \w+ resource "[^"]+"'
    r'(?: in API group "[^"]*")?(?: in the namespace "[^"]*"| at the cluster scope)?'
)


def refused(kube: Kube, kind: Resource) -> list[str]:
    """For each operator of ``kind`` that was lately refused something: who, the newest refusal in the API server's words, and what to do.

    Empty where nothing is known: no such operator, none refused, or whoever asks may not read Deployments, pods or logs.
    """
    told = []
    for name in _OPERATORS.get(kind.group, ()):
        try:
            for deployment in kube.iterate(DEPLOYMENTS, None, fields=f"metadata.name={name}"):
                told += _of_deployment(kube, deployment)
        except KubeError:  # it is only an explanation
            continue
    return told


def _of_deployment(kube: Kube, deployment: Object) -> list[str]:
    name, namespace, spec = deployment["metadata"]["name"], deployment["metadata"]["namespace"], deployment["spec"]
    labels = spec.get("selector", {}).get("matchLabels")
    for pod in kube.iterate(PODS, namespace, labels) if labels else ():
        found = last_refusal(kube.log(namespace, pod["metadata"]["name"], lines=LINES, seconds=SECONDS))
        if found:
            account = spec["template"]["spec"].get("serviceAccountName", "default")
            return [
                f'{name} in namespace {namespace} is refused what it needs: "{found}". Give its ServiceAccount {account} that right again: '
                "install the operator again, or restore its ClusterRole and ClusterRoleBinding."
            ]
    return []


def last_refusal(log: str) -> str:
    """The newest refusal in a log, without its framing; empty where there is none."""
    found = [match[0] for match in _REFUSED.finditer(log.replace('\\"', '"'))]
    return found[-1] if found else ""
