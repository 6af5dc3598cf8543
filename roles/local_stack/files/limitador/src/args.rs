// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! Command line. Names, short flags and environment variables that upstream has too mean the same here, so that the
//! limitador-operator can start this program in the place of upstream's.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use limitador::limit::Expression;

use crate::labels::Mapping;

#[derive(Parser, Debug)]
#[command(name = "limitador-server", version, about)]
pub struct Args {
    /// YAML list of limits; reloaded when it changes.
    #[arg(value_name = "LIMITS_FILE", env = "LIMITS_FILE")]
    pub limits_file: PathBuf,

    #[command(subcommand)]
    pub storage: Option<Storage>,

    /// Address of the gRPC services.
    #[arg(short = 'b', long, env = "ENVOY_RLS_HOST", default_value = "0.0.0.0")]
    pub rls_ip: IpAddr,

    #[arg(short = 'p', long, env = "ENVOY_RLS_PORT", default_value_t = 8081)]
    pub rls_port: u16,

    /// Address of the HTTP endpoints.
    #[arg(short = 'B', long, env = "HTTP_API_HOST", default_value = "0.0.0.0")]
    pub http_ip: IpAddr,

    #[arg(short = 'P', long, env = "HTTP_API_PORT", default_value_t = 8080)]
    pub http_port: u16,

    /// Label `limited_calls` with the name of the limit.
    #[arg(short = 'l', long, env = "LIMIT_NAME_IN_PROMETHEUS_LABELS", value_parser = FalseyValueParser::new())]
    pub limit_name_in_labels: bool,

    /// Label metrics with an entry of the first descriptor; repeatable, replaces the defaults.
    #[arg(
        long = "metric-label",
        value_name = "LABEL=KEY",
        default_values = ["user=auth.identity.userid", "group=auth.identity.groups", "tier=auth.identity.tier"],
    )]
    pub metric_labels: Vec<Mapping>,

    /// CEL expression giving a map of further labels, which win over --metric-label; empty for none.
    #[arg(long, value_name = "CEL", default_value = "descriptors[1]", value_parser = parse_expression)]
    pub metric_labels_default: OptionalExpression,

    /// Headers that tell the client about its limit.
    #[arg(short = 'H', long, env = "RATE_LIMIT_HEADERS", ignore_case = true, default_value = "NONE")]
    pub rate_limit_headers: RateLimitHeaders,

    /// Keep counters and metrics in this directory, across restarts. Without it they are in memory only.
    #[arg(long, env = "STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Check the limits file and exit.
    #[arg(long)]
    pub validate: bool,

    /// More log lines: -vvv debug, -vvvv trace. RUST_LOG wins.
    #[arg(short, long = "verbosity", action = ArgAction::Count)]
    pub verbosity: u8,

    /// Accepted for upstream's command line; traces are not exported.
    #[arg(long, env = "TRACING_ENDPOINT", hide = true)]
    pub tracing_endpoint: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum Storage {
    /// In memory, or in --state-dir.
    Memory {
        /// Accepted for upstream's command line; the number of counters is not bounded.
        #[arg(long, hide = true)]
        cache: Option<u64>,
    },
    /// The same as --state-dir PATH.
    Disk {
        #[arg(env = "DISK_PATH")]
        path: PathBuf,
        /// Accepted for upstream's command line.
        #[arg(long, env = "DISK_OPTIMIZE", hide = true)]
        optimize: Option<String>,
    },
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimitHeaders {
    #[value(name = "NONE")]
    None,
    #[value(name = "DRAFT_VERSION_03")]
    DraftVersion03,
}

/// A wrapper, since clap reads a bare `Option` as "may be absent".
#[derive(Clone, Debug)]
pub struct OptionalExpression(pub Option<Expression>);

impl Args {
    pub fn state_dir(&self) -> Option<&PathBuf> {
        match &self.storage {
            Some(Storage::Disk { path, .. }) => self.state_dir.as_ref().or(Some(path)),
            _ => self.state_dir.as_ref(),
        }
    }

    pub fn log_level(&self) -> &'static str {
        match self.verbosity {
            0..=2 => "info",
            3 => "debug",
            _ => "trace",
        }
    }
}

fn parse_expression(text: &str) -> Result<OptionalExpression, String> {
    if text.is_empty() {
        return Ok(OptionalExpression(None));
    }
    Expression::parse(text).map(|expression| OptionalExpression(Some(expression))).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_command_line_is_accepted() {
        let args = Args::try_parse_from([
            "limitador-server",
            "-b",
            "0.0.0.0",
            "--rls-port",
            "8081",
            "-B",
            "0.0.0.0",
            "--http-port",
            "8080",
            "--rate-limit-headers",
            "DRAFT_VERSION_03",
            "-l",
            "-vvv",
            "--metric-labels-default",
            "descriptors[1]",
            "/etc/limits.yaml",
            "memory",
        ])
        .unwrap();
        assert!(args.limit_name_in_labels);
        assert_eq!(args.rate_limit_headers, RateLimitHeaders::DraftVersion03);
        assert_eq!(args.log_level(), "debug");
        assert_eq!(args.metric_labels.len(), 3);
        assert_eq!(args.state_dir(), None);
    }

    #[test]
    fn upstreams_disk_storage_is_the_state_directory() {
        let args = Args::try_parse_from(["limitador-server", "limits.yaml", "disk", "/data"]).unwrap();
        assert_eq!(args.state_dir(), Some(&PathBuf::from("/data")));
    }

    #[test]
    fn redis_is_refused() {
        assert!(Args::try_parse_from(["limitador-server", "limits.yaml", "redis", "redis://x"]).is_err());
    }
}
