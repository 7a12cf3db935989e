//! What reaches a destination, when, and what becomes of what does not. Tests are named after the sections of the
//! Event Grid reference where they pin one.

use std::time::Duration;

use gridpost_grid::subscriptions::SubscriptionSpec;
use gridpost_grid::tail::What;
use gridpost_grid::{DeadLetter, DeadLetterQuery};
use gridpost_model::subscription::{DeliverySchema, LaneId};
use gridpost_model::{Clock as _, RetryPolicy};
use gridpost_store::{Scan, Table};

use crate::endpoint::{Endpoint, Reply, Seen};
use crate::world::{World, communication, until, visited};

/// Agrees to the handshake and answers every event with `status`.
fn answering(status: u16) -> impl Fn(&Seen) -> Reply + Send + Sync + 'static {
    move |seen| match Reply::agreeing(seen) {
        agreed if is_handshake(seen) => agreed,
        _ => Reply::status(status),
    }
}

fn is_handshake(seen: &Seen) -> bool {
    seen.header("aeg-event-type") != "Notification"
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

impl Endpoint {
    /// The events that arrived, in order of arrival.
    pub(crate) fn events(&self) -> Vec<Seen> {
        self.seen()
            .into_iter()
            .filter(|seen| !is_handshake(seen))
            .collect()
    }

    fn ids(&self) -> Vec<String> {
        let id = |seen: &Seen| seen.header("aeg-output-event-id").to_owned();
        self.events().iter().map(id).collect()
    }

    /// Waits until that many events have arrived, and returns the last of them.
    pub(crate) async fn event(&self, count: usize) -> Seen {
        until("events arrive", || count <= self.events().len()).await;
        self.events()[count - 1].clone()
    }
}

impl World {
    /// Waits until nothing happens any more without the clock.
    pub(crate) async fn quiet(&self) {
        until("all is quiet", || self.grid.pending().is_quiet()).await;
    }

    pub(crate) async fn turn(&self, span: Duration) {
        self.advance(span);
        self.quiet().await;
    }

    pub(crate) async fn subscribe_with(
        &self,
        endpoint: &Endpoint,
        adapt: impl FnOnce(&mut SubscriptionSpec),
    ) -> LaneId {
        let mut spec = SubscriptionSpec::to(endpoint.url());
        adapt(&mut spec);
        let made = self
            .grid
            .put_event_subscription(&communication(), "es1", spec)
            .await;
        made.unwrap().0.lane
    }

    pub(crate) fn dead_letters(&self) -> Vec<DeadLetter> {
        self.grid.dead_letters(&DeadLetterQuery::default()).unwrap()
    }

    pub(crate) async fn texts(&self, count: usize) {
        for number in 0..count {
            self.text(&format!("e{number}"), "15550001").await;
        }
    }
}

#[tokio::test]
async fn section_5_1_an_event_arrives_as_an_array_of_one_with_the_documented_headers() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("My-hook", &endpoint).await;
    assert_eq!(world.text("e1", "15550001").await, 1);
    let seen = endpoint.event(1).await;
    assert_eq!(seen.target, "/hook?code=s3cret");
    let mut headers: Vec<_> = seen
        .headers
        .iter()
        .filter(|(name, _)| *name != "host" && *name != "content-length")
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    headers.sort_unstable();
    assert_eq!(
        headers,
        [
            ("aeg-data-version", "1.0"),
            ("aeg-delivery-count", "0"),
            ("aeg-event-type", "Notification"),
            ("aeg-metadata-version", "1"),
            ("aeg-output-event-id", "e1"),
            ("aeg-subscription-name", "MY-HOOK"),
            ("content-type", "application/json; charset=utf-8"),
        ]
    );
    assert_eq!(seen.header("content-length"), seen.body.len().to_string());
    let body = seen.json();
    assert_eq!(body.as_array().unwrap().len(), 1);
    assert_eq!(body[0]["subject"], "/phonenumber/15550001");
    assert_eq!(body[0]["topic"], communication().id.as_str());
    world.quiet().await;
}

