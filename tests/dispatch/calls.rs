//! Phones: in the routes while they are in a call, as the state allows and their call has it, and in no journal. And the
//! trunks that callers come through.

use crosspatch::dispatch::control::{Control, Input, Output, RequestId};
use crosspatch::dispatch::view::{Life, roster};
use crosspatch::dispatch::why::why;
use crosspatch::dispatch::{Sight, State, evolve};
use crosspatch::domain::audio::{Codec, Format};
use crosspatch::domain::call::{CallMedia, PhoneSign};
use crosspatch::domain::command::Command;
use crosspatch::domain::configuration::{Configuration, GatewayKind, PathClass, Phone, SipGateway};
use crosspatch::domain::event::{Alarm, Event, Recorded, Stream};
use crosspatch::domain::id::{BurstId, IncidentId, PatchId, TrunkId};
use crosspatch::domain::incident::{Actor, CutTarget, LinkRequest, PartyClass, UnlinkCause};
use crosspatch::domain::order::{LegSpec, Notice, Order};
use crosspatch::domain::port::{PayloadType, PeerRule, PortRole};
use crosspatch::domain::refusal::Refusal;
use crosspatch::domain::report::Report;
use crosspatch::domain::talker::Alias;

use crate::rig::*;

/// The usual county with a phone at pd-1 and one that only listens.
fn with_phones() -> Configuration {
    let mut configuration = configuration();
    for (id, talks) in [("chief", true), ("press", false)] {
        let mut phone = a_gateway("police", "pd-1", 0);
        let kind = Phone { talks, encrypted: false, dials: false };
        (phone.kind, phone.port.role) = (GatewayKind::Phone(kind), PortRole::Phone);
        configuration.gateways.insert(gateway(id), phone);
    }
    let mut line = a_gateway("police", "pd-out", 0);
    (line.kind, line.port.role) =
        (GatewayKind::Phone(Phone { talks: true, encrypted: false, dials: true }), PortRole::Phone);
    configuration.gateways.insert(gateway("out-1"), line);
    let mut roip = a_gateway("police", "pd-1", 0);
    roip.kind = GatewayKind::Sip(SipGateway { peer: ([192, 0, 2, 30], 5060).into() });
    configuration.gateways.insert(gateway("roip-1"), roip);
    configuration.talkgroups.insert(talkgroup("pd-out"), a_talkgroup("police"));
    configuration
}

struct Loop(Control, Vec<Order>, Vec<(String, String)>);

impl Loop {
    fn start() -> Self {
        let now = at_s(0);
        let event = Event::ConfigurationAdopted { configuration: Box::new(with_phones()) };
        let mut state = State::default();
        evolve(&mut state, &Recorded { stream: Stream::Node, actor: Actor::Recovery, at: now, event });
        let mut out = Vec::new();
        let control = Control::start(state, "test", 2, 1, now, &mut out);
        let mut this = Self(control, Vec::new(), Vec::new());
        this.carry_out(out);
        this
    }

