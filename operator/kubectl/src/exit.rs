//! What the exit codes mean, and how an error gets its own.

use std::process::ExitCode;

use crate::access::AccessError;
use crate::api::ApiError;
use crate::command::CheckFailed;
use crate::find::FindError;

const FAILED: u8 = 1;
const UNKNOWN: u8 = 3;
const CLUSTER: u8 = 4;
const FORBIDDEN: u8 = 5;

/// The code of the first cause that has one of its own.
pub(crate) fn code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(number(error))
}

fn number(error: &anyhow::Error) -> u8 {
    error.chain().find_map(number_of).unwrap_or(FAILED)
}

fn number_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    // A check that failed has failed, whatever it was that failed.
    if cause.is::<CheckFailed>() {
        return Some(FAILED);
    }
    if cause.is::<FindError>() {
        return Some(UNKNOWN);
    }
    if cause.is::<AccessError>() {
        return Some(CLUSTER);
    }
    match cause.downcast_ref::<ApiError>()? {
        ApiError::Unreachable { .. } | ApiError::NotInstalled | ApiError::Credentials { .. } => {
            Some(CLUSTER)
        }
        ApiError::Forbidden { .. } => Some(FORBIDDEN),
        ApiError::Refused { .. } | ApiError::Failed { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_is_1_and_its_cause_alone_has_its_own_code() {
        let cause = || anyhow::Error::new(ApiError::NotInstalled);
        assert_eq!(number(&cause()), CLUSTER);
        let failed = CheckFailed { step: "get".to_owned(), source: cause() };
        assert_eq!(number(&failed.into()), FAILED);
        assert_eq!(number(&anyhow::anyhow!("anything else")), FAILED);
    }
}
