# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""One function per component: from what was read to what is there, who owns it, and what is wrong with it. Pure."""

from __future__ import annotations

import datetime
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.model import (
    RECORD_PREFIX,
    Cluster,
    Object,
    condition,
    images_of,
    is_true,
    labels_of,
    metadata,
    name_of,
    owner_of,
    plain_version,
    records_of,
    repository,
    version_of,
)

GATEWAY_GROUP = "gateway.networking.k8s.io"
ISTIO_CONTROLLERS = ("istio.io/gateway-controller", "openshift.io/gateway-controller/v1")
#: kuadrant-operator v1.5.2 takes a cluster for one with Istio only if it has all of these (facts: upstream §2.2).
ISTIO_CRDS = ("wasmplugins.extensions.istio.io", "envoyfilters.networking.istio.io", "peerauthentications.security.istio.io")
PROMETHEUS_CRDS = ("servicemonitors.monitoring.coreos.com", "podmonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com")
LEASE_IS_OLD = datetime.timedelta(minutes=5)


def detect_kubernetes(cluster: Cluster) -> Object:
    openshift = "config.openshift.io" in cluster.groups
    rhoai = openshift and "datasciencecluster.opendatahub.io" in cluster.groups
    status = (cluster.cluster_version or {}).get("status") or {}
    return {
        "version": plain_version(cluster.version),
        "server_version": cluster.version,
        "openshift": openshift,
        "openshift_version": (status.get("desired") or {}).get("version"),
        "rhoai": rhoai,
        "flavour": "rhoai" if rhoai else "openshift" if openshift else _flavour(cluster.version),
    }


def _flavour(version: str) -> str:
    marks = {"-gke": "gke", "-eks": "eks", "+k3s": "k3s", "+rke2": "rke2"}
    return next((name for mark, name in marks.items() if mark in version), "kubernetes")


def detect_gateway_api(cluster: Cluster) -> Object:
    crds = {name: crd for name, crd in cluster.crds.items() if name.endswith(f".{GATEWAY_GROUP}")}
    present = {f"gateways.{GATEWAY_GROUP}", f"httproutes.{GATEWAY_GROUP}"} <= cluster.resources
    versions = _annotation(crds, f"{GATEWAY_GROUP}/bundle-version")
    channels = _annotation(crds, f"{GATEWAY_GROUP}/channel")
    if len(versions) > 1:
        told = ", ".join(f"{version} ({', '.join(names)})" for version, names in versions.items())
        cluster.problems.append(f"The resources of the Gateway API are of several versions: {told}. Bring all of them to one version.")
    if present and f"grpcroutes.{GATEWAY_GROUP}" not in cluster.resources:
        cluster.problems.append(
            f"The Gateway API lacks grpcroutes.{GATEWAY_GROUP}, without which Kuadrant takes the cluster for one without Gateway API. "
            "Install the standard channel of Gateway API 1.4 or later."
        )
    gateways = crds.get(f"gateways.{GATEWAY_GROUP}")
    return {
        "present": present,
        "version": plain_version(min(versions, key=_sortable)) if versions else None,
        "channel": next(iter(channels), None),
        "owner": owner_of(gateways) if gateways else None,
        **_ours(cluster, "gateway_api"),
    }


