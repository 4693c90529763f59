//! Who a caller is and what it may do: the hello, sessions, and the words of owners.

use defs_core::ids::{NetworkId, NodeId};
use defs_core::message::{Hello, Reason, Refusal, Response, WIRE_VERSION};
use defs_core::port::Randomness;
use defs_core::statement::{Lock, Operations, Session, Signed, Statement};
use defs_identity::{SessionTerms, authorise, check_session};

use crate::config::World;
use crate::engine::Engine;
use crate::refuse::refuse;

impl<W: World> Engine<W> {
    pub(crate) fn hello(&self, caller: NodeId, hello: &Hello) -> Result<Response, Refusal> {
        // A client that meets its first node doesn't know the network's id yet; whatever it
        // may do later is signed over that id.
        if hello.network != self.network && hello.network != NetworkId::UNKNOWN {
            let detail =
                format!("this node serves network {}, not {}", self.network, hello.network);
            return Err(refuse(Reason::WrongNetwork, detail));
        }
        if hello.version == 0 || hello.version < WIRE_VERSION.saturating_sub(1) {
            let detail = format!(
                "wire version {} is too old, this node speaks {WIRE_VERSION}: upgrade the client",
                hello.version
            );
            return Err(refuse(Reason::WrongVersion, detail));
        }
        let challenge = self
            .connections
            .challenge(caller, self.random.array())
            .ok_or_else(|| refuse(Reason::Busy, "this node has too many connections"))?;
        let version = hello.version.min(WIRE_VERSION);
        Ok(Response::Hello { genesis: self.config.genesis, version, challenge })
    }

    pub(crate) fn open_session(
        &self,
        caller: NodeId,
        signed: &Signed<Session>,
    ) -> Result<Response, Refusal> {
        let challenge = self
            .connections
            .known_challenge(&caller)
            .ok_or_else(|| refuse(Reason::SessionRefused, "say hello before opening a session"))?;
        let terms = SessionTerms {
            network: self.network,
            node: self.me,
            client: caller,
            challenge,
            now: self.unix_time(),
        };
        match check_session(signed, &terms, &self.checker) {
            Ok(()) => {
                self.connections.open(&signed.body);
                Ok(Response::Done)
            }
            Err(why @ defs_identity::SessionRefused::NotAuthorised(_)) => {
                Err(refuse(Reason::NotAuthorised, why.to_string()))
            }
            Err(why) => Err(refuse(Reason::SessionRefused, why.to_string())),
        }
    }

    /// Whether `caller` may do `operations` on objects of `lock`: it has a session for
    /// them, or is this node's partner.
    pub(crate) fn check_right(
        &self,
        caller: &NodeId,
        lock: &Lock,
        operations: Operations,
    ) -> Result<(), Refusal> {
        let now = self.unix_time();
        if self.membership.partner() == Some(*caller)
            || self.connections.allows(caller, &lock.hash(), operations, now)
        {
            return Ok(());
        }
        Err(refuse(Reason::NoSession, "no session of this connection covers that"))
    }

    /// Whether an owner's statement opens `lock`.
    pub(crate) fn check_statement<T: Statement>(
        &self,
        signed: &Signed<T>,
        lock: &Lock,
    ) -> Result<(), Refusal> {
        authorise(signed, lock, &self.network, self.unix_time(), &self.checker)
            .map_err(|error| refuse(Reason::NotAuthorised, error.to_string()))
    }
}
