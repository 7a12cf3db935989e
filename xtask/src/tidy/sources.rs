//! What every committed file owes its reader.
//!
//! Promise: a Rust file opens with what it is about and fits its idea; no file names the place it was made at.

use std::path::Path;

use super::{Complaint, Text};

/// A longer file is nearly always a mixture of two ideas. Tests that close a file do not count.
const LINES: usize = 600;

/// Scenarios stand beside one another and do not tangle, so a file of nothing else may be longer.
const SCENARIO_LINES: usize = 1000;

/// Files that may be longer, each with the reason.
const LONGER: &[(&str, &str)] = &[];

/// Checks all files.
pub(crate) fn check(files: &[Text]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let is_rust = |file: &&Text| file.path.extension().is_some_and(|kind| kind == "rs");
    for file in files.iter().filter(is_rust) {
        complaints.extend(heading(file));
        complaints.extend(length(file, LONGER));
    }
    for (path, _) in LONGER {
        complaints.extend(outdated(path, files));
    }
    for file in files {
        complaints.extend(places(file));
    }
    complaints
}

fn heading(file: &Text) -> Option<Complaint> {
    let opens = file.text.starts_with("//! ");
    (!opens).then(|| {
        Complaint::new(
            &file.path,
            "opens without `//!`: say what the file is about",
        )
    })
}

fn length(file: &Text, longer: &[(&str, &str)]) -> Option<Complaint> {
    let (lines, most) = (lines(file), most(file));
    let allowed = longer.iter().any(|(path, _)| Path::new(path) == file.path);
    let what = || {
        format!(
            "{lines} lines, more than {most}: split it by idea, or list it with a reason in xtask/src/tidy/sources.rs"
        )
    };
    (lines > most && !allowed).then(|| Complaint::new(&file.path, what()))
}

fn lines(file: &Text) -> usize {
    file.text
        .lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .count()
}

fn most(file: &Text) -> usize {
    let is_scenarios = file
        .path
        .components()
        .any(|part| part.as_os_str() == "tests");
    if is_scenarios { SCENARIO_LINES } else { LINES }
}

/// An exception nobody needs any more.
fn outdated(path: &str, files: &[Text]) -> Option<Complaint> {
    let file = files.iter().find(|file| file.path == Path::new(path));
    let needed = file.is_some_and(|file| lines(file) > most(file));
    (!needed).then(|| {
        Complaint::new(
            Path::new(path),
            "needs no exception from the length any more",
        )
    })
}

/// Hosts of package registries and folders of the machine a file was made on. Assembled, so that this file is clean.
fn traces() -> Vec<String> {
    let hosts = [
        ["pypi", "org"],
        ["pythonhosted", "org"],
        ["npmjs", "org"],
        ["npmjs", "com"],
        ["index.crates", "io"],
        ["static.crates", "io"],
        ["deb.debian", "org"],
        ["golang", "org"],
    ];
    let folders = ["work", "root", "home"].map(|name| format!("/{name}/"));
    hosts
        .map(|host| host.join("."))
        .into_iter()
        .chain(folders)
        .collect()
}

fn places(file: &Text) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        for trace in traces().iter().filter(|trace| names_place(line, trace)) {
            let what = format!("line {number} names {trace}, which means nothing to anybody else");
            complaints.push(Complaint::new(&file.path, what));
        }
    }
    complaints
}

/// Whether a line names a host or a folder; a folder only where a path begins.
fn names_place(line: &str, trace: &str) -> bool {
    let begins = |at: usize| {
        let before = line[..at].chars().next_back();
        !trace.starts_with('/')
            || before.is_none_or(|c| !c.is_alphanumeric() && !"/.}_-".contains(c))
    };
    line.match_indices(trace).any(|(at, _)| begins(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str, text: &str) -> Text {
        Text {
            path: path.into(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_rust_file_opens_with_what_it_is_about() {
        assert!(heading(&text("a.rs", "//! Accepting events.\n")).is_none());
        assert!(heading(&text("a.rs", "use std::fs;\n//! late\n")).is_some());
    }

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = text("table.rs", &"x\n".repeat(LINES + 1));
        assert!(length(&long, &[]).is_some());
        assert!(length(&long, &[("table.rs", "a table")]).is_none());
        assert!(length(&text("a.rs", &"x\n".repeat(LINES)), &[]).is_none());
        assert!(length(&text("grid/tests/it/a.rs", &"x\n".repeat(LINES + 1)), &[]).is_none());
    }

    #[test]
    fn tests_that_close_a_file_do_not_make_it_long() {
        let product = "x\n".repeat(LINES);
        let file = text("a.rs", &format!("{product}#[cfg(test)]\n{product}"));
        assert!(length(&file, &[]).is_none());
    }

    #[test]
    fn an_exception_that_is_not_needed_is_a_complaint() {
        assert!(outdated("a.rs", &[text("a.rs", "short")]).is_some());
        assert!(outdated("gone.rs", &[]).is_some());
        assert!(outdated("a.rs", &[text("a.rs", &"x\n".repeat(LINES + 1))]).is_none());
    }

    #[test]
    fn traces_of_the_machine_and_of_registries_are_found() {
        for trace in traces() {
            assert_eq!(
                places(&text("a.md", &format!("see {trace}x"))).len(),
                1,
                "{trace}"
            );
        }
    }

    #[test]
    fn a_folder_inside_a_longer_path_is_not_a_trace() {
        assert!(
            places(&text(
                "a.md",
                "run it in target/work/here or https://localhost/root/x"
            ))
            .is_empty()
        );
    }
}
