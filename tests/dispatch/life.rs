//! Liveness fits the kind: what can show that it lives is lost when it does not, what cannot is unsupervised.

use crosspatch::dispatch::routes::compile;
use crosspatch::domain::configuration::GatewayKind;
use crosspatch::domain::event::{Alarm, Event};
use crosspatch::domain::report::Report;

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

#[test]
fn one_that_cannot_is_lost_only_while_it_has_no_sockets_and_unsupervised_otherwise() {
    let mut desk = desk();
    let alarm = Alarm::GatewayLost { gateway: gateway("gw-fd-1") };
    assert_eq!(says(&mut desk, "gw-fd-1", false), [Event::AlarmRaised { alarm: alarm.clone() }]);
    assert_eq!(alive(&desk, "gw-fd-1"), Some(false));
    assert_eq!(says(&mut desk, "gw-fd-1", true), [Event::AlarmCleared { alarm }]);
    assert_eq!(alive(&desk, "gw-fd-1"), None);
}
