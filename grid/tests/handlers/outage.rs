//! What must hold for every kind of destination: no event is lost while its peer is stopped and started again.

use std::collections::HashSet;
use std::time::Duration;

use gridpost_grid::DeadLetterQuery;

use crate::process::End;
pub(crate) use crate::process::Peer;
use crate::world::{World, until};

/// Delivers events, a third before each of two outages and some while they last, and waits for the rest. The peer
/// is ended in good order the first time and at once the second time if it promises to keep what it took even so.
pub(crate) async fn endure(world: &World, peer: &mut impl Peer, second: End) {
    let all = events();
    let mut published = 0;
    for (stop, how) in [(1, End::Orderly), (2, second)] {
        let before = delivered(world);
        let some = all * stop / 3;
        world.publish(published..some, 10).await;
        published = some;
        until("some are delivered", || before + 50 < delivered(world)).await;
        peer.stop(how).await;
        // These find it down.
        let more = some + all / 10;
        world.publish(published..more, 10).await;
        published = more;
        world.advance(Duration::from_secs(15)).await;
        peer.start_again().await;
        world.advance(Duration::from_secs(60)).await;
    }
    world.publish(published..all, 10).await;
    // The steps of the schedule that the outages left.
    world.advance(Duration::from_secs(900)).await;
    let pending = world.grid.pending();
    assert_eq!((pending.waiting, pending.held), (0, 0), "{pending:?}");
    let letters = world.grid.dead_letters(&DeadLetterQuery::default());
    assert!(letters.unwrap().is_empty());
}

/// Fails unless every id was seen; says how many messages there were.
#[expect(clippy::print_stderr, reason = "the figures are the point of the test")]
pub(crate) fn check(kind: &str, seen: impl IntoIterator<Item = String>) {
    let (mut count, mut found) = (0, HashSet::new());
    for id in seen {
        count += 1;
        found.insert(id);
    }
    let all = events();
    let missing: Vec<_> = (0..all)
        .filter(|id| !found.contains(&id.to_string()))
        .collect();
    eprintln!(
        "{kind}: {all} events, {} distinct ids in {count} messages, {} missing",
        found.len(),
        missing.len()
    );
    assert!(missing.is_empty(), "{kind}: such as {:?}", missing.first());
}

fn delivered(world: &World) -> u64 {
    let lanes = world.grid.metrics().lanes;
    lanes.iter().map(|lane| lane.counts.delivered).sum()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the gate runs a short form of these tests"
)]
fn events() -> usize {
    let given = std::env::var("GRIDPOST_TEST_EVENTS").ok();
    given.map_or(1_000, |text| text.parse().unwrap())
}
