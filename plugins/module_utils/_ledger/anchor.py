# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Anchors: where the head of a ledger is noted, so that a ledger that was written again, cut off or replaced by an older copy is found.

An anchor proves that the ledger still leads to what was noted last, as long as those who may write the ledger may not write the anchor.
"""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.seal import Head
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import LedgerEntry
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.store import Ledger

CONFIGMAPS = Resource("v1", "ConfigMap", "configmaps")


class Anchor(t.Protocol):
    """``option`` is what names it to the module, ``name`` what it is called in messages."""

    option: str
    name: str

    def read(self) -> Head | None:
        """The head that was noted; None if nothing was yet."""

    def write(self, head: Head) -> None:
        """Note the head, as a whole or not at all."""


class FileAnchor:
    """A file with ``{"seq": 168, "sha256": "9f86..."}``."""

    option = "ledger_anchor"

    def __init__(self, path: str) -> None:
        self.name = path

    def read(self) -> Head | None:
        try:
            with open(self.name, encoding="utf-8") as stream:
                noted = json.load(stream)
            return Head(int(noted["seq"]), str(noted["sha256"]))
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise GatewayError(f"ledger_anchor: cannot read {self.name}: {exc.strerror}.") from exc
        except (ValueError, KeyError, TypeError) as exc:
            raise GatewayError(f'ledger_anchor: {self.name} is no head of a ledger, such as {{"seq": 168, "sha256": "9f86..."}}.') from exc

    def write(self, head: Head) -> None:
        temporary = f"{self.name}.unfinished"
        try:
            with open(temporary, "w", encoding="utf-8") as stream:
                stream.write(json.dumps({"seq": head.seq, "sha256": head.sha256}) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, self.name)
        except OSError as exc:
            raise GatewayError(
                f"ledger_anchor: cannot write {self.name}: {exc.strerror}. Its folder has to exist and be writable."
            ) from exc


class ConfigMapAnchor:
    """A ConfigMap with the data ``seq`` and ``sha256``, both text."""

    option = "ledger_anchor_configmap"

    def __init__(self, kube: Kube, namespace: str, name: str) -> None:
        self.name = f"ConfigMap {namespace}/{name}"
        self._kube, self._namespace, self._object = kube, namespace, name
        self._version: str | None = None

    def read(self) -> Head | None:
        found = self._kube.get(CONFIGMAPS, self._namespace, self._object)
        if found is None:
            return None
        self._version = found["metadata"].get("resourceVersion")
        data = found.get("data") or {}
        try:
            return Head(int(data["seq"]), str(data["sha256"]))
        except (ValueError, KeyError) as exc:
            raise GatewayError(f"ledger_anchor_configmap: {self.name} is no head of a ledger: it has no data seq and sha256.") from exc

    def write(self, head: Head) -> None:
        """Refused by the server if the ConfigMap was changed since it was read."""
        data = {"seq": str(head.seq), "sha256": head.sha256}
        if self._version is None:
            made = self._kube.create(
                CONFIGMAPS, self._namespace, {"metadata": {"name": self._object, "labels": dict(MANAGED_BY)}, "data": data}
            )
        else:
            made = self._kube.patch(
                CONFIGMAPS, self._namespace, self._object, {"metadata": {"resourceVersion": self._version}, "data": data}
            )
        self._version = made["metadata"].get("resourceVersion")


def check_anchor(ledger: Ledger, entries: t.Sequence[LedgerEntry], anchor: Anchor) -> Head | None:
    """The head that was noted, which is the last line of a file of this ledger; None if none was noted yet.

    Raises GatewayError that says what differs.
    """
    noted = anchor.read()
    if noted is None or noted == Head():
        return noted
    head = ledger.head(entries)
    if noted.seq > head.seq:
        raise GatewayError(
            f"{ledger.directory}: ends with line {head.seq} of its chain, and {anchor.name} has noted line {noted.seq}: its last closes "
            "were removed, or it is an older copy. Restore the newer one."
        )
    index = max((index for index, entry in enumerate(entries) if ledger.header(entry)["seq"] <= noted.seq), default=0)
    last = ledger.last(entries[index])
    if last != noted:
        raise GatewayError(
            f"{ledger.path(entries[index].path)}: is not what {anchor.name} has noted of line {noted.seq}: it or a file before it was "
            "written again. Restore the ledger from a copy."
        )
    return noted


def require_anchor(ledger: Ledger, entries: t.Sequence[LedgerEntry], anchors: t.Iterable[Anchor]) -> None:
    """The same of each, for whoever only reads: an anchor that nothing was noted in is an error."""
    for anchor in anchors:
        if check_anchor(ledger, entries, anchor) is None:
            raise GatewayError(
                f"{anchor.option}: there is no {anchor.name}. Module usage_ledger notes the head there when it closes a period."
            )
