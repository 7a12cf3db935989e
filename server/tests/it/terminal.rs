//! What a server says in its terminal: enough to know that something is wrong, and not a line for each event.

use std::process::Command;

use serde_json::Value;

use crate::cli::{gridpost, json};
use crate::served::Served;
use crate::world::World;

#[test]
fn an_endpoint_that_refuses_or_fails_is_a_line_and_not_a_line_for_each_event() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut served = Served::start(&data, &["--listen", "127.0.0.1:0"]);
    let ready = served.ready();
    let run = |line: &str| {
        let words: Vec<&str> = line.split(' ').chain(["--output", "json"]).collect();
        json(&gridpost(&data, &words))
    };
    for (name, status) in [("refusing", 400), ("busy", 503)] {
        run(&format!(
            "event-subscription create -n {name} --endpoint {}/_gridpost/v1/sinks/{name}",
            ready["url"].as_str().unwrap()
        ));
        run(&format!(
            "fault set {name} --status {status} --subscription {name}"
        ));
    }
    let mut last = String::new();
    for number in 0..12 {
        let text = run(&format!("sms receive hello-{number}"));
        last = text["messageId"].as_str().unwrap().to_owned();
    }
    // Each look takes a while of its own; a server that never gets there is stopped by the test's time limit.
    while run("dead-letter list")["value"].as_array().unwrap().len() < 12 {}
    let left_alone = || {
        let told = run(&format!("events explain {last}"));
        let all = told["value"][0]["subscriptions"]
            .as_array()
            .unwrap()
            .clone();
        let busy = all.into_iter().find(|one| one["name"] == "busy").unwrap();
        busy["probationUntil"].is_string()
    };
    while !left_alone() {}

    let log = served.stop();
    let lines = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!(lines("could not be delivered to refusing"), 1, "{log}");
    assert_eq!(lines("the endpoint of busy failed too often"), 1, "{log}");
    assert!(log.lines().count() < 12, "{log}");
}

#[test]
fn a_variable_that_is_nearly_a_setting_keeps_a_server_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gridpost"));
        command.args(arguments).arg("--data").arg(&data);
        command
            .env("GRIDPOST_LISTENR", "127.0.0.1:0")
            .output()
            .unwrap()
    };
    let output = run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("GRIDPOST_LISTENR") && said.contains("did you mean GRIDPOST_LISTEN?"),
        "{said}"
    );
    assert!(!data.exists());
    // A command that asks a server is no place to refuse it.
    let output = run(&["doctor", "--output", "json"]);
    let checks: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(checks.is_array());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_says_that_another_gridpost_has_the_port() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gridpost"));
    command.args(["doctor", "--output", "json", "--data"]);
    command.arg(folder.path().join("data"));
    command.env("GRIDPOST_LISTEN", world.address().to_string());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(6));
    let checks: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let port = checks.iter().find(|check| check["name"] == "port").unwrap();
    let found = port["found"].as_str().unwrap();
    assert!(found.contains("is taken by another Gridpost"), "{found}");
    world.settle().await;
}
