//! `kubectl defs plan` and `approve`: the plan for better pairs, and a person's word that it may
//! be carried out.

use anyhow::{Result, bail};
use defs_crds::DefsCluster;
use defs_crds::cluster::Approval;
use defs_crds::cluster::status::Plan;
use defs_crds::names::annotation::APPROVE_PLAN;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::access::Access;
use crate::figures::counted;
use crate::say::{Say, table};
use crate::seen::see;

pub(super) async fn show(access: &Access, cluster: Option<&str>, say: Say) -> Result<()> {
    let seen = see(access).await?;
    let cluster = seen.one_cluster(cluster)?;
    say.answer(|| json(cluster), || text(cluster));
    Ok(())
}

pub(super) async fn approve(access: &Access, cluster: &str, say: Say) -> Result<()> {
    let seen = see(access).await?;
    let cluster = seen.one_cluster(Some(cluster))?;
    let Some(plan) = known(cluster) else { bail!("{}", nothing(cluster)) };
    if plan.running {
        bail!("plan {} is being carried out already", plan.id);
    }
    // The id of the plan that is shown, and of no other: if it has changed meanwhile, the operator
    // does nothing and says so.
    let patch = json!({ "metadata": { "annotations": { APPROVE_PLAN: plan.id } } });
    access.merge(cluster, &patch).await?;
    let now = if seen.leader.is_away() {
        format!("approved. But {}", seen.leader.line(seen.now))
    } else {
        format!("approved: watch it by `kubectl defs status {}`", cluster.name_any())
    };
    let approved = || {
        let mut object = json(cluster);
        object["approved"] = json!(plan.id);
        object
    };
    say.answer(approved, || format!("{}\n{now}", text(cluster)));
    Ok(())
}

fn known(cluster: &DefsCluster) -> Option<&Plan> {
    cluster.status.as_ref()?.plan.as_ref()
}

fn approved(cluster: &DefsCluster) -> Option<&str> {
    cluster.annotations().get(APPROVE_PLAN).map(String::as_str)
}

/// What a list of remarks says of it.
pub(super) fn remark(cluster: &DefsCluster) -> Option<String> {
    let plan = known(cluster)?;
    let (id, name) = (&plan.id, cluster.name_any());
    let steps = counted(plan.steps.len() as u64, "change");
    if plan.running {
        return Some(format!(
            "> plan {id} is being carried out ({steps} left): kubectl defs plan {name}"
        ));
    }
    Some(match approved(cluster) {
        Some(approved) if approved == id => format!("> plan {id} is approved ({steps})"),
        Some(approved) => format!(
            "? plan {id} waits for approval ({steps}): the annotation approves {approved}, which \
             is over. kubectl defs plan {name}, then kubectl defs approve {name}"
        ),
        None => format!(
            "? plan {id} waits for approval ({steps}): kubectl defs plan {name}, then kubectl defs \
             approve {name}"
        ),
    })
}

fn nothing(cluster: &DefsCluster) -> String {
    let name = cluster.name_any();
    match cluster.spec.pairing.approval {
        Approval::Manual => format!("no plan of {name} waits: no better pairs are known"),
        Approval::Auto => format!(
            "no plan of {name} waits: pairing.approval is Auto, so better pairs are made without a \
             person's word"
        ),
    }
}

fn text(cluster: &DefsCluster) -> String {
    let Some(plan) = known(cluster) else { return nothing(cluster) };
    let headings = ["PAIR", "LEAVES", "COMES", "GAIN", "WHY"];
    let row = |step: &defs_crds::cluster::status::PlanStep| {
        let gain = format!("{} %", step.gain_percent);
        vec![step.pair.clone(), step.leaves.clone(), step.comes.clone(), gain, step.why.clone()]
    };
    let rows: Vec<_> = plan.steps.iter().map(row).collect();
    let state = match approved(cluster) {
        _ if plan.running => "is being carried out",
        Some(id) if id == plan.id => "is approved",
        _ => "waits for approval",
    };
    format!(
        "plan {} of {} {state}: one member after the other, no pair is ever left with one copy\n\n{}",
        plan.id,
        cluster.name_any(),
        table(&headings, &rows)
    )
}

fn json(cluster: &DefsCluster) -> Value {
    json!({
        "namespace": cluster.namespace(), "cluster": cluster.name_any(),
        "plan": known(cluster), "approved": approved(cluster),
        "approval": cluster.spec.pairing.approval,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn planned(approved: Option<&str>) -> DefsCluster {
        let plan = json!({ "id": "3f9c", "steps": [{
            "pair": "demo-pair-0", "leaves": "demo-0", "comes": "demo-4", "gainPercent": 14,
            "why": "another zone",
        }] });
        let mut cluster = example::cluster("demo", &json!({}), &json!({ "plan": plan }));
        if let Some(id) = approved {
            cluster.annotations_mut().insert(APPROVE_PLAN.to_owned(), id.to_owned());
        }
        cluster
    }

    #[test]
    fn a_plan_is_a_table_of_its_steps() {
        assert_eq!(
            text(&planned(None)),
            "plan 3f9c of demo waits for approval: one member after the other, no pair is ever \
             left with one copy\n\
             \n\
             PAIR         LEAVES  COMES   GAIN  WHY\n\
             demo-pair-0  demo-0  demo-4  14 %  another zone"
        );
        assert!(text(&planned(Some("3f9c"))).starts_with("plan 3f9c of demo is approved:"));
    }

    #[test]
    fn a_word_for_another_plan_counts_for_nothing() {
        assert!(remark(&planned(Some("old"))).unwrap().starts_with("? plan 3f9c waits"));
        assert_eq!(remark(&planned(Some("3f9c"))).unwrap(), "> plan 3f9c is approved (1 change)");
    }

    #[test]
    fn a_plan_that_is_carried_out_says_so() {
        let mut cluster = planned(None);
        cluster.status.as_mut().unwrap().plan.as_mut().unwrap().running = true;
        assert!(text(&cluster).starts_with("plan 3f9c of demo is being carried out:"));
        assert_eq!(
            remark(&cluster).unwrap(),
            "> plan 3f9c is being carried out (1 change left): kubectl defs plan demo"
        );
    }

    #[test]
    fn without_a_plan_it_says_why_none_waits() {
        let cluster = |approval: &str| {
            let spec = json!({ "pairing": { "approval": approval } });
            example::cluster("demo", &spec, &json!({}))
        };
        assert!(text(&cluster("Manual")).contains("no better pairs are known"));
        assert!(text(&cluster("Auto")).contains("pairing.approval is Auto"));
        assert_eq!(remark(&cluster("Manual")), None);
    }
}
