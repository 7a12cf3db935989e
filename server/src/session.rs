//! Many calls to Resource Manager over a few connections.
//!
//! Promise: one sign-in, and as many connections as calls are made at once; a connection that the server closed in
//! between is opened anew, which no caller notices.
//! Not here: what is called (`declare`, `cli`), one call alone (`client`).

use bytes::Bytes;
use gridpost_api::path;
use gridpost_grid::outbound;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use serde_json::Value;

use crate::client::{Client, MANAGEMENT_VERSION, answer_within, refused};
use crate::output::{Exit, Failure};

/// Under which condition a resource is changed.
#[derive(Clone, Copy, Debug)]
pub enum Condition<'a> {
    /// However it is.
    Always,
    /// There is none yet.
    Absent,
    /// It is as it was when it had this tag.
    Unchanged(&'a str),
}

/// Why a change was not made.
#[derive(Debug)]
pub enum NotChanged {
    /// The condition does not hold.
    Meanwhile,
    /// The endpoint of the event subscription did not answer in time.
    Silent(Failure),
    /// The endpoint answered, and did not agree.
    Disagreed(Failure),
    /// Anything else.
    Failed(Failure),
}

/// What a server answered.
struct Answer {
    status: StatusCode,
    tag: Option<String>,
    body: Bytes,
}

/// A signed-in client that keeps its connections.
pub struct Session<'a> {
    client: &'a Client,
    token: String,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl<'a> Session<'a> {
    /// Signs in.
    ///
    /// # Errors
    /// The server is not there, or does not know us.
    pub async fn open(client: &'a Client) -> Result<Self, Failure> {
        Ok(Self {
            client,
            token: client.token().await?,
            idle: Mutex::default(),
        })
    }

    /// Calls Resource Manager about a resource.
    ///
    /// # Errors
    /// The server is not there, or refused.
    pub async fn manage(
        &self,
        method: Method,
        id: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        self.call(method, &target(id), body).await
    }

    /// Makes or changes a resource.
    ///
    /// # Errors
    /// The server is not there, or refused.
    pub async fn change(
        &self,
        method: Method,
        id: &str,
        body: Option<&Value>,
        condition: Condition<'_>,
    ) -> Result<Value, NotChanged> {
        let answer = self.exchange(&method, &target(id), body, condition).await;
        let answer = answer.map_err(NotChanged::Failed)?;
        let is_conditional = !matches!(condition, Condition::Always);
        if is_conditional && answer.status == StatusCode::PRECONDITION_FAILED {
            return Err(NotChanged::Meanwhile);
        }
        let about_endpoint = code_of(&answer.body).as_deref() == Some("Url validation");
        answered(&answer).map_err(|failure| match about_endpoint {
            true if is_late(&failure) => NotChanged::Silent(failure),
            true => NotChanged::Disagreed(failure),
            false => NotChanged::Failed(failure),
        })
    }

    /// A resource, `None` when there is no such one.
    ///
    /// # Errors
    /// The server is not there, or refused.
    pub async fn find(&self, id: &str) -> Result<Option<Value>, Failure> {
        let found = self.find_tagged(id).await?;
        Ok(found.map(|(shown, _)| shown))
    }

    /// The same with its tag, which resource groups do not have.
    ///
    /// # Errors
    /// The server is not there, or refused.
    pub async fn find_tagged(&self, id: &str) -> Result<Option<(Value, Option<String>)>, Failure> {
        let target = target(id);
        let asked = self.exchange(&Method::GET, &target, None, Condition::Always);
        let answer = asked.await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let shown = answered(&answer)?;
        Ok(Some((shown, answer.tag)))
    }

    /// Everything that a list has, all its pages.
    ///
    /// # Errors
    /// The server is not there, or refused.
    pub async fn list(&self, id: &str) -> Result<Vec<Value>, Failure> {
        let mut next = target(id);
        let mut all = Vec::new();
        loop {
            let mut page = self.call(Method::GET, &next, None).await?;
            if let Some(found) = page["value"].as_array_mut() {
                all.append(found);
            }
            // The link names the address that the server is known by; we stay with the one that reaches it.
            let link = page["nextLink"].as_str().and_then(|link| link.parse().ok());
            match link.as_ref().and_then(http::Uri::path_and_query) {
                Some(link) => next = link.as_str().to_owned(),
                None => return Ok(all),
            }
        }
    }

    async fn call(
        &self,
        method: Method,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let asked = self.exchange(&method, target, body, Condition::Always);
        answered(&asked.await?)
    }

    async fn exchange(
        &self,
        method: &Method,
        target: &str,
        body: Option<&Value>,
        condition: Condition<'_>,
    ) -> Result<Answer, Failure> {
        let within = answer_within(method, target);
        let told = tokio::time::timeout(within, async {
            let kept = self.idle.lock().pop();
            if let Some(connection) = kept.filter(|one| !one.is_closed()) {
                // A connection may have been closed a moment ago. Every call here may be made twice: where the first
                // one counted after all, a condition says so.
                let told = self.on(connection, method, target, body, condition).await;
                if let Ok(told) = told {
                    return Ok(told);
                }
            }
            let connection = self.client.connect().await?;
            self.on(connection, method, target, body, condition)
                .await
                .map_err(|error| self.client.gone(&format!("{error:#}")))
        });
        told.await.map_err(|_| {
            let words = format!("the server did not answer {target} within {within:?}");
            Failure::said(Exit::TimedOut, words)
        })?
    }

    async fn on(
        &self,
        mut connection: SendRequest<Full<Bytes>>,
        method: &Method,
        target: &str,
        body: Option<&Value>,
        condition: Condition<'_>,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, self.client.server().address.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request = match condition {
            Condition::Always => request,
            Condition::Absent => request.header(header::IF_NONE_MATCH, "*"),
            Condition::Unchanged(tag) => request.header(header::IF_MATCH, tag),
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        let response = connection
            .send_request(request.body(Full::from(body))?)
            .await?;
        let status = response.status();
        let tag = response.headers().get(header::ETAG);
        let tag = tag.and_then(|tag| Some(tag.to_str().ok()?.to_owned()));
        let body = response.into_body().collect().await?.to_bytes();
        if connection.ready().await.is_ok() {
            self.idle.lock().push(connection);
        }
        Ok(Answer { status, tag, body })
    }
}

/// The path of an id, and the version.
fn target(id: &str) -> String {
    format!("{}?api-version={MANAGEMENT_VERSION}", path::escaped(id))
}

fn answered(answer: &Answer) -> Result<Value, Failure> {
    if !answer.status.is_success() {
        return Err(refused(answer.status, &answer.body));
    }
    Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
}

fn code_of(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    Some(answer["error"]["code"].as_str()?.to_owned())
}

/// Whether a handshake failed because nothing came.
fn is_late(failure: &Failure) -> bool {
    let late = outbound::Failure::TimedOut.to_string();
    failure.error.to_string().contains(&late)
}
