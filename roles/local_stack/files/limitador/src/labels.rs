// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! Prometheus labels of a request: who asked.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use limitador::limit::{Context, Expression};

pub type Labels = BTreeMap<String, String>;

/// `user=auth.identity.userid`: the label `user` is the first descriptor's entry `auth.identity.userid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    label: String,
    key: String,
}

impl FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((label, key)) if !key.is_empty() && is_label_name(label) => {
                Ok(Self { label: label.into(), key: key.into() })
            }
            _ => Err(format!("`{text}` is not LABEL=KEY, for example user=auth.identity.userid")),
        }
    }
}

pub struct Labeler {
    mappings: Vec<Mapping>,
    defaults: Option<Expression>,
}

impl Labeler {
    pub fn new(mappings: Vec<Mapping>, defaults: Option<Expression>) -> Self {
        Self { mappings, defaults }
    }

    /// Labels that are not known, or empty, are left out: to Prometheus the two are the same.
    pub fn labels(&self, descriptors: &[HashMap<String, String>], context: &Context) -> Labels {
        let own = self.mappings.iter().filter_map(|mapping| {
            let value = descriptors.first()?.get(&mapping.key)?;
            Some((mapping.label.clone(), value.clone()))
        });
        // No second descriptor is an evaluation error, and the usual case: no further labels.
        let further =
            self.defaults.as_ref().and_then(|expression| expression.eval_map(context).ok()).unwrap_or_default();
        own.chain(further.into_iter().map(|(key, value)| (label_name(&key), value)))
            .filter(|(_, value)| !value.is_empty())
            .collect()
    }
}

fn is_label_name(text: &str) -> bool {
    !text.is_empty() && label_name(text) == text
}

/// Prometheus label names are `[a-zA-Z_][a-zA-Z0-9_]*`.
fn label_name(text: &str) -> String {
    text.char_indices()
        .map(|(at, c)| match c {
            'a'..='z' | 'A'..='Z' | '_' => c,
            '0'..='9' if at > 0 => c,
            _ => '_',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(defaults: &str, descriptors: &[&[(&str, &str)]]) -> Labels {
        let descriptors: Vec<HashMap<_, _>> =
            descriptors.iter().map(|d| d.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()).collect();
        let mut context = Context::default();
        context.list_binding("descriptors".into(), descriptors.clone());
        let mappings = ["user=auth.identity.userid", "group=auth.identity.groups"];
        Labeler::new(mappings.iter().map(|m| m.parse().unwrap()).collect(), Expression::parse(defaults).ok())
            .labels(&descriptors, &context)
    }

    fn expected(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn come_from_the_first_descriptor() {
        let first: &[_] = &[("auth.identity.userid", "alice"), ("limit.free__1", "1")];
        assert_eq!(labels("descriptors[1]", &[first]), expected(&[("user", "alice")]));
    }

    #[test]
    fn of_a_metric_descriptor_win() {
        let first: &[_] = &[("auth.identity.userid", "alice"), ("auth.identity.groups", "free")];
        let second: &[_] = &[("user", "bob"), ("llm.model", "m"), ("empty", "")];
        assert_eq!(
            labels("descriptors[1]", &[first, second]),
            expected(&[("user", "bob"), ("group", "free"), ("llm_model", "m")])
        );
    }

    #[test]
    fn no_descriptor_no_labels() {
        assert_eq!(labels("descriptors[1]", &[]), Labels::new());
    }

    #[test]
    fn a_mapping_needs_a_valid_label_and_a_key() {
        for bad in ["user", "=key", "user=", "1user=key", "my-label=key"] {
            assert!(bad.parse::<Mapping>().is_err(), "{bad}");
        }
    }
}
