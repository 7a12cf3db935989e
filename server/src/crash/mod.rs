//! The proof that a crash loses nothing: `cargo xtask crash`, and a short form of it in the tests.
//!
//! Publishers publish, handsets text and two users chat while the server is killed again and again at random moments, now and then
//! while it is still recovering from the time before. A ledger outside of it notes what was acknowledged and what
//! arrived. In the end everything acknowledged must have arrived or be a dead letter, and what arrived twice must
//! have done so across a kill. Of the chat, every message that was acknowledged must be in its thread, every message
//! in the thread must have its events, and every event its message.
//! Not here: crashes of the machine and of the disk; `store` proves those on images cut at every byte.

mod endpoint;
mod ledger;
mod life;
mod load;
mod talk;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use gridpost_model::{Chance, Clock as _};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde::Serialize;

use crate::conversation::Conversation;
use crate::output::{Exit, Failure, Output};
use crate::real::{SystemChance, SystemClock, nap};
use endpoint::Endpoint;
use ledger::Ledger;
use life::Life;
pub use talk::ChatReport;

/// What is to be done.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// How often to kill
    #[arg(long, default_value_t = 50)]
    pub kills: u32,
    /// The number that repeats a run's choice of moments [default: a fresh one]
    #[arg(long)]
    pub seed: Option<u64>,
    /// The program to kill [default: this one]
    #[arg(long)]
    pub program: Option<PathBuf>,
    /// Publishers to a custom topic
    #[arg(long, default_value_t = 6)]
    pub publishers: u32,
    /// Handsets that text
    #[arg(long, default_value_t = 2)]
    pub handsets: u32,
    /// Those who chat, in one thread of two members
    #[arg(long, default_value_t = 2)]
    pub talkers: u32,
    /// Also let the endpoint fail at the first attempt of some events, which makes them wait for a retry
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub retries: bool,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How often the server was killed.
    pub kills: u32,
    /// How many of those kills met it before it was ready.
    pub kills_while_starting: u32,
    /// What publishers and handsets were told is kept.
    pub acknowledged: usize,
    /// What of that arrived.
    pub delivered: usize,
    /// What of that is a dead letter instead.
    pub dead_lettered: usize,
    /// What of that is neither.
    pub lost: usize,
    /// Some of the lost, by name.
    pub lost_examples: Vec<String>,
    /// What arrived although its publisher was never answered; that is allowed.
    pub unacknowledged_delivered: usize,
    /// Arrivals beyond the first.
    pub duplicates: usize,
    /// Arrivals beyond the first within one life of the server; there must be none.
    pub duplicates_without_kill: usize,
    /// What came of the chat.
    pub chat: ChatReport,
    /// How long it all took.
    pub seconds: f64,
}

impl Report {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicates_without_kill == 0 && self.chat.is_clean()
    }
}

/// A life ends at a random moment between these; long enough that some work is done in it.
const LIFE: std::ops::Range<u64> = 100..1500;

/// One life in five ends within this long after its start, mostly before it is ready.
const SHORT_LIFE: std::ops::Range<u64> = 1..60;

/// How long the last life may take to deliver what is left. The first retry alone comes after ten seconds.
const AFTERMATH: Duration = Duration::from_secs(120);

/// The command `gridpost crash-test`.
///
/// # Errors
/// A promise was broken, or the test could not be run.
pub async fn command(arguments: Arguments, output: Output) -> Result<(), Failure> {
    let report = run(&arguments, &|words| output.note(words)).await?;
    output.result(&report, told);
    if report.is_clean() {
        return Ok(());
    }
    Err(Failure::said(
        Exit::Failed,
        format!("a promise was broken; repeat with --seed {}", report.seed),
    ))
}

