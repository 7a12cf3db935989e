//! `gridpost bench`: what durability costs, measured on this machine in one run.
//!
//! Promise: every figure is a ratio to, or stands beside, a relay without storage built from the same HTTP stack and
//! measured in the same minutes; nothing is compared with numbers from another day.
//! Source of the goals: docs/performance.md.

mod breadth;
mod cases;
mod chat;
mod endpoint;
mod load;
mod measure;
mod relay;
mod report;
mod stopwatch;
mod subject;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

pub use relay::Shape;
use report::Report;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Seconds of load for each figure.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How often the raw relay and Gridpost are measured in turn; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measure only these groups.
    #[arg(long, value_delimiter = ',')]
    only: Vec<cases::Group>,
    /// A folder for the data of the measured server, instead of a temporary one: choose the disk to measure.
    #[arg(long)]
    folder: Option<std::path::PathBuf>,
}

impl Args {
    fn span(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn wants(&self, group: cases::Group) -> bool {
        self.only.is_empty() || self.only.contains(&group)
    }
}

/// Measures, telling each step on the standard error, and returns the report.
///
/// # Errors
/// A server could not be started or set up, or the disk is full.
pub async fn run(args: &Args) -> anyhow::Result<Report> {
    cases::run(args).await
}

/// Serves the relay without storage; the body of the hidden command `bench-relay`.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve_relay(
    listen: SocketAddr,
    endpoint: SocketAddr,
    shape: Shape,
) -> anyhow::Result<()> {
    relay::serve(listen, endpoint, shape).await
}

/// Tells a person what is being measured now.
#[expect(
    clippy::print_stderr,
    reason = "the report goes to the standard output, progress beside it"
)]
fn report_step(step: &str) {
    eprintln!("  {step}");
}

/// The measuring program is not the product: its tasks need no supervisor.
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}
