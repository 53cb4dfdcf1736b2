//! `crosspatch emergency ...`: one command each.

use clap::Subcommand;

use super::client::Client;
use super::fault::CliFault;
use super::names;
use crate::domain::command::Command;
use crate::domain::id::TalkgroupId;
use crate::domain::talker::Alias;

/// What is done about an emergency.
#[derive(Debug, Subcommand)]
pub(super) enum EmergencyVerb {
    /// Declare an emergency for a talker of an own talkgroup
    Declare {
        /// Own talkgroup
        talkgroup: TalkgroupId,
        /// Who is in trouble, as radios show it
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        talker: String,
        /// Where
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        place: String,
    },
    /// Say that a human has heard it
    Acknowledge {
        /// Spoken form, id, or talkgroup
        emergency: String,
    },
    /// End it; only the talker's own agency
    Clear {
        /// Spoken form, id, or talkgroup
        emergency: String,
        /// Why it is over
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
}

impl EmergencyVerb {
    /// The command it stands for; names looked up.
    pub fn command(self, client: &Client) -> Result<Command, CliFault> {
        Ok(match self {
            EmergencyVerb::Declare { talkgroup, talker, place } => {
                Command::DeclareEmergency { talkgroup, talker: Alias::new(&talker), place }
            }
            EmergencyVerb::Acknowledge { emergency } => {
                Command::AcknowledgeEmergency { emergency: names::emergency(client, &emergency)? }
            }
            EmergencyVerb::Clear { emergency, reason } => {
                Command::ClearEmergency { emergency: names::emergency(client, &emergency)?, reason }
            }
        })
    }
}
