//! The program as it is typed.

use std::path::Path;
use std::process::{Command, Output};

use gridpost::running::Running;
use serde_json::Value;

use crate::world::World;

pub(crate) fn gridpost(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gridpost"));
    command
        .args(arguments)
        .arg("--data")
        .arg(data)
        .env_remove("GRIDPOST_CONFIG");
    command.output().unwrap()
}

pub(crate) fn json(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_demonstration_prints_the_webhook_request_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let shown = json(&gridpost(folder.path(), &["demo", "--once"]));

    assert_eq!(shown["method"], "POST");
    assert_eq!(shown["headers"]["aeg-event-type"], "Notification");
    assert_eq!(shown["headers"]["aeg-subscription-name"], "DEMO");
    let event = &shown["body"][0];
    assert_eq!(event["eventType"], "Microsoft.Communication.SMSReceived");
    assert!(
        event["subject"]
            .as_str()
            .unwrap()
            .starts_with("/phonenumber/1555")
    );
    assert!(
        folder.path().read_dir().unwrap().next().is_none(),
        "it keeps to its temporary folder"
    );
}

#[test]
fn without_a_server_commands_say_so_and_end_with_3() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["env"][..],
        &["events", "tail"],
        &["sms", "receive", "x"],
        &["dead-letter", "list"],
    ] {
        let output = gridpost(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("gridpost serve"));
    }
}

#[test]
fn a_public_address_is_refused_in_the_development_profile_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let output = gridpost(folder.path(), &["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--profile production"));
}

#[test]
fn a_wrong_command_line_ends_with_2_and_an_error_can_be_json() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        gridpost(folder.path(), &["serve", "--nonsense"])
            .status
            .code(),
        Some(2)
    );
    let output = gridpost(folder.path(), &["env", "--output", "json"]);
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], "NoServer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_find_the_running_server_by_its_data_folder() {
    let world = World::start().await;
    let data = world.server().data().to_owned();
    assert!(Running::find(&data).is_some());

    let exports = json(&gridpost(&data, &["env", "--json"]));
    assert_eq!(exports["AZURE_TENANT_ID"], "adfs");
    assert_eq!(
        exports["GRIDPOST_URL"],
        world.server().running().url.as_str()
    );
    let trusted = std::fs::read_to_string(exports["REQUESTS_CA_BUNDLE"].as_str().unwrap()).unwrap();
    let own = std::fs::read_to_string(exports["NODE_EXTRA_CA_CERTS"].as_str().unwrap()).unwrap();
    assert!(trusted.starts_with(&own));

    let received = json(&gridpost(
        &data,
        &["sms", "receive", "Hello", "--output", "json"],
    ));
    let id = received["messageId"].as_str().unwrap();
    let explained = json(&gridpost(
        &data,
        &["events", "explain", id, "--output", "json"],
    ));
    assert_eq!(explained["value"][0]["event"]["id"], id);
    let listed = json(&gridpost(
        &data,
        &["dead-letter", "list", "--output", "json"],
    ));
    assert_eq!(listed["value"], serde_json::json!([]));
    let checks = json(&gridpost(&data, &["doctor", "--output", "json"]));
    assert!(
        checks
            .as_array()
            .unwrap()
            .iter()
            .all(|check| check["finding"] == "good"),
        "{checks}"
    );
    world.settle().await;
}