    fn carry_out(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Append { ticket, .. } => self.put(Input::Committed { ticket }),
                Output::Orders { batch, .. } => self.1.extend(batch.orders),
                Output::Dial { line, number } => self.2.push((line.to_string(), number)),
                _ => {}
            }
        }
    }

    fn put(&mut self, input: Input) {
        self.put_at(1, input);
    }

    fn put_at(&mut self, s: u64, input: Input) {
        let mut out = Vec::new();
        self.0.handle(input, at_s(s), &mut out);
        self.carry_out(out);
    }

    /// A dispatcher's order; the outputs are not carried out.
    fn ask(&mut self, of: &str, command: Command) -> Vec<Output> {
        let (request, principal) = (RequestId(7), dispatcher(of));
        let mut out = Vec::new();
        let input = Input::Command { request, command, principal, idempotency_key: None };
        self.0.handle(input, at_s(1), &mut out);
        out
    }

    /// The same, carried out.
    fn order(&mut self, of: &str, command: Command) {
        let out = self.ask(of, command);
        let refused = |output: &Output| matches!(output, Output::Answer { outcome: Err(_), .. });
        assert!(!out.iter().any(refused), "{out:?}");
        self.carry_out(out);
    }

    /// An incident of police and fire with their first talkgroups.
    fn incident(&mut self) -> IncidentId {
        self.order("police", opening("x", vec![LinkRequest::plain(talkgroup("pd-1"))]));
        let incident = *self.0.state().incidents.keys().next().unwrap();
        let invite = |to| Command::Invite { incident, agency: agency(to), note: String::new(), links: Vec::new() };
        self.order("police", invite("fire"));
        self.order("fire", Command::Accept { incident, links: vec![LinkRequest::plain(talkgroup("fd-1"))] });
        incident
    }

    /// Talkgroups that hear the line, and whether the line hears them, in the incident's net.
    fn meets(&self, of: &str) -> bool {
        let legs = &self.0.in_force().legs;
        let line = legs.iter().filter(|leg| leg.port == port("out-1"));
        line.flat_map(|line| {
            legs.iter().filter(move |leg| leg.patch == line.patch && leg.port != line.port && leg.meets(line))
        })
        .any(|leg| leg.port == port(of) && leg.hears && leg.talks)
    }

    /// What one sign of a phone leads to.
    fn say(&mut self, phone: &str, sign: PhoneSign) -> Vec<Order> {
        self.1.clear();
        self.put(Input::Phone { phone: gateway(phone), sign });
        std::mem::take(&mut self.1)
    }

    fn leg(&self, id: &str) -> Option<&LegSpec> {
        let home = PatchId::home_of(&talkgroup("pd-1"));
        self.0.in_force().legs.iter().find(|leg| leg.port == port(id) && leg.patch == home)
    }

    fn life(&self, id: &str) -> Life {
        let roster = roster(self.0.state(), self.0.live(), &Default::default(), None, at_s(1));
        let all = roster.talkgroups.into_iter().flat_map(|talkgroup| talkgroup.gateways);
        all.into_iter().find(|view| view.gateway == gateway(id)).unwrap().life
    }
}

fn media(codec: Codec) -> CallMedia {
    CallMedia {
        peer: PeerRule::Static(([192, 0, 2, 50], 7000).into()),
        payloads: vec![PayloadType { number: 9, format: Format::usual(codec) }],
        events: Some(101),
        hears: true,
        talks: true,
        path: PathClass::Open,
    }
}

#[test]
fn a_phone_has_a_port_only_while_it_is_in_a_call_and_as_its_call_has_it() {
    let mut control = Loop::start();
    assert!(control.leg("chief").is_none() && control.leg("gw-pd-1a").is_some());
    assert_eq!(control.life("chief"), Life::Away);
    assert!(control.say("chief", PhoneSign::Registered(true)).is_empty());
    assert_eq!(control.life("chief"), Life::Registered);

    let orders = control.say("chief", PhoneSign::Media(media(Codec::G722)));
    let opened = orders.iter().find_map(|order| if let Order::OpenPort(spec) = order { Some(spec) } else { None });
    let opened = opened.expect("its port is opened");
    assert_eq!((&opened.peer, opened.events), (&media(Codec::G722).peer, Some(101)));
    assert_eq!(opened.payloads, media(Codec::G722).payloads);
    assert!(control.leg("chief").is_some_and(|leg| leg.hears && leg.talks));
    assert_eq!(control.life("chief"), Life::InCall);
    assert!(control.leg("press").is_none(), "nobody else is in a call");

    let orders = control.say("chief", PhoneSign::Ended);
    assert!(orders.contains(&Order::ClosePort(port("chief"))));
    assert!(control.leg("chief").is_none());
    assert_eq!(control.life("chief"), Life::Registered);
}

#[test]
fn hold_deafens_a_phone_and_any_change_of_its_media_lifts_its_key_first() {
    let mut control = Loop::start();
    control.say("chief", PhoneSign::Media(media(Codec::Pcmu)));
    let key = |keyed| Order::Key { port: port("chief"), keyed };
    assert_eq!(control.say("chief", PhoneSign::Key(true)), [key(true)]);
    let held = CallMedia { hears: false, talks: false, ..media(Codec::Pcmu) };
    let orders = control.say("chief", PhoneSign::Media(held));
    assert_eq!(orders[0], key(false));
    assert!(control.leg("chief").is_some_and(|leg| !leg.hears && !leg.talks));
    assert_eq!(control.say("chief", PhoneSign::Media(media(Codec::Pcmu)))[0], key(false));
    assert!(control.leg("chief").is_some_and(|leg| leg.hears && leg.talks));
    assert_eq!(control.say("chief", PhoneSign::Key(false)), [key(false)]);
}

#[test]
fn a_phone_that_may_not_talk_does_not_whatever_its_call_says() {
    let mut control = Loop::start();
    control.say("press", PhoneSign::Media(media(Codec::Pcmu)));
    assert!(control.leg("press").is_some_and(|leg| leg.hears && !leg.talks));
}

