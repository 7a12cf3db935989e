//! Spans: what is told of a publish and of each attempt, to whoever collects traces.
//!
//! Promise: nothing is made, drawn or written for an event whose trace nobody records. A publisher's own decision to
//! record is followed; for the others a share is recorded. Whoever collects never makes anybody wait.
//! An attempt's number follows from the delivery and the count of attempts, so that the next one can name it, even
//! after a restart, without anything being stored.
//! Not here: the form of a context (`model::trace`), where spans are sent (`server`).
//! Source: W3C Trace Context; OpenTelemetry semantic conventions for messaging.

use std::sync::Arc;

use gridpost_model::trace::SpanId;
use gridpost_model::{Chance, Event, ResourceId, Timestamp, TraceContext};
use http::HeaderValue;
use sha2::{Digest as _, Sha256};

use crate::Grid;
use crate::lane::{Item, Job, Plan};
use crate::outbound::{Failure, Response};
use crate::retry::Outcome;

/// The header that carries a context, on requests to us and from us.
pub const TRACEPARENT: &str = "traceparent";

/// Collects spans.
pub trait Spans: Send + Sync + 'static {
    /// The share of traces begun here that is recorded: 0 to 1.
    fn ratio(&self) -> f64;

    /// Takes a span, or drops and counts it when there are too many. Does not wait.
    fn take(&self, span: Span);
}

/// Something that was done, from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its trace and its own number.
    pub context: TraceContext,
    /// The span that caused it.
    pub parent: Option<SpanId>,
    /// Whether somebody asked us, or we asked somebody.
    pub kind: Kind,
    /// What was done.
    pub name: String,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What there is to know, by name.
    pub attributes: Vec<(&'static str, Value)>,
    /// Other spans it has to do with: the attempt before.
    pub links: Vec<TraceContext>,
    /// Why it failed, when it did.
    pub failure: Option<String>,
}

/// Who asked whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// We were asked: a publish.
    Server,
    /// We asked: an attempt.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

/// Whether spans are made, and for whom. Off by default; cheap to clone.
#[derive(Clone, Default)]
pub struct Tracing(Option<Arc<dyn Spans>>);

impl Tracing {
    /// Spans are made for this.
    pub fn to(spans: Arc<dyn Spans>) -> Self {
        Self(Some(spans))
    }

    /// The context of an attempt, when it is recorded.
    fn attempt(&self, plan: &Plan, job: &Job, item: &Item, number: u32) -> Option<TraceContext> {
        let trace = item.event.trace.filter(|trace| trace.is_sampled())?;
        self.0.as_ref()?;
        let first = item.history.first.unwrap_or(job.started);
        let hash = Sha256::new()
            .chain_update(trace.span)
            .chain_update(plan.subscription.lane.0.to_be_bytes())
            .chain_update(first.ticks().to_be_bytes())
            .chain_update(number.to_be_bytes())
            .chain_update(item.event.id.as_bytes())
            .finalize();
        Some(trace.at(not_zero(std::array::from_fn(|index| hash[index]))))
    }

    /// What the destination is told: the attempt, when it is recorded, otherwise what the publisher told us. A request
    /// with several events speaks of the first.
    pub(crate) fn header(&self, plan: &Plan, job: &Job) -> Option<HeaderValue> {
        let item = job.items.first()?;
        let trace = item.event.trace?;
        let attempt = self.attempt(plan, job, item, item.history.attempts + 1);
        HeaderValue::try_from(attempt.unwrap_or(trace).to_string()).ok()
    }

    /// An attempt has ended.
    pub(crate) fn attempted(
        &self,
        plan: &Plan,
        job: &Job,
        received: &Result<Response, Failure>,
        ended: Timestamp,
    ) {
        let Some(spans) = &self.0 else { return };
        for item in &job.items {
            let number = item.history.attempts + 1;
            let Some(context) = self.attempt(plan, job, item, number) else {
                continue;
            };
            let before = number.checked_sub(1).filter(|before| 0 < *before);
            let (outcome, status) = match received {
                Ok(response) => {
                    let status = response.status.as_u16();
                    (Outcome::of_status(status), Some(status))
                }
                Err(failure) => (Outcome::of_failure(failure), None),
            };
            let mut attributes = vec![
                ("messaging.system", text("gridpost")),
                ("messaging.operation.name", text("deliver")),
                ("messaging.message.id", text(&item.event.id)),
                ("messaging.destination.name", text(&item.event.topic)),
                ("messaging.destination.subscription.name", text(&plan.name)),
                ("gridpost.attempt", Value::Number(i64::from(number))),
                ("gridpost.outcome", text(outcome.as_str())),
            ];
            attributes.extend(
                status.map(|it| ("http.response.status_code", Value::Number(i64::from(it)))),
            );
            spans.take(Span {
                context,
                parent: item.event.trace.map(|trace| trace.span),
                kind: Kind::Client,
                name: format!("deliver {}", plan.name),
                began: job.started,
                ended,
                attributes,
                links: before
                    .and_then(|before| self.attempt(plan, job, item, before))
                    .into_iter()
                    .collect(),
                failure: (outcome != Outcome::Delivered).then(|| outcome.as_str().to_owned()),
            });
        }
    }
}

