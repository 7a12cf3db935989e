//! `cargo xtask crash`: a server killed again and again, and an external ledger of what it acknowledged.
//!
//! Promise: fails if one acknowledged event is neither delivered nor dead-lettered, or if one is delivered twice with
//! no kill between the two.
//! Not here: power loss (the store's own tests cut and flip its files), random faults inside the process (`sim`).

mod endpoint;
mod ledger;
mod publisher;
mod setup;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use self::endpoint::Endpoint;
use self::ledger::{Ledger, Score};
use self::publisher::{Publisher, Route};
use crate::server::{Build, Server, build};
use crate::{clock, output};

/// Retries come after 10 and 30 seconds, probation may add its own; a settled end needs a few of them.
const SETTLE: Duration = Duration::from_secs(240);

/// What `crash` can be told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How often the server is killed
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// Concurrent publishers
    #[arg(long, default_value_t = 8)]
    publishers: u32,
    /// What the moments of the kills are drawn from; the present time if not given
    #[arg(long)]
    seed: Option<u64>,
    /// Use a release build of the server
    #[arg(long)]
    release: bool,
}

impl Arguments {
    /// The short run that belongs to every check of the project.
    pub(crate) fn short() -> Self {
        Self {
            kills: 8,
            publishers: 4,
            seed: None,
            release: false,
        }
    }
}

/// Runs the test.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let seed = arguments
        .seed
        .unwrap_or_else(|| u64::from(std::process::id()));
    let binary = build(if arguments.release {
        Build::Release
    } else {
        Build::Development
    })?;
    output::line(&format!(
        "{} kills, {} publishers, seed {seed}",
        arguments.kills, arguments.publishers
    ));

    let ledger = Arc::new(Ledger::default());
    let endpoint = Endpoint::serve(Arc::clone(&ledger))?;
    let mut server = Server::start(&binary)?;
    let topic = setup::provision(&server, &endpoint)?;
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<JoinHandle<u64>> = (0..arguments.publishers)
        .map(|number| {
            let route = if number % 4 == 3 {
                Route::Text
            } else {
                Route::Topic(topic.clone())
            };
            let publisher = Publisher::new(number, server.address(), route, Arc::clone(&ledger));
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || publisher.run(&stop))
        })
        .collect();

    let slowest = kill_repeatedly(&mut server, &endpoint, &ledger, arguments.kills, seed)?;
    stop.store(true, Ordering::Relaxed);
    let mut refused = 0;
    for publisher in publishers {
        refused += publisher.join().ok().context("a publisher panicked")?;
    }
    output::line(&format!(
        "{} events acknowledged; waiting for the last of them",
        ledger.acknowledged()
    ));
    let score = settle(&server, &ledger)?;
    report(&score, refused, slowest);
    judge(&score, arguments.kills)
}

fn kill_repeatedly(
    server: &mut Server,
    endpoint: &Endpoint,
    ledger: &Ledger,
    kills: u32,
    seed: u64,
) -> Result<Duration> {
    let mut chance = Chance(seed);
    let mut slowest = Duration::ZERO;
    for number in 1..=kills {
        // Short lives hit recovery and the first segment, longer ones hit checkpoints and retries.
        clock::pause(Duration::from_millis(50 + chance.below(1200)));
        server.kill()?;
        endpoint.drain()?;
        ledger.killed();
        slowest = slowest.max(
            server
                .restart()
                .with_context(|| format!("after kill {number}"))?,
        );
        if number % 10 == 0 {
            output::line(&format!(
                "{number} kills, {} events acknowledged",
                ledger.acknowledged()
            ));
        }
    }
    Ok(slowest)
}

/// Waits until nothing acknowledged is missing, or until waiting longer would not help.
fn settle(server: &Server, ledger: &Ledger) -> Result<Score> {
    let started = clock::now();
    loop {
        let dead = setup::dead_letters(server)?;
        let score = ledger.score(&dead);
        if score.missing.is_empty() || started.elapsed() > SETTLE {
            return Ok(score);
        }
        clock::pause(Duration::from_millis(500));
    }
}

fn report(score: &Score, refused: u64, slowest: Duration) {
    output::line(&format!(
        "acknowledged {}, deliveries owed {}, delivered {}, dead-lettered {}, missing {}",
        score.acknowledged,
        score.owed,
        score.delivered,
        score.dead_lettered,
        score.missing.len(),
    ));
    output::line(&format!(
        "delivered twice {} times after a kill and {} times without one; {refused} requests not acknowledged; slowest start {slowest:?}",
        score.repeated_after_kill,
        score.repeated_without_kill.len(),
    ));
}

fn judge(score: &Score, kills: u32) -> Result<()> {
    ensure!(
        score.acknowledged > u64::from(kills),
        "too little was published to prove anything"
    );
    ensure!(
        score.delivered > 0 && score.dead_lettered > 0,
        "both endings must have happened"
    );
    if let Some((lane, id)) = score.missing.first() {
        bail!(
            "{} acknowledged events are lost, the first is {id} for {lane}",
            score.missing.len()
        );
    }
    if let Some((lane, id)) = score.repeated_without_kill.first() {
        bail!("{id} was delivered to {lane} twice with no kill between");
    }
    Ok(())
}

/// A small generator (splitmix64), so that a seed repeats the moments of the kills.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score() -> Score {
        Score {
            acknowledged: 100,
            owed: 100,
            delivered: 90,
            dead_lettered: 10,
            ..Score::default()
        }
    }

    #[test]
    fn a_whole_ledger_passes() {
        judge(&score(), 50).unwrap();
    }

    #[test]
    fn one_lost_event_fails() {
        let missing = vec![("steady".to_owned(), "7".to_owned())];
        assert!(judge(&Score { missing, ..score() }, 50).is_err());
    }

    #[test]
    fn a_repeat_without_a_kill_fails_and_one_after_a_kill_does_not() {
        let repeated_without_kill = vec![("steady".to_owned(), "7".to_owned())];
        assert!(
            judge(
                &Score {
                    repeated_without_kill,
                    ..score()
                },
                50
            )
            .is_err()
        );
        judge(
            &Score {
                repeated_after_kill: 3,
                ..score()
            },
            50,
        )
        .unwrap();
    }

    #[test]
    fn a_run_that_proved_nothing_fails() {
        assert!(
            judge(
                &Score {
                    acknowledged: 10,
                    ..score()
                },
                50
            )
            .is_err()
        );
        assert!(
            judge(
                &Score {
                    dead_lettered: 0,
                    ..score()
                },
                50
            )
            .is_err()
        );
    }
}
