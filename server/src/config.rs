//! Configuration: the defaults, then a file, then the environment, then the command line.
//!
//! Promise: the only reader of configuration files, flags and environment variables. Whatever is wrong is reported
//! with the place it came from, before anything is started; nothing unknown is ignored.
//! Not here: what the settings mean to the parts that receive them (`assembly` hands each its section).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gridpost_api::publish::Limits;
use gridpost_grid::dead_letter_removal::Retention;
use serde::Deserialize;
use toml::{Table, Value};

mod error;
mod handlers;
mod layers;
mod rate_limits;
mod variables;

pub use error::ConfigError;
pub use handlers::{AmqpConnection, FunctionConnection, Handlers, SecretSource, StorageConnection};
use layers::{from_environment, overlay};
pub use rate_limits::RateLimits;

/// The documented defaults, as text.
pub const DEFAULTS: &str = include_str!("config.default.toml");

const PREFIX: &str = "GRIDPOST_";

/// Everything an operator can set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The data folder.
    pub data: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Which rules apply.
    pub profile: Profile,
    /// How clients reach this server; empty means by the address listened on.
    pub public_url: String,
    /// Further names by which local clients reach this server.
    pub host_names: Vec<String>,
    apply: PathBuf,
    /// `[log]`
    pub log: Log,
    /// `[tls]`
    pub tls: Tls,
    /// `[listener]`
    pub listener: Listener,
    /// `[drain]`
    pub drain: Drain,
    /// `[publish]`
    pub publish: Publish,
    /// `[store]`
    pub store: Store,
    /// `[dead_letters]`
    pub dead_letters: DeadLetters,
    /// `[outbound]`
    pub outbound: Outbound,
    /// `[telemetry]`
    pub telemetry: Telemetry,
    /// `[principal]`
    pub principal: Principal,
    /// `[rate_limits]`
    pub rate_limits: RateLimits,
    /// `[handlers]`
    pub handlers: Handlers,
}

/// Which rules apply to clients and destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Loopback only, built-in identities, everything at hand.
    Development,
    /// Credentials for everything, private addresses refused as destinations.
    Production,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// What is logged.
    pub filter: String,
    /// How it is written.
    pub format: LogFormat,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[tls]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    certificate_file: PathBuf,
    key_file: PathBuf,
}

impl Tls {
    /// The operator's own certificate and key, when they are set.
    pub fn own_files(&self) -> Option<(&Path, &Path)> {
        let given = |path: &PathBuf| !path.as_os_str().is_empty();
        (given(&self.certificate_file) && given(&self.key_file))
            .then_some((&*self.certificate_file, &*self.key_file))
    }

    fn half_given(&self) -> bool {
        self.certificate_file.as_os_str().is_empty() != self.key_file.as_os_str().is_empty()
    }
}

/// `[listener]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Connections served at once.
    pub max_connections: usize,
    handshake_timeout_seconds: u64,
    header_timeout_seconds: u64,
}

impl Listener {
    /// How long a TLS handshake may take.
    pub fn handshake_timeout(&self) -> Duration {
        Duration::from_secs(self.handshake_timeout_seconds)
    }

    /// How long a client may take to send a request's headers.
    pub fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout_seconds)
    }
}

/// `[publish]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    max_body_bytes: usize,
    max_event_bytes: usize,
    max_batch_events: usize,
}

impl Publish {
    /// A body of these bounds fits one record of the journal, envelopes included.
    const MAX_BODY_BYTES: usize = 4_000_000;
    const MAX_BATCH_EVENTS: usize = 10_000;

