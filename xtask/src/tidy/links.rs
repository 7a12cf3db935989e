//! Links between our pages.
//!
//! Promise: a relative link in a Markdown file leads to a file that is there, and its `#part` to a heading in it; a
//! source file named in a page exists.

use std::path::{Component, Path, PathBuf};

use super::{Complaint, Text};

/// Checks the links of every Markdown file.
pub(crate) fn check(root: &Path, files: &[Text]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| is_markdown(&file.path)) {
        for link in links(&file.text) {
            complaints.extend(follow(root, files, file, link));
        }
        for source in sources(&file.text).filter(|source| !root.join(source).exists()) {
            let what = format!("names {source}, which is not there");
            complaints.push(Complaint::new(&file.path, what));
        }
    }
    complaints
}

fn is_markdown(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "md")
}

fn follow(root: &Path, files: &[Text], from: &Text, link: &str) -> Option<Complaint> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, part) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() {
        from.path.clone()
    } else {
        resolve(&from.path, path)
    };
    if !root.join(&target).exists() {
        return Some(Complaint::new(
            &from.path,
            format!("links to {link}, which is not there"),
        ));
    }
    let page = files.iter().find(|file| file.path == target)?;
    if part.is_empty() || !is_markdown(&target) || anchors(&page.text).any(|anchor| anchor == part)
    {
        return None;
    }
    Some(Complaint::new(
        &from.path,
        format!("links to {link}, but there is no such heading"),
    ))
}

fn resolve(from: &Path, link: &str) -> PathBuf {
    let mut target = from.parent().unwrap_or(Path::new("")).to_path_buf();
    for component in Path::new(link).components() {
        match component {
            Component::ParentDir => drop(target.pop()),
            Component::Normal(name) => target.push(name),
            _ => {}
        }
    }
    target
}

/// The targets of inline links, outside code.
fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    for line in prose(text) {
        let mut rest = line;
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            let Some(end) = rest.find(')') else { break };
            links.push(rest[..end].trim());
            rest = &rest[end..];
        }
    }
    links
}

/// The sources a page names between backticks: `grid/src/lane.rs`.
fn sources(text: &str) -> impl Iterator<Item = &str> {
    let quoted = prose(text).flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted.filter(|words| words.contains("/src/") && !words.contains([' ', '*', '<', '{']))
}

/// The anchors a page's headings get.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    prose(text)
        .filter_map(|line| line.strip_prefix('#'))
        .map(|heading| slug(heading.trim_start_matches('#')))
}

/// As code hosts make them: lower case, spaces become hyphens, anything else that is no letter or digit goes.
fn slug(heading: &str) -> String {
    let kept = |letter: char| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        letter if letter.is_alphanumeric() => Some(letter),
        _ => None,
    };
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(kept)
        .collect()
}

/// The lines that are not inside a fenced block.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: &str) -> Text {
        Text {
            path: path.into(),
            text: text.to_owned(),
        }
    }

    fn complaints(text: &str) -> usize {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("docs")).unwrap();
        for name in ["README.md", "docs/a.md", "docs/b.md"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let files = [
            page("docs/a.md", text),
            page("docs/b.md", "# A title: two `words`\n"),
            page("README.md", ""),
        ];
        check(folder.path(), &files).len()
    }

    #[test]
    fn links_to_files_that_are_there_are_fine() {
        assert_eq!(
            complaints("[b](b.md), [top](../README.md), [out](https://example.org/x)"),
            0
        );
        assert_eq!(
            complaints("[b](b.md#a-title-two-words) and [here](#here)\n## Here\n"),
            0
        );
    }

    #[test]
    fn a_missing_file_or_heading_is_found() {
        assert_eq!(complaints("[c](c.md)"), 1);
        assert_eq!(complaints("[b](b.md#nothing) [x](#nowhere)"), 2);
    }

    #[test]
    fn a_source_that_is_named_exists() {
        assert_eq!(complaints("see `grid/src/gone.rs` and `docs/a.md`"), 1);
    }

    #[test]
    fn code_is_not_prose() {
        assert_eq!(complaints("```\n[c](c.md)\n```\n"), 0);
    }
}
