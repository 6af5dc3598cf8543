# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import copy
import datetime
import http.server
import ipaddress
import os
import pathlib
import ssl
import tempfile
import threading
import typing as t

import kubernetes
import pytest
import urllib3
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import _create_auth_spec, _create_configuration
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec
from ansible_collections.kuadrant.llm.plugins.module_utils._kube_access import PlainAccess, plain_access

PEM = b"-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"
DATA = base64.standard_b64encode(PEM).decode()
HOST = "https://api.example:6443"
USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def kubeconfig(user: t.Any = None, **cluster: t.Any) -> dict[str, t.Any]:
    return {
        "current-context": "one",
        "contexts": [
            {"name": "one", "context": {"cluster": "here", "user": "me"}},
            {"name": "two", "context": {"cluster": "there", "user": "me", "namespace": "llm"}},
        ],
        "clusters": [
            {"name": "here", "cluster": {"server": HOST, **{name.replace("_", "-"): value for name, value in cluster.items()}}},
            {"name": "there", "cluster": {"server": "https://there.example/prefix/"}},
        ],
        "users": [{"name": "me", "user": {"token": "secret"} if user is None else user}],
    }


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    """A home with files that a kubeconfig may name, and an environment that says nothing of a cluster."""
    for name in list(os.environ):
        if name.startswith(("K8S_AUTH_", "KUBE")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(kubernetes.config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", "~/.kube/config")
    kubernetes.client.Configuration.set_default(None)  # what another test had loaded
    for name in ("ca.crt", "client.crt", "client.key", "token"):
        (tmp_path / name).write_bytes(b"secret" if name == "token" else PEM)
    return tmp_path


def given(options: dict[str, t.Any]) -> AnsibleModule:
    with patch_module_args(options):
        return AnsibleModule(argument_spec=argument_spec())


def read(options: dict[str, t.Any]) -> PlainAccess | None:
    params = given(options).params
    return plain_access({name: value for name, value in params.items() if name != "render_dir"}, os.environ)


def pem(path_or_data: str | bytes | None) -> bytes | None:
    return pathlib.Path(path_or_data).read_bytes() if isinstance(path_or_data, str) else path_or_data


def as_the_library_reads(options: dict[str, t.Any]) -> dict[str, t.Any]:
    wanted = _create_configuration(_create_auth_spec(given(options)))
    return {
        "host": wanted.host,
        "authorization": [setting["value"] for setting in wanted.auth_settings().values()],
        "verify": wanted.verify_ssl,
        "authority": pem(wanted.ssl_ca_cert),
        "certificate": pem(wanted.cert_file),
        "key": pem(wanted.key_file),
        "server_name": wanted.tls_server_name,
    }


CONFIGS = {
    "a token": kubeconfig(),
    "a token in a file": kubeconfig({"tokenFile": "token"}),
    "a token and a file of it": kubeconfig({"token": "first", "tokenFile": "token"}),
    "files of certificates": kubeconfig(
        {"client-certificate": "client.crt", "client-key": "client.key"}, certificate_authority="ca.crt", tls_server_name="other.example"
    ),
    "certificates": kubeconfig({"client-certificate-data": DATA, "client-key-data": DATA}, certificate_authority_data=DATA),
    "data before files": kubeconfig({"client-certificate-data": DATA, "client-certificate": "no-such", "client-key": "client.key"}),
    "nothing verified": kubeconfig(insecure_skip_tls_verify=True),
    "verified on purpose": kubeconfig(insecure_skip_tls_verify=False),
    "a slash at the end": {**kubeconfig(), "current-context": "two"},
    "nobody": kubeconfig({}),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("how", ["option", "variable", "KUBECONFIG", "at home"])
def test_a_kubeconfig_says_what_the_library_reads(name: str, how: str, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / ("config" if how != "at home" else ".kube/config")
    path.parent.mkdir(exist_ok=True)
    config = copy.deepcopy(CONFIGS[name])
    if how == "at home":
        for file in ("ca.crt", "client.crt", "client.key", "token"):
            (folder / file).rename(path.parent / file)
    path.write_text(yaml.safe_dump(config))
    options = {"kubeconfig": "~/config"} if how == "option" else {}
    if how == "variable":
        monkeypatch.setenv("K8S_AUTH_KUBECONFIG", str(path))
    elif how == "KUBECONFIG":
        monkeypatch.setenv("KUBECONFIG", str(path))
        monkeypatch.setattr(kubernetes.config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    access = read(options)
    assert access, "the library is asked"
    assert as_read(access) == as_the_library_reads(options)


def as_read(access: PlainAccess) -> dict[str, t.Any]:
    return {
        "host": access.host,
        "authorization": [setting["value"] for setting in access.auth_settings().values()],
        "verify": access.verify,
        "authority": pem(access.authority),
        "certificate": pem(access.certificate),
        "key": pem(access.key),
        "server_name": access.server_name,
    }


@pytest.mark.parametrize(
    ("options", "variables"),
    [
        ({"context": "two", "kubeconfig": "~/config"}, {}),
        ({"kubeconfig": "~/config"}, {"K8S_AUTH_CONTEXT": "two"}),
        ({"host": f"{HOST}/", "api_key": "secret"}, {}),
        ({"host": HOST, "api_key": "secret", "validate_certs": False}, {}),
        ({"host": HOST, "api_key": "secret", "ca_cert": "~/ca.crt"}, {"K8S_AUTH_API_KEY": "other"}),
        ({"host": HOST, "client_cert": "~/client.crt", "client_key": "~/client.key", "ca_cert": "~/ca.crt"}, {}),
        ({}, {"K8S_AUTH_HOST": HOST, "K8S_AUTH_API_KEY": "secret", "K8S_AUTH_VERIFY_SSL": "False"}),
        ({}, {"K8S_AUTH_HOST": HOST, "K8S_AUTH_API_KEY": "secret", "K8S_AUTH_VALIDATE_CERTS": "no", "K8S_AUTH_SSL_CA_CERT": "ca.crt"}),
        ({"validate_certs": True}, {"K8S_AUTH_HOST": HOST, "K8S_AUTH_API_KEY": "secret", "K8S_AUTH_VERIFY_SSL": "0"}),
    ],
)
def test_options_and_variables_say_what_the_library_reads(
    options: dict[str, t.Any], variables: dict[str, str], folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "config").write_text(yaml.safe_dump(kubeconfig()))
    monkeypatch.chdir(folder)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    access = read(options)
    assert access, "the library is asked"
    assert as_read(access) == as_the_library_reads(options)


BASIC = {"username": "me", "password": "secret"}
PROGRAM = {"exec": {"command": "aws", "apiVersion": "client.authentication.k8s.io/v1"}}
PROVIDER = {"auth-provider": {"name": "oidc", "config": {"id-token": "x"}}}


@pytest.mark.parametrize("user", [PROGRAM, PROVIDER, BASIC, {"token": "x", "as": "admin"}], ids=["exec", "provider", "basic", "as"])
def test_a_user_who_is_more_than_a_token_is_the_library_s(user: dict[str, t.Any], folder: pathlib.Path) -> None:
    (folder / "config").write_text(yaml.safe_dump(kubeconfig(user)))
    assert read({"kubeconfig": "~/config"}) is None


@pytest.mark.parametrize(
    ("options", "variables"),
    [
        ({"kubeconfig": kubeconfig()}, {}),
        ({"kubeconfig": "~/config:~/other"}, {}),
        ({"kubeconfig": "~/no-such"}, {}),
        ({"kubeconfig": "~/config", "context": "no-such"}, {}),
        ({"kubeconfig": "~/config", "api_key": "other"}, {}),
        ({"kubeconfig": "~/config", "validate_certs": False}, {}),
        ({"kubeconfig": "~/config", "impersonate_user": "bob"}, {}),
        ({"kubeconfig": "~/config", "impersonate_groups": ["bob"]}, {}),
        ({"kubeconfig": "~/config", "proxy": "http://proxy"}, {}),
        ({"kubeconfig": "~/config", "persist_config": True}, {}),
        ({"kubeconfig": "~/config"}, {"K8S_AUTH_IMPERSONATE_USER": "bob"}),
        ({"kubeconfig": "~/config"}, {"K8S_AUTH_PROXY_HEADERS_USER_AGENT": "me"}),
        ({"kubeconfig": "~/config"}, {"https_proxy": "http://proxy"}),
        ({"host": HOST, "api_key": "x"}, {"HTTPS_PROXY": "http://proxy"}),
        ({"host": HOST, "api_key": "x", "ca_cert": "~/no-such"}, {}),
        ({"host": HOST, "username": "me", "password": "secret"}, {}),
        ({"host": HOST}, {}),
        ({"context": "one", "host": HOST}, {}),
        ({}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}),
    ],
)
def test_what_is_not_plain_or_is_wrong_is_the_library_s(
    options: dict[str, t.Any], variables: dict[str, str], folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".kube").mkdir()
    for name in ("config", "other", ".kube/config"):
        (folder / name).write_text(yaml.safe_dump(kubeconfig()))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert read(options) is None


@pytest.mark.parametrize("content", ["", "[1, 2]", "token: [x", "{contexts: [], current-context: one}", "contexts: {one: two}"])
def test_what_is_no_kubeconfig_is_the_library_s(content: str, folder: pathlib.Path) -> None:
    (folder / "config").write_text(content)
    assert read({"kubeconfig": "~/config"}) is None


class Authority(t.NamedTuple):
    """An authority's certificate, and files of a server's and a client's certificate and key that it signed."""

    certificate: bytes
    server: pathlib.Path
    client: tuple[bytes, bytes]


@pytest.fixture
def authority(folder: pathlib.Path) -> Authority:
    now = datetime.datetime.now(datetime.UTC)
    issuer_key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])

    def certificate(name: str, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> bytes:
        builder = x509.CertificateBuilder().issuer_name(issuer).serial_number(x509.random_serial_number())
        builder = builder.subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])).public_key(key.public_key())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        # RFC 5280 asks for these, and so does Python from 3.13 on.
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        uses = dict.fromkeys(USES, False) | ({"key_cert_sign": True} if authority else {"digital_signature": True})
        builder = builder.add_extension(x509.KeyUsage(**uses), critical=True)
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def private(key: ec.EllipticCurvePrivateKey) -> bytes:
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return key.private_bytes(encoding, form, serialization.NoEncryption())

    server_key, client_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    server = folder / "server.pem"
    server.write_bytes(certificate("server", server_key, authority=False) + private(server_key))
    client = certificate("client", client_key, authority=False), private(client_key)
    return Authority(certificate("authority", issuer_key, authority=True), server, client)


