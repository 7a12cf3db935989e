//! What a peer's answers mean, in the words of `lastDeliveryOutcome`.
//!
//! Promise: only an answer that speaks of the message itself ends its delivery (`BadRequest`, `PayloadTooLarge`);
//! whatever speaks of the node, of our rights, of the link or of the moment is tried again.
//! Source: AMQP 1.0, 2.8.15 to 2.8.18 and 3.4; the error conditions of Service Bus; reference event-grid 5.4.

use fe2o3_amqp::connection::{ConnectionStopReason, OpenError};
use fe2o3_amqp::link::{
    DetachError, LinkStateError, SendError, SenderAttachError, SessionStopReason,
};
use fe2o3_amqp::session::BeginError;
use fe2o3_amqp::types::definitions::{AmqpError, Error, ErrorCondition, LinkError};
use fe2o3_amqp::types::messaging::Outcome as Told;
use fe2o3_amqp::types::sasl::SaslCode;

use crate::outbound::Failure;
use crate::retry::Outcome;

/// The longest explanation of a peer that is kept.
const DETAIL_CHARS: usize = 500;

/// What the peer did with a message.
pub(super) fn of_outcome(told: Told) -> Result<(), Failure> {
    match told {
        Told::Accepted(_) => Ok(()),
        Told::Rejected(rejected) => Err(match rejected.error {
            Some(error) => of_error("rejected the message", &error),
            // A broker that refuses without a reason is one whose queue is full, as RabbitMQ's is.
            None => failure(Outcome::Busy, "rejected the message without a reason"),
        }),
        Told::Released(_) => Err(failure(Outcome::Busy, "released the message")),
        Told::Modified(_) => Err(failure(Outcome::Busy, "gave the message back")),
    }
}

/// Whether the link is as good as before: nothing of the message was sent.
pub(super) fn speaks_of_the_message(error: &SendError) -> bool {
    matches!(
        error,
        SendError::MessageSizeExceeded(_) | SendError::MessageEncodeError
    )
}

pub(super) fn of_sending(error: SendError) -> Failure {
    match error {
        SendError::MessageSizeExceeded(sizes) => failure(
            Outcome::PayloadTooLarge,
            &format!("takes messages of at most {} bytes", sizes.max_size),
        ),
        SendError::MessageEncodeError => Failure::Protocol("the message has no form".into()),
        SendError::Detached(detached) => of_detaching(&detached),
        SendError::LinkStateError(state) => match state {
            LinkStateError::SessionStopped(reason) => of_session(&reason),
            LinkStateError::RemoteDetachedWithError(error)
            | LinkStateError::RemoteClosedWithError(error) => of_error("closed the link", &error),
            other => broken(&other),
        },
        other => broken(&other),
    }
}

pub(super) fn of_opening(error: OpenError) -> Failure {
    match error {
        OpenError::SaslError {
            code: SaslCode::Auth,
            ..
        } => failure(Outcome::Unauthorized, "refused the name or the password"),
        OpenError::RemoteClosedWithError(error) => of_error("closed the connection", &error),
        OpenError::ProtocolHeaderMismatch(_) => {
            failure(Outcome::Aborted, "does not speak AMQP 1.0")
        }
        other => broken(&other),
    }
}

pub(super) fn of_beginning(error: BeginError) -> Failure {
    match error {
        BeginError::ConnectionStopped(reason) => of_connection(&reason),
        BeginError::RemoteEndedWithError(error) => of_error("ended the session", &error),
        other => broken(&other),
    }
}

pub(super) fn of_attaching(error: SenderAttachError) -> Failure {
    match error {
        SenderAttachError::SessionStopped(reason) => of_session(&reason),
        SenderAttachError::RemoteClosedWithError(error) => of_error("refused the link", &error),
        // A peer refuses a link by attaching it without a target; the reason follows, or does not.
        SenderAttachError::IncomingTargetIsNone => {
            failure(Outcome::NotFound, "has no node with this address")
        }
        other => broken(&other),
    }
}

fn of_detaching(error: &DetachError) -> Failure {
    match error {
        DetachError::SessionStopped(reason) => of_session(reason),
        DetachError::RemoteDetachedWithError(error) | DetachError::RemoteClosedWithError(error) => {
            of_error("closed the link", error)
        }
        other => broken(other),
    }
}

fn of_session(reason: &SessionStopReason) -> Failure {
    match reason {
        SessionStopReason::RemoteEndedWithError(error) => of_error("ended the session", error),
        SessionStopReason::ConnectionStopped(reason) => of_connection(reason),
        other => broken(other),
    }
}

fn of_connection(reason: &ConnectionStopReason) -> Failure {
    match reason {
        ConnectionStopReason::RemoteClosedWithError(error) => {
            of_error("closed the connection", error)
        }
        other => broken(other),
    }
}

