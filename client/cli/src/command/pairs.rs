//! `defs pairs --plan`, `--apply` and `--auto`: which pairs would be better, why, and doing it one
//! replacement after the other.

use std::time::Duration;

use anyhow::{Result, bail};
use defs_wire::admin as pb;
use serde_json::{Value, json};

use super::Context;
use super::explain::any_admin;
use super::local::short;
use crate::admin::Admin;
use crate::say::bytes;

/// How often it is looked how far a replacement is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) async fn plan(context: &Context) -> Result<()> {
    let mut admin = any_admin(context).await?;
    let arrangement = admin.arrange().await?;
    context.say.event(&object(&arrangement), || text(&arrangement));
    Ok(())
}

pub(super) async fn apply(context: &Context) -> Result<()> {
    let mut admin = any_admin(context).await?;
    let arrangement = admin.arrange().await?;
    context.say.event(&object(&arrangement), || text(&arrangement));
    carry_out(context, &mut admin, &arrangement).await
}

/// Plans and carries out until the process is interrupted. What goes wrong once is said, and
/// looked at again the next time.
pub(super) async fn auto(context: &Context, every: u32) -> Result<()> {
    let mut looks = tokio::time::interval(Duration::from_secs(every.into()));
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if let Err(error) = look_once(context).await {
            let told = json!({ "event": "waiting", "why": format!("{error:#}") });
            context.say.event(&told, || format!("not now: {error:#}"));
        }
    }
}

async fn look_once(context: &Context) -> Result<()> {
    let mut admin = any_admin(context).await?;
    let arrangement = admin.arrange().await?;
    if arrangement.exchanges.iter().all(|exchange| exchange.steps.is_empty()) {
        return Ok(());
    }
    context.say.event(&object(&arrangement), || text(&arrangement));
    carry_out(context, &mut admin, &arrangement).await
}

async fn carry_out(
    context: &Context,
    admin: &mut Admin,
    arrangement: &pb::ArrangeResponse,
) -> Result<()> {
    let mut done = 0;
    for exchange in &arrangement.exchanges {
        for step in &exchange.steps {
            replace(context, admin, step).await?;
            done += 1;
        }
    }
    let blocked = arrangement.exchanges.iter().filter(|one| !one.blocked.is_empty()).count();
    context.say.event(&json!({ "event": "applied", "steps": done, "blocked": blocked }), || {
        let rest =
            if blocked > 0 { format!("; {blocked} changes are blocked") } else { String::new() };
        format!("{done} members were replaced{rest}")
    });
    Ok(())
}

