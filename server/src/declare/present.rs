//! What is there, as Resource Manager shows it.
//!
//! Promise: it is read with lists, so that the cost does not grow with the file; secrets are asked for one by one, and
//! only where the file tells one to compare with: each such look stands in the audit log.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use serde_json::Value;

use super::AT_ONCE;
use super::document::{Document, Entry, identity_of};
use super::names::{ATTRIBUTES, ENDPOINT_URL, Kind};
use crate::credentials::SUBSCRIPTION;
use crate::output::{Failure, text_of};
use crate::session::Session;

/// Resources by what they are known by.
#[derive(Debug, Default)]
pub(super) struct Present {
    resources: BTreeMap<String, Found>,
}

/// A resource that is there.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) shown: Value,
}

/// The ids of all resource groups.
pub(super) async fn groups(session: &Session<'_>) -> Result<Vec<String>, Failure> {
    let path = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups");
    let all = session.list(&path).await?;
    Ok(all
        .iter()
        .map(|group| text_of(group, "id").to_owned())
        .collect())
}

impl Present {
    /// What is there of the resource groups that a document speaks of, with the secrets to compare with.
    ///
    /// # Errors
    /// The server is not there, or does not let us read.
    pub(super) async fn of(session: &Session<'_>, document: &Document) -> Result<Self, Failure> {
        let entries = &document.entries;
        let own = entries
            .iter()
            .filter(|entry| entry.kind == Kind::Group)
            .map(|entry| entry.id.clone());
        // A system topic may have its source elsewhere, and its event subscriptions are there.
        let elsewhere = entries
            .iter()
            .filter_map(|entry| group_of(entry.text("source")?));
        let groups: BTreeSet<String> = own.chain(elsewhere).collect();
        let listed: Vec<String> = groups.into_iter().collect();
        let mut present = Self::of_groups(session, &listed).await?;
        let more = present.groups_of_unsaid_sources(entries, &listed);
        if !more.is_empty() {
            let more = Self::of_groups(session, &more).await?;
            present.resources.extend(more.resources);
        }
        present.add_secrets(session, entries).await?;
        Ok(present)
    }

    /// The resource groups, beside those that were listed, with the sources of system topics whose source the file does
    /// not say.
    fn groups_of_unsaid_sources(&self, entries: &[Entry], listed: &[String]) -> Vec<String> {
        let sources = Sources::of(entries, self);
        let of_systems = entries
            .iter()
            .filter(|entry| entry.kind == Kind::SystemTopic)
            .filter_map(|entry| group_of(sources.behind(&entry.id)));
        let is_new = |group: &String| !listed.iter().any(|known| known.eq_ignore_ascii_case(group));
        let more: BTreeSet<String> = of_systems.filter(is_new).collect();
        more.into_iter().collect()
    }

    /// What is there in resource groups, without secrets.
    ///
    /// # Errors
    /// The server is not there, or does not let us read.
    pub(super) async fn of_groups(
        session: &Session<'_>,
        groups: &[String],
    ) -> Result<Self, Failure> {
        let mut present = Self::default();
        for group in groups {
            let Some(shown) = session.find(group).await? else {
                continue;
            };
            present.add(Kind::Group, shown);
            for (kind, path) in [
                (Kind::EmailService, "Microsoft.Communication/emailServices"),
                (
                    Kind::Communication,
                    "Microsoft.Communication/communicationServices",
                ),
                (Kind::Topic, "Microsoft.EventGrid/topics"),
                (Kind::Domain, "Microsoft.EventGrid/domains"),
                (Kind::SystemTopic, "Microsoft.EventGrid/systemTopics"),
                (Kind::Subscription, "Microsoft.EventGrid/eventSubscriptions"),
            ] {
                for shown in session.list(&format!("{group}/providers/{path}")).await? {
                    present.add(kind, shown);
                }
            }
        }
        // What is not listed by group, parents first.
        for (above, word, kind) in [
            (Kind::Domain, "topics", Kind::DomainTopic),
            (Kind::EmailService, "domains", Kind::EmailDomain),
            (Kind::EmailDomain, "senderUsernames", Kind::Sender),
            (Kind::EmailDomain, "suppressionLists", Kind::SuppressionList),
            (
                Kind::SuppressionList,
                "suppressionListAddresses",
                Kind::SuppressedAddress,
            ),
            (Kind::Communication, "smtpUsernames", Kind::SmtpUsername),
        ] {
            present.add_below(session, above, word, kind).await?;
        }
        Ok(present)
    }

    /// Adds what lives in the resources of a kind that are known.
    async fn add_below(
        &mut self,
        session: &Session<'_>,
        above: Kind,
        word: &str,
        kind: Kind,
    ) -> Result<(), Failure> {
        let parents = self.all(above).map(|one| text_of(one, "id").to_owned());
        let lists: Vec<Vec<Value>> = stream::iter(parents.collect::<Vec<_>>())
            .map(|parent| async move { session.list(&format!("{parent}/{word}")).await })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        for shown in lists.into_iter().flatten() {
            self.add(kind, shown);
        }
        Ok(())
    }

