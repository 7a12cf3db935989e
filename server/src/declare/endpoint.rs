//! `endpoint` and `deadLetterEndpoint`: a destination in one text, as `az` takes it.
//!
//! Promise: a text is taken apart as `az eventgrid event-subscription create` does, and put together so that it can be.

use serde_json::{Value, json};

use super::names::{
    DEAD_LETTER_CONTAINER, DEAD_LETTER_RESOURCE, DEAD_LETTER_TYPE, ENDPOINT_URL, QUEUE_NAME,
    RESOURCE_ID,
};

/// What stands between a storage account and a queue.
const QUEUES: &str = "/queueServices/default/queues/";
/// What stands between a storage account and a container.
const CONTAINERS: &str = "/blobServices/default/containers/";

/// Properties by their paths.
pub type Parts = Vec<(&'static str, Value)>;

/// The properties that an endpoint stands for.
///
/// # Errors
/// It is none of that type.
pub fn destination(endpoint_type: &str, endpoint: &str) -> Result<Parts, String> {
    if endpoint_type.eq_ignore_ascii_case("WebHook") {
        return Ok(vec![(ENDPOINT_URL, json!(endpoint))]);
    }
    if endpoint_type.eq_ignore_ascii_case("StorageQueue") {
        let (account, queue) = halves(endpoint, QUEUES)?;
        return Ok(vec![
            (RESOURCE_ID, json!(account)),
            (QUEUE_NAME, json!(queue)),
        ]);
    }
    Ok(vec![(RESOURCE_ID, json!(endpoint))])
}

/// The properties that a dead-letter endpoint stands for.
///
/// # Errors
/// It is not the id of a blob container.
pub fn dead_letter(endpoint: &str) -> Result<Parts, String> {
    let (account, container) = halves(endpoint, CONTAINERS)?;
    Ok(vec![
        (DEAD_LETTER_TYPE, json!("StorageBlob")),
        (DEAD_LETTER_RESOURCE, json!(account)),
        (DEAD_LETTER_CONTAINER, json!(container)),
    ])
}

/// The endpoint of a storage queue.
pub(super) fn of_queue(account: &str, queue: &str) -> String {
    format!("{account}{QUEUES}{queue}")
}

/// The endpoint of a blob container.
pub(super) fn of_container(account: &str, container: &str) -> String {
    format!("{account}{CONTAINERS}{container}")
}

fn halves<'a>(endpoint: &'a str, between: &str) -> Result<(&'a str, &'a str), String> {
    let found = endpoint
        .to_ascii_lowercase()
        .find(&between.to_ascii_lowercase());
    let halves = found.map(|at| (&endpoint[..at], &endpoint[at + between.len()..]));
    let whole = halves.filter(|(before, after)| !before.is_empty() && !after.is_empty());
    whole.ok_or_else(|| {
        format!("'{endpoint}' is not of the form <storage account id>{between}<name>")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_7_an_endpoint_is_taken_apart_as_az_does() {
        let account =
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a";
        let read = dead_letter(&format!("{account}/blobservices/default/containers/dl")).unwrap();
        assert_eq!(
            read[1..],
            [
                (DEAD_LETTER_RESOURCE, json!(account)),
                (DEAD_LETTER_CONTAINER, json!("dl"))
            ]
        );
        let read = destination("storagequeue", &of_queue(account, "q")).unwrap();
        assert_eq!(
            read,
            [(RESOURCE_ID, json!(account)), (QUEUE_NAME, json!("q"))]
        );
        assert_eq!(
            destination("webhook", "https://h").unwrap(),
            [(ENDPOINT_URL, json!("https://h"))]
        );
        assert!(dead_letter(account).is_err() && dead_letter(CONTAINERS).is_err());
    }
}
