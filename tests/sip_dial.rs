//! What a line that dials is promised: its number goes to one peer after the other until one of them takes it on, what
//! becomes of it is told once, and nobody is left ringing or talking to nobody. Without sockets.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

#[path = "sip_exchange/phone.rs"]
#[expect(dead_code, reason = "it can do more than lines need")]
mod phone;

use std::net::SocketAddr;

use crosspatch::domain::call::PhoneSign;
use crosspatch::domain::configuration::MediaSecurity;
use crosspatch::domain::id::{GatewayId, TrunkId};
use crosspatch::sip::digest::{Algorithm, DigestSecret};
use crosspatch::sip::exchange::Place;
use crosspatch::sip::message::Message;
use crosspatch::sip::offer::LocalMedia;
use crosspatch::sip::trunk::{Account, TrunkSetting};

use phone::{OFFER, Phone, Rig, status};

const FIRST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 20)), 5060);
const SECOND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 21)), 5060);

fn rig(registers: Option<Account>, registered: Option<&str>) -> Rig {
    let id = TrunkId::new("pbx").unwrap();
    let user = registered.map_or_else(|| Place::user_of_trunk(&id), str::to_owned);
    let phone = GatewayId::new("out-1").unwrap();
    let peers = if registered.is_some() { Vec::new() } else { vec![FIRST, SECOND] };
    let trunk = TrunkSetting { id, peers, registers, registered: registered.map(str::to_owned), emergency: false };
    let line = Place { phone, user, is_line: true, dialled: Vec::new(), srtp: MediaSecurity::Optional };
    Rig::with_trunks(&[Algorithm::Md5], vec![trunk], vec![line])
}

/// The line is told to dial through the trunk `pbx`.
fn dial(rig: &mut Rig, number: &str) -> Vec<Message> {
    dial_through(rig, &["pbx"], number)
}

/// The same through these.
fn dial_through(rig: &mut Rig, trunks: &[&str], number: &str) -> Vec<Message> {
    let (mut acts, desk) = (Vec::new(), &mut rig.desk);
    let mut open = |_| {
        desk.open += 1;
        let at = |port| SocketAddr::new(phone::HERE.ip(), port);
        Some(LocalMedia { rtp: at(40_000), rtcp: at(40_001) })
    };
    let trunks: Vec<TrunkId> = trunks.iter().map(|id| TrunkId::new(id).unwrap()).collect();
    rig.exchange.dial(&GatewayId::new("out-1").unwrap(), (&trunks, number), rig.now, &mut open, &mut acts);
    rig.note(acts)
}