#[tokio::test]
async fn section_5_1_a_cloud_event_arrives_as_a_single_object() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world
        .subscribe_with(&endpoint, |spec| {
            spec.delivery_schema = DeliverySchema::CloudEvents;
        })
        .await;
    world.text("e1", "15550001").await;
    let seen = endpoint.event(1).await;
    assert_eq!(
        seen.header("content-type"),
        "application/cloudevents+json; charset=utf-8"
    );
    assert_eq!(seen.json()["specversion"], "1.0");
    assert_eq!(seen.json()["source"], communication().id.as_str());
}

#[tokio::test]
async fn section_5_3_a_failing_event_is_tried_by_the_schedule_and_counts_its_attempts() {
    let world = World::start();
    let endpoint = Endpoint::start(answering(500)).await;
    world.subscribe("es1", &endpoint).await;
    world.text("e1", "15550001").await;
    assert_eq!(endpoint.event(1).await.header("aeg-delivery-count"), "0");
    world.quiet().await;
    let begun = world.clock.now();
    // Each step of the schedule, at its earliest and with all the jitter there can be.
    for (attempts, seconds) in (1..).zip([10, 30, 60, 300, 600]) {
        world
            .clock
            .turn_to(begun + Duration::from_secs(seconds - 1));
        world.quiet().await;
        assert_eq!(endpoint.events().len(), attempts);
        world
            .clock
            .turn_to(begun + Duration::from_secs(seconds + seconds / 10));
        let seen = endpoint.event(attempts + 1).await;
        assert_eq!(seen.header("aeg-delivery-count"), attempts.to_string());
        world.quiet().await;
    }
    endpoint.answer(Reply::agreeing);
    world.turn(minutes(30)).await;
    assert_eq!(endpoint.event(7).await.header("aeg-delivery-count"), "6");
    world.quiet().await;
    assert_eq!(world.grid.pending().waiting, 0);
    assert!(world.dead_letters().is_empty());
}

#[tokio::test]
async fn section_5_2_a_refused_event_is_dead_lettered_without_retry_and_can_be_brought_back() {
    let world = World::start();
    let endpoint = Endpoint::start(answering(400)).await;
    world.subscribe("es1", &endpoint).await;
    world.text("e1", "15550001").await;
    endpoint.event(1).await;
    world.quiet().await;
    let dead = world.dead_letters();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].reason.as_str(), "UndeliverableDueToHttpBadRequest");
    assert_eq!(
        (dead[0].attempts, dead[0].last_outcome.as_str()),
        (1, "BadRequest")
    );
    assert_eq!(dead[0].last_attempt, Some(world.clock.now()));

    endpoint.answer(Reply::agreeing);
    assert_eq!(
        world
            .grid
            .redrive(&DeadLetterQuery::default())
            .await
            .unwrap(),
        1
    );
    let again = endpoint.event(2).await;
    assert_eq!(again.body, endpoint.events()[0].body);
    assert_eq!(again.header("aeg-delivery-count"), "0");
    world.quiet().await;
    assert!(world.dead_letters().is_empty());
    assert_eq!(world.grid.pending().waiting, 0);
}

#[tokio::test]
async fn section_5_3_the_last_allowed_attempt_makes_a_dead_letter() {
    let world = World::start();
    let endpoint = Endpoint::start(answering(503)).await;
    world
        .subscribe_with(&endpoint, |spec| spec.retry_policy.max_attempts = 3)
        .await;
    world.text("e1", "15550001").await;
    for attempts in 1..=3 {
        endpoint.event(attempts).await;
        world.quiet().await;
        world.turn(minutes(200)).await;
    }
    world.turn(minutes(600)).await;
    assert_eq!(endpoint.events().len(), 3);
    let dead = world.dead_letters();
    assert_eq!(dead[0].reason.as_str(), "MaxDeliveryAttemptsExceeded");
    assert_eq!(
        (dead[0].attempts, dead[0].last_outcome.as_str()),
        (3, "Busy")
    );
}

