//! Where the resources are that subscriptions name: connections by resource id.
//!
//! A subscription says `…/storageAccounts/acct`; the cloud knows where that is and lets itself in. Here the
//! configuration says both.
//!
//! Promise: a resource is found whatever the case of its id, and one that was not configured is an error that names
//! the setting it needs.

use std::collections::HashMap;
use std::sync::Arc;

use gridpost_model::subscription::{AzureFunction, WebHook};
use gridpost_model::{Destination, ResourceId, Secret};

use crate::amqp::Peer;
use crate::storage::StorageAccount;

/// What the configuration says of resources.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    /// Storage accounts, by their resource ids.
    pub storage: HashMap<ResourceId, Arc<StorageAccount>>,
    /// The webhook URLs of functions, with their keys, by the functions' resource ids.
    pub functions: HashMap<ResourceId, Secret>,
    /// Peers that speak AMQP, by the resource ids of queues, topics and hubs, or of namespaces that have them.
    pub amqp: HashMap<ResourceId, Arc<Peer>>,
}

/// A resource that the configuration does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this server does not know where '{resource}' is: its configuration has no [[{setting}]] with this resource_id (see docs/handlers.md)"
)]
pub struct NotConfigured {
    /// The resource.
    pub resource: String,
    /// The setting that would name it.
    pub setting: &'static str,
}

impl Connections {
    /// The storage account with that id.
    ///
    /// # Errors
    /// It is not configured.
    pub fn storage(&self, id: &ResourceId) -> Result<&Arc<StorageAccount>, NotConfigured> {
        let found = self.storage.get(id);
        found.ok_or_else(|| not_configured(id, "handlers.storage"))
    }

    /// The peer that has a queue, topic or hub, and the address of its node there.
    ///
    /// # Errors
    /// Neither it nor its namespace is configured.
    pub fn amqp(&self, id: &ResourceId) -> Result<(Arc<Peer>, String), NotConfigured> {
        let found = self.amqp.get(id).or_else(|| {
            let (namespace, _) = id.as_str().rsplit_once('/')?.0.rsplit_once('/')?;
            self.amqp.get(&namespace.parse::<ResourceId>().ok()?)
        });
        let peer = found.ok_or_else(|| not_configured(id, "handlers.amqp"))?;
        Ok((Arc::clone(peer), peer.address(id)))
    }

    /// The webhook URL of a function.
    ///
    /// # Errors
    /// It is not configured.
    pub fn function(&self, function: &AzureFunction) -> Result<&Secret, NotConfigured> {
        let id = &function.resource_id;
        let found = self.functions.get(id);
        found.ok_or_else(|| not_configured(id, "handlers.function"))
    }
}

impl Connections {
    /// The webhook that a destination is sent to by, when it is one: a function is.
    ///
    /// # Errors
    /// The function is not configured.
    pub(crate) fn webhook(
        &self,
        destination: &Destination,
    ) -> Result<Option<WebHook>, NotConfigured> {
        match destination {
            Destination::WebHook(hook) => Ok(Some(hook.clone())),
            Destination::AzureFunction(function) => Ok(Some(WebHook {
                url: self.function(function)?.clone(),
                batch: function.batch,
                attributes: function.attributes.clone(),
                ..WebHook::default()
            })),
            _ => Ok(None),
        }
    }
}

fn not_configured(id: &ResourceId, setting: &'static str) -> NotConfigured {
    NotConfigured {
        resource: id.as_str().to_owned(),
        setting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_found_whatever_the_case_and_one_that_is_not_names_its_setting() {
        let id = |text: &str| text.parse::<ResourceId>().unwrap();
        let account = StorageAccount::from_connection_string("UseDevelopmentStorage=true").unwrap();
        let connections = Connections {
            storage: [(id("/x/storageAccounts/Acct"), Arc::new(account))].into(),
            ..Connections::default()
        };
        assert!(connections.storage(&id("/X/storageaccounts/acct")).is_ok());
        let error = connections
            .storage(&id("/x/storageAccounts/other"))
            .unwrap_err();
        assert!(
            error.to_string().contains("[[handlers.storage]]"),
            "{error}"
        );
    }

    #[test]
    fn a_namespace_speaks_for_what_it_has_unless_that_has_an_entry_of_its_own() {
        let id = |text: &str| text.parse::<ResourceId>().unwrap();
        let peer = |address: &str| Arc::new(Peer::read("amqp://h", Some(address)).unwrap());
        let connections = Connections {
            amqp: [
                (id("/x/namespaces/ns"), peer("/queue/{name}")),
                (id("/x/namespaces/ns/queues/own"), peer("mine")),
            ]
            .into(),
            ..Connections::default()
        };
        let address = |text: &str| connections.amqp(&id(text)).unwrap().1;
        assert_eq!(address("/X/namespaces/NS/queues/a"), "/queue/a");
        assert_eq!(address("/x/namespaces/ns/queues/Own"), "mine");
        let error = connections
            .amqp(&id("/x/namespaces/other/queues/a"))
            .unwrap_err();
        assert!(error.to_string().contains("[[handlers.amqp]]"), "{error}");
    }
}
