//! Connections to one endpoint that are kept between requests, for clients that are shared by many workers.
//!
//! Promise: a request goes out on a connection that nobody else uses at that time; one that the other side closed
//! while it lay idle is replaced once.

use parking_lot::Mutex;

use super::{Body, Client, Connection, Endpoint, Failure, Response};

/// Idle connections kept. As many as workers of one lane can bring back at once.
const KEPT: usize = 64;

/// A few connections to one endpoint.
pub(crate) struct Pool {
    client: Client,
    endpoint: Endpoint,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    pub(crate) fn new(client: Client, endpoint: Endpoint) -> Self {
        Self {
            client,
            endpoint,
            idle: Mutex::default(),
        }
    }

    /// Where the connections lead.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends what `request` makes, and makes it again if the first connection turns out to be closed.
    pub(crate) async fn exchange(
        &self,
        request: impl Fn() -> http::Request<Body>,
    ) -> Result<Response, Failure> {
        let idle = self.idle.lock().pop();
        if let Some(mut connection) = idle.filter(Connection::is_open) {
            match connection.exchange(request()).await {
                Ok(response) => {
                    self.keep(connection);
                    return Ok(response);
                }
                // The others lay idle longer, so they are closed too.
                Err(Failure::Socket(_)) => self.idle.lock().clear(),
                Err(failure) => return Err(failure),
            }
        }
        let mut connection = self.client.connect(&self.endpoint).await?;
        let response = connection.exchange(request()).await?;
        self.keep(connection);
        Ok(response)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock();
        if connection.is_open() && idle.len() < KEPT {
            idle.push(connection);
        }
    }
}
