//! Phones: in the routes while they are in a call, as the state allows and their call has it, and in no journal. And the
//! trunks that callers come through.

use crosspatch::dispatch::control::{Control, Input, Output};
use crosspatch::dispatch::view::{Life, roster};
use crosspatch::dispatch::{State, evolve};
use crosspatch::domain::audio::{Codec, Format};
use crosspatch::domain::call::{CallMedia, PhoneSign};
use crosspatch::domain::configuration::{Configuration, GatewayKind, PathClass, Phone};
use crosspatch::domain::event::{Alarm, Event, Recorded, Stream};
use crosspatch::domain::id::{PatchId, TrunkId};
use crosspatch::domain::incident::Actor;
use crosspatch::domain::order::{LegSpec, Order};
use crosspatch::domain::port::{PayloadType, PeerRule, PortRole};

use crate::rig::*;

/// The usual county with a phone at pd-1 and one that only listens.
fn with_phones() -> Configuration {
    let mut configuration = configuration();
    for (id, talks) in [("chief", true), ("press", false)] {
        let mut phone = a_gateway("police", "pd-1", 0);
        (phone.kind, phone.port.role) = (GatewayKind::Phone(Phone { talks, encrypted: false }), PortRole::Phone);
        configuration.gateways.insert(gateway(id), phone);
    }
    configuration
}

struct Loop(Control, Vec<Order>);

impl Loop {
    fn start() -> Self {
        let now = at_s(0);
        let event = Event::ConfigurationAdopted { configuration: Box::new(with_phones()) };
        let mut state = State::default();
        evolve(&mut state, &Recorded { stream: Stream::Node, actor: Actor::Recovery, at: now, event });
        let mut out = Vec::new();
        let control = Control::start(state, "test", 2, 1, now, &mut out);
        let mut this = Self(control, Vec::new());
        this.carry_out(out);
        this
    }

    fn carry_out(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Append { ticket, .. } => self.put(Input::Committed { ticket }),
                Output::Orders { batch, .. } => self.1.extend(batch.orders),
                _ => {}
            }
        }
    }

    fn put(&mut self, input: Input) {
        let mut out = Vec::new();
        self.0.handle(input, at_s(1), &mut out);
        self.carry_out(out);
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
