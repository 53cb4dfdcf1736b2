//! The roster as people read it at night: what is open, who rings, who talks, what is left of each lease. Text only;
//! everything in it comes from the roster's values.

use std::fmt::Write;

use super::span::{moment, words};
use super::table::Table;
use crate::dispatch::view::{IncidentView, Life, LinkPhase, LinkView, PatchView, Roster, TalkgroupView};
use crate::dispatch::why::Why;
use crate::domain::configuration::{PathClass, Security};
use crate::domain::floor::{FloorMode, FloorPolicy};
use crate::domain::incident::{CutTarget, Direction};

/// All an agency may see.
pub(super) fn roster(roster: &Roster) -> String {
    let mut text = format!("As of {}\n", moment(roster.at));
    section(&mut text, "Emergencies", &emergencies(roster));
    section(&mut text, "Alarms", &lines(roster.alarms.iter().map(ToString::to_string)));
    section(&mut text, "Invitations", &invitations(roster));
    for incident in &roster.incidents {
        section(&mut text, &heading(incident), &body(incident));
    }
    section(&mut text, "Cut out of everything", &lines(roster.cuts.iter().map(cut)));
    section(&mut text, "Proposed by a changed configuration", &lines(roster.proposed.iter().cloned()));
    section(&mut text, "Talkgroups", &talkgroups(&roster.talkgroups));
    section(&mut text, "Trunks", &trunks(roster));
    section(&mut text, "Agencies", &agencies(roster));
    text
}

/// Open incidents and invitations, one line each.
pub(super) fn incidents(roster: &Roster) -> String {
    let mut table = Table::new(&["incident", "title", "kind", "host", "members", "ringing", "links", "opened"]);
    for incident in &roster.incidents {
        let links: usize = incident.patches.iter().map(|patch| patch.links.len()).sum();
        table.row([
            incident.spoken.clone(),
            title(&incident.title, incident.exercise),
            incident.kind.clone(),
            incident.host.to_string(),
            joined(incident.members.iter()),
            joined(incident.ringing.keys()),
            links.to_string(),
            moment(incident.opened),
        ]);
    }
    let mut text = table.text();
    if text.is_empty() {
        text.push_str("No incident is open.\n");
    }
    section(&mut text, "Invitations", &invitations(roster));
    text
}

/// One incident in full.
pub(super) fn incident(incident: &IncidentView) -> String {
    let mut text = format!("{}\n", heading(incident));
    let _ = writeln!(text, "Id       {}", incident.incident);
    let _ = writeln!(text, "Opened   {}", moment(incident.opened));
    text.push_str(&body(incident));
    text
}

fn trunks(roster: &Roster) -> String {
    let mut table = Table::new(&["trunk", "state", "for"]);
    for trunk in &roster.trunks {
        let state = if trunk.up { "up" } else { "LOST" };
        table.row([trunk.trunk.to_string(), state.to_owned(), words(trunk.for_s)]);
    }
    table.text()
}

fn section(text: &mut String, heading: &str, body: &str) {
    if !body.is_empty() {
        let _ = write!(text, "\n{heading}\n{}", indented(body));
    }
}

fn indented(body: &str) -> String {
    body.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}

fn lines(of: impl Iterator<Item = String>) -> String {
    of.map(|line| line + "\n").collect()
}

fn heading(incident: &IncidentView) -> String {
    let kind = if incident.kind.is_empty() { String::new() } else { format!(" ({})", incident.kind) };
    format!("{}  {}{kind}", incident.spoken, title(&incident.title, incident.exercise))
}

fn title(title: &str, exercise: bool) -> String {
    if exercise { format!("EXERCISE {title}") } else { title.to_owned() }
}

