# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pods are processes here: while a pod with a known image runs (kwok says so), the supervisor runs the program of that name.

A pod of another ReplicaSet, or with another environment or other arguments, restarts it; without a pod it ends. For istiod, which reads
them from a folder, this process also writes what makes Envoy the proxy of the Gateway on loopback, and the model server's process the
endpoint of its Services.

The argument is a YAML file, see templates/pods.yaml.j2.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shlex
import sys
import time
import typing as t
import xmlrpc.client

import yaml
from kubernetes import client, config, watch
from supervisor.xmlrpc import Faults, SupervisorTransport

Object = dict[str, t.Any]
_ROOT_NAMESPACE = "istio-system"  # istiod applies EnvoyFilters of this namespace everywhere
_GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"


@dataclasses.dataclass(frozen=True)
class Instance:
    """A running pod that a program stands behind."""

    pod: Object
    container: Object

    @property
    def values(self) -> dict[str, str]:
        meta = self.pod["metadata"]
        labels = meta.get("labels") or {}
        return {
            "@POD_IP@": self.pod["status"].get("podIP", ""),
            "@POD_NAME@": meta["name"],
            "@NAMESPACE@": meta["namespace"],
            "@GATEWAY@": labels.get(_GATEWAY_LABEL, ""),
        }

    @property
    def owner(self) -> str:
        """The same for all pods of one rollout."""
        labels = self.pod["metadata"].get("labels") or {}
        return str(labels.get("pod-template-hash") or labels.get("controller-revision-hash") or self.pod["metadata"]["uid"])


def running(pods: t.Iterable[Object], images: list[str]) -> Instance | None:
    """The newest running pod with a container of one of these images (the last part of the name, without tag)."""
    found = [
        Instance(pod, container)
        for pod in pods
        if pod["status"].get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")
        for container in pod["spec"]["containers"]
        if container.get("image", "").split("@")[0].rsplit("/", 1)[-1].split(":")[0] in images
    ]
    return max(found, key=lambda one: (one.pod["metadata"]["creationTimestamp"], one.pod["metadata"]["name"]), default=None)


def replace(text: str, values: dict[str, str]) -> str:
    for old, new in values.items():
        text = text.replace(old, new)
    return text


def script(program: Object, instance: Instance) -> str:
    """The shell script that becomes the program; every difference in it is a reason to restart."""
    environment = {}
    if program.get("pod_environment"):
        environment = {e["name"]: e.get("value", "") for e in instance.container.get("env") or [] if "valueFrom" not in e}
    environment |= {name: str(value) for name, value in (program.get("environment") or {}).items()}
    command = [str(part) for part in program["command"]]
    if program.get("pod_arguments"):
        command += instance.container.get("args") or []
    command += [str(part) for part in program.get("arguments") or []]
    lines = ["#!/bin/sh", f"# {instance.owner}"]
    lines += [f"export {name}={shlex.quote(replace(value, instance.values))}" for name, value in sorted(environment.items())]
    before = "" if program.get("children") else "exec "
    lines.append(
        before + " ".join(shlex.quote(replace(part, instance.values)) for part in command) + (" &" if program.get("children") else "")
    )
    if program.get("children"):
        # It does not end its children when it crashes: end the whole process group after it.
        lines.append("trap : TERM; wait $!; wait $!; kill 0")
    return "\n".join(lines) + "\n"


def envoy_filter(name: str, selector: dict[str, str] | None, patches: list[Object]) -> Object:
    spec: Object = {"configPatches": patches}
    if selector:
        spec["workloadSelector"] = {"labels": selector}
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": name, "namespace": _ROOT_NAMESPACE},
        "spec": spec,
    }


def listener_patches(port: int) -> list[Object]:
    """The listener for port 80 goes to ``port``, and every listener to loopback."""

    def move(match: Object, address: Object) -> Object:
        value = {"address": {"socket_address": {"address": "127.0.0.1", **address}}}
        return {"applyTo": "LISTENER", "match": {"context": "GATEWAY", **match}, "patch": {"operation": "MERGE", "value": value}}

    return [move({}, {}), move({"listener": {"portNumber": 80}}, {"port_value": port})]


def cluster_patches(services: list[Object], port: int) -> list[Object]:
    """The clusters of these Services get the process as their only endpoint."""
    patches: list[Object] = []
    for service in services:
        host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local"
        for entry in service["spec"].get("ports") or []:
            name = f"outbound|{entry['port']}||{host}"
            address = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
            cluster = {
                "name": name,
                "type": "STATIC",
                "connect_timeout": "1s",
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": address}]}]},
            }
            context = {"context": "GATEWAY"}
            patches += [
                {"applyTo": "CLUSTER", "match": {**context, "cluster": {"name": name}}, "patch": {"operation": "REMOVE"}},
                {"applyTo": "CLUSTER", "match": context, "patch": {"operation": "ADD", "value": cluster}},
            ]
    return patches