#[tokio::test]
async fn section_5_3_time_to_live_is_noticed_when_the_next_attempt_is_due() {
    let world = World::start();
    let endpoint = Endpoint::start(answering(404)).await;
    let policy = RetryPolicy {
        max_attempts: 30,
        time_to_live_minutes: 1,
    };
    world
        .subscribe_with(&endpoint, |spec| spec.retry_policy = policy)
        .await;
    world.text("e1", "15550001").await;
    endpoint.event(1).await;
    world.quiet().await;
    // Not found: the next attempt is due after five minutes, long after the event's time.
    world.turn(minutes(2)).await;
    assert!(world.dead_letters().is_empty());
    world.turn(minutes(4)).await;
    let dead = world.dead_letters();
    assert_eq!(dead[0].reason.as_str(), "TimeToLiveExceeded");
    assert_eq!(
        (dead[0].attempts, dead[0].last_outcome.as_str()),
        (1, "NotFound")
    );
    assert_eq!(endpoint.events().len(), 1);
}

#[tokio::test]
async fn section_5_2_an_answer_is_waited_for_30_seconds() {
    let world = World::start();
    let endpoint = Endpoint::start(|seen| match Reply::agreeing(seen) {
        agreed if is_handshake(seen) => agreed,
        _ => Reply::Hangs,
    })
    .await;
    let lane = world.subscribe("es1", &endpoint).await;
    world.text("e1", "15550001").await;
    endpoint.event(1).await;
    world.advance(Duration::from_secs(29));
    until("the attempt is under way", || {
        world.grid.pending().in_flight == 1
    })
    .await;
    assert!(world.grid.recent(lane).is_empty());
    world.turn(Duration::from_secs(1)).await;
    assert_eq!(world.grid.recent(lane)[0].outcome.as_str(), "TimedOut");
    endpoint.answer(Reply::agreeing);
    // The steps of 10 and 30 seconds have passed; the next is a minute after the first attempt began.
    world.turn(Duration::from_secs(34)).await;
    assert_eq!(endpoint.ids(), ["e1", "e1"]);
}

#[tokio::test]
async fn section_5_4_ten_failures_put_a_destination_on_probation_and_one_probe_ends_it() {
    let world = World::start();
    let endpoint = Endpoint::start(answering(404)).await;
    world.subscribe("es1", &endpoint).await;
    for number in 0..10 {
        world.text(&format!("e{number}"), "15550001").await;
        endpoint.event(number + 1).await;
        world.quiet().await;
    }
    world.text("fresh", "15550001").await;
    world.quiet().await;
    assert_eq!(world.grid.pending().held, 1);
    world.turn(minutes(4)).await;
    assert_eq!(endpoint.events().len(), 10);
    // Five minutes of probation end: one event is sent to see how the destination does.
    world.turn(minutes(1)).await;
    assert_eq!(endpoint.events().len(), 11);
    endpoint.answer(Reply::agreeing);
    world.turn(minutes(10)).await;
    until("all have arrived", || world.grid.pending().waiting == 0).await;
    world.quiet().await;
    assert!(endpoint.ids().contains(&"fresh".to_owned()));
    assert!(world.dead_letters().is_empty());
}

#[tokio::test]
async fn a_lane_that_falls_behind_its_memory_reads_on_from_the_journal() {
    let world = World::start();
    let endpoint = Endpoint::start(answering(503)).await;
    world.subscribe("es1", &endpoint).await;
    for number in 0..10 {
        world.text(&format!("first{number}"), "15550001").await;
        endpoint.event(number + 1).await;
        world.quiet().await;
    }
    // On probation; what comes now is more than a lane keeps in memory.
    world.texts(3_000).await;
    endpoint.answer(Reply::agreeing);
    world.advance(minutes(1));
    until("everything is delivered", || {
        let pending = world.grid.pending();
        pending.is_quiet() && pending.waiting == 0 && pending.held == 0
    })
    .await;
    let mut ids: Vec<_> = endpoint
        .ids()
        .into_iter()
        .filter(|id| id.starts_with('e'))
        .collect();
    assert_eq!(ids.len(), 3_000, "each once");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3_000);
}

