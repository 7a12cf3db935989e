//! The parts put together: store, router, communication services, wire, port.
//!
//! Promise: a server that `start` returned answers; one that `stop` returned from has written down everything it
//! knew. Two servers never share a data folder.
//! Not here: what any part does; which signals stop it (`cli::serve`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use gridpost_api::changes::Changes;
use gridpost_api::closing::Closing;
use gridpost_api::issuer::OwnIssuer;
use gridpost_api::sinks::Sinks;
use gridpost_api::token::TokenKeys;
use gridpost_api::{Parts, Tenant};
use gridpost_comms::Comms;
use gridpost_comms::sms::handsets::Handsets;
use gridpost_grid::outbound::{self, Reach};
use gridpost_grid::{Grid, Limits, Spawn};
use gridpost_model::{Chance, Clock};
use gridpost_store::{Options, Recovery, Store};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::certificates::{Folder, Identity};
use crate::config::{Config, Profile, environment};
use crate::credentials::{SUBSCRIPTION, TENANT};
use crate::files::{self, FolderLock};
use crate::handlers;
use crate::listener::{Listener, Port};
use crate::moved;
use crate::open_files;
use crate::provision;
use crate::real::{Supervisor, SystemChance, SystemClock};
use crate::running::Running;
use crate::telemetry::Telemetry;
use crate::watch::ProcessWatch;

/// Where time and chance come from.
#[derive(Clone)]
pub struct Sources {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub chance: Arc<dyn Chance>,
    /// Whether the time is this machine's, which the development profile can move on.
    pub movable: bool,
}

impl Sources {
    /// This machine's clock and the operating system's chance.
    pub fn real() -> Self {
        Self {
            clock: Arc::new(SystemClock::default()),
            chance: Arc::new(SystemChance),
            movable: true,
        }
    }
}

/// How long changes may go on whose clients were cut or have hung up: one that waits for an endpoint has changed nothing
/// yet, any other is done within it.
const CHANGES_END_WITHIN: Duration = Duration::from_secs(5);

/// A running server.
pub struct Server {
    store: Store,
    grid: Grid,
    comms: Comms,
    telemetry: Telemetry,
    listener: Listener,
    changes: Changes,
    closing: Closing,
    supervisor: Supervisor,
    running: Running,
    data: PathBuf,
    _lock: FolderLock,
}

impl Server {
    /// Starts a server. When this returns, it answers and has everything its profile promises.
    ///
    /// # Errors
    /// The folder or port is taken, a file is damaged, or the configuration asks for what cannot be.
    pub async fn start(config: Config, mut sources: Sources) -> anyhow::Result<Self> {
        config.check_address()?;
        files::make_private_folder(&config.data)?;
        let data = config
            .data
            .canonicalize()
            .context("finding the data folder")?;
        let lock = FolderLock::take(&data)?;
        if sources.movable {
            sources.clock = moved::open(&data, config.profile)?;
        }
        let mut listener = config.listener.clone();
        listener.max_connections = open_files::fit(listener.max_connections);
        let port = Port::take(config.listen)?;
        let running = running(&config, &data, port.address(), &*sources.clock);

        let supervisor = Supervisor::of_this_runtime();
        let tls = identity(&config, &data, &sources)?.into_tls()?;
        let (store, recovery) = open_store(&config, &data, &sources).await?;
        let telemetry = Telemetry::start(
            &config.telemetry,
            outbound_settings(&config, &running)?.extra_roots,
            Arc::clone(&sources.clock),
            &supervisor,
        )?;
        let grid = open_grid(
            &config,
            &running,
            &store,
            &recovery,
            &sources,
            &supervisor,
            &telemetry,
        )?;
        let handsets = Handsets::open(store.clone(), Arc::clone(&sources.clock))
            .context("starting the built-in carrier")?;
        let comms = open_comms(
            &config,
            &running,
            &store,
            &grid,
            &handsets,
            &sources,
            &supervisor,
        )?;
        let provision = provision::provision(&config, &data, &grid, &comms, &sources);
        Box::pin(provision).await?;

        let closing = Closing::default();
        let changes = Changes::new(spawn(&supervisor));
        let surfaces = gridpost_api::surfaces(Parts {
            changes: changes.clone(),
            turns: gridpost_api::arm::Turns::default(),
            closing: closing.clone(),
            devices: gridpost_api::token::device::Devices::default(),
            grid: grid.clone(),
            comms: comms.clone(),
            handsets,
            sinks: Sinks::default(),
            clock: Arc::clone(&sources.clock),
            chance: Arc::clone(&sources.chance),
            tokens: token_keys(&data)?,
            tenant: Tenant {
                tenant_id: TENANT.into(),
                subscription_id: SUBSCRIPTION.into(),
            },
            profile: config.profile.into(),
            base_url: running.url.clone(),
            host_names: config.host_names.clone(),
            watch: Arc::new(ProcessWatch::new(store.clone(), telemetry.clone())),
            publish_limits: config.publish.limits(),
        });
        let listener = port.serve(surfaces, tls, &listener, &supervisor);
        if let Err(error) = running.leave(&data) {
            // Commands do not find this server then; that is no reason to let deliveries wait on a full disk.
            tracing::warn!("the note for commands could not be left: {error:#}");
        }
        tracing::info!(address = %running.address, "ready at {}", running.address);
        Ok(Self {
            store,
            grid,
            comms,
            telemetry,
            listener,
            changes,
            closing,
            supervisor,
            running,
            data,
            _lock: lock,
        })
    }

