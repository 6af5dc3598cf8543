# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Token limits: what asks, and what reports when the answer is complete."""

from __future__ import annotations

import typing as t

from local_controller import envoy, routes, tokens
from local_controller.envoy import Upstreams
from local_controller.translate import translate

from ansible_collections.kuadrant.llm.plugins.module_utils._tier import body

from .configurations import (
    AUTH,
    ECHO,
    ERROR,
    FREE,
    FREE_KEY,
    IS_FREE,
    IS_PRO,
    PRO,
    PRO_KEY,
    auth,
    config,
    descriptors,
    limit,
    rate_limit,
    route_patches,
    run,
    settings,
    token_limit,
)

SIZES = [envoy.REQUEST_SIZE, envoy.ANSWER_SIZE]


def test_token_limits_ask_first_and_report_when_the_stream_is_done(index: routes.RouteIndex) -> None:
    result = run(config(auth(), *FREE, *PRO), index)
    assert result.refusals == []
    setting = settings(result)
    assert list(setting) == [
        envoy.EXT_AUTHZ,
        envoy.ADMITTED,
        envoy.RESPONSE_BODY,
        envoy.RESPONSE_STREAM,
        envoy.RATE_LIMIT_AFTER_AUTH,
        *SIZES,
    ]
    asking, reporting = setting[envoy.RATE_LIMIT_AFTER_AUTH]["rate_limits"]
    assert "hits_addend" not in asking
    assert "apply_on_stream_done" not in asking
    assert reporting["apply_on_stream_done"] is True
    assert reporting["hits_addend"] == {"number": 0}, "Envoy drops a report whose hits are no number that it likes"

    asks, reports = descriptors(setting[envoy.RATE_LIMIT_AFTER_AUTH])
    applies = f"({IS_FREE}) || ({IS_PRO})"
    assert asks == {
        "kuadrant.llm/applies": (f"({applies}) ? '1' : {ERROR}", True),
        FREE_KEY: (f"({IS_FREE}) ? '1' : '0'", False),
        PRO_KEY: (f"({IS_PRO}) ? '1' : '0'", False),
        "kuadrant.llm/report": (f"({applies}) ? '1' : {ERROR}", False),
        "auth.identity.userid": (f"{AUTH}.identity.userid", False),
        "auth.identity.groups": (f"{AUTH}.identity.groups", False),
    }
    # What was asked is what is reported with, not what the request looks like by then.
    asked = {key: (f"{ECHO}['{key}']", False) for key in (FREE_KEY, "auth.identity.userid", "auth.identity.groups", PRO_KEY)}
    assert {key: value for key, value in reports.items() if not key.startswith("kuadrant.llm/")} == asked
    expression, required = reports["kuadrant.llm/usage"]
    assert required
    assert expression.startswith(f"{ECHO}['kuadrant.llm/report'] == '1' ? (")
    # What module tier's filter says of a stream that tells its usage all along.
    assert f"'{body.RUNNING}' in metadata.filter_metadata ? 'aborted_running' : 'aborted'" in expression
    for pointer in ("/model", "/usage/total_tokens", "/usage/input_tokens", "/usage/input_tokens_details/cached_tokens"):
        said = f"metadata.filter_metadata['kuadrant.llm.response_body']['{pointer}']"
        assert reports[f"kuadrant.llm{pointer}"] == (said, False)


def test_bodies_are_held_up_to_a_size_where_they_are_read_and_metered_answers_come_uncompressed(index: routes.RouteIndex) -> None:
    def held(*actions: dict[str, t.Any]) -> tuple[dict[str, int], list[dict[str, t.Any]]]:
        patches = route_patches(translate(config(*actions), index, Upstreams(50051, 8081), envoy.BodyLimits(5, 7)))
        values = [patch["patch"]["value"] for patch in patches]
        sizes = {
            n: s["buffer"]["max_request_bytes"] for v in values for n, s in v.get("typed_per_filter_config", {}).items() if "buffer" in s
        }
        return sizes, [value for value in values if "typed_per_filter_config" not in value]

    assert held(auth(), rate_limit(limit("a"))) == ({}, [])
    assert held(auth(), rate_limit(limit("a", "requestBodyJSON('/model') == 'x'"))) == ({envoy.REQUEST_SIZE_AFTER_AUTH: 5}, [])
    # Without authentication before it, the limit itself waits for the body.
    assert held(rate_limit(limit("a", "requestBodyJSON('/model') == 'x'"))) == ({envoy.REQUEST_SIZE: 5}, [])
    named = limit("a", "'x-gateway-model-name' in request.headers && request.headers['x-gateway-model-name'] == 'x'")
    assert held(auth(), rate_limit(named)) == ({envoy.REQUEST_SIZE: 5}, []), "module tier's filters read the body for it"
    sizes = {envoy.REQUEST_SIZE: 5, envoy.ANSWER_SIZE: 7}
    assert held(auth(), *FREE) == (sizes, [{"request_headers_to_remove": ["accept-encoding"]}])


def test_events_of_all_formats_are_read_under_the_names_of_plain_answers(index: routes.RouteIndex) -> None:
    (stream,) = (
        value for patch in run(config(), index).patches if (value := patch["patch"].get("value", {})).get("name") == envoy.RESPONSE_STREAM
    )
    rules = stream["typed_config"]["response_rules"]["content_parser"]["typed_config"]["rules"]
    read = {tuple(s["key"] for s in rule["rule"]["selectors"]): rule["rule"]["on_present"]["key"] for rule in rules}
    assert read["usage", "total_tokens"] == "/usage/total_tokens"
    assert read["response", "usage", "output_tokens"] == "/usage/output_tokens"
    assert read["response", "model"] == read["message", "model"] == "/model"
    assert read["message", "usage", "cache_read_input_tokens"] == "/usage/cache_read_input_tokens"
    assert ("message", "usage", "output_tokens") not in read, "the beginning of an answer is not what it cost"
    assert read["type",] == "stream"


