//! `kubectl defs why`: why an object is as it is, what is done about it, and until when.

mod cluster;
mod node;
mod outlook;
mod pair;

use anyhow::Result;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::json;

use crate::access::Access;
use crate::api::ApiError;
use crate::events::{self, About, Happened};
use crate::find::{Meant, Subject};
use crate::say::Say;
use crate::seen::{Seen, see};

/// What there is to say of an object.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    /// What it is.
    title: String,
    /// How it is.
    state: Vec<String>,
    /// What that rests on: who saw what.
    evidence: Vec<String>,
    /// What is done about it, and until when.
    outlook: Vec<String>,
    /// What happened lately.
    events: Vec<Happened>,
    /// Why the list of events may be too short.
    #[serde(skip_serializing_if = "Option::is_none")]
    without_events: Option<String>,
}

pub(super) async fn run(access: &Access, name: &str, say: Say) -> Result<()> {
    let seen = see(access).await?;
    let subject = seen.named(name, Meant::Any)?;
    let (mut explanation, namespace, about) = match subject {
        Subject::Cluster(it) => (cluster::explain(&seen, it), it.namespace(), cluster::about(it)),
        Subject::Pair(it) => (pair::explain(&seen, it), it.namespace(), pair::about(it)),
        Subject::Node(it) => {
            let parts = node::look(access, it).await?;
            (node::explain(&seen, it, &parts), it.namespace(), node::about(it))
        }
    };
    tell_events(access, &namespace.unwrap_or_default(), &about, &mut explanation).await?;
    say.answer(|| json!(explanation), || text(&seen, &explanation));
    Ok(())
}

/// Whoever may not see events gets the rest.
async fn tell_events(
    access: &Access,
    namespace: &str,
    about: &[About],
    explanation: &mut Explanation,
) -> Result<(), ApiError> {
    match events::about(access, namespace, about).await {
        Ok(happened) => explanation.events = happened,
        Err(error) if error.is_forbidden() => explanation.without_events = Some(error.to_string()),
        Err(error) => return Err(error),
    }
    Ok(())
}

fn text(seen: &Seen, explanation: &Explanation) -> String {
    let Explanation { title, state, evidence, outlook, events, without_events } = explanation;
    let mut events: Vec<_> = events.iter().map(|it| it.line(seen.now)).collect();
    events.extend(without_events.clone());
    if events.is_empty() {
        events.push("nothing: Kubernetes forgets events after an hour".to_owned());
    }
    let mut text = vec![title.clone()];
    for (heading, lines) in [
        ("How it is", state),
        ("What that rests on", evidence),
        ("What is done about it", outlook),
        ("What happened lately", &events),
    ] {
        if !lines.is_empty() {
            text.extend([String::new(), format!("{heading}:")]);
            text.extend(lines.iter().map(|line| format!("  {line}")));
        }
    }
    text.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn an_explanation_has_a_heading_for_each_part_that_says_something() {
        let explanation = Explanation {
            title: "DefsPair x".to_owned(),
            state: vec!["It is Degraded.".to_owned()],
            outlook: vec!["Nothing.".to_owned()],
            ..Explanation::default()
        };
        assert_eq!(
            text(&example::healthy(), &explanation),
            "DefsPair x\n\
             \n\
             How it is:\n  \
               It is Degraded.\n\
             \n\
             What is done about it:\n  \
               Nothing.\n\
             \n\
             What happened lately:\n  \
               nothing: Kubernetes forgets events after an hour"
        );
    }
}