#[test]
fn nobody_becomes_a_phone_by_saying_so() {
    let mut control = Loop::start();
    for id in ["gw-pd-1a", "nobody"] {
        let before = control.0.in_force().clone();
        assert!(control.say(id, PhoneSign::Media(media(Codec::Pcmu))).is_empty());
        assert!(control.say(id, PhoneSign::Key(true)).is_empty());
        assert!(control.say(id, PhoneSign::Ended).is_empty());
        assert_eq!(*control.0.in_force(), before);
    }
}

#[test]
fn a_lost_trunk_is_named_until_it_is_back_or_nobody_asks_about_it_any_more() {
    let mut control = Loop::start();
    let trunk = TrunkId::new("county-pbx").unwrap();
    let alarm = Alarm::TrunkLost { trunk: trunk.clone() };
    let say = |control: &mut Loop, is_up| {
        control.put(Input::Trunk { trunk: trunk.clone(), is_up });
        control.0.state().alarms.contains(&alarm)
    };
    assert!(say(&mut control, false) && say(&mut control, false));
    let seen = roster(control.0.state(), control.0.live(), &Default::default(), Some(&agency("fire")), at_s(9));
    let shown: Vec<(bool, u64)> = seen.trunks.iter().map(|trunk| (trunk.up, trunk.for_s)).collect();
    assert_eq!((shown, seen.alarms.len()), (vec![(false, 8)], 1), "it is everybody's business");
    assert!(!say(&mut control, true));

    // It was lost, the daemon stopped, and a changed file has no such trunk.
    let mut desk = Desk::new(configuration());
    let event = Event::AlarmRaised { alarm: alarm.clone() };
    desk.record(vec![Recorded { stream: Stream::Node, actor: Actor::Recovery, at: desk.now, event }]);
    desk.wait_s(100);
    assert!(desk.state.alarms.contains(&alarm), "its first word may still come");
    desk.wait_s(30);
    assert!(!desk.state.alarms.contains(&alarm));
}

fn dial(incident: IncidentId, number: &str, line: &str) -> Command {
    Command::Dial { incident, number: number.to_owned(), request: LinkRequest::plain(talkgroup(line)) }
}

/// The far side of the line presses the star.
fn star() -> Report {
    let home = PatchId::home_of(&talkgroup("pd-out"));
    let leg =
        crosspatch::domain::id::LegId::of(crosspatch::domain::id::LinkId::home_of(&talkgroup("pd-out")), port("out-1"));
    let (talker, at) = (Alias::default(), at_s(1).mono);
    Report::BurstStarted { burst: BurstId(5), patch: home, leg, port: port("out-1"), talker, emergency: false, at }
}

#[test]
fn a_number_is_dialled_once_its_link_is_durable_and_stands_in_no_event() {
    let mut control = Loop::start();
    let incident = control.incident();
    let out = control.ask("police", dial(incident, "+15550123", "pd-out"));
    assert!(!out.iter().any(|output| matches!(output, Output::Dial { .. })), "not before it is durable");
    let appended = format!("{out:?}");
    assert!(appended.contains("Dialled") && appended.contains("\"123\"") && !appended.contains("5550"), "{appended}");
    control.carry_out(out);
    assert_eq!(control.2, [("out-1".to_owned(), "+15550123".to_owned())]);

    // A journal that fails dials nobody.
    let mut control = Loop::start();
    let incident = control.incident();
    let out = control.ask("police", dial(incident, "5550123", "pd-out"));
    let ticket = out.iter().find_map(|output| match output {
        Output::Append { ticket, .. } => Some(*ticket),
        _ => None,
    });
    control.put(Input::CommitFailed { ticket: ticket.unwrap(), cause: "full".to_owned() });
    assert!(control.2.is_empty());
}

#[test]
fn only_its_own_dispatcher_dials_and_only_with_a_line_that_is_free() {
    let mut control = Loop::start();
    let incident = control.incident();
    let mut refusal = |of: &str, command: Command| {
        let out = control.ask(of, command);
        let found = out.into_iter().find_map(|output| match output {
            Output::Answer { outcome: Err(refusal), .. } => Some(refusal),
            _ => None,
        });
        found.expect("it is refused").code()
    };
    assert_eq!(refusal("fire", dial(incident, "5550123", "pd-out")), "not_yours");
    assert_eq!(refusal("police", dial(incident, "5550123", "pd-1")), "no_line");
    for number in ["", "1", "555 0123", "5550123@host", "++5550123", "555012345678901234567"] {
        assert_eq!(refusal("police", dial(incident, number, "pd-out")), "out_of_range", "{number}");
    }
    let plain = LinkRequest::plain(talkgroup("pd-out"));
    assert_eq!(
        refusal("police", Command::Link { incident, request: plain }),
        Refusal::NotByLink { talkgroup: talkgroup("pd-out") }.code()
    );
    control.order("police", dial(incident, "5550123", "pd-out"));
    let out = control.ask("police", dial(incident, "5550124", "pd-out"));
    assert!(
        out.iter().any(|output| matches!(output, Output::Answer { outcome: Err(Refusal::AlreadyLinked { .. }), .. }))
    );
}

