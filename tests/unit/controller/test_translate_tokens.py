# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Token limits: what asks, and what reports when the answer is complete."""

from __future__ import annotations

from local_controller import envoy, routes

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
    run,
    settings,
    token_limit,
)


def test_token_limits_ask_first_and_report_when_the_stream_is_done(index: routes.RouteIndex) -> None:
    result = run(config(auth(), *FREE, *PRO), index)
    assert result.refusals == []
    setting = settings(result)
    assert list(setting) == [envoy.EXT_AUTHZ, envoy.RESPONSE_BODY, envoy.RESPONSE_STREAM, envoy.RATE_LIMIT_AFTER_AUTH]
    asking, metered, unmetered = setting[envoy.RATE_LIMIT_AFTER_AUTH]["rate_limits"]
    assert "hits_addend" not in asking
    assert "apply_on_stream_done" not in asking
    for report in (metered, unmetered):
        assert report["apply_on_stream_done"] is True
    assert metered["hits_addend"] == {"format": "%DYNAMIC_METADATA(kuadrant.llm.response_body:/usage/total_tokens)%"}
    assert unmetered["hits_addend"] == {"number": 0}

    asks, meters, complains = descriptors(setting[envoy.RATE_LIMIT_AFTER_AUTH])
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
    for report in (meters, complains):
        assert {key: value for key, value in report.items() if not key.startswith("kuadrant.llm/")} == asked
        expression, required = report["kuadrant.llm/usage"]
        assert required
        assert expression.startswith(f"{ECHO}['kuadrant.llm/report'] == '1' ? (")
    assert {"kuadrant.llm/model", "kuadrant.llm/prompt_tokens", "kuadrant.llm/completion_tokens"} <= meters.keys()
    assert "kuadrant.llm/prompt_tokens" not in complains


def test_limits_of_requests_and_of_tokens_are_asked_together(index: routes.RouteIndex) -> None:
    setting = settings(run(config(auth(), rate_limit(limit("free", counters=("auth.identity.userid",))), *FREE), index))
    asks, meters, _complains = descriptors(setting[envoy.RATE_LIMIT_AFTER_AUTH])
    assert asks["limit.free__a1b2c3d4"] == ("'1'", False)
    assert asks[FREE_KEY] == (f"({IS_FREE}) ? '1' : '0'", False)
    assert asks["kuadrant.llm/report"] == (f"(({IS_FREE})) ? '1' : {ERROR}", False), "no report without a token limit"
    assert "limit.free__a1b2c3d4" not in meters


def test_each_side_of_authentication_asks_by_itself(index: routes.RouteIndex) -> None:
    setting = settings(run(config(rate_limit(limit("all")), auth(), *FREE), index))
    before, after = setting[envoy.RATE_LIMIT_BEFORE_AUTH], setting[envoy.RATE_LIMIT_AFTER_AUTH]
    assert list(descriptors(before)[0]) == ["limit.all__a1b2c3d4"]
    assert FREE_KEY in descriptors(after)[0]
    anonymous = settings(run(config(*token_limit("all"), auth()), index))
    assert list(anonymous) == [envoy.RESPONSE_BODY, envoy.RESPONSE_STREAM, envoy.RATE_LIMIT_BEFORE_AUTH, envoy.EXT_AUTHZ]


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
    asks, meters, _complains = descriptors(setting[envoy.RATE_LIMIT_AFTER_AUTH])
    assert asks[model] == ("metadata.filter_metadata['kuadrant.llm.request_body']['/model']", False)
    assert meters[model] == (f"{ECHO}['{model}']", False)
    early = settings(run(config(rate_limit(limit("big", f"{model} == 'big'")), auth()), index))
    assert list(early) == [envoy.REQUEST_BODY_BEFORE_AUTH, envoy.RATE_LIMIT_BEFORE_AUTH, envoy.EXT_AUTHZ]


def test_bodies_are_not_read_where_no_limit_needs_them(index: routes.RouteIndex) -> None:
    setting = settings(run(config(auth(), rate_limit(limit("free", "auth.identity.tier == 'free'"))), index))
    assert list(setting) == [envoy.EXT_AUTHZ, envoy.RATE_LIMIT_AFTER_AUTH]


def test_a_label_of_the_answer_comes_with_the_report(index: routes.RouteIndex) -> None:
    labels = {"metrics.labels.model": 'responseBodyJSON("/model")', "metrics.labels.user": "auth.identity.userid"}
    setting = settings(run(config(auth(), *FREE, requestData=labels), index))
    _asks, early, _meters, _complains, late = descriptors(setting[envoy.RATE_LIMIT_AFTER_AUTH])
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
