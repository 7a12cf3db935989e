//! Faults on purpose: what a test or a demonstration does to deliveries on their way.
//!
//! Promise: a fault strikes only the attempts it names, as often and as likely as it says, and every attempt it struck
//! can be told by its name. Without faults an attempt costs one relaxed load. Faults live in memory: a restart ends them.
//! Not here: who may set one (`api::own::faults`), what an outcome means (`retry`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gridpost_model::{Chance, Clock, Timestamp};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use parking_lot::Mutex;

use crate::Grid;
use crate::destination::Prepared;
use crate::lane::Plan;
use crate::outbound::{Failure, Response};
use crate::retry::Outcome;

/// How many faults there are at most: each is looked at on each attempt.
pub const FAULTS_LIMIT: usize = 64;

/// How long an attempt is delayed at most: longer than any is waited for.
pub const DELAY_LIMIT: Duration = Duration::from_secs(60);

/// Names the fault on an answer that it made or let through.
const FAULT: HeaderName = HeaderName::from_static("gridpost-fault");

/// What is done to which attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Only to those of the event subscription of this name, in any case of letters.
    pub subscription: Option<String>,
    /// Only to those that go to a webhook on this host, in any case of letters.
    pub host: Option<String>,
    /// What is done.
    pub kind: Kind,
    /// For how many attempts it holds; absent: for all.
    pub times: Option<u32>,
    /// How likely it strikes an attempt it could strike: above 0, at most 1.
    pub probability: f64,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
}

/// What is done to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing is sent, and this status is the answer. Never one that means success.
    Status(StatusCode),
    /// It is sent that much later.
    Delay(Duration),
    /// Nothing is sent, and no answer comes.
    Hang,
    /// Nothing is sent, and the connection breaks.
    Reset,
    /// It is sent twice; the second answer counts.
    Duplicate,
}

/// A fault that was set, and what it did so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Its name.
    pub name: Arc<str>,
    /// What it does.
    pub fault: Fault,
    /// How many attempts it struck.
    pub struck: u64,
}

impl Standing {
    /// For how many more attempts it holds.
    pub fn left(&self) -> Option<u64> {
        let times = u64::from(self.fault.times?);
        Some(times.saturating_sub(self.struck))
    }
}

/// There are [`FAULTS_LIMIT`] faults already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are 64 faults already; clear one first")]
pub struct TooManyFaults;

/// All faults.
#[derive(Debug, Default)]
pub struct Faults {
    /// Whether there are any. Read on every attempt.
    any: AtomicBool,
    /// Attempts that end by time alone.
    waiting_for_time: AtomicU64,
    set: Mutex<BTreeMap<Arc<str>, Standing>>,
}

impl Grid {
    /// The faults that are injected into deliveries.
    pub fn faults(&self) -> &Faults {
        &self.0.delivery.shared().faults
    }
}

impl Faults {
    /// Sets a fault, in place of the one of that name. Returns whether there was none.
    ///
    /// # Errors
    /// There are too many.
    pub fn put(&self, name: &str, fault: Fault) -> Result<bool, TooManyFaults> {
        let mut set = self.set.lock();
        if FAULTS_LIMIT <= set.len() && !set.contains_key(name) {
            return Err(TooManyFaults);
        }
        let name: Arc<str> = name.into();
        let standing = Standing {
            name: Arc::clone(&name),
            fault,
            struck: 0,
        };
        let is_new = set.insert(name, standing).is_none();
        self.any.store(true, Ordering::Relaxed);
        Ok(is_new)
    }

