//! Pages: what a client asks for, and where it finds the next one.
//!
//! Promise: a handler of a list is given a [`ListCall`] and answers with one of its pages. `nextLink` is the address that was dialled with everything that was asked for, and goes on behind this page.
//! Source: reference communication-services 4.

use std::str::FromStr;

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse as _, Response};
use gridpost_comms::chat::Page;
use gridpost_comms::identity::User;
use gridpost_model::Timestamp;
use http::request::Parts as Head;
use serde::Serialize;
use url::form_urlencoded::{Serializer, parse};

use crate::auth::user_token::UserCall;
use crate::communication::Refusal;
use crate::origin::base_url;
use crate::path::RawTarget;
use crate::{Parts, Shared};

/// A user's call for a page of a list.
pub(super) struct ListCall {
    /// Who calls.
    pub(super) user: User,
    /// Which page.
    pub(super) asked: Asked,
    head: Head,
}

/// What the query of a list says.
pub(super) struct Asked {
    /// `maxPageSize`.
    pub(super) size: Option<usize>,
    /// `startTime`.
    pub(super) since: Option<Timestamp>,
    /// `skip`.
    pub(super) skip: usize,
    /// Our own: where the page before ended.
    pub(super) cursor: Option<String>,
}

/// The name of our cursor.
const CURSOR: &str = "continueAt";

impl FromRequest<Shared> for ListCall {
    type Rejection = Refusal;

    async fn from_request(request: Request, parts: &Shared) -> Result<Self, Refusal> {
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head.clone(), body);
        let UserCall { user, .. } = UserCall::from_request(request, parts).await?;
        let asked = Asked::of(&head)?;
        Ok(Self { user, asked, head })
    }
}

impl ListCall {
    /// `{"value":[…],"nextLink":…}`
    pub(super) fn answer<'a, I, N: ToString, T: Serialize>(
        &self,
        parts: &Parts,
        page: &'a Page<I, N>,
        by: By,
        render: impl Fn(&'a I) -> T,
    ) -> Response {
        let next = page.next.as_ref().map(ToString::to_string);
        let body = PageOut {
            value: page.items.iter().map(render).collect(),
            next_link: next.map(|next| next_link(parts, &self.head, by, &next)),
        };
        Json(body).into_response()
    }
}

impl Asked {
    fn of(head: &Head) -> Result<Self, Refusal> {
        let query = head.uri.query().unwrap_or_default();
        let value = |wanted: &str| {
            let mut pairs = parse(query.as_bytes());
            pairs
                .find(|(name, value)| name.eq_ignore_ascii_case(wanted) && !value.is_empty())
                .map(|(_, value)| value)
        };
        Ok(Self {
            size: read("maxPageSize", value("maxPageSize").as_deref())?,
            since: read("startTime", value("startTime").as_deref())?,
            skip: read("skip", value("skip").as_deref())?.unwrap_or(0),
            cursor: value(CURSOR).map(Into::into),
        })
    }

    /// The cursor as a number.
    pub(super) fn before(&self) -> Result<Option<u64>, Refusal> {
        read(CURSOR, self.cursor.as_deref())
    }
}

fn read<T: FromStr>(name: &str, text: Option<&str>) -> Result<Option<T>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let bad = || Refusal::bad_request(format!("The query parameter '{name}' cannot be read."));
    text.parse().map(Some).map_err(|_| bad())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PageOut<T> {
    value: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_link: Option<String>,
}

/// By what a list goes on.
#[derive(Clone, Copy)]
pub(super) enum By {
    /// Our cursor.
    Cursor,
    /// `skip`.
    Skip,
}

fn next_link(parts: &Parts, head: &Head, by: By, next: &str) -> String {
    let name = match by {
        By::Cursor => CURSOR,
        By::Skip => "skip",
    };
    let target = head
        .extensions
        .get::<RawTarget>()
        .map_or(&head.uri, |raw| &raw.0);
    let query = target.query().unwrap_or_default();
    let mut pairs = Serializer::new(String::new());
    pairs.extend_pairs(parse(query.as_bytes()).filter(|(had, _)| !had.eq_ignore_ascii_case(name)));
    pairs.append_pair(name, next);
    format!(
        "{}{}?{}",
        base_url(parts, head),
        target.path(),
        pairs.finish()
    )
}
