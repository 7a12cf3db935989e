//! One worker of a lane: it owns one connection and sends one request at a time over it.
//!
//! Promise: a job that was taken is settled, retried, dead-lettered or given back; none is forgotten, not even when
//! the task is cancelled. A worker costs no timer per event and no task per connection.
//! Not here: which event is next (`lane`), what an answer means (`retry`).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use gridpost_model::time::Sleep;
use gridpost_model::{Clock, Event, Timestamp};
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::destination::{Parcel, Prepared, Shipment};
use crate::exchange::Exchange;
use crate::lane::{Delivered, Item, Job, Lane, Plan, Rest, Shared, Take};
use crate::outbound::{
    BadUrl, Body, Connection, Endpoint, Failure, Outcome as Received, RESPONSE_TIMEOUT, Response,
};
use crate::retry::Outcome;
use crate::settle;
use crate::tail::{self, Activity, Attempted, What};
use crate::trace::TRACEPARENT;

/// Takes jobs until the lane has none for long, or is shut.
pub(crate) async fn work(lane: Arc<Lane>, id: u64) {
    let mut worker = Worker {
        used: lane.shared.clock.now(),
        lane,
        id,
        line: None,
        timer: Timer::default(),
        job: None,
        sent: None,
        reading: false,
    };
    worker.run().await;
}

/// Tells that an event is delivered once more, and by which replay.
const REPLAY: HeaderName = HeaderName::from_static("gridpost-replay");

struct Worker {
    lane: Arc<Lane>,
    id: u64,
    line: Option<Line>,
    timer: Timer,
    /// When the connection was last used.
    used: Timestamp,
    /// The job in hand, until its end has been noted.
    job: Option<Job>,
    /// What went into the request for it, once that has left.
    sent: Option<Sent>,
    /// Whether it is reading for the lane.
    reading: bool,
}

/// What a request has that its job does not tell: with it the same request can be made again, to be shown.
#[derive(Clone)]
struct Sent {
    token: Option<HeaderValue>,
    /// The date of a signature.
    at: Timestamp,
}

/// An open connection, and where it leads.
struct Line {
    connection: Connection,
    endpoint: Endpoint,
}

impl Worker {
    async fn run(&mut self) {
        let mut done = None;
        let mut now = self.used;
        loop {
            match self.lane.take(done.take(), now) {
                Take::Send(job) => {
                    self.job = Some(job);
                    (done, now) = self.deliver().await;
                    self.used = now;
                }
                Take::ReadJournal(from, room) => {
                    self.reading = true;
                    self.lane.read_journal(from, room);
                    self.reading = false;
                }
                Take::ReadTable(from, held) => {
                    self.reading = true;
                    self.lane.read_table(from, held, now);
                    self.reading = false;
                }
                Take::Park => {
                    if !self.rest().await {
                        return;
                    }
                    now = self.lane.shared.clock.now();
                }
            }
        }
    }

    /// Sends the job in hand and notes how it ended; a good end is noted by the next take.
    async fn deliver(&mut self) -> (Option<Delivered>, Timestamp) {
        let Some(job) = &mut self.job else {
            return (None, self.used);
        };
        let started = job.started;
        let plan = self.lane.plan.load_full();
        let life = plan.subscription.retry_policy.time_to_live();
        let expired = |item: &Item| item.history.since + life <= started;
        if job.items.iter().any(expired) {
            let (over, rest): (SmallVec<[_; 1]>, _) = job.items.drain(..).partition(expired);
            job.items = rest;
            let is_over = job.items.is_empty();
            settle::expired(&self.lane, &plan, &over, job.probe && is_over, started);
            if is_over {
                self.job = None;
                return (None, started);
            }
        }
        self.sent = None;
        let received = if self.lane.shared.faults.are_set() {
            Box::pin(self.faulty_attempt(&plan)).await
        } else {
            self.attempt(&plan).await
        };
        let now = self.lane.shared.clock.now();
        let Some(job) = &self.job else {
            return (None, now);
        };
        let tracing = &self.lane.shared.tracing;
        tracing.attempted(&plan, job, &received, now);
        let told = self.lane.shared.tail.is_listened() || self.lane.sampler.takes(now);
        match received {
            Ok(Response { status, .. }) if !told && (200..=204).contains(&status.as_u16()) => {
                let done = self.job.take().map(|job| Delivered {
                    job,
                    status: status.as_u16(),
                    ended: now,
                    told: Vec::new(),
                });
                (done, now)
            }
            received => (self.ended(&plan, received, now), now),
        }
    }

