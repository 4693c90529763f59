//! The way to a cluster, as kubectl has it: kubeconfig, context, namespace.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use kube::Client;
use kube::config::{Config, InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use thiserror::Error;

use crate::args::Target;

/// How long the API server may take to take a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long it may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Why there is no way to a cluster.
#[derive(Debug, Error)]
pub(crate) enum AccessError {
    /// Neither a kubeconfig nor a pod.
    #[error(
        "no Kubernetes cluster is known: no kubeconfig can be used (--kubeconfig, KUBECONFIG, \
         ~/.kube/config): {why}; and this is no pod"
    )]
    NoConfig {
        /// Why the kubeconfig can't be.
        why: String,
    },
    /// The kubeconfig is not what it should be.
    #[error("the kubeconfig can't be used")]
    Kubeconfig(#[source] Box<KubeconfigError>),
    /// The kubeconfig doesn't have the context.
    #[error("the kubeconfig has no context `{name}`; it has {known}")]
    Context {
        /// The one that was asked for.
        name: String,
        /// Those that it has.
        known: String,
    },
    /// What the kubeconfig says can't be connected with.
    #[error("the kubeconfig's certificates or credentials can't be used")]
    Client(#[source] Box<kube::Error>),
}

/// Where objects are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// In one namespace.
    In(String),
    /// In all.
    All,
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(namespace) => write!(out, "in namespace {namespace}"),
            Self::All => out.write_str("in any namespace"),
        }
    }
}

/// A way to a cluster.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) client: Client,
    /// Of the API server, for people.
    pub(crate) url: String,
    /// Where to look.
    pub(crate) scope: Scope,
    /// The namespace for what is in one.
    pub(crate) namespace: String,
}

/// Makes ready to talk to the cluster that `target` says. Nothing is asked yet.
pub(crate) async fn open(target: &Target) -> Result<Access, AccessError> {
    let mut config = config(target).await?;
    config.connect_timeout = Some(CONNECT_WITHIN);
    config.read_timeout = Some(ANSWER_WITHIN);
    config.reset_reader_on_write = true;
    let namespace = target.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let scope = if target.all_namespaces { Scope::All } else { Scope::In(namespace.clone()) };
    let url = config.cluster_url.to_string();
    let client = Client::try_from(config).map_err(|error| AccessError::Client(error.into()))?;
    Ok(Access { client, url: url.trim_end_matches('/').to_owned(), scope, namespace })
}

async fn config(target: &Target) -> Result<Config, AccessError> {
    let unusable = |error: KubeconfigError| AccessError::Kubeconfig(error.into());
    let kubeconfig = match (&target.kubeconfig, &target.context) {
        (None, None) => {
            return Config::infer().await.map_err(|error| without_config(&error));
        }
        (Some(file), _) => Kubeconfig::read_from(file),
        (None, Some(_)) => Kubeconfig::read(),
    };
    let kubeconfig = kubeconfig.map_err(unusable)?;
    if let Some(name) = &target.context {
        is_known(name, &kubeconfig)?;
    }
    let options =
        KubeConfigOptions { context: target.context.clone(), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(unusable)
}

/// The kubeconfig is what a person can mend.
fn without_config(error: &InferConfigError) -> AccessError {
    let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    AccessError::NoConfig { why }
}

fn is_known(name: &str, kubeconfig: &Kubeconfig) -> Result<(), AccessError> {
    let contexts: Vec<_> = kubeconfig.contexts.iter().map(|it| it.name.as_str()).collect();
    if contexts.contains(&name) {
        return Ok(());
    }
    let known = if contexts.is_empty() { "none".to_owned() } else { contexts.join(", ") };
    Err(AccessError::Context { name: name.to_owned(), known })
}

/// What lies at the bottom of an error: the causes above it only repeat who passed it on.
pub(crate) fn innermost<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
clusters:
- {name: one, cluster: {server: 'http://127.0.0.1:1'}}
- {name: two, cluster: {server: 'http://127.0.0.1:2'}}
contexts:
- {name: here, context: {cluster: one, user: me, namespace: mine}}
- {name: there, context: {cluster: two, user: me}}
current-context: here
users:
- {name: me, user: {token: abc}}
";

    async fn opened(target: Target) -> Result<Access, AccessError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(KUBECONFIG.as_bytes()).unwrap();
        open(&Target { kubeconfig: Some(file.path().to_owned()), ..target }).await
    }

    #[tokio::test]
    async fn the_namespace_is_the_contexts_unless_one_is_said() {
        let access = opened(Target::default()).await.unwrap();
        assert_eq!(
            (access.namespace.as_str(), access.url.as_str()),
            ("mine", "http://127.0.0.1:1")
        );
        assert_eq!(access.scope, Scope::In("mine".to_owned()));
        let said = Target { namespace: Some("other".to_owned()), ..Target::default() };
        assert_eq!(opened(said).await.unwrap().scope, Scope::In("other".to_owned()));
        let all = Target { all_namespaces: true, ..Target::default() };
        assert_eq!(opened(all).await.unwrap().scope, Scope::All);
    }

    #[tokio::test]
    async fn another_context_is_taken_and_an_unknown_one_refused_with_those_there_are() {
        let there = Target { context: Some("there".to_owned()), ..Target::default() };
        let access = opened(there).await.unwrap();
        assert_eq!(
            (access.namespace.as_str(), access.url.as_str()),
            ("default", "http://127.0.0.1:2")
        );
        let nowhere = Target { context: Some("nowhere".to_owned()), ..Target::default() };
        let Err(error) = opened(nowhere).await else { panic!("taken") };
        assert_eq!(
            error.to_string(),
            "the kubeconfig has no context `nowhere`; it has here, there"
        );
    }

    #[tokio::test]
    async fn a_kubeconfig_that_is_not_there_is_named() {
        let target = Target { kubeconfig: Some("/nowhere/at/all".into()), ..Target::default() };
        let Err(error) = open(&target).await else { panic!("opened") };
        let told = crate::say::told(&error.into());
        assert!(told.starts_with("the kubeconfig can't be used"), "{told}");
        assert!(told.contains("/nowhere/at/all"), "{told}");
    }
}
