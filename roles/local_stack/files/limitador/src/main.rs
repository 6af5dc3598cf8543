// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use limitador_server::args::Args;
use limitador_server::engine::{Engine, now};
use limitador_server::grpc::Service;
use limitador_server::http::Api;
use limitador_server::labels::Labeler;
use limitador_server::limits::Limits;
use limitador_server::metrics::Metrics;
use limitador_server::program::Programs;
use limitador_server::reload::Reloader;
use limitador_server::store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

/// A limit on the size of files is told by this signal; left alone it would end the server.
const SIGXFSZ: i32 = 25;
/// How long connections may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("limitador-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(args.log_level()));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    if args.validate {
        return validate(&args);
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(args))
}

fn validate(args: &Args) -> Result<()> {
    let file = args.limits_file.display();
    let text = fs::read_to_string(&args.limits_file).with_context(|| format!("cannot read {file}"))?;
    let limits = Limits::parse(&text).with_context(|| format!("{file} is refused"))?;
    println!("{file}: {} limits", limits.len());
    Ok(())
}

async fn run(args: Args) -> Result<()> {
    if args.tracing_endpoint.is_some() {
        warn!("--tracing-endpoint is ignored: this server exports no traces");
    }
    let _to_be_an_error_of_the_write = signal(SignalKind::from_raw(SIGXFSZ))?;
    let metrics = Metrics::default();
    let store = Arc::new(match args.state_dir() {
        Some(directory) => Store::open(directory, metrics.datastore.clone(), now())?,
        None => Store::in_memory(metrics.datastore.clone(), now()),
    });
    let reloader = Arc::new(Reloader::new(&args.limits_file, store.clone(), metrics.clone())?);
    let engine = Arc::new(Engine {
        limits: reloader.limits(),
        store: store.clone(),
        labeler: Labeler::new(args.metric_labels, args.metric_labels_default.0),
        limit_name_in_labels: args.limit_name_in_labels,
        programs: Programs::default(),
    });
    let rls = bind((args.rls_ip, args.rls_port).into()).await?;
    let http = bind((args.http_ip, args.http_port).into()).await?;
    let _watcher = reloader.clone().watch()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    info!(
        rls = %rls.local_addr()?,
        http = %http.local_addr()?,
        limits = reloader.limits().borrow().len(),
        "limitador-server {} started",
        env!("CARGO_PKG_VERSION")
    );

    let stop = watch::Sender::new(false);
    let service = Service { engine: engine.clone(), headers: args.rate_limit_headers };
    let mut grpc = tokio::spawn(service.serve(rls, stopped(&stop)));
    let mut api = tokio::spawn(Api { engine, metrics }.serve(http, stopped(&stop)));
    tokio::task::spawn_blocking(move || store.shorten(now()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = &mut grpc => return ended?.context("the gRPC server ended"),
        ended = &mut api => return ended?.context("the HTTP server ended"),
    }
    stop.send_replace(true);
    // Connections that do not end by then are cut; every answered request is in the journal already.
    let _ = tokio::time::timeout(GRACE, async { tokio::join!(grpc, api) }).await;
    info!("stopped");
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

fn stopped(stop: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + use<> {
    let mut stop = stop.subscribe();
    async move {
        let _ = stop.wait_for(|stop| *stop).await;
    }
}
