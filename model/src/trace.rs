//! Trace contexts: which trace something belongs to, and which of its spans caused it.
//!
//! Promise: a `TraceContext` was well formed; it is written as it was read, in the one version there is.
//! Not here: which spans we make (`grid::trace`), where they are sent (`server`).
//! Source: W3C Trace Context, `traceparent`; CloudEvents extension "distributed tracing".

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A span's number, never zero.
pub type SpanId = [u8; 8];

/// A `traceparent`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceContext {
    /// The trace, never zero.
    pub trace: [u8; 16],
    /// The span that caused this.
    pub span: SpanId,
    /// `trace-flags`.
    pub flags: u8,
}

/// The flag that says that the trace is recorded.
const SAMPLED: u8 = 1;

/// How many bytes a `traceparent` has in version 00.
const TEXT_BYTES: usize = 55;

/// The text is not a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct BadTraceparent;

impl TraceContext {
    /// How many bytes it takes in its short form.
    pub const BYTES: usize = 25;

    /// A context that is recorded.
    pub fn sampled(trace: [u8; 16], span: SpanId) -> Self {
        Self {
            trace,
            span,
            flags: SAMPLED,
        }
    }

    /// Whether whoever began the trace records it.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same trace, at another span.
    pub fn at(self, span: SpanId) -> Self {
        Self { span, ..self }
    }

    /// The short form.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.trace);
        bytes[16..24].copy_from_slice(&self.span);
        bytes[24] = self.flags;
        bytes
    }

    /// Reads the short form.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self {
            trace: std::array::from_fn(|index| bytes[index]),
            span: std::array::from_fn(|index| bytes[16 + index]),
            flags: bytes[24],
        }
    }
}

impl FromStr for TraceContext {
    type Err = BadTraceparent;

    fn from_str(text: &str) -> Result<Self, BadTraceparent> {
        let bytes = text.as_bytes();
        let head = bytes.get(..TEXT_BYTES).ok_or(BadTraceparent)?;
        let [version] = hex(&head[..2])?;
        // Later versions may add fields behind ours; 255 is none.
        let ends_well = match version {
            0 => bytes.len() == TEXT_BYTES,
            255 => false,
            _ => bytes.get(TEXT_BYTES).is_none_or(|byte| *byte == b'-'),
        };
        let dashed = [2, 35, 52].iter().all(|at| head[*at] == b'-');
        let [flags] = hex(&head[53..])?;
        let context = Self {
            trace: hex(&head[3..35])?,
            span: hex(&head[36..52])?,
            flags,
        };
        let zero = context.trace == [0; 16] || context.span == [0; 8];
        (ends_well && dashed && !zero)
            .then_some(context)
            .ok_or(BadTraceparent)
    }
}

/// Reads lowercase digits; capitals are not allowed in a `traceparent`.
fn hex<const N: usize>(text: &[u8]) -> Result<[u8; N], BadTraceparent> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(BadTraceparent),
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (Hex(&self.trace), Hex(&self.span));
        write!(f, "00-{trace}-{span}-{:02x}", self.flags)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes as lowercase digits.
#[derive(Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl TryFrom<String> for TraceContext {
    type Error = BadTraceparent;

    fn try_from(text: String) -> Result<Self, BadTraceparent> {
        text.parse()
    }
}

impl From<TraceContext> for String {
    fn from(context: TraceContext) -> Self {
        context.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_written_as_it_was_read() {
        let context: TraceContext = EXAMPLE.parse().unwrap();
        assert_eq!(context.to_string(), EXAMPLE);
        assert!(context.is_sampled());
        assert_eq!(TraceContext::from_bytes(context.to_bytes()), context);
        let json = serde_json::to_string(&context).unwrap();
        assert_eq!(
            serde_json::from_str::<TraceContext>(&json).unwrap(),
            context
        );
    }

    #[test]
    fn what_is_not_a_traceparent_is_refused() {
        let table = [
            ("", false),
            (EXAMPLE, true),
            // Nothing may follow in version 00, in later ones fields may.
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
                false,
            ),
            (
                "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
                true,
            ),
            (
                "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
                false,
            ),
            (
                "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                false,
            ),
            (
                "00-4BF92F3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                false,
            ),
            (
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                false,
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                false,
            ),
            (
                "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                false,
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
                false,
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902é-01",
                false,
            ),
        ];
        for (text, fine) in table {
            assert_eq!(text.parse::<TraceContext>().is_ok(), fine, "{text}");
        }
    }
}