fn body(incident: &IncidentView) -> String {
    let mut text = format!("Host     {}\nMembers  {}\n", incident.host, joined(incident.members.iter()));
    if let Some(offered) = &incident.host_offered_to {
        let _ = writeln!(text, "Offered  the host role to {offered}");
    }
    for (agency, seconds) in &incident.ringing {
        let _ = writeln!(text, "Ringing  {agency}, for {}", words(*seconds));
    }
    if let Some(seconds) = incident.closes_in_s {
        let _ = writeln!(text, "Closes   in {}", words(seconds));
    }
    for shift in &incident.hand_overs {
        let _ = writeln!(
            text,
            "Shift    {} to {} of {}, {}: {}",
            shift.from,
            shift.to,
            shift.agency,
            moment(shift.at),
            shift.note
        );
    }
    incident.patches.iter().for_each(|net| text.push_str(&patch(net)));
    text
}

fn patch(patch: &PatchView) -> String {
    let mut text = format!("Net {}: {}\n", patch.name, floor(&patch.floor));
    for talker in &patch.talkers {
        let mark = if talker.emergency { "EMERGENCY " } else { "" };
        let name = if talker.talker.is_empty() { talker.gateway.as_str() } else { talker.talker.as_str() };
        let _ = writeln!(text, "  {mark}{name} talks on {} for {}", talker.talkgroup, words(talker.for_ms / 1000));
    }
    let mut table = Table::new(&["link", "talkgroup", "owner", "state", "way", "proven", "left", "marks"]);
    for link in &patch.links {
        table.row([
            link.spoken.clone(),
            link.talkgroup.to_string(),
            link.owner.to_string(),
            phase(link.phase).to_owned(),
            way(link.direction).to_owned(),
            proven(link).to_owned(),
            left(link),
            marks(link),
        ]);
    }
    text.push_str(&indented(&table.text()));
    text
}

fn floor(floor: &FloorPolicy) -> String {
    let many = match (floor.mode, floor.holders_max) {
        (FloorMode::Open, most) => format!("open, the loudest {most} are heard"),
        (FloorMode::Ptt, 1) => "one talks at a time".to_owned(),
        (FloorMode::Ptt, most) => format!("up to {most} talk at once"),
    };
    let queue = if floor.queue_max == 0 { String::new() } else { format!(", {} may wait", floor.queue_max) };
    format!("{many}{queue}, for at most {}", words(u64::from(floor.talk_limit_ms) / 1000))
}

const fn phase(phase: LinkPhase) -> &'static str {
    match phase {
        LinkPhase::Linked => "linked",
        LinkPhase::Unsupervised => "unsupervised",
        LinkPhase::Lost => "LOST",
        LinkPhase::Muted => "MUTED",
        LinkPhase::Isolated => "ISOLATED",
    }
}

const fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::Both => "both",
        Direction::Listen => "listens",
        Direction::Talk => "talks",
    }
}

const fn proven(link: &LinkView) -> &'static str {
    match (link.proven_receive, link.proven_transmit) {
        (true, true) => "rx tx",
        (true, false) => "rx",
        (false, true) => "tx",
        (false, false) => "-",
    }
}

fn left(link: &LinkView) -> String {
    match link.overtime_minutes {
        Some(minutes) => format!("OVERTIME since {minutes} min, hard end in {}", words(link.hard_end_left_s)),
        None => words(link.lease_left_s),
    }
}

fn marks(link: &LinkView) -> String {
    let mut marks = Vec::new();
    if link.path == PathClass::Open {
        marks.push("open path".to_owned());
    }
    if let Some(reason) = &link.not_secure_reason {
        marks.push(format!("NOT SECURE: {reason}"));
    }
    if link.gain.0 != 0 {
        marks.push(format!("{:+.1} dB", f32::from(link.gain.0) / 100.0));
    }
    if link.priority.0 != 0 {
        marks.push(format!("priority {}", link.priority.0));
    }
    marks.join(", ")
}

fn invitations(roster: &Roster) -> String {
    let mut table = Table::new(&["incident", "title", "from", "to", "rings", "proposed", "note"]);
    for invitation in &roster.invitations {
        table.row([
            invitation.spoken.clone(),
            title(&invitation.title, invitation.exercise),
            invitation.host.to_string(),
            invitation.agency.to_string(),
            words(invitation.rings_for_s),
            joined(invitation.proposed.iter().map(|request| &request.talkgroup)),
            invitation.note.clone(),
        ]);
    }
    table.text()
}