    /// What a publisher may send at once.
    pub fn limits(&self) -> Limits {
        Limits {
            body_bytes: self.max_body_bytes,
            event_bytes: self.max_event_bytes,
            events: self.max_batch_events,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let bounds = [
            ("max_body_bytes", self.max_body_bytes, Self::MAX_BODY_BYTES),
            (
                "max_event_bytes",
                self.max_event_bytes,
                Self::MAX_BODY_BYTES,
            ),
            (
                "max_batch_events",
                self.max_batch_events,
                Self::MAX_BATCH_EVENTS,
            ),
        ];
        for (name, value, most) in bounds {
            if !(1..=most).contains(&value) {
                return Err(ConfigError::BadValue(format!(
                    "publish.{name} must be between 1 and {most}, not {value}"
                )));
            }
        }
        Ok(())
    }
}

/// `[drain]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    timeout_seconds: u64,
}

impl Drain {
    /// How long requests in progress may take to finish.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}

/// `[store]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    retention_hours: u64,
    retention_mib: u64,
    /// Start on a damaged journal.
    pub accept_damage: bool,
}

impl Store {
    /// How long settled events stay readable.
    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_hours.saturating_mul(3600))
    }

    /// How many bytes of settled events are kept at most.
    pub fn retention_bytes(&self) -> u64 {
        self.retention_mib.saturating_mul(1024 * 1024)
    }
}

/// `[dead_letters]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetters {
    retention_days: u64,
    retention_mib: u64,
}

impl DeadLetters {
    const MOST_DAYS: u64 = 3_650;
    const MOST_MIB: u64 = 1 << 20;

    /// How much of dead letters is kept.
    pub fn retention(&self) -> Retention {
        Retention {
            age: Duration::from_secs(self.retention_days * 24 * 3600),
            bytes: self.retention_mib << 20,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        for (name, value, most) in [
            ("days", self.retention_days, Self::MOST_DAYS),
            ("mib", self.retention_mib, Self::MOST_MIB),
        ] {
            if !(1..=most).contains(&value) {
                return Err(ConfigError::BadValue(format!(
                    "dead_letters.retention_{name} must be between 1 and {most}, not {value}"
                )));
            }
        }
        Ok(())
    }
}

/// `[outbound]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbound {
    /// Destinations on this machine.
    pub allow_loopback: Choice,
    /// Destinations on private networks.
    pub allow_private: Choice,
    /// Destinations without TLS.
    pub allow_http: Choice,
    extra_ca_file: PathBuf,
    connections_per_destination: usize,
}

impl Outbound {
    /// More connections to one destination than any server would like.
    const MOST_CONNECTIONS: usize = 1_024;

    /// Connections to one destination, each with one request at a time.
    pub fn connections(&self) -> usize {
        self.connections_per_destination
    }

    fn check(&self) -> Result<(), ConfigError> {
        let (value, most) = (self.connections_per_destination, Self::MOST_CONNECTIONS);
        if (1..=most).contains(&value) {
            return Ok(());
        }
        Err(ConfigError::BadValue(format!(
            "outbound.connections_per_destination must be between 1 and {most}, not {value}"
        )))
    }

    /// The further certificate authority to trust, when one is set.
    pub fn extra_ca_file(&self) -> Option<&Path> {
        (!self.extra_ca_file.as_os_str().is_empty()).then_some(&*self.extra_ca_file)
    }
}

/// A rule that the profile decides unless it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub enum Choice {
    /// As the profile has it.
    Auto,
    /// Allowed.
    Yes,
    /// Refused.
    No,
}

impl Choice {
    /// Whether it is allowed in that profile.
    pub fn allowed_in(self, profile: Profile) -> bool {
        match self {
            Self::Auto => profile == Profile::Development,
            Self::Yes => true,
            Self::No => false,
        }
    }
}

impl TryFrom<Value> for Choice {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        match value {
            Value::Boolean(true) => Ok(Self::Yes),
            Value::Boolean(false) => Ok(Self::No),
            Value::String(text) => match text.as_str() {
                "auto" => Ok(Self::Auto),
                "true" => Ok(Self::Yes),
                "false" => Ok(Self::No),
                _ => Err("expected true, false or \"auto\""),
            },
            _ => Err("expected true, false or \"auto\""),
        }
    }
}

/// A part of a whole: 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
struct Share(f64);

