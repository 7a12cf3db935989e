//! What a page of a long thread costs. Ignored by default: it writes 100,000 messages.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::chat::{text, thread, users};
use crate::world::World;

const MESSAGES: usize = 100_000;
const AT_ONCE: usize = 1000;

#[expect(
    clippy::disallowed_methods,
    reason = "what is measured here is the machine's time"
)]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test]
#[ignore = "writes 100,000 messages; run it with --run-ignored only"]
async fn a_page_costs_the_same_anywhere_in_a_hundred_thousand_messages() {
    let world = World::start().await;
    let all = users(&world, 2).await;
    let made = thread(&world, &all[0], &all[1..]).await;
    let chat = world.comms.chat(&all[0]);
    for _ in 0..MESSAGES / AT_ONCE {
        let sent = join_all((0..AT_ONCE).map(|_| chat.send(&made.id, text("some words")))).await;
        assert!(sent.into_iter().all(|one| one.is_ok()));
    }
    let (mut costs, mut before) = (Vec::new(), None);
    loop {
        let began = now();
        let page = chat.messages(&made.id, None, before, Some(100)).unwrap();
        costs.push(began.elapsed());
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let (newest, oldest) = (median(&costs[..100]), median(&costs[costs.len() - 100..]));
    println!(
        "a page of 100: newest {newest:?}, oldest {oldest:?}, of {} pages",
        costs.len()
    );
    assert!(
        oldest < newest * 3 && newest < oldest * 3,
        "{newest:?} {oldest:?}"
    );
}

fn median(costs: &[Duration]) -> Duration {
    let mut sorted = costs.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}
