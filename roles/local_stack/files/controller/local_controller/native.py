# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Beside every EnvoyFilter with Kuadrant's wasm configuration, one with stock filters that say the same."""

from __future__ import annotations

import json
import time
import typing as t

from . import envoy, logs
from .envoy import BODY_LIMITS, BodyLimits, Upstreams
from .kube import MANAGER, Key, Kube, Object, Resource, key_of, now
from .refusals import Refusal, explain
from .routes import RouteIndex
from .translate import TranslationResult, translate

_MANAGED_BY = "app.kubernetes.io/managed-by"
_WASM_LABEL = "kuadrant.io/wasm"
CONDITION = "kuadrant.llm/Translated"
# istiod applies EnvoyFilters by priority, 0 if they have none. Kuadrant's filter must be there to be removed, and what is put before all
# other filters must find them there.
_AFTER_OTHERS = 10
# Kuadrant and the watches of routes are seconds apart at most; only then is an unknown route a fact.
_UNKNOWN_ROUTE_SECONDS = 5.0


def plugin_config(envoy_filter: Object) -> Object | None:
    """The wasm filter's configuration in Kuadrant's EnvoyFilter, or None if it has no wasm filter.

    :raises KeyError: if the filter is not of the documented shape. :raises ValueError: if its configuration is not JSON.
    """
    for patch in (envoy_filter.get("spec") or {}).get("configPatches") or []:
        value = patch["patch"].get("value") or {}
        if value.get("name") == envoy.KUADRANT_FILTER:
            return t.cast("Object", json.loads(value["typed_config"]["value"]["config"]["configuration"]["value"]))
    return None


def native_filter(source: Object, result: TranslationResult) -> Object:
    """Our EnvoyFilter: same targets, owned by Kuadrant's so that it goes with it."""
    namespace, name = key_of(source)
    return {
        "metadata": {
            "name": f"{name}-native",
            "namespace": namespace,
            "labels": {_MANAGED_BY: MANAGER},
            "ownerReferences": [
                {"apiVersion": source["apiVersion"], "kind": source["kind"], "name": name, "uid": source["metadata"]["uid"]}
            ],
        },
        "spec": {"targetRefs": source["spec"]["targetRefs"], "priority": _AFTER_OTHERS, "configPatches": result.patches},
    }


def condition_for(policy: Object, refusals: list[Refusal]) -> Object | None:
    """The condition that ``policy`` should have and has not; None if there is nothing to say.

    A policy that was never refused gets none. One that kuadrant-operator has not looked at since its last edit has to wait.
    """
    meta, status = policy["metadata"], policy.get("status") or {}
    old = next((c for c in status.get("conditions") or [] if c.get("type") == CONDITION), None)
    if meta.get("deletionTimestamp") or (not refusals and old is None):
        return None
    if status.get("observedGeneration", 0) < meta.get("generation", 0):
        return None
    condition = {
        "type": CONDITION,
        "status": "False" if refusals else "True",
        "reason": refusals[0].reason if refusals else "Translated",
        "message": explain(refusals)[:32768] if refusals else "The local data plane enforces this policy.",
        "observedGeneration": meta.get("generation", 0),
    }
    if old is not None and all(old.get(field) == value for field, value in condition.items()):
        return None
    same = old is not None and old.get("status") == condition["status"]
    return condition | {"lastTransitionTime": old["lastTransitionTime"] if old is not None and same else now()}


