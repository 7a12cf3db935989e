//! Who does not want texts from whom.
//!
//! Promise: a recipient who said STOP gets nothing more from that sender until START; the keyword counts from the
//! transaction that published it.
//! Source: reference communication-services 6. Which words count is our choice, in docs/sms.md.

use gridpost_model::{PhoneNumber, Timestamp};
use gridpost_store::{StoreError, Txn, WriteError};
use serde::{Deserialize, Serialize};

use crate::resources::CommunicationService;
use crate::sms::send::LONGEST_LIST;
use crate::sms::sender::{self, Sender};
use crate::{Comms, tables};

/// What makes a text a wish: one of these words and nothing else.
const STOP: &[&str] = &["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"];
const START: &[&str] = &["START", "UNSTOP"];

/// A text that is a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Stop,
    Start,
}

impl Keyword {
    /// The wish of a text: a keyword alone, in any case, blanks and closing punctuation aside.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let word = text.trim().trim_end_matches(['.', '!']).trim_end();
        let is = |known: &&str| known.eq_ignore_ascii_case(word);
        if STOP.iter().any(is) {
            Some(Self::Stop)
        } else if START.iter().any(is) {
            Some(Self::Start)
        } else {
            None
        }
    }
}

/// One recipient who does not want texts from one sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OptOut {
    pub(crate) from: Box<str>,
    pub(crate) to: PhoneNumber,
    pub(crate) since: Timestamp,
}

impl OptOut {
    pub(crate) fn key<'a>(
        &'a self,
        service: &'a CommunicationService,
    ) -> (&'a str, &'a str, &'a str) {
        (&service.immutable_id, &self.from, self.to.digits())
    }
}

/// Does what a keyword asks for. `owned` is the number it was sent to.
pub(crate) fn obey(
    txn: &mut Txn<'_>,
    service: &CommunicationService,
    keyword: Keyword,
    owned: &PhoneNumber,
    recipient: &PhoneNumber,
    since: Timestamp,
) -> Result<(), StoreError> {
    let row = OptOut {
        from: owned.digits().into(),
        to: recipient.clone(),
        since,
    };
    match keyword {
        Keyword::Stop => txn.put(&tables::OPT_OUTS, row.key(service), &row),
        Keyword::Start => txn.remove(&tables::OPT_OUTS, row.key(service)),
    }
}

/// Whether the recipient opted out.
pub(crate) fn is_opted_out(
    txn: &Txn<'_>,
    immutable_id: &str,
    from: &str,
    to: &PhoneNumber,
) -> Result<bool, StoreError> {
    Ok(txn
        .get(&tables::OPT_OUTS, (immutable_id, from, to.digits()))?
        .is_some())
}

/// What became of one recipient of an opt-out call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptOutResult {
    /// The recipient, as it was given.
    pub to: String,
    /// The recipient is a number. If not: 400, `Invalid recipient phone number format`.
    pub valid: bool,
    /// `isOptedOut`; only a check answers it.
    pub is_opted_out: Option<bool>,
}

impl OptOutResult {
    /// The text of a recipient that is no number.
    pub const INVALID: &'static str = "Invalid recipient phone number format";

    /// `httpStatusCode`.
    pub fn status(&self) -> u16 {
        if self.valid { 200 } else { 400 }
    }

    /// `errorMessage`.
    pub fn error(&self) -> Option<&'static str> {
        (!self.valid).then_some(Self::INVALID)
    }
}

/// Why an opt-out call was refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum OptOutError {
    /// `from` is no sender.
    #[error("Invalid From phone number format.")]
    BadFrom,
    /// `from` belongs to another resource or to nobody.
    #[error("The sender does not belong to this resource.")]
    NotOwned,
    /// Not 1 to 100 recipients.
    #[error("A request has 1 to {LONGEST_LIST} recipients; this one has {0}.")]
    Recipients(usize),
    /// It could not be kept or read.
    #[error("the opt-outs were not stored")]
    NotStored(#[from] StoreError),
}