/// One replacement, to its end: the new member has everything before the old one leaves.
async fn replace(context: &Context, admin: &mut Admin, step: &pb::PairStep) -> Result<()> {
    context.say.note(&format!("{} (this goes on if you stop waiting)", step_text(step)));
    let mut told = None;
    loop {
        let Some(pair) = admin.pairs().await?.into_iter().find(|it| it.pair_id == step.pair_id)
        else {
            bail!("pair {} is not known any more", short(&step.pair_id));
        };
        let has = |node: &str| [&pair.primary_id, &pair.mirror_id].into_iter().any(|it| it == node);
        if has(&step.joins_id) && pair.primary_alive && pair.mirror_alive {
            break;
        }
        let is_as_planned = has(&step.leaves_id) && has(&step.stays_id);
        if !is_as_planned && !has(&step.joins_id) {
            bail!("pair {} has other members meanwhile: plan again", short(&step.pair_id));
        }
        // A word is good for one epoch: new witnesses begin another one.
        if has(&step.leaves_id) && told != Some(pair.epoch) {
            let (pair_id, to_id) = (step.pair_id.clone(), step.joins_id.clone());
            let place = pb::Place { pair_id, epoch: pair.epoch, to_id };
            admin.yields(&step.leaves_id, place).await?;
            told = Some(pair.epoch);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    context.say.event(&step_object("replaced", step), || {
        format!(
            "pair {}: {} is in {}'s place, and has everything",
            short(&step.pair_id),
            short(&step.joins_id),
            short(&step.leaves_id)
        )
    });
    Ok(())
}

fn object(arrangement: &pb::ArrangeResponse) -> Value {
    let waiting = |one: &pb::WaitingExchange| json!({ "why": one.why, "exchange": one.exchange.as_ref().map(exchange_object) });
    let exchanges: Vec<_> = arrangement.exchanges.iter().map(exchange_object).collect();
    let waiting: Vec<_> = arrangement.waiting.iter().map(waiting).collect();
    json!({
        "event": "plan", "exchanges": exchanges, "waiting": waiting,
        "spares": arrangement.spare_ids, "kept": arrangement.kept,
        "skewPermille": arrangement.skew_permille, "unevenBytes": arrangement.uneven_bytes,
    })
}

fn exchange_object(exchange: &pb::Exchange) -> Value {
    let pair_move = |one: &pb::PairMove| {
        json!({
            "pair": one.pair_id, "stays": one.stays_id, "leaves": one.leaves_id,
            "joins": one.joins_id, "bytes": one.bytes, "before": one.fit_before,
            "after": one.fit_after,
        })
    };
    let moves: Vec<_> = exchange.moves.iter().map(pair_move).collect();
    let steps: Vec<_> = exchange.steps.iter().map(|step| step_object("step", step)).collect();
    json!({
        "gain": exchange.gain, "risk": exchange.risk, "moves": moves, "steps": steps,
        "blocked": exchange.blocked,
    })
}

fn step_object(event: &str, step: &pb::PairStep) -> Value {
    json!({
        "event": event, "pair": step.pair_id, "stays": step.stays_id, "leaves": step.leaves_id,
        "joins": step.joins_id, "bytes": step.bytes,
    })
}

fn text(arrangement: &pb::ArrangeResponse) -> String {
    let mut lines = Vec::new();
    for exchange in &arrangement.exchanges {
        lines.extend(exchange_lines(exchange, "better"));
        lines.extend(exchange.steps.iter().map(|step| format!("  step: {}", step_text(step))));
        if !exchange.blocked.is_empty() {
            lines.push(format!("  blocked: {}", exchange.blocked));
        }
    }
    for waiting in &arrangement.waiting {
        if let Some(exchange) = &waiting.exchange {
            lines.extend(exchange_lines(exchange, &format!("later ({})", waiting.why)));
        }
    }
    let spares: Vec<_> = arrangement.spare_ids.iter().map(|node| short(node)).collect();
    let spares = if spares.is_empty() { "none".to_owned() } else { spares.join(", ") };
    lines.push(format!("{} pairs stay as they are; spares: {spares}", arrangement.kept));
    lines.push(format!(
        "fills differ by {}.{} %; {} would have to move to even them out",
        arrangement.skew_permille / 10,
        arrangement.skew_permille % 10,
        bytes(arrangement.uneven_bytes)
    ));
    lines.join("\n")
}

fn exchange_lines(exchange: &pb::Exchange, heading: &str) -> Vec<String> {
    let mut lines = vec![format!("{heading}: {}; {}", exchange.gain, exchange.risk)];
    for one in &exchange.moves {
        lines.push(format!(
            "  pair {}: {} instead of {} beside {}, {}",
            short(&one.pair_id),
            short(&one.joins_id),
            short(&one.leaves_id),
            short(&one.stays_id),
            bytes(one.bytes)
        ));
        lines.push(format!("    now {}", one.fit_before));
        lines.push(format!("    then {}", one.fit_after));
    }
    lines
}

fn step_text(step: &pb::PairStep) -> String {
    format!(
        "{} copies {} of pair {} from {}, then {} leaves",
        short(&step.joins_id),
        bytes(step.bytes),
        short(&step.pair_id),
        short(&step.stays_id),
        short(&step.leaves_id)
    )
}
