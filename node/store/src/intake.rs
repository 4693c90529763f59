//! Bytes on their way in: hashed, checksummed and handed on frame by frame.

use defs_core::body::Body;
use defs_core::ids::ShardId;
use defs_core::port::DiskError;

/// Takes all of `body`, gives each frame to `keep`, and answers with the CRC32 of the
/// whole if its BLAKE3 is `expected`.
pub(crate) fn take(
    mut body: Body,
    expected: ShardId,
    mut keep: impl FnMut(&[u8]) -> Result<(), DiskError>,
) -> Result<u32, DiskError> {
    let mut digest = Digest::default();
    while let Some(frame) = body.blocking_next()? {
        digest.update(&frame);
        keep(&frame)?;
    }
    let (id, crc) = digest.finish();
    if id == expected { Ok(crc) } else { Err(DiskError::WrongBytes) }
}

/// Both checks of sealed bytes: the name and the rot check.
#[derive(Debug, Default)]
pub(crate) struct Digest {
    id: blake3::Hasher,
    crc: crc32fast::Hasher,
}

impl Digest {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.id.update(bytes);
        self.crc.update(bytes);
    }

    pub(crate) fn finish(self) -> (ShardId, u32) {
        (ShardId(*self.id.finalize().as_bytes()), self.crc.finalize())
    }
}
