//! The one door to the control task: commands go in and are answered once; what is seen and what happened comes out.
//! Cheap to clone. Holds nothing itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::dispatch::control::Answer;
use crate::dispatch::{Live, State};
use crate::domain::call::PhoneSign;
use crate::domain::command::{Command, Principal};
use crate::domain::event::Recorded;
use crate::domain::id::{GatewayId, PortId, TrunkId};
use crate::domain::refusal::Refusal;
use crate::domain::time::Now;
use crate::io::gateway_socket::GatewaySockets;
use crate::io::journal::JournalStatus;
use crate::wire::srtp::Shield;

/// A handle on the control task.
#[derive(Clone, Debug)]
pub struct ControlLink {
    /// Commands; bounded, so that a flood waits at its own door.
    pub commands: mpsc::Sender<Asked>,
    /// What control knows, after each change.
    pub seen: watch::Receiver<Arc<Seen>>,
    /// What happened, as it is published. A receiver that falls behind is told so and reads history instead.
    pub happened: broadcast::Sender<Happened>,
    /// What signalling says of phones; bounded, so that SIP waits at its own door.
    pub phones: mpsc::Sender<PhoneSaid>,
    /// What became of trunks.
    pub trunks: mpsc::Sender<TrunkSaid>,
    /// Requests for history, answered from the journal by a thread that may wait for the disk.
    pub history: mpsc::Sender<HistoryAsked>,
}

/// One command and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    pub command: Command,
    pub principal: Principal,
    /// The same key with the same command gives the same answer.
    pub idempotency_key: Option<String>,
    pub reply: oneshot::Sender<Result<Answer, Refusal>>,
}

/// One sign of a phone, the sockets of a call that begins, and what seals and opens a call's media.
#[derive(Debug)]
pub struct PhoneSaid {
    pub phone: GatewayId,
    pub sign: PhoneSign,
    pub sockets: Option<GatewaySockets>,
    pub shield: Option<Box<Shield>>,
}

/// What a line is told to dial: one at a time, so no more of them wait than there are lines.
pub struct DialAsked {
    pub line: GatewayId,
    pub number: String,
}

impl std::fmt::Debug for DialAsked {
    /// Without the number: logs are read by more people than dial.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DialAsked({})", self.line)
    }
}

/// A trunk came up or was lost.
#[derive(Debug)]
pub struct TrunkSaid {
    pub trunk: TrunkId,
    pub is_up: bool,
}

/// What control knows at one moment. Never changed, only replaced.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Durable state, including what is decided and not yet committed.
    pub state: State,
    /// What media reported.
    pub live: Live,
    pub at: Now,
    pub journal: JournalStatus,
    /// Recovered, routed and in force at every shard.
    pub ready: bool,
    /// Last committed position of the journal.
    pub position: u64,
    /// Where each open port really listens.
    pub bound: BTreeMap<PortId, SocketAddr>,
    /// Facts of talk that no journal will have, because it failed or hung for too long.
    pub facts_lost: u64,
}

/// One published event. `position` is its place in the journal; none for what could not be recorded.
#[derive(Clone, Debug)]
pub struct Happened {
    pub position: Option<u64>,
    pub recorded: Arc<Recorded>,
}

/// Asks for events after a position, oldest first.
#[derive(Debug)]
pub struct HistoryAsked {
    pub after: u64,
    pub most: usize,
    pub reply: oneshot::Sender<Result<Vec<Happened>, String>>,
}

/// Commands that wait: a hundred dispatchers pressing at once.
pub const COMMANDS_WAITING: usize = 256;
/// Signs of phones that wait: all phones of a county ring at once.
pub const PHONES_WAITING: usize = 1024;
/// Trunks that came up or were lost and are not noted yet.
pub const TRUNKS_WAITING: usize = 64;
/// Published events a slow subscriber may lag behind.
pub const HAPPENED_KEPT: usize = 4096;
/// History questions that wait.
pub const HISTORY_WAITING: usize = 32;

impl ControlLink {
    /// Asks and waits for the answer. `Draining` if the control task has ended.
    pub async fn ask(
        &self,
        command: Command,
        principal: Principal,
        idempotency_key: Option<String>,
    ) -> Result<Answer, Refusal> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked { command, principal, idempotency_key, reply };
        if self.commands.send(asked).await.is_err() {
            return Err(Refusal::Draining);
        }
        answer.await.unwrap_or(Err(Refusal::Draining))
    }
}
