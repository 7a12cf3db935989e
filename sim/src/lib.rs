//! The world a test can turn by hand: a clock that only moves when told, and chance that a seed replays.
//!
//! Promise: two runs with the same seed and the same turns of the clock make the same decisions.
//! Not here: the whole-product simulator; it will be built on these two.

pub mod chance;
pub mod clock;

pub use chance::SeededChance;
pub use clock::VirtualClock;
