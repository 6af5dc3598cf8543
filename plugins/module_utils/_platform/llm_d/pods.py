# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What the pods behind a route serve. Pure: pods in, models out."""

from __future__ import annotations

import itertools
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.llm_d.model import Object, containers_of, labels_of

MODEL_LABEL = "llm-d.ai/model"


def models_of(pods: t.Iterable[Object]) -> list[str]:
    """Names that requests may give, each once, sorted. A name in a command line is sure; a label is taken only where there is none."""
    return sorted({name for pod in pods for name in _models_of(pod)})


def _models_of(pod: Object) -> list[str]:
    for container in containers_of(pod):
        words = [word for part in (container.get("command"), container.get("args")) for line in part or () for word in str(line).split()]
        environment = {one["name"]: str(one.get("value") or "") for one in container.get("env") or ()}
        found = _option(words, "--served-model-name") or _option(words, "--model")[:1] or _after_serve(words)
        found = [_resolved(name, environment) for name in found]
        if any(found):
            return [name for name in found if name]
    label = labels_of(pod).get(MODEL_LABEL)
    return [label] if label else []


def _option(words: t.Sequence[str], option: str) -> list[str]:
    """The values of ``--option value value`` or ``--option=value``."""
    for index, word in enumerate(words):
        if word == option:
            return [_plain(one) for one in itertools.takewhile(lambda one: not one.startswith("-"), words[index + 1 :])]
        if word.startswith(f"{option}="):
            return [_plain(word.partition("=")[2])]
    return []


def _after_serve(words: t.Sequence[str]) -> list[str]:
    """The model of ``vllm serve <model>``."""
    return [
        _plain(words[index + 1])
        for index, word in enumerate(words[:-1])
        if word == "serve" and (index == 0 or words[index - 1].endswith("vllm")) and not words[index + 1].startswith("-")
    ]


def _plain(word: str) -> str:
    return word.strip("\"'\\")


def _resolved(name: str, environment: t.Mapping[str, str]) -> str:
    """``$(MODEL)`` and ``${MODEL}`` from the container's own environment; a path is no name of a model."""
    if name.startswith("$"):
        name = environment.get(name.strip("$(){}"), "")
    return "" if name.startswith("/") else name