#[tokio::test]
async fn what_was_not_delivered_is_delivered_after_a_restart() {
    let world = World::start();
    let endpoint = Endpoint::start(answering(503)).await;
    world.subscribe("es1", &endpoint).await;
    for number in 0..12 {
        world.text(&format!("e{number}"), "15550001").await;
        world.quiet().await;
    }
    let tried = endpoint.events().len();
    assert_eq!(tried, 10, "ten waiting, two held back");
    let world = world.restart().await;
    endpoint.answer(Reply::agreeing);
    world.turn(minutes(2)).await;
    until("everything has arrived", || {
        endpoint.events().len() == tried + 12
    })
    .await;
    world.quiet().await;
    assert_eq!(world.grid.pending().waiting, 0);
    // And nothing more after another one.
    let world = world.restart().await;
    world.turn(minutes(600)).await;
    assert_eq!(endpoint.events().len(), tried + 12);
}

#[tokio::test]
async fn a_dead_destination_costs_neither_publishers_nor_other_lanes() {
    let world = World::start();
    let dead = Endpoint::start(|seen| match Reply::agreeing(seen) {
        agreed if is_handshake(seen) => agreed,
        _ => Reply::Hangs,
    })
    .await;
    let alive = Endpoint::agreeing().await;
    world.subscribe("dead", &dead).await;
    world.subscribe("alive", &alive).await;
    // The clock stands still, so a publisher that were made to wait for the dead one would wait for ever.
    for number in 0..500 {
        world.text(&format!("e{number}"), "15550001").await;
        world.grid.pace(&communication().id).await;
    }
    alive.event(500).await;
    assert!(dead.events().len() <= 64);
}

#[tokio::test]
async fn a_connection_is_used_again_whatever_the_answer_says() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    let before = endpoint.connections();
    for (number, length) in [0, 2, 1_000, 60_000]
        .into_iter()
        .cycle()
        .take(20)
        .enumerate()
    {
        endpoint.answer(move |_| Reply::Says(200, Vec::new(), "x".repeat(length)));
        world.text(&format!("e{number}"), "15550001").await;
        endpoint.event(number + 1).await;
        world.quiet().await;
    }
    assert_eq!(endpoint.connections() - before, 1);
}

