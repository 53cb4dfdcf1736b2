//! What a radio gateway is promised: one call with it is up, whatever becomes of the last; its calls are its own and nobody
//! else's; when both ends call at once one call is left. Without sockets.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

#[path = "sip_exchange/phone.rs"]
#[expect(dead_code, reason = "it can do more than gateways need")]
mod phone;

use std::net::SocketAddr;

use crosspatch::domain::audio::Codec;
use crosspatch::domain::call::PhoneSign;
use crosspatch::domain::id::GatewayId;
use crosspatch::sip::digest::DigestSecret;
use crosspatch::sip::flow::{Flow, Transport};
use crosspatch::sip::message::{Message, Start};
use crosspatch::sip::standing::GatewaySetting;
use crosspatch::sip::stream::StreamEnd;
use crosspatch::sip::trunk::Account;

use phone::{HERE, OFFER, Phone, Rig, status};

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 30)), 5060);
const LOWER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 1, 30)), 5060);

fn gateway(is_called: bool) -> GatewaySetting {
    GatewaySetting {
        id: GatewayId::new("roip-1").unwrap(),
        peer: PEER,
        transport: Transport::Udp,
        number: None,
        is_called,
        account: None,
        proves: None,
        codecs: vec![Codec::Pcmu],
        events_needed: false,
        retry_min_ms: 1_000,
        retry_max_ms: 60_000,
    }
}

fn rig(gateway: GatewaySetting) -> Rig {
    Rig::with_gateways(HERE, vec![gateway])
}

/// The far side as a caller: known by its address, it proves nothing.
fn far(source: SocketAddr) -> Phone {
    let mut far = Phone::new("far", "none");
    far.source = source;
    far
}

/// The far side answers.
fn answer(rig: &mut Rig, to: SocketAddr, request: &Message, status: u16, lines: &str, body: &str) -> Vec<Message> {
    let of = |name| request.value(name).unwrap();
    let tag = if of("to").contains(";tag=") { "" } else { ";tag=t" };
    let text = format!(
        "SIP/2.0 {status} x\r\nVia: {}\r\nFrom: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:far@{to}>\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        of("via"),
        of("from"),
        of("to"),
        of("call-id"),
        of("cseq"),
        body.len()
    );
    rig.give(text.as_bytes(), to)
}

/// A request of the far side in the call of this INVITE of ours.
fn request(rig: &mut Rig, invite: &Message, method: &str, cseq: u32) -> Vec<Message> {
    let of = |name| invite.value(name).unwrap();
    let text = format!(
        "{method} sip:192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKf{cseq}\r\nFrom: {};tag=t\r\n\
         To: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        of("to"),
        of("from"),
        of("call-id")
    );
    rig.give(text.as_bytes(), PEER)
}

fn of(method: &str, sent: &[Message]) -> Vec<Message> {
    sent.iter().filter(|message| message.method() == Some(method)).cloned().collect()
}

fn methods(sent: &[Message]) -> Vec<&str> {
    sent.iter().filter_map(Message::method).collect()
}

/// The next INVITE, which is not a repetition, and after how long it came (ms).
fn next_invite(rig: &mut Rig) -> (Message, u64) {
    let began = rig.now;
    loop {
        if let Some(invite) = of("INVITE", &rig.pass(100)).pop() {
            return (invite, rig.now.ms_since(began));
        }
        assert!(rig.now.ms_since(began) < 200_000, "it is called no more");
    }
}

/// Time passes, and the far side answers whatever it is asked with this.
fn serve(rig: &mut Rig, ms: u64, status: u16) {
    for _ in 0..ms / 100 {
        for asked in of("OPTIONS", &rig.pass(100)) {
            answer(rig, PEER, &asked, status, "", "");
        }
    }
}

fn told(rig: &mut Rig) -> Vec<PhoneSign> {
    rig.told().into_iter().filter(|(id, _)| id == "roip-1").map(|(_, sign)| sign).collect()
}

