# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Access to an API server that can be read off: options, or a kubeconfig whose user has a token or a certificate.

Loading the library ``kubernetes`` takes a third of a module's processor time. It is left to those who need it: whose credentials a
program makes or a provider refreshes, who go through a proxy, run in a pod, or gave what is wrong, which the library explains.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import ssl
import tempfile
import typing as t
from pathlib import Path

with contextlib.suppress(ImportError):  # both come with kubernetes, whose absence _kube reports
    import urllib3
    import yaml

__all__ = ["PlainAccess", "plain_access"]

#: What the options and ``K8S_AUTH_*`` may say here, by the options' names; with anything else the library is asked.
_OPTIONS = ("kubeconfig", "context", "host", "api_key", "validate_certs", "ca_cert", "client_cert", "client_key")
_ALIASES = {"validate_certs": "verify_ssl", "ca_cert": "ssl_ca_cert", "client_cert": "cert_file", "client_key": "key_file"}
_PREFIX = "K8S_AUTH_"
#: What a cluster and a user of a kubeconfig may say here. Others, such as ``exec`` and ``proxy-url``, are the library's.
_CLUSTER = {"server", "certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify", "tls-server-name", "extensions"}
_USER = {"token", "tokenFile", "client-certificate", "client-certificate-data", "client-key", "client-key-data"}


@dataclasses.dataclass(frozen=True, slots=True)
class PlainAccess:
    """An API server and credentials for it. ``authority``, ``certificate`` and ``key`` are paths, or PEM where ``bytes``."""

    host: str
    token: str | None = dataclasses.field(default=None, repr=False)
    verify: bool = True
    authority: str | bytes | None = None
    certificate: str | bytes | None = None
    key: str | bytes | None = dataclasses.field(default=None, repr=False)
    server_name: str | None = None

    def auth_settings(self) -> dict[str, dict[str, str]]:
        """The header of each request, in the form of the library's own configuration."""
        return {"BearerToken": {"key": "authorization", "value": f"Bearer {self.token}"}} if self.token else {}

    def pool(self, size: int) -> urllib3.PoolManager:
        """Connections, ``size`` of them kept alive. Raises OSError or ValueError for files that are none of certificates."""
        arguments: dict[str, t.Any] = {"maxsize": size}
        if not self.host.startswith("https://"):
            return urllib3.PoolManager(**arguments)
        if not self.verify:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        arguments["cert_reqs"] = "CERT_REQUIRED" if self.verify else "CERT_NONE"
        if isinstance(self.authority, bytes):
            arguments["ca_cert_data"] = self.authority.decode()
        else:
            arguments["ca_certs"] = self.authority
        if self.server_name:
            arguments["server_hostname"] = self.server_name
        if self.certificate:
            # Python reads a client's certificate from files only: they are there for as long as that takes.
            context = urllib3.util.ssl_.create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if self.verify else ssl.CERT_NONE)
            if not self.authority:
                context.load_default_certs()
            with tempfile.TemporaryDirectory() as folder:
                context.load_cert_chain(_file(folder, "crt", self.certificate), _file(folder, "key", self.key) if self.key else None)
            arguments["ssl_context"] = context
        return urllib3.PoolManager(**arguments)


def _file(folder: str, name: str, content: str | bytes) -> str:
    if isinstance(content, str):
        return content
    path = Path(folder, name)
    path.touch(mode=0o600)
    path.write_bytes(content)
    return str(path)


def plain_access(options: t.Mapping[str, t.Any], environment: t.Mapping[str, str]) -> PlainAccess | None:
    """What kubernetes.core's authentication options and the environment name, or None where the library has to be asked."""
    given = _given(options, environment)
    if given is None or any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in environment):
        return None
    try:
        if given.get("host") and (given.get("api_key") or (given.get("client_cert") and given.get("client_key"))):
            return _of_options(given)
        if given.keys() <= {"kubeconfig", "context"} and (given or "KUBERNETES_SERVICE_HOST" not in environment):
            return _of_kubeconfig(given.get("kubeconfig") or environment.get("KUBECONFIG", "~/.kube/config"), given.get("context"))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        pass  # The library says better what is wrong.
    return None


def _given(options: t.Mapping[str, t.Any], environment: t.Mapping[str, str]) -> dict[str, t.Any] | None:
    """What is given of ``_OPTIONS``; None if anything else is."""
    given = {name: value for name, value in options.items() if value is not None}
    for variable, value in environment.items():
        if variable.startswith(_PREFIX) and value:
            name = variable.removeprefix(_PREFIX).lower()
            name = next((option for option, alias in _ALIASES.items() if alias == name), name)
            if name == "validate_certs":
                given.setdefault(name, value.lower() not in ("0", "false", "no"))
            else:
                given.setdefault(name, value)
    return given if given.keys() <= set(_OPTIONS) else None


def _of_options(given: t.Mapping[str, t.Any]) -> PlainAccess | None:
    paths = [given.get(name) for name in ("ca_cert", "client_cert", "client_key")]
    if not all(path is None or Path(path).is_file() for path in paths):
        return None
    return PlainAccess(str(given["host"]).rstrip("/"), given.get("api_key"), given.get("validate_certs", True), *paths)


def _of_kubeconfig(path: t.Any, context: str | None) -> PlainAccess | None:
    if not isinstance(path, str) or os.pathsep in path:
        return None
    file = Path(path).expanduser()
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    names = _named(config["contexts"], context or config["current-context"])["context"]
    cluster = _named(config["clusters"], names["cluster"])["cluster"]
    user = _named(config["users"], names["user"])["user"] or {}
    if not (cluster.keys() <= _CLUSTER and user.keys() <= _USER):
        return None
    folder = file.parent.absolute()
    token = user.get("token") or (_path(folder, user["tokenFile"]).read_text(encoding="utf-8").strip() if "tokenFile" in user else None)
    return PlainAccess(
        cluster["server"].rstrip("/"),
        token,
        not cluster.get("insecure-skip-tls-verify"),
        _content(folder, cluster, "certificate-authority"),
        _content(folder, user, "client-certificate"),
        _content(folder, user, "client-key"),
        cluster.get("tls-server-name"),
    )


def _named(entries: t.Sequence[t.Mapping[str, t.Any]], name: str) -> t.Mapping[str, t.Any]:
    (entry,) = [entry for entry in entries if entry["name"] == name]
    return entry


def _content(folder: Path, section: t.Mapping[str, t.Any], name: str) -> str | bytes | None:
    """Data wins over a file, whose path starts where the kubeconfig lies."""
    if section.get(f"{name}-data"):
        return base64.standard_b64decode(section[f"{name}-data"])
    return str(_path(folder, section[name])) if name in section else None


def _path(folder: Path, path: str) -> Path:
    """Raises FileNotFoundError."""
    return (folder / path).resolve(strict=True)
