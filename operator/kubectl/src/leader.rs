//! Whether an operator leads, by the Lease that makes one the leader: how old the last word
//! about everything else is.

use defs_crds::names::FIELD_MANAGER;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::access::{Access, Scope};
use crate::api::ApiError;
use crate::figures::{moment, seconds_since, span};

/// The Lease has the operator's own name.
const LEASE: &str = FIELD_MANAGER;

/// Where an operator is looked for when not all namespaces may be looked into: where its chart
/// is installed, and where it leads when nothing else is said.
const USUAL_NAMESPACES: [&str; 2] = ["defs-system", "default"];

/// Beyond the Lease's own time: clocks of machines differ.
const CLOCKS_DIFFER_SECONDS: u64 = 15;

/// Whether an operator leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leader {
    /// One does.
    Leads {
        /// Where its Lease is.
        namespace: String,
        /// Its pod.
        holder: String,
        /// When it said so last.
        heard: Timestamp,
    },
    /// None does any more.
    Silent {
        /// Where the Lease is.
        namespace: String,
        /// Since when, if the Lease says it.
        since: Option<Timestamp>,
    },
    /// None ever did.
    Never,
    /// That may not be seen.
    Hidden {
        /// Why.
        why: String,
    },
}

impl Leader {
    /// Whether nobody acts on what the objects say.
    pub(crate) fn is_away(&self) -> bool {
        matches!(self, Self::Silent { .. } | Self::Never)
    }

    /// For people.
    pub(crate) fn line(&self, now: Timestamp) -> String {
        match self {
            Self::Leads { namespace, holder, heard } => {
                let heard = span(seconds_since(*heard, now));
                format!("operator {holder} leads in namespace {namespace}, heard {heard} ago")
            }
            Self::Silent { namespace, since } => {
                let since = since.map_or_else(
                    || "any more".to_owned(),
                    |at| format!("since {} ({})", moment(at), span(seconds_since(at, now))),
                );
                format!(
                    "no operator leads {since} in namespace {namespace}: what follows is from \
                     before. Nodes serve without it, nothing is replaced"
                )
            }
            Self::Never => "no operator has led in this cluster: nothing acts on these objects. \
                            Install it with `helm install defs charts/defs`"
                .to_owned(),
            Self::Hidden { why } => {
                format!("whether an operator leads can't be seen: {why}")
            }
        }
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Leads { namespace, holder, heard } => json!({
                "leads": true, "namespace": namespace, "holder": holder,
                "heard": heard.to_string(),
            }),
            Self::Silent { namespace, since } => json!({
                "leads": false, "namespace": namespace,
                "heard": since.as_ref().map(ToString::to_string),
            }),
            Self::Never => json!({ "leads": false }),
            Self::Hidden { why } => json!({ "leads": null, "why": why }),
        }
    }
}

/// Looks for the leader in all namespaces, or in those where it may be.
pub(crate) async fn find(access: &Access, now: Timestamp) -> Result<Leader, ApiError> {
    let named = format!("metadata.name={LEASE}");
    match access.list::<Lease>(&Scope::All, Some(&named)).await {
        Ok(leases) => Ok(judge(&leases.objects, now)),
        Err(error) if error.is_forbidden() => find_where_usual(access, now, &error).await,
        Err(error) => Err(error),
    }
}

async fn find_where_usual(
    access: &Access,
    now: Timestamp,
    refused: &ApiError,
) -> Result<Leader, ApiError> {
    let mut leases = Vec::new();
    for namespace in USUAL_NAMESPACES.into_iter().chain([access.namespace.as_str()]) {
        match access.get::<Lease>(namespace, LEASE).await {
            Ok(lease) => leases.extend(lease),
            Err(error) if error.is_forbidden() => {}
            Err(error) => return Err(error),
        }
    }
    // Where none was found, it may be in a namespace that wasn't looked into.
    if leases.is_empty() {
        return Ok(Leader::Hidden { why: refused.to_string() });
    }
    Ok(judge(&leases, now))
}

/// What the newest Lease says.
fn judge(leases: &[Lease], now: Timestamp) -> Leader {
    let heard = |lease: &&Lease| {
        let spec = lease.spec.as_ref()?;
        spec.renew_time.as_ref().map(|at| at.0)
    };
    let Some(lease) = leases.iter().max_by_key(heard) else { return Leader::Never };
    let namespace = lease.namespace().unwrap_or_default();
    // Whoever gives a Lease back takes its times out of it: then the time of that counts.
    let given_back =
        || lease.managed_fields().iter().filter_map(|it| Some(it.time.as_ref()?.0)).max();
    let since = heard(&lease).or_else(given_back);
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    let lasts = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
    match (holder, since) {
        (Some(holder), Some(heard))
            if seconds_since(heard, now) <= lasts + CLOCKS_DIFFER_SECONDS =>
        {
            Leader::Leads { namespace, holder, heard }
        }
        _ => Leader::Silent { namespace, since },
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn lease(namespace: &str, holder: &str, renewed: i64) -> Lease {
        serde_json::from_value(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": LEASE, "namespace": namespace },
            "spec": {
                "holderIdentity": holder, "leaseDurationSeconds": 15,
                "renewTime": format!("{:.6}", at(renewed)),
            },
        }))
        .unwrap()
    }

    #[test]
    fn who_renewed_lately_leads() {
        let leader = judge(&[lease("a", "pod-1", 0)], at(20));
        let leads =
            Leader::Leads { namespace: "a".to_owned(), holder: "pod-1".to_owned(), heard: at(0) };
        assert_eq!(leader, leads);
        assert_eq!(leader.line(at(20)), "operator pod-1 leads in namespace a, heard 20 s ago");
    }

    #[test]
    fn a_lease_that_ran_out_or_was_given_back_is_nobodys() {
        let silent = Leader::Silent { namespace: "a".to_owned(), since: Some(at(0)) };
        assert_eq!(judge(&[lease("a", "pod-1", 0)], at(31)), silent);
        assert_eq!(judge(&[lease("a", "", 0)], at(1)), silent);
        let mut given_back = lease("a", "", 0);
        given_back.spec.as_mut().unwrap().renew_time = None;
        let time = ManagedFieldsEntry { time: Some(Time(at(0))), ..Default::default() };
        given_back.metadata.managed_fields = Some(vec![time]);
        assert_eq!(judge(&[given_back], at(1)), silent);
        assert_eq!(
            silent.line(at(300)),
            "no operator leads since 2027-01-15 08:00:00 UTC (5 min) in namespace a: what follows \
             is from before. Nodes serve without it, nothing is replaced"
        );
        assert!(silent.is_away());
    }

    #[test]
    fn of_several_the_newest_counts_and_without_one_there_never_was_a_leader() {
        let leases = [lease("old", "pod-1", -900), lease("new", "pod-2", 0)];
        let Leader::Leads { namespace, .. } = judge(&leases, at(1)) else { panic!("none leads") };
        assert_eq!(namespace, "new");
        assert_eq!(judge(&[], at(0)), Leader::Never);
    }
}
