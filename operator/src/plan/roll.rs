//! Pods that are made of yesterday's settings or image are made anew, one by one.

use super::{KnownPair, Machine, Member};

/// Whose pod is to be made anew now. First whoever doesn't serve anyway, since what it lacks may
/// be just the new version; then, only while every pair is whole, spares before mirrors before
/// primaries. So each pair is waited for before the next member goes.
pub(crate) fn next_restart<'a>(members: &'a [Member], pairs: &[KnownPair]) -> Option<&'a str> {
    let mut outdated: Vec<_> = members.iter().filter(|it| it.is_outdated).collect();
    let is_stuck = |it: &&&Member| {
        !it.is_heard && !it.is_ready && matches!(it.machine, Machine::Ready | Machine::None)
    };
    if let Some(stuck) = outdated.iter().find(is_stuck) {
        return Some(&stuck.name);
    }
    let all_serve = members.iter().all(|it| it.is_heard && it.is_ready)
        && pairs.iter().all(|pair| pair.is_healthy && !pair.is_changing());
    if !all_serve {
        return None;
    }
    let turn = |it: &&Member| {
        let pair = pairs.iter().find(|pair| pair.members.contains(&it.name));
        pair.map(|pair| pair.primary.as_ref() == Some(&it.name))
    };
    outdated.sort_by_key(turn);
    outdated.first().map(|it| it.name.as_str())
}
