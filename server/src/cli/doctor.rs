//! `gridpost doctor`: is everything as it should be, and what to do when it is not.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use gridpost_model::time::{read_span, write_span};
use gridpost_model::{Clock as _, Timestamp};
use http::Method;
use serde::Serialize;
use serde_json::Value;

use super::render;
use crate::certificates::Folder;
use crate::client::Client;
use crate::config::{Config, Profile};
use crate::files::{FolderLock, LockError};
use crate::output::{Exit, Failure, Output, table};
use crate::real::SystemClock;
use crate::running::Running;

/// Less room than this and the next segments of the journal may not fit.
const ROOM: u64 = 512 << 20;

/// The start of the year this was written in: a clock before it is wrong.
const OLDEST_TIME: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// Clients of communication services sign the time; a server refuses what is further off.
const SKEW: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Finding {
    Good,
    Note,
    Trouble,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    finding: Finding,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Check {
    fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            finding: Finding::Good,
            found: found.into(),
            advice: None,
        }
    }

    fn note(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            name,
            finding: Finding::Note,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }

    fn trouble(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            name,
            finding: Finding::Trouble,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }
}

pub(super) async fn run(config: &Config, output: Output) -> Result<(), Failure> {
    let now = SystemClock::default().now();
    let mut checks = vec![
        Check::good("version", format!("gridpost {}", env!("CARGO_PKG_VERSION"))),
        folder(&config.data),
        room(&config.data),
        clock(now),
        certificate(config, now),
    ];
    checks.extend(server(config).await);
    output.result(&checks, |checks| shown(checks));
    match checks
        .iter()
        .filter(|check| check.finding == Finding::Trouble)
        .count()
    {
        0 => Ok(()),
        1 => Err(Failure::said(Exit::Trouble, "one thing has to be repaired")),
        count => Err(Failure::said(
            Exit::Trouble,
            format!("{count} things have to be repaired"),
        )),
    }
}

fn folder(data: &Path) -> Check {
    const NAME: &str = "data folder";
    let shown = data.display();
    match std::fs::metadata(data) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Check::note(
            NAME,
            format!("{shown} does not exist yet"),
            "The first `gridpost serve` makes it.",
        ),
        Err(error) => Check::trouble(
            NAME,
            format!("{shown} cannot be read: {error}"),
            "Give this user the right to read and write it, or choose another with --data.",
        ),
        Ok(kind) if !kind.is_dir() => Check::trouble(
            NAME,
            format!("{shown} is not a folder"),
            "Choose another with --data.",
        ),
        Ok(_) => match tempfile::tempfile_in(data) {
            Ok(_) => Check::good(NAME, shown.to_string()),
            Err(error) => Check::trouble(
                NAME,
                format!("{shown} cannot be written: {error}"),
                "Give this user the right to write it, or choose another with --data.",
            ),
        },
    }
}

fn room(data: &Path) -> Check {
    const NAME: &str = "disk space";
    let existing = data
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("."));
    match rustix::fs::statvfs(existing) {
        Err(error) => Check::note(
            NAME,
            format!("cannot be told: {error}"),
            "Look at it with `df`.",
        ),
        Ok(disk) => {
            let free = disk.f_bavail * disk.f_frsize;
            let found = format!("{} MiB free", free >> 20);
            if free < ROOM {
                let advice = "Free some, or set store.retention_mib lower: publishers get 503 while the disk is full.";
                Check::trouble(NAME, found, advice)
            } else {
                Check::good(NAME, found)
            }
        }
    }
}

fn clock(now: Timestamp) -> Check {
    let found = now.format("%Y-%m-%d %H:%M:%S UTC");
    if now < OLDEST_TIME {
        return Check::trouble(
            "clock",
            found,
            "Set this machine's clock: signatures and certificates depend on it.",
        );
    }
    Check::good("clock", found)
}

fn certificate(config: &Config, now: Timestamp) -> Check {
    const NAME: &str = "certificate";
    if let Some((certificate, key)) = config.tls.own_files() {
        let identity = crate::certificates::Identity::read(certificate, key);
        return match identity.and_then(crate::certificates::Identity::into_tls) {
            Ok(_) => Check::good(NAME, certificate.display().to_string()),
            Err(error) => Check::trouble(
                NAME,
                format!("{error:#}"),
                "Set tls.certificate_file and tls.key_file to PEM files that belong together.",
            ),
        };
    }
    let folder = Folder::of(&config.data);
    if !folder.authority().exists() {
        return Check::note(NAME, "none yet", "The first `gridpost serve` makes one.");
    }
    match folder.ends() {
        Ok(ends) if now < ends => {
            let until = ends.format("%Y-%m-%d");
            Check::good(
                NAME,
                format!(
                    "valid until {until}; trust {}",
                    folder.authority().display()
                ),
            )
        }
        Ok(ends) => Check::trouble(
            NAME,
            format!("ended on {}", ends.format("%Y-%m-%d")),
            "Restart the server: it renews its certificate when it starts.",
        ),
        Err(error) => Check::trouble(
            NAME,
            format!("{error:#}"),
            "Restart the server: it replaces a damaged certificate.",
        ),
    }
}

