//! The built-in carrier: every number in the world is a handset.
//!
//! Promise: a number that was never used simply works; numbers with a known behaviour are in `magic`. A handset keeps
//! its last 100 texts until the process ends, and answers by its script, which is stored.
//! Not here: when its reports and answers happen (`due` writes them down).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use gridpost_model::{Clock, PhoneNumber, Timestamp};
use gridpost_store::{Partition, Scan, Store, StoreError, WriteError};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::sms::carrier::{
    Admission, Carrier, CarrierInbox, Happening, Later, Outbound, Report, Submission,
};
use crate::sms::magic::{Behaviour, USUAL_DELAY};
use crate::sms::message::Attempt;
use crate::sms::message_id::MessageId;
use crate::sms::receive::{Inbound, LONGEST_TEXT};
use crate::sms::sender::Sender;
use crate::sms::status::StatusCode;
use crate::tables;

/// How many texts a handset keeps.
const TEXTS_KEPT: usize = 100;

/// How many handsets keep their texts; beyond it the one that was first used longest ago loses them.
const HANDSETS_KEPT: usize = 10_000;

/// How many rules a script has at most, and how many scripts there are at most: they are all kept in memory.
const LONGEST_SCRIPT: usize = 100;
const MOST_SCRIPTS: usize = 10_000;

/// How long the carrier waits between two attempts.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(5);

/// The handsets. Cheap to clone; all clones are the same handsets.
#[derive(Clone)]
pub struct Handsets(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    inbox: OnceLock<CarrierInbox>,
    texts: RwLock<Texts>,
    scripts: RwLock<HashMap<PhoneNumber, Arc<Script>>>,
    scripting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Texts {
    of: HashMap<PhoneNumber, VecDeque<Text>>,
    order: VecDeque<PhoneNumber>,
}

/// A text on a handset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The message it came from.
    pub id: MessageId,
    /// Who sent it, as the handset shows it: a number with its plus sign, or a name.
    pub from: String,
    /// The text.
    pub text: String,
    /// When it was handed to the carrier.
    pub at: Timestamp,
}

/// How a handset answers: by the first rule that fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Script {
    number: PhoneNumber,
    rules: Vec<Rule>,
}

/// One rule of a script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Which texts it answers.
    pub when: When,
    /// The answer.
    pub reply: String,
    /// How long after the text was handed over.
    pub after_ms: u64,
}

/// Which texts a rule answers. Letters compare without case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// Every text.
    Any,
    /// A text that is this, blanks around it aside.
    Is(String),
    /// A text that contains this.
    Contains(String),
}

/// Why a script was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// It has too many rules, or there are too many scripts.
    #[error(
        "a handset has at most {LONGEST_SCRIPT} rules, and at most {MOST_SCRIPTS} handsets have a script"
    )]
    TooMany,
    /// An answer is too long.
    #[error("an answer has at most {LONGEST_TEXT} characters")]
    TooLong,
    /// It could not be kept.
    #[error("the script was not stored")]
    NotStored(#[from] StoreError),
}

