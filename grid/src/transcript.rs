//! What was said in a handshake, for the person whose endpoint did not agree.
//!
//! Promise: everything that was sent and came back, but for secrets (the endpoint's query, credentials, secret delivery
//! attributes) and the rest of a long body.
//! Not here: what is made of it (`handshake`).

use std::fmt;
use std::time::Duration;

use gridpost_model::Timestamp;
use http::{HeaderMap, Method};
use serde::Serialize;

use crate::exchange::{MASK, is_secret};
use crate::outbound::Outcome;

/// How much of an answer's body is shown.
const SHOWN_BYTES: usize = 1024;

/// Everything that was said in a handshake.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transcript {
    /// Requests and what came back, in order.
    pub exchanges: Vec<Exchange>,
    /// What was made of it, in a sentence.
    pub conclusion: String,
    /// What would have been an agreement.
    pub expected: String,
}

/// One request and what came back.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// When it was sent.
    pub at: Timestamp,
    /// `POST` or `OPTIONS`.
    pub method: String,
    /// The endpoint, without its secret query.
    pub url: String,
    /// What was sent, without `host` and `content-length`.
    pub headers: Vec<(String, String)>,
    /// The body that was sent.
    pub body: String,
    /// What came back.
    pub answer: Answer,
    /// How long it took.
    pub took_ms: u64,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// An HTTP answer.
    #[serde(rename_all = "camelCase")]
    Answered {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// The beginning of its body.
        body: String,
    },
    /// None, and why.
    Failed(String),
}

impl Exchange {
    pub(crate) fn new(
        at: Timestamp,
        took: Duration,
        method: &Method,
        url: &str,
        headers: &HeaderMap,
        body: &[u8],
        outcome: &Outcome,
    ) -> Self {
        Self {
            at,
            method: method.to_string(),
            url: url.to_owned(),
            headers: shown(headers),
            body: String::from_utf8_lossy(body).into_owned(),
            answer: Answer::of(outcome),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Answer {
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Failed(failure) => Self::Failed(failure.to_string()),
            Outcome::Answered(answer) => {
                let body = &answer.body[..answer.body.len().min(SHOWN_BYTES)];
                Self::Answered {
                    status: answer.status.as_u16(),
                    headers: shown(&answer.headers),
                    body: String::from_utf8_lossy(body).into_owned(),
                }
            }
        }
    }
}

fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let text = match is_secret(name.as_str(), value, &[]) {
                true => MASK.into(),
                false => String::from_utf8_lossy(value.as_bytes()),
            };
            (name.to_string(), text.into_owned())
        })
        .collect()
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.exchanges {
            writeln!(f, "{} {} {}", one.at, one.method, one.url)?;
            for (name, value) in &one.headers {
                writeln!(f, "> {name}: {value}")?;
            }
            if !one.body.is_empty() {
                writeln!(f, "> {}", one.body)?;
            }
            match &one.answer {
                Answer::Failed(why) => writeln!(f, "< {why} ({} ms)", one.took_ms)?,
                Answer::Answered {
                    status,
                    headers,
                    body,
                } => {
                    writeln!(f, "< {status} ({} ms)", one.took_ms)?;
                    for (name, value) in headers {
                        writeln!(f, "< {name}: {value}")?;
                    }
                    if !body.is_empty() {
                        writeln!(f, "< {body}")?;
                    }
                }
            }
        }
        f.write_str(&self.conclusion)?;
        if self.expected.is_empty() {
            return Ok(());
        }
        write!(f, " Expected: {}", self.expected)
    }
}
