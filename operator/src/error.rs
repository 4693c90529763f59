//! Why a reconciliation can't go on now. It is tried again later, more and more seldom.

use defs_crds::names::CLUSTER_NAME_MAX;
use defs_crds::reason::Reason;
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
    /// The keys of a network that has nodes are gone. Another network in its place would never
    /// let anybody speak to them again.
    #[error("the secret {0} is gone, and with it the key of a network that has nodes: put it back")]
    NetworkLost(String),
    /// A kind of other programs isn't there.
    #[error("the kind {0} is not installed")]
    NoKind(String),
    /// A certificate that others make is not there yet.
    #[error("the secret {0} with a certificate is not there yet")]
    NoCertificate(String),
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

    /// Why it is, as conditions say it.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::NetworkLost(_) => Reason::SecretMissing,
            Self::NoCertificate(_) => Reason::CertificateMissing,
            Self::LongName(_) | Self::Unreadable(..) => Reason::InvalidSpec,
            _ => Reason::ApplyRefused,
        }
    }

    /// Whether people should hear of it in the object's status: not what passes by itself.
    pub(crate) fn is_for_people(&self) -> bool {
        match self {
            Self::Api(_, error) => {
                matches!(**error, kube::Error::Api(ref status) if status.code != 409 && status.code < 500)
            }
            Self::Missing(_) | Self::Nameless | Self::Json(_) => false,
            _ => true,
        }
    }

    /// All of it in one line.
    pub(crate) fn whole(&self) -> String {
        match self {
            Self::Api(tried, error) => match &**error {
                kube::Error::Api(status) => format!("Failed to {tried}: {}", status.message),
                other => format!("Failed to {tried}: {other}"),
            },
            other => other.to_string(),
        }
    }

    /// Whether somebody else changed the object meanwhile: the next try sees how.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(_, error) if matches!(**error, kube::Error::Api(ref status) if status.code == 409))
    }
}
