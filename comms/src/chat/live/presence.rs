//! Typing and read receipts, which go to whoever is in the thread when they are looked up.
//!
//! Promise: recipients are the members but the one who acts, and looking them up holds no writer up. Hints are given in
//! order. What a server too busy for them drops can be listed, or is over in a few seconds.
//! Source: reference communication-services 7, communication-events 3.

use std::sync::{Arc, Weak};

use gridpost_model::Event;
use gridpost_store::{Scan, StoreError};
use tokio::sync::mpsc;

use super::Hub;
use crate::chat::events;
use crate::chat::message::ReadReceipt;
use crate::identity::UserId;
use crate::resources::CommunicationService;
use crate::{Inner, tables};

/// That somebody is typing, or has read.
pub(crate) struct Hint {
    thread: String,
    actor: UserId,
    event: Arc<Event>,
    /// The message that a receipt names. It is told when it was kept.
    read: Option<u64>,
}

impl Hint {
    pub(super) fn typing(thread: &str, actor: UserId, event: &Arc<Event>) -> Self {
        Self {
            thread: thread.to_owned(),
            actor,
            event: Arc::clone(event),
            read: None,
        }
    }
}

/// Part of what the transaction of a receipt returns: when it is dropped, the others are told.
///
/// A caller that hung up never sees its `Committed` value, but the store drops it after the commit all the same.
pub(crate) struct Telling {
    hub: Arc<Hub>,
    hint: Option<Hint>,
}

impl Telling {
    /// Of a receipt, if anybody listens.
    pub(crate) fn of(
        inner: &Inner,
        service: &CommunicationService,
        thread: &str,
        receipt: &ReadReceipt,
    ) -> Result<Self, StoreError> {
        let hub = Arc::clone(&inner.live);
        if !hub.is_listened() {
            return Ok(Self { hub, hint: None });
        }
        let topic: Arc<str> = service.id.as_str().into();
        let id = inner.settings.chance.uuid();
        let event = events::read_receipt(&topic, thread, receipt, &id)?;
        let hint = Hint {
            thread: thread.to_owned(),
            actor: receipt.reader.clone(),
            event: Arc::new(event),
            read: Some(receipt.message),
        };
        Ok(Self {
            hub,
            hint: Some(hint),
        })
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(hint) = self.hint.take() {
            self.hub.give(hint);
        }
    }
}

/// Tells of hints, one after the other, for as long as there are services.
pub(super) async fn tell_all(inner: Weak<Inner>, mut hints: mpsc::Receiver<Hint>) {
    while let Some(hint) = hints.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = tell(&inner, &hint) {
            tracing::debug!(%error, "nobody was told who is typing or has read");
        }
    }
}

fn tell(inner: &Inner, hint: &Hint) -> Result<(), StoreError> {
    let Some(service) = inner.registry.service_with(hint.actor.resource()) else {
        return Ok(());
    };
    let (resource, thread) = (service.immutable_id.as_str(), hint.thread.as_str());
    let (partition, snapshot) = (service.partition(), inner.store.snapshot());
    if let Some(read) = hint.read {
        let key = (resource, thread, hint.actor.as_str());
        let kept = snapshot.get(&tables::READ_RECEIPTS, partition, key)?;
        if kept.is_none_or(|kept| kept.message < read) {
            return Ok(());
        }
    }
    let members = snapshot.scan(
        &tables::MEMBERS,
        partition,
        Scan::prefix((resource, thread)),
    )?;
    let ids = members.into_iter().map(|(_, member)| member.person.id);
    ids.filter(|id| *id != hint.actor)
        .for_each(|id| inner.live.tell(id.as_str(), &hint.event));
    Ok(())
}
