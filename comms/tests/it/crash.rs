//! What is due survives a restart and the death of the process.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gridpost_comms::sms::carrier::{Admission, Carrier, CarrierInbox, Outbound, Submission};
use gridpost_comms::sms::handsets::{Rule, When};
use gridpost_model::PhoneNumber;

use crate::world::{HANDSET, World, number, until};

const SOON: Duration = Duration::from_millis(100);

/// A carrier that takes a text and never says a word.
struct Stuck;

impl Carrier for Stuck {
    fn start(&self, _inbox: CarrierInbox) {}

    fn admit(&self, _to: &PhoneNumber) -> Admission {
        Admission::Yes
    }

    fn submit(&self, _outbound: Outbound) -> BoxFuture<'_, Submission> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_text_that_was_not_handed_over_when_the_process_died_is_handed_over_later() {
    let world = World::with(Arc::new(Stuck)).await;
    let id = world.send_to(HANDSET).await;
    let after = world.after_kill();
    after.advance(SOON).await;
    assert_eq!(after.texts(HANDSET)[0].id, id);
    assert_eq!(after.reports().len(), 1);
    assert_eq!(after.reports()[0]["messageId"], id.as_str());
}

#[tokio::test]
async fn a_report_that_was_due_when_the_process_died_comes_once() {
    let world = World::start().await;
    let id = world.send_to("+15555553010").await;
    world.settle().await;
    let after = world.after_kill();
    after.advance(Duration::from_secs(9)).await;
    assert!(after.reports().is_empty());
    after.advance(Duration::from_secs(1)).await;
    assert_eq!(after.status_of(&id), Some("Delivered"));

    // And a second death right after the report does not bring it again.
    let again = after.after_kill();
    again.advance(Duration::from_mins(1)).await;
    assert_eq!(again.reports().len(), 1);
    assert!(
        again.texts("+15555553010").is_empty(),
        "the text was handed over again"
    );
}

#[tokio::test]
async fn what_fell_due_while_nothing_ran_happens_at_the_start() {
    let world = World::start().await;
    let rules = vec![Rule {
        when: When::Any,
        reply: "later".into(),
        after_ms: 60_000,
    }];
    world
        .handsets
        .set_rules(&number(HANDSET), rules)
        .await
        .unwrap();
    world.send_to(HANDSET).await;
    world.send_to("+15555553030").await;
    world.advance(SOON).await;
    assert_eq!(world.reports().len(), 1);

    let clock = world.clock.clone();
    let world = {
        let restarting = world.restart();
        clock.turn_to(crate::world::BEGINNING + Duration::from_hours(1));
        restarting.await
    };
    world.settle().await;
    assert_eq!(world.reports().len(), 2);
    assert_eq!(world.data("SMSReceived")[0]["message"], "later");
}

#[tokio::test]
async fn many_texts_at_once_are_all_reported_once() {
    let world = World::start().await;
    // More than one batch of due work.
    for hundred in 0..6 {
        let to: Vec<String> = (0..100)
            .map(|one| format!("+49151{hundred:03}{one:04}"))
            .collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        world.send(crate::world::to_each(&to)).await;
    }
    world.advance(SOON).await;
    until("all are reported", || {
        world.comms.metrics().sms_delivered == 600
    })
    .await;
    let mut ids: Vec<_> = world
        .reports()
        .iter()
        .map(|data| data["messageId"].to_string())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 600);
    assert_eq!(world.comms.metrics().sms_reports_ignored, 0);
}
