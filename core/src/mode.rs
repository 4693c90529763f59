//! The ways a file can be stored, and the choice among them: a pure function of the
//! file's size, what was asked for and the pairs that are open now.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::geometry::{Geometry, GeometryError};
use crate::manifest::INLINE_MAX;
use crate::size::Size;

/// How a file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Choose by size and network.
    Auto,
    /// The whole sealed file as one slice, replicated.
    File,
    /// Slices, each replicated, no coding.
    Slice,
    /// Slices coded with a number of shards that follows from the parity ratio.
    RsProportion,
    /// Slices coded with given numbers of data and parity shards.
    RsSize,
}

const MODES: &[(Mode, &str)] = &[
    (Mode::Auto, "auto"),
    (Mode::File, "file"),
    (Mode::Slice, "slice"),
    (Mode::RsProportion, "rs-proportion"),
    (Mode::RsSize, "rs-size"),
];

/// A text that names no mode.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a storage mode: auto, file, slice, rs-proportion or rs-size")]
pub struct NotAMode(String);

impl Mode {
    /// The byte that stands for a mode in a manifest. `Auto` is never stored.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Auto => 0,
            Self::File => 1,
            Self::Slice => 2,
            Self::RsProportion => 3,
            Self::RsSize => 4,
        }
    }

    /// The stored mode of `code`.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        MODES.iter().map(|(mode, _)| *mode).find(|mode| mode.code() == code && code != 0)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = MODES.iter().find(|(mode, _)| mode == self).map_or("auto", |(_, name)| name);
        out.write_str(name)
    }
}

impl FromStr for Mode {
    type Err = NotAMode;
    fn from_str(text: &str) -> Result<Self, NotAMode> {
        let plain = text.to_ascii_lowercase().replace(['-', '_'], "");
        MODES
            .iter()
            .find(|(_, name)| name.replace('-', "") == plain)
            .map(|(mode, _)| *mode)
            .ok_or_else(|| NotAMode(text.chars().take(40).collect()))
    }
}

/// How many whole pairs may vanish without loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Durability(pub u8);

impl Durability {
    /// One node of each pair may vanish, but no pair: no parity at all.
    pub const PAIR: Self = Self(0);
    /// The default promise: any one whole pair may vanish.
    pub const ONE_PAIR: Self = Self(1);
}

impl FromStr for Durability {
    type Err = NotADurability;
    fn from_str(text: &str) -> Result<Self, NotADurability> {
        match text {
            "pair" => Ok(Self::PAIR),
            _ => match text.parse() {
                Ok(pairs @ 1..=100) => Ok(Self(pairs)),
                _ => Err(NotADurability(text.chars().take(40).collect())),
            },
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::PAIR { out.write_str("pair") } else { self.0.fmt(out) }
    }
}

/// A text that names no durability.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a durability: `pair`, or the number of pairs that may vanish, 1 to 100")]
pub struct NotADurability(String);

/// What the owner asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// `Auto`, or a mode by name.
    pub mode: Mode,
    /// k, where it was given.
    pub data: Option<u32>,
    /// m, where it was given.
    pub parity: Option<u32>,
    /// m/k for `RsProportion`, in thousandths.
    pub parity_permille: u32,
    /// Pairs that may vanish.
    pub durability: Durability,
    /// The largest shard.
    pub shard_size: Size,
    /// The smallest slice, but for the last.
    pub slice_min: Size,
    /// The largest slice.
    pub slice_max: Size,
    /// Place even what a lost pair would destroy.
    pub unsafe_placement: bool,
}

impl Wish {
    /// The largest slice of a file that is laid out like this: in mode rs-proportion its
    /// shards keep to `shard_size`, as far as the smallest slice allows.
    #[must_use]
    pub fn largest_slice(&self, layout: &Layout) -> Size {
        match layout.mode {
            Mode::RsProportion => self.slice_of_shards(layout.geometry.data() as u64),
            Mode::Auto | Mode::File | Mode::Slice | Mode::RsSize => self.slice_max,
        }
    }

