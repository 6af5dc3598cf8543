# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API server: resources as plain dictionaries, watches that never give up, writes that say who wrote."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import threading
import typing as t

from kubernetes import client, config, watch

from . import logs

MANAGER = "kuadrant.llm-local-controller"
Object = dict[str, t.Any]
Key = tuple[str, str]

_WATCH_SECONDS = 240
_CONNECT_SECONDS = 5
_READ_SECONDS = 30
_FIRST_DELAY, _LAST_DELAY = 0.5, 5.0
_NOT_FOUND, _CONFLICT, _GONE = 404, 409, 410


@dataclasses.dataclass(frozen=True)
class Resource:
    """A resource to watch in all namespaces; an ``optional`` one may not be served at all."""

    group: str
    version: str
    plural: str
    kind: str
    optional: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}"

    def locator(self, key: Key) -> str:
        """How kuadrant-operator names an object: ``ratelimitpolicy.kuadrant.io:llm/llm-rate-limits``."""
        return f"{self.kind.lower()}.{self.group}:{key[0]}/{key[1]}"


def key_of(obj: Object) -> Key:
    return obj["metadata"].get("namespace") or "", obj["metadata"]["name"]


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def describe(exc: BaseException) -> str:
    """One line: what the server said, or what happened to the connection."""
    if isinstance(exc, client.ApiException):
        return f"HTTP {exc.status} {exc.reason}: {' '.join(str(exc.body or '').split())[:400]}"
    return f"{type(exc).__name__}: {' '.join(str(exc).split())[:400]}"