impl TryFrom<f64> for Share {
    type Error = &'static str;

    fn try_from(value: f64) -> Result<Self, Self::Error> {
        (0.0..=1.0)
            .contains(&value)
            .then_some(Self(value))
            .ok_or("expected a number from 0 to 1")
    }
}

/// `[telemetry]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    endpoint: String,
    /// `service.name` of our spans.
    pub service_name: String,
    sampling_ratio: Share,
    headers_file: PathBuf,
}

impl Telemetry {
    /// The collector, when there is one.
    pub fn endpoint(&self) -> Option<&str> {
        (!self.endpoint.is_empty()).then_some(&*self.endpoint)
    }

    /// The share of traces begun here that is recorded, 0 to 1.
    pub fn sampling_ratio(&self) -> f64 {
        self.sampling_ratio.0
    }

    /// The file of further headers, when one is set.
    pub fn headers_file(&self) -> Option<&Path> {
        (!self.headers_file.as_os_str().is_empty()).then_some(&*self.headers_file)
    }
}

/// `[principal]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    client_id: String,
    client_secret_file: PathBuf,
}

impl Principal {
    /// The client to add at the start, when one is set: its id and the file of its secret.
    pub fn given(&self) -> Option<(&str, &Path)> {
        (!self.client_id.is_empty() && !self.client_secret_file.as_os_str().is_empty())
            .then_some((&*self.client_id, &*self.client_secret_file))
    }

    /// Whether it is this client, with a secret or without.
    pub fn names(&self, client_id: &str) -> bool {
        self.client_id.eq_ignore_ascii_case(client_id)
    }
}

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--data`
    pub data: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--profile`
    pub profile: Option<Profile>,
    /// `--apply`
    pub apply: Option<PathBuf>,
}

impl Config {
    /// Reads the configuration of this process.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        let path = flags
            .config
            .clone()
            .or_else(|| environment("GRIDPOST_CONFIG").map(Into::into));
        let file = match path {
            None => None,
            Some(path) => match std::fs::read_to_string(&path) {
                Ok(text) => Some((path, text)),
                Err(source) => return Err(ConfigError::Unreadable { path, source }),
            },
        };
        Self::resolve(file, &environment, flags)
    }

    /// The configuration that these sources make.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn resolve(
        file: Option<(PathBuf, String)>,
        environment: &dyn Fn(&str) -> Option<String>,
        flags: &Flags,
    ) -> Result<Self, ConfigError> {
        let mut settings: Table = DEFAULTS
            .parse()
            .map_err(|error: toml::de::Error| bad("the built-in defaults", &error))?;
        if let Some((path, text)) = file {
            let own: Table = text.parse().map_err(|source| ConfigError::NotToml {
                path: path.clone(),
                source: Box::new(source),
            })?;
            overlay(&mut settings, own, &path.display().to_string(), "")?;
        }
        from_environment(&mut settings, PREFIX, environment)?;
        for (name, flag) in [
            (
                "data",
                flags.data.as_ref().map(|path| path.display().to_string()),
            ),
            ("listen", flags.listen.clone()),
            (
                "apply",
                flags.apply.as_ref().map(|path| path.display().to_string()),
            ),
        ] {
            if let Some(text) = flag {
                settings.insert(name.into(), Value::String(text));
            }
        }
        let mut config = read(settings)?;
        config.profile = flags.profile.unwrap_or(config.profile);
        config.checked()
    }

    /// The file of resources to make at the start, when one is set.
    pub fn apply_file(&self) -> Option<&Path> {
        (!self.apply.as_os_str().is_empty()).then_some(&*self.apply)
    }

    fn checked(self) -> Result<Self, ConfigError> {
        if self.tls.half_given() {
            return Err(ConfigError::BadValue(
                "tls.certificate_file and tls.key_file belong together: set both or neither".into(),
            ));
        }
        self.publish.check()?;
        self.outbound.check()?;
        self.dead_letters.check()?;
        self.rate_limits.check()?;
        Ok(self)
    }

    /// Refuses a variable of the environment that is nearly a setting. The answer are those that begin like one and that
    /// nobody knows.
    ///
    /// # Errors
    /// There is one.
    pub fn check_variables(&self) -> Result<Vec<String>, ConfigError> {
        let settings: Table = DEFAULTS
            .parse()
            .map_err(|error| bad("the built-in defaults", &error))?;
        variables::check(&settings, &self.handlers.variables(), variable_names())
    }

    /// Refuses to listen where the profile must not.
    ///
    /// # Errors
    /// The address is reachable from other machines and the profile is not made for it.
    pub fn check_address(&self) -> Result<(), ConfigError> {
        if self.listen.ip().is_loopback() {
            return Ok(());
        }
        match self.profile {
            Profile::Development => Err(ConfigError::PublicAddress(self.listen)),
            Profile::Production if self.tls.own_files().is_none() => {
                Err(ConfigError::NoCertificate(self.listen))
            }
            Profile::Production => Ok(()),
        }
    }
}