/// The running server, or whether one could start.
async fn server(config: &Config) -> Vec<Check> {
    const NAME: &str = "server";
    match holder(&config.data) {
        Some(LockError::Taken { holder, .. }) => match Client::find_as_own(config) {
            Ok(client) => reachable(&client, &holder).await,
            Err(_) => vec![Check::note(
                NAME,
                format!("process {holder} is starting or stopping"),
                "Try again in a few seconds.",
            )],
        },
        Some(error @ LockError::Failed { .. }) => vec![Check::trouble(
            NAME,
            error.to_string(),
            "Give this user the right to write the data folder.",
        )],
        None => {
            let after_a_crash = Running::find(&config.data).is_some();
            let found = if after_a_crash {
                "not running; the last one did not stop in order"
            } else {
                "not running"
            };
            vec![
                Check::note(
                    NAME,
                    found,
                    "Start it with `gridpost serve`; after a crash it recovers by itself.",
                ),
                port(config.listen, neighbour(config).await),
                journal(config).await,
            ]
        }
    }
}

/// Who has the data folder; `None` when nobody has, or there is none.
fn holder(data: &Path) -> Option<LockError> {
    if !data.join("lock").exists() {
        return None;
    }
    FolderLock::take(data).err()
}

async fn reachable(client: &Client, holder: &str) -> Vec<Check> {
    let running = client.server();
    let where_to = format!(
        "process {holder} at {} since {}",
        running.url,
        running.started.format("%Y-%m-%d %H:%M:%S")
    );
    let mut checks = vec![match client.ready().await {
        Ok(_) => Check::good("server", where_to),
        Err(failure) if failure.exit == Exit::NoServer => Check::trouble(
            "server",
            format!("{where_to}: {:#}", failure.error),
            "Ask again in a few seconds: a server that was killed leaves its folder then, and can be started again.",
        ),
        Err(failure) => Check::trouble(
            "server",
            format!("{where_to} is not ready: {:#}", failure.error),
            "Look at its log; if it says that the disk is full, free some space: it resumes by itself.",
        ),
    }];
    let ours = env!("CARGO_PKG_VERSION");
    if running.version != ours {
        let found = format!("the server is {}, this program is {ours}", running.version);
        checks.push(Check::note(
            "versions",
            found,
            "Restart the server to have both the same.",
        ));
    }
    let clock = client.own(Method::GET, "clock", None).await;
    let ahead = clock.map(|shown| ahead(&shown)).unwrap_or_default();
    checks.extend(moved(ahead));
    // An older server has no such list.
    let handshakes = client.own(Method::GET, "handshakes/awaiting", None).await;
    checks.extend(handshakes.iter().flat_map(awaiting));
    // A clock that was moved on stays so over a restart.
    let now = SystemClock::default().now() + ahead;
    if now + SKEW < running.started {
        let found = "the server started in the future, by this machine's clock";
        checks.push(Check::trouble(
            "clock",
            found,
            "The clock was set back; check it, then restart the server.",
        ));
    }
    checks
}

/// How far a server's clock was moved on.
fn ahead(clock: &Value) -> Duration {
    let span = clock["ahead"]
        .as_str()
        .and_then(|text| read_span(text).ok());
    span.unwrap_or_default()
}

fn moved(ahead: Duration) -> Option<Check> {
    let found = format!(
        "the server's is {} ahead of this machine's",
        render::span(&write_span(ahead))
    );
    let advice = "Time was moved on with `gridpost clock advance`; a server with a new data folder has the time of its machine.";
    (!ahead.is_zero()).then(|| Check::note("moved clock", found, advice))
}

/// The event subscriptions that get nothing because nobody visited their validation URL.
fn awaiting(handshakes: &Value) -> Vec<Check> {
    let all = handshakes["value"].as_array().into_iter().flatten();
    let check = |one: &Value| {
        let text = |field: &str| render::plain(&one[field]);
        let found = format!(
            "{} gets nothing: it waits for a visit of its validation URL until {}",
            text("subscription"),
            text("until")
        );
        let advice = format!(
            "{} Visit {} or mend the endpoint and create the subscription again.",
            text("because"),
            text("validationUrl")
        );
        Check::note("handshake", found, advice)
    };
    all.map(check).collect()
}

/// How long whoever listens on the port may take to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(2);

/// The version of a Gridpost of another data folder that answers where this one would listen.
async fn neighbour(config: &Config) -> Option<String> {
    let running = Running {
        process: 0,
        version: String::new(),
        profile: Profile::Development,
        address: config.listen,
        url: String::new(),
        authority: None,
        started: Timestamp::EPOCH,
    };
    let client = Client::of(running, &config.data).ok()?;
    let asked = client.own(Method::GET, "info", None);
    let info = tokio::time::timeout(INTRODUCTION, asked).await.ok()?.ok()?;
    (info["product"] == "gridpost").then(|| render::plain(&info["version"]))
}

