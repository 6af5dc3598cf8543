# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Command line and wiring: which change of which resource wakes which reconciler."""

from __future__ import annotations

import argparse
import functools
import pathlib
import signal
import sys
import threading
import typing as t

from kubernetes.config import ConfigException

from . import dns, health, limits, logs
from .envoy import BODY_LIMITS, LOOPBACK, BodyLimits, Upstreams
from .kube import Informer, Kube, Object, Resource, Watches
from .native import NativeKeeper
from .routes import index_routes
from .rules import RuleKeeper
from .statuses import StatusKeeper
from .worker import Worker

LIMITADOR = Resource("limitador.kuadrant.io", "v1alpha1", "limitadors", "Limitador")
AUTHORINO = Resource("operator.authorino.kuadrant.io", "v1beta1", "authorinos", "Authorino")
ENVOY_FILTER = Resource("networking.istio.io", "v1alpha3", "envoyfilters", "EnvoyFilter")
GATEWAY = Resource("gateway.networking.k8s.io", "v1", "gateways", "Gateway")
HTTP_ROUTE = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
GRPC_ROUTE = Resource("gateway.networking.k8s.io", "v1", "grpcroutes", "GRPCRoute", optional=True)
POLICIES = (
    Resource("kuadrant.io", "v1", "authpolicies", "AuthPolicy"),
    Resource("kuadrant.io", "v1", "ratelimitpolicies", "RateLimitPolicy"),
    Resource("kuadrant.io", "v1alpha1", "tokenratelimitpolicies", "TokenRateLimitPolicy", optional=True),
)
PROMETHEUS_RULE = Resource("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule", optional=True)


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="local_controller", description=__doc__)
    arguments.add_argument("--kubeconfig", required=True, help="kubeconfig of the API server")
    arguments.add_argument(
        "--kuadrant-namespace", default="kuadrant-system", help="namespace of Limitador/limitador (default: %(default)s)"
    )
    arguments.add_argument("--limits-file", type=pathlib.Path, required=True, help="limits file that the Limitador process watches")
    arguments.add_argument(
        "--rules-dir", type=pathlib.Path, required=True, help="directory that Prometheus' rule_files name, for prometheusrule-*.yml"
    )
    arguments.add_argument("--prometheus-url", required=True, help="base URL of Prometheus (started with --web.enable-lifecycle)")
    arguments.add_argument("--dns-port", type=int, required=True, help="UDP port on 127.0.0.1 of the resolver for svc.cluster.local")
    arguments.add_argument("--health-port", type=int, required=True, help="port on 127.0.0.1 of GET /healthz")
    arguments.add_argument("--limitador-http-port", type=int, required=True, help="Limitador's HTTP port on 127.0.0.1 (GET /status)")
    arguments.add_argument("--limitador-grpc-port", type=int, required=True, help="Limitador's gRPC port")
    arguments.add_argument("--authorino-grpc-port", type=int, required=True, help="Authorino's gRPC port")
    for name in ("authorino", "limitador"):
        where = f"address or name at which Envoy reaches {name.capitalize()}'s gRPC port (default: %(default)s)"
        arguments.add_argument(f"--{name}-address", default=LOOPBACK, help=where)
    arguments.add_argument("--authorino-health-url", required=True, help="Authorino's readiness URL, such as http://127.0.0.1:8081/readyz")
    for noun, default in (("request", BODY_LIMITS.request), ("answer", BODY_LIMITS.answer)):
        explained = f"largest {noun} that is held, where a limit reads it (default: %(default)s)"
        arguments.add_argument(f"--max-{noun}-bytes", type=int, default=default, help=explained)
    arguments.add_argument("--lenient", action="store_true", help="accept what Kuadrant's own filter would do otherwise")
    arguments.add_argument("--totals-only", action="store_true", help="report the sum of an answer's tokens only, as Kuadrant's filter")
    arguments.add_argument("--wasm-shim", action="store_true", help="Kuadrant's real filter is in use: keep out of the data path")
    arguments.add_argument(
        "--no-statuses", action="store_true", help="limitador-operator and authorino-operator run here: leave the statuses to them"
    )
    arguments.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    return arguments


