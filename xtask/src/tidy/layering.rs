//! Which crate may know which.
//!
//! Promise: the picture in ARCHITECTURE.md is what Cargo builds. Only normal dependencies count: tests may look up.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use super::Complaint;

/// Each crate of the product, and the crates of the product it may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("gridpost-model", &[]),
    ("gridpost-store", &["gridpost-model"]),
    ("gridpost-grid", &["gridpost-model", "gridpost-store"]),
    (
        "gridpost-comms",
        &["gridpost-model", "gridpost-store", "gridpost-grid"],
    ),
    (
        "gridpost-api",
        &["gridpost-model", "gridpost-grid", "gridpost-comms"],
    ),
    (
        "gridpost",
        &[
            "gridpost-model",
            "gridpost-store",
            "gridpost-grid",
            "gridpost-comms",
            "gridpost-api",
        ],
    ),
    // An example is somebody else's program: it speaks HTTP and has never heard of any of us.
    ("gridpost-example-push", &[]),
];

/// Crates that stay out of a crate however deep: the vocabulary has no runtime, no input and no output.
const NEVER_BELOW: &[(&str, &[&str])] = &[(
    "gridpost-model",
    &["tokio", "mio", "hyper", "axum", "rustls", "redb"],
)];

/// What each package names, by normal dependencies.
type Names = HashMap<String, HashSet<String>>;

/// Checks the workspace at `root`.
pub(crate) fn check(root: &Path) -> Result<Vec<Complaint>> {
    let mut command = MetadataCommand::new();
    command
        .manifest_path(root.join("Cargo.toml"))
        .other_options(["--locked".to_owned()]);
    let metadata = command.exec().context("asking cargo about the workspace")?;
    let manifest = Path::new("Cargo.toml");
    let complaints = strangers(&declared(&metadata))
        .into_iter()
        .chain(depths(&built(&metadata)));
    Ok(complaints
        .map(|what| Complaint::new(manifest, what))
        .collect())
}

/// Crates of the product that name one they must not have heard of, or that have no rule yet.
fn strangers(names: &Names) -> Vec<String> {
    let mut complaints = Vec::new();
    let is_ours = |name: &str| name == "gridpost" || name.starts_with("gridpost-");
    for (package, named) in names.iter().filter(|(package, _)| is_ours(package)) {
        // The simulator stands outside the layers and may look at everything; nothing may look at it.
        if package == "gridpost-sim" {
            continue;
        }
        let Some((_, allowed)) = MAY_NAME.iter().find(|(ruled, _)| ruled == package) else {
            complaints.push(format!(
                "{package} has no place in xtask/src/tidy/layering.rs"
            ));
            continue;
        };
        for stranger in named
            .iter()
            .filter(|name| is_ours(name) && !allowed.contains(&name.as_str()))
        {
            complaints.push(format!("{package} must not depend on {stranger}"));
        }
    }
    complaints.sort();
    complaints
}

/// Crates found below one they must stay out of.
fn depths(names: &Names) -> Vec<String> {
    let mut complaints = Vec::new();
    for (package, unwanted) in NEVER_BELOW {
        let reached = reached(names, package);
        let found = unwanted.iter().filter(|name| reached.contains(**name));
        complaints
            .extend(found.map(|name| format!("{package} must not reach {name}, however deep")));
    }
    complaints
}

fn reached<'a>(names: &'a Names, from: &'a str) -> HashSet<&'a str> {
    let mut seen = HashSet::new();
    let mut waiting = vec![from];
    while let Some(package) = waiting.pop() {
        if seen.insert(package) {
            waiting.extend(names.get(package).into_iter().flatten().map(String::as_str));
        }
    }
    seen
}

/// What the manifests of the workspace say.
fn declared(metadata: &Metadata) -> Names {
    let of = |package: &cargo_metadata::Package| {
        let normal = package
            .dependencies
            .iter()
            .filter(|it| it.kind == DependencyKind::Normal);
        (
            package.name.to_string(),
            normal.map(|it| it.name.clone()).collect(),
        )
    };
    metadata.workspace_packages().into_iter().map(of).collect()
}

/// What Cargo resolved for every package, features considered.
fn built(metadata: &Metadata) -> Names {
    let mut names = Names::new();
    for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
        let normal = node.deps.iter().filter(|dependency| {
            dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind == DependencyKind::Normal)
        });
        let found = normal.map(|dependency| metadata[&dependency.pkg].name.to_string());
        names
            .entry(metadata[&node.id].name.to_string())
            .or_default()
            .extend(found);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: &[(&str, &[&str])]) -> Names {
        let owned = |name: &&str| (*name).to_owned();
        pairs
            .iter()
            .map(|(name, below)| (owned(name), below.iter().map(owned).collect()))
            .collect()
    }

    #[test]
    fn looking_down_is_allowed_and_skipping_a_layer_is_not() {
        assert!(strangers(&names(&[("gridpost-api", &["gridpost-grid", "serde"])])).is_empty());
        let complaints = strangers(&names(&[("gridpost-api", &["gridpost-store"])]));
        assert_eq!(
            complaints,
            ["gridpost-api must not depend on gridpost-store"]
        );
    }

    #[test]
    fn looking_up_is_refused() {
        let complaints = strangers(&names(&[("gridpost-grid", &["gridpost-comms"])]));
        assert_eq!(
            complaints,
            ["gridpost-grid must not depend on gridpost-comms"]
        );
    }

    #[test]
    fn the_product_does_not_know_the_simulator() {
        let complaints = strangers(&names(&[("gridpost-grid", &["gridpost-sim"])]));
        assert_eq!(
            complaints,
            ["gridpost-grid must not depend on gridpost-sim"]
        );
    }

    #[test]
    fn a_new_crate_needs_a_place() {
        assert_eq!(strangers(&names(&[("gridpost-portal", &[])])).len(), 1);
    }

    #[test]
    fn a_runtime_deep_below_the_vocabulary_is_found() {
        let all = names(&[
            ("gridpost-model", &["jiff"]),
            ("jiff", &["tokio"]),
            ("tokio", &[]),
        ]);
        assert_eq!(
            depths(&all),
            ["gridpost-model must not reach tokio, however deep"]
        );
    }
}
