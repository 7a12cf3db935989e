//! Retention: which part of the journal is given up.
//!
//! Promise: nothing that a checkpoint or a lane still needs goes, and the newest piece never does.

use std::time::Duration;

use gridpost_model::Timestamp;

use crate::Position;
use crate::journal::Piece;

/// How long what nobody needs any more is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    pub(crate) age: Duration,
    pub(crate) bytes: u64,
}

/// The position up to which the journal may be given up. Everything at or behind `needed` is still wanted.
pub(crate) fn give_up_before(
    pieces: &[Piece],
    needed: Position,
    keep: Keep,
    now: Timestamp,
) -> Position {
    let settled = pieces
        .iter()
        .take_while(|piece| piece.end <= needed)
        .count();
    let mut settled_bytes: u64 = pieces[..settled]
        .iter()
        .map(|piece| piece.end.0.saturating_sub(piece.start.0))
        .sum();
    let mut before = Position::START;
    // A piece was last written when the one after it was begun. The newest has none after it and stays.
    for pair in pieces.windows(2).take(settled) {
        let [piece, next] = pair else { break };
        let old = keep.age <= now.since(next.created);
        if !old && settled_bytes <= keep.bytes {
            break;
        }
        settled_bytes -= piece.size_bytes();
        before = piece.end;
    }
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Keep = Keep {
        age: Duration::from_secs(60),
        bytes: 250,
    };

    fn pieces() -> Vec<Piece> {
        (0..5)
            .map(|n| Piece {
                start: Position(n * 100),
                end: Position(n * 100 + 100),
                created: Timestamp::from_seconds(n.cast_signed() * 10),
            })
            .collect()
    }

    fn before(needed: u64, now: i64) -> u64 {
        give_up_before(
            &pieces(),
            Position(needed),
            KEEP,
            Timestamp::from_seconds(now),
        )
        .0
    }

    #[test]
    fn what_is_needed_stays_however_old_and_large() {
        assert_eq!(before(150, 10_000), 100);
        assert_eq!(before(99, 10_000), 0);
    }

    #[test]
    fn what_is_settled_goes_by_age() {
        assert_eq!(before(200, 40), 0);
        assert_eq!(before(200, 70), 100);
        assert_eq!(before(200, 80), 200);
    }

    #[test]
    fn what_is_settled_goes_beyond_a_size() {
        assert_eq!(before(300, 0), 100);
        assert_eq!(before(400, 0), 200);
    }

    #[test]
    fn the_newest_piece_stays() {
        assert_eq!(before(500, 10_000), 400);
        assert_eq!(
            give_up_before(&[], Position(9), KEEP, Timestamp::EPOCH),
            Position::START
        );
    }
}
