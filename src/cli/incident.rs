//! `crosspatch incident ...`: arguments that become one command each. What they mean is dispatch's business.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};

use super::client::Client;
use super::fault::CliFault;
use super::link::LinkVerb;
use super::{names, span};
use crate::dispatch::view::Roster;
use crate::domain::command::Command;
use crate::domain::floor::{FloorMode, FloorPolicy};
use crate::domain::id::{AgencyId, IncidentId, PatchName, TalkgroupId, TemplateId, UserId};
use crate::domain::incident::LinkRequest;

/// Everything about incidents.
#[derive(Debug, Subcommand)]
pub(super) enum IncidentVerb {
    /// List open incidents and unanswered invitations
    List,
    /// Show one incident: nets, links, who talks
    Show {
        /// Id, spoken form, or the beginning of either
        incident: String,
    },
    #[command(flatten)]
    Session(SessionVerb),
    #[command(flatten)]
    Link(LinkVerb),
}

/// Who is in an incident, and its nets.
#[derive(Debug, Subcommand)]
pub(super) enum SessionVerb {
    /// Open an incident, from a template or from scratch
    Open {
        /// Template of the configuration
        template: Option<TemplateId>,
        /// Title; without it that of the template
        #[arg(long, required_unless_present = "template")]
        title: Option<String>,
        /// Kind that agreements speak of, such as fire or rescue
        #[arg(long)]
        kind: Option<String>,
        /// An exercise: shares no talkgroup with real incidents
        #[arg(long)]
        exercise: bool,
        /// Agency to invite; may be repeated
        #[arg(long, value_name = "AGENCY")]
        invite: Vec<AgencyId>,
        /// Own talkgroup to link at once; may be repeated
        #[arg(long, value_name = "TALKGROUP")]
        link: Vec<TalkgroupId>,
    },
    /// Invite an agency
    Invite {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Agency to invite
        agency: AgencyId,
        /// What its dispatcher should know
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        note: String,
        /// Talkgroup of theirs that is proposed for linking; may be repeated
        #[arg(long, value_name = "TALKGROUP")]
        propose: Vec<TalkgroupId>,
    },
    /// Accept an invitation, linking own talkgroups at once
    Accept {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Own talkgroup to link; may be repeated
        #[arg(long, value_name = "TALKGROUP")]
        link: Vec<TalkgroupId>,
        /// Also what the host proposed, in the nets and directions and with the priorities that it proposed
        #[arg(long)]
        proposed: bool,
    },
    /// Decline an invitation
    Decline {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Why, for the host
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Offer the host role to another member, who takes it with take-host
    #[command(visible_alias = "transfer")]
    OfferHost {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Member that is to be the host
        to: AgencyId,
    },
    /// Take the host role that was offered
    TakeHost {
        /// Id, spoken form, or the beginning of either
        incident: String,
    },
    /// Hand over to the next dispatcher of the own agency, with a note
    HandOver {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Name of the next dispatcher
        to: UserId,
        /// What they should know
        note: String,
    },
    /// Leave the incident; own links end at once
    Leave {
        /// Id, spoken form, or the beginning of either
        incident: String,
    },
    /// As the host, remove an agency; its links end at once
    Remove {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Agency to remove
        agency: AgencyId,
    },
    /// As the host, close the incident
    Close {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Also if others talked a short while ago: warns on the air first
        #[arg(long)]
        force: bool,
    },
    /// Write into the incident's record
    Note {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// What is to be remembered
        text: String,
    },
    /// Add a net; who talks in it is as the host's policy says, until set-floor changes it
    AddPatch {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Name of the net
        name: PatchName,
    },
    /// Close a net; its links end at once
    ClosePatch {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Name of the net
        name: PatchName,
    },
    /// Change how a net shares the right to talk; what is not given stays as it is
    SetFloor {
        /// Id, spoken form, or the beginning of either
        incident: String,

        /// Name of the net
        name: PatchName,
        #[command(flatten)]
        floor: Floor,
    },
}

/// What of a net's floor is to change: at least one of it.
#[derive(Args, Debug, Default)]
#[group(required = true, multiple = true)]
pub(super) struct Floor {
    /// Talkers at once; 1 is strict push-to-talk
    #[arg(long, value_name = "N")]
    holders: Option<u8>,
    /// Everybody may talk and the loudest are heard
    #[arg(long, conflicts_with = "ptt")]
    open: bool,
    /// Whoever talks has asked for it and was granted it
    #[arg(long)]
    ptt: bool,
    /// Requests that may wait instead of being denied
    #[arg(long, value_name = "N")]
    queue: Option<u8>,
    /// Milliseconds for which the net stays with those who have just talked
    #[arg(long, value_name = "MS")]
    hang: Option<u16>,
    /// Longest burst, such as 60s
    #[arg(long, value_name = "TIME", value_parser = span::parse_s)]
    talk_limit: Option<u32>,
}

impl Floor {
    /// The policy with what was given changed.
    fn applied_to(&self, now: FloorPolicy) -> FloorPolicy {
        let mode = match (self.open, self.ptt) {
            (true, _) => FloorMode::Open,
            (false, true) => FloorMode::Ptt,
            (false, false) => now.mode,
        };
        FloorPolicy {
            mode,
            holders_max: self.holders.unwrap_or(now.holders_max),
            queue_max: self.queue.unwrap_or(now.queue_max),
            hang_ms: self.hang.unwrap_or(now.hang_ms),
            talk_limit_ms: self.talk_limit.map_or(now.talk_limit_ms, |s| s.saturating_mul(1000)),
        }
    }
}

/// Links and what an invitation proposes beside them. Whom the host would have admitted beyond those present is the
/// owner's to tick, talkgroup by talkgroup.
fn with_proposed(mut links: Vec<LinkRequest>, roster: &Roster, incident: IncidentId) -> Vec<LinkRequest> {
    let invitation = roster.invitations.iter().find(|invitation| invitation.incident == incident);
    for proposed in invitation.into_iter().flat_map(|invitation| &invitation.proposed) {
        if links.iter().all(|link| link.talkgroup != proposed.talkgroup) {
            links.push(LinkRequest { classes: BTreeSet::new(), ..proposed.clone() });
        }
    }
    links
}

fn plain(talkgroups: Vec<TalkgroupId>) -> Vec<LinkRequest> {
    talkgroups.into_iter().map(LinkRequest::plain).collect()
}

impl SessionVerb {
    /// The command it stands for; names looked up.
    pub fn command(self, client: &Client) -> Result<Command, CliFault> {
        let incident = |name: String| names::incident(client, &name);
        Ok(match self {
            SessionVerb::Open { template, title, kind, exercise, invite, link } => {
                Command::OpenIncident { template, title, kind, exercise, invite, links: plain(link) }
            }
            SessionVerb::Invite { incident: name, agency, note, propose } => {
                Command::Invite { incident: incident(name)?, agency, note, links: plain(propose) }
            }
            SessionVerb::Accept { incident: name, link, proposed: false } => {
                Command::Accept { incident: incident(name)?, links: plain(link) }
            }
            SessionVerb::Accept { incident: name, link, proposed: true } => {
                let roster = client.roster()?;
                let incident = names::incident_in(&roster, &name)?;
                Command::Accept { incident, links: with_proposed(plain(link), &roster, incident) }
            }
            SessionVerb::Decline { incident: name, reason } => Command::Decline { incident: incident(name)?, reason },
            SessionVerb::OfferHost { incident: name, to } => Command::OfferHost { incident: incident(name)?, to },
            SessionVerb::TakeHost { incident: name } => Command::TakeHost { incident: incident(name)? },
            SessionVerb::HandOver { incident: name, to, note } => {
                Command::HandOver { incident: incident(name)?, to, note }
            }
            SessionVerb::Leave { incident: name } => Command::Leave { incident: incident(name)? },
            SessionVerb::Remove { incident: name, agency } => Command::Remove { incident: incident(name)?, agency },
            SessionVerb::Close { incident: name, force } => Command::Close { incident: incident(name)?, force },
            SessionVerb::Note { incident: name, text } => Command::Note { incident: incident(name)?, text },
            SessionVerb::AddPatch { incident: of, name } => {
                Command::AddPatch { incident: incident(of)?, name, floor: None }
            }
            SessionVerb::ClosePatch { incident: of, name } => Command::ClosePatch { incident: incident(of)?, name },
            SessionVerb::SetFloor { incident: of, name, floor } => {
                let roster = client.roster()?;
                let net = names::net(names::incident_view(&roster, &of)?, &name)?;
                Command::SetFloor { incident: incident(of)?, name, floor: floor.applied_to(net.floor) }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_changes_in_what_is_given_and_in_nothing_else() {
        let now =
            FloorPolicy { mode: FloorMode::Open, holders_max: 2, queue_max: 4, hang_ms: 1_500, talk_limit_ms: 20_000 };
        let given = |floor: Floor| floor.applied_to(now);
        assert_eq!(given(Floor { holders: Some(1), ..Floor::default() }), FloorPolicy { holders_max: 1, ..now });
        assert_eq!(given(Floor { ptt: true, ..Floor::default() }), FloorPolicy { mode: FloorMode::Ptt, ..now });
        assert_eq!(given(Floor { queue: Some(0), ..Floor::default() }), FloorPolicy { queue_max: 0, ..now });
        assert_eq!(given(Floor { hang: Some(0), ..Floor::default() }), FloorPolicy { hang_ms: 0, ..now });
        let limited = Floor { talk_limit: Some(30), open: true, ..Floor::default() };
        assert_eq!(given(limited), FloorPolicy { talk_limit_ms: 30_000, ..now });
    }
}
