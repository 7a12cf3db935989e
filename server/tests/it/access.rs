//! Who may do what on a whole server, and how the first principal comes to be.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use gridpost::assembly::{Server, Sources};
use gridpost::config::{Config, Flags, Profile};
use gridpost::credentials::CLIENT;
use gridpost_model::Secret;
use serde_json::Value;

/// A server on this machine's time, by which commands date what they sign.
async fn serve(data: &Path, profile: Profile) -> Server {
    let flags = Flags {
        data: Some(data.to_owned()),
        listen: Some("127.0.0.1:0".to_owned()),
        profile: Some(profile),
        ..Flags::default()
    };
    let config = Config::resolve(None, &|_| None, &flags).unwrap();
    Server::start(config, Sources::real()).await.unwrap()
}

/// Types a command, as a principal or as whoever may read the data folder.
async fn typed(data: &Path, principal: Option<(&str, &str)>, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gridpost"));
    command.args(line.split(' ')).args(["--output", "json"]);
    command
        .arg("--data")
        .arg(data)
        .env_remove("GRIDPOST_CONFIG");
    command.env_remove("AZURE_CLIENT_ID");
    if let Some((client, secret)) = principal {
        command.env("AZURE_CLIENT_ID", client);
        command.env("AZURE_CLIENT_SECRET", secret);
    }
    let run = tokio::task::spawn_blocking(move || command.output());
    run.await.unwrap().unwrap()
}

fn json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_production_the_first_principal_is_made_by_a_command_on_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = serve(data, Profile::Production).await;
    assert!(server.grid().principals().is_empty(), "nobody is built in");

    let made = json(
        &typed(
            data,
            None,
            "principal create --display-name ci --role Reader",
        )
        .await,
    );
    let (client, secret) = (&made["clientId"], &made["clientSecret"]);
    let reader = Some((client.as_str().unwrap(), secret.as_str().unwrap()));
    let shown = json(&typed(data, reader, "dead-letter list").await);
    assert_eq!(shown["value"], Value::Array(Vec::new()));
    let refused = typed(data, reader, "principal list").await;
    assert_eq!(refused.status.code(), Some(5));
    let said = String::from_utf8_lossy(&refused.stdout).into_owned()
        + &String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("does not have authorization"), "{said}");

    let assign = format!(
        "role assignment create --assignee {} --role Owner --scope /",
        client.as_str().unwrap()
    );
    json(&typed(data, None, &assign).await);
    json(&typed(data, reader, "principal list").await);
    let listed = json(&typed(data, None, "role assignment list").await);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    json(&typed(data, None, &assign.replace("create", "delete")).await);
    let refused = typed(data, reader, "principal list").await;
    assert_eq!(refused.status.code(), Some(5));

    let log = json(&typed(data, None, "audit").await);
    let rows = log["value"].as_array().unwrap();
    let who: Vec<_> = rows
        .iter()
        .map(|row| row["principal"].as_str().unwrap())
        .collect();
    let reader = client.as_str().unwrap();
    let machine = "this machine";
    assert_eq!(who, [reader, machine, machine, reader, machine, machine]);
    assert_eq!(rows[0]["code"], "AuthorizationFailed");
    assert_eq!(
        rows[1]["action"],
        "Microsoft.Authorization/roleAssignments/delete"
    );
    assert!(!log.to_string().contains(secret.as_str().unwrap()));
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_principal_of_the_development_profile_is_gone_in_production_and_back_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let mut kept = None;
    for profile in [
        Profile::Development,
        Profile::Production,
        Profile::Development,
        Profile::Development,
    ] {
        let server = serve(data, profile).await;
        let grid = server.grid();
        assert_eq!(
            grid.principal(CLIENT).is_some(),
            profile == Profile::Development
        );
        assert_eq!(
            grid.role_assignments().len(),
            if profile == Profile::Development {
                2
            } else {
                0
            }
        );
        if profile == Profile::Development {
            let read = std::fs::read(data.join("credentials.json")).unwrap();
            let read: Value = serde_json::from_slice(&read).unwrap();
            let secret = Secret::new(read["client_secret"].as_str().unwrap());
            let now = gridpost_model::Timestamp::EPOCH;
            grid.sign_in(CLIENT, &secret, now).await.unwrap();
            assert!(kept.is_none_or(|kept| kept == secret));
            kept = Some(secret);
        }
        server.stop(Duration::from_secs(5)).await;
    }
}