    /// The largest slice that `data` shards can carry.
    fn slice_of_shards(&self, data: u64) -> Size {
        Size(self.shard_size.0.saturating_mul(data)).min(self.slice_max).max(self.slice_min)
    }
}

/// How one file will be stored, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Never `Auto`.
    pub mode: Mode,
    /// Of every stripe.
    pub geometry: Geometry,
    /// The most shards of a stripe on one pair.
    pub per_pair: usize,
    /// Pairs that were open when it was chosen.
    pub pairs: usize,
    /// Whether the content rides inside the manifest.
    pub inline: bool,
    /// One sentence for people.
    pub why: String,
}

/// Why a file can't be stored as asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// The numbers of shards are out of bounds.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// More than one slice would be needed.
    #[error("mode file holds at most {limit}, this file has {length} bytes: use slice or rs-size")]
    TooLargeForFile {
        /// The largest slice.
        limit: Size,
        /// Bytes of the file.
        length: u64,
    },
    /// File mode needs to know the length.
    #[error("mode file needs a file of known length, not a stream: use auto, slice or rs-size")]
    UnknownLength,
    /// The placement rule can't hold with the pairs there are.
    #[error(
        "{geometry} with durability {durability} needs {need} open pairs so that no pair holds too \
         much of a stripe, {have} are open: start more nodes, ask for another geometry, or say \
         --unsafe-placement"
    )]
    TooFewPairs {
        /// What was to be placed.
        geometry: Geometry,
        /// What was promised.
        durability: Durability,
        /// Pairs needed.
        need: usize,
        /// Pairs open.
        have: usize,
    },
    /// The parity can't make up for the pairs that may vanish.
    #[error("{geometry} has {} parity shards: too few for {durability} lost pairs", geometry.parity())]
    TooLittleParity {
        /// What was asked for.
        geometry: Geometry,
        /// What was promised.
        durability: Durability,
    },
}

/// Files up to this size are replicated whole: ten shards of them would be tiny.
const FILE_MODE_MAX: u64 = 256 << 10;

/// Files from this size are coded 10+4.
const RS_SIZE_MIN: u64 = 16 << 20;

/// The smallest shard that is worth a file and a receipt of its own.
const SHARD_MIN: u64 = 64 << 10;

/// What auto tries for large files, best first; the later ones fit fewer pairs.
const LARGE: &[(u32, u32)] = &[(10, 4), (4, 2), (2, 2), (1, 1)];

/// Chooses how a file of `length` bytes (`None`: a stream) is stored on `pairs` open pairs.
pub fn choose(length: Option<u64>, wish: &Wish, pairs: usize) -> Result<Layout, LayoutError> {
    match wish.mode {
        Mode::Auto => choose_auto(length, wish, pairs),
        Mode::File => {
            let length = length.ok_or(LayoutError::UnknownLength)?;
            if length > wish.slice_max.0 {
                return Err(LayoutError::TooLargeForFile { limit: wish.slice_max, length });
            }
            replicated(Mode::File, Some(length), wish, pairs)
        }
        Mode::Slice => replicated(Mode::Slice, length, wish, pairs),
        Mode::RsProportion => {
            let geometry = proportional(length, wish)?;
            fit(Mode::RsProportion, geometry, wish, pairs, "parity in proportion, as asked")
        }
        Mode::RsSize => {
            let geometry = Geometry::new(wish.data.unwrap_or(10), wish.parity.unwrap_or(4))?;
            fit(Mode::RsSize, geometry, wish, pairs, "numbers of shards as asked")
        }
    }
}

