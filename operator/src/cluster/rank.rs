//! What the last look at a cluster says of its nodes and pairs in points, for their own
//! controllers.

use defs_pairing::planner::{Fit, fit};
use defs_pairing::score::Weights;

use super::Looked;
use super::decide::Decided;
use crate::build::Names;
use crate::context::{Context, Ranking};
use crate::plan::KnownPair;

pub(super) fn rank(context: &Context, names: &Names, looked: &Looked, decided: &Decided) {
    let scores = looked.members.iter();
    let nodes = scores.filter_map(|it| Some((it.name.clone(), it.score.clone()?))).collect();
    let fits = looked.known_pairs.iter();
    let pairs: std::collections::BTreeMap<_, _> =
        fits.filter_map(|pair| Some((pair.name.clone(), fit_of(looked, pair)?))).collect();
    let steps = decided.plan.iter().flat_map(|plan| &plan.steps);
    let gap = |step: &defs_crds::cluster::status::PlanStep| {
        let total = u32::from(pairs.get(&step.pair)?.total.get());
        let gap = total.saturating_mul(step.gain_percent) / 100;
        Some((step.pair.clone(), u16::try_from(gap.min(1000)).unwrap_or(1000)))
    };
    let gaps = steps.filter_map(gap).collect();
    let ranking = Ranking { nodes, pairs, gaps };
    context.rankings.keep(&names.namespace, &names.cluster, ranking);
}

/// How well the two fit as they are.
fn fit_of(looked: &Looked, pair: &KnownPair) -> Option<Fit> {
    let member = |name: &String| looked.members.iter().find(|it| it.name == *name);
    let [one, other] = [member(&pair.members[0])?, member(&pair.members[1])?];
    let took = looked.survey.round_trip(&one.node?, &other.node?);
    fit(one.rated.as_ref()?, other.rated.as_ref()?, took, &Weights::default())
}

/// Points wander by a few all the time: what is written changes when it is off by so many.
const STEP: u16 = 25;

/// What is written of `now` where `before` stands.
pub(crate) fn steady(before: Option<u16>, now: u16) -> u16 {
    before.filter(|before| before.abs_diff(now) < STEP).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_stays_until_it_is_off_by_a_step() {
        assert_eq!(steady(None, 700), 700);
        assert_eq!(steady(Some(700), 724), 700);
        assert_eq!(steady(Some(700), 725), 725);
        assert_eq!(steady(Some(700), 675), 675);
    }
}
