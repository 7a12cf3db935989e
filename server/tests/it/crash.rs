//! The real program, killed with SIGKILL while it works.

use std::path::PathBuf;

use gridpost::crash::{Arguments, run};

/// The long form is `cargo xtask crash`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kills_at_random_moments() {
    let arguments = Arguments {
        kills: 4,
        seed: None,
        program: Some(PathBuf::from(env!("CARGO_BIN_EXE_gridpost"))),
        publishers: 3,
        handsets: 2,
        talkers: 2,
        // The first retry comes after ten real seconds; the long form has them.
        retries: false,
    };
    let report = run(&arguments, &|words| eprintln!("{words}"))
        .await
        .unwrap();

    assert!(report.is_clean(), "{report:#?}");
    assert!(
        report.acknowledged > 50,
        "too little was done to prove anything: {report:#?}"
    );
    assert!(
        report.chat.acknowledged > 20 && report.chat.messages >= report.chat.acknowledged,
        "too little was said to prove anything: {report:#?}"
    );
    assert!(
        report.delivered > 0 && report.dead_lettered > 0,
        "{report:#?}"
    );
    assert_eq!(report.acknowledged, report.delivered + report.dead_lettered);
}
