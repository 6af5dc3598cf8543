#!/usr/bin/env python
# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cluster holds, as names: to prove that a dry run made nothing, and that a removal left nothing.

inventory.py --kubeconfig FILE                   prints one line per object: <resource>.<group> <namespace>/<name>
inventory.py --kubeconfig FILE --since BEFORE    prints what was added (+) and what is missing (-) since that list; 1 if there is anything
             [--wait SECONDS]                    how long garbage collection may take
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import typing as t
from pathlib import Path

import kubernetes

# They come and go by themselves: reports, leader election, and what controllers derive for every Service and Pod.
PASSING = {
    "endpoints",
    "endpointslices.discovery.k8s.io",
    "events",
    "events.events.k8s.io",
    "leases.coordination.k8s.io",
    "componentstatuses",
    "ipaddresses.networking.k8s.io",
}
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
NAMES = "application/json;g=meta.k8s.io;v=v1;as=PartialObjectMetadataList"


class Cluster:
    """The API server, asked for names only: neither Secrets nor anything else leaves it."""

    def __init__(self, kubeconfig: str) -> None:
        api = kubernetes.config.new_client_from_config(kubeconfig)
        self._pool, self._host = api.rest_client.pool_manager, api.configuration.host
        self._headers = {auth["key"]: auth["value"] for auth in api.configuration.auth_settings().values()}

    def _get(self, path: str, accept: str) -> dict[str, t.Any]:
        answer = self._pool.request("GET", self._host + path, headers={**self._headers, "Accept": accept})
        if answer.status in (404, 405):  # a kind that was just removed, or one that only pretends to be listed
            return {"items": []}
        if answer.status != 200:
            raise SystemExit(f"GET {path}: {answer.status} {answer.data.decode(errors='replace')}")
        return dict(json.loads(answer.data))

    def _resources(self) -> t.Iterator[tuple[str, str]]:
        """Name and path of every resource that can be listed, in the version that the server prefers."""
        for root in ("/api", "/apis"):
            for group in self._get(root, DISCOVERY)["items"]:
                suffix = group["metadata"].get("name", "")
                seen: set[str] = set()
                for version in group["versions"]:
                    for resource in version.get("resources", []):
                        name = resource["resource"]
                        if "list" in resource["verbs"] and name not in seen:
                            seen.add(name)
                            base = f"{root}/{suffix}/{version['version']}" if suffix else f"{root}/{version['version']}"
                            yield f"{name}.{suffix}" if suffix else name, f"{base}/{name}"

    def names(self) -> set[str]:
        found = set()
        for resource, path in self._resources():
            if resource in PASSING:
                continue
            for item in self._get(path, NAMES)["items"] or []:
                meta = item["metadata"]
                found.add(f"{resource} {meta.get('namespace', '')}/{meta['name']}".replace(" /", " "))
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--since", type=Path)
    parser.add_argument("--wait", type=float, default=0)
    arguments = parser.parse_args()
    cluster = Cluster(arguments.kubeconfig)
    if not arguments.since:
        print("\n".join(sorted(cluster.names())))
        return 0
    before = set(arguments.since.read_text().split("\n")) - {""}
    end = time.monotonic() + arguments.wait
    while True:
        now = cluster.names()
        lines = [f"+ {name}" for name in sorted(now - before)] + [f"- {name}" for name in sorted(before - now)]
        if not lines or time.monotonic() > end:
            break
        time.sleep(0.5)
    print("\n".join(lines))
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
