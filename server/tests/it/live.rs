//! `GET /chat/live`: what users hear of their threads, and how it ends.

use futures_util::{SinkExt as _, StreamExt as _};
use gridpost::assembly::Server;
use gridpost::client::trusting;
use gridpost::credentials::COMMUNICATION_RESOURCE;
use gridpost_comms::chat::{Candidate, Draft, Edit, NewThread, ThreadChange};
use gridpost_comms::identity::{Lifetime, NewIdentity, TokenWish, User};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::clock::Machine;
use crate::world::{World, seconds};

/// What takes longer than this does not come.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Somebody with a token.
pub(crate) struct Somebody {
    pub(crate) user: User,
    pub(crate) token: String,
}

impl Somebody {
    fn named(&self) -> Candidate {
        Candidate {
            id: self.user.id.to_string(),
            ..Candidate::default()
        }
    }
}

impl Somebody {
    async fn at(server: &Server) -> Self {
        let comms = server.comms();
        let service = comms
            .resource(&COMMUNICATION_RESOURCE.parse().unwrap())
            .unwrap();
        let wish = NewIdentity {
            custom_id: None,
            token: Some(TokenWish {
                scopes: "chat".parse().unwrap(),
                lifetime: Lifetime::default(),
            }),
        };
        let made = comms.create_identity(&service, wish).await.unwrap();
        let token = made.token.unwrap().text.reveal().to_owned();
        let user = comms.user_of(&token).unwrap();
        Self { user, token }
    }
}

impl World {
    pub(crate) async fn somebody(&self) -> Somebody {
        Somebody::at(self.server()).await
    }

    /// A thread of these two.
    pub(crate) async fn thread(&self, by: &Somebody, with: &Somebody) -> String {
        let new = NewThread {
            topic: "plans".into(),
            participants: vec![with.named()],
            metadata: [].into(),
            retention: gridpost_comms::chat::Retention::Unlimited,
            request_id: None,
        };
        let chat = self.server().comms().chat(&by.user);
        chat.create(new).await.unwrap().thread.id
    }

    pub(crate) async fn say(&self, by: &Somebody, thread: &str, text: &str) -> u64 {
        let draft = Draft {
            text: text.into(),
            ..Draft::default()
        };
        let chat = self.server().comms().chat(&by.user);
        chat.send(thread, draft).await.unwrap()
    }

    /// Dials `/chat/live`, with this `Authorization`.
    async fn dial(&self, authorization: Option<&str>) -> Result<Line<TcpStream>, Error> {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        Line::over(stream, &self.live("ws"), authorization).await
    }

    /// Listens as somebody.
    async fn listen(&self, as_whom: &Somebody) -> Line<TcpStream> {
        let mut line = self.dial(None).await.unwrap();
        line.say(&json!({"token": as_whom.token})).await;
        let ready = line.hear().await;
        assert_eq!(ready["type"], "ready");
        assert_eq!(ready["user"], as_whom.user.id.as_str());
        line
    }

    fn live(&self, scheme: &str) -> String {
        format!("{scheme}://{}/chat/live", self.address())
    }
}

/// One WebSocket.
pub(crate) struct Line<S>(WebSocketStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    pub(crate) async fn over(
        stream: S,
        url: &str,
        authorization: Option<&str>,
    ) -> Result<Self, Error> {
        let mut request = url.into_client_request().unwrap();
        if let Some(value) = authorization {
            request
                .headers_mut()
                .insert("authorization", value.parse().unwrap());
        }
        client_async(request, stream)
            .await
            .map(|(line, _)| Self(line))
    }

    async fn say(&mut self, words: &Value) {
        self.tell(&words.to_string()).await;
    }

    pub(crate) async fn tell(&mut self, words: &str) {
        self.0.send(Message::Text(words.into())).await.unwrap();
    }

    /// The next message that is no ping.
    pub(crate) async fn next(&mut self) -> Message {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
            match next.unwrap().unwrap().unwrap() {
                Message::Ping(_) => (),
                message => return message,
            }
        }
    }

    async fn hear(&mut self) -> Value {
        serde_json::from_str(self.next().await.to_text().unwrap()).unwrap()
    }

    /// The next event: its type without what all begin with, and the whole.
    async fn event(&mut self) -> (String, Value) {
        let mut heard = self.hear().await;
        assert_eq!(heard["type"], "event");
        let event = heard["event"].take();
        let kind = event["eventType"].as_str().unwrap();
        let kind = kind.rsplit('.').next().unwrap().to_owned();
        (kind, event)
    }

    async fn kind(&mut self) -> String {
        self.event().await.0
    }

    /// The code and the words with which it is closed.
    async fn closed(&mut self) -> (u16, String) {
        match self.next().await {
            Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("not closed: {other:?}"),
        }
    }
}

