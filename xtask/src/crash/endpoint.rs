//! The webhook of the crash test, outside the process that dies.
//!
//! Promise: what it does with an event depends on the event alone: most are taken, some are taken at the second
//! attempt, some are refused for good, so that every ending and the retry table are under test.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::ledger::Ledger;
use crate::clock;
use crate::http::{self, Message, Serving};

/// A lane that takes everything at once.
pub(crate) const STEADY: &str = "steady";
/// A lane that takes some events late and some never.
pub(crate) const MOODY: &str = "moody";
/// The lane of inbound text messages.
pub(crate) const TEXTS: &str = "texts";

const LANES: [&str; 3] = [STEADY, MOODY, TEXTS];

/// The running endpoint.
pub(crate) struct Endpoint(Serving);

impl Endpoint {
    /// Starts it.
    pub(crate) fn serve(ledger: Arc<Ledger>) -> Result<Self> {
        let seen = Mutex::new(HashSet::new());
        let handler = move |request: &Message| answer(request, &ledger, &seen);
        Ok(Self(http::serve(Arc::new(handler))?))
    }

    /// The webhook URL of a lane.
    pub(crate) fn url(&self, lane: &str) -> String {
        format!("http://{}/{lane}", self.0.address)
    }

    /// Waits until the last request of a server that was killed has been answered into the void.
    ///
    /// Otherwise it would be counted as taken after the kill, and its repeat would look like one without a kill.
    pub(crate) fn drain(&self) -> Result<()> {
        let drained = || Ok((self.0.connections() == 0).then_some(()));
        clock::until(
            "the end of a killed server's requests",
            Duration::from_secs(10),
            drained,
        )
    }
}

fn answer(request: &Message, ledger: &Ledger, seen: &Mutex<HashSet<String>>) -> (u16, Vec<u8>) {
    let Some(lane) = LANES
        .into_iter()
        .find(|lane| request.path() == format!("/{lane}"))
    else {
        return (404, Vec::new());
    };
    let Ok(Value::Array(events)) = request.json() else {
        return (400, Vec::new());
    };
    if request.header("aeg-event-type") == Some("SubscriptionValidation") {
        let code = &events[0]["data"]["validationCode"];
        return (
            200,
            json!({ "validationResponse": code })
                .to_string()
                .into_bytes(),
        );
    }
    let Some(id) = events.first().and_then(|event| event["id"].as_str()) else {
        return (400, Vec::new());
    };
    let status = match mood(lane, id) {
        Mood::Takes => 200,
        Mood::Refuses => 400,
        Mood::TakesLater => {
            let mut seen = seen.lock().expect("nobody panics while holding it");
            if seen.insert(id.to_owned()) { 500 } else { 200 }
        }
    };
    if status == 200 {
        ledger.take(lane, id);
    }
    (status, Vec::new())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Takes,
    TakesLater,
    Refuses,
}

/// One in twenty each way: rare enough that ten failures in a row, which put a lane on probation, practically never
/// come.
fn mood(lane: &str, id: &str) -> Mood {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    match hasher.finish() % 20 {
        0 if lane == MOODY => Mood::Refuses,
        1 if lane == MOODY => Mood::TakesLater,
        _ => Mood::Takes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moody_lane_meets_every_ending_and_the_others_only_one() {
        let ids: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        let count = |lane, wanted| ids.iter().filter(|id| mood(lane, id) == wanted).count();
        for wanted in [Mood::TakesLater, Mood::Refuses] {
            assert!((20..=80).contains(&count(MOODY, wanted)), "{wanted:?}");
            assert_eq!(count(STEADY, wanted), 0);
        }
    }
}