/// Its call is up.
fn up(rig: &mut Rig) -> Message {
    let (invite, _) = next_invite(rig);
    let sent = answer(rig, PEER, &invite, 200, "", OFFER);
    assert_eq!(methods(&sent), ["ACK"]);
    let signs = told(rig);
    assert!(matches!(signs.last(), Some(PhoneSign::Media(media)) if media.hears && media.talks), "{signs:?}");
    invite
}

#[test]
fn a_gateway_that_refuses_is_called_later_and_later_and_never_later_than_a_minute_and_a_quarter() {
    let mut rig = rig(gateway(true));
    let (mut invite, at_once) = next_invite(&mut rig);
    assert!(at_once <= 100);
    assert!(matches!(&invite.start, Start::Request { uri, .. } if uri == "sip:192.0.2.30:5060"));
    let mut pauses = Vec::new();
    for _ in 0..20 {
        answer(&mut rig, PEER, &invite, 486, "", "");
        let (next, pause_ms) = next_invite(&mut rig);
        assert_ne!(next.value("call-id"), invite.value("call-id"));
        (invite, pauses) = (next, [pauses, vec![pause_ms]].concat());
    }
    for (at, pause_ms) in pauses.iter().enumerate() {
        let least_ms = (1_000 << at.min(10)).min(60_000);
        assert!((least_ms..=least_ms * 5 / 4 + 100).contains(pause_ms), "{pauses:?}");
    }
    assert!(pauses[6..].windows(2).any(|two| two[0] != two[1]), "many daemons would call at once");
    assert!(!told(&mut rig).iter().any(|sign| matches!(sign, PhoneSign::Media(_))), "it was heard before its yes");
    assert_eq!((rig.desk.open, rig.desk.handed_over), (1, 0), "sockets of calls that did not come about are closed");
}

#[test]
fn a_call_that_the_far_side_ends_is_followed_by_the_next_and_a_call_that_lasted_forgives_old_failures() {
    let mut rig = rig(gateway(true));
    for _ in 0..6 {
        let (invite, _) = next_invite(&mut rig);
        answer(&mut rig, PEER, &invite, 503, "", "");
    }
    let invite = up(&mut rig);
    serve(&mut rig, 61_000, 200);
    assert!(told(&mut rig).is_empty());
    assert_eq!(status(&request(&mut rig, &invite, "BYE", 1)[0]), 200);
    assert_eq!(told(&mut rig), [PhoneSign::Ended]);
    let (_, pause_ms) = next_invite(&mut rig);
    assert!((1_000..=1_400).contains(&pause_ms), "{pause_ms}");
}

#[test]
fn silence_ends_no_call_and_a_far_side_that_answers_nothing_for_seconds_is_hung_up_on_and_called_again() {
    let mut rig = rig(gateway(true));
    up(&mut rig);
    serve(&mut rig, 1_200_000, 200);
    assert!(told(&mut rig).is_empty(), "twenty minutes without a word are no fault");
    let began = rig.now;
    let sent = rig.pass(20_000);
    assert_eq!(told(&mut rig), [PhoneSign::Ended]);
    assert!(!of("BYE", &sent).is_empty(), "it may only be slow, and would wait for us in the old call");
    assert_eq!(of("INVITE", &sent).len(), 2, "one call, said twice so far");
    assert!(rig.now.ms_since(began) <= 20_000);
    up(&mut rig);
}

#[test]
fn a_far_side_that_forgot_the_call_is_called_again() {
    let mut rig = rig(gateway(true));
    up(&mut rig);
    serve(&mut rig, 11_000, 481);
    assert_eq!(told(&mut rig), [PhoneSign::Ended]);
    up(&mut rig);
}

