# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The Limitador resource (limitador.kuadrant.io/v1alpha1, limitador-operator 0.18) as options. Pure: options in, objects and text out."""

from __future__ import annotations

import typing as t

Object: t.TypeAlias = t.Mapping[str, t.Any]

# The fields that were set here, so that they can be taken away again on a cluster with a Kuadrant of others.
FIELDS_ANNOTATION = "kuadrant.llm/fields"

# All that a user may set. kuadrant-operator owns limits and metricLabelsDefault, and version is deprecated.
FIELDS = (
    "affinity",
    "image",
    "imagePullSecrets",
    "listener",
    "pdb",
    "rateLimitHeaders",
    "replicas",
    "resourceRequirements",
    "storage",
    "telemetry",
    "tracing",
    "verbosity",
)

_REDIS = {"redis": "redis", "redis_cached": "redis-cached"}


def uses_redis(options: Object) -> bool:
    """Whether the counters are in Redis."""
    return options["storage"] in _REDIS


def limitador_problems(options: Object) -> list[str]:
    """Why these options cannot work; empty when they can."""
    storage, replicas, labels = options["storage"], int(options["replicas"]), options["labels"]
    found = []
    if replicas > 1 and storage == "memory":
        found.append(
            f"limitador_replicas is {replicas} with limitador_storage memory: each replica would count for itself, so that users get "
            f"{replicas} times their quota. Set limitador_storage to redis or redis_cached, or limitador_replicas to 1."
        )
    if replicas > 1 and storage == "disk":
        found.append(
            f"limitador_replicas is {replicas} with limitador_storage disk: one volume serves one Limitador, the others would not start. "
            "Set limitador_storage to redis or redis_cached, or limitador_replicas to 1."
        )
    if storage in _REDIS and not options["redis_secret"]:
        found.append(
            f"limitador_storage is {storage}, and limitador_redis_secret is empty. Put the address of Redis under the key URL of a Secret "
            "in the namespace of Kuadrant, and set limitador_redis_secret to its name."
        )
    if labels == "custom" and not options["image"]:
        found.append(
            "limitador_labels is custom, and limitador_image is empty: upstream's has user and group from a TelemetryPolicy only. "
            "Build our image (the README of role limitador tells how), push it and set limitador_image to it, "
            "or set limitador_labels to telemetry_policy."
        )
    if labels == "custom" and storage in _REDIS:
        found.append(
            f"limitador_labels is custom with limitador_storage {storage}: our Limitador counts in memory or on disk, it would not start. "
            "Set limitador_storage to memory or disk, or use upstream's image with limitador_labels telemetry_policy."
        )
    if len(options["pdb"]) > 1:
        found.append("limitador_pdb has maxUnavailable and minAvailable: Kubernetes allows one of them. Remove one.")
    return found


def wanted_spec(options: Object) -> dict[str, t.Any]:
    """The fields that differ from what upstream does by itself."""
    spec = {
        "affinity": options["affinity"],
        "image": options["image"],
        "imagePullSecrets": [{"name": name} for name in options["image_pull_secrets"]],
        "listener": {
            protocol: {"port": int(options[f"{protocol}_port"])}
            for protocol, port in (("http", 8080), ("grpc", 8081))
            if int(options[f"{protocol}_port"]) != port
        },
        "pdb": options["pdb"],
        "rateLimitHeaders": "" if options["rate_limit_headers"] == "NONE" else options["rate_limit_headers"],
        "replicas": int(options["replicas"]) if int(options["replicas"]) != 1 else None,
        "resourceRequirements": options["resources"],
        "storage": _storage(options),
        "telemetry": "" if options["telemetry"] == "basic" else options["telemetry"],
        "tracing": {"endpoint": options["tracing_endpoint"]} if options["tracing_endpoint"] else None,
        "verbosity": int(options["verbosity"]) or None,
    }
    return {field: value for field, value in spec.items() if value}


def _storage(options: Object) -> dict[str, t.Any]:
    kind = options["storage"]
    if kind in _REDIS:
        store: dict[str, t.Any] = {"configSecretRef": {"name": options["redis_secret"]}}
        if kind == "redis_cached" and options["redis_options"]:
            store["options"] = {name.replace("_", "-"): int(value) for name, value in options["redis_options"].items() if value is not None}
        return {_REDIS[kind]: store}
    if kind == "disk":
        claim = {
            "resources": {"requests": options["disk_size"]},
            "storageClassName": options["disk_storage_class"],
            "volumeName": options["disk_volume"],
        }
        disk = {"persistentVolumeClaim": {name: value for name, value in claim.items() if value}, "optimize": options["disk_optimize"]}
        return {"disk": {name: value for name, value in disk.items() if value}}
    return {}


def limitador_patch(live: Object, wanted: Object, *, everything: bool, tracing_default: str = "") -> dict[str, t.Any]:
    """A JSON merge patch that makes ``live`` what is ``wanted``; empty when it is already.

    Fields that are not wanted become null, never empty (an empty image is a broken one): all of :data:`FIELDS` when ``everything`` here is
    ours, else only those that an earlier patch set. Tracing that kuadrant-operator set from the Kuadrant resource stays.
    """
    spec = live.get("spec") or {}
    annotations = live["metadata"].get("annotations") or {}
    noted = annotations.get(FIELDS_ANNOTATION, "")
    removable = set(FIELDS) if everything else {field for field in noted.split(",") if field in FIELDS}
    change: dict[str, t.Any] = {}
    for field in FIELDS:
        now = spec.get(field)
        if field in wanted:
            if now != wanted[field]:
                change[field] = _replacing(wanted[field], now)
        elif (
            field in removable
            and now is not None
            and not (field == "tracing" and tracing_default and now.get("endpoint") == tracing_default)
        ):
            change[field] = None
    note = ",".join(sorted(wanted))
    patch: dict[str, t.Any] = {"spec": change} if change else {}
    if note != noted:
        patch["metadata"] = {"annotations": {FIELDS_ANNOTATION: note or None}}
    return patch


def _replacing(wanted: t.Any, now: t.Any) -> t.Any:
    """``wanted`` with nulls for what a merge would otherwise leave of ``now``."""
    if not isinstance(wanted, t.Mapping) or not isinstance(now, t.Mapping):
        return wanted
    merged: dict[str, t.Any] = {key: None for key in now if key not in wanted}
    return merged | {key: _replacing(value, now.get(key)) for key, value in wanted.items()}
