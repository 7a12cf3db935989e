//! Events delivered once more.

use std::time::Duration;

use gridpost_grid::explain::Fate;
use gridpost_grid::replay::{Ended, Replay, ReplayError, ReplaySpec, ReplayState, Selection};
use gridpost_grid::subscriptions::SubscriptionSpec;
use gridpost_model::{Clock as _, Filter};

use crate::endpoint::{Endpoint, Reply, Seen};
use crate::world::{BEGINNING, World, communication, until};

const FAST: u32 = 10_000;

fn to(subscription: &str, selection: Selection) -> ReplaySpec {
    ReplaySpec {
        source: None,
        subscription: subscription.into(),
        selection,
        rate: FAST,
    }
}

fn starting_with(prefix: &str) -> Filter {
    Filter {
        subject_begins_with: prefix.into(),
        ..Filter::default()
    }
}

fn replayed(endpoint: &Endpoint) -> Vec<Seen> {
    let mut seen = endpoint.seen();
    seen.retain(|one| !one.header("gridpost-replay").is_empty());
    seen
}

fn ids(seen: &[Seen]) -> Vec<&str> {
    seen.iter()
        .map(|one| one.header("aeg-output-event-id"))
        .collect()
}

impl World {
    /// A second passes between texts.
    async fn texts_from(&self, senders: &[&str]) {
        for (number, from) in senders.iter().enumerate() {
            self.text(&format!("e{number}"), from).await;
            self.advance(Duration::from_secs(1));
        }
        until("they are delivered", || self.grid.pending().is_quiet()).await;
    }

    async fn replay_done(&self, replay: &Replay) -> Replay {
        let now = || self.grid.replay_named(replay.id).unwrap();
        until("the replay has ended", || {
            now().state != ReplayState::Running
        })
        .await;
        until("it is delivered", || self.grid.pending().is_quiet()).await;
        now()
    }

    fn fate_of(&self, event_id: &str) -> Fate {
        let mut explained = self.grid.explain(event_id).unwrap();
        explained.remove(0).subscriptions.remove(0).fate
    }
}

/// That many events on their way once more, one a second, of which the first has arrived.
async fn slowly(events: usize) -> (World, Endpoint, Replay) {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    world.texts_from(&vec!["1"; events]).await;
    let spec = ReplaySpec {
        rate: 1,
        ..to("es1", Selection::default())
    };
    let replay = world.grid.replay(&spec).await.unwrap();
    until("the first is delivered", || replayed(&endpoint).len() == 1).await;
    (world, endpoint, replay)
}

#[tokio::test]
async fn a_new_subscription_is_given_the_events_of_a_time_that_fit_it() {
    let world = World::start();
    let first = Endpoint::agreeing().await;
    world.subscribe("first", &first).await;
    world.texts_from(&["1555", "1555", "1666", "1555"]).await;
    let late = Endpoint::agreeing().await;
    let picky = SubscriptionSpec {
        filter: starting_with("phonenumber/1555"),
        ..SubscriptionSpec::to(late.url())
    };
    let made = world
        .grid
        .put_event_subscription(&communication(), "late", picky)
        .await;
    made.unwrap();

    let spec = to(
        "LATE",
        Selection {
            from: Some(BEGINNING + Duration::from_secs(1)),
            ..Selection::default()
        },
    );
    let preview = world.grid.preview_replay(&spec).unwrap();
    assert_eq!(
        (preview.events, preview.first, preview.last),
        (
            2,
            Some(BEGINNING + Duration::from_secs(1)),
            Some(BEGINNING + Duration::from_secs(3))
        )
    );
    assert!(world.grid.replays().is_empty());

    let replay = world.grid.replay(&spec).await.unwrap();
    let done = world.replay_done(&replay).await;
    assert_eq!((done.state, done.handed_over), (ReplayState::Done, 2));
    let seen = replayed(&late);
    let mut found = ids(&seen);
    found.sort_unstable();
    assert_eq!(found, ["e1", "e3"]);
    assert_eq!(seen[0].header("gridpost-replay"), replay.id.to_string());
    assert_eq!(seen[0].header("aeg-delivery-count"), "0");
    assert!(replayed(&first).is_empty());

    let explained = world.grid.explain("e1").unwrap().remove(0);
    let told = &explained.subscriptions[1];
    assert_eq!(told.fate, Fate::NotThen);
    assert_eq!(told.attempts[0].replay, Some(replay.id));
}

#[tokio::test]
async fn a_filter_takes_the_place_of_the_subscriptions_own() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    world.texts_from(&["1555", "1666", "1555"]).await;
    let selection = Selection {
        filter: Some(starting_with("phonenumber/1666")),
        ..Selection::default()
    };
    let replay = world.grid.replay(&to("es1", selection)).await.unwrap();
    world.replay_done(&replay).await;
    assert_eq!(ids(&replayed(&endpoint)), ["e1"]);
}