fn port(address: SocketAddr, neighbour: Option<String>) -> Check {
    match TcpListener::bind(address) {
        Ok(_) => Check::good("port", format!("{address} is free")),
        Err(_) if let Some(version) = neighbour => Check::trouble(
            "port",
            format!("{address} is taken by another Gridpost ({version}), of another data folder"),
            format!(
                "Name its folder with --data to use that one, or serve with --listen {}:0 to have both.",
                address.ip()
            ),
        ),
        Err(error) => Check::trouble(
            "port",
            format!("{address} cannot be used: {error}"),
            format!(
                "Stop what uses it, or serve with --listen {}:0 to take a free one.",
                address.ip()
            ),
        ),
    }
}

/// Whether the journal can be read. Opening it is the test, so this happens only while no server has it.
async fn journal(config: &Config) -> Check {
    const NAME: &str = "journal";
    let folder = config.data.join("store");
    if !folder.exists() {
        return Check::note(NAME, "none yet", "The first `gridpost serve` makes it.");
    }
    let mut options =
        gridpost_store::Options::new(folder, std::sync::Arc::new(SystemClock::default()));
    options.accept_damage = false;
    let opened = tokio::task::spawn_blocking(move || gridpost_store::Store::open(options)).await;
    match opened {
        Ok(Ok((store, recovery))) => {
            // Not closed in order: that would make a checkpoint, and only a router knows how far its lanes have come.
            drop(store);
            let discarded = match recovery.discarded_bytes {
                0 => String::new(),
                bytes => format!("; {bytes} bytes that were never acknowledged were discarded"),
            };
            Check::good(
                NAME,
                format!(
                    "readable, {} events since the last checkpoint{discarded}",
                    recovery.events
                ),
            )
        }
        Ok(Err(error)) => Check::trouble(
            NAME,
            format!("{:#}", anyhow::Error::new(error)),
            "Keep a copy of the data folder first. Then restore a backup, or start once with \
             GRIDPOST_STORE_ACCEPT_DAMAGE=true, which keeps what is readable and reports what is not.",
        ),
        Err(error) => Check::trouble(
            NAME,
            error.to_string(),
            "This is a defect; please report it.",
        ),
    }
}

fn shown(checks: &[Check]) -> String {
    let sign = |finding| match finding {
        Finding::Good => "ok",
        Finding::Note => "note",
        Finding::Trouble => "TROUBLE",
    };
    let rows: Vec<Vec<String>> = checks
        .iter()
        .map(|check| {
            vec![
                check.name.to_owned(),
                sign(check.finding).to_owned(),
                check.found.clone(),
            ]
        })
        .collect();
    let mut text = table(&["CHECK", "", "FOUND"], &rows);
    for check in checks {
        if let Some(advice) = &check.advice {
            text.push_str(&format!("\n{}: {advice}", check.name));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    #[tokio::test]
    async fn a_folder_that_was_never_used_is_no_trouble() {
        let folder = tempfile::tempdir().unwrap();
        let flags = Flags {
            data: Some(folder.path().join("none")),
            listen: Some("127.0.0.1:0".into()),
            ..Flags::default()
        };
        let config = Config::resolve(None, &|_| None, &flags).unwrap();
        let checks = server(&config).await;
        assert!(
            checks.iter().all(|check| check.finding != Finding::Trouble),
            "{checks:?}"
        );
        assert_eq!(super::folder(&config.data).finding, Finding::Note);
    }

    #[test]
    fn a_clock_that_was_moved_on_is_told_of() {
        let told = |span: &str| moved(ahead(&serde_json::json!({ "ahead": span })));
        assert!(told("PT0S").is_none());
        let check = told("PT26H").unwrap();
        assert_eq!(check.finding, Finding::Note);
        assert!(check.found.contains("1d 2h ahead"), "{}", check.found);
    }

    #[test]
    fn a_subscription_that_waits_for_a_visit_is_told_of_with_its_url() {
        let checks = awaiting(&serde_json::json!({ "value": [{
            "subscription": "orders", "until": "2026-11-22T00:10:00Z", "because": "It said nothing.",
            "validationUrl": "https://127.0.0.1:8480/eventsubscriptions/1/validate?token=T",
        }]}));
        let [check] = &checks[..] else {
            panic!("{checks:?}");
        };
        assert_eq!(check.finding, Finding::Note);
        assert!(check.found.starts_with("orders gets nothing"));
        let advice = check.advice.as_deref().unwrap();
        assert!(
            advice.starts_with("It said nothing. Visit https://"),
            "{advice}"
        );
        assert!(awaiting(&serde_json::json!({ "value": [] })).is_empty());
    }

    #[test]
    fn a_clock_of_the_past_is_trouble() {
        assert_eq!(clock(Timestamp::EPOCH).finding, Finding::Trouble);
    }

    #[test]
    fn a_port_in_use_is_trouble() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let nobody = port(address, None);
        assert_eq!(nobody.finding, Finding::Trouble);
        assert!(nobody.found.contains("cannot be used"), "{nobody:?}");
        let ours = port(address, Some("1.0".into()));
        assert!(ours.found.contains("another Gridpost (1.0)"), "{ours:?}");
    }
}