@pytest.fixture
def server(authority: Authority) -> t.Iterator[str]:
    """An HTTPS server that wants a client's certificate and tells whose it got."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            subject = dict(pair for (pair,) in self.connection.getpeercert()["subject"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(subject["commonName"].encode())

        def log_message(self, *arguments: object) -> None:
            pass

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.certificate.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(authority.server)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        served.socket = context.wrap_socket(served.socket, server_side=True)
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{served.server_port}"
        served.shutdown()


@pytest.mark.parametrize("verify", [True, False])
def test_a_certificate_reaches_the_server_and_stays_in_no_file(
    verify: bool, server: str, authority: Authority, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = folder / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    access = PlainAccess(server, None, verify, authority.certificate if verify else None, *authority.client)
    assert access.pool(1).request("GET", server, retries=False).data == b"client"
    assert list(temporary.iterdir()) == []


def test_an_authority_that_is_not_the_server_s_is_refused(server: str, authority: Authority) -> None:
    with pytest.raises(urllib3.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        PlainAccess(server, None, True, None, *authority.client).pool(1).request("GET", server, retries=False)


def test_a_certificate_that_is_none_is_told_before_a_request() -> None:
    with pytest.raises((OSError, ValueError)):
        PlainAccess(HOST, None, True, None, PEM, PEM).pool(1)


def test_nothing_shows_credentials() -> None:
    assert "secret" not in repr(PlainAccess(HOST, "secret", key=b"secret"))
