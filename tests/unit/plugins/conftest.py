# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An in-memory Kubernetes, and running a module's ``main`` as Ansible does."""

from __future__ import annotations

import copy
import functools
import json
import threading
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import KubeError, Object, Resource

RunModule = t.Callable[..., dict[str, t.Any]]


Method = t.TypeVar("Method", bound=t.Callable[..., t.Any])


def _one_at_a_time(method: Method) -> Method:
    """As the API server serialises the writes of many threads to one object."""

    @functools.wraps(method)
    def locked(self: FakeKube, *arguments: t.Any, **options: t.Any) -> t.Any:
        with self.lock:
            return method(self, *arguments, **options)

    return t.cast("Method", locked)


class FakeKube:
    """:class:`Kube` on a dictionary: versions, uids, merge patches and preconditions as the API server has them.

    ``writes`` lists what was written; ``allowed`` is how many more writes succeed; ``on_write`` sees each one after it was done.
    ``missing`` are namespaces that do not exist; :meth:`serve` says what discovery finds; ``logs``: by namespace and pod.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str | None, str], Object] = {}
        self.paths: dict[str, Object] = {}
        self.missing: set[str] = set()
        self.logs: dict[tuple[str, str], str] = {}
        self.writes: list[tuple[str, str]] = []
        self.allowed: int | None = None
        self.on_write: t.Callable[[str, Object], None] = lambda _verb, _body: None
        self.lock = threading.RLock()
        self._version = 0

    def ask(self, path: str) -> Object | None:
        return copy.deepcopy(self.paths.get(path))

    def log(self, namespace: str, pod: str, *, lines: int, seconds: int) -> str:
        del lines, seconds
        return self.logs.get((namespace, pod), "")

    def serve(self, api_version: str, kind: str, plural: str, *, namespaced: bool = True) -> None:
        path = f"/{'apis' if '/' in api_version else 'api'}/{api_version}"
        entry = {"name": plural, "kind": kind, "namespaced": namespaced, "verbs": ["get", "list"]}
        self.paths.setdefault(path, {"resources": []})["resources"].append(entry)

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        return copy.deepcopy(self.objects.get((resource.plural, namespace, name)))

    def iterate(
        self,
        resource: Resource,
        namespace: str | None,
        labels: t.Mapping[str, str] | None = None,
        *,
        fields: str | None = None,
        metadata_only: bool = False,
    ) -> t.Iterator[Object]:
        del metadata_only
        named = fields.removeprefix("metadata.name=") if fields and fields.startswith("metadata.name=") else None
        for (plural, space, _name), body in sorted(self.objects.items(), key=str):
            has = body["metadata"].get("labels", {})
            wanted = plural == resource.plural and namespace in (None, space) and named in (None, body["metadata"]["name"])
            if wanted and (labels or {}).items() <= has.items():
                yield copy.deepcopy(body)

    @_one_at_a_time
    def create(self, resource: Resource, namespace: str | None, body: Object, *, dry_run: bool = False) -> Object:
        name = body["metadata"]["name"]
        self._refuse_missing(namespace)
        if (resource.plural, namespace, name) in self.objects:
            raise KubeError(f'{resource.plural} "{name}" already exists', 409, "AlreadyExists")
        body = copy.deepcopy(body)
        body["metadata"] |= {"namespace": namespace, "uid": f"uid-{self._version}", "creationTimestamp": "2026-11-23T00:00:00Z"}
        return body if dry_run else self._write("create", resource, namespace, body)

    @_one_at_a_time
    def apply(self, resource: Resource, namespace: str | None, name: str, body: Object, *, dry_run: bool = False) -> Object:
        """Server-side apply of mappings; a list is one value. Who owns what is told as the API server tells it."""
        self._refuse_missing(namespace)
        current = self.objects.get((resource.plural, namespace, name))
        stamp = {"namespace": namespace, "uid": f"uid-{self._version}", "creationTimestamp": "2026-11-23T00:00:00Z"}
        result: Object = copy.deepcopy(current) if current else {"metadata": {"name": name, **stamp}}
        entries = result["metadata"].pop("managedFields", [])
        others = [entry for entry in entries if (entry["manager"], entry["operation"]) != ("kuadrant.llm", "Apply")]
        before: Object = next((entry["fieldsV1"] for entry in entries if entry not in others), {})
        wanted = owned(body)
        _forget(result, before, [wanted, *(entry["fieldsV1"] for entry in others)])
        result = t.cast("Object", merged(result, copy.deepcopy(body)))
        result["metadata"]["managedFields"] = [*others, {"manager": "kuadrant.llm", "operation": "Apply", "fieldsV1": wanted}]
        if dry_run or result == current:
            return result
        return self._write("apply", resource, namespace, result)

    def _refuse_missing(self, namespace: str | None) -> None:
        if namespace in self.missing:
            raise KubeError(f'namespaces "{namespace}" not found', 404, "NotFound")

    @_one_at_a_time
    def patch(
        self, resource: Resource, namespace: str | None, name: str, body: Object, *, strategic: bool = False, dry_run: bool = False
    ) -> Object:
        del strategic
        current = self._existing(resource, namespace, name)
        version = body.get("metadata", {}).get("resourceVersion")
        if version is not None and version != current["metadata"]["resourceVersion"]:
            raise KubeError(f'{resource.plural} "{name}" was changed meanwhile', 409, "Conflict")
        if dry_run:
            return copy.deepcopy(merged(current, body))
        return self._write("patch", resource, namespace, merged(current, body))

    @_one_at_a_time
    def replace(self, resource: Resource, namespace: str | None, name: str, body: Object) -> Object:
        metadata = self._existing(resource, namespace, name)["metadata"]
        body = copy.deepcopy(body)
        body["metadata"] |= {field: metadata[field] for field in ("namespace", "uid", "creationTimestamp")}
        return self._write("replace", resource, namespace, body)

    @_one_at_a_time
    def delete(self, resource: Resource, namespace: str | None, name: str, uid: str | None = None, *, dry_run: bool = False) -> bool:
        body = self.objects.get((resource.plural, namespace, name))
        if body is None:
            return False
        if uid not in (None, body["metadata"]["uid"]):
            raise KubeError(f'{resource.plural} "{name}" is another one', 409, "Conflict")
        if dry_run:
            return True
        if body["metadata"].get("finalizers"):
            body["metadata"]["deletionTimestamp"] = "2026-11-23T00:00:00Z"
            return True
        self._write("delete", resource, namespace, body)
        return True

    def _existing(self, resource: Resource, namespace: str | None, name: str) -> Object:
        if (resource.plural, namespace, name) not in self.objects:
            raise KubeError(f'{resource.plural} "{name}" not found', 404, "NotFound")
        return self.objects[resource.plural, namespace, name]

    def _write(self, verb: str, resource: Resource, namespace: str | None, body: Object) -> Object:
        name = body["metadata"]["name"]
        if self.allowed is not None:
            if not self.allowed:
                raise KubeError(f"Failed to {verb} {name}: the API server is gone")
            self.allowed -= 1
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        if verb == "delete":
            del self.objects[resource.plural, namespace, name]
        else:
            self.objects[resource.plural, namespace, name] = body
        self.writes.append((verb, name))
        self.on_write(verb, copy.deepcopy(body))
        return copy.deepcopy(body)


def owned(body: Object) -> Object:
    """``fieldsV1`` of what an apply sends, without what tells which object it is."""
    metadata = {name: value for name, value in body["metadata"].items() if name not in ("name", "namespace")}
    return _fields({**{name: value for name, value in body.items() if name not in ("apiVersion", "kind")}, "metadata": metadata})


def _fields(value: t.Any) -> Object:
    return {f"f:{name}": _fields(item) for name, item in value.items()} if isinstance(value, dict) else {}


def _forget(value: Object, owned_before: Object, owners: list[Object]) -> None:
    for key, below in owned_before.items():
        name = key.removeprefix("f:")
        still = [owner[key] for owner in owners if key in owner]
        if not still:
            value.pop(name, None)
        elif isinstance(value.get(name), dict):
            _forget(value[name], below, still)


def merged(current: t.Any, patch: t.Any) -> t.Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(current) if isinstance(current, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunModule:
    """Call ``main`` of a module with these options and return what it printed, masked by Ansible as in a real run."""
    # Warnings of a module go into its result; with the controller's code loaded by another test they would go to the terminal.
    monkeypatch.setattr("ansible.module_utils._internal.is_controller", False, raising=False)

    def run(main: t.Callable[[], None], *, check: bool = False, diff: bool = True, **options: t.Any) -> dict[str, t.Any]:
        with patch_module_args({**options, "_ansible_check_mode": check, "_ansible_diff": diff}), pytest.raises(SystemExit):
            main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return run