    /// Ends a fault. Tells whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        let mut set = self.set.lock();
        let removed = set.remove(name).is_some();
        self.any.store(!set.is_empty(), Ordering::Relaxed);
        removed
    }

    /// The faults by name, without those that have expired.
    pub fn list(&self, now: Timestamp) -> Vec<Standing> {
        let mut set = self.set.lock();
        self.forget_expired(&mut set, now);
        set.values().cloned().collect()
    }

    /// How many attempts a fault holds that end by time alone.
    pub fn waiting_for_time(&self) -> u64 {
        self.waiting_for_time.load(Ordering::Relaxed)
    }

    /// Whether there is any fault. One relaxed load.
    pub(crate) fn are_set(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    fn forget_expired(&self, set: &mut BTreeMap<Arc<str>, Standing>, now: Timestamp) {
        set.retain(|_, standing| standing.fault.expires.is_none_or(|expires| now < expires));
        self.any.store(!set.is_empty(), Ordering::Relaxed);
    }

    /// The fault that strikes an attempt, if any does: the first by name that fits and has luck.
    pub(crate) fn strike(
        &self,
        plan: &Plan,
        now: Timestamp,
        chance: &dyn Chance,
    ) -> Option<Struck<'_>> {
        let host = match &plan.destination {
            Ok(Prepared::Webhook(hook)) => Some(hook.endpoint().host()),
            _ => None,
        };
        self.choose(&plan.name, host, now, chance)
    }

    fn choose(
        &self,
        subscription: &str,
        host: Option<&str>,
        now: Timestamp,
        chance: &dyn Chance,
    ) -> Option<Struck<'_>> {
        let mut set = self.set.lock();
        self.forget_expired(&mut set, now);
        let mut fitting = set
            .values_mut()
            .filter(|standing| standing.left() != Some(0))
            .filter(|standing| standing.fault.fits(subscription, host));
        // A certain fault draws no lot, so that setting one changes no other decision of a seeded run.
        let standing = fitting.find(|standing| {
            1.0 <= standing.fault.probability || chance.fraction() < standing.fault.probability
        })?;
        standing.struck += 1;
        Some(Struck {
            faults: self,
            name: Arc::clone(&standing.name),
            kind: standing.fault.kind,
        })
    }
}

impl Fault {
    fn fits(&self, subscription: &str, host: Option<&str>) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted
                .as_ref()
                .is_none_or(|wanted| found.is_some_and(|found| found.eq_ignore_ascii_case(wanted)))
        };
        is(&self.subscription, Some(subscription)) && is(&self.host, host)
    }
}

/// A fault that struck an attempt.
#[derive(Debug)]
pub(crate) struct Struck<'a> {
    faults: &'a Faults,
    name: Arc<str>,
    kind: Kind,
}

impl Struck<'_> {
    /// Does what comes before sending. `Some`: nothing is sent, and this is how the attempt ends.
    pub(crate) async fn before(
        &self,
        clock: &dyn Clock,
        deadline: Timestamp,
    ) -> Option<Result<Response, Failure>> {
        match self.kind {
            Kind::Status(status) => Some(Ok(self.answer(status))),
            Kind::Reset => Some(Err(
                self.failure(Outcome::SocketError, "the connection was reset")
            )),
            Kind::Duplicate => None,
            Kind::Hang => {
                self.wait(clock, deadline).await;
                Some(Err(self.timed_out()))
            }
            Kind::Delay(delay) => {
                let until = clock.now() + delay;
                self.wait(clock, until.min(deadline)).await;
                (deadline <= until).then(|| Err(self.timed_out()))
            }
        }
    }

    /// Whether the attempt is made twice.
    pub(crate) fn doubles(&self) -> bool {
        self.kind == Kind::Duplicate
    }

    /// Leaves its name on what came back.
    pub(crate) fn marked(&self, received: Result<Response, Failure>) -> Result<Response, Failure> {
        received.map(|mut response| {
            self.mark(&mut response.headers);
            response
        })
    }

    fn mark(&self, headers: &mut HeaderMap) {
        if let Ok(name) = HeaderValue::from_str(&self.name) {
            headers.insert(FAULT, name);
        }
    }

    async fn wait(&self, clock: &dyn Clock, until: Timestamp) {
        let _waits = Waits::at(&self.faults.waiting_for_time);
        clock.sleep_until(until).await;
    }

    fn answer(&self, status: StatusCode) -> Response {
        let mut headers = HeaderMap::new();
        self.mark(&mut headers);
        Response {
            status,
            headers,
            body: Bytes::from(format!("Injected by the fault '{}'.", self.name)),
        }
    }

    fn timed_out(&self) -> Failure {
        self.failure(Outcome::TimedOut, "no answer within the time limit")
    }

    fn failure(&self, outcome: Outcome, what: &str) -> Failure {
        let detail = format!("{what}; injected by the fault '{}'", self.name);
        Failure::Handler { outcome, detail }
    }
}

