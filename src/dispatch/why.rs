//! Why one talkgroup does, or does not, hear another: answered from state and from what the cores reported, never from
//! a guess. The first cause that alone explains the silence makes the sentence; the others follow.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::call::CallMedia;
use crate::domain::configuration::{Gateway, GatewayKind};
use crate::domain::event::Alarm;
use crate::domain::floor::{Denial, MissCause};
use crate::domain::id::{GatewayId, PortId, TalkgroupId};
use crate::domain::incident::UnlinkCause;
use crate::domain::port::PeerRule;
use crate::domain::report::MediaLimit;
use crate::domain::time::Now;

use super::live::{Live, PortFacts};
use super::routes::audience;
use super::sight::Sight;
use super::state::{PlacedLink, State};
use super::told::miss_words;

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    pub from: TalkgroupId,
    pub to: TalkgroupId,
    /// Whether the routes let `to` hear `from` somewhere.
    pub routed: bool,
    /// The answer in one sentence.
    pub sentence: String,
    /// Everything that bears on it, most decisive first.
    pub causes: Vec<Cause>,
}

/// One reason, with how long ago it was seen where that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cause {
    /// A stable word for programs.
    pub code: String,
    /// For people.
    pub sentence: String,
    /// Seconds since it was seen; none for rules that stand.
    pub ago_s: Option<u64>,
}

/// Answers for audio from `from` to `to`, as these eyes may know it: incidents that they do not see are not named.
pub fn why(state: &State, live: &Live, sight: &Sight, from: &TalkgroupId, to: &TalkgroupId, now: Now) -> Why {
    let mut causes = Vec::new();
    let mut routed = false;
    if from == to {
        causes.push(rule(
            "own",
            format!("{to} never hears its own bursts back; its members hear each other in its home patch."),
        ));
    } else {
        cut_causes(state, from, to, &mut causes);
        routed = route_causes(state, sight, from, to, now, &mut causes);
    }
    if routed {
        media_causes(state, live, from, to, now, &mut causes);
    }
    let sentence = match causes.first() {
        Some(cause) => match cause.ago_s {
            Some(ago_s) => format!("{} ({ago_s} s ago)", cause.sentence),
            None => cause.sentence.clone(),
        },
        None => format!("{to} may hear {from}: it is routed, and nothing was reported that stands in the way."),
    };
    Why { from: from.clone(), to: to.clone(), routed, sentence, causes }
}

fn rule(code: &str, sentence: String) -> Cause {
    Cause { code: code.to_owned(), sentence, ago_s: None }
}

fn cut_causes(state: &State, from: &TalkgroupId, to: &TalkgroupId, causes: &mut Vec<Cause>) {
    for talkgroup in [from, to] {
        if state.talkgroup(talkgroup).is_none() {
            causes.push(rule("no_such_talkgroup", format!("There is no talkgroup {talkgroup}.")));
        } else if state.is_cut(talkgroup) {
            causes.push(rule(
                "cut",
                format!("{talkgroup} was cut out of everything by its own agency and not restored."),
            ));
        }
    }
}

/// Rules that stand between the two, for every net they share. True if some net routes the audio.
fn route_causes(
    state: &State,
    sight: &Sight,
    from: &TalkgroupId,
    to: &TalkgroupId,
    now: Now,
    causes: &mut Vec<Cause>,
) -> bool {
    let mut routed = false;
    let mut shared = false;
    for talker in state.links_of(from) {
        for listener in state.links_of(to).filter(|placed| placed.patch_id == talker.patch_id) {
            shared = true;
            let before = causes.len();
            link_causes(state, &talker, &listener, now, causes);
            routed |= causes.len() == before;
        }
    }
    if !shared {
        unlinked_causes(state, sight, from, to, now, causes);
    }
    if routed {
        // Another net's rule silences nothing while one net routes.
        causes.clear();
    }
    routed
}

