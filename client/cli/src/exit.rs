//! What the exit codes mean, and how an error gets its own.

use std::process::ExitCode;

use defs_client::keys::KeyStoreError;
use defs_client::{
    CarryError, DownloadError, ExplainError, GetError, JournalError, PutError, RemoveError,
    SinkError, SourceError, StatusError, TaskError, UploadError,
};
use defs_core::mode::LayoutError;

use crate::cluster::ClusterError;
use crate::open::OpenedError;

const UNKNOWN: u8 = 3;
const NETWORK: u8 = 4;
const REFUSED: u8 = 5;
const LOST: u8 = 6;
const KEY: u8 = 7;
const LOCAL: u8 = 8;

/// The code of the first cause that has one of its own.
pub(crate) fn code(error: &anyhow::Error) -> ExitCode {
    let code = error.chain().find_map(code_of).unwrap_or(1);
    ExitCode::from(code)
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(error) = cause.downcast_ref::<PutError>() {
        return of_put(error);
    }
    if let Some(error) = cause.downcast_ref::<GetError>() {
        return of_get(error);
    }
    if let Some(error) = cause.downcast_ref::<DownloadError>() {
        return of_download(error);
    }
    if let Some(error) = cause.downcast_ref::<TaskError>() {
        return of_task(error);
    }
    if let Some(error) = cause.downcast_ref::<RemoveError>() {
        return match error {
            RemoveError::UnknownName { .. } => Some(UNKNOWN),
            RemoveError::Connect(_) => Some(NETWORK),
            _ => None,
        };
    }
    if let Some(StatusError::Get(error)) = cause.downcast_ref::<StatusError>() {
        return of_get(error);
    }
    if let Some(error) = cause.downcast_ref::<OpenedError>() {
        return Some(match error {
            OpenedError::NoKey { .. } => KEY,
            OpenedError::NoNetwork { .. } => NETWORK,
        });
    }
    if cause.is::<ClusterError>() || cause.is::<defs_client::ConnectError>() {
        return Some(NETWORK);
    }
    if cause.is::<KeyStoreError>() {
        return Some(KEY);
    }
    if cause.is::<LayoutError>() || cause.is::<ExplainError>() {
        return Some(REFUSED);
    }
    if cause.is::<SourceError>() || cause.is::<SinkError>() || cause.is::<std::io::Error>() {
        return Some(LOCAL);
    }
    cause.is::<defs_client::NotATicket>().then_some(UNKNOWN)
}

fn of_put(error: &PutError) -> Option<u8> {
    match error {
        PutError::Connect(_) => Some(NETWORK),
        PutError::Layout(_) | PutError::NameTaken { .. } => Some(REFUSED),
        PutError::Source(_) => Some(LOCAL),
        PutError::Upload { source: UploadError::Source(_), .. } => Some(LOCAL),
        PutError::Upload { source: UploadError::Carry(CarryError::TooFewPairs { .. }), .. } => {
            Some(REFUSED)
        }
        _ => None,
    }
}

fn of_get(error: &GetError) -> Option<u8> {
    match error {
        GetError::UnknownName { .. } => Some(UNKNOWN),
        GetError::Connect(_) | GetError::OtherNetwork { .. } => Some(NETWORK),
        GetError::Download(error) => of_download(error),
        _ => None,
    }
}

fn of_download(error: &DownloadError) -> Option<u8> {
    match error {
        DownloadError::TooFewShards { .. } | DownloadError::Fetch { .. } => Some(LOST),
        DownloadError::Sink(_) => Some(LOCAL),
        _ => None,
    }
}

fn of_task(error: &TaskError) -> Option<u8> {
    match error {
        TaskError::Journal(JournalError::Unknown(_)) => Some(UNKNOWN),
        TaskError::Put(error) => of_put(error),
        TaskError::Get(error) => of_get(error),
        TaskError::Changed { .. } | TaskError::Source { .. } => Some(LOCAL),
        _ => None,
    }
}