impl Handsets {
    /// Loads the scripts.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn open(store: Store, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let all = Scan::all().limit(MOST_SCRIPTS);
        let scripts = store
            .snapshot()
            .scan(&tables::SCRIPTS, Partition::DIRECTORY, all)?
            .into_iter()
            .map(|(_, script)| (script.number.clone(), Arc::new(script)))
            .collect();
        Ok(Self(Arc::new(Inner {
            store,
            clock,
            inbox: OnceLock::new(),
            texts: RwLock::default(),
            scripts: RwLock::new(scripts),
            scripting: tokio::sync::Mutex::default(),
        })))
    }

    /// The texts a handset received, the newest last.
    pub fn texts(&self, number: &PhoneNumber) -> Vec<Text> {
        let texts = self.0.texts.read();
        texts
            .of
            .get(number)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// How a handset answers; without rules when it does not.
    pub fn rules(&self, number: &PhoneNumber) -> Vec<Rule> {
        let scripts = self.0.scripts.read();
        scripts
            .get(number)
            .map(|script| script.rules.clone())
            .unwrap_or_default()
    }

    /// Tells a handset how to answer from now on; no rules: not at all.
    ///
    /// # Errors
    /// The script is too long, or could not be kept.
    pub async fn set_rules(
        &self,
        number: &PhoneNumber,
        rules: Vec<Rule>,
    ) -> Result<(), ScriptError> {
        if rules
            .iter()
            .any(|rule| LONGEST_TEXT < rule.reply.encode_utf16().count())
        {
            return Err(ScriptError::TooLong);
        }
        let _scripting = self.0.scripting.lock().await;
        if LONGEST_SCRIPT < rules.len() || self.is_full_for(number) {
            return Err(ScriptError::TooMany);
        }
        let script = (!rules.is_empty()).then(|| Script {
            number: number.clone(),
            rules,
        });
        // In memory first: an asker who hangs up now has the script stored and in use, or neither.
        let before = self.replace(number, script.clone().map(Arc::new));
        let kept = self.keep(number.clone(), script).await;
        if kept.is_err() {
            self.replace(number, before);
        }
        Ok(kept?)
    }

    async fn keep(&self, number: PhoneNumber, script: Option<Script>) -> Result<(), StoreError> {
        self.0
            .store
            .write(Partition::DIRECTORY, move |txn| match script {
                Some(script) => txn.put(&tables::SCRIPTS, number.digits(), &script),
                None => txn.remove(&tables::SCRIPTS, number.digits()),
            })
            .await
            .map_err(WriteError::<StoreError>::into_inner)?;
        Ok(())
    }

    fn replace(&self, number: &PhoneNumber, script: Option<Arc<Script>>) -> Option<Arc<Script>> {
        let mut scripts = self.0.scripts.write();
        match script {
            Some(script) => scripts.insert(number.clone(), script),
            None => scripts.remove(number),
        }
    }

    fn is_full_for(&self, number: &PhoneNumber) -> bool {
        let scripts = self.0.scripts.read();
        MOST_SCRIPTS <= scripts.len() && !scripts.contains_key(number)
    }

    /// What happens to a text.
    fn carry(&self, outbound: Outbound) -> Submission {
        let now = self.0.clock.now();
        if self
            .0
            .inbox
            .get()
            .is_some_and(|inbox| inbox.is_ours(&outbound.to))
        {
            return Submission::Taken(to_one_of_us(outbound, now));
        }
        let behaviour = Behaviour::of(&outbound.to);
        let mut later = reports(behaviour, outbound.segments, now);
        if behaviour.arrives() {
            later.extend(self.answer(&outbound));
            self.0.texts.write().keep(outbound, now);
        }
        Submission::Taken(later)
    }

    /// The handset's answer. Nobody can answer a name.
    fn answer(&self, outbound: &Outbound) -> Option<Later> {
        let Sender::Number(owned) = &outbound.from else {
            return None;
        };
        let scripts = self.0.scripts.read();
        let rule = scripts.get(&outbound.to)?.rule_for(&outbound.text)?;
        let inbound = Inbound {
            from: outbound.to.clone(),
            to: owned.clone(),
            text: rule.reply.clone(),
        };
        let after = Duration::from_millis(rule.after_ms);
        Some(Later {
            after,
            what: Happening::Text(inbound),
        })
    }
}

impl Carrier for Handsets {
    fn start(&self, inbox: CarrierInbox) {
        if self.0.inbox.set(inbox).is_err() {
            gridpost_model::never!("the handsets were started twice");
        }
    }

    fn admit(&self, to: &PhoneNumber) -> Admission {
        match Behaviour::of(to) {
            Behaviour::Refuses(admission) => admission,
            Behaviour::Ends { .. } | Behaviour::Silent | Behaviour::ReportsTwice { .. } => {
                Admission::Yes
            }
        }
    }

    fn submit(&self, outbound: Outbound) -> BoxFuture<'_, Submission> {
        Box::pin(std::future::ready(self.carry(outbound)))
    }
}

/// A text from one of our numbers to another one of ours: it comes back in.
fn to_one_of_us(outbound: Outbound, now: Timestamp) -> Vec<Later> {
    let mut later = reports(Behaviour::USUAL, outbound.segments, now);
    if let Sender::Number(from) = outbound.from {
        let inbound = Inbound {
            from,
            to: outbound.to,
            text: outbound.text,
        };
        later.push(Later {
            after: Duration::ZERO,
            what: Happening::Text(inbound),
        });
    }
    later
}

/// What is reported of a text handed over at `now`.
fn reports(behaviour: Behaviour, segments: u32, now: Timestamp) -> Vec<Later> {
    let report = |code, attempts, after| {
        let attempts =
            (1..=attempts).map(|number| attempt(code, number == attempts, number, segments, now));
        let report = Report {
            code,
            attempts: attempts.collect(),
        };
        Later {
            after,
            what: Happening::Report(report),
        }
    };
    match behaviour {
        Behaviour::Refuses(_) | Behaviour::Silent => Vec::new(),
        Behaviour::Ends {
            code,
            attempts,
            delay,
        } => {
            vec![report(
                code,
                attempts,
                BETWEEN_ATTEMPTS * (attempts - 1) + delay,
            )]
        }
        Behaviour::ReportsTwice { then } => vec![
            report(StatusCode::Delivered, 1, USUAL_DELAY),
            report(then, 1, USUAL_DELAY * 2),
        ],
    }
}

