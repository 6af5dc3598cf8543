# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is let in, and that nobody sees of anybody else: over HTTP, by every path and with whatever a client may send."""

from __future__ import annotations

import base64
import dataclasses
import json
import time
import typing as t

import pytest
import requests
import sample_report
from status_parts import TOKEN, FakeParts, serving

from ansible_collections.kuadrant.llm.plugins.module_utils._status.bearer import end_of
from ansible_collections.kuadrant.llm.plugins.module_utils._status.read import Known

HOUR = 3600
#: In whatever a user gets, none of these may be: other users, their keys and groups, what is the operators'.
OTHERS = [str(user) for user, _group, _tier in sample_report.PEOPLE if user != "ivan"] + ["research", "support", "leaked", "SHA256:"]


@pytest.fixture
def parts() -> FakeParts:
    return FakeParts()


@pytest.fixture
def url(parts: FakeParts) -> t.Iterator[str]:
    with serving(parts) as address:
        yield address


@pytest.fixture(scope="module")
def steady() -> t.Iterator[str]:
    """One for all tests that change nothing of the parts."""
    with serving(FakeParts()) as address:
        yield address


def signed_in(url: str, role: str, secret: str) -> requests.Session:
    session = requests.Session()
    answer = session.post(f"{url}sign-in-{role}", data={"secret": secret}, allow_redirects=False, timeout=10)
    assert answer.status_code == 303, answer.text
    return session


def first_event(session: requests.Session, url: str) -> dict[str, str]:
    with session.get(f"{url}live", stream=True, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        line = next(line for line in answer.iter_lines(decode_unicode=True) if line.startswith("data:"))
    return t.cast("dict[str, str]", json.loads(line.removeprefix("data:")))


def test_without_a_session_there_is_a_form_and_nothing_else(steady: str) -> None:
    answer = requests.get(steady, timeout=10)
    assert answer.status_code == 200
    assert [name for name in [*OTHERS, "ivan", "Cost", "tier"] if name in answer.text] == []
    assert requests.get(f"{steady}live", timeout=10).status_code == 401
    for name in ("Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy"):
        assert answer.headers[name]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_operators_see_everything_and_no_value_of_a_key(steady: str) -> None:
    session = signed_in(steady, "operator", TOKEN)
    text = session.get(steady, timeout=10).text
    assert [user for user, _group, _tier in sample_report.PEOPLE if str(user) not in text] == []
    for shown in ("4711", "finance (SHA256:", "The key amara-laptop expires", "old-batch", "Limited users"):
        assert shown in text
    assert "key-of-" not in text
    assert "sha256:" not in text


def test_users_see_what_is_theirs(steady: str) -> None:
    text = signed_in(steady, "user", "key-of-ivan-laptop").get(steady, timeout=10).text
    # Others of the tier have nothing left, or one of two, as ivan has.
    for shown in ("signed in as ivan", "ivan-laptop", "2 requests in 2m", "What is left now", ">50%</meter> 1<"):
        assert shown in text


def token(**claims: t.Any) -> str:
    """As an issuer makes it; the gateway, not the page, looks at the signature."""
    parts = ({"alg": "RS256"}, claims)
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts), "c2lnbmF0dXJl"])


def test_holders_of_a_token_see_what_is_theirs_until_it_ends(url: str, parts: FakeParts) -> None:
    lasting, short = (token(sub="ivan", exp=time.time() + seconds, groups=["x" * 200] * 30) for seconds in (600, 3))
    parts.bearers = {one: {"user": "ivan", "tier": "enterprise"} for one in (lasting, short)}
    session, other = signed_in(url, "user", lasting), signed_in(url, "user", short)
    text = session.get(url, timeout=10).text
    # The limits of the token's tier beside those of ivan's key.
    for shown in ("signed in as ivan", "ivan-laptop", "2 requests in 2m", "100,000 tokens in 1h"):
        assert shown in text
    assert [name for name in OTHERS if name in text] == []
    deadline = time.monotonic() + 30
    while "signed in as ivan" in other.get(url, timeout=10).text:
        assert time.monotonic() < deadline, "the session outlives its token"
        time.sleep(0.2)
    assert "signed in as ivan" in session.get(url, timeout=10).text


