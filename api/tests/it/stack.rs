//! Everything below the socket, on a clock that the tests turn.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gridpost_api::changes::Changes;
use gridpost_api::closing::Closing;
use gridpost_api::issuer::OwnIssuer;
use gridpost_api::operations::{ProcessStatus, StoreStatus, Watch};
use gridpost_api::sinks::Sinks;
use gridpost_api::token::TokenKeys;
use gridpost_api::{Parts, Profile, Tenant, surfaces};
use gridpost_comms::resources::ServiceSpec;
use gridpost_comms::sms::handsets::Handsets;
use gridpost_comms::{Comms, CommunicationService, RateLimits};
use gridpost_grid::outbound::{self, Reach};
use gridpost_grid::principals::{ClientSecret, Principal, Salt, SecretHash};
use gridpost_grid::roles::RoleAssignment;
use gridpost_grid::{Grid, Limits, Spawn};
use gridpost_model::role::{DATA_SENDER, OWNER};
use gridpost_model::{Chance, Clock, PhoneNumber, ResourceId, Role, Secret, Timestamp};
use gridpost_sim::{SeededChance, VirtualClock};
use gridpost_store::{Options, Store};
use hmac::{Hmac, Mac as _};
use http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

pub(crate) const NUMBER: &str = "+15555550100";
pub(crate) const HANDSET: &str = "+14255550123";
const HOST: &str = "127.0.0.1:8480";
const TENANT: &str = "11111111-1111-4111-8111-111111111111";
const SUBSCRIPTION: &str = "22222222-2222-4222-8222-222222222222";
pub(crate) const CLIENT: &str = "33333333-3333-4333-8333-333333333333";

/// A stack with one communication resource, `dev`, that owns [`NUMBER`].
pub(crate) struct Stack {
    pub(crate) clock: VirtualClock,
    pub(crate) grid: Grid,
    pub(crate) comms: Comms,
    pub(crate) router: Router,
    paths: Vec<String>,
    pub(crate) changes: Changes,
    pub(crate) closing: Closing,
    _folder: tempfile::TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The body of an answer that has this status.
    pub(crate) fn json_of(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }
}

struct NoWatch;

impl Watch for NoWatch {
    fn store(&self) -> StoreStatus {
        StoreStatus::default()
    }

    fn process(&self) -> ProcessStatus {
        ProcessStatus::default()
    }
}

impl Stack {
    pub(crate) async fn start() -> Self {
        Self::start_as(Profile::Development).await
    }

    pub(crate) async fn start_as(profile: Profile) -> Self {
        Self::start_with(profile, RateLimits::default()).await
    }

    /// A stack whose clients may call only so often.
    pub(crate) async fn start_limited(rate_limits: RateLimits) -> Self {
        Self::start_with(Profile::Development, rate_limits).await
    }

