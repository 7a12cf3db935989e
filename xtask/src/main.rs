//! The project's automation: `cargo xtask <command>`.
//!
//! Promise: whatever the gate checks can be run here by a person, with the same result; what a step needs it installs
//! itself under `target/xtask`, says so first, and needs no network once that is done.
//! Not here: the product. Nothing of `xtask` is in the binary.

mod bench;
mod ci;
mod clock;
mod command;
mod conformance;
mod crash;
mod demo;
mod examples;
mod fuzz;
mod generate;
mod handlers;
mod output;
mod server;
mod steps;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, checks and measures Gridpost")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything the gate runs
    Ci(ci::Arguments),
    /// Check what the compiler does not: layering, headings, links, generated pages, the event catalogue
    Tidy,
    /// Write the generated pages: docs/events.md and docs/configuration.md
    Generate,
    /// Run the unmodified public clients against a server
    Conformance(conformance::Arguments),
    /// Run what is in `examples/`: az subscribes, a handset texts, a webhook acts; installs what they need
    Examples(examples::Arguments),
    /// Deliver to real peers: install and start them, and run the tests that need them
    Handlers(handlers::Arguments),
    /// Kill a server again and again while publishers keep a ledger; nothing acknowledged may be lost
    Crash(crash::Arguments),
    /// Try parsers and recovery with inputs that a fuzzer makes; needs a nightly compiler
    Fuzz(fuzz::Arguments),
    /// Run `gridpost demo --once` and check the request it prints
    Demo,
    /// Run `gridpost bench` in a release build
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Ci(arguments) => ci::run(&arguments),
        Command::Tidy => tidy::run(),
        Command::Generate => generate::run(),
        Command::Conformance(arguments) => conformance::run(&arguments),
        Command::Examples(arguments) => examples::run(&arguments),
        Command::Handlers(arguments) => handlers::run(&arguments),
        Command::Crash(arguments) => crash::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Demo => demo::run(),
        Command::Bench(arguments) => bench::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