@pytest.mark.parametrize(
    "secret",
    [
        token(sub="ivan", exp=4e9),  # of another issuer: the gateway does not let it in
        "a.b.c",
        "..",
    ],
)
def test_tokens_that_the_gateway_does_not_know_are_not_let_in(steady: str, secret: str) -> None:
    answer = requests.post(f"{steady}sign-in-user", data={"secret": secret}, allow_redirects=False, timeout=10)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("secret", "end"),
    [
        (token(exp=1_900_000_000), 1.9e9),
        (token(exp=True), None),
        (token(exp="soon"), None),
        (token(), None),
        ("e30.W10.x", None),
        ("e30.!!.x", None),
        ("e30.e30", None),
        ("key-of-ivan-laptop", None),
    ],
)
def test_end_of_a_token(secret: str, end: float | None) -> None:
    assert end_of(secret) == end


@pytest.mark.parametrize(
    "query",
    ["", "?user=amara", "?role=operator", "?user=", "live", "live?user=amara", "live?role=operator&user=amara", "?only=user%3Damara"],
)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-User-Id": "amara", "X-Forwarded-User": "amara", "Remote-User": "amara"},
        {"x-kuadrant-llm-caller": json.dumps({"userid": "amara"}), "X-Kuadrant-LLM-Admitted": "1"},
        {"Authorization": f"Bearer {TOKEN}", "X-Original-URL": "/?user=amara", "X-HTTP-Method-Override": "POST"},
    ],
)
def test_users_see_nothing_of_others_whatever_they_ask_for(steady: str, query: str, headers: dict[str, str]) -> None:
    session = signed_in(steady, "user", "key-of-ivan-laptop")
    session.headers.update(headers)
    if query.startswith("live"):
        with session.get(steady + query, stream=True, timeout=10) as answer:
            text = next(line for line in answer.iter_lines(decode_unicode=True) if line.startswith("data:"))
    else:
        text = session.get(steady + query, timeout=10).text
    assert "ivan" in text
    assert [name for name in OTHERS if name in text] == []


@pytest.mark.parametrize(
    "path", ["amara", "user/amara", "users", "api", "status.json", "..%2f", "live/amara", "sign-in-user", "static/page.css", "docs"]
)
def test_no_other_path_answers(steady: str, path: str) -> None:
    answer = signed_in(steady, "user", "key-of-ivan-laptop").get(steady + path, timeout=10)
    assert answer.status_code in (404, 405)
    assert [name for name in OTHERS if name in answer.text] == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_the_page_changes_nothing(steady: str, method: str) -> None:
    assert signed_in(steady, "operator", TOKEN).request(method, steady, timeout=10).status_code == 405


@pytest.mark.parametrize(
    ("role", "secret"),
    [
        ("user", ""),
        ("user", "no-such-key"),
        ("user", TOKEN),
        ("user", "key-of-ivan-laptop\r\nX-Evil: 1"),
        ("user", "ключ"),
        ("user", "x" * 5000),
        ("operator", ""),
        ("operator", "key-of-ivan-laptop"),
        ("operator", TOKEN[:-1]),
        ("operator", "ключ"),
    ],
)
def test_wrong_secrets_are_refused(steady: str, role: str, secret: str) -> None:
    session = requests.Session()
    answer = session.post(f"{steady}sign-in-{role}", data={"secret": secret}, timeout=10)
    assert (answer.status_code, "llm_status" in session.cookies) == (401, False)
    assert not secret or secret not in answer.text


def test_no_operator_signs_in_where_there_is_no_token(parts: FakeParts) -> None:
    with serving(parts, token="") as url:
        assert requests.post(f"{url}sign-in-operator", data={"secret": ""}, timeout=10).status_code == 401
        assert "Operator" not in requests.get(url, timeout=10).text


def test_cookie_is_for_this_page_alone_and_has_nothing_of_the_key(steady: str) -> None:
    answer = requests.post(f"{steady}sign-in-user", data={"secret": "key-of-ivan-laptop"}, allow_redirects=False, timeout=10)
    cookie = answer.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    parts = FakeParts()
    (key,) = [one for one in parts.keys().value or () if one["name"] == "ivan-laptop"]

    told = base64.b64decode(answer.cookies["llm_status"].split(".")[0] + "==").decode()
    assert json.loads(told)["user"] == "ivan"
    assert "key-of" not in told
    assert key["fingerprint"].removeprefix("sha256:") not in told


