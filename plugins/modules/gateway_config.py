# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation only: the action plugin of this name does the work, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_config
short_description: Check the tiers and keys of an LLM gateway
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Checks the description of a gateway, its tiers, its API keys, the tokens it takes beside them, and its paths together, before anything
    is changed.
  - All problems are reported at once, each with the entry and the field, such as
    C(llm_gateway_tiers[2].requests[0].window).
  - Names every variable that begins with C(llm_gateway_) and that this collection does not know, and warns of variables that are nearly
    called like those of its roles. A wrong name would leave the right one unset, and its default in force.
  - Runs on the controller and reads and writes nothing. Key values are neither shown nor returned.
extends_documentation_fragment:
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.INFO_MODULE
options:
  tiers:
    description:
      - The tiers, as in C(llm_gateway_tiers). At least one is needed.
      - If omitted, the tiers of the local stack and of the demos, which are for trying. V(free), V(premium) and V(enterprise) with 2, 10
        and 50 requests in 2 minutes, at 0.001, 0.002 and 0.005 for each.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the tier. It becomes the name of a limit and a metric label.
        type: str
        required: true
      requests:
        description:
          - Limits on requests. All of them hold at once; a short window beside a long one limits bursts.
          - A tier without limits is counted and never refused.
        type: list
        elements: dict
        suboptions: &rates
          limit:
            description: Number of requests, or tokens, in one window. V(0) requests suspend the tier.
            type: int
            required: true
          window:
            description:
              - Length of the window, which starts with its first request.
              - Kuadrant accepts V(h), V(m), V(s) and V(ms), for example V(2m), V(24h), V(1h30m). Limitador counts in whole seconds.
            type: str
            required: true
          per:
            description:
              - V(user) gives each user a bucket. With V(group), all users of the tier whose keys have the same groups share one.
            type: str
            choices: [user, group]
            default: user
          model:
            description:
              - Count only requests that name this model. By default all are counted.
              - Such limits have the gateway read the bodies of requests, see O(kuadrant.llm.tier#module:streams).
            type: str
          shadow:
            description:
              - Refuse nothing, and count what would have been refused, which M(kuadrant.llm.tier_info) tells.
              - Only the custom Limitador can; a gateway whose Limitador runs Kuadrant's image is refused by name.
            type: bool
            default: false
      tokens:
        description:
          - Limits on tokens, of prompt and completion together unless O(tiers[].tokens[].cost) or O(tiers[].tokens[].count) says otherwise,
            as the model server reports them in C(usage).
          - What a request costs is known when it is answered. The one that goes over the limit is still answered, the next one is refused.
        type: list
        elements: dict
        suboptions:
          <<: *rates
          cost:
            description:
              - What one token counts against the limit, by what it is. The cost of an answer is rounded up to a whole number.
              - Tokens of which only the sum is known count as the dearer of prompt and completion.
              - Only where the answers are told to the custom Limitador in parts, which is the local stack; Kuadrant's own filter knows only
                the sum, and is refused by name.
            type: dict
            suboptions:
              prompt:
                description: Of a token of the prompt, 1 if not given. From 0 to 1000000, with at most 6 decimals.
                type: float
              completion:
                description: Of a token of the completion, 1 if not given.
                type: float
              cached:
                description: Of a token of the prompt that the model server had in its cache, as much as of any other if not given.
                type: float
          count:
            description: Count only these tokens, one each, where O(tiers[].tokens[].cost) is not given.
            type: str
            choices: [total, prompt, completion]
            default: total
      models:
        description:
          - The only models that keys of the tier may use, as names in which V(*) stands for any characters. All others get 403, and so does
            what names no model, such as a list of models. By default all models are allowed.
          - The gateway reads the bodies of requests then, see O(kuadrant.llm.tier#module:streams).
        type: list
        elements: str
      spend:
        description:
          - What the users of the tier may spend in a calendar month, by the prices of the tier, of which there has to be one. Over it every
            C(POST) gets 429 until the month ends. The answer that goes over it is delivered, and so are those under way at that time.
          - What was spent is kept when prices, time zone or amount change. It is counted as a bill counts it, but for what is not posted,
            what a price book says, and that the cost of each answer is rounded up to a millionth of the currency.
          - Only the custom Limitador can count money; a gateway whose Limitador runs Kuadrant's image is refused by name.
        type: dict
        suboptions:
          limit:
            description: The amount, as text, in the currency of the prices, with at most 6 decimals.
            type: str
            required: true
          time_zone:
            description: Where the month begins, by a name of the tz database.
            type: str
            default: Etc/UTC
          per:
            description: V(user) gives each user the amount. With V(group), all users of the tier whose keys have the same groups share it.
            type: str
            choices: [user, group]
            default: user
          models:
            description:
              - Prices of the answers of single models, each with the fields of O(tiers[].price), in place of that.
              - Only on the local stack; Kuadrant's own filter does not tell the limiter which model has answered, and is refused by name.
            type: dict
      price:
        description: Prices of the tier, as decimal numbers, best written as text.
        type: dict
        suboptions:
          request:
            description: Price of one authorized request.
            type: str
          limited_request:
            description: Price of one request that a limit refused. Without it they are free.
            type: str
          unmetered_request:
            description: Price of one request whose answer did not tell its tokens, where tokens have prices.
            type: str
          prompt_per_1k:
            description: Price of a thousand prompt tokens.
            type: str
          prompt_per_1m:
            description: Price of a million prompt tokens, instead of a thousand.
            type: str
          completion_per_1k:
            description: Price of a thousand completion tokens.
            type: str
          completion_per_1m:
            description: Price of a million completion tokens, instead of a thousand.
            type: str
          cached_per_1k:
            description: >-
              Price of a thousand prompt tokens that came from the model server's cache. Without it they cost what prompt tokens cost.
            type: str
          cached_per_1m:
            description: Price of a million cached tokens, instead of a thousand.
            type: str
          unsplit_per_1k:
            description: Price of a thousand tokens of which only the total is known, not how many were prompt and how many completion.
            type: str
          unsplit_per_1m:
            description: Price of a million unsplit tokens, instead of a thousand.
            type: str
  keys:
    description:
      - The API keys, as in C(llm_gateway_keys).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the key, and of its Secret.
        type: str
        required: true
      user:
        description: User that the key belongs to. Required if the key is to be present.
        type: str
      tier:
        description: One of O(tiers[].name). Required if the key is to be present.
        type: str
      groups:
        description: Groups of the user. The default is the tier alone.
        type: list
        elements: str
      models:
        description: The only models that the key may use, as O(tiers[].models). The default is all that the tier allows.
        type: list
        elements: str
      owner:
        description: Who answers for the key.
        type: str
      attributes:
        description: >-
          Cost centre, project and whatever else the user's bill has to carry, by name; values are text. Keys of one user agree in it.
        type: dict
      expires_at:
        description: RFC 3339 time from which the key is refused. It must be in the future if the key is to be present.
        type: str
      lifetime:
        description: How long each value of the key works from its creation or rotation on, such as V(90d). Not together with C(expires_at).
        type: str
      key:
        description: Value of the key, 16 to 4096 characters. Generated when it is left out.
        type: str
      rotation:
        description: Names a rotation. The key gets a new value when this changes.
        type: str
      overlap:
        description: How long the old value works on after the rotation, for example V(24h).
        type: str
      state:
        description: Whether the key exists, is revoked for good, or is gone without a trace.
        type: str
        choices: [present, revoked, absent]
        default: present
  identities:
    description:
      - Tokens that are taken beside keys, as in C(llm_gateway_identities). None are, by default.
      - Each entry is one issuer of JWTs, with O(identities[].jwt), or the ServiceAccounts of the cluster, with O(identities[].kubernetes).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the entry.
        type: str
        required: true
      jwt:
        description: The tokens are JWTs of this issuer, which Authorino asks for its keys (OpenID Connect discovery).
        type: dict
        suboptions:
          issuer:
            description:
              - URL of the issuer, as its discovery document says it, and the claim C(iss) of its tokens.
              - With https, but on this machine and inside the cluster (C(.svc)).
            type: str
            required: true
          audiences:
            description: A token must be meant for one of these, by its claim C(aud).
            type: list
            elements: str
            required: true
      kubernetes:
        description: The tokens are those of ServiceAccounts of the cluster, which Authorino has its API server review.
        type: dict
        suboptions:
          audiences:
            description: A token must have been made for one of these. Choose one that the API server itself does not take.
            type: list
            elements: str
            required: true
          service_accounts:
            description: Whose tokens, as namespace/name, in which V(*) stands for any characters, such as V(team-a/*).
            type: list
            elements: str
            required: true
      user_claim:
        description:
          - The claim that names the user, or the list of names that leads to it. The default is C(sub). It must be text.
          - Whoever has the name of a user who has keys is that user, with the same limits and on the same bill. So it must be a claim that
            the bearer cannot choose. For a ServiceAccount it is C(system:serviceaccount:namespace:name).
        type: raw
      user_prefix:
        description: What is put before the name, so that it is no user's who has keys.
        type: str
      groups_claim:
        description: The claim that names the groups, as text or as a list, or the list of names that leads to it.
        type: raw
      groups:
        description:
          - With O(identities[].groups_claim), the groups that are taken from it, in this order; the default is the groups that may pass.
          - Without, the groups of everyone; the default is the tier alone.
        type: list
        elements: str
      tier_claim:
        description: The claim that names the tier, as text or as a list, or the list of names that leads to it. Of several, the first of
          O(tiers) holds.
        type: raw
      tier:
        description:
          - The tier of everyone or, with O(identities[].tier_claim), of those whose claim names none. Those without a tier get 403.
        type: str
  namespace:
    description: The namespace of gateway, policies and keys, as in C(llm_gateway_namespace). Those of Kubernetes itself are refused.
    type: str
  overlap:
    description: How long the old value of a key works on after a rotation that has no C(overlap) of its own, for example V(1h).
    type: str
  paths:
    description:
      - What of the model server a route leads to, as in C(llm_gateway_paths).
    type: list
    elements: dict
    suboptions:
      path:
        description:
          - The path, such as V(/v1/completions). It is compared as it is, without its query; upper and lower case differ.
          - A segment V({name}) stands for any one segment, V(/*) at the end for one or more, and V(/*) alone for every path.
        type: str
        required: true
      methods:
        description: The methods that it is answered to. V(ANY) means all.
        type: list
        elements: str
        choices: [ANY, GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH]
        default: [POST]
  tls:
    description:
      - Where the certificate of the Gateway comes from, as in C(llm_gateway_tls). Without it, or empty, the Gateway speaks HTTP.
    type: dict
    suboptions:
      secret:
        description: Name of a Secret of type C(kubernetes.io/tls) in the namespace of the Gateway.
        type: str
      issuer:
        description: An issuer of cert-manager, with C(name) and, if it is no C(Issuer), C(kind) and C(group).
        type: dict
      self_signed:
        description: Make a certificate for trying.
        type: bool
        default: false
      hostnames:
        description: What the certificate is for, hostnames and IP addresses.
        type: list
        elements: str
        default: []
      port:
        description: Port of the HTTPS listener.
        type: int
        default: 443
      redirect:
        description: Whether there is an HTTP listener that leads to HTTPS.
        type: bool
        default: true
seealso:
  - module: kuadrant.llm.api_key
  - module: kuadrant.llm.tier
"""

EXAMPLES = r"""
- name: Check the description of the gateway
  kuadrant.llm.gateway_config:
    tiers:
      - name: free
        requests:
          - limit: 2
            window: 2m
        price:
          request: "0.001"
    keys:
      - name: alice-laptop
        user: alice
        tier: free
        expires_at: "2099-01-01T00:00:00Z"
"""

RETURN = r"""
tiers:
  description: The tiers with every field filled in, prices as text. Every plugin of this collection that takes tiers takes this.
  returned: success
  type: list
  elements: dict
  sample:
    - name: free
      requests:
        - {limit: 2, window: 2m, per: user, model: null, shadow: false, cost: null}
      tokens: []
      price:
        request: "0.001"
api_keys:
  description: The keys with every field filled in, without their values.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the key.
      type: str
    user:
      description: User that the key belongs to.
      type: str
    tier:
      description: Tier of the key.
      type: str
    groups:
      description: Groups of the user.
      type: list
      elements: str
    models:
      description: The only models that the key may use. Null means all that the tier allows.
      type: list
      elements: str
    expires_at:
      description: Time from which the key is refused, in UTC.
      type: str
    state:
      description: Whether the key is to exist.
      type: str
    has_value:
      description: Whether the description gives the value of the key.
      type: bool
  sample:
    - name: alice-laptop
      user: alice
      tier: free
      groups: [free]
      expires_at: "2099-01-01T00:00:00Z"
      state: present
      has_value: false
identities:
  description: The tokens that are taken beside keys, with every field filled in.
  returned: success
  type: list
  elements: dict
  sample:
    - name: company
      jwt: {issuer: "https://sso.example.com/realms/company", audiences: [llm-gateway]}
      user_claim: [preferred_username]
      user_prefix: null
      groups_claim: [realm_access, roles]
      groups: null
      tier_claim: null
      tier: free
paths:
  description: The paths with every field filled in, each once.
  returned: success
  type: list
  elements: dict
  sample:
    - {path: /v1/models, methods: [GET]}
problems:
  description: Every problem by itself.
  returned: failure
  type: list
  elements: str
  sample:
    - "llm_gateway_keys[3] (bob): tier: 'gold' is not one of the tiers free, premium"
"""
