# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What a namespace holds beside what Kubernetes itself puts there, and whether it may be removed."""

from __future__ import annotations

import fnmatch
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._names import is_managed
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.discovery import Discovery

NAMESPACES = Resource("v1", "Namespace", "namespaces")
# On what programs of a kind elect their leader with, as long as they did so with ConfigMaps: it stays when they are gone.
LEADER = "control-plane.alpha.kubernetes.io/leader"

# Created by Kubernetes in every namespace, or only traces of what was there.
USUAL = ("ConfigMap/kube-root-ca.crt", "ServiceAccount/default", "Event/*", "Endpoints/*", "EndpointSlice/*", "Lease/*", "PodMetrics/*")
# istiod writes its certificates into every namespace.
ISTIO = ("ConfigMap/istio-ca-*",)


def contents(kube: Kube, name: str, ignore: t.Iterable[str] = (), releases: t.Collection[str] = ()) -> dict[str, t.Any]:
    """``{exists, ours, foreign: [Kind/name], removable}``. What another object owns, and what bears our label, is not foreign.

    Nor is what belongs to one of the Helm ``releases`` of this namespace (a dry run did not really uninstall them).

    Raises KubeError where a kind cannot be listed: what cannot be seen might be there.
    """
    namespace = kube.get(NAMESPACES, None, name)
    if namespace is None:
        return {"exists": False, "ours": False, "foreign": [], "removable": False}
    ours = is_managed(namespace)
    patterns = (*USUAL, *ISTIO, *ignore, *(f"Secret/sh.helm.release.v1.{release}.v*" for release in releases))
    found: dict[str, str] = {}
    for resource in Discovery(kube).listable() if ours else ():
        try:
            objects = list(kube.iterate(resource, name, metadata_only=True))
        except KubeError as exc:
            if exc.status == 405:  # reviews and the like can only be created
                continue
            raise
        for body in objects:
            reference = f"{resource.kind}/{body['metadata']['name']}"
            annotations = body["metadata"].get("annotations") or {}
            lives = LEADER not in annotations and annotations.get("meta.helm.sh/release-name") not in releases
            foreign = lives and not is_managed(body) and not body["metadata"].get("ownerReferences")
            if foreign and not any(fnmatch.fnmatchcase(reference, pattern) for pattern in patterns):
                found.setdefault(body["metadata"].get("uid", reference), reference)  # one object may be served by two groups
    foreign_objects = sorted(found.values())
    return {"exists": True, "ours": ours, "foreign": foreign_objects, "removable": ours and not foreign_objects}
