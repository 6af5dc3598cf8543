# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import socket
import typing as t

import pytest
import urllib3
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.kuadrant.llm.plugins.module_utils import _kube
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS, KubeError, Resource, RestKube, argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._kube_http import TRIES

PLUGINS = pathlib.Path(_kube.__file__).parents[1]
POLICIES = Resource("kuadrant.io/v1", "AuthPolicy", "authpolicies")


@dataclasses.dataclass
class Response:
    status: int
    body: t.Any
    reason: str = "Reason of HTTP"
    headers: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def data(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


class Pool:
    """urllib3's pool with prepared answers; ``requests`` are what was sent, ``pauses`` the seconds waited before a try."""

    def __init__(self, *answers: Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, t.Any]] = []
        self.pauses: list[float] = []

    def request(self, method: str, url: str, **options: t.Any) -> Response:
        self.requests.append({"method": method, "url": url, **options})
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Configuration:
    host = "https://api.example:6443"

    def auth_settings(self) -> dict[str, dict[str, str]]:
        return {"BearerToken": {"in": "header", "key": "authorization", "value": "Bearer token"}}


def client(*answers: Response | Exception, **headers: t.Any) -> tuple[RestKube, Pool]:
    pool = Pool(*answers)
    return RestKube(Configuration(), t.cast("urllib3.PoolManager", pool), headers, pause=pool.pauses.append), pool


def status(code: int, reason: str, message: str, **headers: str) -> Response:
    return Response(code, {"kind": "Status", "reason": reason, "message": message}, headers=headers)


@pytest.mark.parametrize(
    ("resource", "namespace", "name", "path"),
    [
        (SECRETS, "llm", "alice", "/api/v1/namespaces/llm/secrets/alice"),
        (SECRETS, "llm", None, "/api/v1/namespaces/llm/secrets"),
        (SECRETS, None, None, "/api/v1/secrets"),
        (POLICIES, "llm", "a/../b", "/apis/kuadrant.io/v1/namespaces/llm/authpolicies/a%2F..%2Fb"),
    ],
)
def test_resource_path(resource: Resource, namespace: str | None, name: str | None, path: str) -> None:
    assert resource.path(namespace, name) == path


def test_get_returns_object_and_none() -> None:
    kube, pool = client(Response(200, {"kind": "Secret"}), status(404, "NotFound", 'secrets "alice" not found'))
    assert kube.get(SECRETS, "llm", "alice") == {"kind": "Secret"}
    assert kube.get(SECRETS, "llm", "alice") is None
    assert pool.requests[0]["headers"]["authorization"] == "Bearer token"
    assert pool.requests[0]["timeout"].read_timeout > 0


def test_iterate_pages_with_selector() -> None:
    kube, pool = client(
        Response(200, {"metadata": {"continue": "next+page"}, "items": [1, 2]}), Response(200, {"metadata": {}, "items": [3]})
    )
    assert list(kube.iterate(SECRETS, "llm", {"b": "2", "a/x": "1"})) == [1, 2, 3]
    first, second = (request["url"] for request in pool.requests)
    assert first == "https://api.example:6443/api/v1/namespaces/llm/secrets?limit=500&labelSelector=a%2Fx%3D1%2Cb%3D2"
    assert second == first + "&continue=next%2Bpage"


def test_log_is_text_even_where_it_looks_like_json() -> None:
    kube, pool = client(Response(200, '{"level":"error"}\nplain'), status(404, "NotFound", "no such pod"))
    assert kube.log("llm", "a", lines=5, seconds=60) == '{"level":"error"}\nplain'
    assert kube.log("llm", "a", lines=5, seconds=60) == ""
    assert pool.requests[0]["url"].endswith("/api/v1/namespaces/llm/pods/a/log?tailLines=5&sinceSeconds=60")
    # Only text is answered with 406.
    assert pool.requests[0]["headers"]["Accept"] == "application/json, */*"


def test_create_sends_json_with_kind() -> None:
    kube, pool = client(Response(201, {}))
    kube.create(POLICIES, "llm", {"metadata": {"name": "p"}})
    request = pool.requests[0]
    assert (request["method"], request["headers"]["Content-Type"]) == ("POST", "application/json")
    assert json.loads(request["body"]) == {"apiVersion": "kuadrant.io/v1", "kind": "AuthPolicy", "metadata": {"name": "p"}}