#[tokio::test]
async fn busy_connections_are_used_again_without_a_pause_between() {
    let world = World::start();
    let endpoint = Endpoint::start(answering(503)).await;
    world.subscribe("es1", &endpoint).await;
    for number in 0..10 {
        world.text(&format!("first{number}"), "15550001").await;
        endpoint.event(number + 1).await;
        world.quiet().await;
    }
    // Held back by probation, so that every worker has its next event before its last answer was read.
    world.texts(600).await;
    let before = endpoint.connections();
    endpoint.answer(|_| Reply::Says(200, Vec::new(), "x".repeat(1_000)));
    world.advance(minutes(1));
    until("everything is delivered", || {
        let pending = world.grid.pending();
        pending.is_quiet() && pending.waiting == 0 && pending.held == 0
    })
    .await;
    assert!(endpoint.connections() - before <= 64);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced_without_a_failure() {
    let world = World::start();
    let endpoint = Endpoint::start(|seen| match Reply::agreeing(seen) {
        Reply::Says(status, _, body) => Reply::Says(status, vec![("connection", "close")], body),
        Reply::Hangs => Reply::Hangs,
    })
    .await;
    let lane = world.subscribe("es1", &endpoint).await;
    for number in 0..20 {
        world.text(&format!("e{number}"), "15550001").await;
        endpoint.event(number + 1).await;
        world.quiet().await;
    }
    assert!(
        world
            .grid
            .recent(lane)
            .iter()
            .all(|one| one.outcome.as_str() == "Delivered")
    );
}

#[tokio::test]
async fn a_lane_that_pins_old_segments_moves_its_events_into_the_waiting_table() {
    let world = World::start_with(|options| {
        options.relieve_bytes = 1;
        options.checkpoint_bytes = 16 << 10;
    });
    let endpoint = Endpoint::start(answering(503)).await;
    world.subscribe("es1", &endpoint).await;
    for number in 0..10 {
        world.text(&format!("first{number}"), "15550001").await;
        world.quiet().await;
    }
    // How soon a checkpoint asks for it is the store's business.
    let mut sent = 0;
    while world.grid.pending().waiting <= 10 {
        world.text(&format!("e{sent}"), "15550001").await;
        sent += 1;
    }
    endpoint.answer(Reply::agreeing);
    world.advance(minutes(1));
    until("everything is delivered", || {
        let pending = world.grid.pending();
        pending.is_quiet() && pending.waiting == 0 && pending.held == 0
    })
    .await;
    let moved = endpoint
        .ids()
        .into_iter()
        .filter(|id| id.starts_with('e'))
        .count();
    assert_eq!(moved, sent);
}

#[tokio::test]
async fn deliveries_of_a_deleted_subscription_are_dropped_for_good() {
    let world = World::start();
    let endpoint = Endpoint::start(answering(500)).await;
    world.subscribe("es1", &endpoint).await;
    world.texts(5).await;
    endpoint.event(5).await;
    world.quiet().await;
    assert_eq!(world.grid.pending().waiting, 5);
    assert!(
        world
            .grid
            .delete_event_subscription(&communication().id, "es1")
            .await
            .unwrap()
    );
    assert_eq!(world.grid.pending().waiting, 0);
    let world = world.restart().await;
    world.turn(minutes(600)).await;
    assert_eq!(endpoint.events().len(), 5);
}

#[tokio::test]
async fn rows_that_a_crash_left_of_a_deleted_subscription_are_removed_at_the_next_start() {
    const ROWS: Table<serde_json::Value> = Table::new(40, "waiting");
    let rows = |world: &World| {
        let all = world.store.snapshot().scan_all(&ROWS, Scan::all());
        all.unwrap().len()
    };
    let world = World::start();
    let endpoint = Endpoint::start(answering(500)).await;
    world.subscribe("gone", &endpoint).await;
    world.subscribe("stays", &endpoint).await;
    world.texts(3).await;
    endpoint.event(6).await;
    world.quiet().await;
    assert_eq!(rows(&world), 6);

    *world.never_run.lock() = Some("grid-close-lane");
    let source = communication().id;
    let gone = world.grid.delete_event_subscription(&source, "gone");
    assert!(gone.await.unwrap());
    let world = world.restart().await;
    until("the rows are gone", || rows(&world) == 3).await;

    endpoint.answer(Reply::agreeing);
    world.turn(minutes(1)).await;
    world.quiet().await;
    assert_eq!((rows(&world), endpoint.events().len()), (0, 9));
}

#[tokio::test]
async fn what_was_not_delivered_survives_a_checkpoint_that_nobody_followed() {
    let world = World::start();
    // Nobody has confirmed, so the event waits in the journal.
    let endpoint = Endpoint::start(|_| Reply::status(200)).await;
    world.subscribe("es1", &endpoint).await;
    world.text("e1", "15550001").await;
    let (lane, token) = visited(&endpoint.seen()[0].validation_url());
    let world = world.restart_looked_at().await;
    world.grid.confirm(lane, &token).await.unwrap();
    endpoint.event(1).await;
}

#[tokio::test]
async fn who_listens_sees_what_was_accepted_attempted_and_answered() {
    let world = World::start();
    let endpoint = Endpoint::start(answering(400)).await;
    world.subscribe("es1", &endpoint).await;
    let mut tail = world.grid.tail();
    world.text("e1", "15550001").await;
    let accepted = tail.recv().await.unwrap();
    assert_eq!(&*accepted.event.id, "e1");
    assert!(matches!(accepted.what, What::Accepted { lanes: 1 }));
    let attempted = tail.recv().await.unwrap();
    let What::Attempted {
        subscription,
        attempt,
        ..
    } = &attempted.what
    else {
        panic!("{attempted:?}");
    };
    assert_eq!((&**subscription, attempt.status), ("es1", Some(400)));
    let exchange = attempt.exchange.as_ref().unwrap();
    let sent = &exchange.request.as_ref().unwrap().headers;
    let id = sent
        .iter()
        .find(|(name, _)| &**name == "aeg-output-event-id");
    assert_eq!(&*id.unwrap().1, "e1");
    assert_eq!(exchange.answer.as_ref().unwrap().status, 400);
}

#[tokio::test]
async fn section_8_1_counters_tell_what_happened() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    world.texts(3).await;
    endpoint.event(3).await;
    endpoint.answer(answering(413));
    world.text("large", "15550001").await;
    endpoint.event(4).await;
    endpoint.answer(answering(500));
    world.text("later", "15550001").await;
    endpoint.event(5).await;
    world.quiet().await;
    world.advance(Duration::from_secs(5));
    let metrics = world.grid.metrics();
    let lane = &metrics.lanes[0];
    assert_eq!(
        (
            lane.counts.matched,
            lane.counts.delivered,
            lane.counts.retried
        ),
        (5, 3, 1)
    );
    assert_eq!(lane.counts.failed["PayloadTooLarge"], 1);
    assert_eq!(lane.counts.failed["GenericError"], 1);
    let reason = "UndeliverableDueToHttpRequestEntityTooLarge";
    assert_eq!(lane.counts.dead_lettered[reason], 1);
    assert_eq!(lane.waiting, 1);
    assert_eq!(lane.oldest_undelivered, Some(Duration::from_secs(5)));
    assert_eq!(metrics.topics[0].publish_success, 5);
}