    async fn start_with(profile: Profile, rate_limits: RateLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = VirtualClock::at("2026-11-22T00:27:55Z".parse().unwrap());
        let ticking: Arc<dyn Clock> = Arc::new(clock.clone());
        let chance: Arc<dyn Chance> = Arc::new(SeededChance::new(2));
        let signing = TokenKeys::generate().unwrap();
        // The store's writer starts tasks too, from a thread that belongs to no runtime.
        let runtime = tokio::runtime::Handle::current();
        let spawn: Spawn = Arc::new(move |_, task| {
            runtime.spawn(task);
        });
        let (store, recovery) =
            Store::open(Options::new(folder.path(), Arc::clone(&ticking))).unwrap();
        let grid = Grid::open(
            store.clone(),
            &recovery,
            gridpost_grid::Settings {
                clock: Arc::clone(&ticking),
                chance: Arc::clone(&chance),
                outbound: outbound::Settings {
                    reach: Reach {
                        loopback: true,
                        ..Reach::default()
                    },
                    plain_http: true,
                    ..outbound::Settings::default()
                },
                public_url: format!("http://{HOST}"),
                tracing: gridpost_grid::trace::Tracing::default(),
                spawn: Arc::clone(&spawn),
                limits: Limits::default(),
                tokens: Some(Arc::new(OwnIssuer {
                    keys: TokenKeys::from_pkcs8(&signing).unwrap(),
                    clock: Arc::clone(&ticking),
                    base_url: format!("http://{HOST}"),
                    tenant_id: TENANT.into(),
                })),
            },
        )
        .unwrap();
        let changes = Changes::new(Arc::clone(&spawn));
        let handsets = Handsets::open(store.clone(), Arc::clone(&ticking)).unwrap();
        let comms = Comms::open(
            store.clone(),
            grid.clone(),
            Arc::new(handsets.clone()),
            gridpost_comms::Settings {
                clock: Arc::clone(&ticking),
                chance: Arc::clone(&chance),
                spawn,
                host_name: "localhost:8480".into(),
                rate_limits,
            },
        )
        .unwrap();
        let closing = Closing::default();
        let parts = Parts {
            grid: grid.clone(),
            comms: comms.clone(),
            handsets,
            sinks: Sinks::default(),
            clock: ticking,
            chance: Arc::clone(&chance),
            tokens: TokenKeys::from_pkcs8(&signing).unwrap(),
            tenant: Tenant {
                tenant_id: TENANT.into(),
                subscription_id: SUBSCRIPTION.into(),
            },
            profile,
            base_url: format!("http://{HOST}"),
            host_names: vec!["LOCALHOST".into(), "gridpost-box".into()],
            watch: Arc::new(NoWatch),
            changes: changes.clone(),
            turns: gridpost_api::arm::Turns::default(),
            closing: closing.clone(),
            devices: gridpost_api::token::device::Devices::default(),
            publish_limits: gridpost_api::publish::Limits::default(),
        };
        let surfaces = surfaces(parts);
        let stack = Self {
            clock,
            grid,
            comms,
            paths: surfaces.paths().to_vec(),
            router: Router::new().fallback_service(surfaces),
            changes,
            closing,
            _folder: folder,
        };
        stack
            .introduce(CLIENT, &[(OWNER, "/"), (DATA_SENDER, "/")])
            .await;
        let dev = stack.make("dev").await;
        stack.comms.assign(&dev.id, number(NUMBER)).await.unwrap();
        stack
    }

    /// Every path that is answered, but for those of Resource Manager.
    pub(crate) fn paths(&self) -> &[String] {
        &self.paths
    }

    /// Makes a principal that signs in with `open sesame` and holds these roles, each at its scope.
    pub(crate) async fn introduce(&self, client_id: &str, roles: &[(&Role, &str)]) {
        let now = self.clock.now();
        let secret = Secret::new("open sesame");
        let hash = SecretHash::of_random(&secret, Salt::fresh(&SeededChance::new(3)));
        let secret = ClientSecret::new("1", &secret, hash, now, None);
        let principal = Principal {
            secrets: vec![secret],
            ..Principal::new(client_id, client_id, "somebody", now)
        };
        self.grid.put_principal(principal).await.unwrap();
        for (role, scope) in roles {
            let wanted = RoleAssignment {
                name: format!("{client_id} {} {scope}", role.name),
                scope: (*scope).to_owned(),
                principal_id: client_id.to_owned(),
                role: role.id.to_owned(),
                description: None,
                created: now,
                created_by: CLIENT.to_owned(),
            };
            self.grid.assign_role(wanted).await.unwrap();
        }
    }

    /// Makes another communication resource.
    pub(crate) async fn make(&self, name: &str) -> Arc<CommunicationService> {
        let spec = ServiceSpec {
            location: "global".into(),
            data_location: "unitedstates".into(),
            ..ServiceSpec::default()
        };
        self.comms
            .put_resource(resource_id(name), spec)
            .await
            .unwrap()
            .0
    }

    pub(crate) fn dev(&self) -> Arc<CommunicationService> {
        self.comms.resource(&resource_id("dev")).unwrap()
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Answer {
            status: head.status,
            headers: head.headers,
            text,
        }
    }