#[test]
fn a_call_from_the_gateways_address_is_its_own_whatever_it_dials_and_nobody_else_is_in_its_place() {
    for is_called in [true, false] {
        let mut rig = rig(gateway(is_called));
        let mut stranger = far(([192, 0, 2, 30], 5061).into());
        assert_eq!(status(&stranger.call(&mut rig, "roip-1", "", OFFER)), 401, "another port is another program");
        let mut phone = Phone::new("1001", "pw-1001");
        assert_eq!(status(&phone.call(&mut rig, "roip-1", "", OFFER)), 404);
        assert!(told(&mut rig).is_empty());
        let mut box_itself = far(PEER);
        assert_eq!(status(&box_itself.call(&mut rig, "6001", "", OFFER)), 200);
        box_itself.acknowledge(&mut rig, "");
        assert!(matches!(told(&mut rig)[..], [PhoneSign::Media(_)]));
        assert!(of("INVITE", &rig.pass(9_000)).is_empty(), "one call is enough");
    }
}

#[test]
fn a_gateway_that_calls_us_is_never_called_and_missed_if_it_does_not() {
    let mut rig = rig(gateway(false));
    assert!(of("INVITE", &rig.pass(29_000)).is_empty() && told(&mut rig).is_empty());
    assert!(of("INVITE", &rig.pass(300_000)).is_empty());
    assert_eq!(told(&mut rig), [PhoneSign::Ended], "told once");
}

#[test]
fn a_gateway_that_begins_anew_replaces_its_old_call() {
    let mut rig = rig(gateway(true));
    up(&mut rig);
    let mut far = far(PEER);
    let text = far.request("INVITE", "sip:roip-1@192.0.2.1", "", OFFER);
    let sent = rig.give(text.as_bytes(), PEER);
    assert_eq!((of("BYE", &sent).len(), status(sent.last().unwrap())), (1, 200));
    assert!(matches!(told(&mut rig)[..], [PhoneSign::Ended, PhoneSign::Media(_)]));
    assert_eq!(rig.exchange.in_call().count(), 1);
}

#[test]
fn when_both_call_at_once_the_higher_address_goes_first() {
    let mut higher = rig(gateway(true));
    let (ours, _) = next_invite(&mut higher);
    answer(&mut higher, PEER, &ours, 180, "", "");
    let text = far(PEER).request("INVITE", "sip:roip-1@192.0.2.1", "", OFFER);
    let sent = higher.give(text.as_bytes(), PEER);
    assert_eq!(
        (of("CANCEL", &sent).len(), status(sent.last().unwrap())),
        (1, 200),
        "theirs is taken, ours is not wanted"
    );
    let late = answer(&mut higher, PEER, &ours, 200, "", OFFER);
    assert_eq!(methods(&late), ["ACK", "BYE"], "nor is a late yes to it");
    assert_eq!(higher.exchange.in_call().count(), 1);

    let mut lower = rig(GatewaySetting { peer: LOWER, ..gateway(true) });
    let (ours, _) = next_invite(&mut lower);
    let text = far(LOWER).request("INVITE", "sip:roip-1@192.0.2.1", "", OFFER);
    assert_eq!(status(lower.give(text.as_bytes(), LOWER).last().unwrap()), 486);
    assert_eq!(methods(&answer(&mut lower, LOWER, &ours, 200, "", OFFER)), ["ACK"]);
    assert!(matches!(told(&mut lower).last(), Some(PhoneSign::Media(_))));
}

#[test]
fn two_of_us_that_call_each_other_at_the_same_moment_are_left_with_one_call_each() {
    let there: SocketAddr = ([192, 0, 2, 2], 5060).into();
    let at = |here, peer| Rig::with_gateways(here, vec![GatewaySetting { peer, ..gateway(true) }]);
    let (mut one, mut other) = (at(HERE, there), at(there, HERE));
    for _ in 0..100 {
        one.pass(100);
        other.pass(100);
        // Everything crosses everything else on its way.
        loop {
            let (out, back) = (std::mem::take(&mut one.desk.raw), std::mem::take(&mut other.desk.raw));
            if out.is_empty() && back.is_empty() {
                break;
            }
            out.iter().for_each(|bytes| drop(other.give(bytes, HERE)));
            back.iter().for_each(|bytes| drop(one.give(bytes, there)));
        }
    }
    for rig in [&mut one, &mut other] {
        assert_eq!((rig.exchange.in_call().count(), rig.exchange.counters().calls_begun), (1, 1));
        assert!(matches!(told(rig).last(), Some(PhoneSign::Media(_))));
    }
}

