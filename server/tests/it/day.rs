//! The whole day of an event that nobody takes: `cargo xtask handlers` runs this, because its end is a real blob.

use gridpost_model::Timestamp;
use gridpost_sim::VirtualClock;
use http::Method;
use serde_json::{Value, json};

use crate::azurite::Azurite;
use crate::clock::{Machine, is_given_up_after_a_day, is_the_schedule, moment};
use crate::webhook::Webhook;
use crate::world::{minutes, seconds, until};

const ACCOUNT: &str =
    "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/acct";

/// The key that Azurite's documentation gives for its account.
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

fn settings(azurite: &Azurite) -> String {
    let account = azurite.account();
    format!(
        "[[handlers.storage]]\nresource_id = '{ACCOUNT}'\nconnection_string = \
         'AccountName=devstoreaccount1;AccountKey={KEY};BlobEndpoint={};QueueEndpoint={}'\n",
        account.blobs(),
        account.queues()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a storage service: cargo xtask handlers"]
async fn section_5_3_and_5_7_a_day_of_silence_is_nine_attempts_and_a_blob_within_five_seconds() {
    let azurite = Azurite::start().await;
    azurite.make_container("lost-events").await;
    let machine = Machine::start_with(&settings(&azurite)).await;
    let endpoint = Webhook::open(VirtualClock::at(Timestamp::EPOCH)).await;
    let lost = json!({ "endpointType": "StorageBlob", "properties": {
        "resourceId": ACCOUNT, "blobContainerName": "lost-events",
    }});
    machine
        .subscribe(&endpoint.url(), json!({ "deadLetterDestination": lost }))
        .await
        .unwrap();
    let endpoint = endpoint.silent();

    let began = machine.wall();
    machine.text().await;
    until("the first attempt is made", || endpoint.attempts() == 1).await;
    machine.advance("P1DT1H").await;
    let took = machine.wall().since(began);
    println!("the schedule of 24 hours took {took:?} of real time");
    assert!(took < seconds(5), "it took {took:?}");

    let received = endpoint.notifications();
    let event = &received[0].body[0];
    let id = event["id"].as_str().unwrap();
    let attempts = machine.attempts(id).await;
    is_the_schedule(&attempts);
    let counts: Vec<_> = received
        .iter()
        .map(|attempt| attempt.header("aeg-delivery-count"))
        .collect();
    assert_eq!(counts, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
    assert!(received.iter().all(|attempt| attempt.body[0] == *event));

    let letters = machine.dead_letters().await;
    assert_eq!(letters.len(), 1);
    is_given_up_after_a_day(&letters[0], &attempts);

    let names = azurite.blobs("lost-events").await;
    let [name] = &names[..] else {
        panic!("one blob was expected: {names:?}")
    };
    is_the_path(name, moment(&letters[0]["deadLetterTime"]));
    let blob = azurite.blob("lost-events", name).await;
    let path = format!("events/{id}/explain");
    let explained = machine.own(Method::GET, &path, Value::Null).await;
    let accepted = moment(&explained["value"][0]["accepted"]);
    assert_eq!(blob, json!([record(event, accepted, &attempts)]));
    assert_eq!(machine.server.failures(), 0);
}

/// The subscription in upper case, the hour in which the blob was due, and a GUID.
fn is_the_path(name: &str, given_up: Timestamp) {
    let (folder, file) = name.rsplit_once('/').unwrap();
    let due = given_up + minutes(5);
    let hour = due.format("%Y/%-m/%-d/%-H").to_string();
    assert_eq!(folder, format!("MOVED/{hour}"));
    let guid = file.strip_suffix(".json").unwrap();
    let parts: Vec<_> = guid.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12], "{guid}");
}

/// What the blob tells of the event: the event, and what became of it. The last attempt ended with its time-out.
fn record(event: &Value, accepted: Timestamp, attempts: &[Value]) -> Value {
    let ended = moment(&attempts.last().unwrap()["at"]) + seconds(30);
    let mut record = event.clone();
    record["deadLetterReason"] = "TimeToLiveExceeded".into();
    record["deliveryAttempts"] = attempts.len().into();
    record["lastDeliveryOutcome"] = "TimedOut".into();
    record["publishTime"] = seven_digits(accepted).into();
    record["lastDeliveryAttemptTime"] = seven_digits(ended).into();
    record
}

fn seven_digits(moment: Timestamp) -> String {
    let ticks = moment.ticks().rem_euclid(10_000_000);
    format!("{}.{ticks:07}Z", moment.format("%Y-%m-%dT%H:%M:%S"))
}
