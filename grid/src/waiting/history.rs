//! What was tried so far for one delivery, as its row tells of it.
//!
//! Promise: every attempt is told of, those before it was brought back included; the newest of them when there are very
//! many. A row of an earlier version is read.
//! Not here: when the next attempt is due (`retry`), what is told of recent attempts (`recent`).

use gridpost_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::replay::ReplayId;
use crate::retry::{Outcome, Reason, Verdict};
use crate::tail::Attempted;

/// What was tried so far for one delivery.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct History {
    /// Time to live counts from here: when the event was published, or brought back from the dead letters.
    pub(crate) since: Timestamp,
    /// Attempts made.
    pub(crate) attempts: u32,
    /// When the first attempt began.
    #[serde(default)]
    pub(crate) first: Option<Timestamp>,
    /// How the last attempt ended.
    #[serde(default)]
    pub(crate) last: Option<LastAttempt>,
    /// Every attempt made, those before it was brought back included; the newest of them when there are very many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tried: Vec<Tried>,
    /// The replay it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replay: Option<ReplayId>,
}

/// Attempts of one delivery that its row tells of: those of two lives with the usual policy.
const TRIED: usize = 64;

/// One attempt, as a row tells of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Tried {
    /// Its number; the first is 1.
    #[serde(rename = "n")]
    pub(crate) number: u32,
    /// When it began, in ticks.
    #[serde(rename = "t")]
    pub(crate) at: i64,
    /// How long it took, in microseconds.
    #[serde(rename = "us")]
    pub(crate) took_us: u64,
    /// What the destination did.
    #[serde(rename = "o")]
    pub(crate) outcome: Outcome,
    /// The status it answered with.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// When the next one was due, in ticks.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<i64>,
    /// Why it was the last.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Reason>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LastAttempt {
    /// When it ended.
    pub(crate) at: Timestamp,
    /// What the destination did.
    pub(crate) outcome: Outcome,
    /// The status it answered with.
    #[serde(default)]
    pub(crate) status: Option<u16>,
}

impl History {
    /// Nothing was tried.
    pub(crate) fn fresh(since: Timestamp) -> Self {
        Self {
            since,
            attempts: 0,
            first: None,
            last: None,
            tried: Vec::new(),
            replay: None,
        }
    }

    /// Nothing was tried in this life; what was tried in earlier ones is still told of.
    pub(crate) fn again(since: Timestamp, tried: Vec<Tried>, replay: Option<ReplayId>) -> Self {
        Self {
            tried,
            replay,
            ..Self::fresh(since)
        }
    }

    /// The attempts so far and one more.
    pub(crate) fn tried_and(&self, attempt: &Attempted) -> Vec<Tried> {
        let skipped = (self.tried.len() + 1).saturating_sub(TRIED);
        let mut tried = self.tried[skipped..].to_vec();
        tried.push(Tried {
            number: attempt.number,
            at: attempt.at.ticks(),
            took_us: u64::try_from(attempt.took.as_micros()).unwrap_or(u64::MAX),
            outcome: attempt.outcome,
            status: attempt.status,
            due: match attempt.verdict {
                Verdict::Retry { due } => Some(due.ticks()),
                Verdict::Delivered | Verdict::GiveUp(_) => None,
            },
            reason: match attempt.verdict {
                Verdict::GiveUp(reason) => Some(reason),
                Verdict::Delivered | Verdict::Retry { .. } => None,
            },
        });
        tried
    }
}
