//! `[handlers]`: where the resources are that event subscriptions name.
//!
//! Promise: a secret is written in one of three places, and never shown.
//! Not here: reading those places (`crate::handlers`).

use std::path::{Path, PathBuf};

use gridpost_model::Secret;
use serde::Deserialize;

/// `[handlers]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handlers {
    /// `[[handlers.storage]]`
    pub storage: Vec<StorageConnection>,
    /// `[[handlers.function]]`
    pub function: Vec<FunctionConnection>,
    /// `[[handlers.amqp]]`
    pub amqp: Vec<AmqpConnection>,
}

impl Handlers {
    /// The variables of the environment that hold secrets.
    pub(super) fn variables(&self) -> Vec<&str> {
        let storage = self
            .storage
            .iter()
            .map(StorageConnection::connection_string);
        let functions = self.function.iter().map(FunctionConnection::url);
        let brokers = self.amqp.iter().map(AmqpConnection::connection_string);
        let all = storage.chain(functions).chain(brokers);
        all.filter_map(|source| source.variable).collect()
    }
}

/// Where a storage account is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageConnection {
    /// The account's resource id.
    pub resource_id: String,
    connection_string: Option<Secret>,
    connection_string_file: Option<PathBuf>,
    connection_string_variable: Option<String>,
}

impl StorageConnection {
    /// Where its connection string is written.
    pub fn connection_string(&self) -> SecretSource<'_> {
        SecretSource {
            text: self.connection_string.as_ref().map(Secret::reveal),
            file: self.connection_string_file.as_deref(),
            variable: self.connection_string_variable.as_deref(),
        }
    }
}

/// Where a function is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionConnection {
    /// The function's resource id.
    pub resource_id: String,
    url: Option<Secret>,
    url_file: Option<PathBuf>,
    url_variable: Option<String>,
}

impl FunctionConnection {
    /// Where its URL is written.
    pub fn url(&self) -> SecretSource<'_> {
        SecretSource {
            text: self.url.as_ref().map(Secret::reveal),
            file: self.url_file.as_deref(),
            variable: self.url_variable.as_deref(),
        }
    }
}

/// Where a Service Bus queue, a Service Bus topic or an event hub is, or a namespace of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmqpConnection {
    /// The resource id of the queue, the topic, the hub or the namespace.
    pub resource_id: String,
    /// What the peer calls it, with `{name}` for the last segment of the resource id.
    pub address: Option<String>,
    connection_string: Option<Secret>,
    connection_string_file: Option<PathBuf>,
    connection_string_variable: Option<String>,
}

impl AmqpConnection {
    /// Where its connection string is written.
    pub fn connection_string(&self) -> SecretSource<'_> {
        SecretSource {
            text: self.connection_string.as_ref().map(Secret::reveal),
            file: self.connection_string_file.as_deref(),
            variable: self.connection_string_variable.as_deref(),
        }
    }
}

/// Where a secret is written: exactly one of these is meant to be given.
#[derive(Clone, Copy)]
pub struct SecretSource<'a> {
    /// In the configuration itself.
    pub text: Option<&'a str>,
    /// In a file of its own.
    pub file: Option<&'a Path>,
    /// In a variable of the environment.
    pub variable: Option<&'a str>,
}
