//! Many calls to Resource Manager over a few connections.
//!
//! Promise: one sign-in, and as many connections as calls are made at once; a connection that the server closed in
//! between is opened anew, which no caller notices.
//! Not here: what is called (`declare`, `cli`), one call alone (`client`).

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use crate::client::{ANSWER_WITHIN, Client, MANAGEMENT_VERSION, refused};
use crate::output::{Exit, Failure};

/// What cannot stand in a path as it is.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');

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

    /// The same, `None` when there is no such resource.
    ///
    /// # Errors
    /// The server is not there, or refused.
    pub async fn find(&self, id: &str) -> Result<Option<Value>, Failure> {
        let (status, body) = self.exchange(&Method::GET, &target(id), None).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        answered(status, &body).map(Some)
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
        let (status, body) = self.exchange(&method, target, body).await?;
        answered(status, &body)
    }

    async fn exchange(
        &self,
        method: &Method,
        target: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let told = tokio::time::timeout(ANSWER_WITHIN, async {
            let kept = self.idle.lock().pop();
            if let Some(connection) = kept.filter(|one| !one.is_closed()) {
                // A connection may have been closed a moment ago. Every call here may be made twice.
                if let Ok(told) = self.on(connection, method, target, body).await {
                    return Ok(told);
                }
            }
            let connection = self.client.connect().await?;
            self.on(connection, method, target, body)
                .await
                .map_err(|error| self.client.gone(&format!("{error:#}")))
        });
        told.await.map_err(|_| {
            let words = format!("the server did not answer {target} within {ANSWER_WITHIN:?}");
            Failure::said(Exit::TimedOut, words)
        })?
    }

    async fn on(
        &self,
        mut connection: SendRequest<Full<Bytes>>,
        method: &Method,
        target: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, self.client.server().address.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let response = connection
            .send_request(request.body(Full::from(body))?)
            .await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if connection.ready().await.is_ok() {
            self.idle.lock().push(connection);
        }
        Ok((status, body))
    }
}

/// The path of an id, and the version.
fn target(id: &str) -> String {
    let path = utf8_percent_encode(id, ESCAPED);
    format!("{path}?api-version={MANAGEMENT_VERSION}")
}

fn answered(status: StatusCode, body: &[u8]) -> Result<Value, Failure> {
    if !status.is_success() {
        return Err(refused(status, body));
    }
    Ok(serde_json::from_slice(body).unwrap_or_default())
}
