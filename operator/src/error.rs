//! Why a reconciliation can't go on now. It is tried again later, more and more seldom.

use defs_crds::names::CLUSTER_NAME_MAX;
use thiserror::Error;

/// What failed.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The API server refused or could not be reached.
    #[error("failed to {0}")]
    Api(String, #[source] Box<kube::Error>),
    /// An object that the operator can't do without isn't there yet.
    #[error("{0} is not there yet")]
    Missing(String),
    /// An object holds what the operator can't read.
    #[error("{0} does not hold {1}")]
    Unreadable(String, &'static str),
    /// An object has no name or namespace: the API server gives each both.
    #[error("an object without a name or namespace")]
    Nameless,
    /// A cluster whose name leaves no room for those of its nodes.
    #[error("the name `{0}` is longer than {CLUSTER_NAME_MAX} characters")]
    LongName(String),
    /// A certificate could not be made.
    #[error("failed to make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// An object could not be written as JSON.
    #[error("failed to write an object as JSON")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// What was tried when the API server failed.
    pub(crate) fn api(tried: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let tried = tried.into();
        |error| Self::Api(tried, Box::new(error))
    }

    /// Whether somebody else changed the object meanwhile: the next try sees how.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(_, error) if matches!(**error, kube::Error::Api(ref status) if status.code == 409))
    }
}
