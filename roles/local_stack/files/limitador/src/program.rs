// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! Conditions and counters that a stock Envoy cannot evaluate, such as `auth.identity.groups.split(",").exists(g, g == "free")`.
//!
//! The first descriptor of such a request has one entry with the limits of the route as Kuadrant's filter would read
//! them, the program, and one entry for each input that they read (`local_controller/remote.py`). Evaluated, it is the
//! descriptor that Kuadrant's filter would have sent. The engine is the filter's own (`cel` at the revision that
//! wasm-shim 0.14.1 pins, published as 0.14.0), and so are its rules: one error, and nothing of the policy holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use cel::objects::Key;
use cel::parser::{Expression, Parser};
use cel::{Context, Env, ResolveResult, Value};
use serde::Deserialize;
use serde_json::Value as Json;
use tracing::debug;

use crate::cel_strings;
use crate::tokens::REPORT_FOLLOWS;

/// In a request: what is to be evaluated.
pub const PROGRAM: &str = "kuadrant.llm/program";
/// In a request: its inputs, `auth` and `body` as JSON and attributes as text.
const INPUT: &str = "kuadrant.llm/in/";
/// Programs that are kept parsed: one for each route with such limits, and those before a change.
const KEPT: usize = 256;

type Entries = HashMap<String, String>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the limits of this route cannot be read: {0}")]
    Invalid(String),
    #[error("the limits of this route cannot be evaluated for this request: {0}")]
    Evaluation(String),
}

/// As the controller writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    actions: Vec<ActionSource>,
    /// `request.method`, `request.headers/x-team`, …: what is null, or not among the headers, if it is not sent along.
    attributes: Vec<String>,
}

/// One call that Kuadrant's filter would make.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionSource {
    when: Vec<String>,
    items: Vec<ItemSource>,
    /// Refuse the request if the action cannot be evaluated; else the action is passed over.
    deny: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemSource {
    when: Vec<String>,
    data: Vec<(String, String)>,
}

/// Ready to be evaluated.
pub struct Program {
    actions: Vec<Action>,
    attributes: Vec<String>,
}

struct Action {
    condition: Option<Expression>,
    items: Vec<Item>,
    deny: bool,
}

struct Item {
    condition: Option<Expression>,
    data: Vec<(String, Expression)>,
}

/// Programs by their text.
#[derive(Default)]
pub struct Programs {
    parsed: Mutex<HashMap<String, Arc<Program>>>,
}

impl Programs {
    /// The first descriptor's entries as Kuadrant's filter would have sent them; none if no limit holds.
    pub fn evaluate(&self, entries: Entries) -> Result<Option<Entries>, Error> {
        let Some(text) = entries.get(PROGRAM) else { return Ok(Some(entries)) };
        self.program(text)?.evaluate(&entries)
    }

    fn program(&self, text: &str) -> Result<Arc<Program>, Error> {
        let mut parsed = self.parsed.lock().expect("no code panics while it holds this lock");
        if let Some(known) = parsed.get(text) {
            return Ok(known.clone());
        }
        let program = Arc::new(Program::parse(text)?);
        if parsed.len() >= KEPT {
            parsed.clear();
        }
        parsed.insert(text.to_owned(), program.clone());
        Ok(program)
    }
}

impl Program {
    fn parse(text: &str) -> Result<Self, Error> {
        let source: Source = serde_json::from_str(text).map_err(|error| Error::Invalid(error.to_string()))?;
        let actions = source.actions.into_iter().map(Action::parse).collect::<Result<_, _>>()?;
        Ok(Self { actions, attributes: source.attributes })
    }

    fn evaluate(&self, entries: &Entries) -> Result<Option<Entries>, Error> {
        let context = context(&self.attributes, entries)?;
        let mut found = Entries::new();
        for action in &self.actions {
            match action.evaluate(&context) {
                Ok(data) => found.extend(data),
                Err(error) if action.deny => return Err(Error::Evaluation(error)),
                Err(error) => debug!("passed over: {error}"),
            }
        }
        if found.is_empty() {
            return Ok(None);
        }
        if found.keys().any(|key| key.starts_with("tokenlimit.")) {
            found.insert(REPORT_FOLLOWS.into(), "1".into());
        }
        Ok(Some(found))
    }
}

impl Action {
    /// The filter asks first whether the action applies at all, and then builds its message.
    fn parse(source: ActionSource) -> Result<Self, Error> {
        let any: Option<Vec<String>> = source.items.iter().map(|item| all(&item.when)).collect();
        let mut when = source.when;
        when.extend(any.filter(|any| !any.is_empty()).map(|any| any.join(" || ")));
        let items = source.items.into_iter().map(|item| {
            let data = item.data.into_iter().map(|(key, value)| Ok((key, parse(&format!("string({value})"))?)));
            Ok(Item { condition: condition(&item.when)?, data: data.collect::<Result<_, _>>()? })
        });
        Ok(Self { condition: condition(&when)?, items: items.collect::<Result<_, _>>()?, deny: source.deny })
    }

