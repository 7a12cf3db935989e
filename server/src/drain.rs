//! Leaving in order: no new work, finish what was begun, write down what is known.
//!
//! Promise: an orderly stop leaves nothing for recovery to do; one that takes too long is cut, which costs no more
//! than a crash does, and a crash loses nothing.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask us to stop.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Listens for them from now on. Needs a runtime.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Ends when one arrives; the answer is its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
