//! The binary `gridpost`.

use std::process::ExitCode;

/// Many small short-lived allocations across threads: mimalloc keeps both the latency and the idle size low.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    gridpost::cli::main()
}
