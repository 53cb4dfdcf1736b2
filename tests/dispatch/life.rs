//! Liveness fits the kind: what can show that it lives is lost when it does not, what cannot is unsupervised.

use crosspatch::dispatch::live::Live;
use crosspatch::dispatch::routes::compile;
use crosspatch::domain::configuration::GatewayKind;
use crosspatch::domain::event::{Alarm, Event};
use crosspatch::domain::report::{MediaLimit, Report};

use crate::rig::*;

/// The first gateway of police sends RTCP, fire's does not.
fn desk() -> Desk {
    let mut configuration = configuration();
    let GatewayKind::Rtp(rtp) = &mut configuration.gateways.get_mut(&gateway("gw-pd-1a")).unwrap().kind else {
        panic!("a gateway by RTP")
    };
    rtp.rtcp_timeout_s = 20;
    Desk::new(configuration)
}

fn says(desk: &mut Desk, id: &str, alive: bool) -> Vec<Event> {
    desk.report(Report::Alive { port: port(id), alive, at: desk.now.mono })
}

fn alive(desk: &Desk, id: &str) -> Option<bool> {
    desk.live.ports[&port(id)].alive
}

#[test]
fn media_is_told_how_much_silence_a_gateway_may_keep() {
    let table = compile(&desk().state, 1);
    let silence = |id: &str| table.ports.iter().find(|spec| spec.port == port(id)).unwrap().silence_max_ms;
    assert_eq!((silence("gw-pd-1a"), silence("gw-fd-1")), (Some(20_000), None));
}

#[test]
fn a_gateway_that_shows_life_is_alarmed_about_while_it_does_not() {
    let mut desk = desk();
    let alarm = Alarm::GatewayLost { gateway: gateway("gw-pd-1a") };
    assert_eq!(says(&mut desk, "gw-pd-1a", true), []);
    assert_eq!(alive(&desk, "gw-pd-1a"), Some(true));
    assert_eq!(says(&mut desk, "gw-pd-1a", false), [Event::AlarmRaised { alarm: alarm.clone() }]);
    assert_eq!(says(&mut desk, "gw-pd-1a", true), [Event::AlarmCleared { alarm }]);
}

/// The system opens a gateway's sockets, or refuses them.
fn sockets(desk: &mut Desk, id: &str, refused: Option<&str>) -> Vec<Event> {
    desk.report(Report::Sockets { port: port(id), refused: refused.map(str::to_owned), at: desk.now.mono })
}

fn not_open(id: &str, cause: &str) -> Alarm {
    Alarm::GatewayNotOpen { gateway: gateway(id), cause: cause.into() }
}

#[test]
fn a_gateway_that_the_machine_refuses_is_not_called_lost() {
    let mut desk = desk();
    let (taken, absent) = ("192.0.2.1:5004: Address already in use", "192.0.2.1:5004: Cannot assign requested address");
    for id in ["gw-pd-1a", "gw-fd-1"] {
        let raised = Event::AlarmRaised { alarm: not_open(id, taken) };
        assert_eq!(sockets(&mut desk, id, Some(taken)), [raised], "{id}");
        assert_eq!(sockets(&mut desk, id, Some(taken)), [], "told once");
        let other =
            [Event::AlarmCleared { alarm: not_open(id, taken) }, Event::AlarmRaised { alarm: not_open(id, absent) }];
        assert_eq!(sockets(&mut desk, id, Some(absent)), other, "other words are another alarm");
    }
    assert_eq!(says(&mut desk, "gw-pd-1a", false), [], "it is not the box that is silent");
    let cleared = |id| Event::AlarmCleared { alarm: not_open(id, absent) };
    assert_eq!(sockets(&mut desk, "gw-fd-1", None), [cleared("gw-fd-1")], "what need show no life is well");
    // Open at last, and its box has shown nothing so far.
    let lost = Alarm::GatewayLost { gateway: gateway("gw-pd-1a") };
    let told = sockets(&mut desk, "gw-pd-1a", None);
    assert_eq!(told, [cleared("gw-pd-1a"), Event::AlarmRaised { alarm: lost.clone() }]);
    assert_eq!(says(&mut desk, "gw-pd-1a", true), [Event::AlarmCleared { alarm: lost }]);
}

#[test]
fn an_alarm_of_refused_sockets_does_not_outlive_a_start_that_opens_them() {
    let mut desk = desk();
    sockets(&mut desk, "gw-fd-1", Some("127.0.0.1:5004: Address already in use"));
    desk.live = Live::new(&desk.state.configuration, desk.now);
    assert!(desk.state.alarms.iter().any(|alarm| matches!(alarm, Alarm::GatewayNotOpen { .. })));
    desk.wait_s(10);
    assert!(!desk.state.alarms.iter().any(|alarm| matches!(alarm, Alarm::GatewayNotOpen { .. })));
}

#[test]
fn a_gateway_that_floods_is_named_until_a_minute_after_it_has_stopped() {
    let mut desk = desk();
    let flood = |desk: &mut Desk| {
        let (limit, at) = (MediaLimit::PacketRate, desk.now.mono);
        desk.report(Report::LimitHit { limit, port: Some(port("gw-fd-1")), at })
    };
    let alarm = Alarm::GatewayFloods { gateway: gateway("gw-fd-1") };
    assert_eq!(flood(&mut desk), [Event::AlarmRaised { alarm: alarm.clone() }]);
    desk.wait_s(50);
    assert_eq!(flood(&mut desk), []);
    desk.wait_s(50);
    assert!(desk.state.alarms.contains(&alarm), "it goes on");
    desk.wait_s(20);
    assert!(!desk.state.alarms.contains(&alarm));
}
