# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What was read of a cluster, and the few questions that every component asks about an object."""

from __future__ import annotations

import dataclasses
import re
import typing as t

Object: t.TypeAlias = dict[str, t.Any]

COMPONENTS = ("kubernetes", "gateway_api", "istio", "kuadrant", "prometheus")

#: Begins the name of the ConfigMap in which module platform_record notes that this collection installed a component.
RECORD_PREFIX = "kuadrant-llm-"


@dataclasses.dataclass
class Cluster:
    """Objects as the API server returned them; of CustomResourceDefinitions only ``metadata``, by name.

    ``unread`` names what could not be listed (``deployments.apps``): its absence below proves nothing.
    """

    version: str = ""
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    crds: dict[str, Object] = dataclasses.field(default_factory=dict)
    records: list[Object] = dataclasses.field(default_factory=list)
    deployments: list[Object] = dataclasses.field(default_factory=list)
    gateway_classes: list[Object] = dataclasses.field(default_factory=list)
    leases: list[Object] = dataclasses.field(default_factory=list)
    kuadrants: list[Object] = dataclasses.field(default_factory=list)
    prometheuses: list[Object] = dataclasses.field(default_factory=list)
    services: list[Object] = dataclasses.field(default_factory=list)
    cluster_version: Object | None = None
    unread: set[str] = dataclasses.field(default_factory=set)
    problems: list[str] = dataclasses.field(default_factory=list)


def metadata(obj: Object) -> Object:
    return t.cast("Object", obj.get("metadata") or {})


def name_of(obj: Object) -> str:
    """``namespace/name``, or the name of what has no namespace."""
    return "/".join(str(part) for part in (metadata(obj).get("namespace"), metadata(obj).get("name")) if part)


def labels_of(obj: Object) -> Object:
    return t.cast("Object", metadata(obj).get("labels") or {})


def images_of(workload: Object) -> list[str]:
    template = (workload.get("spec") or {}).get("template") or {}
    return [str(container.get("image") or "") for container in (template.get("spec") or {}).get("containers") or ()]


def repository(image: str) -> str:
    """The last part of an image's repository: ``quay.io/kuadrant/kuadrant-operator:v1.5.2`` → ``kuadrant-operator``."""
    return image.split("@")[0].rsplit("/", 1)[-1].split(":")[0]


def tag(image: str) -> str:
    return image.split("@")[0].rsplit("/", 1)[-1].partition(":")[2]


def condition(obj: Object, kind: str) -> Object:
    """The condition of this type, ``{}`` if there is none."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((item for item in conditions if item.get("type") == kind), {})


def is_true(obj: Object, kind: str) -> bool:
    return condition(obj, kind).get("status") == "True"


_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?(?:-(?:alpha|beta|rc|dev)[\w.]*)?")


def plain_version(text: str) -> str | None:
    """The version in a tag or a name, without ``v`` and without what a distribution appends: ``v1.29.1-distroless`` → ``1.29.1``."""
    found = _VERSION.search(text)
    return found.group() if found else None


def version_of(workload: Object, image: t.Callable[[str], bool]) -> str | None:
    """The version that runs: by the tag of the image whose repository ``image`` accepts, else by the labels, else by the OLM bundle."""
    labels = labels_of(workload)
    told = [tag(one) for one in images_of(workload) if image(repository(one))]
    told += [str(labels.get(label) or "") for label in ("app.kubernetes.io/version", "helm.sh/chart", "olm.owner")]
    return next((version for text in told if (version := plain_version(text))), None)


def owner_of(obj: Object) -> Object:
    """Who installed the object: ``{kind: olm|operator|helm|manifest, name, namespace}``. Operators use Helm too, so it is asked last."""
    meta, labels = metadata(obj), labels_of(obj)
    annotations, namespace = meta.get("annotations") or {}, meta.get("namespace")
    references = meta.get("ownerReferences") or []
    bundle = labels.get("olm.owner") or next((ref["name"] for ref in references if ref.get("kind") == "ClusterServiceVersion"), None)
    if bundle:
        return _owner("olm", bundle, labels.get("olm.owner.namespace") or namespace)
    if references:
        return _owner("operator", f"{references[0].get('kind')} {references[0].get('name')}", namespace)
    if labels.get("managed-by") or labels.get("operators.coreos.com/managed-by"):
        return _owner("operator", labels.get("managed-by") or labels["operators.coreos.com/managed-by"], namespace)
    release = annotations.get("meta.helm.sh/release-name")
    if release:
        return _owner("helm", release, annotations.get("meta.helm.sh/release-namespace"))
    return _owner("manifest", None, namespace)


def _owner(kind: str, name: str | None, namespace: str | None) -> Object:
    return {"kind": kind, "name": name, "namespace": namespace}


def records_of(cluster: Cluster, component: str) -> list[Object]:
    """Where our record of the component lies, and what it says."""
    wanted = RECORD_PREFIX + component.replace("_", "-")
    found = [record for record in cluster.records if metadata(record).get("name") == wanted]
    return [{"namespace": metadata(record).get("namespace"), **(record.get("data") or {})} for record in found]