/// One attempt that waits for time, counted until it ends or is cancelled.
struct Waits<'a>(&'a AtomicU64);

impl<'a> Waits<'a> {
    fn at(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws the same number for ever.
    struct Always(u8);

    impl Chance for Always {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn fault(kind: Kind) -> Fault {
        Fault {
            subscription: None,
            host: None,
            kind,
            times: None,
            probability: 1.0,
            expires: None,
        }
    }

    fn struck(faults: &Faults, subscription: &str, host: Option<&str>) -> Option<String> {
        let struck = faults.choose(subscription, host, NOW, &Always(0));
        struck.map(|struck| struck.name.to_string())
    }

    #[test]
    fn a_fault_strikes_whom_it_names() {
        let faults = Faults::default();
        assert!(!faults.are_set());
        let of_shop = Fault {
            subscription: Some("Shop".into()),
            ..fault(Kind::Reset)
        };
        let of_host = Fault {
            host: Some("a.example".into()),
            ..fault(Kind::Hang)
        };
        assert_eq!(faults.put("1", of_shop), Ok(true));
        assert_eq!(faults.put("2", of_host), Ok(true));
        assert!(faults.are_set());
        assert_eq!(struck(&faults, "shop", None).as_deref(), Some("1"));
        let elsewhere = struck(&faults, "other", Some("A.example"));
        assert_eq!(elsewhere.as_deref(), Some("2"));
        assert_eq!(struck(&faults, "other", Some("b.example")), None);
        assert_eq!(struck(&faults, "other", None), None);
        assert!(faults.remove("1") && faults.remove("2") && !faults.remove("2"));
        assert!(!faults.are_set());
    }

    #[test]
    fn a_fault_ends_after_its_times_and_at_its_moment() {
        let faults = Faults::default();
        let twice = Fault {
            times: Some(2),
            ..fault(Kind::Reset)
        };
        faults.put("twice", twice).unwrap();
        assert!(struck(&faults, "shop", None).is_some());
        assert!(struck(&faults, "shop", None).is_some());
        assert_eq!(struck(&faults, "shop", None), None);
        let listed = faults.list(NOW);
        assert_eq!((listed[0].struck, listed[0].left()), (2, Some(0)));

        let brief = Fault {
            expires: Some(NOW),
            ..fault(Kind::Reset)
        };
        assert_eq!(faults.put("twice", brief), Ok(false));
        assert_eq!(struck(&faults, "shop", None), None);
        assert!(faults.list(NOW).is_empty() && !faults.are_set());
    }

    #[test]
    fn chance_decides_about_a_fault_that_is_not_certain() {
        let faults = Faults::default();
        let half = Fault {
            probability: 0.5,
            ..fault(Kind::Reset)
        };
        faults.put("half", half).unwrap();
        assert!(faults.choose("shop", None, NOW, &Always(0)).is_some());
        assert!(faults.choose("shop", None, NOW, &Always(0xff)).is_none());
    }

    #[test]
    fn there_is_a_bound() {
        let faults = Faults::default();
        for number in 0..FAULTS_LIMIT {
            faults.put(&number.to_string(), fault(Kind::Hang)).unwrap();
        }
        assert_eq!(faults.put("more", fault(Kind::Hang)), Err(TooManyFaults));
        assert_eq!(faults.put("7", fault(Kind::Reset)), Ok(false));
    }

    #[test]
    fn an_attempt_that_was_struck_names_its_fault() {
        let faults = Faults::default();
        let struck = Struck {
            faults: &faults,
            name: "flaky".into(),
            kind: Kind::Reset,
        };
        let answer = struck.answer(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers["gridpost-fault"], "flaky");
        let passed = struck.marked(Ok(answer)).unwrap();
        assert_eq!(passed.status, 503);
        assert!(struck.timed_out().to_string().contains("'flaky'"));
    }
}
