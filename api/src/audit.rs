//! What is written into the audit log.
//!
//! Promise: every change through Resource Manager or our own REST leaves a row, and so does every look at keys and every
//! call that a role refused; the row is kept before the answer is given. No secret, phone number or text is in it: of what
//! was sent, `request` keeps what a list allows, and of a call that was refused nothing. That a row could not be kept does
//! not undo what was done; it is logged.
//! Not here: how rows are kept and found (`grid::audit`), that a row is written when the client has gone (`changes`).
//! Sending events, texts and messages is no change, and leaves none; nor does what a built-in sink or handset receives.

use axum::response::Response;
use bytes::Bytes;
use gridpost_grid::audit::{Entry, Kind};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request};

use crate::auth::{Principal, machine};
use crate::origin::Caller;
use crate::{Parts, Shared};

mod request_body;

/// Who it was when nobody had to say: a program of this machine, in the development profile.
const LOCAL: &str = "local caller";

/// How long a text of a client may be in a row.
const TEXT_LIMIT: usize = 128;

/// How long a scope or an action may be in a row; those of what exists are shorter.
const SCOPE_LIMIT: usize = 1_024;

const CORRELATION_ID: HeaderName = HeaderName::from_static("x-ms-correlation-request-id");

/// What ties a call, its answer and its row together: what the client sent, or a new one.
#[derive(Clone, Debug)]
pub(crate) struct Correlation(String);

impl Correlation {
    /// That of a call.
    pub(crate) fn of(parts: &Parts, headers: &HeaderMap) -> Self {
        let sent = text(headers, CORRELATION_ID.as_str());
        let sent = sent.filter(|sent| !sent.is_empty());
        Self(sent.unwrap_or_else(|| parts.chance.uuid()))
    }

    /// Puts it on the answer.
    pub(crate) fn show(&self, answer: &mut Response) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            answer.headers_mut().insert(CORRELATION_ID, value);
        }
    }
}

/// What a call asked for.
pub(crate) struct Told {
    /// What it is when it is not refused.
    pub(crate) kind: Kind,
    pub(crate) action: String,
    pub(crate) scope: String,
    pub(crate) correlation: Correlation,
    pub(crate) body: Bytes,
}

/// What is known of a call before it is answered.
pub(crate) struct Note {
    principal: String,
    object_id: Option<String>,
    address: Option<String>,
    client_request_id: Option<String>,
    command: Option<String>,
    told: Told,
}

impl Note {
    /// A note of a call. `principal` is `None` where nobody had to say who they are.
    pub(crate) fn of(head: &request::Parts, principal: Option<&Principal>, told: Told) -> Self {
        let (who, object_id) = match principal {
            None => (LOCAL.to_owned(), None),
            Some(principal) if machine::is(principal) => (machine::NAME.to_owned(), None),
            Some(principal) => (
                principal.client_id.clone(),
                Some(principal.object_id.clone()),
            ),
        };
        let caller = head.extensions.get::<Caller>();
        Self {
            principal: who,
            object_id,
            address: caller.map(|caller| caller.address.to_canonical().to_string()),
            client_request_id: text(&head.headers, "x-ms-client-request-id"),
            command: text(&head.headers, "commandname"),
            told,
        }
    }

    /// Writes the row.
    pub(crate) async fn write(self, parts: Shared, status: StatusCode, code: Option<&'static str>) {
        let was_refused = status.is_client_error() || status.is_server_error();
        let (kind, request) = match was_refused {
            true => (Kind::Refusal, None),
            false => (self.told.kind, request_body::shown(&self.told.body)),
        };
        let entry = Entry {
            // Rows go by age, which the development profile's clock does not make.
            at: parts.clock.wall(),
            principal: self.principal,
            object_id: self.object_id,
            address: self.address,
            action: short(&self.told.action, SCOPE_LIMIT),
            scope: short(&self.told.scope, SCOPE_LIMIT),
            status: status.as_u16(),
            code: code.map(str::to_owned),
            correlation_id: self.told.correlation.0,
            client_request_id: self.client_request_id,
            command: self.command,
            request,
        };
        if let Err(error) = parts.grid.write_audit(kind, entry).await {
            tracing::warn!("a row of the audit log was not stored: {error}");
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(short(value, TEXT_LIMIT))
}

fn short(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}