/// They share no net: what parted them, and where they are.
fn unlinked_causes(
    state: &State,
    sight: &Sight,
    from: &TalkgroupId,
    to: &TalkgroupId,
    now: Now,
    causes: &mut Vec<Cause>,
) {
    for talkgroup in [from, to].into_iter().filter(|talkgroup| state.links_of(talkgroup).next().is_none()) {
        let known = state.partings.iter().filter(|(agency, _)| sight.is_of(agency));
        let last = known.filter_map(|(_, parted)| parted.get(talkgroup)).max_by_key(|parting| parting.at.mono);
        if let Some(parting) = last.filter(|parting| parting.is_fresh(now)) {
            let sentence = format!("{talkgroup} is linked no longer: {}", unlink_words(parting.cause));
            causes.push(seen("unlinked", sentence, now.mono.ms_since(parting.at.mono)));
        }
    }
    for talkgroup in [from, to] {
        let linked: Vec<String> = state
            .links_of(talkgroup)
            .filter(|placed| sight.sees(placed.incident))
            .map(|placed| format!("{} of {}", placed.patch.name, placed.incident_id.spoken()))
            .collect();
        let sentence = match (linked.is_empty(), sight.agency()) {
            (false, _) => format!("{talkgroup} is linked in {}, where the other is not.", linked.join(", ")),
            (true, None) => format!("{talkgroup} is linked in no incident."),
            (true, Some(_)) => format!("{talkgroup} is linked in no incident that you are in."),
        };
        causes.push(rule("not_linked_together", sentence));
    }
}

fn link_causes(state: &State, talker: &PlacedLink<'_>, listener: &PlacedLink<'_>, now: Now, causes: &mut Vec<Cause>) {
    let net = format!("{} of {}", talker.patch.name, talker.incident_id.spoken());
    let (from, to) = (&talker.link.talkgroup, &listener.link.talkgroup);
    for placed in [talker, listener] {
        if state.is_muted(&placed.link.owner) {
            let owner = &placed.link.owner;
            causes.push(rule(
                "position_lost",
                format!("Nobody sits at {owner}'s responsible position, and {owner} wants its links muted then."),
            ));
        }
        if let Some(isolation) = &placed.link.isolated {
            let left_s = isolation.until.left_ms(now).div_ceil(1000);
            causes.push(rule(
                "isolated",
                format!("{} returned what was sent to it and is muted for {left_s} s more.", placed.link.talkgroup),
            ));
        }
    }
    if talker.link.isolated.is_none() && !talker.link.talks() {
        causes.push(rule("listen_only", format!("{from} only listens in {net}.")));
    }
    if listener.link.isolated.is_none() && !listener.link.hears() {
        causes.push(rule("talk_only", format!("{to} does not listen in {net}.")));
    }
    let admits = |a: &PlacedLink<'_>, b: &PlacedLink<'_>| {
        let party = a.patch.parties.get(&b.link.talkgroup).copied().unwrap_or(0);
        audience(&state.configuration, a.patch, a.link) >> (party & 63) & 1 == 1
    };
    for (owner, other) in [(talker, listener), (listener, talker)] {
        let is_dialled = state.configuration.line_of(&other.link.talkgroup).is_some();
        if !admits(owner, other) && is_dialled {
            causes.push(rule(
                "telephone",
                format!(
                    "{} is a call that {} dialled; {} has not let calls hear {}: it must admit telephones.",
                    other.link.talkgroup, other.link.owner, owner.link.owner, owner.link.talkgroup
                ),
            ));
        } else if !admits(owner, other) {
            causes.push(rule(
                "audience",
                format!(
                    "{} joined after {} gave its yes for {} and is outside its audience; {} must admit it.",
                    other.link.owner, owner.link.owner, owner.link.talkgroup, owner.link.owner
                ),
            ));
        }
    }
    if state.alarms.iter().any(Alarm::is_loss) {
        let sentence = "The journal lost history: nothing crosses agency borders until an administrator confirms that.";
        causes.push(rule("journal_damaged", sentence.to_owned()));
    }
}

