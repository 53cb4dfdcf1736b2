//! Calls over connections: what comes over one is answered over it, nothing is said twice, and a connection that is lost
//! loses its registration at once and its call only if nobody comes back.

use std::net::SocketAddr;

use crosspatch::domain::call::PhoneSign;
use crosspatch::domain::configuration::{MediaSecurity, PathClass};
use crosspatch::sip::digest::Algorithm;
use crosspatch::sip::flow::{Flow, Transport};
use crosspatch::sip::message::{Message, Start};
use crosspatch::sip::sdes::CryptoLine;
use crosspatch::sip::stream::StreamEnd;
use crosspatch::wire::srtp::{MasterKey, Suite};

use crate::phone::{HERE, OFFER, Phone, Rig, status};

fn over(transport: Transport, port: u16) -> Flow {
    Flow { transport, remote: ([192, 0, 2, 50], port).into(), local: HERE }
}

fn rig(flow: Flow) -> (Rig, Phone) {
    let mut rig = Rig::new();
    rig.over = Some(flow);
    let mut phone = Phone::new("1001", "pw-1001");
    phone.source = flow.remote;
    (rig, phone)
}

fn lose(rig: &mut Rig, flow: &Flow) -> Vec<Message> {
    let mut acts = Vec::new();
    rig.exchange.lost(flow, StreamEnd::Closed, rig.now, &mut acts);
    rig.note(acts)
}

fn methods(messages: &[Message]) -> Vec<&str> {
    messages.iter().filter_map(Message::method).collect()
}

#[test]
fn everything_goes_back_over_the_connection_that_it_came_over() {
    for (transport, word) in [(Transport::Tcp, "TCP"), (Transport::Tls, "TLS")] {
        let flow = over(transport, 40_000);
        let (mut rig, mut phone) = rig(flow);
        assert_eq!(status(&phone.register(&mut rig, 600)), 200);
        let answer = phone.up(&mut rig, "6001", "");
        let contact = answer.value("contact").unwrap();
        assert_eq!(contact, format!("<sip:192.0.2.1:5060;transport={}>", word.to_lowercase()));
        let asked = rig.pass(31_000);
        assert_eq!(methods(&asked), ["OPTIONS"]);
        assert!(asked[0].value("via").unwrap().starts_with(&format!("SIP/2.0/{word} 192.0.2.1:5060;")));
        // Without rport in its Via a datagram would be answered elsewhere.
        let bare = phone.request("OPTIONS", "sip:192.0.2.1", "", "").replace(";rport", "").replace(":40000", ":7");
        rig.give(bare.as_bytes(), flow.remote);
        assert!(rig.desk.flows.iter().all(|to| *to == flow), "{:?}", rig.desk.flows);
    }
}

#[test]
fn over_a_connection_only_a_yes_is_said_again() {
    let (mut rig, mut phone) = rig(over(Transport::Tcp, 40_000));
    phone.register(&mut rig, 600);
    phone.call(&mut rig, "6009", "", OFFER);
    assert!(rig.pass(5_000).is_empty(), "a no arrives");
    phone.anew("yes");
    phone.call(&mut rig, "6001", "", OFFER);
    let again = rig.pass(3_000);
    assert!(again.len() >= 2 && again.iter().all(|one| one.start == Start::Response { status: 200 }));
    phone.acknowledge(&mut rig, "");
    assert_eq!(methods(&rig.pass(45_000)), ["OPTIONS"], "a question is asked once");
}

#[test]
fn a_lost_connection_ends_the_registration_at_once_and_the_call_when_nobody_comes_back() {
    let flow = over(Transport::Tcp, 40_000);
    let (mut rig, mut phone) = rig(flow);
    phone.register(&mut rig, 600);
    phone.up(&mut rig, "6001", "");
    rig.told();
    assert!(rig.exchange.needed_flows().contains(&flow));
    assert!(lose(&mut rig, &flow).is_empty());
    assert!(rig.told().contains(&("chief".into(), PhoneSign::Registered(false))));
    assert_eq!(rig.exchange.in_call().count(), 1, "speech goes another way");
    assert!(rig.pass(31_000).is_empty(), "nobody is asked over a connection that is gone");
    assert_eq!(rig.exchange.in_call().count(), 1);
    assert!(rig.pass(2_000).is_empty());
    assert_eq!((rig.exchange.in_call().count(), rig.desk.open), (0, 0));
    assert!(rig.told().contains(&("chief".into(), PhoneSign::Ended)));
    assert!(rig.exchange.needed_flows().is_empty());
}