/// An attempt: all but the last one failed.
fn attempt(code: StatusCode, last: bool, number: u32, segments: u32, now: Timestamp) -> Attempt {
    let at = now + BETWEEN_ATTEMPTS * (number - 1);
    if last && code.is_delivered() {
        Attempt {
            at,
            segments_succeeded: segments,
            segments_failed: 0,
        }
    } else {
        Attempt {
            at,
            segments_succeeded: 0,
            segments_failed: segments,
        }
    }
}

impl Texts {
    /// Keeps a text. One handed over again after a crash of ours is recognised by its identifier.
    fn keep(&mut self, outbound: Outbound, at: Timestamp) {
        if !self.of.contains_key(&outbound.to) {
            self.make_room();
            self.order.push_back(outbound.to.clone());
        }
        let kept = self.of.entry(outbound.to).or_default();
        if kept.iter().any(|text| text.id == *outbound.message.id()) {
            return;
        }
        if kept.len() == TEXTS_KEPT {
            kept.pop_front();
        }
        let from = match &outbound.from {
            Sender::Number(number) => number.to_string(),
            Sender::Name(name) => name.to_string(),
        };
        let id = outbound.message.id().clone();
        kept.push_back(Text {
            id,
            from,
            text: outbound.text,
            at,
        });
    }

    fn make_room(&mut self) {
        if self.order.len() < HANDSETS_KEPT {
            return;
        }
        if let Some(oldest) = self.order.pop_front() {
            self.of.remove(&oldest);
        }
    }
}

impl Script {
    fn rule_for(&self, text: &str) -> Option<&Rule> {
        let text = text.trim().to_lowercase();
        self.rules.iter().find(|rule| match &rule.when {
            When::Any => true,
            When::Is(wanted) => text == wanted.trim().to_lowercase(),
            When::Contains(wanted) => text.contains(&wanted.to_lowercase()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sms::carrier::MessageRef;

    fn outbound(to: &str, id: usize) -> Outbound {
        let id = serde_json::from_value(format!("Outgoing_{id}").into()).unwrap();
        Outbound {
            message: MessageRef {
                resource: "guid".into(),
                id,
            },
            from: "Contoso".parse().unwrap(),
            to: to.parse().unwrap(),
            text: "hello".into(),
            segments: 2,
        }
    }

    fn rule(when: When) -> Rule {
        Rule {
            when,
            reply: "yes".into(),
            after_ms: 0,
        }
    }

    #[test]
    fn a_handset_keeps_its_last_texts_and_each_once() {
        let mut texts = Texts::default();
        let number = "+15555550123";
        for id in 0..TEXTS_KEPT + 5 {
            texts.keep(outbound(number, id), Timestamp::EPOCH);
            texts.keep(outbound(number, id), Timestamp::EPOCH);
        }
        let kept = &texts.of[&number.parse().unwrap()];
        assert_eq!(kept.len(), TEXTS_KEPT);
        assert_eq!(kept[0].id.as_str(), "Outgoing_5");
    }

    #[test]
    fn the_handset_first_used_longest_ago_makes_room() {
        let mut texts = Texts::default();
        for number in 0..=HANDSETS_KEPT {
            texts.keep(
                outbound(&format!("+1{number:010}"), number),
                Timestamp::EPOCH,
            );
        }
        assert_eq!(texts.of.len(), HANDSETS_KEPT);
        assert!(!texts.of.contains_key(&"+10000000000".parse().unwrap()));
    }

    #[test]
    fn the_first_rule_that_fits_answers() {
        let rules = vec![
            rule(When::Is("ok".into())),
            rule(When::Contains("Code".into())),
        ];
        let script = Script {
            number: "+15555550123".parse().unwrap(),
            rules,
        };
        assert_eq!(script.rule_for(" OK ").unwrap().when, When::Is("ok".into()));
        assert_eq!(
            script.rule_for("your code is 7").unwrap().when,
            When::Contains("Code".into())
        );
        assert!(script.rule_for("okay").is_none());
    }

    #[test]
    fn a_text_that_needs_three_attempts_fails_twice_first() {
        let behaviour = Behaviour::of(&"+15555552103".parse().unwrap());
        let later = reports(behaviour, 2, Timestamp::EPOCH);
        let [
            Later {
                after,
                what: Happening::Report(report),
            },
        ] = &later[..]
        else {
            panic!("{later:?}");
        };
        assert_eq!(*after, BETWEEN_ATTEMPTS * 2 + USUAL_DELAY);
        let succeeded: Vec<_> = report
            .attempts
            .iter()
            .map(|a| a.segments_succeeded)
            .collect();
        assert_eq!(succeeded, [0, 0, 2]);
        let failed: Vec<_> = report.attempts.iter().map(|a| a.segments_failed).collect();
        assert_eq!(failed, [2, 2, 0]);
    }
}