/// What media reported of the two ends.
fn media_causes(state: &State, live: &Live, from: &TalkgroupId, to: &TalkgroupId, now: Now, causes: &mut Vec<Cause>) {
    let gateways = |of: &TalkgroupId| -> Vec<(&GatewayId, &Gateway)> {
        state.configuration.gateways.iter().filter(|(_, gateway)| gateway.talkgroup == *of).collect()
    };
    let (talking, hearing) = (gateways(from), gateways(to));
    for (talkgroup, gateways) in [(from, &talking), (to, &hearing)] {
        if gateways.is_empty() {
            causes.push(rule("no_gateway", format!("{talkgroup} has no gateway.")));
        }
    }
    let mut talked = false;
    for (id, gateway) in &talking {
        let port = PortId::of_gateway(id);
        if matches!(gateway.kind, GatewayKind::Sip(_)) && !live.calls.contains_key(&port) {
            causes.push(rule("no_call", format!("Gateway {id} is in no call: nobody hears it.")));
        }
        let Some(facts) = live.ports.get(&port) else { continue };
        talked |= facts.talked_at.is_some();
        if let Some((_, denial, at)) = facts.denied.filter(|(_, _, at)| is_latest(facts, *at)) {
            let sentence = format!("{id} got no floor: {}.", denial_words(denial));
            causes.push(seen("denied", sentence, now.mono.ms_since(at)));
        }
        if let Some((ms, at)) = facts.too_short.filter(|(_, at)| is_latest(facts, *at)) {
            let sentence = format!("{id} keyed for {ms} ms, which is less than its minimum burst.");
            causes.push(seen("too_short", sentence, now.mono.ms_since(at)));
        }
        limit_cause(id, facts, now, causes);
        lost_cause(id, facts, now, causes);
    }
    for (id, gateway) in &hearing {
        let port = PortId::of_gateway(id);
        if live.waits(port).is_some() {
            causes.push(rule("not_confirmed", format!("Whom {id} dialled has not pressed the star yet.")));
            continue;
        }
        hearing_causes((id, gateway), live.calls.get(&port), live.ports.get(&port), now, causes);
    }
    // Silence alone is no fault: it explains only what nothing else does.
    if !talked && !talking.is_empty() {
        causes.push(rule("never_talked", format!("Nobody has talked on {from} since the daemon started.")));
    }
}

fn lost_cause(id: &GatewayId, facts: &PortFacts, now: Now, causes: &mut Vec<Cause>) {
    if let Some((cause, at)) = &facts.not_open {
        let sentence = format!("{id} is not open: this machine refuses it {cause}.");
        causes.push(seen("not_open", sentence, now.mono.ms_since(*at)));
    } else if facts.alive == Some(false) {
        let ago_ms = facts.alive_at.map_or(0, |at| now.mono.ms_since(at));
        causes.push(seen("lost", format!("{id} gives no sign of life."), ago_ms));
    }
}

/// Why this gateway does not send out what it should, as far as it is known.
fn hearing_causes(
    (id, gateway): (&GatewayId, &Gateway),
    call: Option<&CallMedia>,
    facts: Option<&PortFacts>,
    now: Now,
    causes: &mut Vec<Cause>,
) {
    let latches = match &gateway.kind {
        GatewayKind::Rtp(rtp) => matches!(rtp.peer, PeerRule::Latch(_)),
        GatewayKind::Sip(_) | GatewayKind::Phone(_) => call.is_some_and(|call| matches!(call.peer, PeerRule::Latch(_))),
    };
    if gateway.kind.comes_by_call() {
        let what = if gateway.kind.is_phone() { "Phone" } else { "Gateway" };
        match call {
            None => return causes.push(rule("no_call", format!("{what} {id} is in no call."))),
            Some(call) if !call.hears => causes.push(rule("on_hold", format!("{what} {id} holds its call."))),
            Some(_) => {}
        }
    }
    let waits = latches && facts.is_none_or(|facts| facts.latched.is_none());
    if waits {
        let sentence = format!("{id} has no peer: nothing has come from its box yet, so its address is unknown.");
        causes.push(rule("no_peer", sentence));
    }
    let Some(facts) = facts else { return };
    lost_cause(id, facts, now, causes);
    limit_cause(id, facts, now, causes);
    let Some((_, outcome, at)) = facts.outcomes.back() else { return };
    // A peer that is known by now, or said above to be missing, is not missed twice.
    if let Some(missed) = outcome.missed.filter(|missed| *missed != MissCause::NoPeer) {
        let missed_s = f64::from(outcome.missed_ms) / 1000.0;
        let heard = match outcome.heard_ms {
            0 => format!("{id} missed the last burst"),
            ms => format!("{id} heard {:.1} s of the last burst and missed {missed_s:.1} s", f64::from(ms) / 1000.0),
        };
        causes.push(seen("missed", format!("{heard}: {}.", miss_words(missed)), now.mono.ms_since(*at)));
    }
}

