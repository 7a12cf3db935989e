//! The seeds of the fuzz targets, for the tests that try them in every run. Three crates take this file in, because none
//! of them sees what another has for its tests.

use std::fs;
use std::path::Path;

/// Tries each seed of a target.
pub(crate) fn each(target: &str, mut tried: impl FnMut(&[u8])) {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    for seed in fs::read_dir(all.join(target)).unwrap() {
        tried(&fs::read(seed.unwrap().path()).unwrap());
    }
}
