//! Room for the frames of bodies. It is used again once whoever took a frame drops it:
//! fresh memory would have to be cleared first, which costs a tenth of moving the bytes.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use defs_core::message::FRAME_MAX;

/// Frames kept for later, 16 MiB in all: as many as are under way in a busy node. More
/// may be in use at once; those are freed.
const KEPT_MAX: usize = 64;

static KEPT: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// [`FRAME_MAX`] bytes, of which the first `length` are filled.
pub(crate) struct Frame {
    room: Box<[u8]>,
    length: usize,
}

impl Frame {
    /// A frame with whatever was in it before.
    pub(crate) fn take() -> Self {
        let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self { room: kept.unwrap_or_else(|| vec![0; FRAME_MAX].into()), length: 0 }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.room
    }

    /// Its first `length` bytes, which have been filled.
    pub(crate) fn filled(mut self, length: usize) -> Bytes {
        self.length = length;
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.room[..self.length]
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(std::mem::take(&mut self.room));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_used_again_shows_nothing_but_what_was_filled() {
        let mut frame = Frame::take();
        frame.bytes_mut()[..3].copy_from_slice(b"abc");
        let first = frame.filled(3);
        assert_eq!(first, "abc");
        drop(first);
        let mut again = Frame::take();
        again.bytes_mut()[0] = b'x';
        assert_eq!(again.filled(1), "x");
    }
}