#[test]
fn whoever_is_dialled_is_alone_until_its_star_and_gone_with_its_call() {
    let mut control = Loop::start();
    let incident = control.incident();
    control.order("police", dial(incident, "5550123", "pd-out"));
    assert_eq!(control.life("out-1"), Life::Dialling);
    control.say("out-1", PhoneSign::Rings);
    assert_eq!(control.life("out-1"), Life::Ringing);
    assert!(control.0.in_force().legs.iter().all(|leg| leg.port != port("out-1")));

    control.say("out-1", PhoneSign::Media(media(Codec::Pcmu)));
    assert_eq!(control.life("out-1"), Life::Waiting);
    let patches: Vec<PatchId> =
        control.0.in_force().legs.iter().filter(|leg| leg.port == port("out-1")).map(|leg| leg.patch).collect();
    assert_eq!(patches, [PatchId::home_of(&talkgroup("pd-out"))], "nobody else is there");
    control.1.clear();
    control.put_at(9, Input::Tick);
    assert!(control.1.contains(&Order::Announce { port: port("out-1"), notice: Notice::Confirm }));

    control.1.clear();
    control.put(Input::Report(star()));
    let lifted = Order::Key { port: port("out-1"), keyed: false };
    assert!(control.1.contains(&lifted), "the star that confirmed is no word");
    assert_eq!(control.life("out-1"), Life::InCall);
    assert!(control.meets("gw-pd-1a"));
    control.1.clear();
    control.put_at(19, Input::Tick);
    assert!(!control.1.iter().any(|order| matches!(order, Order::Announce { notice: Notice::Confirm, .. })));

    control.say("out-1", PhoneSign::Ended);
    assert!(control.0.state().links_of(&talkgroup("pd-out")).next().is_none(), "its link ended with it");
    assert!(!control.meets("gw-pd-1a"));
}

#[test]
fn another_agency_hears_whom_police_dialled_only_if_it_ticks_that_and_a_cut_ends_it() {
    let mut control = Loop::start();
    let incident = control.incident();
    control.order("police", dial(incident, "5550123", "pd-out"));
    control.say("out-1", PhoneSign::Media(media(Codec::Pcmu)));
    control.put(Input::Report(star()));
    assert!(control.meets("gw-pd-1a") && !control.meets("gw-fd-1"));
    let link = control.0.state().links_of(&talkgroup("fd-1")).next().unwrap().link_id;
    let classes = [PartyClass::Telephones].into();
    control.order("fire", Command::Admit { link, agencies: no_agencies(), classes, not_secure_reason: None });
    assert!(control.meets("gw-fd-1"));
    control.order("police", Command::Cut { target: CutTarget::Talkgroup(talkgroup("pd-out")) });
    assert!(!control.meets("gw-fd-1") && !control.meets("gw-pd-1a"));
    assert!(control.0.state().links_of(&talkgroup("pd-out")).next().is_none(), "whoever is cut out is hung up on");
}

#[test]
fn a_restart_ends_the_links_of_calls_that_it_ended() {
    let mut control = Loop::start();
    let incident = control.incident();
    control.order("police", dial(incident, "5550123", "pd-out"));
    let (mut out, state) = (Vec::new(), control.0.committed().clone());
    let control = Control::start(state, "test", 2, 1, at_s(5), &mut out);
    assert!(control.state().links_of(&talkgroup("pd-out")).next().is_none());
    let ended = out.iter().any(|output| match output {
        Output::Append { records, .. } => records
            .iter()
            .any(|recorded| matches!(recorded.event, Event::Unlinked { cause: UnlinkCause::CallEnded, .. })),
        _ => false,
    });
    assert!(ended);
}

