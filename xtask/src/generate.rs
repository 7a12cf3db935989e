//! The generated pages.
//!
//! Promise: `generate` writes exactly what `tidy` compares with, so a page is either right or a failure.

mod configuration;
mod events;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::command::root;
use crate::output;

/// A page and what it has to say.
pub(crate) struct Page {
    /// Its path from the root of the repository.
    pub(crate) path: &'static str,
    /// Its whole text.
    pub(crate) text: String,
}

/// Writes the pages that are not up to date.
pub(crate) fn run() -> Result<()> {
    for page in pages(&root())? {
        let file = root().join(page.path);
        if fs::read_to_string(&file).is_ok_and(|text| text == page.text) {
            continue;
        }
        fs::write(&file, &page.text).with_context(|| format!("writing {}", page.path))?;
        output::line(&format!("wrote {}", page.path));
    }
    Ok(())
}

/// All generated pages, made from the sources under `root`.
pub(crate) fn pages(root: &Path) -> Result<Vec<Page>> {
    let settings = root.join("server/src/config.default.toml");
    let settings =
        fs::read_to_string(&settings).with_context(|| format!("reading {}", settings.display()))?;
    Ok(vec![
        Page {
            path: "docs/events.md",
            text: events::page(&raised(root)?),
        },
        Page {
            path: "docs/configuration.md",
            text: configuration::page(&settings),
        },
    ])
}

pub(crate) use events::{Raised, raised};