/// Runs the test, telling what is going on.
///
/// # Errors
/// The test could not be run; broken promises are in the report.
pub async fn run(arguments: &Arguments, tell: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let clock = SystemClock::default();
    let began = clock.now();
    let chance: &dyn Chance = &SystemChance;
    let seed = arguments.seed.unwrap_or_else(|| chance.number() >> 16);
    let mut moments = SmallRng::seed_from_u64(seed);
    tell(&format!("seed {seed}"));

    let folder = tempfile::tempdir().context("making a temporary folder")?;
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("finding this program")?,
    };
    let ledger = Arc::new(Ledger::default());
    let endpoint = Endpoint::open(Arc::clone(&ledger), arguments.retries).await?;
    let mut life = Life::begin(&program, folder.path(), None)?;
    life.until_ready().await?;
    let port = life
        .address()
        .context("the server did not say where it listens")?;
    let client = life.client()?;
    let topic_key = life::prepare(&client, &endpoint.url()).await?;
    let conversation = Conversation::begin(&client, clock.now()).await?;

    let working = Arc::new(AtomicBool::new(true));
    let load = load::start(
        arguments,
        port,
        &topic_key,
        &conversation,
        &ledger,
        &working,
    );

    let mut kills_while_starting = 0;
    for kill in 1..=arguments.kills {
        let span = if moments.random_ratio(1, 5) {
            SHORT_LIFE
        } else {
            LIFE
        };
        let millis = Duration::from_millis(moments.random_range(span));
        let ready = life.ready_within(millis).await?;
        kills_while_starting += u32::from(!ready);
        life.kill().await?;
        ledger.next_life();
        if kill % 10 == 0 {
            tell(&format!(
                "{kill} kills, {} acknowledged",
                ledger.acknowledged()
            ));
        }
        life = Life::begin(&program, folder.path(), Some(port))?;
    }
    life.until_ready().await?;
    nap(Duration::from_millis(300)).await;
    working.store(false, Ordering::Relaxed);
    for task in load {
        task.await.context("a publisher failed")?;
    }

    tell(&format!(
        "{} acknowledged; waiting for what has not arrived",
        ledger.acknowledged()
    ));
    let client = life.client()?;
    let thread = talk::said(&client, &conversation).await?;
    let deadline = clock.now() + AFTERMATH;
    loop {
        ledger.note_dead_letters(&client).await?;
        let chat = ledger.talk.report(&thread);
        let all = ledger.missing().is_empty() && chat.messages_without_events == 0;
        if all || deadline < clock.now() {
            break;
        }
        nap(Duration::from_millis(100)).await;
    }
    // What comes once too often comes right after.
    nap(Duration::from_millis(300)).await;
    life.kill().await?;
    let seconds = clock.now().since(began).as_secs_f64();
    let chat = ledger.talk.report(&thread);
    Ok(ledger.report(seed, arguments.kills, kills_while_starting, seconds, chat))
}

fn told(report: &Report) -> String {
    let mut text = format!(
        "{} kills ({} while starting) in {:.0} s\n\
         acknowledged   {}\n\
         delivered      {}\n\
         dead-lettered  {}\n\
         lost           {}\n\
         duplicates     {}, of which without a kill {}\n\
         chat           {} messages, {} acknowledged, {} of them lost; {} without an event, {} events without a message, \
         {} told twice; {} duplicates, of which without a kill {}\n",
        report.kills,
        report.kills_while_starting,
        report.seconds,
        report.acknowledged,
        report.delivered,
        report.dead_lettered,
        report.lost,
        report.duplicates,
        report.duplicates_without_kill,
        report.chat.messages,
        report.chat.acknowledged,
        report.chat.lost,
        report.chat.messages_without_events,
        report.chat.events_without_message,
        report.chat.told_twice,
        report.chat.duplicates,
        report.chat.duplicates_without_kill,
    );
    for message in &report.chat.examples {
        text.push_str(&format!("chat message: {message}\n"));
    }
    for name in &report.lost_examples {
        text.push_str(&format!("lost: {name}\n"));
    }
    text
}
