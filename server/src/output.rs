//! What the program says, and how it ends.
//!
//! Promise: the only module that prints. Results go to the standard output, as text for people or as JSON; everything
//! else goes to the standard error stream. Nothing is coloured or animated unless a terminal is looking. A reader that
//! has gone away is not an error.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::future::Future;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use crate::real::nap;

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    #[value(alias = "table")]
    Human,
    /// One JSON document, or one a line where there is no end.
    Json,
}

/// How the program ends. Documented in docs/cli.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did not work.
    Failed = 1,
    /// The command line is wrong. (`clap` uses the same number.)
    Usage = 2,
    /// No server is running for the data folder, or it cannot be reached.
    NoServer = 3,
    /// What was waited for did not come in time.
    TimedOut = 4,
    /// The server refused.
    Refused = 5,
    /// `doctor` found something that has to be repaired.
    Trouble = 6,
}

/// A command that did not work.
#[derive(Debug)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// Why.
    pub error: anyhow::Error,
}

impl Failure {
    /// A failure that ends the program so.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            error: error.into(),
        }
    }

    /// A failure with only words.
    pub fn said(exit: Exit, words: impl Into<String>) -> Self {
        Self {
            exit,
            error: anyhow::Error::msg(words.into()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self {
            exit: Exit::Failed,
            error,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Where a command writes.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: Format,
}

/// Waits shorter than this show nothing.
const PATIENCE: Duration = Duration::from_secs(2);

impl Output {
    /// An output of that format.
    pub fn new(format: Format) -> Self {
        Self { format }
    }

    /// How results are written.
    pub fn format(self) -> Format {
        self.format
    }

    /// Writes a result: `value` as JSON, or what `human` makes of it.
    pub fn result<T: Serialize>(self, value: &T, human: impl FnOnce(&T) -> String) {
        match self.format {
            Format::Human => print(&human(value)),
            Format::Json => print(&serde_json::to_string_pretty(value).unwrap_or_default()),
        }
    }

    /// Writes one of many results, each on its own line.
    pub fn item<T: Serialize>(self, value: &T, human: impl FnOnce(&T) -> String) {
        match self.format {
            Format::Human => print(&human(value)),
            Format::Json => print(&serde_json::to_string(value).unwrap_or_default()),
        }
    }

    /// Tells a person something beside the result.
    pub fn note(self, words: &str) {
        if self.format == Format::Human {
            remark(words);
        }
    }

    /// Tells why the command did not work.
    pub fn failure(self, failure: &Failure) {
        match self.format {
            Format::Human => remark(&format!("gridpost: {:#}", failure.error)),
            Format::Json => remark(
                &json!({ "error": {
                    "code": format!("{:?}", failure.exit),
                    "message": format!("{:#}", failure.error),
                }})
                .to_string(),
            ),
        }
    }

    /// Waits for something; after two seconds a terminal is shown that we do.
    pub async fn waiting<F: Future>(self, what: &str, task: F) -> F::Output {
        let shown = ProgressBar::new_spinner();
        shown.set_draw_target(ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        shown.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        shown.set_message(what.to_owned());
        let animate = async {
            nap(PATIENCE).await;
            if self.format == Format::Human && io::stderr().is_terminal() {
                shown.set_draw_target(ProgressDrawTarget::stderr());
                shown.enable_steady_tick(Duration::from_millis(120));
            }
            std::future::pending::<()>().await;
        };
        let done = tokio::select! {
            done = task => done,
            () = animate => unreachable!("the animation never ends by itself"),
        };
        shown.finish_and_clear();
        done
    }
}

/// How far something long has come, on a terminal.
pub struct Bar {
    shown: ProgressBar,
    watched: bool,
}

impl Output {
    /// A bar that appears after two seconds, when somebody is looking.
    pub fn bar(self, what: &str) -> Bar {
        let shown = ProgressBar::new(100);
        shown.set_draw_target(ProgressDrawTarget::hidden());
        let style =
            ProgressStyle::with_template("{prefix} [{bar:30}] {percent}% {msg} ({elapsed})");
        shown.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        shown.set_prefix(what.to_owned());
        Bar {
            shown,
            watched: self.format == Format::Human && is_watched(),
        }
    }
}

impl Bar {
    /// Shows a share, from 0 to 1, and some words.
    pub fn set(&self, share: f64, words: String) {
        if self.watched && self.shown.is_hidden() && PATIENCE <= self.shown.elapsed() {
            self.shown.set_draw_target(ProgressDrawTarget::stderr());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a percentage"
        )]
        self.shown
            .set_position((share.clamp(0.0, 1.0) * 100.0) as u64);
        self.shown.set_message(words);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.shown.finish_and_clear();
    }
}

/// Whether somebody is looking at the standard error stream, so that colours help.
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Writes a text to the standard output.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    // A closed pipe is how `head` says that it has read enough.
    let text = visible(text.trim_end_matches('\n'), &['\n', '\t']);
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes a text to the standard error stream.
pub fn remark(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", visible(text, &['\n', '\t']));
}

/// A text in which control characters are spelled out, but for some: names come from anybody, and none may move the
/// cursor of who reads them or look like another line.
pub fn visible<'a>(text: &'a str, allowed: &[char]) -> Cow<'a, str> {
    let is_hidden = |one: char| one.is_control() && !allowed.contains(&one);
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut spelled = String::with_capacity(text.len() + 8);
    for one in text.chars() {
        match is_hidden(one) {
            true => spelled.extend(one.escape_default()),
            false => spelled.push(one),
        }
    }
    Cow::Owned(spelled)
}

/// Lays rows out in columns, each as wide as its widest cell.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let clean = |row: &Vec<String>| {
        row.iter()
            .map(|cell| visible(cell, &[]).into_owned())
            .collect()
    };
    let rows: Vec<Vec<String>> = rows.iter().map(clean).collect();
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(&rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The text of a field, or nothing.
pub fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned()],
            vec!["longer".to_owned(), "22".to_owned()],
        ];
        assert_eq!(
            table(&["NAME", "N"], &rows),
            "NAME    N\na       1\nlonger  22\n"
        );
    }

    #[test]
    fn no_name_writes_another_line_or_moves_the_cursor() {
        let rows = [vec!["a\nroot  granted".to_owned(), "\u{1b}[2J".to_owned()]];
        assert_eq!(
            table(&["NAME", "N"], &rows),
            "NAME              N\na\\nroot  granted  \\u{1b}[2J\n"
        );
        assert_eq!(visible("a\tb\n\r", &['\n', '\t']), "a\tb\n\\r");
    }

    #[tokio::test]
    async fn waiting_returns_what_was_waited_for() {
        let output = Output::new(Format::Human);
        assert_eq!(output.waiting("for nothing", async { 7 }).await, 7);
    }
}
