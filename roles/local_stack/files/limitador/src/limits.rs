// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! The limits file: a YAML list of `{namespace, max_value, seconds, name?, conditions[], variables[]}`, as
//! limitador-operator writes it. Conditions and variables are CEL over `descriptors[n]["key"]`.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use limitador::counter::Counter;
use limitador::errors::LimitadorError;
use limitador::limit::{Context, Expression, Limit, Predicate};
use serde::Deserialize;
use tracing::warn;

use crate::spend::Spend;
use crate::tokens::Report;
use crate::weights::Weights;

/// How kuadrant-operator names the entry of a token limit; that of another limit is `limit.…`.
const TOKEN_LIMIT: &str = "[\"tokenlimit.";

/// All limits that are in force, in the order of the file.
#[derive(Default)]
pub struct Limits {
    by_namespace: HashMap<String, Vec<Arc<Rule>>>,
}

/// One limit, ready to be matched.
pub struct Rule {
    pub limit: Arc<Limit>,
    /// What makes it the same limit after a reload: everything but its name and maximum, so that a new quota keeps the count.
    pub identity: Arc<str>,
    /// The descriptor whose hits it counts: the first one that it reads.
    pub descriptor: usize,
    /// Of a TokenRateLimitPolicy: a request only asks whether there is room, and its answer is what counts.
    pub tokens: bool,
    /// It refuses nothing: what it would have refused is counted. Its name says so, in the part after the first slash: `free/shadow`.
    pub shadow: bool,
    /// What the tokens of an answer count, if not one each.
    pub weights: Option<Weights>,
    /// What answers cost and when the month ends, if it is a limit on money.
    pub spend: Option<Spend>,
    needs_descriptors: usize,
    conditions: Vec<Predicate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: Option<String>,
    namespace: String,
    max_value: u64,
    seconds: u64,
    name: Option<String>,
    // Go writes an empty list as null.
    conditions: Option<Vec<String>>,
    variables: Option<Vec<String>>,
}

impl Limits {
    pub fn parse(text: &str) -> Result<Self> {
        let entries: Option<Vec<Entry>> = serde_saphyr::from_str(text).map_err(|error| anyhow!(first_line(&error)))?;
        let mut limits = Self::default();
        for (index, entry) in entries.unwrap_or_default().into_iter().enumerate() {
            let title = format!("limits[{index}] ({} {})", entry.namespace, entry.name.as_deref().unwrap_or("-"));
            limits.add(Rule::new(entry).with_context(|| title.clone())?, &title);
        }
        Ok(limits)
    }

    /// Of two entries that differ in name or maximum only, both apply: that is, the stricter one.
    fn add(&mut self, rule: Rule, title: &str) {
        let rules = self.by_namespace.entry(rule.limit.namespace().as_ref().to_owned()).or_default();
        match rules.iter_mut().find(|known| known.identity == rule.identity && rule.spend.is_none()) {
            None => rules.push(Arc::new(rule)),
            Some(known) => {
                warn!("{title} counts the same requests as an earlier limit; the lower max_value is in force");
                if rule.limit.max_value() < known.limit.max_value() {
                    *known = Arc::new(rule);
                }
            }
        }
    }

    pub fn namespace(&self, namespace: &str) -> &[Arc<Rule>] {
        self.by_namespace.get(namespace).map_or(&[], Vec::as_slice)
    }

    pub fn len(&self) -> usize {
        self.by_namespace.values().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.by_namespace.is_empty()
    }

    pub fn identities(&self) -> HashSet<Arc<str>> {
        self.by_namespace.values().flatten().map(|rule| rule.identity.clone()).collect()
    }
}