#[test]
fn whoever_comes_back_over_another_connection_has_not_lost_the_call() {
    for by_register in [true, false] {
        let (before, after) = (over(Transport::Tls, 40_000), over(Transport::Tls, 40_001));
        let (mut rig, mut phone) = rig(before);
        phone.register(&mut rig, 600);
        phone.up(&mut rig, "6001", "");
        lose(&mut rig, &before);
        rig.pass(20_000);
        (rig.over, phone.source) = (Some(after), after.remote);
        if by_register {
            let mut same = Phone::new("1001", "pw-1001");
            same.source = after.remote;
            assert_eq!(status(&same.register(&mut rig, 600)), 200);
        } else {
            let moved = OFFER.replace("o=- 1 1", "o=- 1 2");
            assert_eq!(status(&phone.ask(&mut rig, "INVITE", "sip:192.0.2.1:5060", "", &moved)), 200);
            phone.acknowledge(&mut rig, "");
        }
        rig.desk.flows.clear();
        let asked = rig.pass(31_000);
        assert_eq!(methods(&asked), ["OPTIONS"], "by REGISTER: {by_register}");
        assert_eq!((rig.desk.flows.as_slice(), rig.exchange.in_call().count()), (&[after][..], 1));
    }
}

#[test]
fn keys_cross_what_nobody_reads_and_the_call_stays_there() {
    let flow = over(Transport::Tls, 40_000);
    let (mut rig, mut phone) = rig(flow);
    rig.exchange = Rig::encrypting(&[Algorithm::Md5], MediaSecurity::Required, false).exchange;
    let key = MasterKey::new(Suite::AeadAes128Gcm, &[3; 28]).unwrap();
    let line = CryptoLine { tag: 1, key, lifetime_packets: 1 << 48 };
    let offer = OFFER.replace("RTP/AVP", "RTP/SAVP") + &format!("a=crypto:{}\r\n", line.to_value().as_str());
    assert_eq!(status(&phone.call(&mut rig, "6001", "", &offer)), 200);
    phone.acknowledge(&mut rig, "");
    assert_eq!(rig.media().path, PathClass::Encrypted);
    assert!(rig.desk.protection.is_some());
    for transport in [Transport::Udp, Transport::Tcp] {
        rig.over = Some(over(transport, 40_000));
        let answer = phone.ask(&mut rig, "BYE", "sip:192.0.2.1:5060", "", "");
        assert_eq!(status(&answer), 481, "{transport:?} is read by others");
    }
    rig.over = Some(flow);
    assert_eq!(status(&phone.ask(&mut rig, "BYE", "sip:192.0.2.1:5060", "", "")), 200);
}

#[test]
fn a_phone_of_the_newer_internet_registers_calls_and_is_told_its_own_addresses() {
    let six = |text: &str| text.parse::<SocketAddr>().unwrap();
    for transport in [Transport::Udp, Transport::Tcp] {
        let flow = Flow { transport, remote: six("[2001:db8::50]:5070"), local: six("[2001:db8::1]:5060") };
        let (mut rig, mut phone) = rig(flow);
        assert_eq!(status(&phone.register(&mut rig, 600)), 200);
        let offer = OFFER.replace("IP4 192.0.2.50", "IP6 2001:db8::50");
        let answer = phone.call(&mut rig, "6001", "", &offer);
        assert_eq!(status(&answer), 200);
        assert!(answer.value("contact").unwrap().starts_with("<sip:[2001:db8::1]:5060"));
        assert!(answer.value("via").unwrap().contains("rport=5070"));
        phone.acknowledge(&mut rig, "");
        let asked = rig.pass(31_000);
        assert!(asked[0].value("via").unwrap().contains(" [2001:db8::1]:5060;"), "{asked:?}");
        assert_eq!(rig.desk.flows.last(), Some(&flow));
    }
}
