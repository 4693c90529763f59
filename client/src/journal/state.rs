//! The words that stand for a task's state in the database.

use defs_core::states::TaskState;

const STATES: &[(TaskState, &str)] = &[
    (TaskState::Queued, "queued"),
    (TaskState::Running, "running"),
    (TaskState::Paused, "paused"),
    (TaskState::Done, "done"),
    (TaskState::Failed, "failed"),
    (TaskState::Cancelled, "cancelled"),
];

pub(super) fn state_name(state: TaskState) -> &'static str {
    STATES.iter().find(|(known, _)| *known == state).map_or("failed", |(_, name)| name)
}

pub(super) fn state_of(name: &str) -> Option<TaskState> {
    STATES.iter().find(|(_, known)| *known == name).map(|(state, _)| *state)
}
