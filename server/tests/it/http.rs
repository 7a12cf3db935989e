//! The one port: HTTP/1.1 and HTTP/2, in the clear and by TLS.

use std::sync::Arc;

use bytes::Bytes;
use gridpost::client::trusting;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::world::World;

fn request(world: &World, scheme: &str) -> http::Request<Full<Bytes>> {
    http::Request::get(format!("{scheme}://{}/livez", world.address()))
        .header("host", world.address().to_string())
        .body(Full::default())
        .unwrap()
}

async fn by_http1<S>(world: &World, stream: S, scheme: &str) -> http::StatusCode
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
        .send_request(request(world, scheme))
        .await
        .unwrap()
        .status()
}

async fn by_http2<S>(world: &World, stream: S, scheme: &str) -> http::StatusCode
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
        .send_request(request(world, scheme))
        .await
        .unwrap()
        .status()
}

fn tls(world: &World, protocols: &[&[u8]]) -> TlsConnector {
    let authority = world.server().running().authority.clone().unwrap();
    let mut config = (**trusting(&authority).unwrap().config()).clone();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn one_port_speaks_both_versions_with_and_without_tls() {
    let world = World::start().await;
    let dial = async || TcpStream::connect(world.address()).await.unwrap();

    assert_eq!(by_http1(&world, dial().await, "http").await, 200);
    assert_eq!(by_http2(&world, dial().await, "http").await, 200);
    for name in ["localhost", "127.0.0.1"] {
        let name = ServerName::try_from(name).unwrap();
        let stream = tls(&world, &[b"http/1.1"])
            .connect(name.clone(), dial().await)
            .await
            .unwrap();
        assert_eq!(by_http1(&world, stream, "https").await, 200);
        let stream = tls(&world, &[b"h2", b"http/1.1"])
            .connect(name, dial().await)
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        assert_eq!(by_http2(&world, stream, "https").await, 200);
    }
}

#[tokio::test]
async fn a_name_that_is_not_ours_is_not_certified() {
    let world = World::start().await;
    let stream = TcpStream::connect(world.address()).await.unwrap();
    let name = ServerName::try_from("example.org").unwrap();
    assert!(
        tls(&world, &[b"http/1.1"])
            .connect(name, stream)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn what_is_neither_http_nor_tls_is_let_go() {
    let world = World::start().await;
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    stream
        .write_all(b"\x00\x01\x02\x03 nonsense\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
        "{answer:?}"
    );
}
