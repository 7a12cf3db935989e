//! Bodies of requests, read to their end.
//!
//! Promise: what is kept of a body is bounded. What is refused is read on for a while and dropped, because a client that
//! is still sending when its connection is closed never sees why.
//! Not here: how long a body may take (`server`), what is answered (`communication`, `publish`).

use std::error::Error;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

/// The bytes of a refused body that are read and dropped: more than any valid body has, and what clients with a wrong
/// body send before they look for an answer.
const MOST_DROPPED: usize = 16 << 20;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is longer than it may be.
    TooLarge,
    /// It did not come in time.
    Late,
    /// It is malformed or was cut short.
    Broken,
}

impl Fault {
    fn of(error: &(dyn Error + 'static)) -> Self {
        if is_late(error) {
            Self::Late
        } else {
            Self::Broken
        }
    }
}

/// The whole body, when it has at most `limit` bytes.
pub(crate) async fn whole(mut body: Body, limit: usize) -> Result<Bytes, Fault> {
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Fault::of(&error))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if limit - kept.len() < data.len() {
            drop_rest(body).await;
            return Err(Fault::TooLarge);
        }
        kept.extend_from_slice(&data);
    }
    Ok(kept.freeze())
}

/// Reads what is left of a body that nobody wants.
pub(crate) async fn drop_rest(mut body: Body) {
    let mut dropped = 0;
    while dropped < MOST_DROPPED
        && let Some(Ok(frame)) = body.frame().await
    {
        dropped += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// Whether something below says that the time is over.
pub(crate) fn is_late(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.any(|cause| {
        let cause = cause.downcast_ref::<std::io::Error>();
        cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
    })
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream;

    use super::*;

    /// Pieces of 1 KiB, and how many were taken.
    fn pieces(count: usize) -> (Body, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&taken);
        let piece = move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 1 << 10]))
        };
        let body = Body::from_stream(stream::iter((0..count).map(piece)));
        (body, taken)
    }

    fn failing(kind: ErrorKind) -> Body {
        let error = std::io::Error::from(kind);
        Body::from_stream(stream::iter([Err::<Bytes, _>(error)]))
    }

    #[tokio::test]
    async fn a_body_is_whole_too_large_late_or_broken() {
        let (body, _) = pieces(4);
        assert_eq!(whole(body, 4 << 10).await.map(|body| body.len()), Ok(4096));
        let (body, _) = pieces(4);
        assert_eq!(whole(body, (4 << 10) - 1).await, Err(Fault::TooLarge));
        let late = whole(failing(ErrorKind::TimedOut), 10).await;
        assert_eq!(late, Err(Fault::Late));
        let broken = whole(failing(ErrorKind::UnexpectedEof), 10).await;
        assert_eq!(broken, Err(Fault::Broken));
    }

    #[tokio::test]
    async fn a_body_too_large_is_read_on_up_to_a_bound() {
        let (body, taken) = pieces(9);
        assert_eq!(whole(body, 1 << 10).await, Err(Fault::TooLarge));
        assert_eq!(taken.load(Ordering::Relaxed), 9);
        let (body, taken) = pieces(1 << 20);
        drop_rest(body).await;
        assert_eq!(taken.load(Ordering::Relaxed), MOST_DROPPED >> 10);
    }
}
