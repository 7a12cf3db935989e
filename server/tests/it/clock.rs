//! The clock of the development profile, moved on from outside: a whole server on this machine's time.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gridpost::assembly::{Server, Sources};
use gridpost::client::Client;
use gridpost::config::{Config, Flags};
use gridpost::credentials::{COMMUNICATION_RESOURCE, NUMBER, RESOURCE_GROUP};
use gridpost::output::Failure;
use gridpost_model::Timestamp;
use gridpost_sim::VirtualClock;
use hmac::{Hmac, Mac as _};
use http::Method;
use http_body_util::Full;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use url::form_urlencoded::byte_serialize;

use crate::webhook::Webhook;
use crate::world::{event, hours, minutes, seconds, subscription_id, until};

/// A server whose clock is this machine's.
pub(crate) struct Machine {
    pub(crate) server: Server,
    client: Client,
    folder: tempfile::TempDir,
    settings: String,
}

impl Machine {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// A server with settings of its own, as a configuration file has them.
    pub(crate) async fn start_with(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (server, client) = serve(folder.path(), settings).await;
        Self {
            server,
            client,
            folder,
            settings: settings.to_owned(),
        }
    }

    async fn restart(self) -> Self {
        self.server.stop(seconds(5)).await;
        let (server, client) = serve(self.folder.path(), &self.settings).await;
        Self {
            server,
            client,
            folder: self.folder,
            settings: self.settings,
        }
    }

    async fn try_own(&self, method: Method, path: &str, body: Value) -> Result<Value, Failure> {
        let body = (!body.is_null()).then_some(body);
        self.client.own(method, path, body.as_ref()).await
    }

    pub(crate) async fn own(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self.try_own(method, path, body).await;
        answer.unwrap_or_else(|failure| panic!("{path}: {:#}", failure.error))
    }

    pub(crate) async fn advance(&self, by: &str) -> Value {
        self.own(Method::POST, "clock/advance", json!({ "by": by }))
            .await
    }

    async fn now(&self) -> Timestamp {
        moment(&self.own(Method::GET, "clock", Value::Null).await["now"])
    }

    /// Subscribes an endpoint to the texts of the development resource.
    pub(crate) async fn subscribe(
        &self,
        url: &str,
        mut properties: Value,
    ) -> Result<Value, Failure> {
        properties["destination"] =
            json!({ "endpointType": "WebHook", "properties": { "endpointUrl": url } });
        let body = json!({ "properties": properties });
        let id = subscription_id(COMMUNICATION_RESOURCE, "moved");
        self.client.manage(Method::PUT, &id, Some(&body)).await
    }

    fn sink(&self, name: &str) -> String {
        format!("{}/_gridpost/v1/sinks/{name}", self.server.running().url)
    }

    /// Lets a text arrive; its event's attempts can be asked for afterwards.
    pub(crate) async fn text(&self) {
        let body = json!({ "from": "+15555550123", "to": NUMBER, "message": "Hello" });
        self.own(Method::POST, "sms/receive", body).await;
    }

    pub(crate) async fn dead_letters(&self) -> Vec<Value> {
        let listed = self.own(Method::GET, "dead-letters", Value::Null).await;
        listed["value"].as_array().unwrap().clone()
    }

    /// The attempts that explain tells of, for an event.
    pub(crate) async fn attempts(&self, id: &str) -> Vec<Value> {
        let path = format!("events/{id}/explain");
        let explained = self.own(Method::GET, &path, Value::Null).await;
        let attempts = &explained["value"][0]["subscriptions"][0]["attempts"];
        attempts.as_array().unwrap().clone()
    }
}

async fn serve(folder: &std::path::Path, settings: &str) -> (Server, Client) {
    let flags = Flags {
        data: Some(folder.join("data")),
        listen: Some("127.0.0.1:0".to_owned()),
        ..Flags::default()
    };
    let file = (folder.join("gridpost.toml"), settings.to_owned());
    let config = Config::resolve(Some(file), &|_| None, &flags).unwrap();
    let server = Server::start(config, Sources::real()).await.unwrap();
    let client = Client::of(server.running().clone(), server.data()).unwrap();
    (server, client)
}

