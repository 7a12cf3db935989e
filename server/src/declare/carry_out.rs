//! Doing what the plan says.
//!
//! Promise: parents come before what lives in them; what the server refuses, or somebody has made or changed since it
//! was read, is left and reported with the reason, while the rest is done.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use http::Method;
use serde::Serialize;
use serde_json::Value;

use super::hosts::Hosts;
use super::names::Kind;
use super::plan::{Action, Difference, Step};
use super::{AT_ONCE, bodies};
use crate::output::{Failure, Output};
use crate::session::{Condition, NotChanged, Session};

/// What was done, or would be.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether it was only planned.
    pub dry_run: bool,
    /// The tables of resources that were made.
    pub created: Vec<String>,
    /// Those that were changed.
    pub changed: Vec<Changed>,
    /// How many were as they should be.
    pub unchanged: usize,
    /// Those whose endpoint has yet to agree, in person.
    pub awaiting: Vec<String>,
    /// Those that the server refused.
    pub failed: Vec<Failed>,
}

/// A resource that was changed.
#[derive(Debug, Serialize)]
pub struct Changed {
    /// Its table.
    pub resource: String,
    /// In what.
    pub differences: Vec<Difference>,
}

/// A resource that could not be made as the file says.
#[derive(Debug, Serialize)]
pub struct Failed {
    /// Its table.
    pub resource: String,
    /// The line it begins in.
    pub line: usize,
    /// Why.
    pub reason: String,
}

/// Makes the calls, a stage after the other.
pub(super) async fn carry_out(session: &Session<'_>, steps: Vec<Step>, output: Output) -> Report {
    let work = Work {
        session,
        hosts: Hosts::default(),
        missing: RefCell::default(),
    };
    let report = RefCell::new(Report::default());
    let bar = output.bar("applying");
    let (all, done) = (
        steps.iter().filter(|step| !step.is_nothing()).count(),
        Cell::new(0_usize),
    );
    let mut stages: BTreeMap<u8, Vec<Step>> = BTreeMap::new();
    for step in steps {
        stages.entry(stage(step.entry.kind)).or_default().push(step);
    }
    for steps in stages.into_values() {
        let stage = stream::iter(steps).for_each_concurrent(AT_ONCE, |step| {
            let (work, report, bar, done) = (&work, &report, &bar, &done);
            async move {
                let acts = !step.is_nothing();
                let told = work.act(&step).await;
                report.borrow_mut().add(step, told);
                if acts {
                    done.set(done.get() + 1);
                    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
                    bar.set(
                        done.get() as f64 / all as f64,
                        format!("{} of {all}", done.get()),
                    );
                }
            }
        });
        stage.await;
    }
    let mut report = report.into_inner();
    report.created.sort();
    report
        .changed
        .sort_by(|one, other| one.resource.cmp(&other.resource));
    report.failed.sort_by_key(|one| one.line);
    report
}

/// What one step tells another.
struct Work<'a> {
    session: &'a Session<'a>,
    hosts: Hosts,
    /// The tables of what does not exist because it could not be made, by the ids.
    missing: RefCell<BTreeMap<String, String>>,
}

impl Work<'_> {
    /// Does a step; the answer is the resource, or why it is not as the file says.
    async fn act(&self, step: &Step) -> Result<Value, String> {
        let entry = &step.entry;
        let Some((method, body)) = bodies::call(step) else {
            return Ok(Value::Null);
        };
        let above = self.missing.borrow().get(&entry.parent).cloned();
        let told = match above {
            Some(above) => Err(NotDone::Without(above)),
            None => self.call(step, method, body.as_ref()).await,
        };
        // What is there already has what is below it, whether or not it could be changed.
        let is_there = matches!(
            told,
            Ok(_) | Err(NotDone::Unverified(_) | NotDone::Refused(NotChanged::Meanwhile))
        );
        if !is_there && matches!(step.action, Action::Create) {
            let mut missing = self.missing.borrow_mut();
            missing.insert(entry.id.clone(), entry.label.clone());
        }
        told.map_err(|why| why.told(&step.action))
    }

    /// Makes or changes a resource, and has verified what the file calls so; the answer is the resource.
    async fn call(
        &self,
        step: &Step,
        method: Method,
        body: Option<&Value>,
    ) -> Result<Value, NotDone> {
        let (session, id) = (self.session, &step.entry.id);
        let turn = self.hosts.turn(bodies::asked(step)).await;
        let turn = turn.map_err(NotDone::Unasked)?;
        let condition = match (&step.action, &step.tag) {
            // Whoever made it meanwhile made the same: there is nothing to say of it.
            (Action::Create, _) if body.is_none() => Condition::Always,
            (Action::Create, _) => Condition::Absent,
            (_, Some(tag)) => Condition::Unchanged(tag),
            (_, None) => Condition::Always,
        };
        let told = session.change(method, id, body, condition).await;
        turn.learn(&told);
        let made = told.map_err(NotDone::Refused)?;
        for record in bodies::verifications(step) {
            let path = format!("{id}/initiateVerification");
            let verified = session.manage(Method::POST, &path, Some(&record)).await;
            verified.map_err(NotDone::Unverified)?;
        }
        Ok(made)
    }
}

