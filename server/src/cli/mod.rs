//! The command line.
//!
//! Promise: every command writes its result to the standard output, as text or with `--output json`, everything else
//! to the standard error stream, and ends with a documented number. Documented in docs/cli.md.

mod apply;
mod audit;
mod clock;
mod config;
mod dead_letter;
mod demo;
mod doctor;
mod env;
mod events;
mod examples;
mod fault;
mod import;
mod naming;
mod principal;
mod render;
mod replay;
mod resources;
mod role;
mod serve;
mod sms;
mod try_filter;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::{Config, Flags, Log, LogFormat, Profile};
use crate::output::{self, Exit, Failure, Format, Output};
use crate::{bench, crash};
use resources::{Hands, communication, domain, event_subscription, group, system_topic, topic};

/// An SMS arrives, a webhook hears of it, and nothing is lost.
#[derive(Parser)]
#[command(name = "gridpost", version, max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What stands above the options that every command has, behind those of its own.
const COMMON: &str = "Common options";

/// What every command understands.
#[derive(clap::Args)]
struct Common {
    /// A configuration file (`gridpost config` shows the settings)
    #[arg(long, global = true, help_heading = COMMON, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data folder [default: $GRIDPOST_DATA or ./.gridpost]
    #[arg(long, global = true, help_heading = COMMON, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How results are written
    #[arg(short, long, global = true, help_heading = COMMON, value_enum, default_value_t)]
    output: Format,
}

/// Where and how to serve.
#[derive(clap::Args)]
struct Serving {
    /// The address and port to listen on, for HTTP and HTTPS alike; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Which rules apply
    #[arg(long, value_enum)]
    profile: Option<Profile>,
}

/// Where and how to serve, and what.
#[derive(clap::Args)]
struct Serve {
    #[command(flatten)]
    serving: Serving,
    /// A file of resources to make at the start, as `gridpost apply` does
    #[arg(long, value_name = "FILE")]
    apply: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until told to stop
    #[command(after_help = examples::SERVE)]
    Serve(Serve),
    /// Serve, receive a text, and show the webhook request that it causes
    Demo(demo::Arguments),
    /// Print what points SDKs, az and your application at the running server
    #[command(after_help = examples::ENV)]
    Env(env::Arguments),
    /// Make resources as a file says
    #[command(after_help = examples::APPLY)]
    Apply(apply::Apply),
    /// Write the file that makes the resources that are there
    Export(apply::Export),
    /// Turn a simulator's configuration into a file for apply
    Import(import::Arguments),
    /// Resource groups
    #[command(subcommand)]
    Group(group::Command),
    /// Custom topics
    #[command(subcommand)]
    Topic(topic::Command),
    /// Domains and their topics
    #[command(subcommand)]
    Domain(domain::Command),
    /// System topics: the events of other resources
    #[command(subcommand)]
    SystemTopic(system_topic::Command),
    /// Event subscriptions
    #[command(subcommand)]
    EventSubscription(event_subscription::Command),
    /// Communication resources
    #[command(subcommand)]
    Communication(communication::Command),
    /// Print what lets a shell complete commands and flags
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Receive and send texts
    #[command(subcommand)]
    Sms(sms::Command),
    /// See what happens to events
    #[command(subcommand)]
    Events(events::Command),
    /// See and send again what could not be delivered
    #[command(subcommand)]
    DeadLetter(dead_letter::Command),
    /// Let deliveries go wrong on purpose, in the development profile
    #[command(subcommand)]
    Fault(fault::Command),
    /// See and move on the clock of a server in the development profile
    #[command(subcommand)]
    Clock(clock::Command),
    /// Make and delete the principals that sign in
    #[command(subcommand)]
    Principal(principal::Command),
    /// Decide who may do what
    #[command(subcommand)]
    Role(role::Command),
    /// See who did what, when
    Audit(audit::Arguments),
    /// Check that everything is as it should be, and say what to do when it is not
    Doctor,
    /// Print every setting with its default and explanation
    Config,
    /// Measure this machine: Gridpost beside a relay without storage
    Bench(bench::Args),
    /// The relay that `bench` measures against
    #[command(hide = true)]
    BenchRelay {
        listen: std::net::SocketAddr,
        endpoint: std::net::SocketAddr,
        shape: bench::Shape,
    },
    /// Kill a server again and again and prove that it loses nothing
    #[command(hide = true)]
    CrashTest(crash::Arguments),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && wants_json(std::env::args()) => {
            let words = error.render().to_string();
            let words = words.trim().trim_start_matches("error: ");
            let failure = Failure::said(Exit::Usage, words);
            Output::new(Format::Json).failure(&failure);
            return failure.exit.into();
        }
        Err(error) => error.exit(),
    };
    let output = Output::new(cli.common.output);
    match run(cli, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}

/// Whether a command line that cannot be understood asks for JSON.
fn wants_json(words: impl Iterator<Item = String>) -> bool {
    let words: Vec<String> = words.collect();
    words.iter().any(|word| word == "--output=json")
        || words
            .windows(2)
            .any(|pair| ["--output", "-o"].contains(&&*pair[0]) && pair[1] == "json")
}

