//! `World`: a whole server inside the test, and the hands to turn it with.
//!
//! Setup, action and expectation stay in the test; plumbing is here. Dropping a world in which something is still
//! under way fails the test, because it would have passed by not looking.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gridpost::assembly::{Server, Sources};
use gridpost::certificates;
use gridpost::client::Client;
use gridpost::config::{Config, Flags};
use gridpost::credentials::{COMMUNICATION_RESOURCE, RESOURCE_GROUP};
use gridpost::output::Failure;
use gridpost_model::{Clock as _, Timestamp};
use gridpost_sim::{SeededChance, VirtualClock};
use http::Method;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use crate::webhook::Webhook;

/// When every world begins.
const BEGIN: &str = "2026-11-22T00:00:00Z";

/// What takes longer than this has stopped.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    server: Option<Server>,
    clock: VirtualClock,
    seed: u64,
    /// The environment that the server reads.
    settings: Vec<(String, String)>,
    /// The configuration file that it reads.
    file: String,
    client: Client,
    folder: tempfile::TempDir,
    may_stay_unsettled: bool,
}

/// Waits until something holds that others bring about.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let holds = async {
        while !so() {
            breathe().await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, holds).await;
    assert!(came.is_ok(), "waited in vain until {what}");
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) fn minutes(count: u64) -> Duration {
    seconds(count * 60)
}

pub(crate) fn hours(count: u64) -> Duration {
    minutes(count * 60)
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A world whose server reads this environment.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_of(settings, "").await
    }

    /// A world whose server reads this configuration file.
    pub(crate) async fn start_with_file(text: &str) -> Self {
        Self::start_of(&[], text).await
    }

    async fn start_of(settings: &[(&str, &str)], file: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = VirtualClock::at(BEGIN.parse().unwrap());
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let (server, client) = serve(folder.path(), &clock, 1, &settings, file).await;
        Self {
            file: file.to_owned(),
            server: Some(server),
            clock,
            seed: 1,
            settings,
            client,
            folder,
            may_stay_unsettled: false,
        }
    }

    /// Stops the server in order and starts another on the same folder.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.seed += 1;
        let folder = self.folder.path();
        let (server, client) =
            serve(folder, &self.clock, self.seed, &self.settings, &self.file).await;
        self.server = Some(server);
        self.client = client;
    }

    /// Stops the server in order.
    pub(crate) async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(seconds(5)).await;
        }
    }

    /// What is under way now may stay so when the world ends.
    pub(crate) fn leave_unsettled(mut self) {
        self.may_stay_unsettled = true;
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Takes the server out, for tests about its end.
    pub(crate) fn into_server(mut self) -> (Server, tempfile::TempDir) {
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        (self.server.take().unwrap(), folder)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server().running().address
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// An endpoint that takes everything until told otherwise.
    pub(crate) async fn webhook(&self) -> Webhook {
        Webhook::open(self.clock.clone()).await
    }

    /// The same over TLS, with the server's own certificate, choosing the first of these protocols that is offered.
    pub(crate) async fn secure_webhook(&self, protocols: &[&[u8]]) -> Webhook {
        let folder = certificates::Folder::of(&self.folder().join("data"));
        let identity = folder.ready(self.now(), &[]).unwrap();
        let mut tls = (*identity.into_tls().unwrap()).clone();
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Webhook::open_secure(self.clock.clone(), Arc::new(tls).into()).await
    }

    /// Lets time pass, stopping at every moment at which something happens.
    pub(crate) async fn advance(&self, span: Duration) {
        let target = self.now() + span;
        self.settle().await;
        while let Some(alarm) = self.clock.next_alarm().filter(|alarm| *alarm <= target) {
            self.clock.turn_to(alarm);
            self.settle().await;
        }
        self.clock.turn_to(target);
        self.settle().await;
    }

    /// Waits until nothing more happens unless time passes.
    pub(crate) async fn settle(&self) {
        let settled = async {
            let mut quiet = 0;
            while quiet < 3 {
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                quiet = if self.is_quiet() { quiet + 1 } else { 0 };
                breathe().await;
            }
        };
        if tokio::time::timeout(PATIENCE, settled).await.is_err() {
            panic!("nothing settles: {:?}", self.server().grid().pending());
        }
    }

    fn is_quiet(&self) -> bool {
        let server = self.server();
        assert_eq!(
            server.failures(),
            0,
            "a task of the server has failed; see above"
        );
        let mut pending = server.grid().pending();
        // What a fault holds ends by time alone.
        let held = server.grid().faults().waiting_for_time();
        pending.in_flight = pending.in_flight.saturating_sub(held);
        pending.is_quiet() && !server.comms().is_busy()
    }

    /// Calls Resource Manager and expects it to work.
    pub(crate) async fn manage(&self, method: Method, id: &str, body: Value) -> Value {
        self.try_manage(method, id, body)
            .await
            .unwrap_or_else(|failure| panic!("{id}: {:#}", failure.error))
    }

    pub(crate) async fn try_manage(
        &self,
        method: Method,
        id: &str,
        body: Value,
    ) -> Result<Value, Failure> {
        let body = (!body.is_null()).then_some(body);
        self.client.manage(method, id, body.as_ref()).await
    }

    /// Calls our own REST and expects it to work.
    pub(crate) async fn own(&self, method: Method, path: &str, body: Value) -> Value {
        let body = (!body.is_null()).then_some(body);
        let answer = self.client.own(method, path, body.as_ref()).await;
        answer.unwrap_or_else(|failure| panic!("{path}: {:#}", failure.error))
    }

    /// Lets a handset text a number; the answer is the message's id.
    pub(crate) async fn text(&self, from: &str, to: &str, message: &str) -> String {
        let body = json!({ "from": from, "to": to, "message": message });
        let answer = self.own(Method::POST, "sms/receive", body).await;
        answer["messageId"].as_str().unwrap().to_owned()
    }

    /// The communication resource's subscription with the filter of the mission.
    pub(crate) async fn subscribe_with_the_missions_filter(&self, endpoint: &Webhook) {
        let filter = json!({
            "includedEventTypes": [
                "Microsoft.Communication.SMSReceived",
                "Microsoft.Communication.SMSDeliveryReportReceived",
            ],
            "subjectBeginsWith": "phonenumber/1555",
        });
        let properties = json!({ "filter": filter });
        self.subscribe(COMMUNICATION_RESOURCE, "mission", endpoint, properties)
            .await;
    }

    /// Subscribes an endpoint; `properties` are those of the event subscription beside its destination.
    pub(crate) async fn subscribe(
        &self,
        source: &str,
        name: &str,
        endpoint: &Webhook,
        mut properties: Value,
    ) -> Value {
        properties["destination"] =
            json!({ "endpointType": "WebHook", "properties": { "endpointUrl": endpoint.url() } });
        let body = json!({ "properties": properties });
        self.manage(Method::PUT, &subscription_id(source, name), body)
            .await
    }

    /// Makes a custom topic.
    pub(crate) async fn topic(&self, name: &str) -> Topic<'_> {
        self.topic_of(name, json!({})).await
    }

    /// Makes a custom topic that takes CloudEvents.
    pub(crate) async fn cloud_events_topic(&self, name: &str) -> Topic<'_> {
        let properties = json!({ "inputSchema": "CloudEventSchemaV1_0" });
        self.topic_of(name, properties).await
    }

    async fn topic_of(&self, name: &str, properties: Value) -> Topic<'_> {
        let id = format!("{RESOURCE_GROUP}/providers/Microsoft.EventGrid/topics/{name}");
        let body = json!({ "location": "local", "properties": properties });
        self.manage(Method::PUT, &id, body).await;
        let keys = self
            .manage(Method::POST, &format!("{id}/listKeys"), Value::Null)
            .await;
        Topic {
            world: self,
            name: name.to_owned(),
            id,
            key: keys["key1"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) async fn dead_letters(&self) -> Vec<Value> {
        let listed = self.own(Method::GET, "dead-letters", Value::Null).await;
        listed["value"].as_array().unwrap().clone()
    }
}