class NativeKeeper:
    """Reconciles our EnvoyFilters and tells policies what became of them."""

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        upstreams: Upstreams,
        bodies: BodyLimits = BODY_LIMITS,
        *,
        wasm_shim: bool,
        strict: bool = True,
        totals_only: bool = False,
    ) -> None:
        self._kube = kube
        self._resource = resource
        self._upstreams = upstreams
        self._bodies = bodies
        self._strict = strict
        self._totals_only = totals_only
        self._wasm_shim = wasm_shim
        self._unknown_since: dict[Key, float] = {}
        self._broken: dict[Key, str] = {}
        self._told: dict[str, tuple[Refusal, ...]] = {}

    def reconcile(self, filters: dict[Key, Object], routes: RouteIndex, policies: dict[Resource, dict[Key, Object]]) -> float | None:
        wanted: dict[Key, Object] = {}
        refusals: list[Refusal] = []
        again = None
        broken: dict[Key, str] = {}
        if not self._wasm_shim:
            for key, source in filters.items():
                if (source["metadata"].get("labels") or {}).get(_WASM_LABEL) != "true" or source["metadata"].get("deletionTimestamp"):
                    continue
                try:
                    result, wait = self._translate(key, source, routes)
                except (ValueError, KeyError, TypeError, AttributeError) as exc:
                    broken[key] = f"{type(exc).__name__}: {exc}"
                    native = (key[0], f"{key[1]}-native")
                    if native in filters:
                        wanted[native] = filters[native]  # better the last good one than none
                    continue
                again = wait if wait is not None else again
                if result is not None:
                    native_object = native_filter(source, result)
                    wanted[key_of(native_object)] = native_object
                    refusals += result.refusals
        self._complain(broken)
        self._write(filters, wanted)
        self._tell(refusals, policies)
        return again

    def _translate(self, key: Key, source: Object, routes: RouteIndex) -> tuple[TranslationResult | None, float | None]:
        config = plugin_config(source)
        if config is None:
            return None, None
        since = self._unknown_since.get(key)
        waited = since is not None and time.monotonic() - since >= _UNKNOWN_ROUTE_SECONDS
        result = translate(
            config, routes, self._upstreams, self._bodies, close_unknown=waited, strict=self._strict, totals_only=self._totals_only
        )
        if result.complete:
            self._unknown_since.pop(key, None)
            return result, None
        self._unknown_since.setdefault(key, time.monotonic())
        return result, None if waited else _UNKNOWN_ROUTE_SECONDS

    def _complain(self, broken: dict[Key, str]) -> None:
        for key, problem in broken.items():
            if self._broken.get(key) != problem:
                logs.error(
                    "configuration of Kuadrant's filter not understood, keeping the last translation", object="/".join(key), error=problem
                )
        self._broken = broken

    def _write(self, filters: dict[Key, Object], wanted: dict[Key, Object]) -> None:
        ours = {key: f for key, f in filters.items() if (f["metadata"].get("labels") or {}).get(_MANAGED_BY) == MANAGER}
        for key, obj in wanted.items():
            current = ours.get(key)
            if current is not None and current["spec"] == obj["spec"] and _owner_uids(current) == _owner_uids(obj):
                continue
            self._kube.apply(self._resource, obj)
            logs.info("native filters written", object="/".join(key), patches=len(obj["spec"]["configPatches"]))
        for key in ours.keys() - wanted.keys():
            self._kube.delete(self._resource, key)
            logs.info("native filters removed", object="/".join(key), wasm_shim=self._wasm_shim)

    def _tell(self, refusals: list[Refusal], policies: dict[Resource, dict[Key, Object]]) -> None:
        by_policy: dict[str, list[Refusal]] = {}
        for refusal in refusals:
            for policy in refusal.policies or ("unknown",):
                by_policy.setdefault(policy, []).append(refusal)
        found: set[str] = set()
        for resource, objects in policies.items():
            for key, obj in objects.items():
                locator = resource.locator(key)
                found.add(locator)
                mine = by_policy.get(locator, [])
                self._log_change(locator, mine)
                condition = condition_for(obj, mine)
                if condition is None:
                    continue
                if mine:
                    self._kube.warn(resource, obj, condition["reason"], condition["message"])
                metadata = {"namespace": key[0], "name": key[1]}
                self._kube.apply(resource, {"metadata": metadata, "status": {"conditions": [condition]}}, status=True)
        for locator in by_policy.keys() - found:
            self._log_change(locator, by_policy[locator])
        for locator in self._told.keys() - found - by_policy.keys():
            del self._told[locator]

    def _log_change(self, locator: str, refusals: list[Refusal]) -> None:
        if self._told.get(locator, ()) == tuple(refusals):
            return
        if refusals:
            self._told[locator] = tuple(refusals)
            logs.error("refused", policy=locator, reason=refusals[0].reason, message=explain(refusals))
        else:
            self._told.pop(locator, None)
            logs.info("no longer refused", policy=locator)


def _owner_uids(obj: Object) -> list[str]:
    return [owner["uid"] for owner in obj["metadata"].get("ownerReferences") or []]
