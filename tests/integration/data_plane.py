# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One request's way without Kubernetes: real Envoy with the filters of the translation, real Limitador, a scripted model server.

What istiod does with the patches is done here by hand: filters in their order, settings onto the route. In the place of Authorino, Lua
takes the identity from the headers of the request.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import http.server
import json
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import typing as t

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "roles/local_stack/files/controller"))

from local_controller import envoy, routes, translate

Json = dict[str, t.Any]
SCOPE = "llm/vllm-httproute"
ROUTE = "the only one"
_HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
# As Authorino's answer: what the AuthPolicy calls identity, under ext_authz's name.
_IDENTITY = """
function envoy_on_request(handle)
  local headers, identity = handle:headers(), {}
  for _, name in ipairs({"userid", "groups", "tier"}) do identity[name] = headers:get("x-" .. name) end
  handle:streamInfo():dynamicMetadata():set("envoy.filters.http.ext_authz", "identity", identity)
end
"""


@dataclasses.dataclass
class Answer:
    """What the model server answers. ``pieces``: how a stream is cut into them, ``cut``: more was to come when it hung up."""

    body: bytes = b"{}"
    content_type: str = "application/json"
    status: int = 200
    pieces: int = 0
    cut: bool = False
    # Seconds between two pieces.
    pause: float = 0.0
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Response:
    """What the client got."""

    status: int
    headers: dict[str, str]
    body: bytes


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.socket() for _port in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class ModelServer(http.server.ThreadingHTTPServer):
    """Answers as it is told; ``seen`` has the last request: path, headers, body."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        self.answer = Answer()
        self.seen: tuple[str, dict[str, str], bytes] = ("", {}, b"")
        super().__init__(("127.0.0.1", port), _Handler)

    def answer_to(self, _path: str, _headers: dict[str, str], _body: bytes) -> Answer:
        """One that answers by itself says here what."""
        return self.answer

    def handle_error(self, *_args: t.Any) -> None:
        """A gateway that hangs up is none."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a body waits 40 ms for the acknowledgement of its headers
    server: ModelServer

    def log_message(self, *_args: object) -> None:
        pass

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        self.server.seen = seen = (self.path, {key.lower(): value for key, value in self.headers.items()}, self._body())
        answer = self.server.answer_to(*seen)
        self.send_response(answer.status)
        for key, value in {"content-type": answer.content_type, **answer.headers}.items():
            self.send_header(key, value)
        if not answer.pieces:
            self.send_header("content-length", str(len(answer.body) + answer.cut))
            self.end_headers()
            self.wfile.write(answer.body)
            if answer.cut:
                self._hang_up()
            return
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for start in range(0, len(answer.body), answer.pieces):
            piece = answer.body[start : start + answer.pieces]
            time.sleep(answer.pause if start else 0)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        if answer.cut:
            self._hang_up()
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def static_configuration(patches: list[Json], listen: int, admin: int, model_server: int) -> Json:
    """An Envoy bootstrap with one listener and one route, and the patches of an EnvoyFilter applied."""
    filters: list[Json] = [
        {"name": "identity", "typed_config": {"@type": _LUA, "default_source_code": {"inline_string": _IDENTITY}}},
        {
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        },
    ]
    routes: dict[str, Json] = {}
    listener: Json = {"name": "gateway", "address": _address(listen)}
    model = _cluster("model-server", model_server)
    clusters = [model]
    manager: Json = {"@type": _HCM, "stat_prefix": "gateway", "http_filters": filters}
    for patch in patches:
        value, operation = patch["patch"].get("value", {}), patch["patch"]["operation"]
        if operation == "REMOVE":
            continue  # Kuadrant's filter is not here
        if patch["applyTo"] == "HTTP_FILTER":
            filters.insert(0 if operation == "INSERT_FIRST" else len(filters) - 1, value)
        elif patch["applyTo"] == "HTTP_ROUTE":
            name = patch["match"]["routeConfiguration"]["vhost"]["route"]["name"]
            _merge(routes.setdefault(name, _route(name)), value)
        elif patch["applyTo"] == "NETWORK_FILTER":
            _merge(manager, value["typed_config"])
        elif operation == "ADD":
            clusters.append(value)
        else:
            _merge(model, value)
    hosts = [{"name": "any", "domains": ["*"], "routes": list(routes.values())}]
    manager["route_config"] = {"virtual_hosts": hosts}
    listener["filter_chains"] = [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]
    return {"admin": {"address": _address(admin)}, "static_resources": {"listeners": [listener], "clusters": clusters}}