class Kube:
    """A connection made from a kubeconfig file."""

    def __init__(self, kubeconfig: str) -> None:
        configuration = client.Configuration()
        config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
        configuration.retries = False
        configuration.connection_pool_maxsize = 32
        api_client = client.ApiClient(configuration)
        self._custom = client.CustomObjectsApi(api_client)
        self._core = client.CoreV1Api(api_client)

    def list(self, resource: Resource) -> Object:
        answer = self._custom.list_cluster_custom_object(
            resource.group, resource.version, resource.plural, _request_timeout=(_CONNECT_SECONDS, _READ_SECONDS)
        )
        return t.cast("Object", answer)

    def watch(self, resource: Resource, version: str) -> t.Iterator[tuple[str, Object]]:
        """Yield ``(type, object)`` until the server ends the watch."""
        stream = watch.Watch().stream(
            self._custom.list_cluster_custom_object,
            resource.group,
            resource.version,
            resource.plural,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=_WATCH_SECONDS,
            _request_timeout=(_CONNECT_SECONDS, _WATCH_SECONDS + _READ_SECONDS),
        )
        for event in stream:
            yield event["type"], event["raw_object"]

    def apply(self, resource: Resource, obj: Object, *, status: bool = False) -> None:
        """Server-side apply; with ``status``, of the status subresource only."""
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
        patch = self._custom.patch_namespaced_custom_object_status if status else self._custom.patch_namespaced_custom_object
        patch(
            resource.group,
            resource.version,
            obj["metadata"]["namespace"],
            resource.plural,
            obj["metadata"]["name"],
            body,
            field_manager=MANAGER,
            force=True,
            _content_type="application/apply-patch+yaml",
            _request_timeout=(_CONNECT_SECONDS, _READ_SECONDS),
        )

    def delete(self, resource: Resource, key: Key) -> None:
        try:
            self._custom.delete_namespaced_custom_object(
                resource.group, resource.version, key[0], resource.plural, key[1], _request_timeout=(_CONNECT_SECONDS, _READ_SECONDS)
            )
        except client.ApiException as exc:
            if exc.status != _NOT_FOUND:
                raise

    def warn(self, resource: Resource, obj: Object, reason: str, message: str) -> None:
        """Put a Warning event on ``obj``; once for the same generation, reason and message."""
        meta = obj["metadata"]
        digest = hashlib.sha256(f"{meta['uid']}|{meta.get('generation')}|{reason}|{message}".encode()).hexdigest()[:16]
        moment = now()
        event = {
            "metadata": {"name": f"{meta['name']}.{digest}", "namespace": meta["namespace"]},
            "type": "Warning",
            "reason": reason,
            "message": message[:1024],
            "involvedObject": {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
            "source": {"component": MANAGER},
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
        try:
            self._core.create_namespaced_event(meta["namespace"], event, _request_timeout=(_CONNECT_SECONDS, _READ_SECONDS))
        except client.ApiException as exc:
            if exc.status != _CONFLICT:
                raise


class Watches:
    """Which watches are alive. One outage of the server is told once for each kind of error, not once for each watch."""

    def __init__(self, resources: t.Iterable[Resource]) -> None:
        self._lock = threading.Lock()
        self._alive = dict.fromkeys(resources, False)
        self._complaints: set[str] = set()
        self._told = False

    def alive(self, resource: Resource) -> None:
        with self._lock:
            self._alive[resource] = True
            if all(self._alive.values()) and not self._told:
                logs.info("watching", resources=",".join(sorted(r.plural for r in self._alive)))
                self._complaints.clear()
                self._told = True

    def lost(self, resource: Resource, complaint: str) -> None:
        with self._lock:
            self._alive[resource] = False
            self._told = False
            if complaint not in self._complaints:
                logs.warning("watch lost, trying again", resource=resource.plural, error=complaint)
            self._complaints.add(complaint)

    def state(self) -> dict[str, bool]:
        with self._lock:
            return {resource.plural: alive for resource, alive in self._alive.items()}


class Informer:
    """Keeps ``objects`` equal to what the server has, and calls ``changed`` after every difference.

    After a failure it lists again, waiting 0.5 s and then twice as long each time, up to 5 s.
    """

    def __init__(self, kube: Kube, resource: Resource, watches: Watches, changed: t.Callable[[], None], stop: threading.Event) -> None:
        self.resource = resource
        self.objects: dict[Key, Object] = {}
        self.synced = False
        self._kube = kube
        self._watches = watches
        self._changed = changed
        self._stop = stop

    def start(self) -> None:
        threading.Thread(target=self.run, name=self.resource.plural, daemon=True).start()

    def run(self) -> None:
        """Follow the server until ``stop`` is set."""
        delay = _FIRST_DELAY
        while not self._stop.is_set():
            try:
                version = self._list()
                delay = _FIRST_DELAY
                while not self._stop.is_set():
                    version = self._follow(version)
            except Exception as exc:  # whatever it is: a watch that ends silently would be worse
                status = getattr(exc, "status", None)
                if status == _GONE:
                    continue  # the version is too old: list again, nothing is wrong
                if status == _NOT_FOUND and self.resource.optional:
                    self._replace({})
                    self._watches.alive(self.resource)
                else:
                    self._watches.lost(self.resource, describe(exc))
            self._stop.wait(delay)
            delay = min(delay * 2, _LAST_DELAY)

    def _list(self) -> str:
        answer = self._kube.list(self.resource)
        objects = {}
        for item in answer.get("items") or []:
            item.setdefault("kind", self.resource.kind)
            item.setdefault("apiVersion", self.resource.api_version)
            objects[key_of(item)] = item
        self._replace(objects)
        self._watches.alive(self.resource)
        return str(answer["metadata"]["resourceVersion"])

    def _follow(self, version: str) -> str:
        for event, obj in self._kube.watch(self.resource, version):
            version = obj["metadata"]["resourceVersion"]
            if event == "BOOKMARK":
                continue
            objects = dict(self.objects)  # readers in other threads keep what they have
            if event == "DELETED":
                objects.pop(key_of(obj), None)
            else:
                objects[key_of(obj)] = obj
            self.objects = objects
            self._changed()
        return version

    def _replace(self, objects: dict[Key, Object]) -> None:
        different = not self.synced or objects != self.objects
        self.objects = objects
        self.synced = True
        if different:
            self._changed()