/// The far side answers.
fn answer(rig: &mut Rig, to: SocketAddr, invite: &Message, status: u16, lines: &str, body: &str) -> Vec<Message> {
    let of = |name| invite.value(name).unwrap();
    let text = format!(
        "SIP/2.0 {status} x\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=t\r\nCall-ID: {}\r\nCSeq: {}\r\n\
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

fn invites(sent: Vec<Message>) -> Vec<Message> {
    sent.into_iter().filter(|message| message.method() == Some("INVITE")).collect()
}

fn told(rig: &mut Rig) -> Vec<PhoneSign> {
    let signs = rig.told().into_iter().filter(|(phone, _)| phone == "out-1").map(|(_, sign)| sign);
    signs.filter(|sign| !matches!(sign, PhoneSign::Registered(_))).collect()
}

/// Where the last request of that method went.
fn went(rig: &Rig, method: &str) -> Option<SocketAddr> {
    rig.desk.sent.iter().rfind(|(_, message)| message.method() == Some(method)).map(|(to, _)| *to)
}

#[test]
fn a_number_rings_is_answered_and_hung_up_by_either_side() {
    let mut rig = rig(None, None);
    let invite = invites(dial(&mut rig, "+15550123")).remove(0);
    assert!(
        matches!(&invite.start, crosspatch::sip::message::Start::Request { uri, .. } if uri == "sip:+15550123@192.0.2.20:5060")
    );
    assert!(invites(dial(&mut rig, "5550199")).is_empty(), "one call for each line");
    answer(&mut rig, FIRST, &invite, 180, "", "");
    assert_eq!(told(&mut rig), [PhoneSign::Rings]);
    let sent = answer(&mut rig, FIRST, &invite, 200, "", OFFER);
    assert_eq!(sent[0].method(), Some("ACK"));
    let signs = told(&mut rig);
    assert!(matches!(&signs[..], [PhoneSign::Media(media)] if media.hears && media.talks), "{signs:?}");
    assert_eq!((rig.desk.open, rig.desk.handed_over, rig.exchange.in_call().count()), (1, 1, 1));
    // A digit by INFO comes in its dialog, which is ours backwards.
    let from = invite.value("from").unwrap().to_owned();
    let request = |method: &str, lines: &str, body: &str, cseq: u32| {
        format!(
            "{method} sip:192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bKq{cseq}\r\n\
             From: {};tag=t\r\nTo: {from}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\
             {lines}Content-Length: {}\r\n\r\n{body}",
            invite.value("to").unwrap(),
            invite.value("call-id").unwrap(),
            body.len()
        )
    };
    let star = request("INFO", "Content-Type: application/dtmf-relay\r\n", "Signal=*\r\n", 1);
    assert_eq!(status(&rig.give(star.as_bytes(), FIRST)[0]), 200);
    assert_eq!(told(&mut rig), [PhoneSign::Key(true)]);
    assert_eq!(status(&rig.give(request("BYE", "", "", 2).as_bytes(), FIRST)[0]), 200);
    assert_eq!(told(&mut rig), [PhoneSign::Ended]);

    let invite = invites(dial(&mut rig, "5550123")).remove(0);
    answer(&mut rig, FIRST, &invite, 200, "", OFFER);
    told(&mut rig);
    let (line, mut acts) = (GatewayId::new("out-1").unwrap(), Vec::new());
    rig.exchange.hang_up(Some(&line), rig.now, &mut acts);
    assert_eq!(rig.note(acts).pop().unwrap().method(), Some("BYE"));
    assert_eq!((told(&mut rig), rig.desk.open), (vec![PhoneSign::Ended], 0));
}

#[test]
fn a_peer_that_is_silent_or_overloaded_is_passed_over_and_a_person_who_says_no_is_not_asked_again() {
    for silent in [true, false] {
        let mut rig = rig(None, None);
        let invite = invites(dial(&mut rig, "5550123")).remove(0);
        if silent {
            rig.pass(33_000);
        } else {
            answer(&mut rig, FIRST, &invite, 503, "", "");
        }
        assert_eq!(went(&rig, "INVITE"), Some(SECOND));
        assert!(told(&mut rig).is_empty(), "nothing is lost yet");
        let (_, second) = rig.desk.sent.iter().rfind(|(_, m)| m.method() == Some("INVITE")).unwrap().clone();
        answer(&mut rig, SECOND, &second, 200, "", OFFER);
        assert!(matches!(told(&mut rig)[..], [PhoneSign::Media(_)]));
    }
    for status in [486, 404, 302, 603] {
        let mut rig = rig(None, None);
        let invite = invites(dial(&mut rig, "5550123")).remove(0);
        answer(&mut rig, FIRST, &invite, status, "", "");
        assert_eq!((went(&rig, "INVITE"), told(&mut rig)), (Some(FIRST), vec![PhoneSign::Ended]), "{status}");
        assert_eq!(rig.desk.open, 0);
    }
    let mut nobody = rig(None, None);
    let invite = invites(dial(&mut nobody, "5550123")).remove(0);
    answer(&mut nobody, FIRST, &invite, 503, "", "");
    let (_, second) = nobody.desk.sent.iter().rfind(|(_, m)| m.method() == Some("INVITE")).unwrap().clone();
    answer(&mut nobody, SECOND, &second, 503, "", "");
    assert_eq!((told(&mut nobody), nobody.desk.open), (vec![PhoneSign::Ended], 0), "all have been tried");
}

/// Answers what it is asked as it was told to, for so long.
fn serve(rig: &mut Rig, ms: u64, says: impl Fn(SocketAddr) -> Option<u16>) {
    for _ in 0..ms / 100 {
        rig.desk.sent.clear();
        rig.pass(100);
        for (to, request) in std::mem::take(&mut rig.desk.sent) {
            if let (Some("OPTIONS"), Some(status)) = (request.method(), says(to)) {
                answer(rig, to, &request, status, "", "");
            }
        }
    }
}

#[test]
fn a_line_with_another_trunk_dials_through_that_where_its_first_is_lost_or_says_503_and_calls_back_when_it_is_there() {
    let trunk = |id: &str, peer| {
        let id = TrunkId::new(id).unwrap();
        TrunkSetting { id, peers: vec![peer], registers: None, registered: None, emergency: false }
    };
    let both = vec![trunk("pbx", FIRST), trunk("carrier", SECOND)];
    let dials = |rig: &mut Rig| dial_through(rig, &["pbx", "carrier"], "5550123");
    let mut rig = Rig::with_trunks(&[Algorithm::Md5], both, Vec::new());
    serve(&mut rig, 1_000, |_| Some(200));
    let invite = invites(dials(&mut rig)).remove(0);
    assert_eq!(went(&rig, "INVITE"), Some(FIRST), "both live: its own first");
    let second = invites(answer(&mut rig, FIRST, &invite, 503, "", "")).remove(0);
    assert_eq!(went(&rig, "INVITE"), Some(SECOND));
    assert!(
        matches!(&second.start, crosspatch::sip::message::Start::Request { uri, .. } if uri == "sip:5550123@192.0.2.21:5060")
    );
    answer(&mut rig, SECOND, &second, 486, "", "");
    assert_eq!((told(&mut rig), rig.desk.open), (vec![PhoneSign::Ended], 0));

    serve(&mut rig, 60_000, |to| (to == SECOND).then_some(200));
    let invite = invites(dials(&mut rig)).remove(0);
    assert_eq!(went(&rig, "INVITE"), Some(SECOND), "its own is lost: nobody waits half a minute for that");
    answer(&mut rig, SECOND, &invite, 503, "", "");
    assert_eq!(went(&rig, "INVITE"), Some(FIRST), "what seems dead may only have lost an answer");
    let (_, last) = rig.desk.sent.iter().rfind(|(_, m)| m.method() == Some("INVITE")).unwrap().clone();
    answer(&mut rig, FIRST, &last, 404, "", "");
    assert_eq!(told(&mut rig), [PhoneSign::Ended]);

    serve(&mut rig, 150_000, |_| Some(200));
    dials(&mut rig);
    assert_eq!(went(&rig, "INVITE"), Some(FIRST), "it is back");
}

#[test]
fn a_call_that_is_not_wanted_any_more_is_told_at_once_and_cancelled_and_a_late_yes_is_hung_up_on() {
    let mut rig = rig(None, None);
    let invite = invites(dial(&mut rig, "5550123")).remove(0);
    answer(&mut rig, FIRST, &invite, 180, "", "");
    told(&mut rig);
    let (line, mut acts) = (GatewayId::new("out-1").unwrap(), Vec::new());
    rig.exchange.hang_up(Some(&line), rig.now, &mut acts);
    let sent = rig.note(acts);
    assert_eq!((sent[0].method(), told(&mut rig), rig.desk.open), (Some("CANCEL"), vec![PhoneSign::Ended], 0));
    assert_eq!(rig.exchange.in_call().count(), 0);
    let sent = answer(&mut rig, FIRST, &invite, 200, "", OFFER);
    let methods: Vec<_> = sent.iter().filter_map(Message::method).collect();
    assert_eq!(methods, ["ACK", "BYE"]);
    assert!(told(&mut rig).is_empty());
    assert!(!invites(dial(&mut rig, "5550124")).is_empty(), "the line is free again");
}

#[test]
fn a_trunk_that_asks_for_our_password_gets_it_and_one_that_registers_here_is_called_where_it_is() {
    let secret = DigestSecret::new("bridge", "asterisk", "pw");
    let account = Account {
        user: "bridge".to_owned(),
        realm: "asterisk".to_owned(),
        domain: Some("pbx.example".to_owned()),
        secret,
    };
    let mut rig_ours = rig(Some(account), None);
    let invite = invites(dial(&mut rig_ours, "5550123")).remove(0);
    assert!(invite.value("from").unwrap().starts_with("<sip:bridge@pbx.example>;tag="));
    let challenge = "WWW-Authenticate: Digest realm=\"asterisk\", nonce=\"n\", qop=\"auth\"\r\n";
    let proved = invites(answer(&mut rig_ours, FIRST, &invite, 401, challenge, "")).remove(0);
    assert!(proved.value("authorization").unwrap().contains("uri=\"sip:5550123@pbx.example\""));

    let mut theirs = rig(None, Some("pbx"));
    assert!(invites(dial(&mut theirs, "5550123")).is_empty());
    assert_eq!((told(&mut theirs), theirs.desk.open), (vec![PhoneSign::Ended], 0), "it is nowhere");
    let mut pbx = Phone::new("pbx", "pw-pbx");
    pbx.register(&mut theirs, 60);
    assert_eq!(invites(dial(&mut theirs, "5550123")).len(), 1);
    assert_eq!(went(&theirs, "INVITE"), Some(pbx.source));
}

#[test]
fn nobody_calls_a_line_that_dials() {
    let mut rig = rig(None, None);
    for (at, number) in ["out-1", "", "5550123"].into_iter().enumerate() {
        let mut caller = Phone::new("caller", "none");
        caller.source = FIRST;
        caller.anew(&format!("in-{at}"));
        assert_eq!(status(&caller.call(&mut rig, number, "", OFFER)), 404, "{number}");
    }
}
