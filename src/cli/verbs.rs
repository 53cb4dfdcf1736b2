//! What can be asked on the command line. Grammar only.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::Shell;

use super::client::Client;
use super::emergency::EmergencyVerb;
use super::fault::CliFault;
use super::incident::IncidentVerb;
use crate::domain::id::{AgencyId, BurstId, PatchName, PositionId, TalkgroupId};
use crate::domain::incident::CutTarget;

/// The first word.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run the daemon until SIGTERM; SIGHUP reads the configuration again
    Run {
        /// Configuration
        #[arg(long, value_name = "PATH", env = "CROSSPATCH_CONFIG", default_value = CONFIG)]
        config: PathBuf,
    },
    /// Three agencies, one incident, recorded speech: shows and judges who hears whom, without any hardware
    Demo {
        /// End by itself after about so long, with a verdict; at least one whole round. Else q or Ctrl-C ends it
        #[arg(long = "for", value_name = "TIME", value_parser = super::span::parse_s)]
        lasting_s: Option<u32>,
        /// Lines instead of the live view
        #[arg(long)]
        plain: bool,
        /// Folder for recordings, log and verdict
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Check a configuration file: every fault at once, with line and column
    Check {
        /// Configuration
        #[arg(value_name = "PATH", env = "CROSSPATCH_CONFIG", default_value = CONFIG)]
        config: PathBuf,
        /// Print the JSON schema of the configuration instead
        #[arg(long)]
        schema: bool,
    },
    /// Explain a key or section of the configuration
    Explain {
        /// Such as hold_max_ms or gateway.rtp
        key: String,
    },
    /// Look whether this machine can run this configuration; changes nothing
    Doctor {
        /// Configuration
        #[arg(value_name = "PATH", env = "CROSSPATCH_CONFIG", default_value = CONFIG)]
        config: PathBuf,
    },
    /// Show what a changed configuration would do to the running daemon
    Plan {
        /// The changed configuration
        #[arg(value_name = "PATH")]
        config: PathBuf,
    },
    /// Make the daemon read its configuration again
    Reload,
    /// Show everything you may see: incidents, links, talkgroups, emergencies, alarms
    Roster {
        /// Show it again every second
        #[arg(long)]
        watch: bool,
    },
    /// Show events as they happen; goes on after a restart of the daemon where it broke
    Watch {
        /// Begin after this cursor instead of now
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Explain why one talkgroup hears another, or does not
    Why {
        /// Talkgroup that talks
        from: TalkgroupId,
        /// Talkgroup that should hear it
        to: TalkgroupId,
    },
    /// The red button: take an own talkgroup, or the whole own agency, out of everything at once
    Cut(CutArguments),
    /// Lift a cut; links nothing by itself
    Restore(CutArguments),
    /// Open and run incidents
    ///
    /// An incident is named by its id, by its spoken form such as kilo-7-tango-3, or by the beginning of either. A
    /// link is named in the same way, or by its talkgroup where that is linked once.
    #[command(subcommand)]
    Incident(IncidentVerb),
    /// Declare and end emergencies
    ///
    /// An emergency is named by its id, its spoken form, the beginning of either, or by its talkgroup where one is open.
    #[command(subcommand)]
    Emergency(EmergencyVerb),
    /// Take the floor from whoever talks in a net
    Revoke {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Net of the incident
        #[arg(long, value_name = "NAME", default_value = "main")]
        patch: PatchName,
        /// One talker only
        #[arg(long)]
        burst: Option<BurstId>,
    },
    /// Say that a position is staffed
    Beat {
        /// Position of the configuration
        position: PositionId,
        /// Say it again after each so long, until Ctrl-C; a third of its heartbeat_s is right
        #[arg(long, value_name = "TIME", value_parser = super::span::parse_s)]
        every: Option<u32>,
    },
    /// Confirm what the daemon cannot know by itself
    #[command(subcommand)]
    Confirm(ConfirmVerb),
    /// Check the journal, or repair that of a stopped daemon
    #[command(subcommand)]
    Journal(JournalVerb),
    /// Print completions for a shell
    Completions {
        /// Whose completions
        shell: Shell,
    },
    /// Write the manual pages into a folder
    Man {
        /// Folder; it is made if it is not there
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Print the version
    Version,
}

/// A yes of a person.
#[derive(Debug, Subcommand)]
pub(super) enum ConfirmVerb {
    /// Audio was heard over an own link, one way or the other
    #[command(arg_required_else_help = true)]
    Link {
        /// Id, spoken form, or the beginning of either
        incident: String,
        /// Spoken form, id, or talkgroup
        link: String,
        /// The others hear it
        #[arg(long, required_unless_present = "transmit")]
        receive: bool,
        /// It hears the others
        #[arg(long)]
        transmit: bool,
    },
    /// What a changed configuration would widen is wanted
    Change {
        /// Own agency
        agency: AgencyId,
    },
    /// What the journal lost has been looked at: audio crosses agency borders again. For administrators
    Loss {
        /// Who looked, at what, and whom they called; kept in the journal
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// Offline work on the journal.
#[derive(Debug, Subcommand)]
pub(super) enum JournalVerb {
    /// Walk the whole journal and tell what is wrong; changes nothing
    Check {
        /// Folder of the journal
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Rebuild a damaged journal from what can be read; the original is kept beside it
    Repair {
        /// Folder of the journal
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// What the red button is pressed on.
#[derive(Args, Debug)]
pub(super) struct CutArguments {
    /// Talkgroup if there is one of that name, else agency
    name: String,
    /// It is an agency, whatever talkgroups are called
    #[arg(long, conflicts_with = "talkgroup")]
    agency: bool,
    /// It is a talkgroup; asks nothing before it cuts
    #[arg(long)]
    talkgroup: bool,
}

impl CutArguments {
    /// What is meant by the name.
    pub fn target(&self, client: &Client) -> Result<CutTarget, CliFault> {
        let wrong = |fault| CliFault::Usage(format!("{}: {fault}", self.name));
        let talkgroup = || TalkgroupId::new(&self.name).map(CutTarget::Talkgroup).map_err(wrong);
        let agency = || AgencyId::new(&self.name).map(CutTarget::Agency).map_err(wrong);
        if self.agency {
            return agency();
        } else if self.talkgroup {
            return talkgroup();
        }
        let roster = client.roster()?;
        if roster.talkgroups.iter().any(|view| view.talkgroup.as_str() == self.name) {
            talkgroup()
        } else if roster.agencies.iter().any(|view| view.agency.as_str() == self.name) {
            agency()
        } else {
            Err(CliFault::Failed(format!("There is neither a talkgroup nor an agency {}.", self.name)))
        }
    }
}

/// Where packages put it.
const CONFIG: &str = "/etc/crosspatch/crosspatch.toml";
