//! The bytes of journal rows. They are sealed before they are stored.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use defs_core::format::{Format, FormatError, Reader, Writer};
use defs_core::geometry::Geometry;
use defs_core::manifest::{ManifestPage, NAME_MAX};
use defs_core::mode::Mode;

use super::plan::{DownloadPlan, FileStamp, Plan, SliceRow, UploadPlan};
use crate::keys::FileKey;
use crate::ticket::Ticket;

/// The longest path of any Linux call.
const PATH_MAX: usize = 4096;

fn write_path(out: &mut Writer, path: &Path) {
    out.bytes(path.as_os_str().as_bytes());
}

fn read_path(input: &mut Reader<'_>) -> Result<PathBuf, FormatError> {
    Ok(OsString::from_vec(input.bytes("path", PATH_MAX)?.to_vec()).into())
}

fn write_stamp(out: &mut Writer, stamp: &FileStamp) {
    out.u64(stamp.device);
    out.u64(stamp.inode);
    out.u64(stamp.length);
    out.raw(&stamp.modified_ns.to_le_bytes());
}

fn read_stamp(input: &mut Reader<'_>) -> Result<FileStamp, FormatError> {
    Ok(FileStamp {
        device: input.u64("device")?,
        inode: input.u64("inode")?,
        length: input.u64("length")?,
        modified_ns: i128::from_le_bytes(input.array("modified")?),
    })
}

impl Format for Plan {
    const NAME: &'static str = "a task";

    fn write(&self, out: &mut Writer) {
        out.u8(self.kind_code());
        match self {
            Self::Upload(plan) => write_upload(out, plan),
            Self::Download(plan) => {
                plan.ticket.write_versioned(out);
                out.bytes(plan.name.as_bytes());
                write_path(out, &plan.target);
                write_path(out, &plan.partial);
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        match input.u8("kind")? {
            1 => read_upload(input).map(Self::Upload),
            2 => Ok(Self::Download(DownloadPlan {
                ticket: Ticket::read_versioned(input)?,
                name: input.text("name", NAME_MAX)?,
                target: read_path(input)?,
                partial: read_path(input)?,
            })),
            _ => Err(FormatError::Invalid("kind")),
        }
    }
}

fn write_upload(out: &mut Writer, plan: &UploadPlan) {
    let UploadPlan {
        name,
        source,
        key,
        lock_seed,
        file_random,
        mode,
        geometry,
        per_pair,
        slice_size,
        replace,
    } = plan;
    out.bytes(name.as_bytes());
    out.option(source.as_ref(), |out, (path, stamp)| {
        write_path(out, path);
        write_stamp(out, stamp);
    });
    out.raw(key.bytes());
    out.raw(lock_seed);
    out.raw(file_random);
    out.u8(mode.code());
    let (data, parity) = (*geometry).into();
    out.u8(data);
    out.u8(parity);
    out.u8(*per_pair);
    out.u64(*slice_size);
    out.u8(u8::from(*replace));
}

fn read_upload(input: &mut Reader<'_>) -> Result<UploadPlan, FormatError> {
    Ok(UploadPlan {
        name: input.text("name", NAME_MAX)?,
        source: input.option("source", |input| Ok((read_path(input)?, read_stamp(input)?)))?,
        key: FileKey::from_bytes(input.array("key")?),
        lock_seed: input.array("lock seed")?,
        file_random: input.array("file random")?,
        mode: Mode::from_code(input.u8("mode")?).ok_or(FormatError::Invalid("mode"))?,
        geometry: {
            let geometry = Geometry::new(input.u8("data")?.into(), input.u8("parity")?.into());
            geometry.map_err(|_bounds| FormatError::Invalid("geometry"))?
        },
        per_pair: input.u8("per pair")?,
        slice_size: input.u64("slice size")?,
        replace: input.u8("replace")? == 1,
    })
}

impl Format for SliceRow {
    const NAME: &'static str = "a slice's progress";

    fn write(&self, out: &mut Writer) {
        match self {
            Self::Begun(salt) => {
                out.u8(1);
                out.raw(salt);
            }
            Self::Done(entry) => {
                out.u8(2);
                ManifestPage { head: None, slices: vec![entry.clone()] }.write(out);
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        match input.u8("slice state")? {
            1 => Ok(Self::Begun(input.array("salt")?)),
            2 => {
                let page = ManifestPage::read(input)?;
                let entry = page.slices.into_iter().next();
                entry.map(Self::Done).ok_or(FormatError::Invalid("slice"))
            }
            _ => Err(FormatError::Invalid("slice state")),
        }
    }
}

#[cfg(test)]
mod tests {
    use defs_core::ids::{Digest, PairId, StripeId};
    use defs_core::manifest::SliceEntry;

    use super::*;

    #[test]
    fn plans_and_slices_read_back() {
        let upload = Plan::Upload(UploadPlan {
            name: "ünï".to_owned(),
            source: Some((
                PathBuf::from("/tmp/a file"),
                FileStamp { device: 1, inode: 2, length: 3, modified_ns: -4 },
            )),
            key: FileKey::from_bytes([5; 32]),
            lock_seed: [6; 32],
            file_random: [7; 32],
            mode: Mode::RsSize,
            geometry: Geometry::new(10, 4).unwrap(),
            per_pair: 4,
            slice_size: 1 << 24,
            replace: true,
        });
        let bytes = upload.encode();
        assert_eq!(Plan::decode(&bytes).unwrap().encode(), bytes);
        let entry = SliceEntry {
            length: 9,
            digest: Digest([1; 32]),
            salt: [2; 32],
            stripe: StripeId([3; 32]),
            pairs: vec![PairId([4; 16]), PairId([5; 16]), PairId([4; 16])],
        };
        for row in [SliceRow::Begun([8; 32]), SliceRow::Done(entry)] {
            assert_eq!(SliceRow::decode(&row.encode()), Ok(row));
        }
    }
}
