# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Read what a removal of Istio has to look at."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.detect import GATEWAY_GROUP
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.model import Cluster, metadata
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.objects import helm_owned, objects_of
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.read import CONFIG_MAPS
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.istio.plan import BASE, ISTIOD, IstioWish, Remains, home

Map: t.TypeAlias = t.Mapping[str, t.Any]

OF_ISTIOD = {"istio.io/config": "true"}


def read_remains(kube: Kube, cluster: Cluster, info: Map, wish: IstioWish) -> Remains:
    """Reads only what the plan decides on. Raises KubeError where something may not be listed: it may be in use."""
    if wish.state != "absent":
        return Remains()
    where, ours = home(info, wish), info["istio"]["ours"]
    config_maps = list(kube.iterate(CONFIG_MAPS, None, OF_ISTIOD, metadata_only=True)) if ours else []
    left = helm_owned(cluster.crds.values(), {BASE}, where) if ours and wish.remove_crds else []
    definitions = sorted(metadata(one)["name"] for one in left)
    objects = objects_of(kube, definitions) if definitions else []
    of_releases = [id(one) for one in helm_owned(objects, {BASE, ISTIOD}, where)]
    gateway_kinds = [name for name in cluster.resources if name.endswith(f".{GATEWAY_GROUP}")]
    removable = info["gateway_api"]["ours"] and wish.remove_gateway_api
    return Remains(
        config_maps=config_maps,
        definitions=definitions,
        # What Helm uninstalls is no use of them.
        objects=[one for one in objects if id(one) not in of_releases],
        gateway_objects=objects_of(kube, gateway_kinds) if removable else [],
    )
