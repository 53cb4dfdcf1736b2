//! A county's whole night: 200 open incidents over 1,000 gateways with fixed peers, and a daemon that is killed.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crosspatch::dispatch::view::{LinkView, Roster};
use crosspatch::domain::audio::Codec;
use crosspatch::domain::id::{AgencyId, GatewayId, IncidentId, LinkId};

use super::county::{County, link, open};
use super::daemon::Daemon;
use super::hearing::Voice;
use super::ports::free_pair;
use super::{Tool, now};

const INCIDENTS: usize = 200;
/// Gateways of the two talkgroups of an incident: five legs in each, a thousand in all.
const GATEWAYS: [(&str, usize); 2] = [("north", 3), ("south", 2)];

/// Each incident with its links.
fn links(roster: &Roster) -> BTreeMap<(IncidentId, LinkId), &LinkView> {
    let of = |at: usize| {
        let view = &roster.incidents[at];
        let links = view.patches.iter().flat_map(|patch| &patch.links);
        links.map(|link| ((view.incident, link.link), link))
    };
    (0..roster.incidents.len()).flat_map(of).collect()
}

/// Where each gateway is listened to.
fn sockets(roster: &Roster) -> BTreeMap<GatewayId, SocketAddr> {
    let gateways = roster.talkgroups.iter().flat_map(|talkgroup| &talkgroup.gateways);
    gateways.filter_map(|view| Some((view.gateway.clone(), view.listens_on?))).collect()
}

#[test]
fn two_hundred_incidents_and_a_thousand_static_legs_come_back_after_kill_nine_and_are_heard() {
    let mut county = County::new();
    GATEWAYS.into_iter().for_each(|(agency, _)| county.agency(agency));
    let mic = county.mic("north", Tool::Ffmpeg, Codec::Opus);
    let mut ear = county.ear("south", Tool::GStreamer, Codec::Pcmu);
    let nobody = free_pair();
    for incident in 1..=INCIDENTS {
        for (agency, gateways) in GATEWAYS {
            let talkgroup = format!("{agency}-{incident}");
            // The first of each are there, with one gateway that is real.
            if incident > 1 {
                county.talkgroup(agency, &talkgroup);
            }
            for gateway in usize::from(incident == 1)..gateways {
                county.gateway(&format!("{talkgroup}-gw-{gateway}"), &talkgroup, "radio", Codec::Opus, nobody);
            }
        }
    }
    let numbers: Vec<usize> = (1..=INCIDENTS).collect();
    for (at, numbers) in numbers.chunks(100).enumerate() {
        let both = numbers.iter().flat_map(|number| GATEWAYS.map(|(agency, _)| format!("{agency}-{number}")));
        county.agreement(&format!("north-south-{at}"), &both.collect::<Vec<String>>());
    }
    let mut daemon = Daemon::start(&county.file());
    let south = AgencyId::new("south").unwrap();
    for number in numbers {
        let links = GATEWAYS.map(|(agency, _)| link(&format!("{agency}-{number}"))).to_vec();
        open(&daemon.desk("north"), &format!("Incident {number}"), vec![south.clone()], links);
    }
    let before = daemon.desk("admin").roster();
    assert_eq!((before.incidents.len(), links(&before).len()), (INCIDENTS, 2 * INCIDENTS));
    assert_eq!(sockets(&before).len(), 1_000);

    let asked = now();
    daemon.kill();
    let took = daemon.start_again();
    println!("ready {} ms after kill -9, with 200 incidents and 1,000 static legs", took.as_millis());
    let after = daemon.desk("admin").roster();
    assert_eq!(sockets(&after), sockets(&before), "each gateway is listened to where it was");
    let (had, has) = (links(&before), links(&after));
    assert!(had.keys().eq(has.keys()), "incidents or links are missing, or there are others");
    let passed_s = now().since(asked).as_secs() + 2;
    for (before, after) in had.values().zip(has.values()) {
        for (had_s, has_s) in
            [(before.lease_left_s, after.lease_left_s), (before.hard_end_left_s, after.hard_end_left_s)]
        {
            assert!(has_s <= had_s && has_s + passed_s >= had_s, "a lease of {had_s} s has {has_s} s left");
        }
        let same = LinkView {
            lease_left_s: before.lease_left_s,
            hard_end_left_s: before.hard_end_left_s,
            phase: before.phase,
            ..LinkView::clone(after)
        };
        assert_eq!(same, **before);
    }
    let piece = Voice::load("demo-instruct").next_piece();
    mic.say(&piece.frames);
    ear.wait_for(&piece.samples, 0, "a talker in one of two hundred incidents");
    let faults: Vec<&String> = daemon.logged().iter().filter(|line| line.contains("ERROR")).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