/// Why a step was not done.
enum NotDone {
    /// This, in which it would live, could not be made.
    Without(String),
    /// Its endpoint's host is known not to answer.
    Unasked(String),
    Refused(NotChanged),
    /// It is there, but what the file calls verified could not be.
    Unverified(Failure),
}

impl NotDone {
    fn told(self, action: &Action) -> String {
        match self {
            Self::Without(above) => format!("`{above}` could not be made"),
            Self::Unasked(why) => why,
            Self::Refused(NotChanged::Meanwhile) => {
                let what = match action {
                    Action::Create => "made",
                    Action::Change(_) | Action::Nothing => "changed",
                };
                format!("it was {what} meanwhile and is left so; apply again")
            }
            Self::Unverified(failure)
            | Self::Refused(
                NotChanged::Silent(failure)
                | NotChanged::Disagreed(failure)
                | NotChanged::Failed(failure),
            ) => format!("{:#}", failure.error),
        }
    }
}

/// Parents come before what lives in them, and email domains before the communication resources that they are linked to.
fn stage(kind: Kind) -> u8 {
    match kind {
        Kind::Group => 0,
        Kind::EmailService | Kind::Topic | Kind::Domain => 1,
        Kind::EmailDomain | Kind::DomainTopic => 2,
        Kind::Communication | Kind::Sender | Kind::SuppressionList => 3,
        Kind::SystemTopic | Kind::SmtpUsername | Kind::SuppressedAddress => 4,
        Kind::Subscription => 5,
    }
}

impl Report {
    /// What would be done.
    pub(super) fn of_plan(steps: Vec<Step>) -> Self {
        let mut report = Self {
            dry_run: true,
            ..Self::default()
        };
        steps
            .into_iter()
            .for_each(|step| report.add(step, Ok(Value::Null)));
        report
    }

    fn add(&mut self, step: Step, told: Result<Value, String>) {
        let label = step.entry.label;
        match told {
            Err(reason) => self.failed.push(Failed {
                resource: label,
                line: step.entry.line,
                reason,
            }),
            Ok(shown) => {
                if shown["properties"]["provisioningState"] == "AwaitingManualAction" {
                    self.awaiting.push(label.clone());
                }
                match step.action {
                    Action::Create => self.created.push(label),
                    Action::Change(differences) => self.changed.push(Changed {
                        resource: label,
                        differences,
                    }),
                    Action::Nothing => self.unchanged += 1,
                }
            }
        }
    }

    /// The report for people.
    pub fn told(&self) -> String {
        let mut lines: Vec<String> = self.created.iter().map(|one| format!("+ {one}")).collect();
        for one in &self.changed {
            lines.push(format!("~ {}", one.resource));
            let told = |d: &Difference| format!("    {}: {} -> {}", d.path, d.from, d.to);
            lines.extend(one.differences.iter().map(told));
        }
        lines.extend(
            self.awaiting
                .iter()
                .map(|one| format!("? {one} waits until somebody opens its validation URL")),
        );
        lines.extend(
            self.failed
                .iter()
                .map(|one| format!("! {} (line {}): {}", one.resource, one.line, one.reason)),
        );
        lines.push(self.summary());
        lines.join("\n")
    }

    /// The report in a line.
    pub fn summary(&self) -> String {
        let counts = (self.created.len(), self.changed.len(), self.failed.len());
        match (self.dry_run, counts) {
            (_, (0, 0, 0)) => format!("Nothing to change, = {} unchanged.", self.unchanged),
            (true, (made, changed, _)) => format!(
                "{made} to create, {changed} to change, = {} unchanged. What the file does not name stays as it is.",
                self.unchanged
            ),
            (false, (made, changed, failed)) => format!(
                "{made} created, {changed} changed, = {} unchanged, {failed} failed. What the file does not name stays \
                 as it is.",
                self.unchanged
            ),
        }
    }
}
