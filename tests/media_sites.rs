//! Two daemons joined by a trunk, as far as media knows of it: each has a port toward the other, and on the wire
//! between them is RTP with the keying element. Whose floor says what, and what becomes of speech when it says no.

mod media;

use std::collections::VecDeque;

use crosspatch::domain::audio::Codec;
use crosspatch::domain::floor::{BurstEnd, FloorPolicy, MissCause, Priority};
use crosspatch::domain::order::{LegSpec, Order, PatchSpec};
use crosspatch::domain::port::{
    GrantSign, Overlap, PortRole, PortSpec, ReceiveKeying, ReceiveSpec, ShardId, TransmitKeying, TransmitSpec,
};
use crosspatch::domain::report::{Report, Suspicion};
use crosspatch::domain::talker::Alias;
use crosspatch::media::discard::Discard;
use crosspatch::media::limits::ShardLimits;
use crosspatch::media::shard::Shard;
use crosspatch::wire::rtp::RtpHeader;
use crosspatch::wire::rtp_extension::{Elements, FloorNotice, Keying};
use media::{Arrived, Bench, address_of, leg, numbered, patch, phone, policy, port_id};

/// The port toward the other site, at either.
const TRUNK: u128 = 90;
/// A second one, where there is one.
const SECOND: u128 = 91;

/// As docs/operations.md says it: keyed by the extension both ways, one voice, and the far floor is waited for.
fn trunk(number: u128) -> PortSpec {
    let phone = phone(number, Codec::Pcmu);
    PortSpec {
        role: PortRole::Client,
        receive: ReceiveSpec { keying: ReceiveKeying::Ext, ..phone.receive },
        transmit: TransmitSpec {
            keying: TransmitKeying::Ext,
            grant: GrantSign::Signalled,
            overlap: Overlap::One,
            hold_max_ms: 3_500,
            ..phone.transmit
        },
        alias: Alias::new("far"),
        ..phone
    }
}

fn strict() -> FloorPolicy {
    FloorPolicy { holders_max: 1, hang_ms: 0, ..policy() }
}

/// Two telephones and the trunks in one patch; `rank` is the trunks' own.
fn site(floor: FloorPolicy, trunks: &[u128], rank: u8) -> Bench {
    life(floor, trunks, rank, 7)
}

/// The same with chance of its own: another life draws other SSRCs.
fn life(floor: FloorPolicy, trunks: &[u128], rank: u8, seed: u64) -> Bench {
    let mut bench = Bench::new();
    bench.shards[0] = Shard::new(ShardId(0), &ShardLimits::small(), seed);
    let phones = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    let trunks: Vec<PortSpec> = trunks.iter().map(|number| trunk(*number)).collect();
    bench.open(&phones);
    bench.open(&trunks);
    let far = |port: &PortSpec| Order::Join(LegSpec { priority: Priority(rank), ..leg(1, port) });
    let joins = phones.iter().map(|port| Order::Join(leg(1, port))).chain(trunks.iter().map(far));
    bench.order(std::iter::once(Order::OpenPatch(PatchSpec { floor, ..patch(1) })).chain(joins));
    bench
}

/// Two sites and what is between them.
struct Sites {
    here: Bench,
    there: Bench,
    trunks: Vec<u128>,
    /// Ticks a packet needs.
    delay: u64,
    ticks: u64,
    /// Nothing arrives while it is cut.
    is_cut: bool,
    /// What one direction must not bring, for a test: true drops the packet.
    loses: fn(&Arrived) -> bool,
    flying: VecDeque<(u64, bool, u128, Arrived)>,
    /// Packets of each trunk already taken from here and from there.
    taken: [usize; 4],
}

impl Sites {
    fn new(here: Bench, there: Bench, trunks: &[u128], delay: u64) -> Self {
        Self {
            here,
            there,
            trunks: trunks.to_vec(),
            delay,
            ticks: 0,
            is_cut: false,
            loses: |_| false,
            flying: VecDeque::new(),
            taken: [0; 4],
        }
    }

    /// One trunk, 40 ms long, floors for one at a time. `here` is the home: what comes from it outranks `there`.
    fn strict() -> Self {
        Self::new(site(strict(), &[TRUNK], 5), site(strict(), &[TRUNK], 9), &[TRUNK], 2)
    }

