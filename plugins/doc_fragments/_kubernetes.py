# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is PRIVATE to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    """How every module that talks to a cluster is told which one, and as whom; the argument spec is AUTH_ARG_SPEC of kubernetes.core.

    It is here too because Galaxy and Automation Hub document a collection alone: of a fragment of another collection they know nothing.
    """

    DOCUMENTATION = r"""
requirements:
  - python >= 3.11
  - kubernetes >= 24.2.0
options:
  kubeconfig:
    description:
      - Path of the kubeconfig file, or its content as a dictionary. Several paths are separated by colons.
      - Environment variable E(K8S_AUTH_KUBECONFIG). Without it, O(context) and O(host), the ServiceAccount of the pod is used, and outside
        of a pod C(~/.kube/config).
    type: raw
  context:
    description:
      - Context of the kubeconfig. Not given means its current one. Environment variable E(K8S_AUTH_CONTEXT).
    type: str
  host:
    description:
      - URL of the API server. Environment variable E(K8S_AUTH_HOST).
    type: str
  api_key:
    description:
      - Bearer token for the API server; it has nothing to do with the API keys of the gateway. Environment variable E(K8S_AUTH_API_KEY).
    type: str
  username:
    description:
      - User name where the API server, or a proxy before it, takes HTTP Basic authentication. Environment variable E(K8S_AUTH_USERNAME).
    type: str
  password:
    description:
      - Password that belongs to O(username). Environment variable E(K8S_AUTH_PASSWORD).
    type: str
  client_cert:
    description:
      - File with the client certificate. Environment variable E(K8S_AUTH_CERT_FILE).
    type: path
    aliases: [cert_file]
  client_key:
    description:
      - File with the key of O(client_cert). Environment variable E(K8S_AUTH_KEY_FILE).
    type: path
    aliases: [key_file]
  ca_cert:
    description:
      - File with the certificates of the authorities to trust, the full chain. Environment variable E(K8S_AUTH_SSL_CA_CERT).
    type: path
    aliases: [ssl_ca_cert]
  validate_certs:
    description:
      - Whether to check the certificate of the API server. Environment variable E(K8S_AUTH_VERIFY_SSL).
    type: bool
    aliases: [verify_ssl]
  proxy:
    description:
      - URL of the HTTP proxy before the API server. The usual variables of proxies are not read. Environment variable E(K8S_AUTH_PROXY).
    type: str
  no_proxy:
    description:
      - Hosts, domains and networks that are reached without the proxy, separated by commas. Environment variable E(K8S_AUTH_NO_PROXY).
    type: str
  proxy_headers:
    description:
      - Headers for the proxy, as urllib3's C(make_headers) takes them.
    type: dict
    suboptions:
      proxy_basic_auth:
        description:
          - C(username:password) for the proxy. Environment variable E(K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH).
        type: str
      basic_auth:
        description:
          - C(username:password) for what is behind the proxy. Environment variable E(K8S_AUTH_PROXY_HEADERS_BASIC_AUTH).
        type: str
      user_agent:
        description:
          - Name that the client gives itself. Environment variable E(K8S_AUTH_PROXY_HEADERS_USER_AGENT).
        type: str
  persist_config:
    description:
      - Whether tokens that were refreshed are written back to the kubeconfig, as in the modules of C(kubernetes.core).
        Environment variable E(K8S_AUTH_PERSIST_CONFIG).
    type: bool
  impersonate_user:
    description:
      - User to act as. Environment variable E(K8S_AUTH_IMPERSONATE_USER).
    type: str
  impersonate_groups:
    description:
      - Groups to act as. Environment variable E(K8S_AUTH_IMPERSONATE_GROUPS), separated by commas.
    type: list
    elements: str
  render_dir:
    description:
      - A folder for manifests, for Argo CD or Flux. In check mode, and only there, each object that would be applied is written into it as
        a file, and the file of one that would be deleted is removed. Secrets are not written.
      - Modules that apply no objects do nothing with it. Environment variable E(LLM_GATEWAY_RENDER_DIR), which the playbooks
        C(kuadrant.llm.site) and C(kuadrant.llm.tiers) set from C(llm_gateway_render_dir).
    type: path
notes:
  - Connection and authentication are those of C(kubernetes.core). The options can be set once for all modules, by C(module_defaults) of the
    group C(kuadrant.llm.llm_gateway) or by the environment.
"""
