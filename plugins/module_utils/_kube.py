# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The Kubernetes client of the collection, and the only file that imports kubernetes.core or the ``kubernetes`` library.

Authentication is kubernetes.core's (same options, same ``K8S_AUTH_*`` variables); requests are plain REST with JSON on a pool of
urllib3, because the library's generated models cost more than the API server does.
"""

from __future__ import annotations

import dataclasses
import os
import time
import traceback
import typing as t
import urllib.parse
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC

from ansible_collections.kuadrant.llm.plugins.module_utils._kube_access import plain_access
from ansible_collections.kuadrant.llm.plugins.module_utils._kube_http import TEXT, KubeError, Object, Transport
from ansible_collections.kuadrant.llm.plugins.module_utils._manifests import Manifests
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGER
from ansible_collections.kuadrant.llm.plugins.module_utils._parallel import WORKERS

_IMPORT_ERROR: str | None = None
try:
    import urllib3
    import yaml
except ImportError:  # both come with kubernetes
    _IMPORT_ERROR = traceback.format_exc()

__all__ = ["FIELD_MANAGER", "PAGE", "SECRETS", "Kube", "KubeError", "Object", "Resource", "RestKube", "argument_spec", "connect"]

PAGE = 500  # objects per LIST request

#: As what this collection applies objects: who owns a field of them, to the API server.
FIELD_MANAGER = MANAGER

#: Environment variable with the folder for manifests.
RENDER_DIR = "LLM_GATEWAY_RENDER_DIR"

_JSON = "application/json"
_APPLY, _MERGE, _STRATEGIC = "application/apply-patch+yaml", "application/merge-patch+json", "application/strategic-merge-patch+json"
_METADATA = f"{_JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclasses.dataclass(frozen=True, slots=True)
class Resource:
    """A kind and where the API serves it: ``Resource("v1", "Secret", "secrets")``. One without namespaces is asked for with ``None``."""

    api_version: str
    kind: str
    plural: str

    @property
    def group(self) -> str:
        """``apps`` of ``apps/v1``, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """The REST path of one object, or of the collection (of all namespaces when ``namespace`` is None)."""
        parts = ["api" if "/" not in self.api_version else "apis", *self.api_version.split("/")]
        parts += ["namespaces", namespace] if namespace else []
        parts += [self.plural] + ([name] if name else [])
        return "/" + "/".join(urllib.parse.quote(part, safe="") for part in parts)


SECRETS = Resource("v1", "Secret", "secrets")
_PODS = Resource("v1", "Pod", "pods")


class Kube(t.Protocol):
    """What the collection needs of Kubernetes. Not found is ``None`` (or ``False``); every other failure is a :class:`KubeError`."""

    def ask(self, path: str) -> Object | None:
        """What the API server says at this path, such as ``/version`` or ``/apis``."""

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None: ...

    def iterate(
        self,
        resource: Resource,
        namespace: str | None,
        labels: t.Mapping[str, str] | None = None,
        *,
        fields: str | None = None,
        metadata_only: bool = False,
    ) -> t.Iterator[Object]:
        """All objects with these labels and that field selector, fetched page by page, without spec and status if ``metadata_only``."""

    def log(self, namespace: str, pod: str, *, lines: int, seconds: int) -> str:
        """The last lines that the only container of a pod printed within these seconds. Empty where there is no such pod."""

    # With dry_run the API server says what would become of the object, and changes nothing.

    def create(self, resource: Resource, namespace: str | None, body: Object, *, dry_run: bool = False) -> Object:
        """Create it; what has no name, such as a SelfSubjectAccessReview, is answered and not kept."""

    def apply(self, resource: Resource, namespace: str | None, name: str, body: Object, *, dry_run: bool = False) -> Object:
        """Server-side apply as :data:`FIELD_MANAGER`, forced: fields that ``body`` no longer has go, those of other managers stay."""

    def patch(
        self, resource: Resource, namespace: str | None, name: str, body: Object, *, strategic: bool = False, dry_run: bool = False
    ) -> Object:
        """JSON merge patch (RFC 7386), or a strategic one; with ``metadata.resourceVersion`` in ``body`` a concurrent change is refused."""

    def replace(self, resource: Resource, namespace: str | None, name: str, body: Object) -> Object: ...

    def delete(self, resource: Resource, namespace: str | None, name: str, uid: str | None = None, *, dry_run: bool = False) -> bool:
        """Delete, only the object with this ``uid`` if given. False when there is none (any more)."""