    /// Our own REST, without a credential. `path` follows `/_gridpost/v1/`.
    pub(crate) async fn own(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask(own_request(method, path, body)).await
    }

    /// A communication surface, signed with the first key of `dev`.
    pub(crate) async fn signed(&self, method: &str, target: &str, body: &str) -> Answer {
        let dev = self.dev();
        self.ask(Signed::new(method, target, body).by(&dev.keys.first, self.clock.now()))
            .await
    }

    /// A token of our own token endpoint, for this server.
    pub(crate) async fn token(&self) -> String {
        self.token_for("").await
    }

    /// A token of our own token endpoint, for that scope.
    pub(crate) async fn token_for(&self, scope: &str) -> String {
        self.token_as(CLIENT, scope).await
    }

    /// A token for one of those who were introduced.
    pub(crate) async fn token_as(&self, client_id: &str, scope: &str) -> String {
        let form = format!(
            "grant_type=client_credentials&client_id={client_id}&client_secret=open+sesame&scope={scope}"
        );
        let request = Request::post(format!("/{TENANT}/oauth2/v2.0/token"))
            .header("host", HOST)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .unwrap();
        self.ask(request).await.json_of(200)["access_token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Turns the clock, and waits until everything that fell due is done.
    pub(crate) async fn advance(&self, span: Duration) {
        let end = self.clock.now() + span;
        self.settle().await;
        while let Some(next) = self.clock.next_alarm().filter(|next| *next <= end) {
            self.clock.turn_to(next);
            self.settle().await;
        }
        self.clock.turn_to(end);
        self.settle().await;
    }

    /// Waits until nothing is due any more.
    pub(crate) async fn settle(&self) {
        // What a task is woken for shows in `is_busy` only once it has run.
        let mut quiet = 0;
        while quiet < 50 {
            tokio::task::yield_now().await;
            let is_quiet = !self.comms.is_busy() && self.grid.pending().is_quiet();
            quiet = if is_quiet { quiet + 1 } else { 0 };
        }
    }
}

pub(crate) fn own_request(method: &str, path: &str, body: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(format!("/_gridpost/v1/{path}"))
        .header("host", HOST)
        .body(Body::from(body.to_owned()))
        .unwrap()
}

/// A request that is going to be signed.
pub(crate) struct Signed<'a> {
    method: &'a str,
    target: &'a str,
    body: &'a str,
    sent_body: Option<&'a str>,
}

impl<'a> Signed<'a> {
    pub(crate) fn new(method: &'a str, target: &'a str, body: &'a str) -> Self {
        Self {
            method,
            target,
            body,
            sent_body: None,
        }
    }

    /// Sends another body than the one that was signed.
    pub(crate) fn but_sending(self, body: &'a str) -> Self {
        Self {
            sent_body: Some(body),
            ..self
        }
    }

    pub(crate) fn by(self, key: &Secret, at: Timestamp) -> Request<Body> {
        let date = at.http_date();
        let hash = BASE64_STANDARD.encode(Sha256::digest(self.body));
        let text = format!("{}\n{}\n{date};{HOST};{hash}", self.method, self.target);
        let key = BASE64_STANDARD.decode(key.reveal()).unwrap();
        let mac = Hmac::<Sha256>::new_from_slice(&key)
            .unwrap()
            .chain_update(text);
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        Request::builder()
            .method(self.method)
            .uri(self.target)
            .header("host", HOST)
            .header("content-type", "application/json")
            .header("x-ms-date", date)
            .header("x-ms-content-sha256", hash)
            .header("x-ms-client-request-id", "the-request")
            .header("x-ms-return-client-request-id", "true")
            .header(
                "authorization",
                format!("HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signature}"),
            )
            .body(Body::from(self.sent_body.unwrap_or(self.body).to_owned()))
            .unwrap()
    }
}

pub(crate) fn resource_id(name: &str) -> ResourceId {
    format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/gridpost/providers/Microsoft.Communication/communicationServices/{name}"
    )
    .parse()
    .unwrap()
}

pub(crate) fn number(text: &str) -> PhoneNumber {
    text.parse().unwrap()
}