class Controller:
    """Informers, reconcilers and what connects them."""

    def __init__(self, options: argparse.Namespace, kube: Kube, stop: threading.Event) -> None:
        self._options = options
        self.worker = Worker(stop)
        self._informers: dict[Resource, Informer] = {}
        wakes: dict[Resource, tuple[str, ...]] = {LIMITADOR: ("limits",), PROMETHEUS_RULE: ("rules",)}
        if not options.no_statuses:
            wakes |= {LIMITADOR: ("limits", "limitador status"), AUTHORINO: ("authorino status",)}
        wakes |= dict.fromkeys((ENVOY_FILTER, GATEWAY, HTTP_ROUTE, GRPC_ROUTE, *POLICIES), ("native filters",))
        self.watches = Watches(wakes)
        for resource, names in wakes.items():
            self._informers[resource] = Informer(kube, resource, self.watches, functools.partial(self.worker.poke, *names), stop)

        service = {
            "host": f"limitador-limitador.{options.kuadrant_namespace}.svc.cluster.local",
            "ports": {"http": options.limitador_http_port, "grpc": options.limitador_grpc_port},
        }
        self._limitador = StatusKeeper(
            kube,
            LIMITADOR,
            f"http://127.0.0.1:{options.limitador_http_port}/status",
            lambda obj: {"service": service, "observedGeneration": obj["metadata"].get("generation", 0)},
            observed=True,
        )
        self._authorino = StatusKeeper(kube, AUTHORINO, options.authorino_health_url, lambda _obj: {}, observed=False)
        upstreams = Upstreams(
            options.authorino_grpc_port, options.limitador_grpc_port, options.authorino_address, options.limitador_address
        )
        bodies = BodyLimits(options.max_request_bytes, options.max_answer_bytes)
        modes = {"wasm_shim": options.wasm_shim, "strict": not options.lenient, "totals_only": options.totals_only}
        self._native = NativeKeeper(kube, ENVOY_FILTER, upstreams, bodies, **modes)
        self._rules = RuleKeeper(kube, PROMETHEUS_RULE, options.rules_dir, options.prometheus_url)

        self._when_synced("limits", self._carry_limits, LIMITADOR)
        if not options.no_statuses:
            self._when_synced("limitador status", lambda: self._limitador.reconcile(self._of_kuadrant(LIMITADOR)), LIMITADOR)
            self._when_synced("authorino status", lambda: self._authorino.reconcile(self._of_kuadrant(AUTHORINO)), AUTHORINO)
        self._when_synced("native filters", self._translate, ENVOY_FILTER, GATEWAY, HTTP_ROUTE, GRPC_ROUTE, *POLICIES)
        self._when_synced("rules", lambda: self._rules.reconcile(self._objects(PROMETHEUS_RULE)), PROMETHEUS_RULE)

    def run(self) -> None:
        for informer in self._informers.values():
            informer.start()
        self.worker.run()

    def _when_synced(self, name: str, reconcile: t.Callable[[], float | None], *resources: Resource) -> None:
        """Half a picture must not be acted on: an empty list that was never fetched would delete things."""

        def guarded() -> float | None:
            return reconcile() if all(self._informers[resource].synced for resource in resources) else None

        self.worker.add(name, guarded)

    def _objects(self, resource: Resource) -> list[Object]:
        return list(self._informers[resource].objects.values())

    def _of_kuadrant(self, resource: Resource) -> list[Object]:
        return [obj for obj in self._objects(resource) if obj["metadata"]["namespace"] == self._options.kuadrant_namespace]

    def _carry_limits(self) -> None:
        limitador = self._informers[LIMITADOR].objects.get((self._options.kuadrant_namespace, "limitador"))
        if limits.carry(limitador, self._options.limits_file):
            count = len(((limitador or {}).get("spec") or {}).get("limits") or [])
            logs.info("limits file written", path=self._options.limits_file, limits=count)

    def _translate(self) -> float | None:
        routes = index_routes(self._objects(GATEWAY), [*self._objects(HTTP_ROUTE), *self._objects(GRPC_ROUTE)])
        policies = {resource: self._informers[resource].objects for resource in POLICIES}
        return self._native.reconcile(self._informers[ENVOY_FILTER].objects, routes, policies)


def main(argv: t.Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    logs.setup(options.log_level)
    stop = threading.Event()
    try:
        controller = Controller(options, Kube(options.kubeconfig), stop)
        dns.serve(options.dns_port)
        health.serve(options.health_port, controller.watches.state)
    except (ConfigException, OSError) as exc:
        logs.error("cannot start", error=str(exc))
        return 1

    def terminate(signum: int, _frame: object) -> None:
        logs.info("stopping", signal=signal.Signals(signum).name)
        stop.set()
        # Not from the handler itself: it may have interrupted the holder of the worker's lock.
        threading.Thread(target=controller.worker.wake).start()

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, terminate)
    logs.info("started", dns_port=options.dns_port, health_port=options.health_port, data_plane="wasm" if options.wasm_shim else "native")
    controller.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