    /// Where it listens and how it is reached.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The router of events.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The communication services.
    pub fn comms(&self) -> &Comms {
        &self.comms
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// How many tasks have failed since the start; expected to be none.
    pub fn failures(&self) -> u64 {
        self.supervisor.failures()
    }

    /// Stops accepting, lets requests in progress finish for that long, then settles and closes everything.
    pub async fn stop(self, drain: Duration) {
        Running::forget(&self.data);
        self.closing.begin();
        if !self.listener.close(drain).await {
            let left = self.listener.connections();
            tracing::warn!(
                connections = left,
                "{left} connections did not finish in time and were cut"
            );
        }
        if tokio::time::timeout(CHANGES_END_WITHIN, self.changes.ended())
            .await
            .is_err()
        {
            tracing::warn!("changes whose clients have gone did not end in time and were cut");
        }
        self.comms.close().await;
        self.grid.close().await;
        self.store.close().await;
        self.telemetry.close().await;
        tracing::info!("stopped");
    }
}

impl From<Profile> for gridpost_api::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Development => Self::Development,
            Profile::Production => Self::Production,
        }
    }
}

fn running(config: &Config, data: &Path, bound: SocketAddr, clock: &dyn Clock) -> Running {
    let mut address = bound;
    if address.ip().is_unspecified() {
        // Listening everywhere includes this machine, and this is how commands reach it.
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let url = match config.public_url.trim_end_matches('/') {
        "" => format!("https://{address}"),
        given => given.to_owned(),
    };
    let authority = config
        .tls
        .own_files()
        .is_none()
        .then(|| Folder::of(data).authority());
    Running {
        process: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        profile: config.profile,
        address,
        url,
        authority,
        started: clock.now(),
    }
}

fn identity(config: &Config, data: &Path, sources: &Sources) -> anyhow::Result<Identity> {
    match config.tls.own_files() {
        Some((certificate, key)) => Identity::read(certificate, key),
        // Clients judge a certificate by the real time, so a virtual clock must not date it.
        None => {
            let now = SystemClock::default().now().max(sources.clock.wall());
            Folder::of(data)
                .ready(now, &config.host_names)
                .context("making the development certificate")
        }
    }
}

async fn open_store(
    config: &Config,
    data: &Path,
    sources: &Sources,
) -> anyhow::Result<(Store, Recovery)> {
    let mut options = Options::new(data.join("store"), Arc::clone(&sources.clock));
    options.retention = config.store.retention();
    options.retention_bytes = config.store.retention_bytes();
    options.accept_damage = config.store.accept_damage;
    let opened = tokio::task::spawn_blocking(move || Store::open(options)).await;
    let (store, recovery) = opened
        .context("opening the store")?
        .context("opening the store")?;
    for note in &recovery.notes {
        tracing::warn!("the store was not closed in order: {note}");
    }
    if recovery.discarded_bytes > 0 {
        let bytes = recovery.discarded_bytes;
        tracing::warn!(
            size_bytes = bytes,
            "{bytes} bytes at the end of the journal were never acknowledged and were discarded"
        );
    }
    Ok((store, recovery))
}

fn open_grid(
    config: &Config,
    running: &Running,
    store: &Store,
    recovery: &Recovery,
    sources: &Sources,
    supervisor: &Supervisor,
    telemetry: &Telemetry,
) -> anyhow::Result<Grid> {
    let settings = gridpost_grid::Settings {
        clock: Arc::clone(&sources.clock),
        chance: Arc::clone(&sources.chance),
        outbound: outbound_settings(config, running)?,
        public_url: running.url.clone(),
        tracing: telemetry.tracing(),
        spawn: spawn(supervisor),
        limits: Limits {
            connections: config.outbound.connections(),
            dead_letters: config.dead_letters.retention(),
            ..Limits::default()
        },
        tokens: Some(Arc::new(own_issuer(config, running, sources)?)),
    };
    Grid::open(store.clone(), recovery, settings).context("starting the event router")
}

/// Issues tokens for Entra-protected endpoints with the keys of our own token endpoint.
fn own_issuer(config: &Config, running: &Running, sources: &Sources) -> anyhow::Result<OwnIssuer> {
    Ok(OwnIssuer {
        keys: token_keys(&config.data)?,
        clock: Arc::clone(&sources.clock),
        base_url: running.url.clone(),
        tenant_id: TENANT.into(),
    })
}

fn outbound_settings(config: &Config, running: &Running) -> anyhow::Result<outbound::Settings> {
    let allowed = |choice: crate::config::Choice| choice.allowed_in(config.profile);
    let mut extra_roots = Vec::new();
    // Our own sinks are served with a certificate of our own authority.
    for path in running
        .authority
        .as_deref()
        .into_iter()
        .chain(config.outbound.extra_ca_file())
    {
        for certificate in CertificateDer::pem_file_iter(path)
            .with_context(|| format!("reading the certificate authority {}", path.display()))?
        {
            let certificate = certificate
                .with_context(|| format!("reading the certificate authority {}", path.display()))?;
            extra_roots.push(certificate.to_vec());
        }
    }
    Ok(outbound::Settings {
        reach: Reach {
            loopback: allowed(config.outbound.allow_loopback),
            private: allowed(config.outbound.allow_private),
            link_local: false,
        },
        plain_http: allowed(config.outbound.allow_http),
        extra_roots,
        connections: handlers::connections(&config.handlers, &environment)?,
    })
}

fn open_comms(
    config: &Config,
    running: &Running,
    store: &Store,
    grid: &Grid,
    handsets: &Handsets,
    sources: &Sources,
    supervisor: &Supervisor,
) -> anyhow::Result<Comms> {
    let host_name = running
        .url
        .split("://")
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    let settings = gridpost_comms::Settings {
        clock: Arc::clone(&sources.clock),
        chance: Arc::clone(&sources.chance),
        spawn: spawn(supervisor),
        host_name,
        rate_limits: config.rate_limits.limits(),
    };
    Comms::open(
        store.clone(),
        grid.clone(),
        Arc::new(handsets.clone()),
        settings,
    )
    .context("starting the communication services")
}

fn spawn(supervisor: &Supervisor) -> Spawn {
    let supervisor = supervisor.clone();
    Arc::new(move |name, task| supervisor.spawn(name, task))
}

/// The key that signs bearer tokens, made at the first start.
fn token_keys(data: &Path) -> anyhow::Result<TokenKeys> {
    let path = data.join(TOKEN_KEY);
    if !path.exists() {
        files::write_private(&path, &TokenKeys::generate()?)?;
    }
    read_token_keys(data)
}

const TOKEN_KEY: &str = "token.key";

/// The key that signs the bearer tokens of a data folder's server.
///
/// # Errors
/// There is none that can be read.
pub(crate) fn read_token_keys(data: &Path) -> anyhow::Result<TokenKeys> {
    let path = data.join(TOKEN_KEY);
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    TokenKeys::from_pkcs8(&bytes).with_context(|| {
        format!(
            "{} is damaged; remove it to have a new one made",
            path.display()
        )
    })
}
