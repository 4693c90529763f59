//! The lives of pairs, nodes and tasks: each one enum with its legal moves in one table,
//! from which the documents' drawings are made.

use std::fmt;

/// A state with a table of legal moves.
pub trait State: Copy + Eq + fmt::Display + 'static {
    /// Every legal move.
    const MOVES: &'static [(Self, Self)];

    /// Whether the move to `next` is legal.
    fn may_become(self, next: Self) -> bool {
        Self::MOVES.contains(&(self, next))
    }

    /// The table as a Mermaid state diagram.
    fn diagram() -> String {
        let moves = Self::MOVES.iter().map(|(from, to)| format!("    {from} --> {to}\n"));
        std::iter::once("stateDiagram-v2\n".to_owned()).chain(moves).collect()
    }
}

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$state_doc:meta])* $state:ident,)+ } moves { $($from:ident => $to:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$state_doc])* $state,)+ }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(match self { $(Self::$state => stringify!($state),)+ })
            }
        }

        impl State for $name {
            const MOVES: &'static [(Self, Self)] = &[$((Self::$from, Self::$to),)+];
        }
    };
}

states! {
    /// A pair's life.
    PairState {
        /// Signed by both, not yet both ready.
        Forming,
        /// A member copies what the other has.
        Syncing,
        /// Both answer and hold the same.
        Healthy,
        /// One member is away: reads only.
        Degraded,
        /// A member is being replaced on purpose.
        Migrating,
        /// Both are gone for good.
        Lost,
        /// Its shards are elsewhere.
        Dissolved,
    }
    moves {
        Forming => Syncing,
        Syncing => Healthy,
        Healthy => Degraded,
        Degraded => Healthy,
        Degraded => Migrating,
        Migrating => Healthy,
        Degraded => Lost,
        Lost => Dissolved,
    }
}

states! {
    /// A node's life.
    NodeState {
        /// Connected, not yet admitted or known.
        Joining,
        /// Admitted, in no pair.
        Spare,
        /// In a pair.
        Serving,
        /// Didn't answer for a while.
        Suspect,
        /// Two witnesses agree that it is gone.
        Down,
        /// Another node has taken its place.
        Replaced,
        /// Leaving on purpose.
        Draining,
        /// Holds nothing any more.
        Drained,
    }
    moves {
        Joining => Spare,
        Joining => Serving,
        Spare => Serving,
        Serving => Suspect,
        Suspect => Serving,
        Suspect => Down,
        Down => Serving,
        Down => Replaced,
        Serving => Draining,
        Draining => Drained,
    }
}

states! {
    /// The life of an upload or download.
    TaskState {
        /// Waits for its turn.
        Queued,
        /// Moves bytes.
        Running,
        /// Stopped by its owner, or cut off.
        Paused,
        /// Finished.
        Done,
        /// Can't go on.
        Failed,
        /// Given up by its owner.
        Cancelled,
    }
    moves {
        Queued => Running,
        Running => Paused,
        Paused => Running,
        Running => Done,
        Running => Failed,
        Queued => Cancelled,
        Running => Cancelled,
        Paused => Cancelled,
        Failed => Running,
        Failed => Cancelled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_stays_ended() {
        for last in [TaskState::Done, TaskState::Cancelled] {
            assert!(TaskState::MOVES.iter().all(|(from, _)| *from != last));
        }
        assert!(!PairState::Dissolved.may_become(PairState::Healthy));
        assert!(PairState::Degraded.may_become(PairState::Healthy));
    }

    #[test]
    fn the_diagram_lists_every_move_once() {
        let diagram = NodeState::diagram();
        assert_eq!(diagram.lines().count(), 1 + NodeState::MOVES.len());
        assert!(diagram.contains("    Suspect --> Down\n"));
    }
}
