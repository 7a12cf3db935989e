//! Presence in a thread: who has read up to where, who is typing.
//!
//! Promise: a thread has one receipt of each member, its latest. Receipts raise no event; typing raises the thread's.
//! Source: reference communication-services 7, communication-events 3.

use gridpost_store::Scan;

use crate::chat::announce::What;
use crate::chat::error::ChatError;
use crate::chat::live::Telling;
use crate::chat::message::ReadReceipt;
use crate::chat::participants::page_of;
use crate::chat::rates::Call;
use crate::chat::rights::Act;
use crate::chat::thread::{MOST_FOR_PRESENCE, Thread, millis, thread_of};
use crate::chat::{Chat, Page, check_name, page_size};
use crate::tables;

impl Chat<'_> {
    /// The receipts, in order of their readers' ids, but the first `skip`.
    ///
    /// # Errors
    /// The user is not in the thread, or the thread is too large for receipts.
    pub fn receipts(
        &self,
        thread: &str,
        skip: usize,
        size: Option<usize>,
    ) -> Result<Page<ReadReceipt, usize>, ChatError> {
        self.may(Act::TakePart)?;
        let size = page_size(size)?;
        let (found, _) = self.as_member(thread)?;
        check_size(&found)?;
        self.count(Call::ListReceipts, thread)?;
        let scan = Scan::prefix((self.resource(), thread));
        let partition = self.service.partition();
        let rows = self
            .snapshot()
            .scan(&tables::READ_RECEIPTS, partition, scan)?;
        let all = rows.into_iter().map(|(_, receipt)| receipt);
        Ok(page_of(all.collect(), skip, size, |_| 0))
    }

    /// Says that the user has read up to a message. One before what it has read already changes nothing.
    ///
    /// # Errors
    /// The user is not in the thread or does not see the message, the thread is too large for receipts, or nothing
    /// could be kept.
    pub async fn read(&self, thread: &str, message: u64) -> Result<(), ChatError> {
        self.may(Act::TakePart)?;
        self.count_member(Call::SendReceipt, thread)?;
        let thread = thread.to_owned();
        self.keep(move |scene, user| {
            let resource = scene.resource();
            let (found, member) = thread_of(scene.txn, resource, &thread, user)?;
            check_size(&found)?;
            let key = (resource, thread.as_str(), message);
            let is_there = scene.txn.get(&tables::CHAT_MESSAGES, key)?.is_some();
            if !is_there || message < member.sees_from() {
                return Err(ChatError::NoMessage);
            }
            let key = (resource, thread.as_str(), user.as_str());
            let before = scene.txn.get(&tables::READ_RECEIPTS, key)?;
            if before.is_some_and(|before| message <= before.message) {
                return Ok(None);
            }
            let receipt = ReadReceipt {
                reader: user.clone(),
                message,
                at: scene.now,
            };
            scene.txn.put(&tables::READ_RECEIPTS, key, &receipt)?;
            let telling = Telling::of(scene.inner, scene.service, &thread, &receipt)?;
            Ok(Some(telling))
        })
        .await?;
        Ok(())
    }

    /// Says that the user is typing.
    ///
    /// # Errors
    /// The user is not in the thread, the thread is too large for it, or the event could not be kept.
    pub async fn typing(
        &self,
        thread: &str,
        display_name: Option<String>,
    ) -> Result<(), ChatError> {
        self.may(Act::TakePart)?;
        check_name(
            "senderDisplayName",
            display_name.as_deref().unwrap_or_default(),
        )?;
        self.count_member(Call::SendTyping, thread)?;
        let thread = thread.to_owned();
        self.change(move |scene, user| {
            let (found, member) = thread_of(scene.txn, scene.resource(), &thread, user)?;
            check_size(&found)?;
            let display_name = display_name.or(member.person.display_name);
            let what = What::Typing { display_name };
            scene.announce(&found, user, millis(scene.now), Vec::new(), what)?;
            Ok(())
        })
        .await
    }
}

fn check_size(thread: &Thread) -> Result<(), ChatError> {
    if thread.members <= MOST_FOR_PRESENCE {
        Ok(())
    } else {
        Err(ChatError::TooManyForPresence)
    }
}