fn read(mut settings: Table) -> Result<Config, ConfigError> {
    // `localhost` is what people write; it is always this machine.
    if let Some(Value::String(listen)) = settings.get_mut("listen")
        && let Some(port) = listen.strip_prefix("localhost:")
    {
        *listen = format!("127.0.0.1:{port}");
    }
    if let Some(Value::String(listen)) = settings.get("listen")
        && listen.parse::<SocketAddr>().is_err()
    {
        return Err(ConfigError::BadValue(format!(
            "`listen` must be an address and a port, such as 127.0.0.1:8480 or [::1]:0, not {listen:?}"
        )));
    }
    settings
        .try_into()
        .map_err(|error| bad("the configuration", &error))
}

fn bad(what: &str, error: &toml::de::Error) -> ConfigError {
    ConfigError::BadValue(format!("{what} cannot be used: {error}"))
}

/// A variable of the environment, when it is set to something.
#[expect(
    clippy::disallowed_methods,
    reason = "this module is the one reader of the environment"
)]
pub fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|text| !text.is_empty())
}

/// The names of the variables of the environment.
fn variable_names() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn with_file(text: &str) -> Result<Config, ConfigError> {
        Config::resolve(
            Some(("own.toml".into(), text.into())),
            &nothing,
            &Flags::default(),
        )
    }

    #[test]
    fn the_defaults_are_whole() {
        let config = Config::resolve(None, &nothing, &Flags::default()).unwrap();
        assert_eq!(config.listen, "127.0.0.1:8480".parse().unwrap());
        assert_eq!(config.profile, Profile::Development);
        config.check_address().unwrap();
    }

    #[test]
    fn dead_letters_are_kept_for_a_month_and_not_for_ever() {
        let kept = with_file("").unwrap().dead_letters.retention();
        assert_eq!(kept.age, Duration::from_secs(30 * 24 * 3600));
        assert_eq!(kept.bytes, 1 << 30);
        for bad in [
            "retention_days = 0",
            "retention_days = 3651",
            "retention_mib = 0",
        ] {
            let refused = with_file(&format!("[dead_letters]\n{bad}\n")).unwrap_err();
            assert!(refused.to_string().contains("must be between 1 and"));
        }
    }

    #[test]
    fn the_limits_of_publishing_have_limits_themselves() {
        let config = with_file("[publish]\nmax_batch_events = 10\n").unwrap();
        assert_eq!(config.publish.limits().events, 10);
        let default = Limits::default();
        assert_eq!(config.publish.limits().body_bytes, default.body_bytes);
        assert_eq!(config.publish.limits().event_bytes, default.event_bytes);
        for wrong in ["max_batch_events = 0", "max_body_bytes = 5000000"] {
            assert!(
                with_file(&format!("[publish]\n{wrong}\n")).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn every_setting_is_explained() {
        for paragraph in DEFAULTS.lines().collect::<Vec<_>>().windows(2) {
            let [above, line] = paragraph else {
                unreachable!("windows of two")
            };
            let starts_a_group = above.is_empty() || above.starts_with('[');
            assert!(
                !(starts_a_group && line.contains(" = ")),
                "no comment above: {line}"
            );
        }
    }

    #[test]
    fn later_sources_win() {
        let environment = |name: &str| match name {
            "GRIDPOST_LISTEN" => Some("127.0.0.1:2".to_owned()),
            "GRIDPOST_LISTENER_MAX_CONNECTIONS" => Some("7".to_owned()),
            _ => None,
        };
        let file = "listen = '127.0.0.1:1'\ndata = '/from/file'\n[listener]\nmax_connections = 5\n";
        let flags = Flags {
            listen: Some("localhost:3".into()),
            ..Flags::default()
        };
        let config =
            Config::resolve(Some(("own.toml".into(), file.into())), &environment, &flags).unwrap();
        assert_eq!(config.listen, "127.0.0.1:3".parse().unwrap());
        assert_eq!(config.listener.max_connections, 7);
        assert_eq!(config.data, Path::new("/from/file"));
    }

    #[test]
    fn an_unknown_setting_is_named_with_its_file() {
        let error = with_file("[listener]\nmax_conections = 5\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`listener.max_conections` (from own.toml)"),
            "{error}"
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused() {
        assert!(with_file("[listener]\nmax_connections = 'many'\n").is_err());
        assert!(with_file("listen = 'example.org'").is_err());
        assert!(with_file("[telemetry]\nsampling_ratio = 1.5\n").is_err());
        assert!(with_file("[telemetry]\nsampling_ratio = 0.5\n").is_ok());
        let ratio = |text: &str| {
            let environment =
                |name: &str| (name == "GRIDPOST_TELEMETRY_SAMPLING_RATIO").then(|| text.to_owned());
            Config::resolve(None, &environment, &Flags::default())
        };
        assert_eq!(ratio("0.25").unwrap().telemetry.sampling_ratio(), 0.25);
        assert!(ratio("NaN").is_err() && ratio("some").is_err());
        assert!(with_file("[tls]\nkey_file = 'only-one'\n").is_err());
        let environment =
            |name: &str| (name == "GRIDPOST_DRAIN_TIMEOUT_SECONDS").then(|| "soon".to_owned());
        assert!(Config::resolve(None, &environment, &Flags::default()).is_err());
    }

    #[test]
    fn the_development_profile_stays_on_this_machine() {
        let config = with_file("listen = '0.0.0.0:8480'").unwrap();
        let advice = config.check_address().unwrap_err().to_string();
        assert!(advice.contains("--listen 127.0.0.1:8480"), "{advice}");
        let production = with_file("listen = '0.0.0.0:8480'\nprofile = 'production'").unwrap();
        assert!(matches!(
            production.check_address(),
            Err(ConfigError::NoCertificate(_))
        ));
    }

    #[test]
    fn connections_to_a_destination_have_bounds() {
        let with = |count: usize| {
            with_file(&format!(
                "[outbound]\nconnections_per_destination = {count}\n"
            ))
        };
        assert_eq!(with_file("").unwrap().outbound.connections(), 64);
        assert_eq!(with(1).unwrap().outbound.connections(), 1);
        assert!(with(0).is_err() && with(1_025).is_err());
    }

    #[test]
    fn a_choice_follows_the_profile_until_it_is_made() {
        let config = with_file("[outbound]\nallow_private = true\nallow_http = false\n").unwrap();
        assert!(
            config
                .outbound
                .allow_private
                .allowed_in(Profile::Production)
        );
        assert!(!config.outbound.allow_http.allowed_in(Profile::Development));
        assert!(
            config
                .outbound
                .allow_loopback
                .allowed_in(Profile::Development)
        );
        assert!(
            !config
                .outbound
                .allow_loopback
                .allowed_in(Profile::Production)
        );
    }
}
