//! Tokens for Entra-protected endpoints.
//!
//! Promise: a token is used until shortly before it expires and asked for once however many connections wait for it;
//! when none can be had nothing is sent, and the attempt has failed.
//! Not here: who issues tokens (`server` says), which endpoints ask for them (`destination`).
//! Source: reference event-grid 5.8.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gridpost_model::subscription::Entra;
use gridpost_model::{Clock, Secret, Timestamp};
use http::HeaderValue;
use parking_lot::Mutex;

use crate::outbound::Failure;

/// A token this near to its end is not used any more: a request may be under way for 30 s, and clocks differ.
const MARGIN: Duration = Duration::from_secs(120);

/// Who issues tokens.
pub trait TokenSource: Send + Sync {
    /// A token that lets us in at this application.
    fn token<'a>(&'a self, entra: &'a Entra) -> BoxFuture<'a, Result<Token, NoToken>>;
}

/// A bearer token.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its text, without `Bearer`.
    pub text: Secret,
    /// It is not valid from then on.
    pub expires: Timestamp,
}

/// No token was issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoToken(pub String);

/// A token in the form of its header, until it should not be used any more.
type Kept = Option<(HeaderValue, Timestamp)>;

/// The tenant and the application that a token is for.
type Wanted = (String, String);

/// Where a token is kept; locked while it is asked for.
type Slot = Arc<tokio::sync::Mutex<Kept>>;

/// Tokens that are in use.
pub(crate) struct Tokens {
    source: Option<Arc<dyn TokenSource>>,
    clock: Arc<dyn Clock>,
    /// One per application; whoever asks first asks for all.
    kept: Mutex<HashMap<Wanted, Slot>>,
}

impl Tokens {
    pub(crate) fn new(source: Option<Arc<dyn TokenSource>>, clock: Arc<dyn Clock>) -> Self {
        Self {
            source,
            clock,
            kept: Mutex::default(),
        }
    }

    /// The `Authorization` header for an application.
    pub(crate) async fn header(&self, entra: &Entra) -> Result<HeaderValue, Failure> {
        let Some(source) = &self.source else {
            let text = "this server has no issuer of tokens";
            return Err(Failure::Token(text.to_owned()));
        };
        let cell = self.cell(entra);
        let mut kept = cell.lock().await;
        if let Some((header, until)) = &*kept
            && self.clock.wall() < *until
        {
            return Ok(header.clone());
        }
        let token = source
            .token(entra)
            .await
            .map_err(|error| Failure::Token(error.to_string()))?;
        let text = format!("Bearer {}", token.text.reveal());
        let mut header = HeaderValue::try_from(text)
            .map_err(|_| Failure::Token("what was issued is not a token".to_owned()))?;
        header.set_sensitive(true);
        let left = token.expires.since(self.clock.wall());
        let until = self.clock.wall() + left.saturating_sub(MARGIN);
        *kept = Some((header.clone(), until));
        Ok(header)
    }

    fn cell(&self, entra: &Entra) -> Arc<tokio::sync::Mutex<Kept>> {
        let name = (entra.tenant.clone(), entra.application.clone());
        let mut all = self.kept.lock();
        if !all.contains_key(&name) {
            // What nobody asks for any more goes when somebody new comes, so there are no more than are in use.
            let now = self.clock.wall();
            all.retain(|_, cell| match cell.try_lock() {
                Ok(kept) => kept.as_ref().is_some_and(|(_, until)| now < *until),
                Err(_) => true,
            });
        }
        Arc::clone(all.entry(name).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct Counting(AtomicU32, Arc<dyn Clock>);

    impl TokenSource for Counting {
        fn token<'a>(&'a self, entra: &'a Entra) -> BoxFuture<'a, Result<Token, NoToken>> {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            let token = Token {
                text: Secret::new(format!("{}-{number}", entra.application)),
                expires: self.1.now() + Duration::from_secs(3_600),
            };
            Box::pin(async move { Ok(token) })
        }
    }

    fn entra(application: &str) -> Entra {
        Entra {
            tenant: "t".into(),
            application: application.into(),
        }
    }

    #[tokio::test]
    async fn section_5_8_a_token_is_used_until_shortly_before_its_end() {
        let clock = gridpost_sim::VirtualClock::at(Timestamp::from_seconds(1_800_000_000));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let source = Counting(AtomicU32::new(0), Arc::clone(&shared));
        let tokens = Tokens::new(Some(Arc::new(source)), shared);
        assert_eq!(tokens.header(&entra("a")).await.unwrap(), "Bearer a-0");
        assert_eq!(tokens.header(&entra("b")).await.unwrap(), "Bearer b-1");
        clock.turn_to(clock.now() + Duration::from_secs(3_600 - 121));
        assert_eq!(tokens.header(&entra("a")).await.unwrap(), "Bearer a-0");
        clock.turn_to(clock.now() + Duration::from_secs(1));
        let renewed = tokens.header(&entra("a")).await.unwrap();
        assert_eq!(renewed, "Bearer a-2");
        assert!(renewed.is_sensitive());
    }

    #[tokio::test]
    async fn without_an_issuer_there_is_no_token() {
        let clock = crate::testing::StoppedClock(Timestamp::EPOCH);
        let tokens = Tokens::new(None, Arc::new(clock));
        let failed = tokens.header(&entra("a")).await.unwrap_err();
        assert!(matches!(failed, Failure::Token(_)));
    }
}
