//! Which hosts of endpoints answer, as far as one run knows.
//!
//! Promise: a host of which nothing is known is asked by one event subscription at a time; when it did not answer in
//! time, no other one has to wait for it as well.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use url::{Position, Url};

use crate::session::NotChanged;

/// What is known of a host.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Known {
    #[default]
    Nothing,
    Answers,
    Silent,
}

/// The hosts of one run. Whoever finds out about one holds it meanwhile.
#[derive(Default)]
pub(super) struct Hosts(Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Known>>>>);

/// The right to have an endpoint asked.
pub(super) enum Turn {
    /// Nothing is known of its host yet.
    First(OwnedMutexGuard<Known>),
    /// The host answers, or nobody is asked.
    Any,
}

impl Hosts {
    /// Waits until something is known of an endpoint's host, or it is our turn to find out.
    ///
    /// # Errors
    /// It is known not to answer; why, in words.
    pub(super) async fn turn(&self, endpoint: Option<&str>) -> Result<Turn, String> {
        let Some(name) = endpoint.and_then(name_of) else {
            return Ok(Turn::Any);
        };
        let host = Arc::clone(self.0.lock().entry(name.clone()).or_default());
        let known = host.lock_owned().await;
        match *known {
            Known::Nothing => Ok(Turn::First(known)),
            Known::Answers => Ok(Turn::Any),
            Known::Silent => Err(format!(
                "{name} did not answer in time when it was asked for another event subscription, and was not asked again"
            )),
        }
    }
}

impl Turn {
    /// Says what was found out.
    pub(super) fn learn<T>(self, told: &Result<T, NotChanged>) {
        let Self::First(mut known) = self else { return };
        *known = match told {
            Ok(_) | Err(NotChanged::Disagreed(_)) => Known::Answers,
            Err(NotChanged::Silent(_)) => Known::Silent,
            Err(NotChanged::Meanwhile | NotChanged::Failed(_)) => Known::Nothing,
        };
    }
}

/// Scheme, host and port; `None` for what is no URL, which the server will say.
fn name_of(endpoint: &str) -> Option<String> {
    let url = Url::parse(endpoint).ok()?;
    url.has_host()
        .then(|| url[..Position::AfterPort].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_without_secrets_of_its_urls() {
        let named = |url: &str| name_of(url);
        assert_eq!(
            named("https://H.example:8443/api?code=1").as_deref(),
            Some("https://h.example:8443")
        );
        assert_eq!(named("hook"), None);
        assert_eq!(named("mailto:a@b"), None);
    }

    #[tokio::test]
    async fn what_says_nothing_of_a_host_leaves_the_next_one_to_find_out() {
        let hosts = Hosts::default();
        let endpoint = Some("https://h/x");
        let refused = Err::<(), _>(NotChanged::Meanwhile);
        hosts.turn(endpoint).await.unwrap().learn(&refused);
        let turn = hosts.turn(endpoint).await.unwrap();
        assert!(matches!(turn, Turn::First(_)));
        turn.learn(&Ok(()));
        assert!(matches!(hosts.turn(endpoint).await.unwrap(), Turn::Any));
    }
}
