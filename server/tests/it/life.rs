//! Stopping, starting again, and sharing nothing.

use gridpost::assembly::{Server, Sources};
use gridpost::config::{Config, Flags};
use gridpost::credentials::NUMBER;
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{World, minutes, seconds};

#[tokio::test]
async fn a_restart_keeps_resources_subscriptions_and_what_waits_for_a_retry() {
    let mut world = World::start().await;
    let endpoint = world.webhook().await.answering(503);
    world.subscribe_with_the_missions_filter(&endpoint).await;
    let before = world.client().connection_string().await.unwrap();
    let id = world.text("+15555550123", NUMBER, "Hello").await;
    world.settle().await;
    assert_eq!(endpoint.attempts(), 1);

    world.restart().await;
    let after = world.client().connection_string().await.unwrap();
    let key = |text: &str| text.split("accesskey=").nth(1).unwrap().to_owned();
    assert_eq!(key(&before), key(&after));
    assert_eq!(
        endpoint.attempts(),
        1,
        "a restart is no reason to send early"
    );

    let endpoint = endpoint.answering(200);
    world.advance(minutes(1)).await;
    assert_eq!(endpoint.ids(), [id.clone(), id]);
}

#[tokio::test]
async fn a_restart_repeats_nothing_that_was_delivered() {
    let mut world = World::start().await;
    let endpoint = world.webhook().await;
    world.subscribe_with_the_missions_filter(&endpoint).await;
    for number in 0..20 {
        world
            .text("+15555550123", NUMBER, &format!("Hello {number}"))
            .await;
    }
    world.settle().await;

    world.restart().await;
    world.advance(minutes(1)).await;

    assert_eq!(endpoint.attempts(), 20);
}

#[tokio::test]
async fn a_request_under_way_is_finished_while_the_server_stops() {
    let world = World::start().await;
    let address = world.address();
    let body = json!({ "from": "+15555550123", "to": NUMBER, "message": "Hello" }).to_string();
    let (begin, rest) = body.split_at(10);
    let mut slow = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /_gridpost/v1/sms/receive HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 1024];
    // The server has begun to answer: the request is under way.
    let count = slow.read(&mut answer).await.unwrap();
    assert!(answer[..count].starts_with(b"HTTP/1.1 100"));
    slow.write_all(begin.as_bytes()).await.unwrap();

    let (server, _folder) = world.into_server();
    let stopping = tokio::spawn(server.stop(seconds(10)));
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    slow.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).await.unwrap();

    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    stopping.await.unwrap();
}

#[tokio::test]
async fn two_servers_never_share_a_data_folder() {
    let world = World::start().await;
    let flags = Flags {
        data: Some(world.folder().join("data")),
        listen: Some("127.0.0.1:0".to_owned()),
        ..Flags::default()
    };
    let config = Config::resolve(None, &|_| None, &flags).unwrap();
    let refusal = Server::start(config, Sources::real())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(refusal.contains("is using the data folder"), "{refusal}");
}

#[tokio::test]
async fn a_note_that_cannot_be_left_does_not_keep_a_server_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    // A full disk refuses the note as well; a folder in its place does so on every machine.
    std::fs::create_dir_all(folder.path().join("server.json/in-the-way")).unwrap();
    let flags = Flags {
        data: Some(folder.path().to_owned()),
        listen: Some("127.0.0.1:0".to_owned()),
        ..Flags::default()
    };
    let config = Config::resolve(None, &|_| None, &flags).unwrap();
    let server = Server::start(config, Sources::real()).await.unwrap();
    let address = server.running().address;
    assert!(TcpStream::connect(address).await.is_ok());
}

#[tokio::test]
async fn a_server_that_is_ready_says_so() {
    let world = World::start().await;
    for path in ["/livez", "/readyz", "/metrics"] {
        let mut sender = gridpost::client::open(world.address(), None).await.unwrap();
        let request = http::Request::get(path)
            .header("host", world.address().to_string())
            .body(Full::default())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.into_body().collect().await.unwrap();
    }
}

#[tokio::test]
#[should_panic(expected = "unsettled work is left")]
async fn a_world_that_is_left_with_work_under_way_fails_its_test() {
    let world = World::start().await;
    let endpoint = world.webhook().await.answering(503);
    world.subscribe_with_the_missions_filter(&endpoint).await;
    world.text("+15555550123", NUMBER, "Hello").await;
    world.settle().await;
}

#[tokio::test]
async fn streams_and_long_polls_do_not_hold_a_server_that_stops() {
    let world = World::start().await;
    let address = world.address();
    let mut open = Vec::new();
    for path in ["events", "events/wait", "sinks/s/wait"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET /_gridpost/v1/{path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        open.push(stream);
    }
    // The stream has begun, and a later request on it was not needed to see that: its head has come.
    let mut head = [0; 15];
    open[0].read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    world.settle().await;

    let (server, _folder) = world.into_server();
    // An hour: were anybody waited for, the test would not end.
    server.stop(seconds(3_600)).await;

    let mut answers = Vec::new();
    for mut stream in open {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answers.push(answer);
    }
    assert!(answers[1].starts_with("HTTP/1.1 503"), "{answers:?}");
    assert!(answers[2].contains("The server is closing."), "{answers:?}");
}
