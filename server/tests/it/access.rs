//! Who may do what on a whole server, and how the first principal comes to be.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use gridpost::assembly::{Server, Sources};
use gridpost::config::{Config, Flags, Profile};
use gridpost::credentials::CLIENT;
use gridpost_api::auth::machine;
use gridpost_api::issuer::APPLICATION;
use gridpost_grid::principals::{ClientSecret, Salt, SecretHash};
use gridpost_model::{Secret, Timestamp};
use gridpost_sim::SeededChance;
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

/// A server of the production profile that names this principal in its configuration, or none.
async fn serve_naming(data: &Path, principal: Option<(&str, &str)>) -> anyhow::Result<Server> {
    let file = data.join("secret-of-the-configuration");
    let mut text = String::from("profile = \"production\"\nlisten = \"127.0.0.1:0\"\n");
    if let Some((client_id, secret)) = principal {
        std::fs::write(&file, secret)?;
        let file = file.display();
        text +=
            &format!("[principal]\nclient_id = \"{client_id}\"\nclient_secret_file = '{file}'\n");
    }
    let flags = Flags {
        data: Some(data.to_owned()),
        ..Flags::default()
    };
    let config = Config::resolve(Some(("gridpost.toml".into(), text)), &|_| None, &flags)?;
    Server::start(config, Sources::real()).await
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
            let now = Timestamp::EPOCH;
            grid.sign_in(CLIENT, &secret, now).await.unwrap();
            assert!(kept.is_none_or(|kept| kept == secret));
            kept = Some(secret);
        }
        server.stop(Duration::from_secs(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_development_too_commands_act_as_the_principal_that_the_environment_names() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = serve(data, Profile::Development).await;
    let made = json(&typed(data, None, "principal create --role Reader").await);
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    let (client, secret) = (text("clientId"), text("clientSecret"));
    let reader = Some((&*client, &*secret));
    json(&typed(data, reader, "dead-letter list").await);
    for line in ["principal list", "fault set x --status 500"] {
        let refused = typed(data, reader, line).await;
        let said = String::from_utf8_lossy(&refused.stdout).into_owned()
            + &String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(5), "{line}: {said}");
    }
    // Whoever asks for the variables is about to use them, so they are the built-in principal's whoever is named.
    let shown = json(&typed(data, reader, "env").await);
    assert_eq!(shown["AZURE_CLIENT_ID"], CLIENT);

    // With those, a command is what it is without any, also when the secret is of a folder that is gone.
    let exported = Some((CLIENT, "of another folder"));
    json(&typed(data, exported, "principal list").await);
    json(&typed(data, exported, "role assignment list").await);
    let more = format!("principal secret create {client}");
    json(&typed(data, exported, &more).await);
    let sly = typed(data, None, "principal delete x/secrets/y").await;
    assert_eq!(sly.status.code(), Some(2), "an id has no slash");
    let unknown = typed(data, Some(("of-the-cloud", "x")), "principal list").await;
    let said = String::from_utf8_lossy(&unknown.stdout).into_owned()
        + &String::from_utf8_lossy(&unknown.stderr);
    assert!(said.contains("AZURE_CLIENT_ID"), "{said}");
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_came_by_the_configuration_goes_when_it_names_somebody_else() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let (now, within) = (Timestamp::EPOCH, Duration::from_secs(5));
    let opens = async |server: &Server, client: &str, secret: &str| {
        let secret = Secret::new(secret);
        server.grid().sign_in(client, &secret, now).await.is_ok()
    };
    let server = serve_naming(data, Some(("ops-1", "first"))).await.unwrap();
    for id in ["a", "b"] {
        let secret = Secret::new(id);
        let hash = SecretHash::of_random(&secret, Salt::fresh(&SeededChance::new(1)));
        let secret = ClientSecret::new(id, &secret, hash, now, None);
        let added = server.grid().add_secret("ops-1", secret).await;
        assert!(added.unwrap().is_some());
    }
    server.stop(within).await;

    let server = serve_naming(data, Some(("OPS-1", "second"))).await.unwrap();
    assert!(!opens(&server, "ops-1", "first").await);
    for secret in ["second", "a", "b"] {
        assert!(opens(&server, "ops-1", secret).await, "{secret}");
    }
    server.stop(within).await;

    let server = serve_naming(data, Some(("ops-2", "third"))).await.unwrap();
    assert!(server.grid().principal("ops-1").is_none());
    assert!(opens(&server, "ops-2", "third").await);
    let holders = server.grid().role_assignments();
    assert!(holders.len() == 2 && holders.iter().all(|one| one.principal_id == "ops-2"));
    server.stop(within).await;

    let server = serve_naming(data, None).await.unwrap();
    assert!(server.grid().principals().is_empty());
    assert!(server.grid().role_assignments().is_empty());
    server.stop(within).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_call_made_keeps_what_calls_gave_when_the_configuration_names_them_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let (now, within) = (Timestamp::EPOCH, Duration::from_secs(5));
    let server = serve_naming(data, None).await.unwrap();
    let made = json(&typed(data, None, "principal create --role Reader").await);
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    let (client, own) = (text("clientId"), Secret::new(text("clientSecret")));
    server.stop(within).await;

    let given = Secret::new("given");
    let server = serve_naming(data, Some((&client, given.reveal())))
        .await
        .unwrap();
    for secret in [&own, &given] {
        server.grid().sign_in(&client, secret, now).await.unwrap();
    }
    assert_eq!(server.grid().role_assignments().len(), 3);
    server.stop(within).await;

    let server = serve_naming(data, None).await.unwrap();
    server.grid().sign_in(&client, &own, now).await.unwrap();
    assert!(server.grid().sign_in(&client, &given, now).await.is_err());
    let left = server.grid().role_assignments();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].role().unwrap().name, "Reader");
    server.stop(within).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_cannot_name_whom_the_server_is_itself() {
    for reserved in [machine::CLIENT, APPLICATION, "a/b", "a b"] {
        let folder = tempfile::tempdir().unwrap();
        let started = serve_naming(folder.path(), Some((reserved, "secret"))).await;
        let Err(refused) = started else {
            panic!("{reserved} was taken");
        };
        let said = format!("{refused:#}");
        assert!(
            said.to_lowercase().contains("client id") || said.contains("client_id"),
            "{said}"
        );
    }
}