    /// 20 ms at both sites, then the packets that left and the ones that arrive.
    fn tick(&mut self) {
        self.here.tick();
        self.there.tick();
        self.ticks += 1;
        for (at, trunk) in self.trunks.clone().into_iter().enumerate() {
            for (way, to_there) in [(0, true), (1, false)] {
                let site = if to_there { &self.here } else { &self.there };
                let new = site.heard(trunk)[self.taken[2 * at + way]..].to_vec();
                self.taken[2 * at + way] += new.len();
                for packet in new.into_iter().filter(|packet| !self.is_cut && !(self.loses)(packet)) {
                    self.flying.push_back((self.ticks + self.delay, to_there, trunk, packet));
                }
            }
        }
        while self.flying.front().is_some_and(|(at, ..)| *at <= self.ticks) {
            let Some((_, to_there, trunk, packet)) = self.flying.pop_front() else { break };
            let site = if to_there { &mut self.there } else { &mut self.here };
            site.send(trunk, address_of(trunk), &packet.header, &packet.payload, &packet.elements);
            site.flush();
        }
    }

    fn pass_ms(&mut self, ms: u64) {
        (0..ms / 20).for_each(|_| self.tick());
    }

    /// Telephone 1 of a site, or of both, says so many numbered packets.
    fn talk(&mut self, here: Option<u8>, there: Option<u8>, packets: usize) {
        for at in 0..packets {
            for (site, mark) in [(&mut self.here, here), (&mut self.there, there)] {
                if let Some(mark) = mark {
                    site.talk(1, &spoken(mark, at));
                }
            }
            self.tick();
        }
    }
}

/// A payload that says who speaks and which packet it is.
fn spoken(mark: u8, at: usize) -> Vec<u8> {
    let mut payload = numbered(at);
    payload[1] = mark;
    payload
}

/// Numbers of the packets of one speaker that a port got.
fn heard_of(bench: &Bench, port: u128, mark: u8) -> Vec<u8> {
    bench.payloads(port).iter().filter(|payload| payload[1] == mark).map(|payload| payload[0]).collect()
}

const HERE: u8 = 0x11;
const THERE: u8 = 0x22;
const NOTHING: [u8; 0] = [];

#[test]
fn speech_crosses_whole_and_untouched_and_only_after_the_far_floor_has_granted_it() {
    let mut sites = Sites::strict();
    sites.talk(Some(HERE), None, 50);
    sites.pass_ms(1_000);
    let said: Vec<u8> = (0..50).collect();
    assert_eq!(heard_of(&sites.there, 2, HERE), said, "what the far listener heard");
    assert_eq!(heard_of(&sites.here, 2, HERE), said, "and the near one");
    let granted = sites
        .there
        .heard(TRUNK)
        .iter()
        .find(|packet| packet.elements.keying.is_some_and(|keying| keying.floor == FloorNotice::Granted));
    let granted = granted.expect("the far floor has granted").at_ms;
    let first = sites.here.heard(TRUNK).iter().find(|packet| packet.payload[1] == HERE).expect("speech left");
    assert!(first.at_ms >= granted + 40, "speech left at {} and the grant at {granted}", first.at_ms);
    assert_eq!(sites.there.counters().discards(Discard::NoFloor), 0);
    let outcome = sites.here.outcome_of(TRUNK).expect("the trunk was an ear");
    assert_eq!((outcome.heard_ms, outcome.missed), (1_000, None));
}

#[test]
fn nothing_is_sent_into_a_far_floor_that_denies_it_and_its_own_site_still_hears_it() {
    let mut sites = Sites::new(site(strict(), &[TRUNK], 5), site(strict(), &[TRUNK], 5), &[TRUNK], 2);
    // The far talker's own request is denied here just as well, so both go on at home.
    sites.talk(None, Some(THERE), 1);
    sites.talk(Some(HERE), Some(THERE), 60);
    sites.pass_ms(1_000);
    assert_eq!(heard_of(&sites.here, TRUNK, HERE), NOTHING, "speech was sent into a denied floor");
    assert_eq!(heard_of(&sites.here, 2, HERE).len(), 60);
    let outcome = sites.here.outcome_of(TRUNK).expect("the trunk was an ear");
    assert_eq!((outcome.heard_ms, outcome.missed), (0, Some(MissCause::TransmitDenied)));
}