#[tokio::test]
async fn users_hear_of_their_threads_as_it_happens_and_strangers_of_nothing() {
    let world = World::start().await;
    let (alice, bob, mallory) = (
        world.somebody().await,
        world.somebody().await,
        world.somebody().await,
    );
    let comms = world.server().comms().clone();
    let chat = comms.chat(&alice.user);
    let mut to_bob = world.listen(&bob).await;
    let tls = trusting(&world.server().running().authority.clone().unwrap()).unwrap();
    let stream = TcpStream::connect(world.address()).await.unwrap();
    let name = rustls::pki_types::ServerName::IpAddress(world.address().ip().into());
    let stream = tls.connect(name, stream).await.unwrap();
    let authorization = format!("Bearer {}", mallory.token);
    let mut to_mallory = Line::over(stream, &world.live("wss"), Some(&authorization))
        .await
        .unwrap();
    assert_eq!(to_mallory.hear().await["type"], "ready");

    let thread = world.thread(&alice, &bob).await;
    assert_eq!(to_bob.kind().await, "ChatThreadCreatedWithUser");
    let said = world.say(&alice, &thread, "hello").await;
    let (kind, event) = to_bob.event().await;
    assert_eq!(kind, "ChatMessageReceived");
    assert_eq!(event["data"]["messageBody"], "hello");
    assert_eq!(event["data"]["messageId"], said.to_string());
    let edit = Edit {
        text: Some("hello, Bob".into()),
        ..Edit::default()
    };
    chat.edit(&thread, said, edit).await.unwrap();
    assert_eq!(to_bob.kind().await, "ChatMessageEdited");
    chat.typing(&thread, None).await.unwrap();
    assert_eq!(to_bob.kind().await, "ChatTypingIndicatorReceivedInThread");
    chat.read(&thread, said).await.unwrap();
    let (kind, event) = to_bob.event().await;
    assert_eq!(kind, "ChatReadReceiptReceived");
    assert_eq!(event["data"]["chatMessageId"], said.to_string());
    chat.delete_message(&thread, said).await.unwrap();
    assert_eq!(to_bob.kind().await, "ChatMessageDeleted");
    let change = ThreadChange {
        topic: Some("other plans".into()),
        ..ThreadChange::default()
    };
    chat.update(&thread, change).await.unwrap();
    assert_eq!(to_bob.kind().await, "ChatThreadPropertiesUpdatedPerUser");

    chat.remove(&thread, bob.user.id.as_str()).await.unwrap();
    let removed = "ChatParticipantRemovedFromThreadWithUser";
    assert_eq!(to_bob.kind().await, removed);
    world.say(&alice, &thread, "he is gone").await;
    chat.typing(&thread, None).await.unwrap();
    world.settle().await;
    let other = world.thread(&alice, &bob).await;
    let (kind, event) = to_bob.event().await;
    assert_eq!(kind, "ChatThreadCreatedWithUser");
    assert_eq!(event["data"]["threadId"], other);
    chat.delete(&other).await.unwrap();
    assert_eq!(to_bob.kind().await, "ChatThreadWithUserDeleted");

    let third = world.thread(&bob, &mallory).await;
    let (_, first) = to_mallory.event().await;
    assert_eq!(first["data"]["threadId"], third);
    // Whoever acts is not told.
    world.thread(&alice, &bob).await;
    let (_, event) = to_bob.event().await;
    assert_eq!(event["data"]["createdBy"], alice.user.id.as_str());
    world.settle().await;
}

#[tokio::test]
async fn what_is_heard_is_what_a_webhook_gets() {
    let world = World::start().await;
    let (alice, bob) = (world.somebody().await, world.somebody().await);
    let endpoint = world.webhook().await;
    world
        .subscribe(COMMUNICATION_RESOURCE, "chat", &endpoint, json!({}))
        .await;
    let mut to_bob = world.listen(&bob).await;
    world.thread(&alice, &bob).await;
    let (_, mut heard) = to_bob.event().await;
    world.settle().await;
    let delivered = endpoint.notifications().remove(0).body[0].clone();
    // Delivery adds what the envelope says of itself.
    heard["metadataVersion"] = delivered["metadataVersion"].clone();
    assert_eq!(heard, delivered);
    world.settle().await;
}

#[tokio::test]
async fn a_token_that_ends_ends_the_line_at_once() {
    let world = World::start().await;
    let (alice, bob) = (world.somebody().await, world.somebody().await);
    let (mut to_alice, mut to_bob) = (world.listen(&alice).await, world.listen(&bob).await);
    let comms = world.server().comms();
    comms
        .revoke_tokens(&alice.user.resource, &alice.user.id)
        .await
        .unwrap();
    assert_eq!(to_alice.closed().await, (4001, "TokenRevoked".into()));
    comms
        .delete_identity(&bob.user.resource, &bob.user.id)
        .await
        .unwrap();
    assert_eq!(to_bob.closed().await, (4001, "TokenRevoked".into()));
    let refused = world.dial(Some(&format!("Bearer {}", alice.token))).await;
    let Err(Error::Http(response)) = refused.map(|_| ()) else {
        panic!("a revoked token opened a line")
    };
    assert_eq!(response.status(), 401);
    world.settle().await;
}

