//! Scores and plans as the admin API tells them.

use defs_engine::{Arrangement, Explained};
use defs_pairing::planner::{Blocked, Exchange, Move, Replace, Wait};
use defs_pairing::score::Part;
use defs_wire::admin as pb;

pub(crate) fn explained(explained: &Explained) -> pb::ExplainResponse {
    let Explained { node, observers, score } = explained;
    let part = |Part { dimension, points, weight }: &Part| pb::ScorePart {
        dimension: dimension.to_string(),
        points: points.get().into(),
        weight: u32::from(*weight),
        unit: dimension.unit().to_owned(),
        reading: score.reading(*dimension).to_string(),
    };
    pb::ExplainResponse {
        node_id: node.full(),
        observers: count(*observers),
        total: score.total.get().into(),
        parts: score.parts.iter().map(part).collect(),
        // Numbers by name: nothing in it can fail to be written.
        inputs_json: serde_json::to_string(&score.inputs).unwrap_or_default(),
    }
}

pub(crate) fn arranged(arrangement: &Arrangement) -> pb::ArrangeResponse {
    let Arrangement { plan, ways, balance } = arrangement;
    let exchanges = plan.exchanges.iter().zip(ways).map(|(one, way)| exchange(one, way)).collect();
    let waiting = |(one, why): &(Exchange, Wait)| pb::WaitingExchange {
        exchange: Some(exchange(one, &Ok(Vec::new()))),
        why: why.to_string(),
    };
    pb::ArrangeResponse {
        exchanges,
        waiting: plan.waiting.iter().map(waiting).collect(),
        spare_ids: plan.spares.iter().map(defs_core::ids::NodeId::full).collect(),
        kept: count(plan.kept),
        skew_permille: u32::try_from(balance.skew_before).unwrap_or(u32::MAX),
        uneven_bytes: balance.bytes(),
    }
}

fn exchange(exchange: &Exchange, way: &Result<Vec<Replace>, Blocked>) -> pb::Exchange {
    let Exchange { moves, gain, bytes: _, risk } = exchange;
    let (steps, blocked) = match way {
        Ok(steps) => (steps.iter().map(step).collect(), String::new()),
        Err(blocked) => (Vec::new(), blocked.to_string()),
    };
    pb::Exchange {
        gain: gain.to_string(),
        risk: risk.to_string(),
        moves: moves.iter().map(pair_move).collect(),
        steps,
        blocked,
    }
}

fn pair_move(one: &Move) -> pb::PairMove {
    let Move { pair, stays, leaves, joins, bytes, before, after } = one;
    pb::PairMove {
        pair_id: pair.full(),
        stays_id: stays.full(),
        leaves_id: leaves.full(),
        joins_id: joins.full(),
        bytes: *bytes,
        fit_before: before.to_string(),
        fit_after: after.to_string(),
    }
}

fn step(one: &Replace) -> pb::PairStep {
    let Replace { pair, stays, leaves, joins, bytes } = one;
    pb::PairStep {
        pair_id: pair.full(),
        stays_id: stays.full(),
        leaves_id: leaves.full(),
        joins_id: joins.full(),
        bytes: *bytes,
    }
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}