def _route(name: str) -> Json:
    """The only one has all requests, others those that name them."""
    named = [{"name": "x-route", "string_match": {"exact": name}}]
    match: Json = {"prefix": "/"} if name == ROUTE else {"prefix": "/", "headers": named}
    return {"name": name, "match": match, "route": {"cluster": "model-server", "timeout": "60s"}}


def _address(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, port: int) -> Json:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]
    return {"name": name, "type": "STATIC", "connect_timeout": "5s", "load_assignment": {"cluster_name": name, "endpoints": endpoints}}


def _merge(into: Json, value: Json) -> None:
    for key, item in value.items():
        if isinstance(item, dict) and isinstance(into.get(key), dict):
            _merge(into[key], item)
        elif isinstance(item, list) and isinstance(into.get(key), list):
            into[key] = into[key] + item
        else:
            into[key] = item


class DataPlane:
    """The processes; a context manager."""

    def __init__(
        self, programs: t.Mapping[str, str], directory: pathlib.Path, model_server: type[ModelServer] = ModelServer, upstream: int = 0
    ) -> None:
        """``upstream``: the port of another model server, which requests go to and not to the scripted one."""
        self._programs, self._directory = programs, directory
        self.gateway_port, self.admin_port, self.rls_port, self.http_port, model_port = free_ports(5)
        self.model_server = model_server(model_port)
        self._running: dict[str, tuple[subprocess.Popen[bytes], list[str]]] = {}
        self._stack = contextlib.ExitStack()
        self._model_port = upstream or model_port

    def __enter__(self) -> DataPlane:
        threading.Thread(target=self.model_server.serve_forever, daemon=True).start()
        self._stack.callback(self.model_server.server_close)
        self._stack.callback(self.model_server.shutdown)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def start(self, patches: list[Json], limits: list[Json], *, keep: bool = False) -> None:
        """Start Limitador and Envoy, and wait until both answer. ``keep``: Limitador's counters outlive it."""
        limits_file, bootstrap = self._directory / "limits.yaml", self._directory / "envoy.yaml"
        limits_file.write_text(yaml.safe_dump(limits), encoding="utf-8")
        text = yaml.safe_dump(static_configuration(patches, self.gateway_port, self.admin_port, self._model_port))
        bootstrap.write_text(text, encoding="utf-8")
        ports = ["--rls-ip=127.0.0.1", f"--rls-port={self.rls_port}", "--http-ip=127.0.0.1", f"--http-port={self.http_port}"]
        kept = [f"--state-dir={self._directory / 'limitador'}"] if keep else []
        self._run("limitador", [*ports, "--limit-name-in-labels", *kept, str(limits_file)])
        self._run("envoy", ["--config-path", str(bootstrap), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning"])
        self._until_answers(self.http_port, "/status", "limitador")
        self._until_answers(self.admin_port, "/ready", "envoy")

    def kill(self, name: str) -> None:
        """End a process by ``kill -9``; :meth:`start_again` starts it as it was."""
        process, _arguments = self._running[name]
        process.kill()
        process.wait(20)

    def start_again(self, name: str) -> None:
        self._run(name, self._running[name][1])
        if name == "limitador":
            self._until_answers(self.http_port, "/status", name)

    def send(self, body: bytes | Json, path: str = "/v1/chat/completions", **headers: str) -> Response:
        """One request; ``x_user="a"`` is the header ``x-user``."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway_port, timeout=60)
        fields = {"content-type": "application/json", "x-userid": "alice"} | {k.replace("_", "-"): v for k, v in headers.items()}
        with contextlib.closing(connection):
            connection.request("POST", path, content, {key: value for key, value in fields.items() if value})
            response = connection.getresponse()
            try:
                received = response.read()
            except http.client.IncompleteRead as exc:
                received = exc.partial
            return Response(response.status, {key.lower(): value for key, value in response.getheaders()}, received)

    def ask(self, answer: Answer, body: bytes | Json | None = None, path: str = "/v1/chat/completions", **headers: str) -> Response:
        """One request that the model server answers so."""
        self.model_server.answer = answer
        return self.send({"model": "m"} if body is None else body, path, **headers)

    def metrics(self) -> dict[str, int]:
        """Series with their labels as Limitador prints them, without its namespace."""
        found = {}
        for line in self.get(self.http_port, "/metrics").decode().splitlines():
            if match := re.match(r"([a-z_]+)\{(.*)\} ([0-9.e+]+)$", line):
                name, labels, value = match.groups()
                kept = [label for label in re.findall(r'\w+="[^"]*"', labels) if not label.startswith(("limitador_namespace", "life"))]
                found[f"{name}{{{','.join(kept)}}}"] = int(float(value))
        return found

    def counted(self, ask: t.Callable[[], t.Any], reports: int = 1, *names: str) -> dict[str, int]:
        """By how much the series grew through ``ask``, once so many finished requests are reported."""
        before = self.metrics()
        ask()
        for _try in range(500):
            after = self.metrics()
            grown = {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}
            if sum(value for key, value in grown.items() if key.startswith(("metered_calls", "unmetered_calls"))) >= reports:
                return {key: value for key, value in grown.items() if not names or key.startswith(names)}
            time.sleep(0.01)
        raise AssertionError(f"no report came: {grown}\n{self.log('limitador')}\n{self.log('envoy')}")

    def log(self, name: str) -> str:
        return (self._directory / f"{name}.log").read_text(encoding="utf-8")[-4000:]

    def get(self, port: int, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().read()

    def _run(self, name: str, arguments: list[str]) -> None:
        log = (self._directory / f"{name}.log").open("ab")
        process = subprocess.Popen([self._programs[name], *arguments], stdout=log, stderr=subprocess.STDOUT)
        self._running[name] = process, arguments
        self._stack.callback(log.close)
        self._stack.callback(process.wait, 20)
        self._stack.callback(process.terminate)

    def _until_answers(self, port: int, path: str, name: str) -> None:
        for _try in range(3000):
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.get(port, path)
                return
            time.sleep(0.005)
        raise AssertionError(f"{name} does not answer:\n{self.log(name)}")


def limit_of(key: str, maximum: int, seconds: int = 3600, *variables: str) -> Json:
    """A limit as kuadrant-operator writes it for the entry ``key``."""
    name = key.split(".", 1)[1].split("__")[0]
    return {
        "namespace": SCOPE,
        "max_value": maximum,
        "seconds": seconds,
        "name": name,
        "conditions": [f'descriptors[0]["{key}"] == "1"'],
        "variables": [f'descriptors[0]["{variable}"]' for variable in variables],
    }


def patches_of(routed: list[Json] | dict[str, list[Json]], rls_port: int, **options: bool) -> list[Json]:
    """What the translation makes of a route's actions, without authentication, which the Lua does here.

    :param routed: actions of the only route, or of several ones by the value of the header ``x-route``.
    :param options: ``strict`` and ``totals_only`` of the translation.
    """
    by_route = routed if isinstance(routed, dict) else {ROUTE: routed}
    services = {kind: {"type": kind, "failureMode": "allow", "timeout": "5s"} for kind in ("auth", "ratelimit")}
    services |= {kind: {"type": f"ratelimit-{kind}", "failureMode": "allow"} for kind in ("check", "report")}
    auth = {"service": "auth", "scope": "auth-scope", "sources": []}
    sets = [{"name": name, "actions": [auth, *actions]} for name, actions in by_route.items()]
    rules = {name: routes.RouteRule("HTTPRoute", "llm", "r", name, routes.EnvoyRoute(80, "*", name)) for name in by_route}
    configuration = {"services": services, "actionSets": sets}
    result = translate.translate(configuration, routes.RouteIndex(rules, frozenset()), envoy.Upstreams(1, rls_port), **options)
    assert not result.refusals, result.refusals
    return [patch for patch in result.patches if not _of_authentication(patch)]


def _of_authentication(patch: Json) -> bool:
    value = patch["patch"].get("value", {})
    return value.get("name") == envoy.EXT_AUTHZ or envoy.EXT_AUTHZ in value.get("typed_per_filter_config", {})