def test_limits_of_requests_and_of_tokens_are_asked_together(index: routes.RouteIndex) -> None:
    setting = settings(run(config(auth(), rate_limit(limit("free", counters=("auth.identity.userid",))), *FREE), index))
    asks, meters = descriptors(setting[envoy.RATE_LIMIT_AFTER_AUTH])
    assert asks["limit.free__a1b2c3d4"] == ("'1'", False)
    assert asks[FREE_KEY] == (f"({IS_FREE}) ? '1' : '0'", False)
    assert asks["kuadrant.llm/report"] == (f"(({IS_FREE})) ? '1' : {ERROR}", False), "no report without a token limit"
    assert "limit.free__a1b2c3d4" not in meters


def test_each_side_of_authentication_asks_by_itself(index: routes.RouteIndex) -> None:
    setting = settings(run(config(rate_limit(limit("all")), auth(), *FREE), index))
    before, after = setting[envoy.RATE_LIMIT_BEFORE_AUTH], setting[envoy.RATE_LIMIT_AFTER_AUTH]
    assert list(descriptors(before)[0]) == ["limit.all__a1b2c3d4"]
    assert FREE_KEY in descriptors(after)[0]
    anonymous = settings(run(config(*token_limit("all"), auth()), index, strict=False))
    assert list(anonymous) == [
        envoy.RESPONSE_BODY,
        envoy.RESPONSE_STREAM,
        envoy.RATE_LIMIT_BEFORE_AUTH,
        envoy.EXT_AUTHZ,
        envoy.ADMITTED,
        *SIZES,
    ]


def test_a_limit_per_model_reads_the_request_body(index: routes.RouteIndex) -> None:
    model = 'requestBodyJSON("/model")'
    big = token_limit("big", f"{model} == 'big'", counters=("auth.identity.userid", model))
    setting = settings(run(config(auth(), *FREE, *big), index))
    rules = setting[envoy.REQUEST_BODY_AFTER_AUTH]["request_rules"]["rules"]
    assert [rule["selectors"] for rule in rules] == [[{"key": "model"}]]
    assert (
        rules[0]["on_missing"]
        == rules[0]["on_error"]
        == {
            "metadata_namespace": "kuadrant.llm.request_body",
            "key": "/model",
            "value": None,
        }
    )
    asks, meters = descriptors(setting[envoy.RATE_LIMIT_AFTER_AUTH])
    assert asks[model] == ("metadata.filter_metadata['kuadrant.llm.request_body']['/model']", False)
    assert meters[model] == (f"{ECHO}['{model}']", False)
    early = settings(run(config(rate_limit(limit("big", f"{model} == 'big'")), auth()), index))
    assert list(early) == [
        envoy.REQUEST_BODY_BEFORE_AUTH,
        envoy.RATE_LIMIT_BEFORE_AUTH,
        envoy.EXT_AUTHZ,
        envoy.ADMITTED,
        envoy.REQUEST_SIZE,
    ]


def test_bodies_are_not_read_where_no_limit_needs_them(index: routes.RouteIndex) -> None:
    setting = settings(run(config(auth(), rate_limit(limit("free", "auth.identity.tier == 'free'"))), index))
    assert list(setting) == [envoy.EXT_AUTHZ, envoy.ADMITTED, envoy.RATE_LIMIT_AFTER_AUTH]


def test_a_label_of_the_answer_comes_with_the_report(index: routes.RouteIndex) -> None:
    labels = {"metrics.labels.model": 'responseBodyJSON("/model")', "metrics.labels.user": "auth.identity.userid"}
    setting = settings(run(config(auth(), *FREE, requestData=labels), index))
    _asks, early, _meters, late = descriptors(setting[envoy.RATE_LIMIT_AFTER_AUTH])
    assert list(early) == ["user"]
    follows = f"{ECHO}['kuadrant.llm/report'] == '1'"
    model = "metadata.filter_metadata['kuadrant.llm.response_body']['/model']"
    assert late == {
        "model": (f"{follows} ? ({model}) : {ERROR}", True),
        "user": (f"{follows} ? ({AUTH}.identity.userid) : {ERROR}", True),
    }
    assert setting[envoy.RATE_LIMIT_AFTER_AUTH]["rate_limits"][-1]["apply_on_stream_done"] is True
    alone = settings(run(config(rate_limit(limit("a")), requestData={"metrics.labels.model": 'responseBodyJSON("/model")'}), index))
    assert len(descriptors(alone[envoy.RATE_LIMIT_BEFORE_AUTH])) == 1


def test_totals_only_reports_what_kuadrants_filter_does(index: routes.RouteIndex) -> None:
    def said(**options: bool) -> list[str]:
        limits = settings(run(config(auth(), *FREE), index, **options))[envoy.RATE_LIMIT_AFTER_AUTH]["rate_limits"]
        (report,) = (limit for limit in limits if limit.get("apply_on_stream_done"))
        keys = [action["extension"]["typed_config"]["descriptor_key"] for action in report["actions"]]
        return [key for key in keys if key.startswith("kuadrant.llm/") and key != tokens.USAGE]

    assert said(totals_only=True) == ["kuadrant.llm/usage/total_tokens"]
    assert {"kuadrant.llm/usage/total_tokens", "kuadrant.llm/usage/prompt_tokens", "kuadrant.llm/model"} <= set(said())