    /// The ends that are told of: failures, some successes, and everything while somebody listens.
    fn ended(
        &mut self,
        plan: &Plan,
        received: Result<Response, Failure>,
        now: Timestamp,
    ) -> Option<Delivered> {
        let job = self.job.as_ref()?;
        let sent = self.sent.take();
        let request = sent.and_then(|sent| request(plan, job, &sent, &self.lane.shared).ok());
        let received = match received {
            Ok(response) => Received::Answered(response),
            Err(failure) => Received::Failed(failure),
        };
        let exchange = Exchange::new(&plan.subscription, request.as_ref(), &received);
        let exchange = Arc::new(exchange);
        let jitter = match &received {
            Received::Answered(response) if (200..=204).contains(&response.status.as_u16()) => 0.0,
            _ => self.lane.shared.chance.fraction(),
        };
        let asked = settle::asked_pause(&received, self.lane.shared.clock.wall());
        let attempts = attempts(plan, job, &received, Some(&exchange), asked, jitter, now);
        if self.lane.shared.tail.is_listened() {
            self.tell(plan, job, &attempts, now);
        }
        match attempts.first() {
            Some(first) if first.outcome == Outcome::Delivered => {
                let status = first.status.unwrap_or_default();
                self.job.take().map(|job| Delivered {
                    job,
                    status,
                    ended: now,
                    told: attempts,
                })
            }
            _ => {
                settle::failed(&self.lane, plan, job, attempts, now);
                self.job = None;
                None
            }
        }
    }

    /// A defect of ours ended the worker. What it had in hand counts as tried, so that an event that always meets the
    /// defect is tried by the schedule and not without end.
    fn recover(&mut self) {
        if self.reading {
            self.lane.reading_broke();
        }
        let Some(job) = self.job.take() else {
            return;
        };
        let lane = Arc::clone(&self.lane);
        let task = async move {
            let (plan, now) = (lane.plan.load_full(), lane.shared.clock.now());
            let received = Received::Failed(Failure::Handler {
                outcome: Outcome::Aborted,
                detail: "a defect of Gridpost ended the attempt".to_owned(),
            });
            let jitter = lane.shared.chance.fraction();
            let attempts = attempts(&plan, &job, &received, None, Duration::ZERO, jitter, now);
            settle::failed(&lane, &plan, &job, attempts, now);
        };
        // In a task of its own: a second panic while this one is carried on would end the process.
        (self.lane.shared.spawn)("lane-recovery", Box::pin(task));
    }

    fn tell(&self, plan: &Plan, job: &Job, attempts: &[Attempted], now: Timestamp) {
        for (item, attempt) in job.items.iter().zip(attempts) {
            self.lane.shared.tail.tell(Activity {
                at: now,
                event: Arc::clone(&item.event),
                what: What::Attempted {
                    lane: self.lane.id,
                    subscription: Arc::clone(&plan.name),
                    attempt: attempt.clone(),
                },
            });
        }
    }

    /// One attempt, while there are faults.
    async fn faulty_attempt(&mut self, plan: &Plan) -> Result<Response, Failure> {
        let shared = Arc::clone(&self.lane.shared);
        let (clock, began) = (&*shared.clock, self.job.as_ref().map(|job| job.started));
        let deadline = began.unwrap_or(self.used) + RESPONSE_TIMEOUT;
        let Some(struck) = shared.faults.strike(plan, clock.now(), &*shared.chance) else {
            return self.attempt(plan).await;
        };
        if let Some(end) = struck.before(clock, deadline).await {
            return end;
        }
        if struck.doubles() {
            let _first = self.attempt(plan).await;
        }
        struck.marked(self.attempt(plan).await)
    }

    /// One attempt. A connection that the other side closed while it lay idle is replaced once: the destination has
    /// not seen the request, or will see it twice, which at-least-once allows.
    async fn attempt(&mut self, plan: &Plan) -> Result<Response, Failure> {
        let Some(job) = &self.job else {
            return Err(Failure::TimedOut);
        };
        let deadline = job.started + RESPONSE_TIMEOUT;
        let clock = Arc::clone(&self.lane.shared.clock);
        let hook = match &plan.destination {
            Ok(Prepared::Webhook(hook)) => hook,
            Ok(Prepared::Other(handler)) => {
                let events: SmallVec<[_; 1]> = job
                    .items
                    .iter()
                    .map(|item| Arc::clone(&item.event))
                    .collect();
                let shared = &self.lane.shared;
                let trace = shared.tracing.header(plan, job);
                let trace = trace.and_then(|value| value.to_str().map(str::to_owned).ok());
                let sending = handler.send(Shipment {
                    events: &events,
                    attempts_made: job.attempts_made(),
                    replay: job.replay().map(|replay| replay.to_string()),
                    trace,
                });
                return self.timer.within(&*clock, deadline, sending).await;
            }
            Err(BadUrl::Forbidden(kind)) => return Err(Failure::Forbidden(*kind)),
            Err(_) => return Err(Failure::Resolution),
        };
        let endpoint = hook.endpoint();
        let token = match hook.entra() {
            None => None,
            Some(entra) => {
                let asking = self.lane.shared.tokens.header(entra);
                Some(self.timer.within(&*clock, deadline, asking).await?)
            }
        };
        let shared = &self.lane.shared;
        let sent = Sent {
            token,
            // A receiver judges a signature by its own clock.
            at: if hook.signs() {
                clock.wall()
            } else {
                job.started
            },
        };
        if let Some(line) = &self.line
            && !line.leads_to(endpoint)
        {
            self.line = None;
        }
        if let Some(mut line) = self.line.take() {
            let exchange = line.connection.exchange(request(plan, job, &sent, shared)?);
            self.sent = Some(sent.clone());
            match self.timer.within(&*clock, deadline, exchange).await {
                Ok(response) => {
                    self.line = Some(line);
                    return Ok(response);
                }
                Err(Failure::Socket(_)) => self.sent = None,
                Err(failure) => return Err(failure),
            }
        }
        let connect = self.lane.shared.client.connect(endpoint);
        let connection = self.timer.within(&*clock, deadline, connect).await?;
        let mut line = Line {
            connection,
            endpoint: endpoint.clone(),
        };
        let exchange = line.connection.exchange(request(plan, job, &sent, shared)?);
        self.sent = Some(sent);
        let response = self.timer.within(&*clock, deadline, exchange).await?;
        self.line = Some(line);
        Ok(response)
    }