fn of_error(what: &str, error: &Error) -> Failure {
    let text = error.description.as_deref().unwrap_or_default();
    let said = format!("{what}: {:?} {text}", error.condition);
    failure(of_condition(&error.condition), &said)
}

fn of_condition(condition: &ErrorCondition) -> Outcome {
    match condition {
        ErrorCondition::AmqpError(error) => match error {
            AmqpError::NotFound | AmqpError::ResourceDeleted => Outcome::NotFound,
            AmqpError::UnauthorizedAccess => Outcome::Unauthorized,
            AmqpError::ResourceLimitExceeded | AmqpError::ResourceLocked => Outcome::Busy,
            AmqpError::DecodeError | AmqpError::InvalidField | AmqpError::NotAllowed => {
                Outcome::BadRequest
            }
            _ => Outcome::GenericError,
        },
        ErrorCondition::LinkError(LinkError::MessageSizeExceeded) => Outcome::PayloadTooLarge,
        ErrorCondition::ConnectionError(_) => Outcome::SocketError,
        ErrorCondition::Custom(name) => match name.as_str() {
            "com.microsoft:server-busy" => Outcome::Busy,
            "com.microsoft:timeout" => Outcome::TimedOut,
            // Left alone for five minutes, as the reference has it for `Disabled`.
            "com.microsoft:entity-disabled" | "com.microsoft:publisher-revoked" => {
                Outcome::NotFound
            }
            "com.microsoft:auth-failed" => Outcome::Unauthorized,
            "com.microsoft:argument-error" | "com.microsoft:argument-out-of-range" => {
                Outcome::BadRequest
            }
            _ => Outcome::GenericError,
        },
        _ => Outcome::GenericError,
    }
}

fn broken(error: &dyn std::fmt::Debug) -> Failure {
    Failure::Socket(shortened(&format!("{error:?}")))
}

fn failure(outcome: Outcome, said: &str) -> Failure {
    Failure::Handler {
        outcome,
        detail: shortened(&format!("the peer {said}")),
    }
}

fn shortened(text: &str) -> String {
    text.trim_end().chars().take(DETAIL_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp::types::messaging::{Accepted, Modified, Rejected, Released};

    use super::*;

    fn rejected(condition: &str) -> Outcome {
        let condition = match condition {
            "amqp:not-allowed" => ErrorCondition::AmqpError(AmqpError::NotAllowed),
            "amqp:not-found" => ErrorCondition::AmqpError(AmqpError::NotFound),
            "amqp:unauthorized-access" => ErrorCondition::AmqpError(AmqpError::UnauthorizedAccess),
            "amqp:resource-limit-exceeded" => {
                ErrorCondition::AmqpError(AmqpError::ResourceLimitExceeded)
            }
            "amqp:link:message-size-exceeded" => {
                ErrorCondition::LinkError(LinkError::MessageSizeExceeded)
            }
            custom => ErrorCondition::Custom(custom.into()),
        };
        let error = Error::new(condition, Some("because".to_owned()), None);
        let told = Told::Rejected(Rejected { error: Some(error) });
        let failure = of_outcome(told).unwrap_err();
        assert!(failure.to_string().contains("because"), "{failure}");
        Outcome::of_failure(&failure)
    }

    #[test]
    fn section_5_4_a_rejection_is_what_its_condition_says() {
        for (condition, outcome) in [
            ("amqp:not-allowed", Outcome::BadRequest),
            ("amqp:not-found", Outcome::NotFound),
            ("amqp:unauthorized-access", Outcome::Unauthorized),
            ("amqp:resource-limit-exceeded", Outcome::Busy),
            ("amqp:link:message-size-exceeded", Outcome::PayloadTooLarge),
            ("com.microsoft:server-busy", Outcome::Busy),
            ("com.microsoft:timeout", Outcome::TimedOut),
            ("com.example:unheard-of", Outcome::GenericError),
        ] {
            assert_eq!(rejected(condition), outcome, "{condition}");
        }
    }

    #[test]
    fn what_is_given_back_is_tried_again() {
        assert!(of_outcome(Told::Accepted(Accepted {})).is_ok());
        for told in [
            Told::Released(Released {}),
            Told::Modified(Modified {
                delivery_failed: Some(true),
                undeliverable_here: None,
                message_annotations: None,
            }),
            Told::Rejected(Rejected { error: None }),
        ] {
            let failure = of_outcome(told).unwrap_err();
            assert_eq!(Outcome::of_failure(&failure), Outcome::Busy);
        }
    }

    #[test]
    fn a_long_explanation_is_cut() {
        let failure = failure(Outcome::Busy, &"x".repeat(10_000));
        assert!(failure.to_string().len() <= DETAIL_CHARS);
    }
}