fn emergencies(roster: &Roster) -> String {
    let mut table =
        Table::new(&["emergency", "talkgroup", "talker", "place", "since", "acknowledged", "not confirmed"]);
    for emergency in &roster.emergencies {
        table.row([
            emergency.spoken.clone(),
            emergency.talkgroup.to_string(),
            emergency.talker.to_string(),
            emergency.place.clone(),
            moment(emergency.since),
            joined(emergency.acknowledged.iter()),
            joined(emergency.not_confirmed.iter()),
        ]);
    }
    table.text()
}

fn talkgroups(talkgroups: &[TalkgroupView]) -> String {
    let mut table =
        Table::new(&["talkgroup", "name", "agency", "coverage", "gateway", "state", "proven", "listens on", "peer"]);
    for talkgroup in talkgroups {
        let mark = match (talkgroup.cut, talkgroup.security) {
            (true, _) => " (CUT)",
            (false, Security::Secure) => " (secure)",
            (false, Security::Clear) => "",
        };
        let (id, name) = (talkgroup.talkgroup.to_string(), format!("{}{mark}", talkgroup.name));
        if talkgroup.gateways.is_empty() {
            let none = || String::new();
            let (agency, coverage) = (talkgroup.agency.to_string(), talkgroup.coverage.clone());
            table.row([id, name, agency, coverage, "none".to_owned(), none(), none(), none(), none()]);
            continue;
        }
        for (at, gateway) in talkgroup.gateways.iter().enumerate() {
            // A talkgroup is named once, its further gateways below it.
            let first = |text: &str| if at == 0 { text.to_owned() } else { String::new() };
            let proven = match (gateway.proven_receive, gateway.delivered) {
                (true, true) => "rx tx",
                (true, false) => "rx",
                (false, true) => "tx",
                (false, false) => "-",
            };
            let address = |address: Option<std::net::SocketAddr>| address.map_or("-".to_owned(), |a| a.to_string());
            table.row([
                first(&id),
                first(&name),
                first(talkgroup.agency.as_str()),
                first(&talkgroup.coverage),
                gateway.gateway.to_string(),
                format!("{}{}", life(gateway.life), if gateway.talking { ", talks" } else { "" }),
                proven.to_owned(),
                address(gateway.listens_on),
                address(gateway.peer),
            ]);
        }
    }
    table.text()
}

const fn life(life: Life) -> &'static str {
    match life {
        Life::Alive => "alive",
        Life::Lost => "LOST",
        Life::Unsupervised => "unsupervised",
        Life::InCall => "in a call",
        Life::Registered => "registered",
        Life::Away => "away",
        Life::Dialling => "dialling",
        Life::Ringing => "ringing",
        Life::Waiting => "waits to confirm",
    }
}

fn agencies(roster: &Roster) -> String {
    let mut table = Table::new(&["agency", "name", "position", "contact 24 h"]);
    for agency in &roster.agencies {
        let staffed = match agency.staffed {
            Some(true) => "staffed",
            Some(false) => "NOBODY THERE",
            None => "-",
        };
        table.row([agency.agency.to_string(), agency.name.clone(), staffed.to_owned(), agency.contact_24h.clone()]);
    }
    table.text()
}

fn cut(target: &CutTarget) -> String {
    match target {
        CutTarget::Agency(agency) => format!("agency {agency}"),
        CutTarget::Talkgroup(talkgroup) => format!("talkgroup {talkgroup}"),
    }
}

/// Why one hears the other, or does not.
pub(super) fn why(why: &Why) -> String {
    let ago = |ago_s: Option<u64>| ago_s.map(|s| format!(" ({} ago)", words(s))).unwrap_or_default();
    let more = why.causes.iter().skip(1).map(|cause| format!("- {}{}", cause.sentence, ago(cause.ago_s)));
    format!("{}\n{}", why.sentence, lines(more))
}

fn joined<T: ToString>(of: impl Iterator<Item = T>) -> String {
    of.map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
}
