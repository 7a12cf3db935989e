//! Typing and read receipts, which go to whoever is in the thread at that moment.
//!
//! Promise: recipients are the members but the one who acts, and looking them up holds no writer up. Both are hints:
//! what a server too busy for them drops can be listed, or is over in a few seconds.
//! Source: reference communication-services 7, communication-events 3.

use std::sync::Arc;

use gridpost_model::Event;
use gridpost_model::event::NewEvent;
use gridpost_store::{Scan, StoreError};
use serde::Serialize;

use super::Hub;
use crate::chat::message::ReadReceipt;
use crate::chat::person::Identifier;
use crate::identity::UserId;
use crate::resources::CommunicationService;
use crate::{Inner, tables};

/// Our own: the service has no such event, and no subscription hears of it.
const READ_RECEIPT: &str = "Gridpost.ChatReadReceiptReceived";

/// What a subject of typing says before and behind the thread.
const SUBJECT: (&str, &str) = ("thread/", "/sender/");

/// Tells of typing. Called on the store's writer, so the looking up happens elsewhere.
pub(super) fn tell_typing(hub: &Hub, event: &Arc<Event>) {
    let Some((thread, sender)) = parts(&event.subject) else {
        return;
    };
    if !event
        .event_type
        .ends_with("TypingIndicatorReceivedInThread")
    {
        return;
    }
    let Some(inner) = hub.home() else { return };
    let (thread, event) = (thread.to_owned(), Arc::clone(event));
    let spawn = Arc::clone(&inner.settings.spawn);
    let task = async move {
        if let Some(service) = inner.registry.service_with(sender.resource()) {
            tell_others(&inner, &service, &thread, &sender, &event);
        }
    };
    spawn("typing", Box::pin(task));
}

/// Tells of a receipt that was kept.
pub(crate) fn tell_read(
    inner: &Inner,
    service: &CommunicationService,
    thread: &str,
    receipt: &ReadReceipt,
) {
    if !inner.live.is_listened() {
        return;
    }
    let data = ReadOut {
        chat_message_id: receipt.message.to_string(),
        read_on: receipt.at.to_string(),
        sender_communication_identifier: (&receipt.reader).into(),
        thread_id: thread,
    };
    let new = NewEvent {
        id: &inner.settings.chance.uuid(),
        topic: &service.id.as_str().into(),
        subject: &format!("thread/{thread}/sender/{}", receipt.reader),
        event_type: READ_RECEIPT,
        event_time: &receipt.at.to_string(),
        data_version: "1.0",
        data: &data,
    };
    if let Ok(event) = Event::event_grid(&new, receipt.at) {
        tell_others(inner, service, thread, &receipt.reader, &Arc::new(event));
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReadOut<'a> {
    chat_message_id: String,
    read_on: String,
    sender_communication_identifier: Identifier<'a>,
    thread_id: &'a str,
}

fn parts(subject: &str) -> Option<(&str, UserId)> {
    let (thread, sender) = subject.strip_prefix(SUBJECT.0)?.rsplit_once(SUBJECT.1)?;
    Some((thread, sender.parse().ok()?))
}

fn tell_others(
    inner: &Inner,
    service: &CommunicationService,
    thread: &str,
    actor: &UserId,
    event: &Arc<Event>,
) {
    match others(inner, service, thread, actor) {
        Ok(others) => others
            .iter()
            .for_each(|one| inner.live.tell(one.as_str(), event)),
        Err(error) => tracing::debug!(%error, "nobody was told who is typing or has read"),
    }
}

fn others(
    inner: &Inner,
    service: &CommunicationService,
    thread: &str,
    actor: &UserId,
) -> Result<Vec<UserId>, StoreError> {
    let of_thread = Scan::prefix((service.immutable_id.as_str(), thread));
    let rows = inner
        .store
        .snapshot()
        .scan(&tables::MEMBERS, service.partition(), of_thread)?;
    let ids = rows.into_iter().map(|(_, member)| member.person.id);
    Ok(ids.filter(|id| id != actor).collect())
}