fn run(cli: Cli, output: Output) -> Result<(), Failure> {
    let mut flags = Flags {
        config: cli.common.config,
        data: cli.common.data,
        ..Flags::default()
    };
    if let Command::Serve(Serve { apply, .. }) = &cli.command {
        flags.apply.clone_from(apply);
    }
    if let Command::Serve(Serve { serving, .. }) | Command::Demo(demo::Arguments { serving, .. }) =
        &cli.command
    {
        flags.listen.clone_from(&serving.listen);
        flags.profile = serving.profile;
    }
    let wrong = |error| Failure::new(Exit::Usage, error);
    let config = Config::load(&flags).map_err(wrong)?;
    let mut strangers = Vec::new();
    if matches!(cli.command, Command::Serve(_) | Command::Demo(_)) {
        config.check_address().map_err(wrong)?;
        strangers = config.check_variables().map_err(wrong)?;
    }
    match cli.command {
        Command::Serve(_) => {
            start_log(&config.log)?;
            for variable in strangers {
                tracing::warn!(
                    variable,
                    "{variable} is set in the environment, and is no setting"
                );
            }
            on_all_cores(serve::run(config, output))
        }
        Command::Demo(arguments) => {
            // The demonstration speaks for itself; only what is strange belongs beside it.
            start_log(&Log {
                filter: "warn".into(),
                ..config.log.clone()
            })?;
            on_all_cores(demo::run(&arguments, config, output))
        }
        Command::Env(arguments) => on_one_core(env::run(&arguments, &config, output)),
        Command::Apply(arguments) => on_one_core(apply::apply(&arguments, &config, output)),
        Command::Export(arguments) => on_one_core(apply::export(&arguments, &config, output)),
        Command::Import(arguments) => import::run(&arguments, output),
        Command::Group(command) => {
            on_one_core(async { group::run(command, &Hands::find(&config, output)?).await })
        }
        Command::Topic(command) => {
            on_one_core(async { topic::run(command, &Hands::find(&config, output)?).await })
        }
        Command::Domain(command) => {
            on_one_core(async { domain::run(command, &Hands::find(&config, output)?).await })
        }
        Command::SystemTopic(command) => {
            on_one_core(async { system_topic::run(command, &Hands::find(&config, output)?).await })
        }
        Command::EventSubscription(command) => on_one_core(async {
            event_subscription::run(command, &Hands::find(&config, output)?).await
        }),
        Command::Communication(command) => {
            on_one_core(async { communication::run(command, &Hands::find(&config, output)?).await })
        }
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "gridpost", &mut script);
            output::print(&String::from_utf8_lossy(&script));
            Ok(())
        }
        Command::Sms(command) => on_one_core(sms::run(command, &config, output)),
        Command::Events(command) => on_one_core(events::run(command, &config, output)),
        Command::DeadLetter(command) => on_one_core(dead_letter::run(command, &config, output)),
        Command::Fault(command) => on_one_core(fault::run(command, &config, output)),
        Command::Clock(command) => on_one_core(clock::run(command, &config, output)),
        Command::Principal(command) => on_one_core(principal::run(command, &config, output)),
        Command::Role(command) => on_one_core(role::run(command, &config, output)),
        Command::Audit(arguments) => on_one_core(audit::run(&arguments, &config, output)),
        Command::Doctor => on_one_core(doctor::run(&config, output)),
        Command::Config => {
            config::run();
            Ok(())
        }
        Command::Bench(arguments) => on_all_cores(async move {
            let report = bench::run(&arguments).await?;
            output.result(&report, ToString::to_string);
            Ok(report.complete()?)
        }),
        Command::BenchRelay {
            listen,
            endpoint,
            shape,
        } => on_all_cores(async move { Ok(bench::serve_relay(listen, endpoint, shape).await?) }),
        Command::CrashTest(arguments) => on_all_cores(crash::command(arguments, output)),
    }
}

/// Runs a command on one thread for each core.
fn on_all_cores<F: Future<Output = Result<(), Failure>>>(command: F) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, error))?;
    let done = runtime.block_on(command);
    // Whatever still runs has no promise left to keep: the store is closed or nothing was served.
    runtime.shutdown_background();
    done
}

fn on_one_core<F: Future<Output = Result<(), Failure>>>(command: F) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .map_err(|error| Failure::new(Exit::Failed, error))?
        .block_on(command)
}

fn start_log(log: &Log) -> Result<(), Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(&log.filter).map_err(|error| {
        Failure::said(
            Exit::Usage,
            format!("log.filter cannot be {:?}: {error}", log.filter),
        )
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder
            .with_ansi(output::is_watched())
            .with_target(false)
            .init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_line_that_asks_for_json_is_answered_in_json_even_when_it_is_wrong() {
        let asks = |line: &str| wants_json(line.split(' ').map(str::to_owned));
        assert!(asks("gridpost nonsense --output json"));
        assert!(asks("gridpost --output=json nonsense"));
        assert!(!asks("gridpost --output human json"));
    }

    #[test]
    fn every_command_is_documented() {
        let page = include_str!("../../../docs/cli.md");
        for command in Cli::command()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
        {
            let name = command.get_name();
            assert!(
                page.contains(&format!("gridpost {name}")),
                "docs/cli.md lacks `{name}`"
            );
            for below in command.get_subcommands() {
                let full = format!("gridpost {name} {}", below.get_name());
                assert!(page.contains(&full), "docs/cli.md lacks `{full}`");
                for last in below.get_subcommands() {
                    let full = format!("{full} {}", last.get_name());
                    assert!(page.contains(&full), "docs/cli.md lacks `{full}`");
                }
            }
        }
    }
}
