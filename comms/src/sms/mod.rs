//! SMS: sending, receiving, delivery reports, opt-outs.
//!
//! Promise: an accepted text survives a crash and reaches the carrier; its delivery report, when asked for, becomes one
//! event however often the carrier reports. An inbound text is one event in one transaction.
//! Not here: the HTTP surface (`api`), who is told (`grid`).

pub mod carrier;
pub mod delivery_report;
pub(crate) mod due;
pub(crate) mod events;
pub mod handsets;
pub mod magic;
pub(crate) mod message;
pub mod message_id;
pub mod opt_out;
pub mod receive;
pub(crate) mod report;
pub mod segments;
pub mod send;
pub mod sender;
pub mod status;

pub use carrier::Carrier;
pub use delivery_report::{DeliveryReport, DeliveryStatus};
pub use message_id::MessageId;
pub use opt_out::{OptOutError, OptOutResult};
pub use receive::{Inbound, ReceiveError};
pub use send::{Recipient, RecipientResult, Repeatability, SendError, SendOptions, SendRequest};
pub use sender::Sender;
pub use status::StatusCode;