def test_a_changed_cookie_is_none(steady: str) -> None:
    session = signed_in(steady, "user", "key-of-ivan-laptop")
    payload, rest = session.cookies["llm_status"].split(".", 1)

    forged = {**json.loads(base64.b64decode(payload + "==")), "user": "amara"}
    cookie = base64.b64encode(json.dumps(forged).encode()).decode() + "." + rest
    answer = requests.get(steady, cookies={"llm_status": cookie}, timeout=10)
    assert "Your API key" in answer.text
    assert "amara" not in answer.text


@pytest.mark.parametrize("change", ["revoked", "expired", "another user's", "gone", "another value"])
def test_a_session_ends_with_its_key(url: str, parts: FakeParts, change: str) -> None:
    session = signed_in(url, "user", "key-of-ivan-laptop")
    assert "signed in as ivan" in session.get(url, timeout=10).text
    key = parts.stored.pop("ivan-laptop")
    grants = {
        "expired": dataclasses.replace(key.grant, expires_at="2026-11-24T00:00:00Z"),
        "another user's": dataclasses.replace(key.grant, user="amara"),
    }
    if change == "revoked":
        key = dataclasses.replace(key, value=None, revoked_at="2026-11-24T00:00:00Z")
    elif change == "another value":
        key = dataclasses.replace(key, value="another")
    elif change in grants:
        key = dataclasses.replace(key, grant=grants[change])
    if change != "gone":
        parts.stored["ivan-laptop"] = key
    assert "Your API key" in session.get(url, timeout=10).text
    assert session.get(f"{url}live", timeout=10).status_code == 401


def test_a_stream_ends_with_its_key(url: str, parts: FakeParts) -> None:
    session = signed_in(url, "user", "key-of-ivan-laptop")
    with session.get(f"{url}live", stream=True, timeout=10) as answer:
        lines = answer.iter_lines(decode_unicode=True)
        next(line for line in lines if line.startswith("data:"))
        del parts.stored["ivan-laptop"]
        assert [line for line in lines if line.startswith("event:")] == ["event: signed-out"]


def test_signing_out_ends_the_session(steady: str) -> None:
    session = signed_in(steady, "operator", TOKEN)
    assert "Your API key" in session.post(f"{steady}sign-out", timeout=10).text


def test_forms_of_other_pages_and_foreign_names_are_refused(steady: str) -> None:
    for origin in ("http://evil.example", "null", steady.replace("127.0.0.1", "localhost").rstrip("/")):
        answer = requests.post(f"{steady}sign-in-operator", data={"secret": TOKEN}, headers={"Origin": origin}, timeout=10)
        assert answer.status_code == 403
    assert requests.get(steady, headers={"Host": "evil.example"}, timeout=10).status_code == 400


def test_streams_send_what_has_changed_and_are_bounded(url: str, parts: FakeParts) -> None:
    session = signed_in(url, "operator", TOKEN)
    with session.get(f"{url}live", stream=True, timeout=10) as answer:
        data = (json.loads(line[5:]) for line in answer.iter_lines(decode_unicode=True) if line.startswith("data:"))
        assert set(next(data)) == {"tiles", "doctor", "tiers", "left", "limited", "usage", "keys", "ledger"}
        parts.found[0]["remaining"] = 50
        assert set(next(data)) <= {"left", "tiers"}
    ivan = signed_in(url, "user", "key-of-ivan-laptop")
    open_streams = [ivan.get(f"{url}live", stream=True, timeout=10) for _number in range(4)]
    assert [one.status_code for one in open_streams] == [200] * 4
    assert ivan.get(f"{url}live", stream=True, timeout=10).status_code == 503
    # The place of one that has gone is free again, some time later.
    open_streams.pop().close()
    for _try in range(100):
        with ivan.get(f"{url}live", stream=True, timeout=10) as again:
            if again.status_code == 200:
                break
    assert again.status_code == 200


def test_users_are_not_told_what_a_server_said(url: str, parts: FakeParts) -> None:
    operator, ivan = signed_in(url, "operator", TOKEN), signed_in(url, "user", "key-of-ivan-laptop")
    parts.statement = lambda: Known(None, "Prometheus at http://10.0.0.7 answered 503")  # type: ignore[method-assign]
    assert "http://10.0.0.7" in operator.get(url, timeout=10).text
    assert "http://10.0.0.7" not in ivan.get(url, timeout=10).text
    # Who cannot be known any more is shown nothing.
    parts.trouble = "Failed to list Secrets"
    assert "Your API key" in ivan.get(url, timeout=10).text
