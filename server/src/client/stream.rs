//! Reading server-sent events, as our own REST streams them.

use anyhow::Context as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

/// Events as a server sends them.
pub struct Stream {
    body: Incoming,
    text: Vec<u8>,
}

impl Stream {
    pub(super) fn of(body: Incoming) -> Self {
        let text = Vec::new();
        Self { body, text }
    }

    /// The data of the next event; `None` when the server ended the stream.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        loop {
            while let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                if let Some(data) = line.strip_prefix(b"data:") {
                    return Ok(Some(
                        serde_json::from_slice(data).context("reading an event of the stream")?,
                    ));
                }
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Some(data) = frame.context("reading the stream")?.data_ref() {
                        self.text.extend_from_slice(data);
                    }
                }
            }
        }
    }
}
