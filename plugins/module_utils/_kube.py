# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The Kubernetes client of the collection, and the only file that imports kubernetes.core or the ``kubernetes`` library.

Authentication is kubernetes.core's (same options, same ``K8S_AUTH_*`` variables); requests are plain REST with JSON on the
library's own urllib3 pool, because its generated models cost more than the API server does.
"""

from __future__ import annotations

import dataclasses
import json
import traceback
import typing as t
import urllib.parse
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

_IMPORT_ERROR: str | None = None
try:
    import kubernetes
    import urllib3
    import yaml
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import (
        _create_auth_spec,
        _create_configuration,
        _create_headers,
    )
except ImportError:
    _IMPORT_ERROR = traceback.format_exc()

Object: t.TypeAlias = dict[str, t.Any]

PAGE = 500  # objects per LIST request
CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 60.0  # seconds

_JSON = "application/json"
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


class Kube(t.Protocol):
    """What the collection needs of Kubernetes. Not found is ``None`` (or ``False``); every other failure is a :class:`KubeError`."""

    def ask(self, path: str) -> Object | None:
        """What the API server says at this path, such as ``/version`` or ``/apis``."""

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None: ...

    def iterate(
        self, resource: Resource, namespace: str | None, labels: t.Mapping[str, str] | None = None, *, metadata_only: bool = False
    ) -> t.Iterator[Object]:
        """All objects with these labels, fetched page by page, without spec and status if ``metadata_only``."""

    def create(self, resource: Resource, namespace: str | None, body: Object) -> Object:
        """Create it; what has no name, such as a SelfSubjectAccessReview, is answered and not kept."""

    def patch(self, resource: Resource, namespace: str, name: str, body: Object, *, dry_run: bool = False) -> Object:
        """JSON merge patch (RFC 7386); put ``metadata.resourceVersion`` in ``body`` to refuse a concurrent change.

        With ``dry_run`` the API server says what would become of the object and changes nothing.
        """

    def replace(self, resource: Resource, namespace: str, name: str, body: Object) -> Object: ...

    def delete(self, resource: Resource, namespace: str, name: str, uid: str | None = None) -> bool:
        """Delete, only the object with this ``uid`` if given. False when there was none."""


class KubeError(GatewayError):
    """The API server refused, or could not be reached (``status`` 0)."""

    def __init__(self, message: str, status: int = 0, reason: str = "", **details: t.Any) -> None:
        super().__init__(message, **details)
        self.status = status
        self.reason = reason


def argument_spec(**options: t.Any) -> dict[str, t.Any]:
    """A module's own options beside kubernetes.core's authentication options."""
    return {**AUTH_ARG_SPEC, **options}


def connect(module: AnsibleModule) -> RestKube:
    """A client for the cluster that the module's options, the environment or the kubeconfig name. No request is sent."""
    if _IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_IMPORT_ERROR)
    auth = _create_auth_spec(module)
    path = auth.get("kubeconfig")
    try:
        configuration = _create_configuration(auth)
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
    """:class:`Kube` over HTTP. Safe to share between threads (urllib3's pool is; nothing else here changes)."""

    def __init__(self, configuration: t.Any, pool: urllib3.PoolManager, headers: t.Mapping[str, t.Any]) -> None:
        self._configuration = configuration
        self._pool = pool
        self._headers = headers
        # 429 is refused before it is processed, so every verb may be tried again, after the pause that the server asks for.
        self._retries = urllib3.Retry(
            connect=0,
            read=0,
            redirect=0,
            other=0,
            status=5,
            status_forcelist={429},
            allowed_methods=None,
            backoff_factor=0.2,
            raise_on_status=False,
        )
        self._timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT)

    def ask(self, path: str) -> Object | None:
        return self._request("GET", path, f"read {path}")

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        return self._call("GET", resource, namespace, name)

    def iterate(
        self, resource: Resource, namespace: str | None, labels: t.Mapping[str, str] | None = None, *, metadata_only: bool = False
    ) -> t.Iterator[Object]:
        query = {"limit": str(PAGE)}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        while True:
            page = self._call("GET", resource, namespace, query=query, accept=_METADATA if metadata_only else _JSON) or {}
            yield from page.get("items") or ()
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            query["continue"] = token

    def create(self, resource: Resource, namespace: str | None, body: Object) -> Object:
        name = body.get("metadata", {}).get("name")
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        created = self._call("POST", resource, namespace, body=body, subject=name)
        if created is None:  # the only 404 of a POST is its namespace (or a kind that the cluster does not serve)
            what = f'{resource.kind} "{name}"' if name else resource.kind
            space = f'namespace "{namespace}" does not exist, or ' if namespace else ""
            raise KubeError(
                f"Failed to create {what}: {space}the cluster does not serve {resource.api_version} {resource.kind}. "
                f"{'Create the namespace (or install the CRD) first.' if namespace else 'Install the CRD first.'}",
                status=404,
            )
        return created

    def patch(self, resource: Resource, namespace: str, name: str, body: Object, *, dry_run: bool = False) -> Object:
        query = {"dryRun": "All"} if dry_run else None
        return self._present(self._call("PATCH", resource, namespace, name, body=body, query=query), "patch", resource, namespace, name)

    def replace(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        return self._present(self._call("PUT", resource, namespace, name, body=body), "replace", resource, namespace, name)

    def delete(self, resource: Resource, namespace: str, name: str, uid: str | None = None) -> bool:
        options = {"preconditions": {"uid": uid}} if uid else None
        return self._call("DELETE", resource, namespace, name, body=options) is not None

    @staticmethod
    def _present(answer: Object | None, verb: str, resource: Resource, namespace: str, name: str) -> Object:
        if answer is None:
            raise KubeError(
                f'Failed to {verb} {resource.kind} "{name}" in namespace "{namespace}": it has disappeared meanwhile. Run again.',
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
    ) -> Object | None:
        action = f"{_VERBS[method] if name or method != 'GET' else 'list'} {resource.kind}"
        action += f' "{name or subject}"' if name or subject else "s"
        action += f' in namespace "{namespace}"' if namespace else ""
        path = resource.path(namespace, name) + ("?" + urllib.parse.urlencode(query) if query else "")
        return self._request(method, path, action, body, accept)

    def _request(self, method: str, path: str, action: str, body: Object | None = None, accept: str = _JSON) -> Object | None:
        """One request: the decoded answer, ``None`` for 404, else :class:`KubeError`."""
        url = self._configuration.host.rstrip("/") + path
        content = "application/merge-patch+json" if method == "PATCH" else _JSON
        headers = urllib3.HTTPHeaderDict({"Accept": accept, "Content-Type": content, "User-Agent": "kuadrant.llm"})
        for header, value in self._headers.items():
            for one in value if isinstance(value, list) else [value]:
                headers.add(header, one)
        for setting in self._configuration.auth_settings().values():  # here exec plugins and token files are refreshed
            if setting["value"]:
                headers[setting["key"]] = setting["value"]
        try:
            response = self._pool.request(
                method, url, body=None if body is None else json.dumps(body), headers=headers, retries=self._retries, timeout=self._timeout
            )
        except urllib3.exceptions.HTTPError as exc:
            raise KubeError(f"Failed to {action}: {_unreachable(self._configuration.host, exc)}") from exc
        answer = _decoded(response.data)
        if 200 <= response.status < 300:
            return answer
        reason = str(answer.get("reason") or response.reason or "")
        # A missing object is an answer. A 404 from something that is not the Kubernetes API is not.
        if response.status == 404 and answer.get("kind") == "Status":
            return None
        said = " ".join(str(answer.get("message") or response.data[:200].decode("utf-8", "replace")).split())
        raise KubeError(
            f"Failed to {action}: the API server answered {response.status} {reason}: {said.rstrip('.')}. {_remedy(response.status)}",
            status=response.status,
            reason=reason,
        )


_VERBS = {"GET": "read", "POST": "create", "PATCH": "patch", "PUT": "replace", "DELETE": "delete"}

_REMEDIES = {
    401: "The credentials are missing, wrong or expired: check the kubeconfig, its context, or api_key.",
    403: "Grant this user the verb on the resource (kubectl auth can-i tells), or use other credentials.",
    404: "Check that the host is a Kubernetes API server.",
    409: "Somebody else changed it at the same time: run again.",
    410: "The list was changing for too long: run again.",
    422: "The object does not suit the API: the message names the field.",
    429: "The API server is overloaded: run again later.",
}


def _remedy(status: int) -> str:
    if status >= 500:
        return "Look at the API server and its admission webhooks, then run again."
    return _REMEDIES.get(status, "Correct the request.")


def _decoded(data: bytes) -> Object:
    try:
        answer = json.loads(data) if data else {}
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _unreachable(host: str, exc: Exception) -> str:
    cause: BaseException = exc
    while isinstance(cause, urllib3.exceptions.MaxRetryError) and cause.reason:
        cause = cause.reason
    if isinstance(cause, urllib3.exceptions.SSLError):
        return f"TLS with the API server {host} failed: {cause}. Set ca_cert to the authority that signed its certificate."
    refused = isinstance(cause, urllib3.exceptions.NewConnectionError)  # which is a ConnectTimeoutError to urllib3
    if isinstance(cause, urllib3.exceptions.TimeoutError) and not refused:
        return f"the API server {host} did not answer in time. Check the address, the network and the server."
    told = str(cause).split(": ", 1)[-1] if refused else str(cause)
    return f"the API server {host} cannot be reached: {told}. Check the address, the network and that the server runs."