#[test]
fn a_gateway_with_a_password_is_asked_for_it_and_nobody_elses_will_do() {
    let mut rig = rig(GatewaySetting { proves: Some("pbx".to_owned()), ..gateway(false) });
    let mut gateway_itself = Phone::new("pbx", "pw-pbx");
    gateway_itself.source = ([192, 0, 2, 30], 40_000).into();
    assert_eq!(status(&gateway_itself.ask(&mut rig, "INVITE", "sip:roip-1@192.0.2.1", "", OFFER)), 401);
    let mut phone = Phone::new("1001", "pw-1001");
    phone.source = PEER;
    assert_eq!(status(&phone.call(&mut rig, "roip-1", "", OFFER)), 403, "another's password");
    let mut elsewhere = Phone::new("pbx", "pw-pbx");
    assert_eq!(status(&elsewhere.call(&mut rig, "roip-1", "", OFFER)), 404, "the password alone, from elsewhere");
    assert!(told(&mut rig).is_empty());
    gateway_itself.anew("again");
    gateway_itself.up(&mut rig, "roip-1", "");
    assert!(matches!(told(&mut rig)[..], [PhoneSign::Media(_)]));
}

#[test]
fn a_gateway_that_asks_us_gets_our_password_and_one_that_does_not_take_it_is_not_tried_soon() {
    let secret = DigestSecret::new("crosspatch", "far", "pw");
    let account = Account { user: "crosspatch".to_owned(), realm: "far".to_owned(), domain: None, secret };
    let number = Some("channel-1".to_owned());
    let mut rig = rig(GatewaySetting { account: Some(account), number, ..gateway(true) });
    let (invite, _) = next_invite(&mut rig);
    let challenge = "WWW-Authenticate: Digest realm=\"far\", nonce=\"n\", qop=\"auth\"\r\n";
    let sent = answer(&mut rig, PEER, &invite, 401, challenge, "");
    let proved = of("INVITE", &sent).remove(0);
    assert!(proved.value("authorization").unwrap().contains("uri=\"sip:channel-1@192.0.2.30:5060\""));
    answer(&mut rig, PEER, &proved, 401, challenge, "");
    let (_, pause_ms) = next_invite(&mut rig);
    assert!(pause_ms >= 60_000, "{pause_ms}: trying on would lock the account");
}

#[test]
fn over_a_connection_nothing_is_said_twice_and_a_lost_one_is_made_again_before_the_call_is_given_up() {
    let mut rig = rig(GatewaySetting { transport: Transport::Tcp, ..gateway(true) });
    let way = Flow { transport: Transport::Tcp, remote: PEER, local: HERE };
    rig.over = Some(way);
    let (invite, _) = next_invite(&mut rig);
    assert!(invite.value("via").unwrap().starts_with("SIP/2.0/TCP 192.0.2.1:5060;"));
    assert_eq!(invite.value("contact").unwrap(), "<sip:192.0.2.1:5060;transport=tcp>");
    assert!(rig.pass(5_000).is_empty());
    assert_eq!(methods(&answer(&mut rig, PEER, &invite, 200, "", OFFER)), ["ACK"]);
    assert!(rig.desk.flows.iter().all(|flow| *flow == way), "{:?}", rig.desk.flows);
    told(&mut rig);
    let lose = |rig: &mut Rig, why| {
        let mut acts = Vec::new();
        rig.exchange.lost(&way, why, rig.now, &mut acts);
        rig.note(acts)
    };
    assert!(lose(&mut rig, StreamEnd::Closed).is_empty());
    let asked = rig.pass(100).remove(0);
    assert_eq!(asked.method(), Some("OPTIONS"));
    answer(&mut rig, PEER, &asked, 200, "", "");
    serve(&mut rig, 60_000, 200);
    assert!(told(&mut rig).is_empty(), "the call goes on");
    lose(&mut rig, StreamEnd::Closed);
    rig.pass(100);
    lose(&mut rig, StreamEnd::Unreached);
    assert_eq!(told(&mut rig), [PhoneSign::Ended]);
    let (_, pause_ms) = next_invite(&mut rig);
    assert!(pause_ms <= 1_400, "{pause_ms}");
    lose(&mut rig, StreamEnd::Unreached);
    let (_, pause_ms) = next_invite(&mut rig);
    assert!((2_000..=2_700).contains(&pause_ms), "{pause_ms}: nobody waits half a minute for an answer there");
}

