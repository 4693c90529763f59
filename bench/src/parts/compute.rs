//! What needs processors only, on one of them.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use defs_codec::{SealingKey, encode, open_into, restore, seal, seal_into};
use defs_core::digest::{digest, shard_id};
use defs_core::ids::ShardIndex;
use defs_identity::SecretKey;
use defs_port_suite::disk::noise;

use crate::ceiling::{Part, Parts, Shape};
use crate::meter::{Spent, measure as laps, measure_ready};

const LABEL: &[u8] = b"bench";

/// Data shards that a lost pair takes with it on average, of ten on five pairs.
const LOST: usize = 2;

/// Slices that are ready before a lap of encoding, which consumes them: long enough for
/// the clock of the processor time.
const SLICES: usize = 8;

/// Signatures in a lap, for the same reason.
const SIGNATURES: usize = 200;

pub(super) fn measure(dose: Duration, shape: Shape) -> Result<Parts> {
    let slice = noise(1, usize::try_from(shape.slice)?);
    let shard = usize::try_from(shape.geometry.shard_length(shape.slice))?;
    let mut parts = Parts::new();
    parts.insert(Part::SealSlice, sealing(dose, &slice, slice.len())?);
    parts.insert(Part::OpenSlice, opening(dose, &slice, slice.len())?);
    parts.insert(Part::SealShards, sealing(dose, &slice, shard)?);
    parts.insert(Part::OpenShards, opening(dose, &slice, shard)?);
    parts.insert(Part::Encode, encoding(dose, shape, &slice)?);
    parts.insert(Part::Decode, decoding(dose, shape, &slice)?);
    parts.insert(Part::Hash, hashing(dose, &slice, shard)?);
    let (signed, checked) = signing(dose)?;
    parts.insert(Part::Sign, signed);
    parts.insert(Part::Verify, checked);
    Ok(parts)
}

fn key() -> SealingKey {
    SealingKey::from_bytes([7; 32])
}

/// `bytes` in messages of `length`.
fn sealing(dose: Duration, bytes: &Bytes, length: usize) -> Result<Spent> {
    let mut sealed = Vec::new();
    laps(dose, || {
        for message in bytes.chunks(length) {
            sealed.clear();
            seal_into(key(), LABEL, black_box(message), &mut sealed);
        }
        bytes.len()
    })
}

fn opening(dose: Duration, bytes: &Bytes, length: usize) -> Result<Spent> {
    let sealed: Vec<_> =
        bytes.chunks(length).map(|message| (message.len(), seal(key(), LABEL, message))).collect();
    let mut opened = vec![0; length];
    let mut open_all = || {
        sealed.iter().try_for_each(|(length, message)| {
            open_into(&key(), LABEL, black_box(message), &mut opened[..*length])
        })
    };
    open_all().context("what was sealed doesn't open")?;
    laps(dose, || {
        black_box(open_all().is_ok());
        bytes.len()
    })
}

fn encoding(dose: Duration, shape: Shape, slice: &Bytes) -> Result<Spent> {
    let padded = || {
        let mut coded = Vec::with_capacity(slice.len() + 64 * shape.geometry.data());
        coded.extend_from_slice(slice);
        coded
    };
    let ready = || (0..SLICES).map(|_| padded()).collect::<Vec<_>>();
    measure_ready(dose, ready, |slices| {
        slices.into_iter().for_each(|slice| drop(black_box(encode(shape.geometry, slice))));
        SLICES * slice.len()
    })
}

fn decoding(dose: Duration, shape: Shape, slice: &Bytes) -> Result<Spent> {
    let shards = encode(shape.geometry, slice.to_vec());
    let left: Vec<(ShardIndex, &[u8])> =
        shards.iter().skip(LOST).take(shape.geometry.data()).collect();
    let restored = restore(shape.geometry, shape.slice, &left)?;
    anyhow::ensure!(restored == slice[..], "decoding gave other bytes than were coded");
    laps(dose, || {
        black_box(restore(shape.geometry, shape.slice, black_box(&left)).is_ok());
        slice.len()
    })
}

fn hashing(dose: Duration, bytes: &Bytes, length: usize) -> Result<Spent> {
    laps(dose, || {
        for shard in bytes.chunks(length) {
            black_box(shard_id(black_box(shard)));
        }
        bytes.len()
    })
}

fn signing(dose: Duration) -> Result<(Spent, Spent)> {
    let key = SecretKey::from_seed(&[7; 32]);
    let (public, message) = (key.public(), digest("defs 2026 bench", b"message"));
    let signature = key.sign(&message);
    public.verify(&message, &signature)?;
    let signed = laps(dose, || {
        for _ in 0..SIGNATURES {
            black_box(key.sign(black_box(&message)));
        }
        SIGNATURES
    })?;
    let checked = laps(dose, || {
        for _ in 0..SIGNATURES {
            black_box(public.verify(black_box(&message), &signature).is_ok());
        }
        SIGNATURES
    })?;
    Ok((signed, checked))
}
