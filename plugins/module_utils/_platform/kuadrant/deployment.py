# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What a Deployment from Kuadrant's chart lacks. Pure: objects in, objects out.

The chart has no values, so everything is a strategic merge patch.
"""

from __future__ import annotations

import typing as t

Object: t.TypeAlias = t.Mapping[str, t.Any]

# The variables of the container that were set here, so that they can be taken away again.
ENV_ANNOTATION = "kuadrant.llm/env"

#: What the level "restricted" of Pod Security asks of a container that runs without root, and charts leave out now and then.
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}

# Docker Hub is meant where an image names no host.
_DEFAULT_HOST = "docker.io"


def mirrored(image: str, prefix: str) -> str:
    """The same image below ``prefix``: host replaced, path, tag and digest kept. No prefix, or one that it has already: unchanged."""
    prefix = prefix.rstrip("/")
    if not prefix or image.startswith(f"{prefix}/"):
        return image
    host, slash, path = image.partition("/")
    named = slash and ("." in host or ":" in host or host == "localhost")
    return f"{prefix}/{path if named else image}"


def deployment_patch(
    deployment: Object,
    *,
    env: Object | None = None,
    resources: Object | None = None,
    mirror: str = "",
    replacements: Object | None = None,
    pull_secret: str = "",
) -> dict[str, t.Any]:
    """A strategic merge patch with only what differs; empty when nothing does.

    ``env`` maps names to values; a variable that was set by an earlier patch and is not wanted any more is deleted. The image of the
    container and those that it names in ``RELATED_IMAGE_*`` are looked up in ``replacements``, or else redirected to ``mirror``.
    What is missing of :data:`RESTRICTED` is always part of it.
    """

    def redirected(image: str) -> str:
        return str((replacements or {}).get(image) or mirrored(image, mirror))

    pod = deployment["spec"]["template"]["spec"]
    container = next((c for c in pod["containers"] if c["name"] == "manager"), pod["containers"][0])
    wanted = {name: str(value) for name, value in (env or {}).items() if str(value) != ""}
    annotations = deployment["metadata"].get("annotations") or {}
    owned = sorted(wanted)
    before = [name for name in annotations.get(ENV_ANNOTATION, "").split(",") if name]

    changes: dict[str, t.Any] = {}
    if variables := _env_patch(container.get("env") or [], wanted, set(before) - set(owned), redirected):
        changes["env"] = variables
    if (image := redirected(container["image"])) != container["image"]:
        changes["image"] = image
    if resources and (missing := _missing(resources, container.get("resources") or {})):
        changes["resources"] = missing
    if lacking := _missing(RESTRICTED, {**_profile(pod), **(container.get("securityContext") or {})}):
        changes["securityContext"] = lacking

    spec: dict[str, t.Any] = {}
    if changes:
        spec["containers"] = [{"name": container["name"], **changes}]
    if pull_secret and pull_secret not in [secret.get("name") for secret in pod.get("imagePullSecrets") or []]:
        spec["imagePullSecrets"] = [{"name": pull_secret}]

    patch: dict[str, t.Any] = {}
    if owned != before:
        patch["metadata"] = {"annotations": {ENV_ANNOTATION: ",".join(owned) or None}}
    if spec:
        patch["spec"] = {"template": {"spec": spec}}
    return patch


def _profile(pod: Object) -> dict[str, t.Any]:
    """That of the pod, which its containers have if they say nothing."""
    profile = (pod.get("securityContext") or {}).get("seccompProfile")
    return {"seccompProfile": profile} if profile else {}


def _env_patch(
    live: t.Sequence[Object], wanted: t.Mapping[str, str], unwanted: set[str], redirected: t.Callable[[str], str]
) -> list[dict[str, t.Any]]:
    present = {variable["name"]: variable for variable in live}
    values = dict(wanted)
    for name, variable in present.items():
        if name.startswith("RELATED_IMAGE_") and not name.endswith("_SHA") and variable.get("value") and name not in values:
            values[name] = redirected(variable["value"])
    changes: list[dict[str, t.Any]] = [
        # A value and a valueFrom exclude each other.
        {"name": name, "value": value, **({"valueFrom": None} if present.get(name, {}).get("valueFrom") else {})}
        for name, value in sorted(values.items())
        if present.get(name, {}).get("value") != value
    ]
    return changes + [{"name": name, "$patch": "delete"} for name in sorted(unwanted & present.keys())]


def _missing(wanted: Object, current: Object) -> dict[str, t.Any]:
    """The part of ``wanted`` that ``current`` does not have."""
    found: dict[str, t.Any] = {}
    for key, value in wanted.items():
        before = current.get(key)
        if isinstance(value, t.Mapping):
            if part := _missing(value, before if isinstance(before, t.Mapping) else {}):
                found[key] = part
        elif str(before) != str(value):
            found[key] = value
    return found


def late_dependencies(crds: t.Sequence[Object], pods: t.Sequence[Object]) -> list[str]:
    """Names of the ``crds`` that were created after each running operator among ``pods`` had started, and that it therefore never saw.

    The operator probes once, at its start. Without a running pod nothing is late: the next start sees everything.
    """
    started = [
        state["running"]["startedAt"]
        for pod in pods
        if not pod["metadata"].get("deletionTimestamp")
        for status in (pod.get("status") or {}).get("containerStatuses") or []
        if "running" in (state := status.get("state") or {}) and state["running"].get("startedAt")
    ]
    if not started:
        return []
    # Kubernetes writes UTC with whole seconds, so the texts compare as the times do.
    return sorted(crd["metadata"]["name"] for crd in crds if crd["metadata"]["creationTimestamp"] > max(started))
