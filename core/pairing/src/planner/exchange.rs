//! Which exchanges between today's pairs and better ones begin now, and why the others
//! wait.

use std::cmp::{Ordering, Reverse};
use std::time::Duration;

use defs_core::ids::NodeId;

use super::cost::{Total, WORST_FIT};
use super::fit::Fit;
use super::policy::Policy;
use super::report::{Exchange, Gain, Move, Plan, Risk, Wait};
use super::ring::{Step, best_swap, rings};
use super::today::Today;

/// A swap changes two pairs: nothing smaller makes sense, unless there is a spare.
const SWAP: usize = 2;

/// Adds to `plan` what becomes of today's pairs at `now`.
pub(super) fn judge<F: Fn(&NodeId, &NodeId) -> Option<Duration>>(
    today: &Today<F>,
    policy: &Policy,
    now: Duration,
    plan: &mut Plan,
) {
    let next = today.board.solve(Some(today.mates.clone()));
    let mut worth = Vec::new();
    for ring in rings(today, &next) {
        let (steps, wait) = startable(today, ring, policy, now);
        let Some(exchange) = explained(today, &steps, policy) else { continue };
        match wait.or_else(|| too_little(&exchange, policy)) {
            Some(wait) => plan.waiting.push((exchange, wait)),
            None => worth.push(exchange),
        }
    }
    worth.sort_by(by_urgency);
    let mut changing = 0;
    for exchange in worth {
        let with = changing + exchange.moves.len();
        if with <= policy.moves_max.get() || (changing == 0 && with <= SWAP) {
            changing = with;
            plan.exchanges.push(exchange);
        } else {
            plan.waiting.push((exchange, Wait::TooMany));
        }
    }
    plan.kept = today.pairs.len().saturating_sub(changing);
}

/// The ring itself if all of it may begin now, or else its best swap that may, or else the
/// ring and why it waits.
fn startable<F: Fn(&NodeId, &NodeId) -> Option<Duration>>(
    today: &Today<F>,
    ring: Vec<Step>,
    policy: &Policy,
    now: Duration,
) -> (Vec<Step>, Option<Wait>) {
    let cooling = |step: &Step| {
        let (pair, _) = today.pairs.get(step.pair)?;
        let until = pair.changed?.saturating_add(policy.cooldown);
        (until > now).then_some(Wait::CoolingDown { pair: pair.pair, until })
    };
    let wait = ring.iter().find_map(cooling);
    let is_too_long = ring.len() > policy.moves_max.get().max(SWAP);
    if wait.is_none() && !is_too_long {
        return (ring, None);
    }
    let calm: Vec<_> = ring.iter().filter(|step| cooling(step).is_none()).copied().collect();
    match best_swap(today, &calm) {
        Some(swap) => (swap, None),
        None => (ring, wait.or(Some(Wait::TooMany))),
    }
}

/// An exchange with its reasons; nothing if today is as good.
fn explained<F: Fn(&NodeId, &NodeId) -> Option<Duration>>(
    today: &Today<F>,
    steps: &[Step],
    policy: &Policy,
) -> Option<Exchange> {
    let board = &today.board;
    let (mut before, mut after) = (Total::default(), Total::default());
    let mut moves = Vec::with_capacity(steps.len());
    let (mut fit_before, mut fit_after) = (0_u64, 0_u64);
    for Step { pair, stays, leaves, joins } in steps.iter().copied() {
        let (paired, _) = today.pairs.get(pair)?;
        let sites = [today.site(stays)?, today.site(leaves)?, today.site(joins)?];
        let [stayer, leaver, joiner] = sites;
        board.count(&mut before, stays, leaves);
        board.count(&mut after, stays, joins);
        fit_before += board.lack(stayer, leaver);
        fit_after += board.lack(stayer, joiner);
        if today.is_nobody(today.mate(joins)) {
            before.add(board.cost(joins, today.mate(joins)));
        }
        let fit = |a, b| Fit::new(a, b, board.took(a, b), &policy.weights);
        moves.push(Move {
            pair: paired.pair,
            stays: stayer.node,
            leaves: leaver.node,
            joins: joiner.node,
            bytes: paired.held,
            before: fit(stayer, leaver),
            after: fit(stayer, joiner),
        });
    }
    // Who leaves and joins nobody is the spare from now on.
    let joined = |at: usize| steps.iter().any(|step| step.joins == at);
    let leaver = steps.iter().map(|step| step.leaves).find(|leaves| !joined(*leaves));
    after.add(leaver.map_or(0, |leaver| board.alone(leaver)));
    if after >= before {
        return None;
    }
    let worst = WORST_FIT * u64::try_from(steps.len()).unwrap_or(u64::MAX);
    let hundredths = fit_before.saturating_sub(fit_after);
    let percent = (hundredths * 100).checked_div(worst.saturating_sub(fit_before)).unwrap_or(100);
    let bytes = moves.iter().map(|one| one.bytes).fold(0, u64::saturating_add);
    let risk = if bytes == 0 { Risk::Nothing } else { Risk::Copying { pairs: moves.len() } };
    Some(Exchange { moves, gain: gain(&before, &after, hundredths, percent), bytes, risk })
}

/// The first thing that gets better, the worst offence first.
fn gain(before: &Total, after: &Total, hundredths: u64, percent: u64) -> Gain {
    let fewer = |before: u64, after: u64| before.checked_sub(after).filter(|fewer| *fewer > 0);
    fewer(before.unmet, after.unmet)
        .map(Gain::Unmet)
        .or_else(|| fewer(before.same_host, after.same_host).map(Gain::Hosts))
        .or_else(|| fewer(before.too_far, after.too_far).map(Gain::RoundTrips))
        .or_else(|| fewer(before.same_zone, after.same_zone).map(Gain::Zones))
        .or_else(|| fewer(before.same_region, after.same_region).map(Gain::Regions))
        .unwrap_or(Gain::Fit { hundredths, percent })
}

fn too_little(exchange: &Exchange, policy: &Policy) -> Option<Wait> {
    match exchange.gain {
        Gain::Fit { percent, .. } if percent < u64::from(policy.min_gain_percent) => {
            Some(Wait::TooLittle { percent })
        }
        _ => None,
    }
}

/// The worst offences first, then what gains the most by the byte.
fn by_urgency(one: &Exchange, other: &Exchange) -> Ordering {
    let by_byte = |gain: u64, exchange: &Exchange| {
        u128::from(gain) * u128::from(exchange.bytes.saturating_add(1))
    };
    let order = match (one.gain, other.gain) {
        (Gain::Fit { hundredths: first, .. }, Gain::Fit { hundredths: second, .. }) => {
            by_byte(second, one).cmp(&by_byte(first, other))
        }
        (first, second) => second.cmp(&first),
    };
    let pair = |exchange: &Exchange| Reverse(exchange.moves.first().map(|first| first.pair));
    order.then(one.bytes.cmp(&other.bytes)).then(pair(other).cmp(&pair(one)))
}
