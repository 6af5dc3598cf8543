// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! The program itself: killed under load, started again, stopped.

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use common::{NAMESPACE, get, limits, request, series};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

const CLIENTS: u64 = 8;
const CALLS: &str = r#"authorized_calls{group="free",limitador_namespace="llm/vllm-httproute",user="alice"}"#;

struct Server {
    child: Child,
    rls: SocketAddr,
    http: SocketAddr,
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_limitador-server"));
    command.env_remove("RUST_LOG").kill_on_drop(true).stderr(Stdio::piped()).stdout(Stdio::null());
    command.arg(directory.join("limits.yaml"));
    command
}

async fn start(directory: &Path) -> Server {
    start_by(command(directory), directory).await
}

async fn start_by(mut command: Command, directory: &Path) -> Server {
    command.args(["--rls-ip=127.0.0.1", "--rls-port=0", "--http-ip=127.0.0.1", "--http-port=0", "--state-dir"]);
    let mut child = command.arg(directory.join("state")).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = vec![];
    while let Some(line) = log.next_line().await.unwrap() {
        let address = |name| line.split_once(name).and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
        if let (Some(rls), Some(http)) = (address("rls="), address("http=")) {
            tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
            return Server { child, rls, http };
        }
        seen.push(line);
    }
    panic!("the server did not start: {seen:#?}");
}

/// Sends requests from several clients at once, kills the server when `calls` are answered, and returns how many were.
async fn kill_under_load(mut server: Server, calls: u64) -> u64 {
    let (answer, mut answers) = mpsc::unbounded_channel();
    for _ in 0..CLIENTS {
        let mut client = RateLimitServiceClient::connect(format!("http://{}", server.rls)).await.unwrap();
        let answer = answer.clone();
        tokio::spawn(async move {
            while client.should_rate_limit(request("alice", None)).await.is_ok() && answer.send(()).is_ok() {}
        });
    }
    drop(answer);
    for _ in 0..calls {
        answers.recv().await.unwrap();
    }
    server.child.kill().await.unwrap();
    let mut answered = calls;
    while answers.recv().await.is_some() {
        answered += 1;
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_answered_is_lost_by_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("limits.yaml"), limits(1_000_000)).unwrap();
    let mut total = 0;
    let mut server = start(directory.path()).await;
    for round in 1..=3 {
        let answered = kill_under_load(server, 500).await;
        server = start(directory.path()).await;
        let counted = series(server.http, CALLS).await - total;
        assert!(
            (answered..=answered + CLIENTS).contains(&counted),
            "round {round}: {answered} answered, {counted} counted"
        );
        total += counted;
        let path = format!("/counters/{}", NAMESPACE.replace('/', "%2F"));
        let counters: serde_json::Value = serde_json::from_str(&get(server.http, &path).await).unwrap();
        assert_eq!(counters[0]["remaining"], 1_000_000 - total);
    }
}

/// A disk of its own for the state, of 64 KiB: a tmpfs where this user may mount one.
struct Disk<'d>(&'d Path);

impl<'d> Disk<'d> {
    fn mount(directory: &'d Path) -> Result<Self, String> {
        std::fs::create_dir(directory).unwrap();
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=64k", "none"]).arg(directory).output();
        match mounted.map_err(|error| error.to_string())? {
            output if output.status.success() => Ok(Self(directory)),
            output => Err(String::from_utf8_lossy(&output.stderr).trim().into()),
        }
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 512]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// The limits of a file's size, which every user may set, stand for a full disk where no tmpfs can be mounted.
fn limited(directory: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.env_remove("RUST_LOG").kill_on_drop(true).stderr(Stdio::piped()).stdout(Stdio::null());
    shell.args(["-c", "ulimit -f 4; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_limitador-server")]);
    shell.arg(directory.join("limits.yaml"));
    shell
}

async fn asked(server: &Server, times: usize) -> usize {
    let mut client = RateLimitServiceClient::connect(format!("http://{}", server.rls)).await.unwrap();
    let mut admitted = 0;
    for _ in 0..times {
        let answer = client.should_rate_limit(request("alice", None)).await.expect("is answered");
        admitted += usize::from(answer.into_inner().overall_code() == Code::Ok);
    }
    admitted
}

#[tokio::test]
async fn a_full_disk_stops_neither_limits_nor_a_start() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("limits.yaml"), limits(400)).unwrap();
    let state = directory.path().join("state");
    let disk = Disk::mount(&state).inspect_err(|why| eprintln!("no tmpfs, files of 2 KiB instead: {why}")).ok();
    let start = async || match &disk {
        Some(_) => start(directory.path()).await,
        None => start_by(limited(directory.path()), directory.path()).await,
    };
    let partitioned = async |server: &Server| series(server.http, "datastore_partitioned").await;
    let calls = async |server: &Server| series(server.http, CALLS).await;

    let mut server = start().await;
    assert_eq!(asked(&server, 1).await, 1);
    disk.iter().for_each(Disk::fill);
    assert_eq!(asked(&server, 500).await, 399, "the limit holds");
    assert_eq!((partitioned(&server).await, calls(&server).await), (1, 400));
    assert!(series(server.http, "datastore_unwritten_requests").await > 0);
    let life = get(server.http, "/metrics").await.lines().find(|line| line.contains("{life=")).map(str::to_owned);

    server.child.kill().await.unwrap();
    let mut server = start().await;
    assert_eq!(calls(&server).await, 0);
    assert!(!get(server.http, "/metrics").await.contains(life.as_ref().unwrap()), "a new life, from zero");
    let admitted = asked(&server, 500).await;
    assert!((1..400).contains(&admitted), "what was written before is not given again: {admitted}");
    assert_eq!(partitioned(&server).await, 1);

    let Some(disk) = &disk else { return };
    disk.free();
    while partitioned(&server).await == 1 {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert_eq!(asked(&server, 1).await, 0);
    server.child.kill().await.unwrap();
    let server = start().await;
    assert_eq!(calls(&server).await, admitted as u64);
}

async fn terminate(child: &mut Child) -> ExitStatus {
    // The shell's own: not every machine has a program of that name.
    let kill = Command::new("sh").args(["-c", "kill \"$0\"", &child.id().unwrap().to_string()]).status().await.unwrap();
    assert!(kill.success());
    child.wait().await.unwrap()
}

#[tokio::test]
async fn sigterm_ends_it_cleanly_with_connections_open() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("limits.yaml"), limits(1)).unwrap();
    let mut server = start(directory.path()).await;
    let mut client = RateLimitServiceClient::connect(format!("http://{}", server.rls)).await.unwrap();
    client.should_rate_limit(request("alice", None)).await.unwrap();
    assert!(terminate(&mut server.child).await.success());
}

#[tokio::test]
async fn validate_tells_good_from_bad() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("limits.yaml");
    std::fs::write(&file, limits(1)).unwrap();
    assert!(command(directory.path()).arg("--validate").status().await.unwrap().success());
    std::fs::write(&file, "- {namespace: a}").unwrap();
    let output = command(directory.path()).arg("--validate").output().await.unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && message.contains("max_value"), "{message}");
}