#[tokio::test]
async fn one_event_is_replayed_long_after_its_time_to_live_whatever_the_filter_says() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    let spec = SubscriptionSpec {
        filter: starting_with("phonenumber/1666"),
        ..SubscriptionSpec::to(endpoint.url())
    };
    let made = world
        .grid
        .put_event_subscription(&communication(), "es1", spec)
        .await;
    made.unwrap();
    world.texts_from(&["1555"]).await;
    world.advance(Duration::from_secs(2 * 86_400));
    endpoint.answer(|_| Reply::status(503));
    let one = |id: &str| {
        to(
            "es1",
            Selection {
                event_id: Some(id.into()),
                ..Selection::default()
            },
        )
    };
    let missing = world.grid.replay(&one("other")).await;
    assert!(matches!(missing, Err(ReplayError::NoEvent(_))));
    let replay = world.grid.replay(&one("e0")).await.unwrap();
    world.replay_done(&replay).await;
    assert_eq!(ids(&replayed(&endpoint)), ["e0"]);
    until("it waits", || {
        matches!(world.fate_of("e0"), Fate::Waiting { .. })
    })
    .await;
    let Fate::Waiting {
        replay: of,
        attempts,
        ..
    } = world.fate_of("e0")
    else {
        panic!()
    };
    assert_eq!((of, attempts), (Some(replay.id), 1));
}

#[tokio::test]
async fn a_replay_keeps_its_rate_and_goes_on_after_a_restart() {
    let (world, endpoint, replay) = slowly(5).await;
    let handed_over = |world: &World| world.grid.replay_named(replay.id).unwrap().handed_over;
    until("that is known", || handed_over(&world) == 1).await;
    until("the next step waits for its time", || {
        world.clock.next_alarm() <= Some(world.clock.now() + Duration::from_secs(1))
    })
    .await;
    world.advance(Duration::from_secs(1));
    until("the second is delivered", || replayed(&endpoint).len() == 2).await;
    until("that is known", || handed_over(&world) == 2).await;
    assert!(world.grid.replay_named(replay.id).unwrap().progress() < 1.0);

    let world = world.restart().await;
    for count in 3..=5 {
        until("one more is delivered", || {
            if replayed(&endpoint).len() < count {
                world.advance(Duration::from_millis(100));
            }
            count <= replayed(&endpoint).len()
        })
        .await;
    }
    until("the replay has ended", || {
        world.advance(Duration::from_millis(100));
        world.grid.replay_named(replay.id).unwrap().state == ReplayState::Done
    })
    .await;
    assert_eq!(ids(&replayed(&endpoint)), ["e0", "e1", "e2", "e3", "e4"]);
    assert!((world.grid.replay_named(replay.id).unwrap().progress() - 1.0).abs() < 1e-9);
}

#[tokio::test]
async fn a_replay_that_was_cancelled_hands_nothing_more_over() {
    let (world, endpoint, replay) = slowly(3).await;
    let ended = world.grid.end_replay(replay.id).await.unwrap();
    let Ended::Cancelled(cancelled) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(cancelled.state, ReplayState::Cancelled);
    let world = world.restart().await;
    world.advance(Duration::from_secs(10));
    until("all is quiet", || world.grid.pending().is_quiet()).await;
    assert_eq!(replayed(&endpoint).len(), 1);
    let again = world.grid.end_replay(replay.id).await.unwrap();
    assert_eq!(again, Ended::Forgotten);
    let again = world.grid.end_replay(replay.id).await.unwrap();
    assert_eq!(again, Ended::Unknown);
}

#[tokio::test]
async fn a_replay_waits_for_a_destination_that_does_not_keep_up() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    for number in 0..2_500 {
        world.text(&format!("e{number}"), "1").await;
    }
    until("they are delivered", || world.grid.pending().is_quiet()).await;
    endpoint.answer(|_| Reply::status(404));
    let spec = to("es1", Selection::default());
    let replay = world.grid.replay(&spec).await.unwrap();
    until("it has begun", || {
        world.advance(Duration::from_millis(100));
        1_000 < world.grid.replay_named(replay.id).unwrap().handed_over
    })
    .await;
    for _ in 0..5 {
        world.advance(Duration::from_secs(1));
        until("all is quiet", || world.grid.pending().is_quiet()).await;
    }
    let so_far = world.grid.replay_named(replay.id).unwrap();
    assert!(so_far.handed_over < 2_500, "{so_far:?}");
    assert_eq!(so_far.state, ReplayState::Running);
}

#[tokio::test]
async fn a_replay_ends_with_its_subscription() {
    let (world, _endpoint, replay) = slowly(3).await;
    world
        .grid
        .delete_event_subscription(&communication().id, "es1")
        .await
        .unwrap();
    until("it has failed", || {
        world.advance(Duration::from_millis(500));
        let state = world.grid.replay_named(replay.id).unwrap().state;
        matches!(state, ReplayState::Failed(_))
    })
    .await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    let nobody = world.grid.preview_replay(&to("es2", Selection::default()));
    assert!(matches!(nobody, Err(ReplayError::NoSubscription(_))));
    let backwards = Selection {
        from: Some(BEGINNING),
        to: Some(BEGINNING),
        ..Selection::default()
    };
    for spec in [
        to("es1", backwards),
        ReplaySpec {
            rate: 0,
            ..to("es1", Selection::default())
        },
        ReplaySpec {
            rate: 10_001,
            ..to("es1", Selection::default())
        },
    ] {
        let refused = world.grid.preview_replay(&spec);
        assert!(matches!(refused, Err(ReplayError::Invalid(_))), "{spec:?}");
    }
}
