//! The note a running server leaves in its data folder, by which commands find it.
//!
//! Promise: the note is there from the moment the server is ready until it leaves in order. After a crash it is
//! stale, which whoever follows it finds out by not being answered.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gridpost_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Profile;
use crate::files;

/// A server that is, or was, running.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// Its process number.
    pub process: u32,
    /// Its version.
    pub version: String,
    /// Its profile.
    pub profile: Profile,
    /// The address that reaches it from this machine.
    pub address: SocketAddr,
    /// The URL it is known by.
    pub url: String,
    /// The certificate authority to trust, when it is our own.
    pub authority: Option<PathBuf>,
    /// When it became ready.
    pub started: Timestamp,
}

impl Running {
    /// The note in a data folder, if there is one.
    pub fn find(data: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(file(data)).ok()?).ok()
    }

    /// Leaves the note.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn leave(&self, data: &Path) -> anyhow::Result<()> {
        files::write_private(&file(data), &serde_json::to_vec_pretty(self)?)
    }

    /// Takes the note away.
    pub fn forget(data: &Path) {
        // When it is gone already, that is what was wanted.
        let _ = fs::remove_file(file(data));
    }
}

fn file(data: &Path) -> PathBuf {
    data.join("server.json")
}
