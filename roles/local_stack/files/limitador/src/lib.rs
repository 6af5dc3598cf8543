// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! A rate limit server for Envoy and Kuadrant, built on the `limitador` crate. See README.md.

pub mod args;
pub mod caller;
pub mod cel_strings;
pub mod counters;
pub mod engine;
pub mod grpc;
pub mod http;
pub mod journal;
pub mod labels;
pub mod limits;
pub mod metrics;
pub mod program;
pub mod reload;
pub mod spend;
pub mod store;
pub mod tokens;
pub mod usage;
pub mod weights;