fn choose_auto(length: Option<u64>, wish: &Wish, pairs: usize) -> Result<Layout, LayoutError> {
    if wish.data.is_some() || wish.parity.is_some() {
        return choose(length, &Wish { mode: Mode::RsSize, ..wish.clone() }, pairs);
    }
    if wish.durability == Durability::PAIR {
        return replicated(Mode::Slice, length, wish, pairs);
    }
    if length.is_some_and(|length| length <= FILE_MODE_MAX) {
        return replicated(Mode::File, length, wish, pairs);
    }
    if length.is_some_and(|length| length < RS_SIZE_MIN) {
        let geometry = proportional(length, wish)?;
        let why = "a middle-sized file: as many shards as are worth a file each";
        if let Ok(layout) = fit(Mode::RsProportion, geometry, wish, pairs, why) {
            return Ok(layout);
        }
    }
    let mut refused = None;
    for (data, parity) in LARGE {
        // Durability N needs N times the parity of one pair.
        let parity = parity * u32::from(wish.durability.0.max(1));
        let geometry = Geometry::new(*data, parity.min(100))?;
        match fit(
            Mode::RsSize,
            geometry,
            wish,
            pairs,
            "the most economical that fits the open pairs",
        ) {
            Ok(layout) => return Ok(layout),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(match refused {
        Some(error) => error,
        None => LayoutError::UnknownLength,
    })
}

/// k = 1: one more copy for each pair that may vanish.
fn replicated(
    mode: Mode,
    length: Option<u64>,
    wish: &Wish,
    pairs: usize,
) -> Result<Layout, LayoutError> {
    let geometry = Geometry::new(1, wish.durability.0.into())?;
    let inline = mode == Mode::File && length.is_some_and(|length| length <= INLINE_MAX);
    let why = if inline { "small enough to ride inside its manifest" } else { "replicated whole" };
    Ok(Layout { inline, ..fit(mode, geometry, wish, pairs, why)? })
}

/// The largest k of 5, 10 and 20 whose shards are not tiny, or a larger one where its
/// shards would be over the bound.
fn proportional(length: Option<u64>, wish: &Wish) -> Result<Geometry, LayoutError> {
    let shard = |data: u32| {
        let slice = wish.slice_of_shards(data.into()).0;
        length.unwrap_or(slice).min(slice).div_ceil(data.into())
    };
    let mut data = [20_u32, 10, 5].into_iter().find(|k| shard(*k) >= SHARD_MIN).unwrap_or(5);
    while data < 20 && shard(data) > wish.shard_size.0 {
        data *= 2;
    }
    let wanted = (data * wish.parity_permille).div_ceil(1000);
    Ok(Geometry::new(data, wanted.max(wish.durability.0.into()))?)
}

/// The layout of `geometry`, if the pairs suffice for the promise.
fn fit(
    mode: Mode,
    geometry: Geometry,
    wish: &Wish,
    pairs: usize,
    why: &str,
) -> Result<Layout, LayoutError> {
    let durability = wish.durability;
    let layout = |per_pair: usize| {
        let why = why.to_owned();
        Layout { mode, geometry, per_pair, pairs, inline: false, why }
    };
    if wish.unsafe_placement && pairs > 0 {
        return Ok(layout(geometry.total()));
    }
    let tolerated = usize::from(durability.0);
    // Without a promise for whole pairs, any spread will do.
    let per_pair = geometry.parity().checked_div(tolerated).unwrap_or_else(|| geometry.total());
    if per_pair == 0 {
        return Err(LayoutError::TooLittleParity { geometry, durability });
    }
    let need = geometry.total().div_ceil(per_pair);
    if pairs < need {
        return Err(LayoutError::TooFewPairs { geometry, durability, need, have: pairs });
    }
    Ok(layout(per_pair))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wish(mode: Mode) -> Wish {
        Wish {
            mode,
            data: None,
            parity: None,
            parity_permille: 400,
            durability: Durability::ONE_PAIR,
            shard_size: Size::mib(32),
            slice_min: Size::mib(1),
            slice_max: Size::mib(64),
            unsafe_placement: false,
        }
    }

    fn chosen(length: u64, pairs: usize) -> (Mode, String) {
        let layout = choose(Some(length), &wish(Mode::Auto), pairs).unwrap();
        (layout.mode, layout.geometry.to_string())
    }

    #[test]
    fn auto_chooses_by_size_and_by_the_pairs_that_are_open() {
        assert_eq!(chosen(0, 5), (Mode::File, "1+1".into()));
        assert_eq!(chosen(FILE_MODE_MAX, 5), (Mode::File, "1+1".into()));
        assert_eq!(chosen(FILE_MODE_MAX + 1, 5), (Mode::RsProportion, "5+2".into()));
        assert_eq!(chosen(1 << 20, 5), (Mode::RsProportion, "10+4".into()));
        assert_eq!(chosen(RS_SIZE_MIN, 5), (Mode::RsSize, "10+4".into()));
        assert_eq!(chosen(1 << 30, 3), (Mode::RsSize, "4+2".into()));
        assert_eq!(chosen(1 << 30, 2), (Mode::RsSize, "2+2".into()));
        assert_eq!(chosen(1 << 20, 2), (Mode::RsSize, "2+2".into()));
    }

    #[test]
    fn too_few_pairs_are_refused_with_the_number_needed() {
        let refused = choose(Some(1 << 30), &wish(Mode::RsSize), 3).unwrap_err();
        assert!(matches!(refused, LayoutError::TooFewPairs { need: 4, have: 3, .. }), "{refused}");
        let allowed = Wish { unsafe_placement: true, ..wish(Mode::RsSize) };
        assert_eq!(choose(Some(1 << 30), &allowed, 3).unwrap().per_pair, 14);
        assert!(choose(Some(9), &wish(Mode::Auto), 1).is_err());
    }

    #[test]
    fn file_mode_is_one_slice_of_known_length() {
        let over = choose(Some((64 << 20) + 1), &wish(Mode::File), 5);
        assert!(matches!(over, Err(LayoutError::TooLargeForFile { .. })));
        assert_eq!(choose(None, &wish(Mode::File), 5), Err(LayoutError::UnknownLength));
        assert!(choose(Some(64 << 20), &wish(Mode::File), 5).is_ok());
    }

    #[test]
    fn durability_changes_copies_and_parity_by_name() {
        let pair = Wish { durability: Durability::PAIR, ..wish(Mode::Slice) };
        assert_eq!(choose(Some(1 << 30), &pair, 1).unwrap().geometry.to_string(), "1+0");
        let two = Wish { durability: Durability(2), ..wish(Mode::Auto) };
        let layout = choose(Some(1 << 30), &two, 6).unwrap();
        assert_eq!((layout.geometry.to_string().as_str(), layout.per_pair), ("10+8", 4));
        let thin = Wish { parity: Some(1), durability: Durability(2), ..wish(Mode::RsSize) };
        assert!(matches!(choose(Some(9), &thin, 9), Err(LayoutError::TooLittleParity { .. })));
    }

    #[test]
    fn only_small_files_ride_inside_their_manifest() {
        assert!(choose(Some(INLINE_MAX), &wish(Mode::Auto), 5).unwrap().inline);
        assert!(!choose(Some(INLINE_MAX + 1), &wish(Mode::Auto), 5).unwrap().inline);
        assert!(!choose(Some(1), &wish(Mode::Slice), 5).unwrap().inline);
    }

    #[test]
    fn mode_names_read_back_in_every_spelling() {
        for (mode, name) in MODES {
            assert_eq!(name.parse(), Ok(*mode));
            assert_eq!(Mode::from_code(mode.code()).is_none(), *mode == Mode::Auto);
        }
        assert_eq!("RsProportion".parse(), Ok(Mode::RsProportion));
        assert!("raid".parse::<Mode>().is_err());
    }

    proptest! {
        #[test]
        fn whatever_auto_chooses_survives_the_loss_of_a_pair(length: u64, pairs in 2_usize..40) {
            let layout = choose(Some(length), &wish(Mode::Auto), pairs).unwrap();
            prop_assert!(layout.per_pair <= layout.geometry.parity());
            prop_assert!(layout.per_pair * pairs >= layout.geometry.total());
        }
    }
}