def argument_spec(**options: t.Any) -> dict[str, t.Any]:
    """A module's own options beside kubernetes.core's authentication options, and where manifests are written in place of objects."""
    return {**AUTH_ARG_SPEC, "render_dir": {"type": "path", "fallback": (env_fallback, [RENDER_DIR])}, **options}


def connect(module: AnsibleModule) -> RestKube:
    """A client for the cluster that the module's options, the environment or the kubeconfig name. No request is sent.

    With ``render_dir`` it keeps what would be applied as manifests. Raises KubeError if that would not be all that the module does.
    """
    render_dir = module.params["render_dir"]
    if render_dir and not module.check_mode:
        raise KubeError(
            f"render_dir (llm_gateway_render_dir, {RENDER_DIR}): manifests are written in place of objects, so nothing may be applied. "
            "Run again in check mode, with --check."
        )
    if _IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_IMPORT_ERROR)
    kube = _plain(module) or _by_library(module)
    kube.manifests = Manifests(render_dir, module.warn) if render_dir else None
    return kube


def _plain(module: AnsibleModule) -> RestKube | None:
    access = plain_access({name: module.params[name] for name in AUTH_ARG_SPEC}, os.environ)
    try:
        return RestKube(access, access.pool(WORKERS), {}) if access else None
    except (OSError, ValueError):
        return None  # The library says better what is wrong.


