// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

use super::*;

fn evaluate(text: &str, inputs: &[(&str, &str)]) -> Result<Option<Entries>, Error> {
    evaluate_by(&Programs::default(), text, inputs)
}

fn evaluate_by(programs: &Programs, text: &str, inputs: &[(&str, &str)]) -> Result<Option<Entries>, Error> {
    let inputs = inputs.iter().map(|(key, value)| (format!("{INPUT}{key}"), value.to_string()));
    programs.evaluate(inputs.chain([(PROGRAM.into(), text.into())]).collect())
}

/// One limit with one condition.
fn holds_for(condition: &str, attributes: &[&str], inputs: &[(&str, &str)]) -> Result<bool, String> {
    holds_by(&Programs::default(), condition, attributes, inputs)
}

/// The same, with programs that may be parsed already.
pub fn holds_by(
    programs: &Programs,
    condition: &str,
    attributes: &[&str],
    inputs: &[(&str, &str)],
) -> Result<bool, String> {
    let item = serde_json::json!({"when": [condition], "data": [["limit.a__1", "1"]]});
    let action = serde_json::json!({"when": [], "items": [item], "deny": true});
    let program = serde_json::json!({"actions": [action], "attributes": attributes}).to_string();
    evaluate_by(programs, &program, inputs).map(|found| found.is_some()).map_err(|error| error.to_string())
}