#[test]
fn a_line_is_dialled_with_anew_only_when_its_last_call_is_over() {
    let mut control = Loop::start();
    let incident = control.incident();
    control.order("police", dial(incident, "5550123", "pd-out"));
    control.say("out-1", PhoneSign::Media(media(Codec::Pcmu)));
    control.put(Input::Report(star()));
    let link = control.0.state().links_of(&talkgroup("pd-out")).next().unwrap().link_id;
    control.order("police", Command::Unlink { link });
    assert!(!control.meets("gw-pd-1a"), "whoever is unlinked is alone before anybody hangs up");
    let out = control.ask("police", dial(incident, "5550124", "pd-out"));
    let is_busy = |output: &Output| matches!(output, Output::Answer { outcome: Err(Refusal::LineBusy { .. }), .. });
    assert!(out.iter().any(is_busy), "the last callee would be in the new call's place: {out:?}");
    control.say("out-1", PhoneSign::Ended);
    control.order("police", dial(incident, "5550124", "pd-out"));
    assert_eq!(control.2.len(), 2);
    assert!(!control.meets("gw-pd-1a"));
    // The star of the last call is not one of this.
    control.put_at(3, Input::Phone { phone: gateway("out-1"), sign: PhoneSign::Media(media(Codec::Pcmu)) });
    control.put_at(3, Input::Report(star()));
    assert_eq!(control.life("out-1"), Life::Waiting);

    // What has not become durable keeps no line busy.
    let mut control = Loop::start();
    let incident = control.incident();
    let out = control.ask("police", dial(incident, "5550123", "pd-out"));
    let ticket = out.iter().find_map(|output| match output {
        Output::Append { ticket, .. } => Some(*ticket),
        _ => None,
    });
    control.put(Input::CommitFailed { ticket: ticket.unwrap(), cause: "full".to_owned() });
    assert_eq!(control.life("out-1"), Life::Away);
}

#[test]
fn whoever_answers_and_does_not_confirm_is_let_go() {
    let mut control = Loop::start();
    let incident = control.incident();
    control.order("police", dial(incident, "5550123", "pd-out"));
    control.say("out-1", PhoneSign::Media(media(Codec::Pcmu)));
    control.put_at(45, Input::Tick);
    assert_eq!(control.life("out-1"), Life::Waiting);
    assert!(control.0.state().links_of(&talkgroup("pd-out")).next().is_some());
    control.put_at(46, Input::Tick);
    assert!(control.0.state().links_of(&talkgroup("pd-out")).next().is_none());
}

#[test]
fn a_radio_gateway_is_lost_while_its_call_is_down_and_talks_while_it_is_up() {
    let mut control = Loop::start();
    control.incident();
    let lost = Alarm::GatewayLost { gateway: gateway("roip-1") };
    let stands = |control: &Loop| control.0.state().alarms.contains(&lost);
    let why = |control: &Loop, from: &str, to: &str| {
        let state = control.0.state();
        let host = Sight::new(None, state);
        let answer = why(state, control.0.live(), &host, &talkgroup(from), &talkgroup(to), at_s(1));
        answer
            .causes
            .into_iter()
            .filter(|cause| cause.code == "no_call")
            .map(|cause| cause.sentence)
            .collect::<Vec<_>>()
    };
    assert_eq!((control.life("roip-1"), stands(&control)), (Life::Lost, false), "nothing was heard of it yet");
    assert!(control.leg("roip-1").is_none());
    control.say("roip-1", PhoneSign::Media(media(Codec::Pcmu)));
    assert_eq!((control.life("roip-1"), stands(&control)), (Life::Alive, false));
    assert!(control.leg("roip-1").is_some_and(|leg| leg.hears && leg.talks), "it is no phone that only listens");
    assert!(why(&control, "pd-1", "fd-1").is_empty());
    control.say("roip-1", PhoneSign::Ended);
    assert_eq!((control.life("roip-1"), stands(&control)), (Life::Lost, true));
    assert!(control.leg("roip-1").is_none());
    assert_eq!(why(&control, "pd-1", "fd-1"), ["Gateway roip-1 is in no call: nobody hears it."]);
    assert!(why(&control, "fd-1", "pd-1").contains(&"Gateway roip-1 is in no call.".to_owned()));
    control.say("roip-1", PhoneSign::Media(media(Codec::Pcmu)));
    assert_eq!((control.life("roip-1"), stands(&control)), (Life::Alive, false));
    // A phone that hangs up is no alarm.
    control.say("chief", PhoneSign::Media(media(Codec::Pcmu)));
    control.say("chief", PhoneSign::Ended);
    assert!(control.0.state().alarms.is_empty());
}
