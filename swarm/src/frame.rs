//! Room for the frames of bodies. It is used again once whoever took a frame drops it:
//! fresh memory would have to be cleared first, which costs a tenth of moving the bytes.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use defs_core::message::FRAME_MAX;

/// Where frames are kept until they are used again. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Frames {
    kept: Arc<Mutex<Vec<Box<[u8]>>>>,
    /// As many are kept at most; more may be in use at once, and are freed.
    most: usize,
}

impl Frames {
    pub(crate) fn new(most: usize) -> Self {
        Self { kept: Arc::default(), most }
    }

    /// A frame with whatever was in it before.
    pub(crate) fn take(&self) -> Frame {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let room = kept.unwrap_or_else(|| vec![0; FRAME_MAX].into());
        Frame { room, length: 0, home: self.clone() }
    }
}

/// [`FRAME_MAX`] bytes, of which the first `length` are filled.
pub(crate) struct Frame {
    room: Box<[u8]>,
    length: usize,
    home: Frames,
}

impl Frame {
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
        let mut kept = self.home.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < self.home.most {
            kept.push(std::mem::take(&mut self.room));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_used_again_shows_nothing_but_what_was_filled() {
        let frames = Frames::new(1);
        let mut frame = frames.take();
        frame.bytes_mut()[..3].copy_from_slice(b"abc");
        let first = frame.filled(3);
        assert_eq!(first, "abc");
        drop(first);
        let mut again = frames.take();
        again.bytes_mut()[0] = b'x';
        assert_eq!(again.filled(1), "x");
    }
}