const ALICE: (&str, &str) = ("auth", r#"{"identity":{"userid":"alice","groups":"free,beta","n":5,"tags":["a","b"]}}"#);

#[test]
fn the_idioms_of_published_policies_hold_or_not() {
    let post = ("request.method", "POST");
    let headers = [("request.headers/x-team", "red"), ("request.path", "/v1/chat/completions?a=1"), post];
    let attributes =
        ["request.headers/x-team", "request.headers/x-none", "request.path", "request.method", "request.referer"];
    let inputs = [&[ALICE], &headers[..]].concat();
    for (condition, expected) in [
        (r#"auth.identity.groups.split(",").exists(g, g == "free")"#, true),
        (r#"auth.identity.groups.split(",").exists(g, g == "gold")"#, false),
        (r#"auth.identity.groups.split(",").all(g, g.startsWith("f") || g.endsWith("a"))"#, true),
        (r#"auth.identity.groups.split(",").exists_one(g, g == "beta")"#, true),
        (r#"auth.identity.groups.split(",").filter(g, g != "free").size() == 1"#, true),
        (r#"auth.identity.groups.split(",").map(g, g.upperAscii()) == ["FREE", "BETA"]"#, true),
        (r#""beta" in auth.identity.groups.split(",")"#, true),
        (r#"auth.identity.tags.exists(t, t == "b")"#, true),
        (r#"auth.identity.tags.join("-") == "a-b""#, true),
        (r#"auth.identity.userid.contains("lic")"#, true),
        (r#"auth.identity.groups.matches("(^|,)free(,|$)")"#, true),
        (r#"has(auth.identity.plan) && auth.identity.plan == "x""#, false),
        (r#"!has(auth.identity.plan)"#, true),
        (r#"auth.identity.userid + "@" + auth.identity.groups == "alice@free,beta""#, true),
        (r#"auth.identity.n > 4.0"#, true),
        (r#"int(auth.identity.n) == 5"#, true),
        (r#"request.method in ["POST", "PUT"]"#, true),
        (r#"request.path.split("?")[0] == "/v1/chat/completions""#, true),
        (r#"request.path.startsWith("/v1/") && request.method == "POST""#, true),
        (r#"request.path.substring(1, 3) == "v1""#, true),
        (r#"request.path.indexOf("chat") > 0"#, true),
        (r#"request.path.charAt(0) == "/""#, true),
        (r#"request.path.replace("/v1", "").lowerAscii().startsWith("/chat")"#, true),
        (r#"request.headers["x-team"] == "red""#, true),
        (r#"request.headers["x-team"].trim() == "blue""#, false),
        (r#""x-none" in request.headers && request.headers["x-none"] == "1""#, false),
        (r#"has(request.headers.foo)"#, false),
        (r#"request.referer == null"#, true),
        (r#"size(auth.identity.groups) > 3 ? true : false"#, true),
        (r#"auth.identity == null || auth.identity.userid != """#, true),
        ("1 == 1 // always", true),
    ] {
        assert_eq!(holds_for(condition, &attributes, &inputs), Ok(expected), "{condition}");
    }
}

#[test]
fn bodies_and_typed_attributes() {
    let body = ("body", r#"{"/model":"m","/stream":true,"/max_tokens":100,"/temperature":0.5,"/none":null}"#);
    let typed =
        [("request.size", "14"), ("source.port", "80"), ("request.time", "2026-11-27T09:08:27.312804+00:00"), body];
    for condition in [
        r#"requestBodyJSON("/model") == "m" && requestBodyJSON("/stream")"#,
        r#"requestBodyJSON("/max_tokens") <= 100 && requestBodyJSON("/temperature") < 1.0"#,
        r#"requestBodyJSON("/none") == null && requestBodyJSON("/missing") == null"#,
        "request.size + 1 == 15 && source.port == 80",
        "request.time.getFullYear() == 2026 && request.time.getHours() == 9",
    ] {
        let attributes = ["request.size", "source.port", "request.time"];
        assert_eq!(holds_for(condition, &attributes, &typed), Ok(true), "{condition}");
    }
}

#[test]
fn what_is_left_out_is_an_error_as_in_the_filter() {
    let attributes = ["request.headers/x-team"];
    for (condition, words) in [
        (r#"request.headers["x-team"] == "red""#, "x-team"),
        ("auth.identity.plan == 'x'", "plan"),
        ("auth.identity.userid", "a condition is"),
        ("undeclared == 1", "undeclared"),
        ("auth.identity.userid.sha256() == ''", "sha256"),
    ] {
        let error = holds_for(condition, &attributes, &[ALICE]).expect_err(condition);
        assert!(error.contains(words), "{condition}: {error}");
    }
    assert!(holds_for("auth.identity.userid == 'alice'", &[], &[]).is_err(), "before authentication");
}

fn route(deny: bool) -> String {
    let limit = |name: &str, group: &str| {
        let condition = format!(r#"auth.identity.groups.split(",").exists(g, g == "{group}")"#);
        serde_json::json!({"when": [condition], "data": [[name, "1"], ["auth.identity.userid", "auth.identity.userid"]]})
    };
    let header = serde_json::json!({"when": ["request.headers['x-a'] == 'b'"], "data": [["limit.header__1", "1"]]});
    let first = serde_json::json!({"when": [], "items": [limit("limit.free__1", "free"), limit("limit.gold__1", "gold")], "deny": deny});
    let second =
        serde_json::json!({"when": ["1 == 1"], "items": [header, limit("tokenlimit.beta__1", "beta")], "deny": deny});
    serde_json::json!({"actions": [first, second], "attributes": ["request.headers/x-a"]}).to_string()
}

fn sorted(found: Option<Entries>) -> Vec<(String, String)> {
    let mut entries: Vec<_> = found.expect("a limit must hold").into_iter().collect();
    entries.sort();
    entries
}

#[test]
fn entries_are_those_of_the_limits_that_hold() {
    let owned = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<Vec<_>>();
    let alice = ("auth.identity.userid", "alice");
    let with_header = evaluate(&route(false), &[ALICE, ("request.headers/x-a", "c")]).unwrap();
    let all = [alice, ("kuadrant.llm/report", "1"), ("limit.free__1", "1"), ("tokenlimit.beta__1", "1")];
    assert_eq!(sorted(with_header), owned(&all), "a token limit holds, so its tokens will be reported");
    let without = evaluate(&route(false), &[ALICE]).unwrap();
    assert_eq!(sorted(without), owned(&[alice, ("limit.free__1", "1")]), "one error, and nothing of that policy holds");
    assert!(matches!(evaluate(&route(true), &[ALICE]), Err(Error::Evaluation(_))), "unless it shall refuse then");
    let other = ("auth", r#"{"identity":{"userid":"bob","groups":"none"}}"#);
    assert!(evaluate(&route(false), &[other, ("request.headers/x-a", "c")]).unwrap().is_none());
}

#[test]
fn a_value_that_is_no_text_is_printed() {
    let data = serde_json::json!([["a", "auth.identity.n"], ["b", "1"], ["c", "1 == 1 ? 2u : 3u"]]);
    let action = serde_json::json!({"when": [], "items": [{"when": [], "data": data}], "deny": true});
    let program = serde_json::json!({"actions": [action], "attributes": []}).to_string();
    let found = evaluate(&program, &[ALICE]).unwrap().unwrap();
    assert_eq!((found["a"].as_str(), found["b"].as_str(), found["c"].as_str()), ("5", "1", "2"));
}

#[test]
fn a_program_that_cannot_be_read_is_an_error_of_its_own() {
    for text in ["{", "{}", r#"{"actions":[{"when":["a =="],"items":[],"deny":false}],"attributes":[]}"#] {
        assert!(matches!(evaluate(text, &[ALICE]), Err(Error::Invalid(_))), "{text}");
    }
}

#[test]
fn only_so_many_programs_are_kept() {
    let programs = Programs::default();
    for number in 0..2 * KEPT {
        let text = format!(r#"{{"actions":[],"attributes":["request.a{number}"]}}"#);
        programs.evaluate([(PROGRAM.into(), text)].into()).unwrap();
    }
    assert!(programs.parsed.lock().unwrap().len() <= KEPT);
}