fn limit_cause(id: &GatewayId, facts: &PortFacts, now: Now, causes: &mut Vec<Cause>) {
    let Some((limit, at)) = facts.limit_hit else { return };
    let ago_ms = now.mono.ms_since(at);
    if ago_ms < LIMIT_MATTERS_MS {
        causes.push(seen("limit", format!("{id} met a limit: {}.", limit_words(limit)), ago_ms));
    }
}

fn seen(code: &str, sentence: String, ago_ms: u64) -> Cause {
    Cause { code: code.to_owned(), sentence, ago_s: Some(ago_ms / 1000) }
}

/// A denial matters until the port has talked after it.
fn is_latest(facts: &PortFacts, denied: crate::domain::time::MonoTime) -> bool {
    facts.talked_at.is_none_or(|talked| talked < denied)
}

const fn denial_words(denial: Denial) -> &'static str {
    match denial {
        Denial::Busy => "others hold it",
        Denial::ListenOnly => "it may only listen",
        Denial::StillRevoked => "it was revoked and has not unkeyed since",
        Denial::Unreachable => "the net's home cannot be reached",
        Denial::Full => "a table of the media core is full",
    }
}

const fn unlink_words(cause: UnlinkCause) -> &'static str {
    match cause {
        UnlinkCause::Unlinked => "its owner or the host unlinked it.",
        UnlinkCause::Cut => "its owner pulled the red button.",
        UnlinkCause::Expired => "its lease ran out.",
        UnlinkCause::HardEnd => "its owner's grant came to its end.",
        UnlinkCause::AgencyLeft => "an agency left the incident.",
        UnlinkCause::AgencyRemoved => "the host removed an agency from the incident.",
        UnlinkCause::Closed => "its net or incident was closed.",
        UnlinkCause::PositionLost => "nobody sat at its owner's responsible position, and its owner wanted that.",
        UnlinkCause::Idle => "nobody talked, and its owner wanted that.",
        UnlinkCause::CallEnded => "its call ended, or nobody answered and confirmed it.",
        UnlinkCause::Reconfigured => "the configuration no longer allows it.",
    }
}

const fn limit_words(limit: MediaLimit) -> &'static str {
    match limit {
        MediaLimit::Ports => "its media thread has no place for it",
        MediaLimit::Patches | MediaLimit::Legs | MediaLimit::Groups | MediaLimit::Talks => {
            "its media thread has no place for all its nets"
        }
        MediaLimit::Bursts | MediaLimit::Ears => "more people talked at once than are followed",
        MediaLimit::Decoders | MediaLimit::JitterBuffers => "no decoder was free",
        MediaLimit::Encoders => "no encoder was free",
        MediaLimit::Holds => "nothing was free to hold what waits for its transmitter",
        MediaLimit::Delays => "nothing was free to delay its short keys and squelch tails",
        MediaLimit::Outbox | MediaLimit::Reports | MediaLimit::TrunkRing => "more was to be sent than is sent at once",
        MediaLimit::PacketRate => "it sends more packets than it may",
    }
}

/// A limit hit longer ago than this explains nothing of now (ms).
const LIMIT_MATTERS_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::configuration::Configuration;

    fn talkgroup(name: &str) -> TalkgroupId {
        TalkgroupId::new(name).unwrap()
    }

    #[test]
    fn strangers_are_told_that_they_share_no_net_and_a_typo_is_called_one() {
        let (state, live) = (State::default(), Live::new(&Configuration::default(), Now::default()));
        let host = Sight::new(None, &state);
        let answer = why(&state, &live, &host, &talkgroup("pd-1"), &talkgroup("fd-1"), Now::default());
        assert!(!answer.routed);
        assert_eq!(answer.sentence, "There is no talkgroup pd-1.");
        let own = why(&state, &live, &host, &talkgroup("pd-1"), &talkgroup("pd-1"), Now::default());
        assert_eq!(own.causes[0].code, "own");
    }
}