#[test]
fn a_floor_that_nobody_hears_is_not_said_to_be_granted() {
    let mut sites = Sites::strict();
    // The trunk's own talkgroup has a home patch, with nobody else in it, whose floor is always free.
    let own = leg(1, &trunk(TRUNK)).leg;
    sites.there.order([Order::Leave(own), Order::OpenPatch(patch(2)), Order::Join(leg(2, &trunk(TRUNK)))]);
    let deaf = Order::Join(LegSpec { priority: Priority(0), hears: false, ..leg(1, &trunk(TRUNK)) });
    sites.there.order([deaf]);
    sites.talk(None, Some(THERE), 10);
    sites.talk(Some(HERE), Some(THERE), 60);
    sites.pass_ms(1_000);
    assert_eq!(heard_of(&sites.here, TRUNK, HERE), NOTHING, "speech was sent to where nobody hears it");
    assert!(
        sites
            .there
            .heard(TRUNK)
            .iter()
            .any(|packet| { packet.elements.keying.is_some_and(|keying| keying.floor == FloorNotice::Denied) })
    );
}

#[test]
fn when_both_sites_key_at_once_the_homes_talker_is_heard_at_both_and_the_other_is_told() {
    let mut sites = Sites::strict();
    sites.talk(Some(HERE), Some(THERE), 60);
    sites.pass_ms(1_000);
    assert_eq!(heard_of(&sites.here, 2, THERE), NOTHING, "the other was heard at the home");
    assert_eq!(heard_of(&sites.there, 2, HERE).len(), 60, "the home's talker at the other site");
    let until = sites.there.heard(2).iter().rfind(|packet| packet.payload[1] == THERE).expect("it began").at_ms;
    let since = sites.there.heard(2).iter().find(|packet| packet.payload[1] == HERE).expect("it crossed").at_ms;
    assert!(until < since, "two voices at one ear: {THERE} until {until}, {HERE} since {since}");
    let ends: Vec<BurstEnd> = sites.there.ended().iter().map(|(_, _, cause)| *cause).collect();
    assert_eq!(ends, [BurstEnd::PreEmpted, BurstEnd::Released]);
}

#[test]
fn whoever_holds_the_homes_floor_keeps_it_whichever_site_it_came_from() {
    let mut sites = Sites::strict();
    sites.talk(None, Some(THERE), 20);
    sites.talk(Some(HERE), Some(THERE), 40);
    sites.pass_ms(1_000);
    // 20 packets later nobody of the home can break in any more, though its trunk outranks the far side's telephones.
    assert_eq!(heard_of(&sites.here, 2, HERE), NOTHING);
    assert_eq!(heard_of(&sites.here, 2, THERE).len(), 60);
    assert_eq!(sites.there.ended().iter().map(|(_, _, cause)| *cause).collect::<Vec<_>>(), [BurstEnd::Silence]);
}

#[test]
fn speech_that_is_queued_at_the_far_floor_waits_in_its_hold_and_is_heard_whole() {
    let queue = FloorPolicy { queue_max: 2, ..strict() };
    let mut sites = Sites::new(site(queue, &[TRUNK], 5), site(queue, &[TRUNK], 5), &[TRUNK], 2);
    // The far talker's hold toward us is full of its own speech meanwhile; only ours is looked at.
    sites.loses = |packet| packet.payload[1] == THERE;
    sites.talk(None, Some(THERE), 20);
    // Longer than an unanswered key is waited for and asked for once more.
    sites.talk(Some(HERE), Some(THERE), 130);
    sites.talk(Some(HERE), None, 30);
    sites.pass_ms(4_000);
    let crossed = heard_of(&sites.there, 2, HERE).len();
    assert!(crossed >= 130, "{crossed} of 160 packets crossed");
}

#[test]
fn a_talker_whose_floor_was_taken_at_the_far_side_is_not_asked_for_again() {
    let mut sites = Sites::strict();
    sites.talk(Some(HERE), None, 20);
    let (burst, patch, _) = sites.there.started()[0];
    sites.there.order([Order::Revoke { patch, burst: Some(burst) }]);
    sites.talk(Some(HERE), None, 40);
    let crossed = heard_of(&sites.there, 2, HERE).len();
    assert!(crossed < 25, "{crossed} packets");
    assert_eq!(sites.there.started().len(), 1, "its key was pressed again for it");
    sites.pass_ms(1_000);
    sites.talk(Some(HERE), None, 10);
    sites.pass_ms(1_000);
    assert_eq!(sites.there.started().len(), 2, "the next one is");
}