def write(path: pathlib.Path, text: str | None, mode: int = 0o600) -> bool:
    """Write or (None) remove a file; return whether that changed anything."""
    if text is None:
        exists = path.exists()
        path.unlink(missing_ok=True)
        return exists
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    scratch = path.with_name(f".{path.name}")
    scratch.write_text(text, encoding="utf-8")
    scratch.chmod(mode)
    scratch.replace(path)
    return True


class Kubelet:
    """Brings processes and wiring in line with the pods."""

    def __init__(self, options: Object) -> None:
        self._options = options
        self._run = pathlib.Path(options["run"])
        self._wiring = pathlib.Path(options["wiring"])
        transport = SupervisorTransport(None, None, f"unix://{self._run / 'supervisor.sock'}")
        self._supervisor: t.Any = xmlrpc.client.ServerProxy("http://127.0.0.1", transport).supervisor
        config.load_kube_config(config_file=options["kubeconfig"])
        self._api = client.CoreV1Api()

    def follow(self) -> None:
        """Return after the watch ended."""
        raw = client.ApiClient().sanitize_for_serialization
        answer = self._api.list_pod_for_all_namespaces(_request_timeout=30)
        pods = {pod["metadata"]["uid"]: pod for pod in map(raw, answer.items)}
        self._sync(pods)
        stream = watch.Watch().stream(
            self._api.list_pod_for_all_namespaces,
            resource_version=answer.metadata.resource_version,
            timeout_seconds=10,
            _request_timeout=40,
        )
        for event in stream:
            pod = event["raw_object"]
            if event["type"] == "DELETED":
                pods.pop(pod["metadata"]["uid"], None)
            else:
                pods[pod["metadata"]["uid"]] = pod
            self._sync(pods)
        self._sync(pods)

    def _sync(self, pods: dict[str, Object]) -> None:
        for program in self._options["programs"]:
            instance = running(pods.values(), program["images"])
            self._wire(program, instance)
            self._keep(program, instance)

    def _keep(self, program: Object, instance: Instance | None) -> None:
        name = program["name"]
        path = self._run / f"{name}.sh"
        files_changed = False
        for template, target in (program.get("files") or {}).items():
            text = None if instance is None else replace(pathlib.Path(template).read_text(encoding="utf-8"), instance.values)
            files_changed |= write(pathlib.Path(target), text)
        script_changed = write(path, None if instance is None else script(program, instance), 0o700)
        state = self._supervisor.getProcessInfo(name)["statename"]
        wanted = instance is not None
        alive = state in ("STARTING", "RUNNING", "BACKOFF")
        if alive and (not wanted or script_changed or files_changed):
            print(f"{'restarting' if wanted else 'stopping'} {name}", flush=True)
            self._call("stopProcess", name)
            alive = False
        if wanted and not alive:
            meta = instance.pod["metadata"] if instance is not None else {}
            print(f"starting {name} behind pod {meta.get('namespace')}/{meta.get('name')}", flush=True)
            self._call("startProcess", name)

    def _call(self, method: str, name: str) -> None:
        try:
            # Stopping has to be over before the next start; a start is watched by the supervisor.
            getattr(self._supervisor, method)(name, method == "stopProcess")
        except xmlrpc.client.Fault as fault:
            if fault.faultCode not in (Faults.ALREADY_STARTED, Faults.NOT_RUNNING):
                print(f"{method} {name}: {fault.faultString}", flush=True)

    def _wire(self, program: Object, instance: Instance | None) -> None:
        port = self._options["ports"].get(program["name"])
        if port is None:
            return
        document = None
        if instance is not None and program["name"] == "envoy":
            document = envoy_filter("sim-gateway", {_GATEWAY_LABEL: instance.values["@GATEWAY@"]}, listener_patches(port))
        elif instance is not None:
            document = envoy_filter("sim-model-server", None, cluster_patches(self._services(instance.pod), port))
        write(self._wiring / f"{program['name']}.yaml", None if document is None else yaml.safe_dump(document))

    def _services(self, pod: Object) -> list[Object]:
        services = (
            client.ApiClient().sanitize_for_serialization(self._api.list_namespaced_service(pod["metadata"]["namespace"])).get("items", [])
        )
        labels = (pod["metadata"].get("labels") or {}).items()
        return [s for s in services if s["spec"].get("selector") and s["spec"]["selector"].items() <= labels]


def main() -> None:
    kubelet = Kubelet(yaml.safe_load(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")))
    while True:
        try:
            kubelet.follow()
        except Exception as exc:  # the process must outlive any single failure
            print(f"trying again: {type(exc).__name__}: {exc}", flush=True)
            time.sleep(1)


if __name__ == "__main__":
    main()
