//! `[handlers]`: from resource ids to connections.
//!
//! Promise: every entry is read and understood at the start, or the start fails and says which entry is wrong and how;
//! secrets come from the file, from files of their own, or from the environment, and are never repeated in an error.
//! Not here: what is sent through a connection (`grid::destination`).

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use gridpost_grid::amqp::Peer;
use gridpost_grid::connections::Connections;
use gridpost_grid::outbound::Endpoint;
use gridpost_grid::storage::StorageAccount;
use gridpost_model::{ResourceId, Secret};

use crate::config::{
    AmqpConnection, FunctionConnection, Handlers, SecretSource, StorageConnection,
};

/// Reads all entries.
///
/// # Errors
/// An entry is wrong, or a file or variable that it names cannot be read.
pub fn connections(
    handlers: &Handlers,
    environment: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Connections> {
    Ok(Connections {
        storage: each(
            "handlers.storage",
            &handlers.storage,
            |one| &one.resource_id,
            |one| storage(one, environment),
        )?,
        functions: each(
            "handlers.function",
            &handlers.function,
            |one| &one.resource_id,
            |one| function(one, environment),
        )?,
        amqp: each(
            "handlers.amqp",
            &handlers.amqp,
            |one| &one.resource_id,
            |one| amqp(one, environment),
        )?,
    })
}

fn each<E, T>(
    setting: &str,
    entries: &[E],
    id_of: impl Fn(&E) -> &String,
    read: impl Fn(&E) -> anyhow::Result<T>,
) -> anyhow::Result<HashMap<ResourceId, T>> {
    let mut found = HashMap::new();
    for entry in entries {
        let text = id_of(entry);
        let place = || format!("the configuration's [[{setting}]] with resource_id = {text:?}");
        let id: ResourceId = text.parse().with_context(place)?;
        let value = read(entry).with_context(place)?;
        ensure!(
            found.insert(id, value).is_none(),
            "{} is there twice",
            place()
        );
    }
    Ok(found)
}

fn storage(
    entry: &StorageConnection,
    environment: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Arc<StorageAccount>> {
    let text = secret("connection_string", &entry.connection_string(), environment)?;
    let account = StorageAccount::from_connection_string(text.reveal())
        .context("the connection string cannot be used")?;
    for endpoint in [account.blobs(), account.queues()] {
        is_http(endpoint).context("an endpoint of the connection string cannot be used")?;
    }
    Ok(Arc::new(account))
}

fn function(
    entry: &FunctionConnection,
    environment: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Secret> {
    let url = secret("url", &entry.url(), environment)?;
    is_http(url.reveal()).context("the url cannot be used")?;
    Ok(url)
}

fn amqp(
    entry: &AmqpConnection,
    environment: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Arc<Peer>> {
    let text = secret("connection_string", &entry.connection_string(), environment)?;
    ensure!(
        entry.address.as_deref() != Some(""),
        "the address is empty: leave it out, or say what the peer calls the queue"
    );
    let peer = Peer::read(text.reveal(), entry.address.as_deref())
        .context("the connection string cannot be used")?;
    is_http(&peer.url()).context("the host of the connection string cannot be used")?;
    Ok(Arc::new(peer))
}

fn is_http(text: &str) -> anyhow::Result<()> {
    text.parse::<Endpoint>()?;
    Ok(())
}

/// The one of three places that is given.
fn secret(
    setting: &str,
    source: &SecretSource<'_>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Secret> {
    let text = match *source {
        SecretSource {
            text: Some(text),
            file: None,
            variable: None,
        } => text.to_owned(),
        SecretSource {
            text: None,
            file: Some(file),
            variable: None,
        } => read(file)?,
        SecretSource {
            text: None,
            file: None,
            variable: Some(variable),
        } => environment(variable)
            .with_context(|| format!("the environment has no variable {variable}"))?,
        _ => bail!("it needs one of {setting}, {setting}_file and {setting}_variable"),
    };
    Ok(Secret::new(text.trim()))
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Flags};

    const ACCOUNT: &str =
        "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/acct";

    fn read_with(
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Connections> {
        let file = Some(("own.toml".into(), text.to_owned()));
        let config = Config::resolve(file, &|_| None, &Flags::default())?;
        connections(&config.handlers, environment)
    }

    fn refusal(text: &str) -> String {
        let error = read_with(text, &|_| None).unwrap_err();
        format!("{error:#}")
    }

    fn account(id: &str) -> ResourceId {
        id.parse().unwrap()
    }

    #[test]
    fn a_connection_string_comes_from_the_file_a_file_of_its_own_or_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "AccountName=b;AccountKey=a2V5\n").unwrap();
        let text = format!(
            "[[handlers.storage]]\nresource_id = '{ACCOUNT}'\nconnection_string = 'UseDevelopmentStorage=true'\n\
             [[handlers.storage]]\nresource_id = '/b'\nconnection_string_file = '{}'\n\
             [[handlers.storage]]\nresource_id = '/c'\nconnection_string_variable = 'ACCOUNT_C'\n",
            secret.display()
        );
        let environment =
            |name: &str| (name == "ACCOUNT_C").then(|| "AccountName=c;AccountKey=a2V5".to_owned());
        let connections = read_with(&text, &environment).unwrap();
        let name = |id: &str| connections.storage(&account(id)).unwrap().name().to_owned();
        assert_eq!(name(&ACCOUNT.to_uppercase()), "devstoreaccount1");
        assert_eq!((name("/b"), name("/c")), ("b".to_owned(), "c".to_owned()));
    }

    #[test]
    fn what_is_wrong_with_an_entry_is_said_with_its_place_and_without_the_secret() {
        let entry =
            |rest: &str| refusal(&format!("[[handlers.storage]]\nresource_id = '/a'\n{rest}"));
        for (rest, expected) in [
            ("", "it needs one of connection_string"),
            (
                "connection_string = 'x=1'\nconnection_string_file = 'y'",
                "it needs one of connection_string",
            ),
            (
                "connection_string_variable = 'NOT_SET'",
                "no variable NOT_SET",
            ),
            (
                "connection_string_file = '/nowhere/at/all'",
                "reading /nowhere/at/all",
            ),
            (
                "connection_string = 'AccountName=a'",
                "it has no AccountKey",
            ),
            (
                "connection_string = 'AccountName=a;AccountKey=a2V5;BlobEndpoint=ftp://x'",
                "not an absolute http or https URL",
            ),
        ] {
            let said = entry(rest);
            assert!(said.contains(expected), "{said}");
            assert!(
                said.contains("[[handlers.storage]] with resource_id = \"/a\""),
                "{said}"
            );
            assert!(!said.contains("a2V5"), "{said}");
        }
    }

    #[test]
    fn an_entry_is_there_once_and_has_no_unknown_settings() {
        let one = "[[handlers.storage]]\nresource_id = '/a'\nconnection_string = 'UseDevelopmentStorage=true'\n";
        let twice = format!("{one}{}", one.replace("/a", "/A"));
        assert!(refusal(&twice).contains("is there twice"));
        assert!(refusal(&format!("{one}conection = 1\n")).contains("conection"));
        assert!(
            refusal("[[handlers.storage]]\nresource_id = 'a'\nconnection_string = 'x'\n")
                .contains("\"a\"")
        );
    }

    #[test]
    fn a_function_has_a_url() {
        let text = "[[handlers.function]]\nresource_id = '/f'\nurl = 'http://127.0.0.1:7071/runtime/webhooks/eventgrid?functionName=f'\n";
        let connections = read_with(text, &|_| None).unwrap();
        assert!(
            connections.functions[&account("/f")]
                .reveal()
                .contains("functionName=f")
        );
        let refused = refusal("[[handlers.function]]\nresource_id = '/f'\nurl = 'f'\n");
        assert!(
            refused.contains("not an absolute http or https URL"),
            "{refused}"
        );
    }

    #[test]
    fn a_peer_that_speaks_amqp_is_read_with_the_address_of_its_nodes() {
        let text = "[[handlers.amqp]]\nresource_id = '/x/namespaces/ns'\naddress = '/queue/{name}'\nconnection_string = 'amqp://me:s3cret@localhost'\n";
        let connections = read_with(text, &|_| None).unwrap();
        let (peer, address) = connections
            .amqp(&account("/x/namespaces/ns/queues/q"))
            .unwrap();
        assert_eq!(address, "/queue/q");
        assert_eq!(peer.url(), "http://localhost:5672/");
        for rest in [
            "connection_string = 's3cret'",
            "connection_string = 'amqp://me:s3cret@'",
            "connection_string = 'amqp://me:s3cret@localhost'\naddress = ''",
        ] {
            let said = refusal(&format!("[[handlers.amqp]]\nresource_id = '/a'\n{rest}\n"));
            assert!(
                said.contains("[[handlers.amqp]] with resource_id = \"/a\"")
                    && !said.contains("s3cret"),
                "{said}"
            );
        }
    }
}