impl Rule {
    fn new(entry: Entry) -> Result<Self> {
        let mut conditions = entry.conditions.unwrap_or_default();
        let mut variables = entry.variables.unwrap_or_default();
        variables.iter_mut().for_each(|variable| *variable = with_escaped_quotes(variable));
        conditions.sort();
        conditions.dedup();
        variables.sort();
        variables.dedup();

        let sources = || conditions.iter().chain(&variables);
        let indices: Vec<usize> = sources().flat_map(|source| descriptor_indices(source)).collect();
        let spend = entry.name.as_deref().and_then(Spend::of).transpose().map_err(|error| anyhow!(error))?;
        let identity = match &spend {
            // kuadrant-operator makes a new condition of a new name; what was spent in the month stays spent when prices change.
            Some(spend) => serde_json::to_string(&(&entry.namespace, "spend", &spend.tier, &variables))?,
            None => serde_json::to_string(&(&entry.namespace, entry.seconds, &conditions, &variables))?,
        };
        let expressions = sources().map(|s| expression(s)).collect::<Result<Vec<_>>>()?;
        let predicates = parse_all(&conditions, Predicate::parse)?;

        let (namespace, max, seconds) = (entry.namespace, entry.max_value, entry.seconds);
        let variables = expressions.into_iter().skip(conditions.len());
        let mut limit = match entry.id {
            Some(id) => Limit::with_id(id, namespace, max, seconds, predicates.clone(), variables),
            None => Limit::new(namespace, max, seconds, predicates.clone(), variables),
        };
        let shadow = entry.name.as_deref().is_some_and(|name| name.split('/').nth(1) == Some("shadow"));
        let weights = entry.name.as_deref().and_then(Weights::of);
        if let Some(name) = entry.name {
            limit.set_name(name);
        }
        Ok(Self {
            limit: Arc::new(limit),
            identity: identity.into(),
            descriptor: indices.iter().min().copied().unwrap_or(0),
            tokens: conditions.iter().any(|condition| condition.contains(TOKEN_LIMIT)),
            shadow,
            weights,
            spend,
            needs_descriptors: indices.iter().max().map_or(0, |max| max + 1),
            conditions: predicates,
        })
    }

    /// What an answer counts, where that is not simply its tokens.
    pub fn cost(&self, report: &Report) -> Option<u64> {
        let spent = self.spend.as_ref().map(|spend| spend.cost(report));
        spent.or_else(|| self.weights.map(|weights| weights.cost(report)))
    }

    /// The counter of the request, if the limit applies to it. An entry that the request does not have makes a
    /// condition false and a limit without that variable, as upstream.
    ///
    /// `Limit::applies` is not used because it panics where an expression fails.
    pub fn counter(&self, descriptors: usize, context: &Context) -> Result<Option<Counter>, LimitadorError> {
        if descriptors < self.needs_descriptors {
            return Ok(None);
        }
        for condition in &self.conditions {
            if !condition.test(context)? {
                return Ok(None);
            }
        }
        Counter::new(self.limit.clone(), context)
    }
}

/// Without the excerpt of the file that follows: log lines are lines.
fn first_line(error: &impl Display) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

fn parse_all<T, E: Display>(sources: &[String], parse: impl Fn(String) -> Result<T, E>) -> Result<Vec<T>> {
    sources.iter().map(|source| parse(source.clone()).map_err(|error| anyhow!(first_line(&error)))).collect()
}

fn expression(source: &str) -> Result<Expression> {
    let expression = Expression::parse(source).map_err(|error| anyhow!(first_line(&error)))?;
    match expression.variables().iter().find(|name| *name != "descriptors") {
        Some(name) => bail!("`{source}` refers to `{name}`; a limit can read `descriptors` only"),
        None => Ok(expression),
    }
}

/// kuadrant-operator writes a counter into `descriptors[0]["…"]` as it is, `requestBodyJSON("/model")` for instance.
fn with_escaped_quotes(variable: &str) -> String {
    let Some((head, key)) = variable.strip_suffix("\"]").and_then(|rest| rest.split_once("[\"")) else {
        return variable.to_owned();
    };
    if key.contains('\\') || !key.contains('"') {
        return variable.to_owned();
    }
    format!("{head}[\"{}\"]", key.replace('"', "\\\""))
}

