//! The event types of communication services.
//!
//! Promise: one table says which types exist and which belong to the default set of a system topic.
//! Source: reference communication-events 1 (`isInDefaultSet` is unconfirmed; the choice is in docs/parity.md).

/// The topic type of communication resources.
pub const COMMUNICATION_TOPIC_TYPE: &str = "Microsoft.Communication.CommunicationServices";

/// Whether a subscription without `includedEventTypes` receives a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In the default set.
    Default,
    /// Only for subscriptions that name it.
    Named,
}

use Reach::{Default, Named};

/// Every type, in alphabetical order.
pub const COMMUNICATION: &[(&str, Reach)] = &[
    (
        "Microsoft.Communication.AdvancedMessageAnalysisCompleted",
        Named,
    ),
    (
        "Microsoft.Communication.AdvancedMessageDeliveryStatusUpdated",
        Default,
    ),
    ("Microsoft.Communication.AdvancedMessageReceived", Default),
    ("Microsoft.Communication.CallEnded", Default),
    ("Microsoft.Communication.CallParticipantAdded", Default),
    ("Microsoft.Communication.CallParticipantRemoved", Default),
    ("Microsoft.Communication.CallStarted", Default),
    (
        "Microsoft.Communication.ChatAzureBotCommandReceivedInThread",
        Named,
    ),
    (
        "Microsoft.Communication.ChatMemberAddedToThreadWithUser",
        Named,
    ),
    (
        "Microsoft.Communication.ChatMemberRemovedFromThreadWithUser",
        Named,
    ),
    ("Microsoft.Communication.ChatMessageDeleted", Default),
    ("Microsoft.Communication.ChatMessageDeletedInThread", Named),
    ("Microsoft.Communication.ChatMessageEdited", Default),
    ("Microsoft.Communication.ChatMessageEditedInThread", Named),
    ("Microsoft.Communication.ChatMessageReceived", Default),
    ("Microsoft.Communication.ChatMessageReceivedInThread", Named),
    (
        "Microsoft.Communication.ChatParticipantAddedToThreadWithUser",
        Default,
    ),
    (
        "Microsoft.Communication.ChatParticipantRemovedFromThreadWithUser",
        Default,
    ),
    ("Microsoft.Communication.ChatThreadCreated", Named),
    ("Microsoft.Communication.ChatThreadCreatedWithUser", Default),
    ("Microsoft.Communication.ChatThreadDeleted", Named),
    ("Microsoft.Communication.ChatThreadParticipantAdded", Named),
    (
        "Microsoft.Communication.ChatThreadParticipantRemoved",
        Named,
    ),
    ("Microsoft.Communication.ChatThreadPropertiesUpdated", Named),
    (
        "Microsoft.Communication.ChatThreadPropertiesUpdatedPerUser",
        Default,
    ),
    ("Microsoft.Communication.ChatThreadWithUserDeleted", Default),
    (
        "Microsoft.Communication.ChatTypingIndicatorReceivedInThread",
        Named,
    ),
    (
        "Microsoft.Communication.EmailDeliveryReportReceived",
        Default,
    ),
    (
        "Microsoft.Communication.EmailEngagementTrackingReportReceived",
        Default,
    ),
    ("Microsoft.Communication.IncomingCall", Default),
    (
        "Microsoft.Communication.RecordingFileStatusUpdated",
        Default,
    ),
    ("Microsoft.Communication.RouterJobCancelled", Default),
    (
        "Microsoft.Communication.RouterJobClassificationFailed",
        Default,
    ),
    ("Microsoft.Communication.RouterJobClassified", Default),
    ("Microsoft.Communication.RouterJobClosed", Default),
    ("Microsoft.Communication.RouterJobCompleted", Default),
    ("Microsoft.Communication.RouterJobDeleted", Default),
    (
        "Microsoft.Communication.RouterJobExceptionTriggered",
        Default,
    ),
    ("Microsoft.Communication.RouterJobQueued", Default),
    ("Microsoft.Communication.RouterJobReceived", Default),
    ("Microsoft.Communication.RouterJobSchedulingFailed", Default),
    ("Microsoft.Communication.RouterJobUnassigned", Default),
    (
        "Microsoft.Communication.RouterJobWaitingForActivation",
        Default,
    ),
    (
        "Microsoft.Communication.RouterJobWorkerSelectorsExpired",
        Default,
    ),
    ("Microsoft.Communication.RouterWorkerDeleted", Default),
    ("Microsoft.Communication.RouterWorkerDeregistered", Default),
    ("Microsoft.Communication.RouterWorkerOfferAccepted", Default),
    ("Microsoft.Communication.RouterWorkerOfferDeclined", Default),
    ("Microsoft.Communication.RouterWorkerOfferExpired", Default),
    ("Microsoft.Communication.RouterWorkerOfferIssued", Default),
    ("Microsoft.Communication.RouterWorkerOfferRevoked", Default),
    ("Microsoft.Communication.RouterWorkerRegistered", Default),
    ("Microsoft.Communication.RouterWorkerUpdated", Default),
    ("Microsoft.Communication.SMSDeliveryReportReceived", Default),
    ("Microsoft.Communication.SMSReceived", Default),
    ("Microsoft.Communication.UserDisconnected", Default),
];

/// Whether a subscription that lists no types receives this one.
pub fn in_default_set(event_type: &str) -> bool {
    find(event_type).is_some_and(|(_, reach)| *reach == Default)
}

/// The row of a type, its name compared without case.
pub fn find(event_type: &str) -> Option<&'static (&'static str, Reach)> {
    let found = COMMUNICATION
        .binary_search_by(|(name, _)| name.cmp(&event_type))
        .ok();
    found.map(|at| &COMMUNICATION[at]).or_else(|| {
        COMMUNICATION
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(event_type))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_whole() {
        assert!(COMMUNICATION.is_sorted_by_key(|(name, _)| *name));
        assert_eq!(COMMUNICATION.len(), 56);
    }

    #[test]
    fn names_are_found_in_any_case() {
        assert!(in_default_set("microsoft.communication.smsreceived"));
        assert!(!in_default_set(
            "Microsoft.Communication.ChatMemberAddedToThreadWithUser"
        ));
        assert!(find("Microsoft.Communication.Nothing").is_none());
    }
}
