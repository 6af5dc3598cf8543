// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! Generated expressions, evaluated as a program with inputs from Envoy and by the crate alone with values made by hand:
//! the same result, or the same error.

use std::collections::HashMap;

use cel::Program as Alone;

use super::tests::holds_by;
use super::*;

const EXPRESSIONS: usize = 1_000;
const ATTRIBUTES: [&str; 4] = ["request.headers/x-a", "request.method", "request.path", "request.size"];

/// Numbers that are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }

    fn text(&mut self, depth: usize) -> String {
        let known = [
            "'free'",
            "'a,b'",
            "''",
            "auth.identity.userid",
            "auth.identity.groups",
            "auth.identity.missing",
            "auth.identity['tags'][1]",
            "request.method",
            "request.path",
            "request.headers['x-a']",
            "requestBodyJSON('/model')",
        ];
        if depth == 0 {
            return self.one(&known).into();
        }
        let (inner, other) = (self.text(depth - 1), self.text(depth - 1));
        match self.roll(11) {
            0 => format!("{inner}.lowerAscii()"),
            1 => format!("{inner}.upperAscii()"),
            2 => format!("({inner} + {other})"),
            3 => format!("{inner}.replace({other}, 'x')"),
            4 => format!("{inner}.split(',')[0]"),
            5 => format!("{inner}.substring({})", self.number(depth - 1)),
            6 => format!("{inner}.charAt({})", self.number(depth - 1)),
            7 => format!("{inner}.trim()"),
            8 => format!("string({})", self.number(depth - 1)),
            9 => format!("{inner}.split(',').map(x, x + '-').join({other})"),
            _ => format!("({} ? {inner} : {other})", self.truth(depth - 1)),
        }
    }

    fn number(&mut self, depth: usize) -> String {
        if depth == 0 {
            let known = ["0", "1", "3", "-1", "2u", "request.size", "int(auth.identity.n)", "requestBodyJSON('/max')"];
            return self.one(&known).into();
        }
        let text = self.text(depth - 1);
        match self.roll(5) {
            0 => format!("size({text})"),
            1 => format!("{text}.indexOf({})", self.text(depth - 1)),
            2 => format!("{text}.lastIndexOf('a', {})", self.number(depth - 1)),
            3 => format!("({} + {})", self.number(depth - 1), self.number(depth - 1)),
            _ => format!("{text}.split(',').filter(x, x.startsWith({})).size()", self.text(depth - 1)),
        }
    }

    fn truth(&mut self, depth: usize) -> String {
        if depth == 0 {
            let known = [
                "true",
                "has(auth.identity.missing)",
                "has(request.headers.foo)",
                "'x-a' in request.headers",
                "auth.identity.flag",
                "requestBodyJSON('/stream') == true",
                "auth.identity.n > 4.0",
            ];
            return self.one(&known).into();
        }
        let text = self.text(depth - 1);
        match self.roll(9) {
            0 => format!("{text} == {}", self.text(depth - 1)),
            1 => format!("{text}.split(',').exists(g, g == {})", self.text(depth - 1)),
            2 => format!("{text}.split(',').all(g, g.contains({}))", self.text(depth - 1)),
            3 => format!("({} && {})", self.truth(depth - 1), self.truth(depth - 1)),
            4 => format!("({} || {})", self.truth(depth - 1), self.truth(depth - 1)),
            5 => format!("!({})", self.truth(depth - 1)),
            6 => format!("{} <= {}", self.number(depth - 1), self.number(depth - 1)),
            7 => format!("{text} in auth.identity.tags"),
            _ => format!("{text}.matches('^[a-z,]+$')"),
        }
    }
}

/// What a request is, for both.
struct Case {
    userid: &'static str,
    groups: &'static str,
    header: Option<&'static str>,
    model: &'static str,
}

impl Case {
    fn by_program(&self, programs: &Programs, expression: &str) -> Result<bool, String> {
        let identity = serde_json::json!({
            "userid": self.userid, "groups": self.groups, "n": 5, "flag": true, "tags": ["free", self.userid],
        });
        let auth = serde_json::json!({"identity": identity}).to_string();
        let body = serde_json::json!({"/model": self.model, "/max": 7, "/stream": true}).to_string();
        let mut inputs = vec![
            ("auth", auth.as_str()),
            ("body", body.as_str()),
            ("request.method", "POST"),
            ("request.path", "/v1/a,b"),
            ("request.size", "14"),
        ];
        inputs.extend(self.header.map(|value| ("request.headers/x-a", value)));
        holds_by(programs, expression, &ATTRIBUTES, &inputs)
    }

    fn by_the_crate(&self, parsed: &Alone) -> Result<bool, String> {
        let text = |value: &str| Value::String(Arc::new(value.to_owned()));
        let map = |members: Vec<(&str, Value)>| {
            Value::Map(members.into_iter().map(|(k, v)| (Key::from(k), v)).collect::<HashMap<_, _>>().into())
        };
        let identity = map(vec![
            ("userid", text(self.userid)),
            ("groups", text(self.groups)),
            ("n", Value::Float(5.0)),
            ("flag", Value::Bool(true)),
            ("tags", vec![text("free"), text(self.userid)].into()),
        ]);
        let headers = map(self.header.map(|value| ("x-a", text(value))).into_iter().collect());
        let request =
            vec![("method", text("POST")), ("path", text("/v1/a,b")), ("size", Value::Int(14)), ("headers", headers)];
        let mut context = Context::default();
        cel_strings::add_to(&mut context);
        context.add_variable_from_value("auth", map(vec![("identity", identity)]));
        context.add_variable_from_value("request", map(request));
        let body = [("/model", text(self.model)), ("/max", Value::Int(7)), ("/stream", Value::Bool(true))];
        let body: HashMap<_, _> = body.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        context.add_function("requestBodyJSON", move |pointer: Arc<String>| -> ResolveResult {
            Ok(body.get(pointer.as_str()).cloned().unwrap_or(Value::Null))
        });
        match parsed.execute(&context) {
            Ok(Value::Bool(value)) => Ok(value),
            Ok(other) => Err(format!("a condition is {other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[test]
fn a_program_and_the_crate_alone_agree() {
    let cases = [
        Case { userid: "alice", groups: "free,beta", header: None, model: "m" },
        Case { userid: "bob", groups: "", header: Some("a,b"), model: "LARGE" },
        Case { userid: "żaneta", groups: "Free", header: Some(""), model: "" },
    ];
    let mut dice = Dice(20_261_127);
    let mut seen = [0; 3];
    for _ in 0..EXPRESSIONS {
        let expression = dice.truth(3);
        let (programs, parsed) = (Programs::default(), Alone::compile(&expression).expect(&expression));
        for case in &cases {
            let alone = case.by_the_crate(&parsed);
            seen[match &alone {
                Ok(true) => 0,
                Ok(false) => 1,
                Err(_) => 2,
            }] += 1;
            // The program says first that it could not be evaluated.
            let program = case.by_program(&programs, &expression);
            let agree = match (&program, &alone) {
                (Ok(one), Ok(other)) => one == other,
                (Err(one), Err(other)) => one.ends_with(other.as_str()),
                _ => false,
            };
            assert!(agree, "{expression} for {}: {program:?}, the crate alone: {alone:?}", case.userid);
        }
    }
    assert!(seen.iter().all(|count| *count > EXPRESSIONS / 10), "true, false and errors must all be there: {seen:?}");
}