/// Waits for the threads beside this one. The one place in the tests that lets real time pass.
#[expect(
    clippy::disallowed_methods,
    reason = "files and sockets take real time, however the clock is turned"
)]
async fn breathe() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

impl Drop for World {
    fn drop(&mut self) {
        let Some(server) = &self.server else { return };
        if self.may_stay_unsettled || std::thread::panicking() {
            return;
        }
        let pending = server.grid().pending();
        let settled = pending.is_quiet() && pending.waiting == 0 && pending.held == 0;
        assert!(
            settled && !server.comms().is_busy(),
            "unsettled work is left: {pending:?}"
        );
    }
}

async fn serve(
    folder: &std::path::Path,
    clock: &VirtualClock,
    seed: u64,
    settings: &[(String, String)],
    file: &str,
) -> (Server, Client) {
    let flags = Flags {
        data: Some(folder.join("data")),
        listen: Some("127.0.0.1:0".to_owned()),
        ..Flags::default()
    };
    let environment = |name: &str| {
        let found = settings.iter().find(|(one, _)| one == name);
        found.map(|(_, value)| value.clone())
    };
    let file = Some(("world.toml".into(), file.to_owned()));
    let config = Config::resolve(file, &environment, &flags).unwrap();
    let sources = Sources {
        clock: Arc::new(clock.clone()),
        chance: Arc::new(SeededChance::new(seed)),
        movable: false,
    };
    let server = Server::start(config, sources).await.unwrap();
    let client = Client::of(server.running().clone(), server.data()).unwrap();
    (server, client)
}

pub(crate) fn subscription_id(source: &str, name: &str) -> String {
    format!("{source}/providers/Microsoft.EventGrid/eventSubscriptions/{name}")
}

/// A custom topic.
pub(crate) struct Topic<'a> {
    world: &'a World,
    name: String,
    pub(crate) id: String,
    key: String,
}

impl Topic<'_> {
    pub(crate) async fn subscribe(&self, name: &str, endpoint: &Webhook, properties: Value) {
        self.world
            .subscribe(&self.id, name, endpoint, properties)
            .await;
    }

    /// Publishes an event of that id and expects it to be accepted.
    pub(crate) async fn publish(&self, id: &str) {
        let status = self.try_publish(json!([event(id)])).await;
        assert_eq!(status, 200);
    }

    pub(crate) async fn try_publish(&self, events: Value) -> http::StatusCode {
        self.publish_with(&[], events).await
    }

    /// Publishes with further headers.
    pub(crate) async fn publish_with(
        &self,
        headers: &[(&str, &str)],
        events: Value,
    ) -> http::StatusCode {
        let mut sender = gridpost::client::open(self.world.address(), None)
            .await
            .unwrap();
        let mut request = http::Request::post(format!(
            "/topics/{}/api/events?api-version=2018-01-01",
            self.name
        ))
        .header("host", self.world.address().to_string())
        .header("aeg-sas-key", &self.key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::from(events.to_string())).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        response.into_body().collect().await.unwrap();
        status
    }
}

/// An event as a publisher writes it.
pub(crate) fn event(id: &str) -> Value {
    json!({
        "id": id, "subject": format!("orders/{id}"), "eventType": "Shop.Ordered", "dataVersion": "1.0",
        "eventTime": "2026-11-22T00:00:00Z", "data": { "number": id },
    })
}
