//! Short words for ids in tables: principals by what people call them, scopes by what tells them apart.
//!
//! Promise: a short word is never mistaken for somebody else: a name that two have, or that is ours, is not used.
//! Not here: JSON, which has the ids as they are.

use std::collections::BTreeMap;

use gridpost_api::auth::machine;
use http::Method;
use serde_json::Value;

use super::render;
use crate::client::Client;
use crate::credentials::SUBSCRIPTION;

/// Names of those who have no principal, in the audit log.
const OURS: [&str; 2] = [machine::NAME, "local caller"];

/// What principals are called, by client id and by object id.
#[derive(Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    /// The names of all principals; none when we may not list them. Asks only when one of `ids` could have a name.
    pub(super) async fn of<'a>(client: &Client, ids: impl IntoIterator<Item = &'a Value>) -> Self {
        let is_unknown = |id: &Value| id.as_str().is_some_and(|id| !OURS.contains(&id));
        if !ids.into_iter().any(is_unknown) {
            return Self::default();
        }
        let listed = client.own(Method::GET, "principals", None).await;
        Self::read(&listed.unwrap_or_default()["value"])
    }

    fn read(listed: &Value) -> Self {
        let mut bearers: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for one in listed.as_array().into_iter().flatten() {
            let name = render::plain(&one["displayName"]);
            bearers.entry(name).or_default().push(one);
        }
        let is_usable = |name: &str| !name.trim().is_empty() && !OURS.contains(&name);
        let mut names = BTreeMap::new();
        for (name, bearers) in bearers {
            if let ([one], true) = (&bearers[..], is_usable(&name)) {
                for field in ["clientId", "objectId"] {
                    let id = render::plain(&one[field]).to_ascii_lowercase();
                    names.insert(id, name.clone());
                }
            }
        }
        Self(names)
    }

    /// A principal's name, or its id when it has none of its own.
    pub(super) fn of_id(&self, id: &Value) -> String {
        let id = render::plain(id);
        self.0.get(&id.to_ascii_lowercase()).cloned().unwrap_or(id)
    }
}

/// A name or an id, as it stands in a path: one segment. The server reads `%2F` as the slash it stands for, so that
/// escaping one would not help.
pub(super) fn segment(text: &str) -> Result<String, String> {
    match text {
        "" | "." | ".." => Err("it is no name".to_owned()),
        _ if text.contains(['/', '\\']) => Err("a name has no slash in it".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// A scope without the words that all of them have: `gridpost/topics/orders`.
pub(super) fn scope(id: &Value) -> String {
    let whole = render::plain(id);
    let subscription = format!("/subscriptions/{SUBSCRIPTION}");
    let rest = match whole.get(..subscription.len()) {
        Some(begin) if begin.eq_ignore_ascii_case(&subscription) => &whole[subscription.len()..],
        _ => return whole,
    };
    if rest.trim_matches('/').is_empty() {
        return "the subscription".to_owned();
    }
    if !rest.starts_with('/') {
        return whole;
    }
    let mut segments = rest.split('/').skip(1);
    let mut told = Vec::new();
    while let Some(word) = segments.next() {
        let name = segments.next();
        if word.eq_ignore_ascii_case("providers") {
            continue;
        }
        if !word.eq_ignore_ascii_case("resourceGroups") {
            told.push(word.to_owned());
        }
        told.extend(name.map(short));
    }
    told.join("/")
}

/// Of a name that is a GUID, which nobody has chosen, its beginning.
fn short(name: &str) -> String {
    let parts: Vec<usize> = name.split('-').map(str::len).collect();
    let is_guid = parts == [8, 4, 4, 4, 12]
        && name
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    match is_guid {
        true => format!("{}…", &name[..8]),
        false => name.to_owned(),
    }
}

/// An action without the service that it belongs to, which its type tells: `topics/write`.
pub(super) fn action(action: &Value) -> String {
    let whole = render::plain(action);
    match whole.split_once('/') {
        Some((service, rest)) if service.starts_with("Microsoft.") => rest.to_owned(),
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_scope_is_told_by_its_names() {
        let here = format!("/subscriptions/{SUBSCRIPTION}");
        let topic = "/resourceGroups/gridpost/providers/Microsoft.EventGrid/topics/orders";
        let table = [
            ("/".to_owned(), "/"),
            (here.clone(), "the subscription"),
            (here.to_uppercase(), "the subscription"),
            (format!("{here}/resourceGroups/gridpost"), "gridpost"),
            (format!("{here}{topic}"), "gridpost/topics/orders"),
            (
                format!("{here}{topic}/providers/Microsoft.EventGrid/eventSubscriptions/s"),
                "gridpost/topics/orders/eventSubscriptions/s",
            ),
            (
                format!(
                    "{here}/providers/Microsoft.Authorization/roleAssignments/bc2298b5-8799-432c-a5d1-66a404145b18"
                ),
                "roleAssignments/bc2298b5…",
            ),
            (
                format!("{here}0/resourceGroups/g"),
                &format!("{here}0/resourceGroups/g"),
            ),
            ("/subscriptions/other".to_owned(), "/subscriptions/other"),
            ("/_gridpost/v1/clock".to_owned(), "/_gridpost/v1/clock"),
        ];
        for (id, told) in table {
            assert_eq!(scope(&json!(id)), told);
        }
        assert_eq!(
            action(&json!("Microsoft.EventGrid/topics/write")),
            "topics/write"
        );
        assert_eq!(action(&json!("Gridpost/audit/read")), "Gridpost/audit/read");
    }

    #[test]
    fn a_name_that_could_be_somebody_else_is_not_used() {
        let one = |name: &str, id: &str| json!({"displayName": name, "clientId": id, "objectId": format!("{id}-o")});
        let names = Names::read(&json!([
            one("ci", "C1"),
            one("twice", "c2"),
            one("twice", "c3"),
            one("this machine", "c4"),
            one("", "c5"),
        ]));
        let told = ["c1", "C1-O", "c2", "c3", "c4", "c5", "c6"].map(|id| names.of_id(&json!(id)));
        assert_eq!(told, ["ci", "ci", "c2", "c3", "c4", "c5", "c6"]);
    }
}