#[test]
fn a_lost_answer_costs_a_tenth_of_a_second() {
    let mut sites = Sites::strict();
    sites.talk(Some(HERE), None, 1);
    sites.loses = |packet| packet.elements.keying.is_some_and(|keying| keying.floor == FloorNotice::Granted);
    sites.talk(Some(HERE), None, 4);
    sites.loses = |_| false;
    sites.talk(Some(HERE), None, 45);
    sites.pass_ms(1_000);
    let first = sites.here.heard(TRUNK).iter().find(|packet| packet.payload[1] == HERE).expect("speech left").at_ms;
    assert!(first <= 1_000 + 320, "speech left at {first}");
    assert_eq!(heard_of(&sites.there, 2, HERE).len(), 50);
}

#[test]
fn a_lost_trunk_is_closed_by_each_side_and_is_open_again_when_it_is_back() {
    let mut sites = Sites::strict();
    sites.talk(Some(HERE), None, 25);
    sites.is_cut = true;
    sites.talk(Some(HERE), None, 20);
    assert_eq!(sites.there.ended().iter().map(|(_, _, cause)| *cause).collect::<Vec<_>>(), [BurstEnd::Silence]);
    sites.talk(Some(HERE), None, 60);
    let left = sites.here.heard(TRUNK).iter().rfind(|packet| packet.payload[1] == HERE).expect("speech left").at_ms;
    assert!(left <= 1_000 + 500 + 1_060, "speech went into a dead trunk until {left}");
    sites.talk(Some(HERE), None, 100);
    assert_eq!(heard_of(&sites.here, 2, HERE).len(), 205, "its own site hears it all the same");
    sites.pass_ms(1_000);
    let outcome = sites.here.outcome_of(TRUNK).expect("the trunk was an ear");
    assert_eq!(outcome.missed, Some(MissCause::TransmitDenied));
    sites.is_cut = false;
    sites.there.forget();
    sites.taken[1] = 0;
    sites.talk(Some(HERE), None, 20);
    sites.pass_ms(1_000);
    assert_eq!(heard_of(&sites.there, 2, HERE).len(), 20);
}

#[test]
fn a_far_daemon_that_restarts_begins_a_burst_of_its_own_and_its_former_life_is_not_heard_again() {
    let mut sites = Sites::strict();
    sites.talk(Some(HERE), None, 25);
    let old = sites.here.heard(TRUNK).last().expect("speech left").clone();
    // Another life: another SSRC, nothing remembered. Its talker has kept the key down.
    let now = sites.here.now;
    sites.here = life(strict(), &[TRUNK], 5, 4_711);
    sites.here.now = now;
    sites.taken[0] = 0;
    sites.talk(Some(HERE + 1), None, 8);
    let before = sites.there.counters().discards(Discard::OldStream);
    let late = RtpHeader { sequence: old.header.sequence.wrapping_add(1), ..old.header };
    sites.there.send(TRUNK, address_of(TRUNK), &late, &spoken(HERE, 99), &old.elements);
    assert_eq!(sites.there.counters().discards(Discard::OldStream), before + 1, "a packet of the former life");
    sites.talk(Some(HERE + 1), None, 22);
    sites.pass_ms(1_000);
    assert!(!heard_of(&sites.there, 2, HERE).contains(&99));
    assert_eq!(heard_of(&sites.there, 2, HERE + 1).len(), 30, "the new life is heard");
}

#[test]
fn an_emergency_crosses_as_one_and_whoever_speaks_next_is_in_no_need() {
    let mut sites = Sites::strict();
    sites.here.order([Order::Emergency { port: port_id(1), talker: Alias::new("phone"), open: true }]);
    sites.talk(None, Some(THERE), 10);
    sites.talk(Some(HERE), Some(THERE), 30);
    sites.pass_ms(1_000);
    let cried = |report: &&Report| matches!(report, Report::EmergencyKeyed { .. });
    assert_eq!(sites.there.reports.iter().filter(cried).count(), 1);
    assert_eq!(heard_of(&sites.there, 2, HERE).len(), 30, "it was heard over the far site's talker");
    sites.there.forget();
    sites.taken[1] = 0;
    let other = Elements { talker: Alias::new("other"), ..Elements::default() };
    for at in 0..20 {
        sites.here.talk_with(2, &spoken(HERE, at), other);
        sites.here.flush();
        sites.tick();
    }
    sites.pass_ms(1_000);
    let needs = |report: &&Report| matches!(report, Report::BurstStarted { emergency: true, .. });
    assert_eq!(sites.there.started().len(), 1);
    assert_eq!(sites.there.reports.iter().filter(needs).count(), 0, "the second talker was taken for one in need");
}

