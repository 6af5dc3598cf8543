// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! The string functions that Kuadrant's filter (wasm-shim 0.14.1) adds to CEL's own, with its results: positions are
//! bytes, a position found is a uint, and none is the int -1.

use std::sync::Arc;

use cel::extractors::{Arguments, This};
use cel::{Context, ExecutionError, ResolveResult, Value};

type Text = This<Arc<String>>;

pub fn add_to(context: &mut Context<'_>) {
    context.add_function("charAt", char_at);
    context.add_function("indexOf", index_of);
    context.add_function("join", join);
    context.add_function("lastIndexOf", last_index_of);
    context.add_function("lowerAscii", |This(text): Text| text.to_ascii_lowercase());
    context.add_function("upperAscii", |This(text): Text| text.to_ascii_uppercase());
    context.add_function("trim", |This(text): Text| text.trim().to_owned());
    context.add_function("replace", replace);
    context.add_function("split", split);
    context.add_function("substring", substring);
}

fn error(function: &str, message: impl Into<String>) -> ExecutionError {
    ExecutionError::FunctionError { function: function.into(), message: message.into() }
}

fn text<'v>(function: &str, value: Option<&'v Value>) -> Result<&'v str, ExecutionError> {
    match value {
        Some(Value::String(text)) => Ok(text),
        other => Err(error(function, format!("expects a string, got {other:?}"))),
    }
}

/// A negative number is a very large one, as there.
fn number(function: &str, value: &Value) -> Result<usize, ExecutionError> {
    match value {
        Value::Int(number) => Ok(*number as usize),
        Value::UInt(number) => Ok(*number as usize),
        other => Err(error(function, format!("expects an integer, got {other:?}"))),
    }
}

fn position(found: Option<usize>) -> Value {
    found.map_or(Value::Int(-1), |at| Value::UInt(at as u64))
}

fn list<'t>(parts: impl Iterator<Item = &'t str>) -> Value {
    parts.map(|part| Value::String(Arc::new(part.to_owned()))).collect::<Vec<_>>().into()
}

fn char_at(This(this): Text, at: i64) -> ResolveResult {
    let found = usize::try_from(at).ok().and_then(|at| this.chars().nth(at));
    found.map(|c| c.to_string().into()).ok_or_else(|| error("charAt", format!("there is no character {at}")))
}

/// What is searched, and where it begins.
fn searched<'t>(
    function: &str,
    this: &'t str,
    arguments: &[Value],
) -> Result<Option<(usize, &'t str)>, ExecutionError> {
    match arguments {
        [_] => Ok(Some((0, this))),
        [_, from] => match number(function, from)? {
            from if from >= this.len() => Ok(None),
            from => match this.get(from..) {
                Some(rest) => Ok(Some((from, rest))),
                None => Err(error(function, format!("{from} is inside of a character"))),
            },
        },
        _ => Err(error(function, "expects one or two arguments")),
    }
}

fn index_of(This(this): Text, Arguments(arguments): Arguments) -> ResolveResult {
    let wanted = text("indexOf", arguments.first())?;
    let rest = searched("indexOf", &this, &arguments)?;
    Ok(position(rest.and_then(|(from, rest)| rest.find(wanted).map(|at| from + at))))
}

/// Counted from where the search begins, as there.
fn last_index_of(This(this): Text, Arguments(arguments): Arguments) -> ResolveResult {
    let wanted = text("lastIndexOf", arguments.first())?;
    let rest = searched("lastIndexOf", &this, &arguments)?;
    Ok(position(rest.and_then(|(_, rest)| rest.rfind(wanted))))
}

fn join(This(this): This<Arc<Vec<Value>>>, Arguments(arguments): Arguments) -> ResolveResult {
    let separator = if arguments.is_empty() { "" } else { text("join", arguments.first())? };
    let parts = this.iter().map(|part| text("join", Some(part))).collect::<Result<Vec<_>, _>>()?;
    Ok(parts.join(separator).into())
}

fn replace(This(this): Text, Arguments(arguments): Arguments) -> ResolveResult {
    let (from, to) = (text("replace", arguments.first())?, text("replace", arguments.get(1))?);
    match &arguments[2..] {
        [] => Ok(this.replace(from, to).into()),
        [most] => Ok(this.replacen(from, to, number("replace", most)?).into()),
        _ => Err(error("replace", "expects two or three arguments")),
    }
}

fn split(This(this): Text, Arguments(arguments): Arguments) -> ResolveResult {
    let separator = text("split", arguments.first())?;
    match &arguments[1..] {
        [] => Ok(list(this.split(separator))),
        [most] => Ok(list(this.splitn(number("split", most)?, separator))),
        _ => Err(error("split", "expects one or two arguments")),
    }
}

fn substring(This(this): Text, Arguments(arguments): Arguments) -> ResolveResult {
    let (start, end) = match arguments.as_slice() {
        [start] => (number("substring", start)?, this.chars().count()),
        [start, end] => (number("substring", start)?, number("substring", end)?),
        _ => return Err(error("substring", "expects one or two arguments")),
    };
    match end.checked_sub(start) {
        Some(length) => Ok(this.chars().skip(start).take(length).collect::<String>().into()),
        None => Err(error("substring", format!("ends at {end}, before its start at {start}"))),
    }
}
