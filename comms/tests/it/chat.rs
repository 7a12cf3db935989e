//! Chat: what is kept, who hears of it, and what survives.

mod disconnect;
mod events;
mod late;
mod live;
mod messages;
mod threads;

use std::collections::BTreeMap;
use std::time::Duration;

use gridpost_comms::chat::{Candidate, Draft, NewThread, Retention, Thread};
use gridpost_comms::identity::{Lifetime, NewIdentity, Scope, Scopes, TokenWish, User};
use gridpost_model::Timestamp;

use crate::world::World;

const DAY: Duration = Duration::from_secs(86_400);

async fn user(world: &World) -> User {
    let wish = NewIdentity {
        custom_id: None,
        token: Some(TokenWish {
            scopes: Scopes::of_one(Scope::Chat),
            lifetime: Lifetime::default(),
        }),
    };
    let made = world.comms.create_identity(&world.dev(), wish).await;
    let token = made.unwrap().token.unwrap();
    User {
        expires: Timestamp::FAR_FUTURE,
        ..world.comms.user_of(token.text.reveal()).unwrap()
    }
}

pub(crate) async fn users(world: &World, count: usize) -> Vec<User> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(user(world).await);
    }
    all
}

fn candidate(user: &User) -> Candidate {
    Candidate {
        id: user.id.to_string(),
        ..Candidate::default()
    }
}

fn about(topic: &str, people: &[User]) -> NewThread {
    NewThread {
        topic: topic.into(),
        participants: people.iter().map(candidate).collect(),
        metadata: BTreeMap::new(),
        retention: Retention::Unlimited,
        request_id: None,
    }
}

pub(crate) async fn thread(world: &World, creator: &User, others: &[User]) -> Thread {
    let chat = world.comms.chat(creator);
    chat.create(about("plans", others)).await.unwrap().thread
}

pub(crate) fn text(text: &str) -> Draft {
    Draft {
        text: text.into(),
        ..Draft::default()
    }
}

/// How many events of each type were staged, without those that were there already.
fn counted(world: &World, already: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in &world.events()[already..] {
        let name = event["eventType"].as_str().unwrap();
        let name = name.trim_start_matches("Microsoft.Communication.");
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

fn expected(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    let owned = |(name, count): &(&str, usize)| ((*name).to_owned(), *count);
    counts.iter().map(owned).collect()
}
