//! Tries `gridpost_store::fuzzing::journal`, in memory where the system has a place for that.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let place = match memory.is_dir() {
        true => memory.to_owned(),
        false => std::env::temp_dir(),
    };
    let folder = place.join(format!("gridpost-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for journals");
    folder
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| gridpost_store::fuzzing::journal(&FOLDER, input));