def _by_library(module: AnsibleModule) -> RestKube:
    try:
        import kubernetes
        from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import (
            _create_auth_spec,
            _create_configuration,
            _create_headers,
        )
    except ImportError:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=traceback.format_exc())
    auth = _create_auth_spec(module)
    path = auth.get("kubeconfig")
    try:
        configuration = _create_configuration(auth)
        configuration.connection_pool_maxsize = WORKERS
        client = kubernetes.client.ApiClient(configuration)
    except yaml.YAMLError as exc:  # its text quotes the file, and the file holds credentials
        raise KubeError(f"Failed to load the Kubernetes configuration{_named(path)}: it is not valid YAML. Correct the file.") from exc
    except (kubernetes.config.ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
        told = str(exc) if isinstance(exc, (kubernetes.config.ConfigException, OSError)) else "it is not a kubeconfig"
        raise KubeError(
            f"Failed to load the Kubernetes configuration{_named(path)}: {told.rstrip('.')}. "
            "Set kubeconfig (or K8S_AUTH_KUBECONFIG) to an existing file and context to one of its contexts, or give host and api_key."
        ) from exc
    return RestKube(configuration, client.rest_client.pool_manager, _create_headers(module))


def _named(kubeconfig: t.Any) -> str:
    # The option is no_log in kubernetes.core, so the whole path would be masked in the message: tell name and folder apart.
    if not isinstance(kubeconfig, str):
        return ""
    path = Path(kubeconfig).expanduser()
    missing = "" if path.exists() else ", which does not exist"
    return f" (file {path.name!r} in {str(path.parent)!r}{missing})"


class RestKube:
    """:class:`Kube` over HTTP. Safe to share between threads. ``pause`` is how it waits before it tries again."""

    def __init__(
        self,
        configuration: t.Any,
        pool: urllib3.PoolManager,
        headers: t.Mapping[str, t.Any],
        pause: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = Transport(configuration, pool, headers, pause)
        self.manifests: Manifests | None = None

    def ask(self, path: str) -> Object | None:
        return self._transport.request("GET", path, f"read {path}", accept=_JSON, content=_JSON)

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        return self._call("GET", resource, namespace, name)

    def iterate(
        self,
        resource: Resource,
        namespace: str | None,
        labels: t.Mapping[str, str] | None = None,
        *,
        fields: str | None = None,
        metadata_only: bool = False,
    ) -> t.Iterator[Object]:
        query = {"limit": str(PAGE)}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        if fields:
            query["fieldSelector"] = fields
        while True:
            page = self._call("GET", resource, namespace, query=query, accept=_METADATA if metadata_only else _JSON) or {}
            yield from page.get("items") or ()
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            query["continue"] = token

    def log(self, namespace: str, pod: str, *, lines: int, seconds: int) -> str:
        path = f"{_PODS.path(namespace, pod)}/log?tailLines={lines}&sinceSeconds={seconds}"
        answer = self._transport.request("GET", path, f'read the log of Pod "{pod}" in namespace "{namespace}"', accept=TEXT, content=_JSON)
        return str((answer or {}).get("text", ""))

    def create(self, resource: Resource, namespace: str | None, body: Object, *, dry_run: bool = False) -> Object:
        name = body.get("metadata", {}).get("name")
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **body}

        def write() -> Object | None:
            return self._call("POST", resource, namespace, body=body, query=_query(dry_run), subject=name)

        created = self._once(write, resource, namespace, name, body)
        return self._served(created, "create", resource, namespace, name)  # the only 404 of a POST is its namespace, or its kind

    def apply(self, resource: Resource, namespace: str | None, name: str, body: Object, *, dry_run: bool = False) -> Object:
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        query = {"fieldManager": FIELD_MANAGER, "force": "true", **_query(dry_run)}
        applied = self._call("PATCH", resource, namespace, name, body=body, query=query, content=_APPLY, verb="apply")
        return self._served(applied, "apply", resource, namespace, name)

    def patch(
        self, resource: Resource, namespace: str | None, name: str, body: Object, *, strategic: bool = False, dry_run: bool = False
    ) -> Object:
        content = _STRATEGIC if strategic else _MERGE

        def write() -> Object | None:
            return self._call("PATCH", resource, namespace, name, body=body, query=_query(dry_run), content=content)

        patched = self._once(write, resource, namespace, name, body)
        return self._present(patched, "patch", resource, namespace, name)

    def replace(self, resource: Resource, namespace: str | None, name: str, body: Object) -> Object:
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        return self._present(self._call("PUT", resource, namespace, name, body=body), "replace", resource, namespace, name)

    def delete(self, resource: Resource, namespace: str | None, name: str, uid: str | None = None, *, dry_run: bool = False) -> bool:
        # Where there is a body, the API server does not look at the query: a dry run has to be asked for in the body.
        options: Object = {"preconditions": {"uid": uid}} if uid else {}
        options |= {"dryRun": ["All"]} if dry_run else {}
        return self._call("DELETE", resource, namespace, name, body=options or None) is not None

    def _once(
        self, write: t.Callable[[], Object | None], resource: Resource, namespace: str | None, name: str | None, body: Object
    ) -> Object | None:
        """A write that a second try refuses with 409 when the first one was carried out and its answer lost: success, not conflict."""
        try:
            return write()
        except KubeError as exc:
            current = self.get(resource, namespace, name) if exc.status == 409 and exc.unclear and name else None
            if current is None or not _holds(current, body):
                raise
            return current

    @staticmethod
    def _present(answer: Object | None, verb: str, resource: Resource, namespace: str | None, name: str) -> Object:
        if answer is None:
            where = f' in namespace "{namespace}"' if namespace else ""
            raise KubeError(f'Failed to {verb} {resource.kind} "{name}"{where}: it has disappeared meanwhile. Run again.', status=404)
        return answer

    @staticmethod
    def _served(answer: Object | None, verb: str, resource: Resource, namespace: str | None, name: str | None) -> Object:
        if answer is None:
            what = f'{resource.kind} "{name}"' if name else resource.kind
            space = f'namespace "{namespace}" does not exist, or ' if namespace else ""
            raise KubeError(
                f"Failed to {verb} {what}: {space}the cluster does not serve {resource.api_version} {resource.kind}. "
                f"{'Create the namespace (or install the CRD) first.' if namespace else 'Install the CRD first.'}",
                status=404,
            )
        return answer

    def _call(
        self,
        method: str,
        resource: Resource,
        namespace: str | None,
        name: str | None = None,
        *,
        body: Object | None = None,
        query: t.Mapping[str, str] | None = None,
        subject: str | None = None,
        accept: str = _JSON,
        content: str = _JSON,
        verb: str = "",
    ) -> Object | None:
        action = f"{verb or (_VERBS[method] if name or method != 'GET' else 'list')} {resource.kind}"
        action += f' "{name or subject}"' if name or subject else "s"
        action += f' in namespace "{namespace}"' if namespace else ""
        path = resource.path(namespace, name) + ("?" + urllib.parse.urlencode(query) if query else "")
        return self._transport.request(method, path, action, body, accept=accept, content=content)


_VERBS = {"GET": "read", "POST": "create", "PATCH": "patch", "PUT": "replace", "DELETE": "delete"}


def _query(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _holds(current: t.Any, sent: t.Any) -> bool:
    """Whether the object is as the merge patch (or the whole object) ``sent`` makes it."""
    if isinstance(sent, t.Mapping):
        held = current if isinstance(current, t.Mapping) else {}
        return all(_holds(held.get(name), value) for name, value in sent.items() if name not in ("apiVersion", "kind", "resourceVersion"))
    return bool(current == sent)