impl Comms {
    /// Records that recipients do not want texts from a sender.
    ///
    /// # Errors
    /// The call is refused as a whole.
    pub async fn add_opt_outs(
        &self,
        service: &CommunicationService,
        from: &str,
        recipients: &[String],
    ) -> Result<Vec<OptOutResult>, OptOutError> {
        self.change_opt_outs(service, from, recipients, Keyword::Stop)
            .await
    }

    /// Records that recipients want texts from a sender again.
    ///
    /// # Errors
    /// The call is refused as a whole.
    pub async fn remove_opt_outs(
        &self,
        service: &CommunicationService,
        from: &str,
        recipients: &[String],
    ) -> Result<Vec<OptOutResult>, OptOutError> {
        self.change_opt_outs(service, from, recipients, Keyword::Start)
            .await
    }

    async fn change_opt_outs(
        &self,
        service: &CommunicationService,
        from: &str,
        recipients: &[String],
        wish: Keyword,
    ) -> Result<Vec<OptOutResult>, OptOutError> {
        let from = self.opt_out_sender(service, from, recipients)?;
        let since = self.0.settings.clock.now();
        let rows: Vec<OptOut> = recipients
            .iter()
            .filter_map(|to| sender::recipient(to))
            .map(|to| OptOut {
                from: from.bare().into(),
                to,
                since,
            })
            .collect();
        let resource = service.clone();
        self.0
            .store
            .write(service.partition(), move |txn| {
                for row in &rows {
                    match wish {
                        Keyword::Stop => txn.put(&tables::OPT_OUTS, row.key(&resource), row)?,
                        Keyword::Start => txn.remove(&tables::OPT_OUTS, row.key(&resource))?,
                    }
                }
                Ok(())
            })
            .await
            .map_err(WriteError::<StoreError>::into_inner)?;
        Ok(recipients
            .iter()
            .map(|to| result(to, |_| Ok(None)))
            .collect::<Result<_, StoreError>>()?)
    }

    /// Tells of each recipient whether it does not want texts from a sender.
    ///
    /// # Errors
    /// The call is refused as a whole.
    pub fn check_opt_outs(
        &self,
        service: &CommunicationService,
        from: &str,
        recipients: &[String],
    ) -> Result<Vec<OptOutResult>, OptOutError> {
        let from = self.opt_out_sender(service, from, recipients)?;
        let snapshot = self.0.store.snapshot();
        let look_up = |to: &PhoneNumber| {
            let key = (service.immutable_id.as_str(), from.bare(), to.digits());
            let row = snapshot.get(&tables::OPT_OUTS, service.partition(), key)?;
            Ok(Some(row.is_some()))
        };
        Ok(recipients
            .iter()
            .map(|to| result(to, look_up))
            .collect::<Result<_, StoreError>>()?)
    }

    fn opt_out_sender(
        &self,
        service: &CommunicationService,
        from: &str,
        recipients: &[String],
    ) -> Result<Sender, OptOutError> {
        let from: Sender = from.parse().map_err(|_| OptOutError::BadFrom)?;
        if !self.may_use(service, &from) {
            return Err(OptOutError::NotOwned);
        }
        if !(1..=LONGEST_LIST).contains(&recipients.len()) {
            return Err(OptOutError::Recipients(recipients.len()));
        }
        Ok(from)
    }
}

fn result(
    to: &str,
    look_up: impl Fn(&PhoneNumber) -> Result<Option<bool>, StoreError>,
) -> Result<OptOutResult, StoreError> {
    let number = sender::recipient(to);
    let is_opted_out = number.as_ref().map(look_up).transpose()?.flatten();
    Ok(OptOutResult {
        to: to.to_owned(),
        valid: number.is_some(),
        is_opted_out,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_stand_alone_in_any_case() {
        for text in ["STOP", "stop", " Stop. ", "unsubscribe", "StopAll!", "Quit"] {
            assert_eq!(Keyword::of(text), Some(Keyword::Stop), "{text}");
        }
        for text in ["START", "unstop", "Start "] {
            assert_eq!(Keyword::of(text), Some(Keyword::Start), "{text}");
        }
    }

    #[test]
    fn a_sentence_with_a_keyword_is_no_wish() {
        for text in ["", "please stop", "STOP it", "startle", "HELP", "."] {
            assert_eq!(Keyword::of(text), None, "{text}");
        }
    }
}
