//! Where a request stands in a trace: which trace, and under which span of the sender. It is
//! carried beside a message, never inside what is signed or hashed.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::ids::{hex, unhex};

/// Names a trace: all spans of one cause, whichever processes they are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId([u8; 16]);

/// Names a span within its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// `None` for nought, which names nothing.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 16] {
        self.0
    }
}

impl SpanId {
    /// `None` for nought, which names nothing.
    #[must_use]
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 8] {
        self.0
    }
}

/// The sampled bit among the flags; the others are not defined here.
const SAMPLED: u8 = 1;

/// A sender's place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The sender's span.
    pub span: SpanId,
    /// Whether the sender records this trace.
    pub sampled: bool,
}

/// Bytes are not a trace context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a trace context: two ids that are not nought, and flags of 0 or 1, are needed")]
pub struct NotATraceContext;

impl TraceContext {
    /// Bytes on the wire.
    pub const SIZE: usize = 16 + 8 + 1;

    /// Trace id ‖ span id ‖ flags.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..16].copy_from_slice(&self.trace.0);
        bytes[16..24].copy_from_slice(&self.span.0);
        bytes[24] = if self.sampled { SAMPLED } else { 0 };
        bytes
    }

    /// Of exactly [`Self::SIZE`] bytes: ids that are not nought, no flag but the sampled one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotATraceContext> {
        let (trace, rest) = bytes.split_first_chunk().ok_or(NotATraceContext)?;
        let (span, flags) = rest.split_first_chunk().ok_or(NotATraceContext)?;
        let sampled = match flags {
            [0] => false,
            [SAMPLED] => true,
            _ => return Err(NotATraceContext),
        };
        let trace = TraceId::new(*trace).ok_or(NotATraceContext)?;
        let span = SpanId::new(*span).ok_or(NotATraceContext)?;
        Ok(Self { trace, span, sampled })
    }
}

/// As the `traceparent` header of W3C's Trace Context has it.
impl fmt::Display for TraceContext {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(out, "00-{}-{}-{flags:02x}", hex(&self.trace.0), hex(&self.span.0))
    }
}

/// Of a `traceparent` of version 0. Flags that are not known are passed over, as W3C says.
impl FromStr for TraceContext {
    type Err = NotATraceContext;

    fn from_str(text: &str) -> Result<Self, NotATraceContext> {
        let mut parts = text.split('-');
        let mut part = || parts.next().filter(|part| is_lower_hex(part)).ok_or(NotATraceContext);
        let (version, trace, span, flags) = (part()?, part()?, part()?, part()?);
        if version != "00" || parts.next().is_some() {
            return Err(NotATraceContext);
        }
        let trace = unhex(trace).and_then(TraceId::new).ok_or(NotATraceContext)?;
        let span = unhex(span).and_then(SpanId::new).ok_or(NotATraceContext)?;
        let [flags] = unhex::<1>(flags).ok_or(NotATraceContext)?;
        Ok(Self { trace, span, sampled: flags & SAMPLED == SAMPLED })
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(sampled: bool) -> TraceContext {
        TraceContext {
            trace: TraceId::new([0xa1; 16]).unwrap(),
            span: SpanId::new([0xb2; 8]).unwrap(),
            sampled,
        }
    }

    #[test]
    fn bytes_read_back_and_stand_in_the_order_of_the_page() {
        for sampled in [false, true] {
            let context = context(sampled);
            let bytes = context.to_bytes();
            assert_eq!(bytes[..16], [0xa1; 16]);
            assert_eq!(bytes[16..24], [0xb2; 8]);
            assert_eq!(bytes[24], u8::from(sampled));
            assert_eq!(TraceContext::from_bytes(&bytes), Ok(context));
        }
    }

    #[test]
    fn ids_of_nought_and_unknown_flags_are_refused() {
        let good = context(true).to_bytes();
        for (range, byte) in [(0..16, 0), (16..24, 0), (24..25, 2), (24..25, 0xff)] {
            let mut bytes = good;
            bytes[range].fill(byte);
            assert_eq!(TraceContext::from_bytes(&bytes), Err(NotATraceContext), "{bytes:?}");
        }
        for length in (0..TraceContext::SIZE).chain([TraceContext::SIZE + 1]) {
            let bytes = [&good[..], &[1]].concat();
            assert_eq!(TraceContext::from_bytes(&bytes[..length]), Err(NotATraceContext));
        }
    }

    #[test]
    fn the_text_is_a_traceparent() {
        let text = format!("00-{}-{}-01", "a1".repeat(16), "b2".repeat(8));
        assert_eq!(context(true).to_string(), text);
        assert_eq!(text.parse(), Ok(context(true)));
        // Another flag beside it is passed over.
        assert_eq!(text.replace("-01", "-03").parse(), Ok(context(true)));
        assert_eq!(text.replace("-01", "-02").parse(), Ok(context(false)));
    }

    #[test]
    fn texts_that_are_no_traceparent_are_refused() {
        let good = context(true).to_string();
        let of = |trace: &str, span: &str| format!("00-{trace}-{span}-01");
        for text in [
            String::new(),
            good.replacen("00-", "01-", 1),
            good.to_uppercase(),
            format!("{good}-00"),
            good[..good.len() - 1].to_owned(),
            of(&"0".repeat(32), &"b2".repeat(8)),
            of(&"a1".repeat(16), &"0".repeat(16)),
            of(&"a1".repeat(15), &"b2".repeat(8)),
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(NotATraceContext), "{text}");
        }
    }
}
