//! `gridpost serve --apply FILE`: the real program, started on a file of resources and stopped again.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::{gridpost, json};
use crate::served::Served;

fn started(folder: &Path, file: &Path, port: u16) -> Served {
    let listen = format!("127.0.0.1:{port}");
    let file = file.to_str().unwrap();
    Served::start(&data(folder), &["--listen", &listen, "--apply", file])
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn written(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("grid.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// A port that nobody listens on, for a file that has to name it before there is a server.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn a_file_is_applied_before_the_server_is_ready_and_a_second_start_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    // The server's own sink answers the handshake, so only a server that is up already can agree to it.
    let file = written(
        folder.path(),
        &format!(
            "[topics.orders]\ntags = {{ team = 'shop' }}\n[topics.orders.eventSubscriptions.audit]\n\
             endpoint = 'https://127.0.0.1:{port}/_gridpost/v1/sinks/audit'\n"
        ),
    );
    let mut first = started(folder.path(), &file, port);
    let ready = first.ready();
    assert_eq!(
        ready["applied"],
        json!({"created": 2, "changed": 0, "unchanged": 1, "failed": 0})
    );
    let shown = [
        "topic",
        "event-subscription",
        "list",
        "--topic-name",
        "orders",
    ];
    let shown = json(&gridpost(
        &data(folder.path()),
        &[&shown[..], &["--output", "json"]].concat(),
    ));
    assert_eq!(shown[0]["name"], "audit");
    assert_eq!(shown[0]["properties"]["provisioningState"], "Succeeded");
    let log = first.stop();
    assert!(log.contains("2 created, 0 changed"), "{log}");

    let mut second = started(folder.path(), &file, port);
    let ready = second.ready();
    assert_eq!(
        ready["applied"],
        json!({"created": 0, "changed": 0, "unchanged": 3, "failed": 0})
    );
    let log = second.stop();
    assert!(log.contains("Nothing to change, = 3 unchanged"), "{log}");
}

#[test]
fn a_file_that_cannot_be_understood_stops_the_start_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        (
            "[topics.good]\n[topics.t]\ninputSchma = 'x'\n",
            "grid.toml:3: `inputSchma` is not known here; did you mean `inputSchema`?",
        ),
        ("[topics.good]\n[topics.\n", "grid.toml:2: "),
    ];
    for (text, expected) in cases {
        let file = written(folder.path(), text);
        let file = file.to_str().unwrap();
        let output = gridpost(
            &data(folder.path()),
            &["serve", "--listen", "127.0.0.1:0", "--apply", file],
        );
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(expected), "{said}");
        assert!(!data(folder.path()).exists(), "nothing is left of it");
    }
    let output = gridpost(&data(folder.path()), &["serve", "--apply", "/nowhere.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot read /nowhere.toml: "), "{said}");
}

#[test]
fn what_is_refused_at_the_start_is_logged_and_the_rest_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let silent = free_port();
    let file = written(
        folder.path(),
        &format!(
            "[topics.good]\n[topics.good.eventSubscriptions.silent]\nendpoint = 'http://127.0.0.1:{silent}/hook'\n\
             [topics.bad]\ninputSchema = 'Nonsense'\n"
        ),
    );
    let mut served = started(folder.path(), &file, 0);
    let ready = served.ready();
    assert_eq!(ready["applied"]["created"], 1);
    assert_eq!(ready["applied"]["failed"], 2);
    let topics = ["topic", "list", "--output", "json"];
    let topics = json(&gridpost(&data(folder.path()), &topics));
    let names: Vec<&Value> = topics
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["good"]);
    let log = served.stop();
    let log = log
        .lines()
        .filter(|line| line.contains("could not be applied"))
        .collect::<Vec<_>>();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(
        log[0].contains("topics.good.eventSubscriptions.silent (line 2)"),
        "{log:?}"
    );
    assert!(
        log[1].contains("topics.bad (line 4)") && log[1].contains("Nonsense"),
        "{log:?}"
    );
}

#[test]
fn a_server_that_is_stopped_in_the_middle_of_the_file_stops_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = hanging.local_addr().unwrap();
    let text =
        format!("[topics.orders.eventSubscriptions.hanging]\nendpoint = 'http://{address}/hook'\n");
    let file = written(folder.path(), &text);
    let served = started(folder.path(), &file, 0);
    // The handshake has begun, and is never answered.
    let (_held, _) = hanging.accept().unwrap();
    let log = served.stop();
    assert!(
        log.contains("left to the next start") && log.contains("stopped"),
        "{log}"
    );
}
