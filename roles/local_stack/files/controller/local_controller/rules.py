# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PrometheusRule objects as rule files of the local Prometheus, which a prometheus-operator would do on a cluster.

Prometheus itself is the judge: files are written only while it answers, and what it refuses to load is taken back.
"""

from __future__ import annotations

import json
import pathlib
import typing as t
import urllib.error
import urllib.parse
import urllib.request

import yaml

from . import files, logs
from .kube import Key, Kube, Object, Resource, key_of

_PREFIX = "prometheusrule-"
_RELOAD_SECONDS = 30.0
_UNREACHABLE_AGAIN = 2.0
# Fields of the operator's and Thanos' own, which Prometheus does not know.
_FOREIGN_FIELDS = ("partial_response_strategy",)


class RefusedRulesError(Exception):
    """Prometheus answered, and did not load its rules."""


def render(obj: Object) -> bytes:
    """A rule file with the object's groups."""
    groups = []
    for group in (obj.get("spec") or {}).get("groups") or []:
        kept = {field: value for field, value in group.items() if field not in _FOREIGN_FIELDS}
        # The CRD allows a number as expression, Prometheus only text.
        kept["rules"] = [rule | {"expr": str(rule.get("expr", ""))} for rule in group.get("rules") or []]
        groups.append(kept)
    return yaml.safe_dump({"groups": groups}, sort_keys=False, allow_unicode=True, width=1000).encode()


def file_name(key: Key) -> str:
    """Unambiguous: Kubernetes names have no underscore."""
    return f"{_PREFIX}{key[0]}_{key[1]}.yml"


def reload(url: str) -> None:
    """:raises RefusedRulesError: with Prometheus' own words. :raises OSError: if it cannot be reached."""
    request = urllib.request.Request(f"{url.rstrip('/')}/-/reload", method="POST")  # noqa: S310 - a loopback URL from our own command line
    try:
        with urllib.request.urlopen(request, timeout=_RELOAD_SECONDS):  # noqa: S310
            return
    except urllib.error.HTTPError as exc:
        raise RefusedRulesError(" ".join(exc.read().decode(errors="replace").split())[:400]) from exc


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/-/ready", timeout=2.0) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def diagnose(url: str, obj: Object) -> str:
    """Which expression Prometheus cannot parse, in its words; empty if it parses them all."""
    for group in (obj.get("spec") or {}).get("groups") or []:
        for rule in group.get("rules") or []:
            query = urllib.parse.urlencode({"query": str(rule.get("expr", ""))})
            try:
                with urllib.request.urlopen(f"{url.rstrip('/')}/api/v1/format_query?{query}", timeout=2.0):  # noqa: S310
                    continue
            except urllib.error.HTTPError as exc:
                answer = json.loads(exc.read() or b"{}")
                return f"rule {rule.get('record') or rule.get('alert')!r} of group {group.get('name')!r}: {answer.get('error', exc.reason)}"
    return ""


class RuleKeeper:
    """Keeps the files ``prometheusrule-*.yml`` of one directory; others in it are not touched."""

    def __init__(self, kube: Kube, resource: Resource, directory: pathlib.Path, url: str) -> None:
        self._kube = kube
        self._resource = resource
        self._directory = directory
        self._url = url
        self._refused: dict[str, bytes] = {}
        self._waiting = False

    def reconcile(self, objects: t.Iterable[Object]) -> float | None:
        by_file = {file_name(key_of(obj)): obj for obj in objects}
        wanted: dict[str, bytes | None] = {name: render(obj) for name, obj in by_file.items()}
        self._refused = {name: content for name, content in self._refused.items() if wanted.get(name) == content}
        for path in self._directory.glob(f"{_PREFIX}*.yml"):
            wanted.setdefault(path.name, None)
        changes = {
            name: content
            for name, content in wanted.items()
            if files.read(self._directory / name) != content and (content is None or self._refused.get(name) != content)
        }
        if not changes:
            return None
        if not ready(self._url):
            if not self._waiting:
                logs.warning("rules wait until Prometheus answers", url=self._url, files=len(changes))
            self._waiting = True
            return _UNREACHABLE_AGAIN
        self._waiting = False
        try:
            self._load(changes)
        except RefusedRulesError as exc:
            if len(changes) == 1:
                self._refuse(next(iter(changes)), changes, by_file, exc)
            else:
                for name, content in changes.items():  # one at a time, to find the guilty
                    try:
                        self._load({name: content})
                    except RefusedRulesError as single:
                        self._refuse(name, changes, by_file, single)
        return None

    def _load(self, changes: dict[str, bytes | None]) -> None:
        before = {name: files.read(self._directory / name) for name in changes}
        try:
            for name, content in changes.items():
                self._write(name, content)
            reload(self._url)
        except BaseException:
            for name, content in before.items():
                self._write(name, content)
            raise
        for name, content in changes.items():
            logs.info("rules loaded" if content is not None else "rules removed", file=name)

    def _write(self, name: str, content: bytes | None) -> None:
        if content is None:
            (self._directory / name).unlink(missing_ok=True)
        else:
            files.write_if_changed(self._directory / name, content)

    def _refuse(self, name: str, changes: dict[str, bytes | None], by_file: dict[str, Object], exc: RefusedRulesError) -> None:
        content = changes[name]
        if content is None:
            raise exc  # Prometheus fails without our file: nothing of ours is to blame
        self._refused[name] = content
        obj = by_file[name]
        problem = diagnose(self._url, obj) or f"{exc} (its log says more)"
        message = f"Prometheus refuses these rules and keeps the last good ones: {problem}. Correct the PrometheusRule."
        logs.error("rules refused", object="/".join(key_of(obj)), error=problem)
        self._kube.warn(self._resource, obj, "RulesRefused", message)
