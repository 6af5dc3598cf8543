# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The values of the chart istiod. Pure."""

from __future__ import annotations

import re
import typing as t

Map: t.TypeAlias = t.Mapping[str, t.Any]

SECCOMP = {"type": "RuntimeDefault"}


def istiod_values(
    images: Map, version: str, *, namespace: str, resources: Map, inference: bool, pull_secret: str, extra: Map
) -> dict[str, t.Any]:
    """Values of the chart istiod: pinned images, small requests, and on top what the user says, merged key by key."""
    pilot, proxy = images["istio_pilot"], images["istio_proxy"]
    values: dict[str, t.Any] = {
        # Whole references, so that a digest can stand in them. Hub and tag are for what this role does not name.
        "image": pilot,
        "resources": dict(resources),
        # Of istiod, and of the pods that it makes for Gateways: all that they lack for the level "restricted" of Pod Security.
        "seccompProfile": dict(SECCOMP),
        "gateways": {"seccompProfile": dict(SECCOMP)},
        "global": {
            "hub": re.sub(r"/[^/]*$", "", pilot),
            "tag": version,
            # The chart does not look at the namespace of its release.
            "istioNamespace": namespace,
            "proxy": {"image": proxy},
            "proxy_init": {"image": proxy},
        },
    }
    if inference:
        values["env"] = {"ENABLE_GATEWAY_API_INFERENCE_EXTENSION": "true"}
    if pull_secret:
        values["global"]["imagePullSecrets"] = [pull_secret]
    return merged(values, extra)


def merged(base: Map, over: Map) -> dict[str, t.Any]:
    """``over`` on ``base``: mappings key by key, everything else replaced."""
    result = dict(base)
    for key, value in over.items():
        mine = result.get(key)
        result[key] = merged(mine, value) if isinstance(mine, t.Mapping) and isinstance(value, t.Mapping) else value
    return result