#[test]
fn who_connects_from_the_gateways_host_and_calls_somebody_else_is_not_the_gateway() {
    let mut rig = rig(GatewaySetting { transport: Transport::Tcp, ..gateway(false) });
    let mut connecting = far(([192, 0, 2, 30], 40_000).into());
    rig.over = Some(Flow { transport: Transport::Tcp, remote: connecting.source, local: HERE });
    assert_eq!(status(&connecting.call(&mut rig, "6001", "", OFFER)), 401, "a phone on that host");
    assert_eq!(status(&connecting.call(&mut rig, "roip-1", "", OFFER)), 200);
    connecting.anew("nameless");
    assert_eq!(status(&connecting.call(&mut rig, "sip:192.0.2.1:5060;transport=tcp", "", OFFER)), 200);
    let mut elsewhere = far(([192, 0, 2, 31], 40_000).into());
    elsewhere.anew("elsewhere");
    rig.over = Some(Flow { transport: Transport::Tcp, remote: elsewhere.source, local: HERE });
    assert_eq!(status(&elsewhere.call(&mut rig, "roip-1", "", OFFER)), 401);
}

#[test]
fn a_gateway_that_the_configuration_has_no_longer_is_hung_up_on_and_is_nobody_from_then_on() {
    let mut rig = rig(gateway(true));
    up(&mut rig);
    let mut acts = Vec::new();
    rig.exchange.want(|_, _| false, rig.now, &mut acts);
    assert_eq!(methods(&rig.note(acts)), ["BYE"]);
    assert_eq!(told(&mut rig), [PhoneSign::Ended]);
    assert!(of("INVITE", &rig.pass(300_000)).is_empty());
    assert_eq!(status(&far(PEER).call(&mut rig, "roip-1", "", OFFER)), 401);
    let mut acts = Vec::new();
    rig.exchange.want(|_, peer| peer == PEER, rig.now, &mut acts);
    rig.note(acts);
    up(&mut rig);
}

#[test]
fn a_gateway_that_is_keyed_by_events_has_no_call_without_them() {
    let mut rig = rig(GatewaySetting { events_needed: true, ..gateway(true) });
    let (invite, _) = next_invite(&mut rig);
    let plain = OFFER.replace(" 101\r\n", "\r\n").replace("a=rtpmap:101 telephone-event/8000\r\n", "");
    assert_eq!(methods(&answer(&mut rig, PEER, &invite, 200, "", &plain)), ["ACK", "BYE"]);
    let refused = far(PEER).call(&mut rig, "roip-1", "", &plain);
    assert_eq!(status(&refused), 488);
    assert!(refused.value("warning").unwrap().contains("telephone events"));
    up(&mut rig);
}

#[test]
fn a_gateways_call_goes_on_over_a_restart_if_its_far_side_still_knows_it() {
    for (transport, knows_it) in [(Transport::Udp, true), (Transport::Udp, false), (Transport::Tcp, true)] {
        let mut rig = rig(GatewaySetting { transport, ..gateway(true) });
        rig.over = (transport == Transport::Tcp).then_some(Flow { transport, remote: PEER, local: HERE });
        up(&mut rig);
        rig.restart(true, true);
        assert!(matches!(told(&mut rig)[..], [PhoneSign::Media(_)]));
        let sent = rig.pass(100);
        assert_eq!(methods(&sent), ["OPTIONS"], "it is not called while it is in a call");
        answer(&mut rig, PEER, &sent[0], if knows_it { 200 } else { 481 }, "", "");
        serve(&mut rig, 60_000, 200);
        assert_eq!(told(&mut rig).contains(&PhoneSign::Ended), !knows_it);
    }
}