def test_patch_is_a_merge_patch() -> None:
    kube, pool = client(Response(200, {}))
    kube.patch(SECRETS, "llm", "alice", {"metadata": {}})
    assert (pool.requests[0]["method"], pool.requests[0]["headers"]["Content-Type"]) == ("PATCH", "application/merge-patch+json")


def test_delete_tells_whether_there_was_one() -> None:
    kube, pool = client(Response(200, {}), status(404, "NotFound", "gone"))
    assert kube.delete(SECRETS, "llm", "alice", uid="u1") is True
    assert kube.delete(SECRETS, "llm", "alice") is False
    assert json.loads(pool.requests[0]["body"]) == {"preconditions": {"uid": "u1"}}
    assert pool.requests[1]["body"] is None


def test_delete_asks_for_a_dry_run_in_its_body() -> None:
    kube, pool = client(Response(200, {}), Response(200, {}))
    kube.delete(SECRETS, "llm", "alice", uid="u1", dry_run=True)
    kube.delete(SECRETS, "llm", "alice", dry_run=True)
    assert [json.loads(request["body"]) for request in pool.requests] == [
        {"preconditions": {"uid": "u1"}, "dryRun": ["All"]},
        {"dryRun": ["All"]},
    ]


def test_impersonation_headers_are_sent() -> None:
    kube, pool = client(Response(200, {}), **{"Impersonate-User": "jane", "Impersonate-Group": ["a", "b"]})
    kube.get(SECRETS, "llm", "alice")
    assert pool.requests[0]["headers"].getlist("Impersonate-Group") == ["a", "b"]
    assert pool.requests[0]["headers"]["Impersonate-User"] == "jane"


CALLS: dict[str, t.Callable[[RestKube], t.Any]] = {
    "read": lambda kube: kube.get(SECRETS, "llm", "alice"),
    "list": lambda kube: list(kube.iterate(SECRETS, "llm")),
    "create": lambda kube: kube.create(SECRETS, "llm", {"metadata": {"name": "alice"}, "data": {"api_key": "canary"}}),
    "patch": lambda kube: kube.patch(SECRETS, "llm", "alice", {"metadata": {}, "data": {"api_key": "canary"}}),
    "replace": lambda kube: kube.replace(SECRETS, "llm", "alice", {"metadata": {}, "data": {"api_key": "canary"}}),
    "delete": lambda kube: kube.delete(SECRETS, "llm", "alice"),
}


WEBHOOK = (
    'Internal error occurred: failed calling webhook "validation.istio.io": failed to call webhook: '
    'Post "https://istiod.istio-system.svc:443/validate?timeout=10s": no endpoints available for service "istiod"'
)


@pytest.mark.parametrize("verb", list(CALLS))
@pytest.mark.parametrize(
    ("answer", "said", "remedy"),
    [
        (status(401, "Unauthorized", "Unauthorized"), "401 Unauthorized: Unauthorized.", "check the kubeconfig"),
        (status(403, "Forbidden", 'User "jane" cannot'), '403 Forbidden: User "jane" cannot.', "Grant this user"),
        (status(409, "Conflict", "modified"), "409 Conflict: modified.", "run again"),
        (status(422, "Invalid", "metadata.labels: Invalid value"), "422 Invalid: metadata.labels", "names the field"),
        (status(500, "InternalError", "etcd"), "500 InternalError: etcd.", "admission webhooks"),
        (
            status(500, "InternalError", WEBHOOK),
            '500 InternalError: Internal error occurred: failed calling webhook "validation.istio.io"',
            "Service istiod in namespace istio-system answers: see that its pods run (kubectl -n istio-system get pods)",
        ),
        (status(500, "InternalError", 'failed calling webhook "x": EOF'), 'calling webhook "x": EOF', "until that webhook answers"),
        (Response(404, "404 page not found\n"), "404 Reason of HTTP: 404 page not found", "Check that the host"),
        (Response(502, "<html>Bad gateway</html>"), "502 Reason of HTTP: <html>", "run again"),
    ],
    ids=["401", "403", "409", "422", "500", "webhook", "webhook outside", "not an API", "proxy"],
)
def test_refusal_is_explained(verb: str, answer: Response, said: str, remedy: str) -> None:
    kube, _pool = client(*[answer] * TRIES)
    with pytest.raises(KubeError) as caught:
        CALLS[verb](kube)
    message = caught.value.message
    assert message.startswith(f"Failed to {verb} Secret")
    assert ('"alice"' in message) is (verb != "list")
    assert 'in namespace "llm"' in message
    assert said in message
    assert remedy in message
    assert "canary" not in message
    assert caught.value.status == answer.status