pub(crate) fn moment(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// When attempts are made at an endpoint that lets each of them hang for 30 seconds: the steps at 10 and 30 seconds
/// have passed by the time the first attempt has ended, and at 24 hours the event's time to live has.
fn schedule() -> [Duration; 9] {
    [
        seconds(0),
        minutes(1),
        minutes(5),
        minutes(10),
        minutes(30),
        hours(1),
        hours(3),
        hours(6),
        hours(12),
    ]
}

/// By how much an attempt may be late on purpose.
fn jitter(offset: Duration) -> Duration {
    (offset / 10).min(seconds(30))
}

/// Expects these attempts to be all that a day of silence brings, each at its moment to the tick.
pub(crate) fn is_the_schedule(attempts: &[Value]) {
    assert_eq!(attempts.len(), schedule().len(), "{attempts:#?}");
    let first = moment(&attempts[0]["at"]);
    let mut due = first;
    for (number, (offset, attempt)) in schedule().into_iter().zip(attempts).enumerate() {
        let at = moment(&attempt["at"]);
        assert_eq!(at, due, "attempt {number} is made when it is due");
        let earliest = first + offset;
        let late = at.since(earliest);
        assert!(
            earliest <= at && late <= jitter(offset),
            "{number} is {late:?} late"
        );
        assert_eq!(attempt["outcome"], "TimedOut");
        if number > 0 {
            assert_eq!(attempt["tookMs"], 30_000.0, "{number}");
        }
        match attempt.get("nextAttempt") {
            Some(next) => due = moment(next),
            None => assert_eq!(number + 1, attempts.len(), "{attempt:#?}"),
        }
    }
}

/// Expects a dead letter of a day after the first attempt, when the time to live has ended.
pub(crate) fn is_given_up_after_a_day(letter: &Value, attempts: &[Value]) {
    let expired = moment(&letter["deadLetterTime"]).since(moment(&attempts[0]["at"]));
    assert!(
        hours(24) <= expired && expired <= hours(24) + seconds(31),
        "{expired:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn section_5_3_a_day_of_silence_passes_in_seconds_and_ends_as_a_dead_letter() {
    let machine = Machine::start().await;
    machine
        .subscribe(&machine.sink("silent"), json!({}))
        .await
        .unwrap();
    machine
        .own(
            Method::PUT,
            "sinks/silent/behaviour",
            json!({ "hang": true }),
        )
        .await;
    machine.text().await;
    let path = "sinks/silent/wait?eventType=Microsoft.Communication.SMSReceived";
    machine.own(Method::GET, path, Value::Null).await;

    let (began, wall) = (machine.now().await, machine.wall());
    let arrived = machine.advance("P1DT1H").await;
    let took = machine.wall().since(wall);

    assert!(took < seconds(5), "a day took {took:?}");
    assert!(began + hours(25) <= moment(&arrived["now"]));
    assert!(moment(&arrived["now"]) < began + hours(25) + seconds(5));

    let path = "sinks/silent/requests?after=1";
    let received = machine.own(Method::GET, path, Value::Null).await;
    let received = received["requests"].as_array().unwrap();
    let letter = &machine.dead_letters().await[0];
    let attempts = machine
        .attempts(letter["event"]["id"].as_str().unwrap())
        .await;
    assert_eq!((received.len(), attempts.len()), (9, 9), "{attempts:#?}");

    is_the_schedule(&attempts);
    for (number, (request, attempt)) in received.iter().zip(&attempts).enumerate() {
        if number > 0 {
            assert_eq!(request["time"], attempt["at"], "{number}");
        }
        assert_eq!(request["headers"]["aeg-delivery-count"], number.to_string());
    }
    assert_eq!(letter["deadLetterReason"], "TimeToLiveExceeded");
    assert_eq!(letter["deliveryAttempts"], 9);
    is_given_up_after_a_day(letter, &attempts);
    assert_eq!(machine.server.failures(), 0);
}

impl Machine {
    /// The real time.
    pub(crate) fn wall(&self) -> Timestamp {
        use gridpost_model::Clock as _;
        gridpost::real::SystemClock::default().now()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_elsewhere_that_never_answers_costs_patience_and_30_seconds_of_moved_time() {
    let machine = Machine::start().await;
    let endpoint = Webhook::open(VirtualClock::at(Timestamp::EPOCH)).await;
    machine.subscribe(&endpoint.url(), json!({})).await.unwrap();
    let endpoint = endpoint.silent();
    machine.text().await;

    machine.advance("5m 30s").await;

    let counts: Vec<String> = endpoint
        .notifications()
        .iter()
        .map(|attempt| attempt.header("aeg-delivery-count").to_owned())
        .collect();
    assert_eq!(counts, ["0", "1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_where_the_clock_was_moved_to() {
    let machine = Machine::start().await;
    machine
        .subscribe(&machine.sink("late"), json!({}))
        .await
        .unwrap();
    let behaviour = json!({ "status": 503 });
    machine
        .own(Method::PUT, "sinks/late/behaviour", behaviour)
        .await;
    machine.text().await;
    let arrived = moment(&machine.advance("2d").await["now"]);
    assert_eq!(machine.dead_letters().await.len(), 1);

    let machine = machine.restart().await;
    assert!(arrived <= machine.now().await);
    let letters = machine.dead_letters().await;
    assert!(moment(&letters[0]["deadLetterTime"]) < machine.now().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_date_by_their_own_clocks_stays_valid() {
    let machine = Machine::start().await;
    let group = machine.client.manage(Method::GET, RESOURCE_GROUP, None);
    group.await.unwrap();
    machine.advance("30d").await;

    let group = machine.client.manage(Method::GET, RESOURCE_GROUP, None);
    assert_eq!(group.await.unwrap()["location"], "local");
    let connection = machine.client.connection_string().await.unwrap();
    let message = json!({
        "from": NUMBER, "smsRecipients": [{ "to": "+14255550123" }], "message": "Signed now",
    });
    let sent = machine
        .client
        .signed(
            &connection,
            &machine.wall().http_date(),
            "/sms?api-version=2021-03-07",
            &message,
        )
        .await
        .unwrap();
    assert_eq!(sent["value"][0]["httpStatusCode"], 202);
}

/// A token of a publisher, as the SDKs make it.
fn sas_token(key: &str, endpoint: &str, expires: Timestamp) -> String {
    let escaped = |text: &str| -> String { byte_serialize(text.as_bytes()).collect() };
    let signed = format!(
        "r={}&e={}",
        escaped(endpoint),
        escaped(&expires.to_string())
    );
    let key = BASE64_STANDARD.decode(key).unwrap();
    let mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    let signature = mac.chain_update(&signed).finalize().into_bytes();
    format!("{signed}&s={}", escaped(&BASE64_STANDARD.encode(signature)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_grid_2_4_a_token_of_an_hour_lives_an_hour_of_the_clock_of_who_made_it() {
    let machine = Machine::start().await;
    let topic = format!("{RESOURCE_GROUP}/providers/Microsoft.EventGrid/topics/dated");
    let body = json!({ "location": "local" });
    let made = machine.client.manage(Method::PUT, &topic, Some(&body));
    made.await.unwrap();
    let keys = format!("{topic}/listKeys");
    let keys = machine
        .client
        .manage(Method::POST, &keys, None)
        .await
        .unwrap();
    machine.advance("P1D").await;

    let running = machine.server.running();
    let endpoint = format!("{}/topics/dated/api/events", running.url);
    let publish = async |expires: Timestamp| {
        let token = sas_token(keys["key1"].as_str().unwrap(), &endpoint, expires);
        let request = http::Request::post("/topics/dated/api/events")
            .header("host", running.address.to_string())
            .header("aeg-sas-token", token)
            .body(Full::from(json!([event("1")]).to_string()))
            .unwrap();
        let mut sender = gridpost::client::open(running.address, None).await.unwrap();
        sender.send_request(request).await.unwrap().status()
    };
    assert_eq!(publish(machine.wall() + hours(1)).await, 200);
    assert_eq!(publish(machine.wall() - hours(1)).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_validation_window_and_the_expiration_of_subscriptions_follow() {
    let machine = Machine::start().await;
    let behaviour = json!({ "handshake": "withhold" });
    machine
        .own(Method::PUT, "sinks/mute/behaviour", behaviour)
        .await;
    let state = |subscription: &Value| subscription["properties"]["provisioningState"].clone();
    let waiting = machine.subscribe(&machine.sink("mute"), json!({})).await;
    assert_eq!(state(&waiting.unwrap()), "AwaitingManualAction");
    machine.advance("11m").await;
    let id = subscription_id(COMMUNICATION_RESOURCE, "moved");
    let found = machine.client.manage(Method::GET, &id, None).await.unwrap();
    assert_eq!(state(&found), "Failed");

    let expires = machine.now().await + hours(10);
    let expiring = json!({ "expirationTimeUtc": expires });
    machine
        .subscribe(&machine.sink("brief"), expiring)
        .await
        .unwrap();
    machine.advance("9h").await;
    machine.client.manage(Method::GET, &id, None).await.unwrap();
    machine.advance("2h").await;
    let gone = machine.client.manage(Method::GET, &id, None).await;
    assert!(gone.is_err(), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_is_moved_forward_by_what_can_be_understood() {
    let machine = Machine::start().await;
    for (body, says) in [
        (json!({}), "'by'"),
        (json!({ "by": "soon" }), "not a span of time"),
        (json!({ "by": "P11000D" }), "3,653 days"),
        (json!({ "to": "2001-01-01T00:00:00Z" }), "does not go back"),
        (json!({ "by": "1h", "patience": "1m" }), "30 seconds"),
        (json!({ "by": "1h", "speed": 2 }), "unknown field"),
    ] {
        let refused = machine.try_own(Method::POST, "clock/advance", body).await;
        let error = format!("{:#}", refused.unwrap_err().error);
        assert!(error.contains(says), "{error}");
    }
    let target = machine.now().await + minutes(90);
    let body = json!({ "to": target });
    let arrived = machine.own(Method::POST, "clock/advance", body).await;
    assert_eq!(moment(&arrived["now"]), target);
    assert_eq!(arrived["movable"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_ends_before_the_clock_has_arrived_is_gone_on_with() {
    let machine = Machine::start().await;
    let endpoint = Webhook::open(VirtualClock::at(Timestamp::EPOCH)).await;
    machine.subscribe(&endpoint.url(), json!({})).await.unwrap();
    let endpoint = endpoint.silent();
    machine.text().await;

    let target = machine.now().await + hours(2);
    let body = json!({ "to": target, "patience": "200ms", "within": "300ms" });
    let mut calls = 1;
    let arrived = loop {
        let advance = machine.try_own(Method::POST, "clock/advance", body.clone());
        match advance.await {
            Ok(arrived) => break arrived,
            Err(failure) => assert!(format!("{:#}", failure.error).contains("Call again")),
        }
        calls += 1;
        assert!(calls < 30, "it comes no further");
    };
    assert_eq!(moment(&arrived["now"]), target);
    assert!(2 < calls, "{calls}");
    // At 0, 1, 5, 10, 30 and 60 minutes.
    assert_eq!(endpoint.attempts(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_waits_for_a_handshake_that_is_under_way() {
    let machine = Machine::start().await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", socket.local_addr().unwrap());
    let asked = Notify::new();
    let endpoint = async {
        let (mut stream, _) = socket.accept().await.unwrap();
        let code = validation_code(&mut stream).await;
        asked.notify_one();
        let mut looks = 0;
        until("some time has passed", || {
            looks += 1;
            looks == 100
        })
        .await;
        let body = json!({ "validationResponse": code }).to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await.unwrap();
    };
    let advance = async {
        asked.notified().await;
        let body = json!({ "by": "1h", "patience": "10s" });
        machine.own(Method::POST, "clock/advance", body).await
    };
    let (made, (), _) = tokio::join!(machine.subscribe(&url, json!({})), endpoint, advance);
    assert_eq!(
        made.unwrap()["properties"]["provisioningState"],
        "Succeeded"
    );
}

/// Reads a validation event, and returns its code.
async fn validation_code(stream: &mut TcpStream) -> String {
    const BEFORE: &str = r#""validationCode":""#;
    let mut text = String::new();
    loop {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.unwrap();
        text.push_str(std::str::from_utf8(&part[..read]).unwrap());
        if let Some((_, rest)) = text.split_once(BEFORE)
            && let Some((code, _)) = rest.split_once('"')
        {
            return code.to_owned();
        }
    }
}
