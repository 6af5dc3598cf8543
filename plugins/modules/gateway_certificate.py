#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_certificate
short_description: Internal to this collection, keep a certificate for trying in a Secret
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the roles of this collection. Options and results can change at any time.
  - Makes a Secret of type C(kubernetes.io/tls) with a key, a certificate and, in C(ca.crt), the authority that clients are to trust. That
    authority signs this one certificate; its key is forgotten.
  - A certificate that is for the same names and has enough time left stays. A Secret that this collection did not make is refused.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - What the Secret holds is shown as fingerprints.
  idempotent:
    support: full
options:
  name:
    description: Name of the Secret.
    type: str
    required: true
  namespace:
    description: Namespace of the Secret, which is that of the Gateway. Made if it is not there.
    type: str
    required: true
  hostnames:
    description: What the certificate is for, hostnames and IP addresses.
    type: list
    elements: str
    default: [localhost, 127.0.0.1]
  ca_path:
    description: Where to write the authority, on the machine that the module runs on, for clients there. Without it no file is written.
    type: path
  days:
    description: How many days a new certificate is valid.
    type: int
    default: 365
  renew_days:
    description: A certificate with fewer days left is replaced.
    type: int
    default: 30
requirements:
  - cryptography
"""

EXAMPLES = r"""
- name: Keep a certificate for trying
  kuadrant.llm.gateway_certificate:
    name: vllm-gateway-tls
    namespace: llm
    hostnames: [localhost, 127.0.0.1]
"""

RETURN = r"""
why:
  description: Why a certificate was made, or would be in check mode. Null if the one that is there stays.
  returned: success
  type: str
  sample: it ends at 2026-12-01 10:00 UTC
"""

import base64
import datetime as dt
import os
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.kuadrant.llm.plugins.module_utils import _certificate
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS, Kube, argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY, is_managed
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.apply import apply
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import essence
from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes

ARGUMENT_SPEC: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "hostnames": {"type": "list", "elements": "str", "default": ["localhost", "127.0.0.1"]},
    "ca_path": {"type": "path"},
    "days": {"type": "int", "default": 365},
    "renew_days": {"type": "int", "default": 30},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    if _certificate.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=_certificate.IMPORT_ERROR)
    with reporting(module):
        module.exit_json(**run(module, connect(module), dt.datetime.now(dt.UTC)))


def run(module: AnsibleModule, kube: Kube, now: dt.datetime) -> dict[str, t.Any]:
    params = module.params
    name, namespace, names = params["name"], params["namespace"], params["hostnames"]
    found = kube.get(SECRETS, namespace, name)
    if found is not None and not is_managed(found):
        raise GatewayError(
            f"Secret {namespace}/{name} is not of this collection and is left as it is. Name it in llm_gateway_tls.secret to use it, "
            "or remove it."
        )
    held = base64.b64decode((found or {}).get("data", {}).get("tls.crt") or "")
    why = _certificate.why_renew(held, names, params["renew_days"], now) if found else "there is none"
    changes = Changes()
    authority = base64.b64decode((found or {}).get("data", {}).get("ca.crt") or "")
    if why:
        issued = _certificate.issue(names, params["days"], now)
        texts = {"tls.crt": issued.certificate, "tls.key": issued.key, "ca.crt": issued.authority}
        secret: dict[str, t.Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace, "labels": dict(MANAGED_BY)},
            "type": "kubernetes.io/tls",
            "data": {key: base64.b64encode(text).decode() for key, text in texts.items()},
        }
        authority = issued.authority
        module.no_log_values.add(secret["data"]["tls.key"])
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        for one in apply(kube, [space, secret], check=module.check_mode):
            changes.record(one.label, essence(one.before), essence(one.after), secret=one.resource.kind == "Secret")
    if params["ca_path"]:
        write_authority(Path(params["ca_path"]), authority, changes, check=module.check_mode)
    return changes.result(diff=module._diff, why=why)


def write_authority(path: Path, authority: bytes, changes: Changes, *, check: bool) -> None:
    """A certificate is no secret; its folder is made with what the user's umask allows."""
    held = path.read_bytes() if path.exists() else None
    before = held.decode(errors="replace") if held is not None else None
    if changes.record(str(path), before, authority.decode(), secret=False) and not check:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_bytes(authority)
        partial.chmod(0o644)
        partial.replace(path)


if __name__ == "__main__":
    main()