/// The numbers n in `descriptors[n]`.
fn descriptor_indices(source: &str) -> impl Iterator<Item = usize> {
    source.split("descriptors[").skip(1).filter_map(|rest| rest.split_once(']')?.0.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: &str = r#"
- namespace: llm/vllm-httproute
  max_value: 2
  seconds: 120
  name: free
  conditions: ['descriptors[0]["limit.free__1"] == "1"']
  variables: ['descriptors[0]["auth.identity.userid"]']
"#;

    fn context(descriptors: &[&[(&str, &str)]]) -> Context<'static> {
        let maps = descriptors.iter().map(|d| d.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect());
        let mut context = Context::default();
        context.list_binding("descriptors".into(), maps.collect());
        context
    }

    fn error(text: &str) -> String {
        format!("{:#}", Limits::parse(text).err().expect("must be refused"))
    }

    #[test]
    fn the_operators_file_is_read() {
        let limits = Limits::parse(FREE).unwrap();
        let rule = &limits.namespace("llm/vllm-httproute")[0];
        assert_eq!((rule.limit.max_value(), rule.limit.seconds(), rule.limit.name()), (2, 120, Some("free")));
        let matching = context(&[&[("limit.free__1", "1"), ("auth.identity.userid", "alice")]]);
        let counter = rule.counter(1, &matching).unwrap().unwrap();
        assert_eq!(counter.set_variables().values().collect::<Vec<_>>(), ["alice"]);
    }

    #[test]
    fn a_missing_entry_or_descriptor_means_the_limit_does_not_apply() {
        let limits =
            Limits::parse(&FREE.replace("variables: ['descriptors[0]", "variables: ['descriptors[1]")).unwrap();
        let rule = &limits.namespace("llm/vllm-httproute")[0];
        assert_eq!(rule.descriptor, 0);
        assert!(rule.counter(1, &context(&[&[("limit.free__1", "1")]])).unwrap().is_none());
        assert!(rule.counter(2, &context(&[&[("limit.free__1", "1")], &[]])).unwrap().is_none());
        assert!(rule.counter(0, &context(&[])).unwrap().is_none());
    }

    #[test]
    fn nothing_is_an_empty_list() {
        for text in ["", "[]", "null", "# comment only\n"] {
            assert!(Limits::parse(text).unwrap().is_empty(), "{text:?}");
        }
        assert_eq!(Limits::parse("[{namespace: a, max_value: 1, seconds: 1, conditions: null}]").unwrap().len(), 1);
    }

    #[test]
    fn a_counter_may_contain_quotes() {
        let quoted = r#"'descriptors[0]["requestBodyJSON("/model")"]'"#;
        let limits = Limits::parse(&FREE.replace(r#"'descriptors[0]["auth.identity.userid"]'"#, quoted)).unwrap();
        let rule = &limits.namespace("llm/vllm-httproute")[0];
        let matching = context(&[&[("limit.free__1", "1"), ("requestBodyJSON(\"/model\")", "m")]]);
        let counter = rule.counter(1, &matching).unwrap().unwrap();
        assert_eq!(counter.set_variables().values().collect::<Vec<_>>(), ["m"]);
    }

    #[test]
    fn a_bad_entry_is_named() {
        let unknown = error(&FREE.replace("seconds:", "second:"));
        assert!(unknown.contains("second"), "{unknown}");
        let syntax = error(&FREE.replace("== \"1\"", "== "));
        assert!(syntax.contains("limits[0] (llm/vllm-httproute free)"), "{syntax}");
        let reference = error(&FREE.replace("descriptors[0][\"auth", "request[\"auth"));
        assert!(reference.contains("refers to `request`"), "{reference}");
        error("namespace: not-a-list");
    }

    #[test]
    fn of_two_alike_the_stricter_is_in_force() {
        let looser = FREE.replace("max_value: 2", "max_value: 5");
        for text in [format!("{FREE}{looser}"), format!("{looser}{FREE}")] {
            let limits = Limits::parse(&text).unwrap();
            assert_eq!(limits.len(), 1);
            assert_eq!(limits.namespace("llm/vllm-httproute")[0].limit.max_value(), 2);
        }
    }

    #[test]
    fn what_was_spent_stays_spent_when_prices_change() {
        let spend = |prompt: &str, condition: &str| {
            let prices = format!("prompt={prompt},completion=0,cached=0,unsplit=0,request=0,unmetered=0");
            let name = format!("name: free/spend:Etc/UTC;{prices}");
            FREE.replace("name: free", &name).replace("free__1", condition)
        };
        let identities = |text: &str| Limits::parse(text).unwrap().identities();
        assert_eq!(identities(&spend("1", "free__1")), identities(&spend("2", "free__2")));
        let both = format!("{}{}", spend("1", "free__1"), spend("2", "free__2"));
        assert_eq!(Limits::parse(&both).unwrap().len(), 2, "of two policies");
        assert!(error(&spend("x", "free__1")).contains("says no prices"));
    }

    #[test]
    fn identity_leaves_out_name_and_maximum() {
        let identity = |text: &str| Limits::parse(text).unwrap().identities();
        assert_eq!(
            identity(FREE),
            identity(&FREE.replace("max_value: 2", "max_value: 9").replace("name: free", "name: x"))
        );
        assert_ne!(identity(FREE), identity(&FREE.replace("seconds: 120", "seconds: 60")));
    }
}