/// A publish under way, as far as traces go.
#[derive(Debug)]
pub struct Publishing {
    parent: Option<TraceContext>,
    /// Our span, once it is decided that there is one.
    own: Option<TraceContext>,
    decided: bool,
    began: Timestamp,
}

/// How a publish ended.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    /// What it was for, when there is that.
    pub source: Option<&'a ResourceId>,
    /// How many events it carried, as far as they were read.
    pub events: usize,
    /// The status of the answer.
    pub status: u16,
    /// Why it was refused.
    pub refusal: Option<&'static str>,
}

impl Grid {
    /// A publish begins. `traceparent` is the request's, if it has a good one.
    pub fn publishing(&self, traceparent: Option<TraceContext>) -> Publishing {
        Publishing {
            parent: traceparent,
            own: None,
            decided: false,
            began: match self.0.settings.tracing.0 {
                Some(_) => self.0.settings.clock.now(),
                None => Timestamp::EPOCH,
            },
        }
    }

    /// The events of a publish are known: they join its trace. One that names another trace stays in that one.
    pub fn join(&self, publishing: &mut Publishing, events: &mut [Event]) {
        if publishing.parent.is_none() {
            publishing.parent = events.iter().find_map(|event| event.trace);
        }
        self.decide(publishing);
        let Some(context) = publishing.own.or(publishing.parent) else {
            return;
        };
        for event in events {
            match event.trace {
                Some(other) if other.trace != context.trace => (),
                _ => event.trace = Some(context),
            }
        }
    }

    /// A publish has ended.
    pub fn published(&self, mut publishing: Publishing, published: &Published<'_>) {
        self.decide(&mut publishing);
        let (Some(spans), Some(context)) = (&self.0.settings.tracing.0, publishing.own) else {
            return;
        };
        let source = published.source.map(ResourceId::as_str);
        let events = i64::try_from(published.events).unwrap_or(i64::MAX);
        let mut attributes = vec![
            ("messaging.system", text("gridpost")),
            ("messaging.operation.name", text("publish")),
            ("messaging.batch.message_count", Value::Number(events)),
            (
                "http.response.status_code",
                Value::Number(i64::from(published.status)),
            ),
        ];
        attributes.extend(source.map(|source| ("messaging.destination.name", text(source))));
        let name = published.source.map_or("nowhere", ResourceId::name);
        spans.take(Span {
            context,
            parent: publishing.parent.map(|parent| parent.span),
            kind: Kind::Server,
            name: format!("publish {name}"),
            began: publishing.began,
            ended: self.0.settings.clock.now(),
            attributes,
            links: Vec::new(),
            failure: published.refusal.map(str::to_owned),
        });
    }

    /// Decides whether there is a span: as the publisher did, or by chance.
    fn decide(&self, publishing: &mut Publishing) {
        if std::mem::replace(&mut publishing.decided, true) {
            return;
        }
        let Some(spans) = &self.0.settings.tracing.0 else {
            return;
        };
        let chance = &*self.0.settings.chance;
        let recorded = match publishing.parent {
            Some(parent) => parent.is_sampled(),
            None => chance.fraction() < spans.ratio(),
        };
        if !recorded {
            return;
        }
        let span = not_zero(drawn(chance));
        publishing.own = Some(match publishing.parent {
            Some(parent) => parent.at(span),
            None => TraceContext::sampled(not_zero(drawn(chance)), span),
        });
    }
}

fn drawn<const N: usize>(chance: &dyn Chance) -> [u8; N] {
    let mut bytes = [0; N];
    chance.fill(&mut bytes);
    bytes
}

/// Zero is no number of a span or a trace.
fn not_zero<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    if bytes == [0; N] {
        bytes[N - 1] = 1;
    }
    bytes
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}
