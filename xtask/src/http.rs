//! A little HTTP/1.1 over blocking sockets, for tools that must survive the server being killed.
//!
//! Promise: one connection, one request at a time, bodies with a length; anything else is an error, never a guess.
//! Not here: the product's HTTP, which is hyper's. This one depends on nothing the product is made of.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Longer than any answer should take.
const PATIENCE: Duration = Duration::from_secs(40);

/// One message: a request as a handler sees it, or a response as a client does.
#[derive(Debug)]
pub(crate) struct Message {
    /// `POST /path HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub(crate) first_line: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The status of a response.
    pub(crate) fn status(&self) -> u16 {
        let second = self.first_line.split(' ').nth(1);
        second.and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    /// The path of a request.
    pub(crate) fn path(&self) -> &str {
        self.first_line.split(' ').nth(1).unwrap_or_default()
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{}: no JSON: {}", self.first_line, self.text()))
    }

    /// The body as text, for messages.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client with one connection.
pub(crate) struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    /// A client that connects when it first has to.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
        }
    }

    /// Sends one request and reads the response; after an error the next call connects anew.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Message> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.address)?,
        };
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        stream.get_mut().write_all(&bytes)?;
        let response = read(&mut stream)?.context("the connection closed before the response")?;
        if response.header("connection") != Some("close") {
            self.stream = Some(stream);
        }
        Ok(response)
    }
}

/// Answers a request: status and body.
pub(crate) type Handler = dyn Fn(&Message) -> (u16, Vec<u8>) + Send + Sync;

/// A handler being served.
pub(crate) struct Serving {
    /// Where.
    pub(crate) address: SocketAddr,
    open: Arc<AtomicUsize>,
}

impl Serving {
    /// How many connections are open: a peer that was killed may still have a request on its way.
    pub(crate) fn connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// Serves a handler on a free port of this machine for as long as the process lives.
pub(crate) fn serve(handler: Arc<Handler>) -> Result<Serving> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("finding a free port")?;
    let serving = Serving {
        address: listener.local_addr()?,
        open: Arc::default(),
    };
    let open = Arc::clone(&serving.open);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (handler, open) = (Arc::clone(&handler), Arc::clone(&open));
            open.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                // A peer that is killed in the middle of a request is what we are here for.
                let _ = answer_all(stream, handler.as_ref());
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    Ok(serving)
}

fn answer_all(stream: TcpStream, handler: &Handler) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream)? {
        let (status, body) = handler(&request);
        let head = format!(
            "HTTP/1.1 {status} Answered\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream
            .get_mut()
            .write_all(&[head.as_bytes(), &body].concat())?;
    }
    Ok(())
}

fn connect(address: SocketAddr) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

/// Reads a message; `None` when the peer closed before it began.
fn read(stream: &mut BufReader<TcpStream>) -> Result<Option<Message>> {
    let Some(first_line) = line(stream)? else {
        return Ok(None);
    };
    let mut headers = Vec::new();
    loop {
        let header = line(stream)?.context("the connection closed inside the headers")?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').context("a header without a colon")?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut message = Message {
        first_line,
        headers,
        body: Vec::new(),
    };
    if let Some("chunked") = message.header("transfer-encoding") {
        message.body = chunks(stream)?;
    } else if let Some(length) = message.header("content-length") {
        message.body = vec![0; length.parse().context("the content-length")?];
        stream.read_exact(&mut message.body)?;
    }
    Ok(Some(message))
}

fn chunks(stream: &mut BufReader<TcpStream>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(stream)?.context("the connection closed between chunks")?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)?;
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..])?;
        line(stream)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn line(stream: &mut BufReader<TcpStream>) -> Result<Option<String>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    if !line.ends_with('\n') {
        bail!("the connection closed inside a line");
    }
    Ok(Some(line.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_carries_one_request_after_the_other() {
        let echo = |request: &Message| (201, [request.path().as_bytes(), &request.body].concat());
        let serving = serve(Arc::new(echo)).unwrap();
        let mut client = Client::new(serving.address);
        for body in ["one", "two"] {
            let response = client
                .send("POST", "/x", &[("a", "b")], body.as_bytes())
                .unwrap();
            assert_eq!(
                (response.status(), response.text()),
                (201, format!("/x{body}"))
            );
        }
        assert_eq!(serving.connections(), 1);
    }

    #[test]
    fn nobody_listening_is_an_error_and_not_the_end() {
        let address = TcpListener::bind(("127.0.0.1", 0))
            .unwrap()
            .local_addr()
            .unwrap();
        let mut client = Client::new(address);
        assert!(client.send("GET", "/", &[], b"").is_err());
        assert!(client.send("GET", "/", &[], b"").is_err());
    }
}
