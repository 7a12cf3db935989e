//! The push connection of the JavaScript chat client, packet by packet. The client itself is run by `conformance`.

use gridpost::client::open;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::live::{Line, Somebody};
use crate::world::World;

const CONFIG: &str = "/chat/config/realTimeNotifications?api-version=2024-09-01";

impl World {
    async fn call(&self, method: Method, path: &str, header: (&str, &str)) -> (StatusCode, String) {
        let mut sender = open(self.address(), None).await.unwrap();
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address().to_string())
            .header(header.0, header.1)
            .body(Full::default())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Everything up to the socket, as the client does it.
    async fn session(&self, somebody: &Somebody) -> String {
        let bearer = format!("Bearer {}", somebody.token);
        let (status, config) = self
            .call(Method::GET, CONFIG, ("authorization", &bearer))
            .await;
        assert_eq!(status, 200, "{config}");
        let config: Value = serde_json::from_str(&config).unwrap();
        let base = format!("http://{}", self.address());
        assert_eq!(config["trouterServiceUrl"], base);
        let token = ("x-skypetoken", somebody.token.as_str());
        let (status, place) = self.call(Method::POST, "/v4/a?epid=1", token).await;
        assert_eq!(status, 200);
        let place: Value = serde_json::from_str(&place).unwrap();
        assert_eq!(place["socketio"], format!("{base}/"));
        let (status, session) = self
            .call(Method::GET, "/socket.io/1/?v=v4&t=1", token)
            .await;
        assert_eq!(status, 200);
        let registrar = config["registrarServiceUrl"].as_str().unwrap();
        let registrar = registrar.strip_prefix(&base).unwrap();
        let path = format!("{registrar}/v3/registrations");
        assert_eq!(self.call(Method::POST, &path, token).await.0, 202);
        let path = format!("{path}/1");
        assert_eq!(self.call(Method::DELETE, &path, token).await.0, 204);
        session
    }

    async fn connect(&self, session: &str) -> Result<Line<TcpStream>, Error> {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        let url = format!(
            "ws://{}/socket.io/1/websocket/{session}?v=v4",
            self.address()
        );
        Line::over(stream, &url, None).await
    }
}

async fn packet(line: &mut Line<TcpStream>) -> String {
    line.next().await.to_text().unwrap().to_owned()
}

#[tokio::test]
async fn the_client_is_notified_of_a_message() {
    let world = World::start().await;
    let (alice, bob) = (world.somebody().await, world.somebody().await);
    let thread = world.thread(&alice, &bob).await;
    let session = world.session(&bob).await;
    let (name, rest) = session.split_once(':').unwrap();
    assert_eq!(rest, "85:85:websocket");
    let mut line = world.connect(name).await.unwrap();
    assert_eq!(packet(&mut line).await, "1::");
    let connected = packet(&mut line).await;
    assert!(connected.contains("trouter.connected"), "{connected}");
    line.tell(r#"5:1+::{"name":"ping"}"#).await;
    assert_eq!(packet(&mut line).await, "6:::1+[]");

    let said = world.say(&alice, &thread, "hello").await;
    let told = packet(&mut line).await;
    let request: Value = serde_json::from_str(told.strip_prefix("3:::").unwrap()).unwrap();
    let body: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["eventId"], 200);
    assert_eq!(body["messageId"], said.to_string());
    assert_eq!(body["messageBody"], "hello");
    assert_eq!(body["recipientMri"], bob.user.id.as_str());
    let answer = json!({"id": request["id"], "status": 200, "headers": {}, "body": ""});
    line.tell(&format!("3:::{answer}")).await;

    world
        .server()
        .comms()
        .revoke_tokens(&bob.user.resource, &bob.user.id)
        .await
        .unwrap();
    assert_eq!(packet(&mut line).await, r#"0:::{"reason":"unauthorized"}"#);
    assert!(matches!(line.next().await, Message::Close(_)));
    world.settle().await;
}

#[tokio::test]
async fn a_session_is_good_for_one_socket() {
    let world = World::start().await;
    let bob = world.somebody().await;
    let session = world.session(&bob).await;
    let (name, _) = session.split_once(':').unwrap();
    let _line = world.connect(name).await.unwrap();
    for used in [name, "0"] {
        let Err(Error::Http(refused)) = world.connect(used).await.map(|_| ()) else {
            panic!("a session was used twice")
        };
        assert_eq!(refused.status(), 401);
    }
    let bad = ("x-skypetoken", "x.y.z");
    for (method, path) in [
        (Method::POST, "/v4/a"),
        (Method::GET, "/socket.io/1/"),
        (Method::POST, "/chat/push/v3/registrations"),
        (Method::DELETE, "/chat/push/v3/registrations/1"),
    ] {
        assert_eq!(world.call(method, path, bad).await.0, 401, "{path}");
    }
    world.settle().await;
}

#[tokio::test]
async fn handshakes_of_one_user_take_room_from_it_only() {
    let world = World::start().await;
    let bob = world.somebody().await;
    let mut sessions = Vec::new();
    for _ in 0..=gridpost_comms::chat::live::MOST_OF_ONE_USER {
        let token = ("x-skypetoken", bob.token.as_str());
        let (status, session) = world.call(Method::GET, "/socket.io/1/", token).await;
        assert_eq!(status, 200);
        sessions.push(session.split_once(':').unwrap().0.to_owned());
    }
    let Err(Error::Http(refused)) = world.connect(&sessions[0]).await.map(|_| ()) else {
        panic!("the oldest session is there")
    };
    assert_eq!(refused.status(), 401);
    for session in [&sessions[1], sessions.last().unwrap()] {
        let mut line = world.connect(session).await.unwrap();
        assert_eq!(packet(&mut line).await, "1::");
    }
    world.settle().await;
}