#[tokio::test]
async fn dead_letters_are_listed_page_by_page_and_brought_back_by_query() {
    let world = World::start();
    let endpoint = Endpoint::start(answering(400)).await;
    world.subscribe("es1", &endpoint).await;
    for number in 0..7 {
        world.text(&format!("e{number}"), "15550001").await;
        world.quiet().await;
    }
    let mut query = DeadLetterQuery {
        limit: Some(3),
        ..DeadLetterQuery::default()
    };
    let mut listed = Vec::new();
    loop {
        let page = world.grid.dead_letters(&query).unwrap();
        let Some(last) = page.last() else { break };
        query.after = Some(last.id);
        listed.extend(page.into_iter().map(|letter| letter.event.id.to_string()));
    }
    assert_eq!(listed, ["e0", "e1", "e2", "e3", "e4", "e5", "e6"]);

    endpoint.answer(Reply::agreeing);
    let one = DeadLetterQuery {
        event_id: Some("e4".into()),
        ..DeadLetterQuery::default()
    };
    assert_eq!(world.grid.redrive(&one).await.unwrap(), 1);
    endpoint.event(8).await;
    world.quiet().await;
    assert_eq!(endpoint.ids().last().unwrap(), "e4");
    assert_eq!(world.dead_letters().len(), 6);
    assert_eq!(
        world
            .grid
            .redrive(&DeadLetterQuery::default())
            .await
            .unwrap(),
        6
    );
    endpoint.event(14).await;
}

#[tokio::test]
async fn a_lane_sends_over_at_most_64_connections_at_once() {
    let world = World::start();
    let endpoint = Endpoint::start(|seen| match Reply::agreeing(seen) {
        agreed if is_handshake(seen) => agreed,
        _ => Reply::Hangs,
    })
    .await;
    world.subscribe("es1", &endpoint).await;
    world.texts(100).await;
    endpoint.event(64).await;
    until("64 are under way", || world.grid.pending().in_flight == 64).await;
    assert_eq!(endpoint.events().len(), 64);
    assert_eq!(world.grid.pending().fresh, 36);
}

#[tokio::test]
async fn a_dead_letter_of_an_earlier_life_at_the_same_moment_is_not_written_over() {
    let mut world = World::start();
    let endpoint = Endpoint::start(answering(400)).await;
    world.subscribe("es1", &endpoint).await;
    for (count, id) in (1..).zip(["e1", "e2", "e3"]) {
        world.text(id, "15550001").await;
        until("it is given up", || world.dead_letters().len() == count).await;
        world.quiet().await;
        // The clock stands: both lives would number from the same tick.
        world = world.restart().await;
        let ids: Vec<_> = world
            .dead_letters()
            .iter()
            .map(|letter| letter.event.id.to_string())
            .collect();
        assert_eq!(ids, ["e1", "e2", "e3"][..count]);
    }
}
