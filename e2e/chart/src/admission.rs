//! The admission policies, asked as the API server asks them: who may do what, and what the others
//! are told.

use defs_crds::names::{FIELD_MANAGER, GROUP, label};
use kube_cel::KubeCelExt as _;
use kube_cel::cel::{Context, Program, Value as Answer};
use serde_json::{Value, json};

use crate::helm::render;
use crate::objects::{find, kind, name, of_kind, selects, texts};

const OPERATOR: &str = "system:serviceaccount:defs-system:defs-operator";
const COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";
const MANAGER: &str = "system:kube-controller-manager";
/// Whoever may do everything by RBAC.
const ADMIN: &str = "kubernetes-admin";

/// A request that has passed RBAC and the schema.
struct Request<'a> {
    user: &'a str,
    operation: &'a str,
    /// `group/resource`, or `group/resource/subresource`.
    to: &'a str,
    object: Value,
    before: Value,
    /// DefsClusters of the namespace.
    clusters: &'a [&'a str],
}

/// What all policies say: nothing, or the words of the first that refuses.
fn ask(objects: &[Value], request: &Request<'_>) -> Result<(), String> {
    for policy in of_kind(objects, "ValidatingAdmissionPolicy") {
        let binding = find(objects, "ValidatingAdmissionPolicyBinding", name(policy));
        assert_eq!(binding["spec"]["policyName"], name(policy));
        assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
        let spec = &policy["spec"];
        if is_about(&spec["matchConstraints"], request) {
            judge(spec, &binding["spec"], request)?;
        }
    }
    Ok(())
}

/// Whether the constraints let the request through to the policy.
fn is_about(constraints: &Value, request: &Request<'_>) -> bool {
    let (group, resource) = request.to.split_once('/').unwrap();
    let selector = &constraints["objectSelector"]["matchLabels"];
    let is_selected = |it: &Value| !it.is_null() && selects(selector, &it["metadata"]["labels"]);
    let is_ours =
        selector.is_null() || is_selected(&request.object) || is_selected(&request.before);
    let rules = constraints["resourceRules"].as_array().unwrap();
    is_ours
        && rules.iter().any(|rule| {
            texts(&rule["apiGroups"]).contains(&group)
                && texts(&rule["resources"]).contains(&resource)
                && texts(&rule["operations"]).contains(&request.operation)
        })
}

/// Asks a policy once, or once for each of its parameters.
fn judge(policy: &Value, binding: &Value, request: &Request<'_>) -> Result<(), String> {
    if policy["paramKind"].is_null() {
        return evaluate(policy, request, None);
    }
    assert_eq!(policy["paramKind"]["kind"], "DefsCluster");
    // All of the request's namespace.
    assert_eq!(binding["paramRef"]["selector"], json!({}));
    assert_eq!(binding["paramRef"]["parameterNotFoundAction"], "Allow");
    request.clusters.iter().try_for_each(|cluster| {
        let cluster = json!({"kind": "DefsCluster", "metadata": {"name": cluster}});
        evaluate(policy, request, Some(cluster))
    })
}

fn evaluate(policy: &Value, request: &Request<'_>, params: Option<Value>) -> Result<(), String> {
    let asked = context(request, params);
    let list = |name: &str| policy[name].as_array().cloned().unwrap_or_default();
    let is_meant = |condition: &Value| holds(&condition["expression"], &asked);
    if !list("matchConditions").iter().all(is_meant) {
        return Ok(());
    }
    let validations = list("validations");
    match validations.iter().find(|it| !holds(&it["expression"], &asked)) {
        None => Ok(()),
        Some(broken) if broken["messageExpression"].is_null() => {
            Err(broken["message"].as_str().unwrap().to_owned())
        }
        Some(broken) => match answer(&broken["messageExpression"], &asked) {
            Answer::String(words) => Err(words.to_string()),
            other => panic!("{broken}: {other:?} is no message"),
        },
    }
}