#[tokio::test]
async fn nobody_hears_anything_without_a_token() {
    let world = World::start().await;
    let (alice, bob) = (world.somebody().await, world.somebody().await);
    let mut wrong = world.dial(None).await.unwrap();
    wrong.say(&json!({"token": "x.y.z"})).await;
    assert_eq!(wrong.closed().await, (4001, "Unauthorized".into()));
    let mut strange = world.dial(None).await.unwrap();
    strange.tell("hello").await;
    assert_eq!(strange.closed().await, (1008, "NotUnderstood".into()));
    let mut other = world.listen(&alice).await;
    other.say(&json!({"token": bob.token})).await;
    assert_eq!(other.closed().await, (4001, "Unauthorized".into()));
    let mut again = world.listen(&alice).await;
    again.say(&json!({"token": alice.token})).await;
    assert_eq!(again.hear().await["type"], "ready");

    let mut silent = world.dial(None).await.unwrap();
    world.settle().await;
    world.advance(seconds(10)).await;
    assert_eq!(silent.closed().await, (1008, "Silent".into()));
}

#[tokio::test]
async fn whoever_does_not_answer_is_let_go() {
    let world = World::start().await;
    let alice = world.somebody().await;
    let mut line = world.listen(&alice).await;
    // Nothing is read here meanwhile, so no ping is answered.
    world.advance(seconds(61)).await;
    assert_eq!(line.closed().await, (1008, "Silent".into()));
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moving_the_clock_on_cuts_nobody_off() {
    let machine = Machine::start().await;
    let alice = Somebody::at(&machine.server).await;
    let address = machine.server.running().address;
    let stream = TcpStream::connect(address).await.unwrap();
    let url = format!("ws://{address}/chat/live");
    let authorization = format!("Bearer {}", alice.token);
    let mut line = Line::over(stream, &url, Some(&authorization))
        .await
        .unwrap();
    assert_eq!(line.hear().await["type"], "ready");
    // For the server hours pass in which nothing is answered, because nothing is read here meanwhile.
    for _ in 0..3 {
        machine.advance("PT1H").await;
    }
    line.say(&json!({"token": alice.token})).await;
    assert_eq!(line.hear().await["type"], "ready");
    machine.server.stop(seconds(5)).await;
}

#[tokio::test]
async fn whoever_does_not_read_is_let_go_and_told_to_list() {
    let world = World::start().await;
    let (alice, bob) = (world.somebody().await, world.somebody().await);
    let thread = world.thread(&alice, &bob).await;
    let mut to_bob = world.listen(&bob).await;
    let text = "x".repeat(28_000);
    let mut last = 0;
    for _ in 0..800 {
        last = world.say(&alice, &thread, &text).await;
    }
    let mut heard = Vec::new();
    let end = loop {
        match to_bob.next().await {
            Message::Text(text) => {
                let mut words: Value = serde_json::from_str(&text).unwrap();
                heard.push(words["event"]["data"]["messageId"].take());
            }
            Message::Close(frame) => break frame.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((u16::from(end.code), &*end.reason), (4008, "TooSlow"));
    assert!(!heard.is_empty());
    assert!(!heard.contains(&json!(last.to_string())));
    // It listens again, and misses nothing more.
    let mut to_bob = world.listen(&bob).await;
    let next = world.say(&alice, &thread, "there you are").await;
    let (_, event) = to_bob.event().await;
    assert_eq!(event["data"]["messageId"], next.to_string());
    world.settle().await;
}

#[tokio::test]
async fn a_user_has_so_many_lines_and_no_more() {
    let world = World::start().await;
    let alice = world.somebody().await;
    let mut lines = Vec::new();
    for _ in 0..gridpost_comms::chat::live::MOST_OF_ONE_USER {
        lines.push(world.listen(&alice).await);
    }
    let mut one_more = world.dial(None).await.unwrap();
    one_more.say(&json!({"token": alice.token})).await;
    assert_eq!(one_more.closed().await, (4029, "TooManyRequests".into()));
    let mut leaving = lines.pop().unwrap();
    leaving.0.close(None).await.unwrap();
    while leaving.0.next().await.is_some() {}
    // The server frees the place when it has read the farewell, which is before it answers it.
    world.listen(&alice).await;
    world.settle().await;
}

#[tokio::test]
async fn whoever_showed_no_token_takes_up_room_until_it_is_gone() {
    let world = World::start().await;
    let mut strangers = Vec::new();
    for _ in 0..128 {
        let mut stranger = world.dial(None).await.unwrap();
        stranger.tell("hello").await;
        strangers.push(stranger);
    }
    // Told that it is over, but not gone: none of them has read it.
    world.settle().await;
    let refused = world.dial(None).await;
    let Err(Error::Http(response)) = refused.map(|_| ()) else {
        panic!("there was room for one more")
    };
    assert_eq!(response.status(), 429);
    world.advance(seconds(5)).await;
    world.dial(None).await.unwrap();
}

#[tokio::test]
async fn a_server_that_closes_says_so_and_waits_for_nobody() {
    let mut world = World::start().await;
    let alice = world.somebody().await;
    let mut line = world.listen(&alice).await;
    let (closed, ()) = tokio::join!(line.closed(), world.stop());
    assert_eq!(closed, (1001, "ServerClosing".into()));
}
