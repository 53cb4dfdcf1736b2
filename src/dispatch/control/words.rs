//! What goes into the control loop and what comes out of it. Values only.

use serde::{Deserialize, Serialize};

use crate::domain::call::PhoneSign;
use crate::domain::command::{Command, Principal};
use crate::domain::event::Recorded;
use crate::domain::id::{GatewayId, TrunkId};
use crate::domain::order::OrderBatch;
use crate::domain::port::ShardId;
use crate::domain::refusal::Refusal;
use crate::domain::report::Report;

/// A caller's own number for a request that it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// One append to the journal. Tickets rise by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What happens to the control loop.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Someone asks. The same key with the same command gives the same answer.
    Command { request: RequestId, command: Command, principal: Principal, idempotency_key: Option<String> },
    /// A shard saw something.
    Report(Report),
    /// A phone's signalling says what became of it.
    Phone { phone: GatewayId, sign: PhoneSign },
    /// A trunk came up or was lost.
    Trunk { trunk: TrunkId, is_up: bool },
    /// This append, and every one before it, is durable.
    Committed { ticket: Ticket },
    /// This append, and every one after it, is not durable; the journal appends nothing until it is back.
    CommitFailed { ticket: Ticket, cause: String },
    /// The journal accepts appends again.
    JournalBack,
    /// Time passes; at least every 20 ms.
    Tick,
    /// A condemned or panicked shard has a new, empty life.
    ShardRebuilt { shard: ShardId },
    /// Nothing new is accepted from now on; cuts still work.
    Drain,
}

/// What the world must do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Make these durable, all or none, and say `Committed` or `CommitFailed`.
    Append { ticket: Ticket, records: Vec<Recorded>, idempotency_key: Option<String> },
    /// Hand to a shard.
    Orders { shard: ShardId, batch: OrderBatch },
    /// Tell who asked. Exactly one for each request.
    Answer { request: RequestId, outcome: Result<Answer, Refusal> },
    /// Show to subscribers. `durable` is false for cuts, facts and alarms that the journal did not take.
    Publish { records: Vec<Recorded>, durable: bool },
    /// The journal failed: read it again and call `Control::rebuilt` with what it holds.
    RebuildFromJournal,
    /// Have this line dial that number.
    Dial { line: GatewayId, number: String },
    /// This shard does not apply what was taken: stop its packets at once, replace it, say `ShardRebuilt`.
    CondemnShard { shard: ShardId },
}

/// What a command that was not refused led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    /// In force at every shard concerned, and durable.
    Done { records: Vec<Recorded> },
    /// In force at every shard concerned, but the journal does not know; a restart would undo it.
    EffectiveNotRecorded { records: Vec<Recorded>, cause: String },
}