    /// Waits to be called. `false`: leave.
    async fn rest(&mut self) -> bool {
        let Self {
            lane,
            id,
            line,
            timer,
            used,
            ..
        } = self;
        let leaves = *used + lane.shared.limits.idle;
        poll_fn(|context| {
            if let Some(open) = line {
                open.connection.poll_idle(context);
                if !open.connection.is_open() {
                    *line = None;
                }
            }
            match lane.park(*id, context.waker()) {
                Rest::GetUp => return Poll::Ready(true),
                Rest::Leave => return Poll::Ready(false),
                Rest::Lie => (),
            }
            if timer.is_over(&*lane.shared.clock, leaves, context) {
                return Poll::Ready(!lane.may_leave(*id));
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.recover();
        }
        self.lane.worker_left(self.id, self.job.take());
    }
}

/// What became of each event of a job.
fn attempts(
    plan: &Plan,
    job: &Job,
    received: &Received,
    exchange: Option<&Arc<Exchange>>,
    asked: Duration,
    jitter: f64,
    now: Timestamp,
) -> Vec<Attempted> {
    let attempt = |item: &Item| {
        let (verdict, outcome, status) =
            settle::judge(plan, job, item, received, asked, jitter, now);
        Attempted {
            at: job.started,
            event_id: tail::kept_id(&item.event.id).to_owned(),
            published: item.event.published,
            number: item.history.attempts + 1,
            first: item.history.first.unwrap_or(job.started),
            outcome,
            status,
            took: now.since(job.started),
            verdict,
            replay: item.history.replay,
            exchange: exchange.cloned(),
        }
    };
    job.items.iter().map(attempt).collect()
}

impl Line {
    fn leads_to(&self, endpoint: &Endpoint) -> bool {
        self.endpoint.is_same(endpoint) && self.connection.is_open()
    }
}

fn request(
    plan: &Plan,
    job: &Job,
    sent: &Sent,
    shared: &Shared,
) -> Result<http::Request<Body>, Failure> {
    let Ok(Prepared::Webhook(hook)) = &plan.destination else {
        return Err(Failure::Resolution);
    };
    let events: SmallVec<[&Event; 1]> = job.items.iter().map(|item| &*item.event).collect();
    let parcel = Parcel {
        events: &events,
        attempts_made: job.attempts_made(),
        at: sent.at,
        token: sent.token.as_ref(),
    };
    let request = hook.request(&parcel);
    let mut request = request.map_err(|error| Failure::Protocol(error.to_string()))?;
    if let Some(replay) = job.replay() {
        let text = HeaderValue::try_from(replay.to_string());
        let value = text.map_err(|error| Failure::Protocol(error.to_string()))?;
        request.headers_mut().insert(REPLAY, value);
    }
    if let Some(value) = shared.tracing.header(plan, job) {
        request.headers_mut().insert(TRACEPARENT, value);
    }
    Ok(request)
}

/// One timer that is wound anew only when it rings: an attempt that ends in time never touches the clock's queue.
#[derive(Default)]
struct Timer {
    sleep: Option<(Timestamp, Sleep)>,
}

impl Timer {
    /// Whether `deadline` has come; otherwise the task is woken when it has.
    fn is_over(
        &mut self,
        clock: &dyn Clock,
        deadline: Timestamp,
        context: &mut Context<'_>,
    ) -> bool {
        loop {
            match &mut self.sleep {
                Some((rings, sleep)) if *rings <= deadline => {
                    if sleep.as_mut().poll(context).is_pending() {
                        return false;
                    }
                    let rang = *rings;
                    self.sleep = None;
                    if rang == deadline {
                        return true;
                    }
                }
                _ => {
                    if deadline <= clock.now() {
                        return true;
                    }
                    self.sleep = Some((deadline, clock.sleep_until(deadline)));
                }
            }
        }
    }

    async fn within<T>(
        &mut self,
        clock: &dyn Clock,
        deadline: Timestamp,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut work = pin!(work);
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            if self.is_over(clock, deadline, context) {
                return Poll::Ready(Err(Failure::TimedOut));
            }
            Poll::Pending
        })
        .await
    }
}