    fn add(&mut self, kind: Kind, shown: Value) {
        let identity = match kind {
            Kind::Subscription => identity_of(
                text_of(&shown["properties"], "topic"),
                text_of(&shown, "name"),
            ),
            _ => text_of(&shown, "id").to_ascii_lowercase(),
        };
        self.resources.insert(identity, Found { kind, shown });
    }

    /// Puts what an entry tells of secrets beside what is there.
    async fn add_secrets(
        &mut self,
        session: &Session<'_>,
        entries: &[Entry],
    ) -> Result<(), Failure> {
        let sources = Sources::of(entries, self);
        let asked = entries.iter().flat_map(|entry| {
            let identity = sources.identity(entry);
            let told = self
                .resources
                .get(&identity)
                .map(|there| told(entry, &there.shown));
            let each = told.into_iter().flatten();
            each.map(move |secret| (identity.clone(), entry.id.clone(), secret))
        });
        let answers: Vec<(String, &'static str, Value)> = stream::iter(asked.collect::<Vec<_>>())
            .map(|(identity, id, secret)| async move {
                let path = format!("{id}/{}", secret.action);
                let mut answer = session.manage(Method::POST, &path, None).await?;
                Ok::<_, Failure>((identity, secret.property, answer[secret.field].take()))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        for (identity, property, value) in answers {
            if let Some(found) = self.resources.get_mut(&identity) {
                found.shown["properties"]["destination"]["properties"][property] = value;
            }
        }
        Ok(())
    }

    /// The resource of that identity.
    pub(super) fn get(&self, identity: &str) -> Option<&Value> {
        Some(&self.resources.get(identity)?.shown)
    }

    /// The resources of a kind, by their ids.
    pub(super) fn all(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        let all = self
            .resources
            .values()
            .filter(move |found| found.kind == kind);
        all.map(|found| &found.shown)
    }
}

/// What a list does not show of an event subscription.
#[derive(Clone, Copy)]
struct Hidden {
    /// What asks for it.
    action: &'static str,
    /// Where the answer has it.
    field: &'static str,
    /// Its place in the destination's properties.
    property: &'static str,
}

const URL: Hidden = Hidden {
    action: "getFullUrl",
    field: "endpointUrl",
    property: "endpointUrl",
};
const ATTRIBUTE_VALUES: Hidden = Hidden {
    action: "getDeliveryAttributes",
    field: "value",
    property: "deliveryAttributeMappings",
};

/// What an entry tells that has to be asked for to be compared.
fn told(entry: &Entry, there: &Value) -> impl Iterator<Item = Hidden> + use<> {
    let base = &there["properties"]["destination"]["properties"]["endpointBaseUrl"];
    // Where the rest of the URL differs, it is another one, whatever the secret.
    let tells_query = entry
        .text(ENDPOINT_URL)
        .and_then(|url| url.split_once('?'))
        .is_some_and(|(url, _)| base == url);
    let tells_value = entry.said.get(ATTRIBUTES).is_some_and(has_secret_value);
    let url = tells_query.then_some(URL);
    url.into_iter()
        .chain(tells_value.then_some(ATTRIBUTE_VALUES))
}

/// Puts the secrets that were asked for in one view of a resource into a later one.
pub(super) fn keep_secrets(from: &Value, into: &mut Value) {
    let before = &from["properties"]["destination"]["properties"];
    let now = &mut into["properties"]["destination"]["properties"];
    if !before["endpointUrl"].is_null() && before["endpointBaseUrl"] == now["endpointBaseUrl"] {
        now["endpointUrl"] = before["endpointUrl"].clone();
    }
    let attributes = &before["deliveryAttributeMappings"];
    if has_secret_value(attributes) {
        now["deliveryAttributeMappings"] = attributes.clone();
    }
}

fn has_secret_value(attributes: &Value) -> bool {
    let mut all = attributes.as_array().into_iter().flatten();
    all.any(|one| one["properties"]["isSecret"] == true && !one["properties"]["value"].is_null())
}

/// The id of the resource group that a resource lives in.
fn group_of(id: &str) -> Option<String> {
    let (above, rest) = id.split_once("/providers/")?;
    (!rest.is_empty() && above.to_ascii_lowercase().contains("/resourcegroups/"))
        .then(|| above.to_owned())
}

/// The sources of system topics, in the file and on the server.
pub(super) struct Sources(BTreeMap<String, String>);

impl Sources {
    pub(super) fn of(entries: &[Entry], present: &Present) -> Self {
        let there = present.all(Kind::SystemTopic);
        let there = there.map(|one| {
            (
                text_of(one, "id").to_ascii_lowercase(),
                text_of(&one["properties"], "source").to_owned(),
            )
        });
        let said = entries.iter().filter_map(|entry| {
            Some((
                entry.id.to_ascii_lowercase(),
                entry.text("source")?.to_owned(),
            ))
        });
        Self(there.chain(said).collect())
    }

    /// The resource whose events arrive under this id.
    pub(super) fn behind<'a>(&'a self, id: &'a str) -> &'a str {
        self.0
            .get(&id.to_ascii_lowercase())
            .map_or(id, String::as_str)
    }

    /// What the server knows an entry by.
    pub(super) fn identity(&self, entry: &Entry) -> String {
        match entry.kind {
            Kind::Subscription => identity_of(self.behind(&entry.parent), &entry.name),
            _ => entry.id.to_ascii_lowercase(),
        }
    }
}
