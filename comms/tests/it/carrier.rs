//! Carriers that push their reports, are busy, or refuse; and handsets that answer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gridpost_comms::sms::carrier::{
    Admission, Carrier, CarrierInbox, MessageRef, Outbound, Report, Submission,
};
use gridpost_comms::sms::handsets::{Rule, ScriptError, When};
use gridpost_comms::sms::message_id::MessageId;
use gridpost_comms::sms::{ReceiveError, StatusCode};
use gridpost_model::PhoneNumber;
use parking_lot::Mutex;

use crate::world::{HANDSET, OWNED, World, inbound, number, to_each};

/// A carrier that answers what it is told, and reports when it is told.
#[derive(Default)]
struct Scripted {
    inbox: Mutex<Option<CarrierInbox>>,
    answers: Mutex<Vec<Submission>>,
    submitted: Mutex<Vec<MessageRef>>,
}

impl Scripted {
    fn answering(mut answers: Vec<Submission>) -> Arc<Self> {
        answers.reverse();
        Arc::new(Self {
            answers: Mutex::new(answers),
            ..Self::default()
        })
    }

    fn inbox(&self) -> CarrierInbox {
        self.inbox.lock().clone().unwrap()
    }

    fn submitted(&self) -> Vec<MessageId> {
        self.submitted
            .lock()
            .iter()
            .map(|message| message.id().clone())
            .collect()
    }
}

impl Carrier for Scripted {
    fn start(&self, inbox: CarrierInbox) {
        *self.inbox.lock() = Some(inbox);
    }

    fn admit(&self, _to: &PhoneNumber) -> Admission {
        Admission::Yes
    }

    fn submit(&self, outbound: Outbound) -> BoxFuture<'_, Submission> {
        self.submitted.lock().push(outbound.message);
        let answer = self
            .answers
            .lock()
            .pop()
            .unwrap_or(Submission::Taken(Vec::new()));
        Box::pin(std::future::ready(answer))
    }
}

fn report(code: StatusCode) -> Report {
    Report {
        code,
        attempts: Vec::new(),
    }
}

#[tokio::test]
async fn a_carrier_reports_when_it_likes_and_as_often_as_it_likes() {
    let carrier = Scripted::answering(Vec::new());
    let world = World::with(carrier.clone()).await;
    let id = world.send_to(HANDSET).await;
    world.settle().await;
    let message = carrier.submitted.lock()[0].clone();
    for code in [StatusCode::Delivered, StatusCode::Unreachable] {
        carrier
            .inbox()
            .report(&message, report(code))
            .await
            .unwrap();
    }
    assert_eq!(world.reports().len(), 1);
    assert_eq!(world.status_of(&id), Some("Delivered"));
    assert_eq!(world.comms.metrics().sms_reports_ignored, 1);
    // The time-out that was due for it is gone.
    world.advance(Duration::from_hours(12)).await;
    assert_eq!(world.reports().len(), 1);
}

#[tokio::test]
async fn a_busy_carrier_is_asked_again_with_the_same_message() {
    let pause = Duration::from_secs(5);
    let busy = Submission::Busy(pause);
    let carrier = Scripted::answering(vec![busy.clone(), busy]);
    let world = World::with(carrier.clone()).await;
    let id = world.send_to(HANDSET).await;
    world.settle().await;
    assert_eq!(carrier.submitted().len(), 1);
    world.advance(pause).await;
    world.advance(pause).await;
    world.advance(pause).await;
    assert_eq!(carrier.submitted(), vec![id; 3]);
}

#[tokio::test]
async fn a_message_the_carrier_never_took_fails_as_unavailable() {
    let busy = Submission::Busy(Duration::from_hours(1));
    let carrier = Scripted::answering(vec![busy; 2]);
    let world = World::with(carrier).await;
    let mut request = to_each(&[HANDSET]);
    request.options.report_timeout_seconds = Some(60);
    world.send(request).await;
    world.advance(Duration::from_mins(1)).await;
    let details = world.reports()[0]["deliveryStatusDetails"].clone();
    assert!(details.as_str().unwrap().starts_with("5001"), "{details}");
    world.advance(Duration::from_hours(2)).await;
    assert_eq!(world.reports().len(), 1);
}

