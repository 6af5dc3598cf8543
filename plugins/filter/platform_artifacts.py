# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter platform_artifacts."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts import resolve

DOCUMENTATION = r"""
name: platform_artifacts
short_description: Say where the charts, images, manifests and binaries of the platform come from
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to role C(kuadrant.llm.platform), and may change with any release.
  - Applies the chosen versions, the mirror of a disconnected installation and the digests of a bundle to the catalogue of role
    C(kuadrant.llm.platform).
  - An unknown part, what is not a version, an unknown key of the mirror and a malformed digest are errors that name them.
positional: versions, mirror, digests
options:
  _input:
    description: The catalogue.
    type: dict
    required: true
  versions:
    description: Part to version, as in C(llm_gateway_versions).
    type: dict
    default: {}
  mirror:
    description: As in C(llm_gateway_mirror).
    type: dict
    default: {}
  digests:
    description: Section (C(images), C(manifests), C(charts)) to key to SHA-256 sum, as in C(llm_gateway_digests).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show where Limitador's image comes from
  ansible.builtin.debug:
    msg: "{{ (catalogue | kuadrant.llm.platform_artifacts({'limitador': '2.4.0'}, {'images': 'registry.example.org'})).images.limitador }}"
  vars:
    catalogue:
      versions: {limitador: "2.4.2"}
      sets: {}
      charts: {}
      manifests: {}
      binaries: {}
      images:
        limitador: {of: limitador, repository: quay.io/kuadrant/limitador, tag: "v{version}"}
"""

RETURN = r"""
_value:
  description: The addresses.
  type: dict
  contains:
    versions:
      description: Part to version; null where it is left to a release that the catalogue does not list.
      type: dict
    charts:
      description: Key to C(name), C(ref), C(repository) (null for C(oci://)), C(version), C(plain_http) and C(sha256).
      type: dict
    images:
      description: Key to the whole reference of the image, by tag or by digest; null where the version is not known.
      type: dict
    manifests:
      description: Key to C(name), C(file), C(version), C(url) or C(path), and C(sha256) (null where it is not known).
      type: dict
    binaries:
      description: Key to C(version) and C(files), by platform, with C(url), C(sha256) and C(member) of the archive.
      type: dict
    pull_secret:
      description: Name of the Secret with the credentials of the mirror, or empty.
      type: str
    replacements:
      description: Image as upstream's manifests name it to image as it is to be, where the two differ.
      type: dict
"""


def platform_artifacts(
    catalogue: dict[str, t.Any], versions: t.Any = None, mirror: t.Any = None, digests: t.Any = None
) -> dict[str, t.Any]:
    """The addresses; raises AnsibleFilterError naming the variable that cannot be."""
    try:
        return resolve.artifacts(catalogue, versions, mirror, digests)
    except GatewayError as exc:
        raise AnsibleFilterError(exc.message) from exc


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"platform_artifacts": platform_artifacts}
