//! Examples that stand below the help of the commands that people begin with.
//!
//! Promise: every line is one that the command line understands.

/// Below `gridpost serve --help`.
pub(super) const SERVE: &str = "\
Examples:
  gridpost serve
  gridpost serve --data /var/lib/gridpost --listen 127.0.0.1:0 --apply grid.toml
  gridpost serve --config gridpost.toml --profile production";

/// Below `gridpost env --help`.
pub(super) const ENV: &str = "\
Examples:
  eval \"$(gridpost env)\"
  eval \"$(gridpost env --az)\"
  gridpost env --dotenv > .env";

/// Below `gridpost apply --help`.
pub(super) const APPLY: &str = "\
Examples:
  gridpost apply -f grid.toml --dry-run
  gridpost export | gridpost apply -f - --data ./another";

/// Below `gridpost topic create --help`.
pub(super) const TOPIC: &str = "\
Examples:
  gridpost topic create -n orders --tags team=shop
  gridpost topic create -n clouds --input-schema cloudeventschemav1_0";

/// Below `gridpost event-subscription create --help`.
pub(super) const SUBSCRIPTION: &str = "\
Examples:
  gridpost event-subscription create -n texts --endpoint https://localhost:3001/hook --included-event-types Microsoft.Communication.SMSReceived --subject-begins-with phonenumber/1555
  gridpost event-subscription create -n big --topic-name orders --endpoint https://localhost:3001/hook --advanced-filter data.total NumberGreaterThan 100
  gridpost event-subscription create -n chat --endpoint https://localhost:3001/hook --event-delivery-schema cloudeventschemav1_0";

/// Below `gridpost sms send --help`.
pub(super) const SMS_SEND: &str = "\
Examples:
  gridpost sms send --to +15555550123 'Your order is on its way'
  gridpost sms send --to +15555550123 --to +15555550124 --report Hello";

/// Below `gridpost sms receive --help`.
pub(super) const SMS_RECEIVE: &str = "\
Examples:
  gridpost sms receive Hello
  gridpost sms receive --from +15555550199 STOP";

/// Below `gridpost events tail --help`.
pub(super) const TAIL: &str = "\
Examples:
  gridpost events tail
  gridpost events tail --subscription texts --type SMSReceived
  gridpost events tail --count 1 --output json";

/// Below `gridpost events wait --help`.
pub(super) const WAIT: &str = "\
Examples:
  gridpost events wait --type SMSReceived --timeout 60
  gridpost events wait --subject thread/ --output json";

/// Below `gridpost events replay --help`.
pub(super) const REPLAY: &str = "\
Examples:
  gridpost events replay --subscription texts --from 2026-11-22T09:00:00Z --to 2026-11-22T10:00:00Z --dry-run
  gridpost events replay --subscription texts --event 9d1b4f0e-6c4b-4f0e-9d1b-6c4b4f0e9d1b";

/// Below `gridpost dead-letter redrive --help`.
pub(super) const REDRIVE: &str = "\
Examples:
  gridpost dead-letter redrive
  gridpost dead-letter redrive --subscription texts";

/// Below `gridpost fault set --help`.
pub(super) const FAULT: &str = "\
Examples:
  gridpost fault set busy --status 503 --subscription texts --times 3
  gridpost fault set slow --delay 2s --probability 0.1 --expires-in 5m";

/// Below `gridpost clock advance --help`.
pub(super) const ADVANCE: &str = "\
Examples:
  gridpost clock advance 1h
  gridpost clock advance '1d 30m' --patience 2s
  gridpost clock advance --to 2026-12-01T00:00:00Z";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::super::Cli;

    /// The words of a line as a shell has them, as far as the examples need one.
    fn words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (index, part) in line.split('\'').enumerate() {
            match index % 2 {
                0 => words.extend(part.split_whitespace().map(str::to_owned)),
                _ => words.push(part.to_owned()),
            }
        }
        words
    }

    fn examples_below(command: &clap::Command, into: &mut Vec<String>) {
        let after = command.get_after_help().map(ToString::to_string);
        into.extend(
            after
                .iter()
                .flat_map(|text| text.lines().skip(1).map(str::to_owned)),
        );
        for below in command.get_subcommands() {
            examples_below(below, into);
        }
    }

    #[test]
    fn every_example_is_understood() {
        let mut lines = Vec::new();
        examples_below(&Cli::command(), &mut lines);
        assert!(lines.len() > 25, "{lines:?}");
        for line in lines {
            let inner = line
                .trim()
                .trim_start_matches("eval \"$(")
                .trim_end_matches(")\"");
            for one in inner.split(" | ") {
                let one = one.split(" > ").next().unwrap();
                if let Err(error) = Cli::try_parse_from(words(one)) {
                    panic!("{line}: {error}");
                }
            }
        }
    }
}