    fn evaluate(&self, context: &Context<'_>) -> Result<Vec<(String, String)>, String> {
        let mut found = vec![];
        if !holds(self.condition.as_ref(), context)? {
            return Ok(found);
        }
        for item in &self.items {
            if !holds(item.condition.as_ref(), context)? {
                continue;
            }
            for (key, expression) in &item.data {
                match Value::resolve(expression, context) {
                    Ok(Value::String(text)) => found.push((key.clone(), text.as_ref().clone())),
                    Ok(other) => return Err(format!("{key} is {other:?}")),
                    Err(error) => return Err(format!("{key}: {error}")),
                }
            }
        }
        Ok(found)
    }
}

/// All of them, as one expression; none: it always holds.
fn all(when: &[String]) -> Option<String> {
    match when {
        [] => None,
        // A line of its own for the parenthesis: the expression may end in a comment.
        many => Some(many.iter().map(|one| format!("({one}\n)")).collect::<Vec<_>>().join(" && ")),
    }
}

fn condition(when: &[String]) -> Result<Option<Expression>, Error> {
    all(when).map(|text| parse(&text)).transpose()
}

fn parse(text: &str) -> Result<Expression, Error> {
    let parsed = Parser::new().enable_optional_syntax(true).parse(text);
    parsed.map_err(|error| Error::Invalid(format!("{text}: {error}")))
}

fn holds(condition: Option<&Expression>, context: &Context<'_>) -> Result<bool, String> {
    match condition.map(|condition| Value::resolve(condition, context)) {
        None | Some(Ok(Value::Bool(true))) => Ok(true),
        Some(Ok(Value::Bool(false))) => Ok(false),
        Some(Ok(other)) => Err(format!("a condition is {other:?}")),
        Some(Err(error)) => Err(error.to_string()),
    }
}

/// What the filter binds: `request`, `source` and `destination` with the attributes that are read, `auth`, and the functions.
fn context(attributes: &[String], entries: &Entries) -> Result<Context<'static>, Error> {
    static ENV: OnceLock<Arc<Env>> = OnceLock::new();
    let mut context = Context::with_env(ENV.get_or_init(|| Arc::new(Env::stdlib())).clone());
    cel_strings::add_to(&mut context);

    let mut roots: HashMap<&str, HashMap<Key, Value>> = HashMap::new();
    let mut headers: Option<HashMap<Key, Value>> = None;
    for attribute in attributes {
        let sent = entries.get(&format!("{INPUT}{attribute}"));
        if let Some(name) = attribute.strip_prefix("request.headers/") {
            let headers = headers.get_or_insert_default();
            if let Some(value) = sent {
                headers.insert(name.into(), value.clone().into());
            }
        } else if let Some((root, field)) = attribute.split_once('.') {
            let value = sent.map_or(Ok(Value::Null), |text| typed(attribute, text))?;
            roots.entry(root).or_default().insert(field.into(), value);
        }
    }
    if let Some(headers) = headers {
        roots.entry("request").or_default().insert("headers".into(), Value::Map(headers.into()));
    }
    for root in ["request", "source", "destination", "metadata"] {
        let value = roots.remove(root).map_or(Value::Null, |fields| Value::Map(fields.into()));
        context.add_variable_from_value(root, value);
    }
    let auth = json(entries, "auth")?;
    context.add_variable_from_value("auth", auth.as_ref().map_or(Value::Null, |auth| of_json(auth, Value::Float)));

    let body = json(entries, "body")?.unwrap_or_default();
    context.add_function("requestBodyJSON", move |pointer: Arc<String>| -> ResolveResult {
        Ok(body.get(pointer.as_str()).map_or(Value::Null, |value| of_json(value, whole)))
    });
    Ok(context)
}

fn json(entries: &Entries, input: &str) -> Result<Option<Json>, Error> {
    let parsed = entries.get(&format!("{INPUT}{input}")).map(|text| serde_json::from_str(text)).transpose();
    parsed.map_err(|error| Error::Evaluation(format!("{input}: {error}")))
}

/// An attribute of the type that it has in the filter (wasm-shim: `data/cel.rs`), from Envoy's way to print it.
fn typed(attribute: &str, text: &str) -> Result<Value, Error> {
    let wrong = |error: &dyn std::fmt::Display| Error::Evaluation(format!("{attribute} is {text}: {error}"));
    match attribute {
        "request.size" | "source.port" | "destination.port" => {
            text.parse().map(Value::Int).map_err(|error| wrong(&error))
        }
        "request.time" => {
            chrono::DateTime::parse_from_rfc3339(text).map(Value::Timestamp).map_err(|error| wrong(&error))
        }
        _ => Ok(text.to_owned().into()),
    }
}

/// Numbers of the identity come as doubles, as all of protobuf's do; those of a body as whole ones if they are.
fn of_json(json: &Json, number: fn(f64) -> Value) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(value) => value.as_f64().map_or(Value::Null, number),
        Json::String(text) => text.clone().into(),
        Json::Array(items) => items.iter().map(|item| of_json(item, number)).collect::<Vec<_>>().into(),
        Json::Object(members) => {
            let members = members.iter().map(|(name, value)| (Key::from(name.clone()), of_json(value, number)));
            Value::Map(members.collect::<HashMap<_, _>>().into())
        }
    }
}

fn whole(number: f64) -> Value {
    let near = number as i64;
    if near as f64 == number { Value::Int(near) } else { Value::Float(number) }
}

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;
