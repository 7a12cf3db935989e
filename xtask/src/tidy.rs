//! `cargo xtask tidy`: what the compiler does not check.
//!
//! Promise: every complaint names the file and says what would satisfy it; all complaints are listed, not the first.

mod events;
mod layering;
mod links;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::command::{capture, program, root};
use crate::{generate, output};

/// One thing to put right: where, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint(String);

impl Complaint {
    fn new(place: &Path, what: impl AsRef<str>) -> Self {
        Self(format!("{}: {}", place.display(), what.as_ref()))
    }
}

/// A committed text file.
pub(crate) struct Text {
    /// From the root of the repository.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Runs every check.
pub(crate) fn run() -> Result<()> {
    let root = root();
    let files = committed(&root)?;
    let mut complaints = layering::check(&root)?;
    complaints.extend(sources::check(&files));
    complaints.extend(links::check(&root, &files));
    complaints.extend(events::check(&generate::raised(&root)?));
    complaints.extend(generated(&root)?);
    for Complaint(text) in &complaints {
        output::line(text);
    }
    if !complaints.is_empty() {
        bail!("{} complaints", complaints.len());
    }
    output::line(&format!("{} files are tidy", files.len()));
    Ok(())
}

/// Every file git knows or would add, as text; binary files are left out.
fn committed(root: &Path) -> Result<Vec<Text>> {
    let list = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let names = capture(program("git", list).current_dir(root))?;
    let mut files = Vec::new();
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        let file = root.join(name);
        // A file may be listed and removed at once while somebody works; a folder may be a link.
        if !file.is_file() {
            continue;
        }
        let bytes = fs::read(&file).with_context(|| format!("reading {name}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(Text {
                path: PathBuf::from(name),
                text,
            });
        }
    }
    Ok(files)
}

fn generated(root: &Path) -> Result<Vec<Complaint>> {
    let stale = |page: &generate::Page| {
        !fs::read_to_string(root.join(page.path)).is_ok_and(|text| text == page.text)
    };
    let complain = |page: &generate::Page| {
        Complaint::new(
            Path::new(page.path),
            "not up to date, run `cargo xtask generate`",
        )
    };
    Ok(generate::pages(root)?
        .iter()
        .filter(|page| stale(page))
        .map(complain)
        .collect())
}
