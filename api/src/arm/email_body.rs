//! What the bodies around email say: read, checked, kept, and shown again.
//!
//! Promise: a field that is missing or wrong is named. What can never change is not changed by a second PUT.
//! Source: reference management 6.

use std::collections::BTreeMap;

use gridpost_comms::mail::{MailKind, MailResource, MailSpec, VERIFICATION_STATES};
use gridpost_model::{Chance, ResourceId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::envelope::{self, Tags};
use crate::problem::Refusal;

/// A body of any of the types.
#[derive(Deserialize)]
pub(super) struct Body {
    #[serde(default, deserialize_with = "envelope::read_location")]
    location: Option<String>,
    #[serde(default, deserialize_with = "envelope::read_tags")]
    tags: Option<Tags>,
    #[serde(default)]
    properties: Map<String, Value>,
}

type Properties = BTreeMap<String, Value>;

/// What is verified of a domain.
const RECORDS: [&str; 5] = ["Domain", "SPF", "DKIM", "DKIM2", "DMARC"];

/// How many characters a text has at most. All are kept in memory, a hundred thousand resources with up to four each.
const MOST_CHARS: usize = 1_024;

/// Whether a type has a place and tags.
pub(super) fn is_tracked(kind: MailKind) -> bool {
    matches!(kind, MailKind::Service | MailKind::Domain)
}

/// What a PUT asks for.
pub(super) fn spec(
    chance: &dyn Chance,
    kind: MailKind,
    id: &ResourceId,
    body: Body,
    known: Option<&MailResource>,
) -> Result<MailSpec, Refusal> {
    let given = Given(&body.properties);
    let properties = match kind {
        MailKind::Service => service(id, &given, known)?,
        MailKind::Domain => domain(chance, id, &given, known)?,
        MailKind::Sender => {
            let username = given.required("username")?;
            require_same(&username, id.name(), "properties.username")?;
            let mut properties = texts([("username", username)]);
            properties.extend(given.optional(&["displayName"])?);
            properties
        }
        MailKind::SuppressionList => texts([("listName", given.required("listName")?)]),
        MailKind::SuppressedAddress => {
            require_guid(id.name(), "addressId")?;
            let email = given.required("email")?;
            if !email.contains('@') {
                return Err(invalid("properties.email", "is no address"));
            }
            let mut properties = texts([("email", email)]);
            properties.extend(given.optional(&["firstName", "lastName", "notes"])?);
            properties
        }
        MailKind::SmtpUsername => texts([
            ("username", given.required("username")?),
            ("entraApplicationId", given.required("entraApplicationId")?),
            ("tenantId", given.required("tenantId")?),
        ]),
    };
    let location = match is_tracked(kind) {
        true => body.location.unwrap_or_else(|| "global".to_owned()),
        false => String::new(),
    };
    Ok(MailSpec {
        location,
        tags: body.tags.unwrap_or_default(),
        properties,
    })
}

/// What a PATCH makes of a resource.
pub(super) fn patched(
    kind: MailKind,
    known: &MailResource,
    body: Body,
) -> Result<MailSpec, Refusal> {
    let mut properties = known.properties.clone();
    if kind == MailKind::Domain {
        properties.extend(tracking(&Given(&body.properties))?);
    }
    Ok(MailSpec {
        location: known.location.clone(),
        tags: body.tags.unwrap_or_else(|| known.tags.clone()),
        properties,
    })
}

fn service(
    id: &ResourceId,
    given: &Given<'_>,
    known: Option<&MailResource>,
) -> Result<Properties, Refusal> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if !(1..=63).contains(&id.name().len()) || !id.name().bytes().all(fits) {
        return Err(invalid("name", "has 1 to 63 letters, digits and '-'"));
    }
    let place = given.required("dataLocation")?;
    require_unchanged(known, "dataLocation", &place)?;
    Ok(texts([("dataLocation", place)]))
}

const MANAGED: [&str; 3] = [
    "AzureManaged",
    "CustomerManaged",
    "CustomerManagedInExchangeOnline",
];

/// The name of the one domain that is not the customer's.
const AZURE_DOMAIN: &str = "AzureManagedDomain";