#[test]
fn whoever_declares_an_emergency_after_a_far_denial_is_asked_for_again() {
    let mut sites = Sites::new(site(strict(), &[TRUNK], 5), site(strict(), &[TRUNK], 5), &[TRUNK], 2);
    sites.talk(None, Some(THERE), 1);
    sites.talk(Some(HERE), Some(THERE), 60);
    assert_eq!(heard_of(&sites.there, 2, HERE), NOTHING, "twice denied by now");
    sites.here.order([Order::Emergency { port: port_id(1), talker: Alias::new("phone"), open: true }]);
    sites.talk(Some(HERE), Some(THERE), 60);
    sites.pass_ms(1_000);
    let crossed = heard_of(&sites.there, 2, HERE).len();
    assert!(crossed >= 55, "{crossed} of 60 packets crossed");
}

#[test]
fn a_key_sign_that_was_overtaken_keys_nobody() {
    let mut bench = site(strict(), &[TRUNK], 5);
    let says = |ptt: bool| Elements { keying: Some(Keying { ptt, ..Keying::default() }), ..Elements::default() };
    for at in 0..10 {
        bench.talk_with(TRUNK, &spoken(HERE, at), says(true));
        bench.tick();
    }
    let overtaken = bench.next_header(TRUNK);
    bench.lose(TRUNK, 1);
    bench.talk_with(TRUNK, &[0xff; 160], says(false));
    bench.tick();
    assert_eq!(bench.ended().len(), 1);
    bench.send(TRUNK, address_of(TRUNK), &overtaken, &spoken(HERE, 10), &says(true));
    bench.pass_ms(400);
    assert_eq!(bench.started().len(), 1, "an old packet pressed the key again");
}

#[test]
fn speech_that_comes_back_over_a_second_trunk_is_noticed_and_a_floor_for_one_keeps_it_out() {
    let trunks = [TRUNK, SECOND];
    let returns = |bench: &Bench| {
        let seen = |report: &&Report| matches!(report, Report::Suspected { of: Suspicion::Returns { .. }, .. });
        bench.reports.iter().filter(seen).count()
    };
    let mut wide = Sites::new(site(policy(), &trunks, 5), site(policy(), &trunks, 5), &trunks, 5);
    let mut narrow = Sites::new(site(strict(), &trunks, 5), site(strict(), &trunks, 5), &trunks, 5);
    let mut voice = Voice::default();
    for _ in 0..300 {
        let payload = voice.next();
        for sites in [&mut wide, &mut narrow] {
            sites.here.talk(1, &payload);
            sites.tick();
        }
    }
    assert!(returns(&wide.here) > 0, "nobody noticed the loop");
    assert_eq!(returns(&narrow.here), 0);
    assert_eq!(narrow.here.started().len(), 1, "its own speech came back to the floor");
}

/// Something like speech: syllables of changing pitch and loudness, in mu-law.
#[derive(Default)]
struct Voice {
    at: u32,
    phase: f64,
    random: u32,
}

impl Voice {
    fn next(&mut self) -> Vec<u8> {
        (0..160).map(|_| self.sample()).collect()
    }

    fn sample(&mut self) -> u8 {
        if self.at.is_multiple_of(1_200) {
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        }
        let syllable = f64::from(self.at % 1_200) / 1_200.0;
        let pitch = 120.0 + f64::from(self.random >> 24);
        let loud = (f64::from(self.random >> 16 & 0xff) / 255.0).max(0.15) * (syllable * std::f64::consts::PI).sin();
        self.phase += pitch / 8_000.0;
        self.at += 1;
        let tone = |n: f64| (std::f64::consts::TAU * self.phase * n).sin() / n;
        mulaw((9_000.0 * loud * (tone(1.0) + tone(2.0) + tone(5.0))) as i16)
    }
}

/// ITU-T G.711 mu-law.
fn mulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (i32::from(sample).abs() + 132).min(32_635);
    let segment = (31 - (magnitude >> 7).leading_zeros()).min(7);
    let mantissa = (magnitude >> (segment + 3)) & 0x0f;
    !(sign | (segment as u8) << 4 | mantissa as u8)
}