@pytest.mark.parametrize("verb", ["create", "patch", "replace"])
def test_write_to_what_is_not_there(verb: str) -> None:
    kube, _pool = client(status(404, "NotFound", 'namespaces "llm" not found'))
    with pytest.raises(KubeError, match=f'Failed to {verb} Secret "alice"') as caught:
        CALLS[verb](kube)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("exception", "said"),
    [
        (urllib3.exceptions.SSLError("certificate verify failed"), "TLS with the API server https://api.example:6443 failed"),
        (
            urllib3.exceptions.MaxRetryError(t.cast("t.Any", None), "/", urllib3.exceptions.SSLError("expired")),
            "failed: expired. Set ca_cert",
        ),
        (urllib3.exceptions.ReadTimeoutError(t.cast("t.Any", None), "/", "slow"), "did not answer in time"),
        (urllib3.exceptions.ProtocolError("Connection aborted."), "cannot be reached"),
    ],
    ids=["TLS", "TLS, wrapped", "timeout", "aborted"],
)
def test_unreachable_is_explained(exception: Exception, said: str) -> None:
    kube, _pool = client(exception)
    with pytest.raises(KubeError, match='Failed to read Secret "alice"') as caught:
        CALLS["read"](kube)
    assert said in caught.value.message
    assert caught.value.status == 0


ALICE = {"metadata": {"name": "alice"}, "data": {"api_key": "canary"}}
STORED = Response(200, {**ALICE, "metadata": {"name": "alice", "uid": "1"}, "type": "Opaque"})
FOREIGN = Response(200, {**ALICE, "data": {"api_key": "of somebody else"}})
BUSY = status(429, "TooManyRequests", "try later", **{"Retry-After": "7"})
BROKEN = status(503, "ServiceUnavailable", "etcd")
LOST = urllib3.exceptions.ProtocolError("Connection aborted.")
CLOSED = urllib3.exceptions.NewConnectionError(t.cast("t.Any", None), "refused")
EXISTS = status(409, "AlreadyExists", "exists")
CONFLICT = status(409, "Conflict", "modified")
MISSING = status(404, "NotFound", "gone")


@pytest.mark.parametrize("verb", list(CALLS))
@pytest.mark.parametrize("failure", [BUSY, BROKEN], ids=["429", "503"])
def test_transient_refusal_is_tried_again(verb: str, failure: Response) -> None:
    kube, pool = client(failure, failure, Response(200, {}))
    CALLS[verb](kube)
    assert len({(request["method"], request["url"], request["body"]) for request in pool.requests}) == 1
    shortest = (7, 7) if failure is BUSY else (0.1, 0.2)
    assert all(least <= pause <= least * 1.3 for least, pause in zip(shortest, pool.pauses, strict=True))


def test_tries_are_bounded() -> None:
    kube, pool = client(*[BROKEN] * 100)
    with pytest.raises(KubeError, match="503 ServiceUnavailable"):
        CALLS["create"](kube)
    assert len(pool.requests) == TRIES


def test_a_pause_beyond_patience_is_not_waited_for() -> None:
    kube, pool = client(status(429, "TooManyRequests", "later", **{"Retry-After": "3600"}))
    with pytest.raises(KubeError, match="run again later"):
        CALLS["read"](kube)
    assert pool.pauses == []


@pytest.mark.parametrize(
    ("verb", "answers"),
    [
        pytest.param("create", [LOST, EXISTS, STORED], id="create, answer lost"),
        pytest.param("create", [BROKEN, EXISTS, STORED], id="create, 503 afterwards"),
        pytest.param("patch", [LOST, CONFLICT, STORED], id="patch, answer lost"),
        pytest.param("delete", [LOST, MISSING], id="delete, answer lost"),
        pytest.param("replace", [LOST, STORED], id="replace, answer lost"),
        pytest.param("read", [LOST, STORED], id="read, answer lost"),
        pytest.param("create", [CLOSED, Response(201, {})], id="create, restarting server"),
    ],
)
def test_write_whose_answer_was_lost_is_recognised(verb: str, answers: list[Response | Exception]) -> None:
    kube, pool = client(Response(200, {}), *answers)
    kube.ask("/version")
    CALLS[verb](kube)
    assert pool.answers == []