/// What expressions can see. Not by the evaluator of policies that kube-cel has: it takes labels
/// for fields, and writes their dots as words.
fn context(request: &Request<'_>, params: Option<Value>) -> Context<'static> {
    let (group, resource) = request.to.split_once('/').unwrap();
    let resource = resource.split('/').next().unwrap();
    let group_of_user = match request.user {
        ADMIN => "system:masters",
        user if user.contains(":kube-system:") => "system:serviceaccounts:kube-system",
        _ => "system:serviceaccounts",
    };
    let asked = json!({
        "operation": request.operation,
        "resource": {"group": group, "version": "v1", "resource": resource},
        "userInfo": {
            "username": request.user,
            "groups": ["system:authenticated", group_of_user],
        },
    });
    let mut context = Context::default().with_all();
    context.add_variable("object", &request.object).unwrap();
    context.add_variable("oldObject", &request.before).unwrap();
    context.add_variable("request", asked).unwrap();
    if let Some(params) = params {
        context.add_variable("params", params).unwrap();
    }
    context
}

fn answer(expression: &Value, context: &Context<'_>) -> Answer {
    let text = expression.as_str().unwrap();
    let program = Program::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    // What fails to be evaluated is refused: here it is a mistake.
    program.execute(context).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn holds(expression: &Value, context: &Context<'_>) -> bool {
    match answer(expression, context) {
        Answer::Bool(holds) => holds,
        other => panic!("{expression}: {other:?} is no yes or no"),
    }
}

fn of_defs(resource: &str) -> String {
    format!("{GROUP}/{resource}")
}

fn pair(origin: &str, members: [&str; 2]) -> Value {
    let members = members.map(|it| json!({"nodeRef": {"name": it}}));
    json!({"kind": "DefsPair", "metadata": {"name": "demo-pair-0", "labels": {}},
        "spec": {"origin": origin, "members": members, "paused": false}})
}

#[test]
fn only_the_operator_writes_a_status() {
    let objects = render(&[]);
    for resource in ["defsclusters/status", "defsnodes/status", "defspairs/status"] {
        let write = |user: &str| {
            let to = of_defs(resource);
            let object = json!({"metadata": {"name": "a"}, "status": {}});
            let before = object.clone();
            ask(
                &objects,
                &Request { user, operation: "UPDATE", to: &to, object, before, clusters: &[] },
            )
        };
        assert_eq!(write(OPERATOR), Ok(()), "{resource}");
        let said = "the status is the operator's word; what you want of it goes into the spec";
        for user in [ADMIN, COLLECTOR, "system:serviceaccount:defs-system:other"] {
            assert_eq!(write(user), Err(said.to_owned()), "{resource}: {user}");
        }
    }
}

#[test]
fn whom_the_values_trust_may_write_a_status_too() {
    let tool = "system:serviceaccount:velero:velero";
    let set = format!("admissionPolicies.trustedUsers={{{tool}}}");
    let objects = render(&["--set", &set]);
    let write = |user: &str| {
        let (object, before) = (json!({"metadata": {}}), json!({"metadata": {}}));
        let to = of_defs("defspairs/status");
        ask(
            &objects,
            &Request { user, operation: "UPDATE", to: &to, object, before, clusters: &[] },
        )
    };
    assert_eq!((write(tool), write(OPERATOR)), (Ok(()), Ok(())));
    assert!(write(ADMIN).is_err());
}

#[test]
fn only_the_operator_makes_nodes_and_people_may_ask_for_their_replacement() {
    let objects = render(&[]);
    let node = json!({"metadata": {"name": "demo-9"}, "spec": {"index": 9}});
    let to = of_defs("defsnodes");
    let create = |user: &str| {
        let object = node.clone();
        let before = Value::Null;
        ask(
            &objects,
            &Request { user, operation: "CREATE", to: &to, object, before, clusters: &[] },
        )
    };
    assert_eq!(create(OPERATOR), Ok(()));
    let said = "the operator makes the DefsNodes of a DefsCluster; raise its spec.replicas";
    assert_eq!(create(ADMIN), Err(said.to_owned()));
    let (object, before) = (node.clone(), node.clone());
    let replace =
        Request { user: ADMIN, operation: "UPDATE", to: &to, object, before, clusters: &[] };
    assert_eq!(ask(&objects, &replace), Ok(()));
}

#[test]
fn the_planners_pairs_are_the_operators_and_pinned_ones_are_peoples() {
    let objects = render(&[]);
    let to = of_defs("defspairs");
    let (auto, pinned) = (pair("Auto", ["a", "b"]), pair("Pinned", ["a", "b"]));
    let mut paused = auto.clone();
    paused["spec"]["paused"] = true.into();
    let nothing = Value::Null;
    let others = |origin| pair(origin, ["a", "c"]);
    let made = "a DefsPair with origin Auto is made by the operator; say origin Pinned";
    let chosen = "the operator chooses the members of a DefsPair with origin Auto; say origin \
                  Pinned to choose them";
    let removed = "the operator removes a DefsPair with origin Auto; change its DefsCluster, or say \
                   origin Pinned first";
    for (what, operation, object, before, refusal) in [
        ("makes one", "CREATE", auto.clone(), nothing.clone(), Some(made)),
        ("makes a pinned one", "CREATE", pinned.clone(), nothing.clone(), None),
        ("chooses members", "UPDATE", others("Auto"), auto.clone(), Some(chosen)),
        ("pins it with others", "UPDATE", others("Pinned"), auto.clone(), None),
        ("chooses those of a pinned one", "UPDATE", others("Pinned"), pinned.clone(), None),
        ("pauses it", "UPDATE", paused, auto.clone(), None),
        ("gives a pinned one away", "UPDATE", auto.clone(), pinned.clone(), None),
        ("removes it", "DELETE", nothing.clone(), auto, Some(removed)),
        ("removes a pinned one", "DELETE", nothing, pinned, None),
    ] {
        let by = |user| {
            let (object, before) = (object.clone(), before.clone());
            ask(&objects, &Request { user, operation, to: &to, object, before, clusters: &[] })
        };
        assert_eq!(by(ADMIN), refusal.map_or(Ok(()), |said| Err(said.to_owned())), "{what}");
        for user in [OPERATOR, COLLECTOR, MANAGER] {
            assert_eq!(by(user), Ok(()), "{user} {what}");
        }
    }
}

/// A volume claim or a secret, with annotations.
fn kept(called: &str, cluster: &str, annotations: Value) -> Value {
    let labels = json!({(label::MANAGED_BY): FIELD_MANAGER, (label::CLUSTER): cluster});
    let mut object = json!({"metadata": {"name": called, "labels": labels}});
    if !annotations.is_null() {
        object["metadata"]["annotations"] = annotations;
    }
    object
}

fn delete(user: &str, to: &str, before: Value, clusters: &[&str]) -> Result<(), String> {
    let objects = render(&[]);
    ask(&objects, &Request { user, operation: "DELETE", to, object: Value::Null, before, clusters })
}

const CLAIMS: &str = "/persistentvolumeclaims";
const SECRETS: &str = "/secrets";

#[test]
fn what_cannot_be_made_again_is_deleted_only_on_a_persons_word() {
    let said = |name: &str| {
        Err(format!(
            "DefsCluster demo still needs {name}, and nobody can make it again; if it shall go, \
             annotate it with defs.bpfs.io/allow-deletion=true"
        ))
    };
    let none = || Value::Null;
    let word = |said: &str| json!({"defs.bpfs.io/allow-deletion": said});
    for (to, name) in [(CLAIMS, "data-demo-0"), (SECRETS, "demo-invite")] {
        let by =
            |annotations| delete(ADMIN, to, kept(name, "demo", annotations), &["other", "demo"]);
        assert_eq!(by(none()), said(name));
        assert_eq!(by(json!({"a": "b"})), said(name));
        assert_eq!(by(word("false")), said(name));
        assert_eq!(by(word("true")), Ok(()), "{name}");
        for user in [OPERATOR, COLLECTOR, MANAGER] {
            let deleted = delete(user, to, kept(name, "demo", none()), &["demo"]);
            assert_eq!(deleted, Ok(()), "{user}: {name}");
        }
    }
}

#[test]
fn what_nobody_needs_may_go() {
    let gone: &[&str] = &["other"];
    let plain = |name| kept(name, "demo", Value::Null);
    assert_eq!(delete(ADMIN, CLAIMS, plain("data-demo-0"), gone), Ok(()), "its cluster is gone");
    assert_eq!(delete(ADMIN, CLAIMS, plain("data-demo-0"), &[]), Ok(()), "there is no cluster");
    let made_anew = delete(ADMIN, SECRETS, plain("demo-0-tls"), &["demo"]);
    assert_eq!(made_anew, Ok(()), "the operator makes it anew");
    let mut somebodys = plain("data-demo-0");
    somebodys["metadata"]["labels"][label::MANAGED_BY] = "Helm".into();
    assert_eq!(delete(ADMIN, CLAIMS, somebodys, &["demo"]), Ok(()), "it is not ours");
}

#[test]
fn a_policy_that_fails_holds_up_nobody_else() {
    for policy in of_kind(&render(&[]), "ValidatingAdmissionPolicy") {
        assert_eq!(policy["spec"]["failurePolicy"], "Fail", "{}", name(policy));
        let constraints = &policy["spec"]["matchConstraints"];
        let ours = json!({(label::MANAGED_BY): FIELD_MANAGER});
        let is_labelled = constraints["objectSelector"]["matchLabels"] == ours;
        for rule in constraints["resourceRules"].as_array().unwrap() {
            let is_ours = texts(&rule["apiGroups"]) == [GROUP];
            assert!(is_ours || is_labelled, "{}: {rule}", name(policy));
        }
    }
}

#[test]
fn without_the_switch_there_is_no_policy() {
    let objects = render(&["--set", "admissionPolicies.enabled=false"]);
    assert!(objects.iter().all(|object| !kind(object).contains("AdmissionPolicy")));
}