fn domain(
    chance: &dyn Chance,
    id: &ResourceId,
    given: &Given<'_>,
    known: Option<&MailResource>,
) -> Result<Properties, Refusal> {
    let management = given.one_of("domainManagement", &MANAGED)?;
    let management =
        management.ok_or_else(|| invalid("properties.domainManagement", "is required"))?;
    require_unchanged(known, "domainManagement", management)?;
    let is_azure = management == "AzureManaged";
    if is_azure != id.name().eq_ignore_ascii_case(AZURE_DOMAIN) {
        let text = "is 'AzureManagedDomain' for the domain that Azure manages, and for no other";
        return Err(invalid("domainName", text));
    }
    if !is_azure && !is_domain(id.name()) {
        return Err(invalid("domainName", "is no domain"));
    }
    let mut properties = match known {
        Some(known) => known.properties.clone(),
        None => {
            let sender = match is_azure {
                true => format!("{}.azurecomm.net", chance.uuid()),
                false => id.name().to_ascii_lowercase(),
            };
            let state = if is_azure { "Verified" } else { "NotStarted" };
            let states: Map<String, Value> = RECORDS
                .iter()
                .map(|record| ((*record).to_owned(), state.into()))
                .collect();
            let mut made = texts([
                ("domainManagement", management.to_owned()),
                ("fromSenderDomain", sender.clone()),
                ("mailFromSenderDomain", sender),
                ("userEngagementTracking", "Disabled".to_owned()),
                ("verificationCode", chance.uuid()),
            ]);
            made.insert(VERIFICATION_STATES.to_owned(), states.into());
            made
        }
    };
    properties.extend(tracking(given)?);
    Ok(properties)
}

fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.contains('.') && name.split('.').all(label)
}

fn tracking(given: &Given<'_>) -> Result<Properties, Refusal> {
    let name = "userEngagementTracking";
    let value = given.one_of(name, &["Disabled", "Enabled"])?;
    Ok(value
        .into_iter()
        .map(|value| (name.to_owned(), value.into()))
        .collect())
}

/// A domain after one of its records was asked to be verified, or not any more.
pub(super) fn verified(
    known: &MailResource,
    body: &Value,
    wanted: bool,
) -> Result<MailSpec, Refusal> {
    let empty = Map::new();
    let given = Given(body.as_object().unwrap_or(&empty));
    let record = given
        .one_of("verificationType", &RECORDS)?
        .ok_or_else(|| invalid("verificationType", "is required"))?;
    if known.properties.get("domainManagement") == Some(&json!("AzureManaged")) {
        return Err(invalid(
            "domainName",
            "is managed by Azure: it is verified already",
        ));
    }
    let mut properties = known.properties.clone();
    let states = properties.get_mut(VERIFICATION_STATES);
    if let Some(states) = states.and_then(Value::as_object_mut) {
        let state = if wanted { "Verified" } else { "NotStarted" };
        states.insert(record.to_owned(), state.into());
    }
    Ok(MailSpec {
        location: known.location.clone(),
        tags: known.tags.clone(),
        properties,
    })
}

/// The properties as they are answered.
pub(super) fn shown(kind: MailKind, one: &MailResource, data_location: Option<Value>) -> Value {
    let mut properties: Map<String, Value> = one.properties.clone().into_iter().collect();
    let code = properties.remove("verificationCode");
    if let Some(place) = data_location {
        properties.insert("dataLocation".to_owned(), place);
    }
    match kind {
        MailKind::Service | MailKind::Sender => {
            properties.insert("provisioningState".to_owned(), "Succeeded".into());
        }
        MailKind::Domain => {
            properties.insert("provisioningState".to_owned(), "Succeeded".into());
            if let Some(Value::Object(states)) = properties.get_mut(VERIFICATION_STATES) {
                for state in states.values_mut() {
                    *state = json!({"status": state.take(), "errorCode": ""});
                }
            }
            if properties["domainManagement"] != "AzureManaged" {
                let code = code.unwrap_or_default();
                let code = code.as_str().unwrap_or_default();
                properties.insert(
                    "verificationRecords".to_owned(),
                    records(one.id.name(), code),
                );
            }
        }
        MailKind::SuppressionList => {
            properties.insert("createdTimeStamp".to_owned(), json!(one.created));
            properties.insert("lastUpdatedTimeStamp".to_owned(), json!(one.updated));
        }
        MailKind::SuppressedAddress => {
            properties.insert("lastModified".to_owned(), json!(one.updated));
        }
        MailKind::SmtpUsername => (),
    }
    properties.into()
}