#[tokio::test]
async fn a_refusal_of_the_carrier_ends_the_message() {
    let refused = Submission::Refused(report(StatusCode::Fraud));
    let world = World::with(Scripted::answering(vec![refused])).await;
    let id = world.send_to(HANDSET).await;
    world.settle().await;
    assert_eq!(world.status_of(&id), Some("Failed"));
    assert_eq!(world.reports().len(), 1);
}

#[tokio::test]
async fn a_carrier_brings_inbound_texts() {
    let carrier = Scripted::answering(Vec::new());
    let world = World::with(carrier.clone()).await;
    carrier
        .inbox()
        .receive(inbound(HANDSET, OWNED, "hello"))
        .await
        .unwrap();
    assert_eq!(world.data("SMSReceived")[0]["message"], "hello");
    let refused = carrier
        .inbox()
        .receive(inbound(HANDSET, "+15555550199", "hello"))
        .await;
    assert!(matches!(refused, Err(ReceiveError::NotOurs(_))));
}

fn rule(when: When, reply: &str, after_ms: u64) -> Rule {
    Rule {
        when,
        reply: reply.into(),
        after_ms,
    }
}

#[tokio::test]
async fn a_handset_answers_by_its_script() {
    let world = World::start().await;
    let rules = vec![
        rule(When::Is("ping".into()), "pong", 0),
        rule(When::Contains("HELL".into()), "hi", 2_000),
    ];
    world
        .handsets
        .set_rules(&number(HANDSET), rules)
        .await
        .unwrap();
    world.send_to(HANDSET).await;
    world.advance(Duration::from_millis(1_999)).await;
    assert!(world.data("SMSReceived").is_empty());
    world.advance(Duration::from_millis(1)).await;
    let received = world.data("SMSReceived");
    assert_eq!(received[0]["message"], "hi");
    assert_eq!(received[0]["from"], "15555550123");
    assert_eq!(received[0]["to"], "15555550100");
    assert!(
        received[0]["messageId"]
            .as_str()
            .unwrap()
            .starts_with("Incoming_")
    );

    let mut nameless = to_each(&[HANDSET]);
    nameless.from = "Contoso".into();
    world.send(nameless).await;
    world
        .handsets
        .set_rules(&number(HANDSET), Vec::new())
        .await
        .unwrap();
    world.send_to(HANDSET).await;
    world.advance(Duration::from_mins(1)).await;
    assert_eq!(world.data("SMSReceived").len(), 1);
}

#[tokio::test]
async fn an_answer_that_says_stop_opts_out() {
    let world = World::start().await;
    let rules = vec![rule(When::Any, "STOP", 0)];
    world
        .handsets
        .set_rules(&number(HANDSET), rules)
        .await
        .unwrap();
    world.send_to(HANDSET).await;
    world.advance(Duration::from_secs(1)).await;
    world.send_to(HANDSET).await;
    world.advance(Duration::from_secs(1)).await;
    let statuses: Vec<_> = world
        .reports()
        .iter()
        .map(|data| data["deliveryStatus"].clone())
        .collect();
    assert_eq!(statuses, ["Delivered", "Failed"]);
}

#[tokio::test]
async fn scripts_have_bounds_and_survive_a_restart() {
    let world = World::start().await;
    let handset = number(HANDSET);
    let many = vec![rule(When::Any, "x", 0); 101];
    let refused = world.handsets.set_rules(&handset, many).await;
    assert!(matches!(refused, Err(ScriptError::TooMany)));
    let long = vec![rule(When::Any, &"x".repeat(2049), 0)];
    let refused = world.handsets.set_rules(&handset, long).await;
    assert!(matches!(refused, Err(ScriptError::TooLong)));

    let rules = vec![rule(When::Any, "yes", 5)];
    world
        .handsets
        .set_rules(&handset, rules.clone())
        .await
        .unwrap();
    let world = world.restart().await;
    assert_eq!(world.handsets.rules(&handset), rules);
}
