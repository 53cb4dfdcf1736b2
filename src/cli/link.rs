//! Verbs about one link: `crosspatch incident link|dial|unlink|adjust|extend|admit|end-isolation`. A link is named by its
//! spoken form, its id, or its talkgroup where that is linked once.

use std::collections::BTreeSet;

use clap::{Args, Subcommand, ValueEnum};

use super::client::Client;
use super::fault::CliFault;
use super::{names, span};
use crate::domain::audio::Gain;
use crate::domain::command::Command;
use crate::domain::floor::Priority;
use crate::domain::id::{AgencyId, PatchName, TalkgroupId};
use crate::domain::incident::{Direction, LinkRequest, PartyClass};

/// What is done to a link.
#[derive(Debug, Subcommand)]
pub(super) enum LinkVerb {
    /// Link an own talkgroup into a net
    Link {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Own talkgroup
        talkgroup: TalkgroupId,
        #[command(flatten)]
        terms: Terms,
    },
    /// Dial a number with an own line; whoever answers is in the net after it has pressed the star
    Dial {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Digits, with or without a leading plus
        number: String,
        /// Own line: the talkgroup of a [[phone]] with dial = true
        #[arg(long)]
        line: TalkgroupId,
        #[command(flatten)]
        terms: Terms,
    },
    /// Take a talkgroup out of a net, at once
    Unlink {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Spoken form, id, or talkgroup
        link: String,
    },
    /// Change direction, gain or priority of a link
    Adjust {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Spoken form, id, or talkgroup
        link: String,
        #[command(flatten)]
        way: Way,
        /// Make it hear and be heard again, within the grant
        #[arg(long, conflicts_with_all = ["listen", "talk"])]
        both: bool,
        /// Gain in dB, such as -3 or 4.5
        #[arg(long, value_name = "DB", value_parser = gain, allow_hyphen_values = true)]
        gain: Option<Gain>,
        /// Rank of the link: higher is heard first
        #[arg(long)]
        priority: Option<u8>,
    },
    /// Prolong one link, or all own links of the incident
    Extend {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Spoken form, id, or talkgroup; without it all own links (as the host: all)
        link: Option<String>,
        /// Such as 45m or 4h
        #[arg(long, value_name = "TIME", value_parser = span::parse_s)]
        by: u32,
    },
    /// Widen the audience of an own link
    Admit {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Spoken form, id, or talkgroup
        link: String,
        /// Agency that joined later; may be repeated
        agency: Vec<AgencyId>,
        /// Class of listeners; may be repeated
        #[arg(long, value_enum)]
        class: Vec<Class>,
        /// Why a secure talkgroup may meet what is not secure
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// End an isolation of an own link before its time
    EndIsolation {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Spoken form, id, or talkgroup
        link: String,
    },
}

impl LinkVerb {
    /// The command it stands for; names looked up.
    pub fn command(self, client: &Client) -> Result<Command, CliFault> {
        let link = |incident: &str, name: &str| names::link(client, incident, name);
        Ok(match self {
            LinkVerb::Link { incident, talkgroup, terms } => {
                Command::Link { incident: names::incident(client, &incident)?, request: terms.request(talkgroup) }
            }
            LinkVerb::Dial { incident, number, line, terms } => {
                Command::Dial { incident: names::incident(client, &incident)?, number, request: terms.request(line) }
            }
            LinkVerb::Unlink { incident, link: name } => Command::Unlink { link: link(&incident, &name)? },
            LinkVerb::Adjust { incident, link: name, way, both, gain, priority } => {
                let direction = way.direction().or(both.then_some(Direction::Both));
                Command::Adjust { link: link(&incident, &name)?, direction, gain, priority: priority.map(Priority) }
            }
            LinkVerb::Extend { incident, link: name, by } => {
                let one = name.map(|name| link(&incident, &name)).transpose()?;
                Command::Extend { incident: names::incident(client, &incident)?, link: one, by_s: by }
            }
            LinkVerb::Admit { incident, link: name, agency, class, reason } => Command::Admit {
                link: link(&incident, &name)?,
                agencies: agency.into_iter().collect(),
                classes: classes(class),
                not_secure_reason: reason,
            },
            LinkVerb::EndIsolation { incident, link: name } => Command::EndIsolation { link: link(&incident, &name)? },
        })
    }
}

/// One direction instead of both.
#[derive(Args, Debug)]
pub(super) struct Way {
    /// Only hear the net
    #[arg(long, conflicts_with = "talk")]
    listen: bool,
    /// Only be heard in the net
    #[arg(long)]
    talk: bool,
}

impl Way {
    fn direction(&self) -> Option<Direction> {
        match (self.listen, self.talk) {
            (true, _) => Some(Direction::Listen),
            (_, true) => Some(Direction::Talk),
            (false, false) => None,
        }
    }
}

/// Terms of a new link; what is not given is as the host's policy says.
#[derive(Args, Debug)]
pub(super) struct Terms {
    /// Net of the incident; the first one unless named
    #[arg(long, value_name = "NAME")]
    patch: Option<PatchName>,
    #[command(flatten)]
    way: Way,
    /// How long, such as 45m or 4h
    #[arg(long, value_name = "TIME", value_parser = span::parse_s)]
    lease: Option<u32>,
    /// Nobody may extend it beyond this, such as 12h
    #[arg(long, value_name = "TIME", value_parser = span::parse_s)]
    hard_end: Option<u32>,
    /// Rank of the link: higher is heard first
    #[arg(long, default_value_t = 0)]
    priority: u8,
    /// Gain in dB, such as -3 or 4.5
    #[arg(long, value_name = "DB", value_parser = gain, allow_hyphen_values = true)]
    gain: Option<Gain>,
    /// Class of listeners to admit; may be repeated
    #[arg(long, value_enum)]
    class: Vec<Class>,
    /// Yes, its members' answers may be heard in every incident it is in
    #[arg(long)]
    shared_incidents: bool,
    /// Why a secure talkgroup may meet what is not secure
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Terms {
    fn request(self, talkgroup: TalkgroupId) -> LinkRequest {
        LinkRequest {
            talkgroup,
            patch: self.patch,
            direction: self.way.direction().unwrap_or_default(),
            gain: self.gain.unwrap_or(Gain::UNITY),
            priority: Priority(self.priority),
            lease_s: self.lease,
            hard_end_s: self.hard_end,
            classes: classes(self.class),
            shared_incidents: self.shared_incidents,
            not_secure_reason: self.reason,
        }
    }
}

/// Classes of listeners as typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Class {
    LaterAgencies,
    Recording,
    /// Whoever agencies of the audience have dialled
    Telephones,
}

fn classes(given: Vec<Class>) -> BTreeSet<PartyClass> {
    let class = |class| match class {
        Class::LaterAgencies => PartyClass::LaterAgencies,
        Class::Recording => PartyClass::Recording,
        Class::Telephones => PartyClass::Telephones,
    };
    given.into_iter().map(class).collect()
}

fn gain(text: &str) -> Result<Gain, String> {
    let wrong = || format!("{text:?} is no gain in dB: write -3 or 4.5");
    let db: f32 = text.trim_end_matches("dB").trim().parse().map_err(|_| wrong())?;
    if !(-60.0..=20.0).contains(&db) {
        return Err(wrong());
    }
    Ok(Gain((db * 100.0).round() as i16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_is_in_decibels_and_stays_where_ears_survive() {
        let right = [("-3", -300), ("4.5", 450), ("0", 0), ("-12dB", -1200), ("+2 dB", 200)];
        for (text, centibels) in right {
            assert_eq!(gain(text), Ok(Gain(centibels)), "{text}");
        }
        for text in ["", "loud", "NaN", "inf", "21", "-61"] {
            assert!(gain(text).is_err(), "{text}");
        }
    }
}