@pytest.mark.parametrize(
    ("verb", "answers"),
    [
        pytest.param("create", [EXISTS], id="create, first try"),
        pytest.param("create", [BUSY, EXISTS], id="create, 429 is never carried out"),
        pytest.param("create", [CLOSED, EXISTS], id="create, nothing was sent"),
        pytest.param("create", [LOST, EXISTS, FOREIGN], id="create, of somebody else"),
        pytest.param("create", [LOST, EXISTS, MISSING], id="create, gone again"),
        pytest.param("patch", [LOST, CONFLICT, FOREIGN], id="patch, of somebody else"),
    ],
)
def test_conflict_with_another_writer_stays_one(verb: str, answers: list[Response | Exception]) -> None:
    kube, pool = client(Response(200, {}), *answers)
    kube.ask("/version")
    with pytest.raises(KubeError, match="409"):
        CALLS[verb](kube)
    assert pool.answers == []


@pytest.mark.parametrize("failure", [LOST, CLOSED], ids=["lost", "refused"])
def test_server_that_never_answered_is_not_tried_again(failure: Exception) -> None:
    kube, pool = client(failure)
    with pytest.raises(KubeError, match="cannot be reached"):
        CALLS["create"](kube)
    assert pool.pauses == []


def connected(monkeypatch: pytest.MonkeyPatch, **options: t.Any) -> RestKube:
    for name in ("K8S_AUTH_KUBECONFIG", "K8S_AUTH_HOST", "K8S_AUTH_API_KEY", "K8S_AUTH_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    with patch_module_args(options):
        return connect(AnsibleModule(argument_spec=argument_spec()))


@pytest.mark.parametrize(
    ("content", "context", "said"),
    [
        (None, None, "which does not exist"),
        ("", None, "Failed to load the Kubernetes configuration"),
        ("token: [canary", None, "it is not valid YAML. Correct the file"),
        ("[1, 2]", None, "Failed to load the Kubernetes configuration"),
        ("{current-context: a, contexts: [], clusters: [], users: []}", "b", "Failed to load the Kubernetes configuration"),
    ],
    ids=["missing", "empty", "broken", "a list", "no such context"],
)
def test_connect_explains_a_bad_kubeconfig(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, content: str | None, context: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "config").write_text(content)
    with pytest.raises(KubeError) as caught:
        connected(monkeypatch, kubeconfig=str(tmp_path / "config"), context=context)
    assert said in caught.value.message
    assert f"(file 'config' in '{tmp_path}'" in caught.value.message
    assert "canary" not in caught.value.message


def test_connect_says_that_no_server_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as bound:  # a port that is taken, and where nobody listens
        bound.bind(("127.0.0.1", 0))
        host = f"https://127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(KubeError, match=re.escape(f"the API server {host} cannot be reached")) as caught:
            connected(monkeypatch, host=host, api_key="token").get(SECRETS, "llm", "alice")
    assert "refused" in caught.value.message
    assert "token" not in caught.value.message


def test_only_this_file_imports_the_kubernetes_libraries() -> None:
    pattern = re.compile(r"^\s*(from|import) (kubernetes|ansible_collections\.kubernetes)\b", re.MULTILINE)
    importers = {path.name for path in PLUGINS.rglob("*.py") if pattern.search(path.read_text(encoding="utf-8"))}
    assert importers == {"_kube.py"}


def test_manifests_are_written_in_check_mode_only(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("LLM_GATEWAY_RENDER_DIR", str(tmp_path))
    with pytest.raises(KubeError, match="Run again in check mode, with --check"):
        connected(monkeypatch, host="https://cluster", api_key="x")
    with patch_module_args({"host": "https://cluster", "api_key": "x", "_ansible_check_mode": True}):
        module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    assert connect(module).manifests is not None
    monkeypatch.delenv("LLM_GATEWAY_RENDER_DIR")
    assert connected(monkeypatch, host="https://cluster", api_key="x").manifests is None