/// What the owner of a domain would enter into its zone.
fn records(domain: &str, code: &str) -> Value {
    let record = |kind: &str, name: &str, value: String| json!({"type": kind, "name": name, "value": value, "ttl": 3600});
    let selector = |number: u8| {
        let name = format!("selector{number}-azurecomm-prod-net._domainkey");
        let value = format!("{name}.azurecomm.net");
        record("CNAME", &name, value)
    };
    json!({
        "Domain": record("TXT", domain, format!("ms-domain-verification={code}")),
        "SPF": record("TXT", domain, "v=spf1 include:spf.protection.outlook.com -all".to_owned()),
        "DKIM": selector(1),
        "DKIM2": selector(2),
    })
}

/// The properties of a body, by name.
struct Given<'a>(&'a Map<String, Value>);

impl Given<'_> {
    fn text(&self, name: &str) -> Result<Option<String>, Refusal> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.chars().count() <= MOST_CHARS => {
                Ok(Some(text.clone()))
            }
            Some(Value::String(_)) => Err(invalid(
                &format!("properties.{name}"),
                &format!("has at most {MOST_CHARS} characters"),
            )),
            Some(_) => Err(invalid(&format!("properties.{name}"), "is no text")),
        }
    }

    fn required(&self, name: &str) -> Result<String, Refusal> {
        let text = self.text(name)?.filter(|text| !text.trim().is_empty());
        text.ok_or_else(|| invalid(&format!("properties.{name}"), "is required"))
    }

    fn optional(&self, names: &[&str]) -> Result<Properties, Refusal> {
        let mut found = Properties::new();
        for name in names {
            if let Some(text) = self.text(name)? {
                found.insert((*name).to_owned(), text.into());
            }
        }
        Ok(found)
    }

    /// A value of a list, in canonical spelling.
    fn one_of<'a>(&self, name: &str, known: &[&'a str]) -> Result<Option<&'a str>, Refusal> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let found = known.iter().find(|one| one.eq_ignore_ascii_case(&text));
        let found = found.copied();
        found.map(Some).ok_or_else(|| {
            invalid(
                &format!("properties.{name}"),
                &format!("is one of {}", known.join(", ")),
            )
        })
    }
}

fn texts<const N: usize>(all: [(&str, String); N]) -> Properties {
    all.into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect()
}

fn require_unchanged(known: Option<&MailResource>, name: &str, given: &str) -> Result<(), Refusal> {
    let kept = known.and_then(|known| known.properties.get(name)?.as_str());
    match kept {
        Some(kept) if !kept.eq_ignore_ascii_case(given) => {
            Err(invalid(&format!("properties.{name}"), "cannot be changed"))
        }
        _ => Ok(()),
    }
}

fn require_same(given: &str, name: &str, field: &str) -> Result<(), Refusal> {
    if given.eq_ignore_ascii_case(name) {
        return Ok(());
    }
    Err(invalid(field, "has to be the name in the path"))
}

fn require_guid(text: &str, field: &str) -> Result<(), Refusal> {
    let shape: Vec<usize> = text.split('-').map(str::len).collect();
    let is_hex = text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if shape == [8, 4, 4, 4, 12] && is_hex {
        return Ok(());
    }
    Err(invalid(field, "is no GUID"))
}

fn invalid(field: &str, what: &str) -> Refusal {
    Refusal::invalid_field(field, format!("The property '{field}' {what}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn management_6_domains_and_guids_are_told_from_other_text() {
        for good in ["example.com", "a-b.example.co.uk"] {
            assert!(is_domain(good), "{good}");
        }
        for bad in ["", "example", ".com", "-a.com", "a b.com", &"x".repeat(254)] {
            assert!(!is_domain(bad), "{bad}");
        }
        assert!(require_guid("6F9619FF-8B86-D011-B42D-00CF4FC964FF", "id").is_ok());
        assert!(require_guid("6F9619FF8B86D011B42D00CF4FC964FF", "id").is_err());
    }
}
