#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_bundle
short_description: Internal to this collection, list, keep and load what a disconnected installation needs
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to role C(kuadrant.llm.platform) and the playbook C(kuadrant.llm.bundle). Options and results can change at any time.
  - Pulls charts and manifests, renders the charts to see which images they name, asks the registries for the digests of the images, and
    returns a description of all of it with SHA-256 sums.
  - Keeps everything in a folder, and loads it into a mirror, if told so. What is there already stays.
extends_documentation_fragment:
  - kuadrant.llm._attributes
attributes:
  check_mode:
    support: full
    details:
      - Reads as much as otherwise, but writes nothing and pushes nothing.
  diff_mode:
    support: full
    details:
      - Shows the sums of files and images before and after.
  idempotent:
    support: full
options:
  artifacts:
    description:
      - Where the parts come from, as P(kuadrant.llm.platform_artifacts#filter) returns it.
    type: dict
    required: true
  upstream:
    description:
      - The same without a mirror and digests, which tells what the parts are called.
    type: dict
    required: true
  needs:
    description:
      - What each part needs, part to section (C(charts), C(manifests), C(images), C(binaries)) to keys.
    type: dict
    required: true
  parts:
    description:
      - The parts that are to be installed.
    type: list
    elements: str
    required: true
  mirror:
    description:
      - The mirror that O(artifacts) were resolved with, as in C(llm_gateway_mirror).
    type: dict
    default: {}
  optional_images:
    description:
      - A regular expression. What a chart names in a matching variable of a container is left out.
    type: str
    default: ""
  extra_images:
    description:
      - Further images.
    type: list
    elements: str
    default: []
  helm:
    description:
      - The Helm to use.
    type: path
    required: true
  image_tool:
    description:
      - The crane or skopeo to use. Without one, digests of images stay unknown, and no image can be kept or loaded.
    type: path
  folder:
    description:
      - The folder to keep everything in. Without one, nothing is kept.
    type: path
  push:
    description:
      - The mirror to load everything into. C(charts) is an V(oci://) address, C(images) a registry, C(manifests) a folder.
    type: dict
    default: {}
requirements:
  - python >= 3.11
  - PyYAML
  - helm
  - crane or skopeo, for images
"""

EXAMPLES = r"""
- name: List what Istio needs
  kuadrant.llm.platform_bundle:
    artifacts: "{{ platform_artifacts }}"
    upstream: "{{ platform_artifacts }}"
    needs: {istio: {charts: [istiod], manifests: [gateway_api], images: [istio_proxy]}}
    parts: [istio]
    helm: /usr/local/bin/helm
    image_tool: /usr/local/bin/crane
"""

RETURN = r"""
bundle:
  description: The description, as C(bundle.json) has it. C(digests) in it are for C(llm_gateway_digests).
  returned: success
  type: dict
rows:
  description: The parts, each with C(kind), C(part) and C(sha256).
  returned: success
  type: list
  elements: dict
"""

import tempfile
import traceback
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.bundle import needed, rows
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.download import download
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.resolve import read_mirror

_IMPORT_ERROR = None
try:
    from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.collect import Collector, ImageTool
except ImportError:
    _IMPORT_ERROR = traceback.format_exc()

ARGUMENT_SPEC = {
    "artifacts": {"type": "dict", "required": True},
    "upstream": {"type": "dict", "required": True},
    "needs": {"type": "dict", "required": True},
    "parts": {"type": "list", "elements": "str", "required": True},
    "mirror": {"type": "dict", "default": {}},
    "optional_images": {"type": "str", "default": ""},
    "extra_images": {"type": "list", "elements": "str", "default": []},
    "helm": {"type": "path", "required": True},
    "image_tool": {"type": "path"},
    "folder": {"type": "path"},
    "push": {"type": "dict", "default": {}},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    if _IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("PyYAML"), exception=_IMPORT_ERROR)
    params = module.params
    with reporting(module), tempfile.TemporaryDirectory(dir=module.tmpdir) as work:
        source, target = read_mirror(params["mirror"]), read_mirror(params["push"], "bundle_push")
        tool = ImageTool(params["image_tool"], source.plain_http) if params["image_tool"] else None
        if tool is None and (params["folder"] or target.images):
            raise GatewayError("Images cannot be copied without crane or skopeo. Install one of them, or name it with bundle_image_tool.")
        if target.charts and not target.charts.startswith("oci://"):
            raise GatewayError(f"bundle_push.charts: '{target.charts}' is not an oci:// address; Helm can load no other.")
        if target.manifests.startswith("http"):
            raise GatewayError(f"bundle_push.manifests: '{target.manifests}' is not a folder: serve one by a web server.")
        collector = Collector(
            params["artifacts"],
            params["upstream"],
            source,
            params["helm"],
            tool,
            module.run_command,
            download,
            Path(work),
            module.check_mode,
        )
        document = collector.collect(needed(params["needs"], params["parts"]), params["optional_images"], params["extra_images"])
        folder = Path(params["folder"] or work)
        if params["folder"]:
            collector.keep(folder, document)
        collector.push(target, document, folder)
        module.exit_json(**collector.changes.result(diff=module._diff, bundle=document, rows=rows(document)))


if __name__ == "__main__":
    main()
