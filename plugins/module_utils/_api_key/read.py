# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Read the key Secrets of a namespace."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import PREVIOUS, STAND_IN, from_secret
from ansible_collections.kuadrant.llm.plugins.module_utils._description.key_forms import STAND_IN_SUFFIX, owning_key
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS, Kube

# Releases of Helm can weigh a megabyte each, and are no keys.
_NO_RELEASES = "type!=helm.sh/release.v1"


def stored_keys(kube: Kube, namespace: str, labels: t.Mapping[str, str], names: t.Collection[str] = ()) -> dict[str, StoredKey]:
    """The Secrets of a namespace that carry the selector ``labels`` or have one of ``names``, in one paged LIST.

    A stand-in marks its key as refreshing, and earlier values are ``previous`` of theirs.
    One whose key is gone stands for it, without ``uid``.
    """
    keys: dict[str, StoredKey] = {}
    stand_ins: dict[str, StoredKey] = {}
    earlier: dict[str, StoredKey] = {}
    # With names, all Secrets are looked at: a name may be taken by one without our labels.
    for secret in kube.iterate(SECRETS, namespace, None if names else labels, fields=_NO_RELEASES):
        key = from_secret(secret)
        if key.carries(STAND_IN):
            name = key.name.removesuffix(STAND_IN_SUFFIX)
            stand_ins[name] = dataclasses.replace(key, name=name, uid=None)
        elif key.carries(PREVIOUS) and owning_key(key.name):
            earlier[key.name] = key
        elif key.name in names or key.carries(labels):
            keys[key.name] = key
    for name, stand_in in stand_ins.items():
        held = earlier if owning_key(name) else keys
        held[name] = dataclasses.replace(held.get(name, stand_in), refreshing=True)
    for name, value in earlier.items():
        owner = owning_key(name) or name
        key = keys.get(owner) or dataclasses.replace(value, name=owner, value=None, uid=None)
        keys[owner] = dataclasses.replace(key, previous=(*key.previous, value))
    return {name: key for name, key in keys.items() if name in names or key.carries(labels)} if stand_ins or earlier else keys


def value_of(kube: Kube, namespace: str, name: str) -> str:
    """The value of one key, for whoever has to send it. :class:`GatewayError` if there is none."""
    secret = kube.get(SECRETS, namespace, name)
    value = from_secret(secret).value if secret else None
    if value is None:
        lacks = "there is no such Secret" if secret is None else "the Secret holds no key (data api_key)"
        raise GatewayError(f'Failed to read API key "{name}" in namespace "{namespace}": {lacks}. Create the key first.')
    return value