def _annotation(crds: dict[str, Object], annotation: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, crd in sorted(crds.items()):
        if value := (metadata(crd).get("annotations") or {}).get(annotation):
            found.setdefault(value, []).append(name)
    return found


def _sortable(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def detect_istio(cluster: Cluster, now: datetime.datetime) -> Object:
    ours = _ours(cluster, "istio")
    revisions = sorted((_revision(one) for one in cluster.deployments if is_istiod(one)), key=lambda one: _rank(one, ours["record"]))
    operators = [one for one in cluster.deployments if re.fullmatch(r"sail-operator|servicemesh-operator3?", metadata(one)["name"])]
    outside = None if revisions else _outside(cluster, now)
    first = revisions[0] if revisions else outside
    if len(revisions) > 1:
        told = ", ".join(f"{one['revision']} {one['version']} in {one['namespace']}" for one in revisions)
        cluster.problems.append(
            f"Several Istio control planes run: {told}. The Gateways of a revision are served by its own control plane; "
            f"{first['revision'] if first else ''} is taken here."
        )
    if first and (lacking := [name for name in ISTIO_CRDS if name not in cluster.resources]):
        cluster.problems.append(f"Istio lacks {', '.join(lacking)}, which Kuadrant needs. Install Istio's chart base of the same version.")
    return {
        "present": first is not None,
        "version": first and first["version"],
        "namespace": first and first["namespace"],
        "revision": first and first["revision"],
        "owner": first and first["owner"],
        **ours,
        "revisions": revisions,
        "crds": all(name in cluster.resources for name in ISTIO_CRDS),
        "operator": _program(operators[0], lambda image: "operator" in image) if operators else None,
        "classes": [gateway_class(one) for one in sorted(cluster.gateway_classes, key=name_of)],
    }


def is_istiod(workload: Object) -> bool:
    return labels_of(workload).get("app") == "istiod" and bool(re.match(r"istiod(-|$)", metadata(workload)["name"]))


def of_istio(gateway_class: Object) -> bool:
    return (gateway_class.get("spec") or {}).get("controllerName") in ISTIO_CONTROLLERS


def _revision(istiod: Object) -> Object:
    return {**_program(istiod, lambda image: "pilot" in image), "revision": labels_of(istiod).get("istio.io/rev") or "default"}


def _rank(revision: Object, record: Object | None) -> tuple[bool, bool, str]:
    """Ours first, then the default revision, then by name."""
    return revision["namespace"] != (record or {}).get("namespace"), revision["revision"] != "default", revision["revision"]


def _outside(cluster: Cluster, now: datetime.datetime) -> Object | None:
    """An istiod that is no Deployment here (a hosted control plane, a process): its lease is renewed."""
    for lease in cluster.leases:
        name, renewed = metadata(lease)["name"], (lease.get("spec") or {}).get("renewTime")
        found = re.fullmatch(r"istio-gateway-deployment(?:-(.+))?", name)
        if found and renewed and now - datetime.datetime.fromisoformat(renewed.replace("Z", "+00:00")) < LEASE_IS_OLD:
            owner = {"kind": "operator", "name": "outside of the cluster", "namespace": None}
            return {"version": None, "namespace": metadata(lease).get("namespace"), "revision": found[1] or "default", "owner": owner}
    return None


def gateway_class(one: Object) -> Object:
    accepted = condition(one, "Accepted")
    return {
        "name": metadata(one)["name"],
        "controller": (one.get("spec") or {}).get("controllerName"),
        "accepted": accepted.get("status") == "True",
        "message": accepted.get("message"),
    }


def detect_kuadrant(cluster: Cluster) -> Object:
    ours = _ours(cluster, "kuadrant")
    operators = sorted((one for one in cluster.deployments if _is_kuadrant(one)), key=name_of)
    instances = sorted(cluster.kuadrants, key=name_of)
    instance = _instance(instances[0]) if instances else None
    if len(operators) > 1:
        told = ", ".join(map(name_of, operators))
        cluster.problems.append(f"Several Kuadrant operators run ({told}) and overwrite each other's work. Remove all but one.")
    if len(instances) > 1:
        told = ", ".join(map(name_of, instances))
        cluster.problems.append(f"There are several resources of kind Kuadrant ({told}); the operator serves one. Remove all but one.")
    lacking = _lacking(instance)
    if lacking and operators:
        cluster.problems.append(
            f"Kuadrant {name_of(instances[0])} reports that {', '.join(lacking)} is missing. If it is installed by now, restart the "
            f"operator, which looks once, at its start: kubectl -n {metadata(operators[0]).get('namespace')} rollout restart deployment "
            f"{metadata(operators[0])['name']}."
        )
    found = _program(operators[0], lambda image: bool(_KUADRANT.search(image))) if operators else None
    owner = found["owner"] if found else None
    return {
        # Without its CRDs there is no Kuadrant, so a resource that is Ready has an operator, be it outside of the cluster.
        "present": found is not None or bool(instance and instance["ready"]),
        "version": found and found["version"],
        "namespace": found["namespace"] if found else instance and instance["namespace"],
        "deployment": found and found["name"],
        "owner": owner,
        "rhcl": bool(owner and owner["kind"] == "olm" and str(owner["name"]).startswith("rhcl-operator")),
        **ours,
        "instance": instance,
        "dependencies_missing": lacking,
    }


_KUADRANT = re.compile(r"^(?:kuadrant|rhcl)[\w-]*operator$")


def _is_kuadrant(workload: Object) -> bool:
    return metadata(workload)["name"] == "kuadrant-operator-controller-manager" or any(
        _KUADRANT.search(repository(image)) for image in images_of(workload)
    )


def _instance(kuadrant: Object) -> Object:
    ready = condition(kuadrant, "Ready")
    return {
        "name": metadata(kuadrant)["name"],
        "namespace": metadata(kuadrant).get("namespace"),
        "ready": ready.get("status") == "True",
        "reason": ready.get("reason"),
        "message": ready.get("message"),
    }


def _lacking(instance: Object | None) -> list[str]:
    """The names in ``[A, B] is not installed, please restart …``, as kuadrant-operator v1.5.2 words it."""
    if not instance or instance["reason"] != "MissingDependency":
        return []
    message = str(instance["message"] or "")
    named = re.search(r"\[(.+?)\]", message)
    return [name.strip() for name in named[1].split(",")] if named else [message or "a dependency"]


def detect_prometheus(cluster: Cluster) -> Object:
    ours = _ours(cluster, "prometheus")
    operators = [_operator(one) for one in sorted(cluster.deployments, key=name_of) if _is_prometheus_operator(one)]
    instances = [_prometheus(one, cluster.services) for one in sorted(cluster.prometheuses, key=name_of)]
    everywhere = [f"{one['namespace']}/{one['name']}" for one in operators if not one["watches"]]
    if len(everywhere) > 1:
        cluster.problems.append(
            f"Several Prometheus operators serve all namespaces ({', '.join(everywhere)}) and overwrite each other's work. "
            "Remove all but one, or give each its own namespaces (--prometheus-instance-namespaces)."
        )
    if instances and not operators and "deployments.apps" not in cluster.unread:
        told = ", ".join(f"{one['namespace']}/{one['name']}" for one in instances)
        cluster.problems.append(f"Prometheus {told} has no operator in this cluster, so that monitors and rules may have no effect.")
    return {
        "present": bool(operators or instances),
        "version": operators[0]["version"] if operators else None,
        "namespace": operators[0]["namespace"] if operators else None,
        "owner": operators[0]["owner"] if operators else None,
        **ours,
        "crds": all(name in cluster.resources for name in PROMETHEUS_CRDS),
        "operators": operators,
        "instances": instances,
    }


_PROMETHEUS_OPERATOR = re.compile(r"prometheus[\w-]*-operator$")


def _is_prometheus_operator(workload: Object) -> bool:
    known = {metadata(workload)["name"], labels_of(workload).get("app.kubernetes.io/name")}
    return "prometheus-operator" in known or any(_PROMETHEUS_OPERATOR.search(repository(image)) for image in images_of(workload))


def _operator(workload: Object) -> Object:
    containers = ((((workload.get("spec") or {}).get("template") or {}).get("spec") or {}).get("containers")) or []
    arguments = [str(argument) for container in containers for argument in container.get("args") or ()]
    for option in ("--prometheus-instance-namespaces=", "--namespaces="):
        given = [argument.removeprefix(option) for argument in arguments if argument.startswith(option)]
        watches = sorted({name for text in given for name in text.split(",") if name})
        if watches:
            break
    return {**_program(workload, lambda image: bool(_PROMETHEUS_OPERATOR.search(image))), "watches": watches}


_SELECTORS = {
    f"{snake}{suffix}": f"{camel}{camel_suffix}"
    for snake, camel in (("service_monitor", "serviceMonitor"), ("pod_monitor", "podMonitor"), ("rule", "rule"))
    for suffix, camel_suffix in (("_selector", "Selector"), ("_namespace_selector", "NamespaceSelector"))
}


def _prometheus(prometheus: Object, services: t.Iterable[Object]) -> Object:
    spec, meta = prometheus.get("spec") or {}, metadata(prometheus)
    service = _service(prometheus, services)
    return {
        "name": meta["name"],
        "namespace": meta.get("namespace"),
        "version": plain_version(str(spec.get("version") or "")),
        "available": is_true(prometheus, "Available"),
        "owner": owner_of(prometheus),
        "service": metadata(service)["name"] if service else spec.get("serviceName") or "prometheus-operated",
        "port": _port(service) if service else 9090,
        **{snake: spec.get(camel) for snake, camel in _SELECTORS.items()},
    }


def _service(prometheus: Object, services: t.Iterable[Object]) -> Object | None:
    """The Service of this Prometheus that is meant for clients: one that selects its pods and has an address of its own."""
    name, namespace = metadata(prometheus)["name"], metadata(prometheus).get("namespace")
    pods = {
        **(((prometheus.get("spec") or {}).get("podMetadata") or {}).get("labels") or {}),
        "app.kubernetes.io/name": "prometheus",
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/managed-by": "prometheus-operator",
        "operator.prometheus.io/name": name,
        "operator.prometheus.io/shard": "0",
        "prometheus": name,
    }
    fitting = [
        service
        for service in services
        if metadata(service).get("namespace") == namespace
        and (selector := (service.get("spec") or {}).get("selector") or {})
        and selector.items() <= pods.items()
        and (service.get("spec") or {}).get("clusterIP") != "None"
    ]
    return min(fitting, key=name_of) if fitting else None


def _port(service: Object) -> int:
    ports = service["spec"].get("ports") or [{"port": 9090}]
    named = [port for port in ports if port.get("name") in ("web", "http-web", "http")]
    return int((named or ports)[0]["port"])


def _program(workload: Object, image: t.Callable[[str], bool]) -> Object:
    return {
        "name": metadata(workload)["name"],
        "namespace": metadata(workload).get("namespace"),
        "version": version_of(workload, image),
        "owner": owner_of(workload),
    }


def _ours(cluster: Cluster, component: str) -> Object:
    """``ours``, and ``record``: what our record says of it."""
    records = records_of(cluster, component)
    if len(records) > 1:
        told = ", ".join(str(record["namespace"]) for record in records)
        cluster.problems.append(
            f"Several namespaces ({told}) have a record that kuadrant.llm installed {component}. "
            f"Delete the ConfigMap {RECORD_PREFIX}{component.replace('_', '-')} that is not true."
        )
    return {"ours": bool(records), "record": records[0] if records else None}
