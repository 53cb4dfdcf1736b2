//! What trunks are promised, and what is promised about them: whether they live is asked and known, a password is given only
//! where it belongs, their callers get the lines that somebody gave them and no others, and nobody else is a trunk.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

#[path = "sip_exchange/phone.rs"]
#[expect(dead_code, reason = "it can do more than trunks need")]
mod phone;

use std::net::SocketAddr;

use crosspatch::domain::call::PhoneSign;
use crosspatch::domain::configuration::MediaSecurity;
use crosspatch::domain::id::{GatewayId, TrunkId};
use crosspatch::domain::time::MonoTime;
use crosspatch::sip::digest::{Algorithm, DigestSecret};
use crosspatch::sip::exchange::Place;
use crosspatch::sip::flow::{Flow, Transport};
use crosspatch::sip::message::Message;
use crosspatch::sip::trunk::{Account, TrunkSetting};

use phone::{OFFER, Phone, Rig, status};

const FIRST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 20)), 5060);
const SECOND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 21)), 5060);

fn trunk(peers: &[SocketAddr]) -> TrunkSetting {
    let id = TrunkId::new("pbx").unwrap();
    TrunkSetting { id, peers: peers.to_vec(), registers: None, registered: None, emergency: true }
}

fn account() -> Account {
    let secret = DigestSecret::new("bridge", "asterisk", "pw");
    Account { user: "bridge".to_owned(), realm: "asterisk".to_owned(), domain: None, secret }
}

/// Two lines at 6001, one at 6002.
fn lines(user: &str) -> Vec<Place> {
    let line = |(phone, number): (&str, &str)| Place {
        phone: GatewayId::new(phone).unwrap(),
        user: user.to_owned(),
        is_line: true,
        dialled: vec![number.to_owned()],
        srtp: MediaSecurity::Optional,
    };
    [("line-1", "6001"), ("line-2", "6001"), ("line-3", "6002")].map(line).to_vec()
}

fn rig(trunk: TrunkSetting) -> Rig {
    let user = Place::user_of_trunk(&trunk.id);
    Rig::with_trunks(&[Algorithm::Md5], vec![trunk], lines(&user))
}

/// A bare answer to a request of the exchange's.
fn answer_to(request: &Message, status: u16, lines: &str) -> String {
    let of = |name| request.value(name).unwrap();
    format!(
        "SIP/2.0 {status} x\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=t\r\nCall-ID: {}\r\nCSeq: {}\r\n{lines}\
         Content-Length: 0\r\n\r\n",
        of("via"),
        of("from"),
        of("to"),
        of("call-id"),
        of("cseq")
    )
}

/// For so long these addresses answer what they are asked, as said, and nobody else does. Returns what they were asked.
fn serve(rig: &mut Rig, ms: u64, mut says: impl FnMut(SocketAddr, &Message) -> Option<(u16, String)>) -> Vec<Message> {
    let mut asked = Vec::new();
    for _ in 0..ms / 100 {
        rig.desk.sent.clear();
        rig.pass(100);
        let mut sent = std::mem::take(&mut rig.desk.sent);
        while !sent.is_empty() {
            for (to, message) in std::mem::take(&mut sent) {
                if let Some((status, lines)) = message.method().and_then(|_| says(to, &message)) {
                    let answer = answer_to(&message, status, &lines);
                    asked.push(message);
                    rig.desk.sent.clear();
                    rig.give(answer.as_bytes(), to);
                    sent.append(&mut rig.desk.sent);
                }
            }
        }
    }
    asked
}

fn well(at: &'static [SocketAddr]) -> impl FnMut(SocketAddr, &Message) -> Option<(u16, String)> {
    move |to, _| at.contains(&to).then(|| (200, String::new()))
}

fn trunks(rig: &mut Rig) -> Vec<bool> {
    std::mem::take(&mut rig.desk.trunks).into_iter().map(|(_, is_up)| is_up).collect()
}

#[test]
fn a_trunk_is_up_while_one_of_its_addresses_answers_whatever_it_says_and_lost_eight_seconds_after_the_last_does_not() {
    let mut rig = rig(trunk(&[FIRST, SECOND]));
    serve(&mut rig, 1_000, |to, _| (to == SECOND).then(|| (404, String::new())));
    assert_eq!(trunks(&mut rig), [true], "one is enough, and 404 is a sign of life");
    let told = rig.told();
    let registered = |is| ["line-1", "line-2", "line-3"].map(|line| (line.to_owned(), PhoneSign::Registered(is)));
    assert_eq!(told, registered(true));
    let asked = serve(&mut rig, 120_000, well(&[FIRST, SECOND]));
    assert!((7..=9).contains(&asked.len()), "{} in two minutes", asked.len());
    assert!(asked.iter().all(|message| message.method() == Some("OPTIONS")));
    assert!(trunks(&mut rig).is_empty());

    serve(&mut rig, 30_000, well(&[]));
    assert!(trunks(&mut rig).is_empty());
    serve(&mut rig, 9_000, well(&[]));
    assert_eq!(trunks(&mut rig), [false]);
    assert_eq!(rig.told(), registered(false));
    // Later and later; and it is noticed when it is back.
    let asked: Vec<Message> = rig.pass(900_000).into_iter().filter(|m| m.value("max-forwards").is_some()).collect();
    let branches: std::collections::BTreeSet<_> = asked.iter().map(|m| m.value("via").unwrap().to_owned()).collect();
    assert!((8..=24).contains(&branches.len()), "{} in a quarter of an hour at two addresses", branches.len());
    serve(&mut rig, 200_000, well(&[FIRST]));
    assert_eq!(trunks(&mut rig), [true]);
    serve(&mut rig, 60_000, |_, _| Some((503, String::new())));
    assert_eq!(trunks(&mut rig), [false], "503 is somebody else's word for it");
}

#[test]
fn we_register_with_our_password_in_its_realm_and_renew_it_at_half_its_time() {
    let mut rig = rig(TrunkSetting { registers: Some(account()), ..trunk(&[FIRST]) });
    let challenge = "WWW-Authenticate: Digest realm=\"asterisk\", nonce=\"n\", qop=\"auth\"\r\n";
    let mut answers = |_: SocketAddr, message: &Message| {
        Some(match (message.method(), message.value("authorization")) {
            (Some("REGISTER"), None) => (401, challenge.to_owned()),
            (Some("REGISTER"), Some(_)) => {
                (200, "Contact: <sip:bridge@192.0.2.1:5060>;expires=120, <sip:x@y>;expires=9\r\n".to_owned())
            }
            _ => (200, String::new()),
        })
    };
    let asked = serve(&mut rig, 1_000, &mut answers);
    let registers: Vec<&Message> = asked.iter().filter(|message| message.method() == Some("REGISTER")).collect();
    assert_eq!(registers.len(), 2);
    assert_eq!(registers[0].value("call-id"), registers[1].value("call-id"));
    assert_eq!(registers.iter().map(|message| message.cseq().unwrap()).collect::<Vec<_>>(), [1, 2]);
    assert!(registers[1].value("authorization").unwrap().contains("username=\"bridge\", realm=\"asterisk\""));
    assert_eq!(trunks(&mut rig), [true]);
    let asked = serve(&mut rig, 240_000, &mut answers);
    let renewed: Vec<&Message> = asked.iter().filter(|message| message.method() == Some("REGISTER")).collect();
    assert_eq!(renewed.len(), 4, "every 60 s, and the nonce is used again");
    // It answers, but does not renew: what it granted runs out first.
    let mut tired = |_: SocketAddr, message: &Message| {
        let is_register = message.method() == Some("REGISTER");
        Some((if is_register { 500 } else { 200 }, String::new()))
    };
    serve(&mut rig, 100_000, &mut tired);
    assert!(trunks(&mut rig).is_empty());
    serve(&mut rig, 30_000, &mut tired);
    assert_eq!(trunks(&mut rig), [false]);
}

#[test]
fn a_registrar_that_does_not_want_us_or_asks_for_another_realms_password_is_not_pestered() {
    for realm in ["asterisk", "elsewhere"] {
        let mut rig = rig(TrunkSetting { registers: Some(account()), ..trunk(&[FIRST]) });
        let challenge = format!("WWW-Authenticate: Digest realm=\"{realm}\", nonce=\"n\", qop=\"auth\"\r\n");
        let asked = serve(&mut rig, 290_000, |_, message| {
            let is_register = message.method() == Some("REGISTER");
            Some(if is_register { (401, challenge.clone()) } else { (200, String::new()) })
        });
        let registers = asked.iter().filter(|message| message.method() == Some("REGISTER"));
        let proofs: Vec<bool> = registers.map(|message| message.value("authorization").is_some()).collect();
        assert_eq!(proofs, if realm == "asterisk" { vec![false, true] } else { vec![false] }, "{realm}");
        assert_eq!(trunks(&mut rig), [false]);
    }
    let mut rig = rig(TrunkSetting { registers: Some(account()), ..trunk(&[FIRST]) });
    let asked = serve(&mut rig, 1_000, |_, message| {
        let is_brief = message.value("expires").is_some_and(|expires| expires == "300");
        Some(if is_brief { (423, "Min-Expires: 900\r\n".to_owned()) } else { (200, String::new()) })
    });
    assert!(asked.iter().any(|message| message.value("expires") == Some("900")));
    assert_eq!(trunks(&mut rig), [true]);
}

/// A caller behind a trunk.
fn caller(name: &str, source: SocketAddr) -> Phone {
    let mut caller = Phone::new(name, "none");
    caller.source = source;
    caller.anew(name);
    caller
}

#[test]
fn callers_of_a_trunk_get_its_lines_one_each_and_hear_busy_when_there_are_no_more() {
    let mut rig = rig(trunk(&[FIRST, SECOND]));
    let mut callers = [caller("a", FIRST), caller("b", SECOND), caller("c", FIRST)];
    let [first, second, third] = &mut callers;
    first.up(&mut rig, "6001", "");
    second.up(&mut rig, "6001", "");
    let media: Vec<String> = rig.told().into_iter().map(|(phone, _)| phone).collect();
    assert_eq!(media, ["line-1", "line-2"], "nobody was asked for a password");
    assert_eq!(status(&third.call(&mut rig, "6001", "", OFFER)), 486);
    assert_eq!((rig.exchange.in_call().count(), rig.desk.open), (2, 2), "and nobody was put out");
    assert_eq!(status(&first.ask(&mut rig, "BYE", "sip:192.0.2.1:5060", "", "")), 200);
    third.anew("again");
    third.up(&mut rig, "6001", "");
    assert_eq!(rig.told().last().unwrap().0, "line-1");
}

#[test]
fn a_trunks_caller_reaches_only_what_its_lines_say_and_nobody_else_is_the_trunk() {
    let mut rig = rig(trunk(&[FIRST]));
    for number in ["6003", "1001", "chief", "", "911", "line-1", "pd-1"] {
        let mut inside = caller(&format!("x{number}"), FIRST);
        assert_eq!(status(&inside.call(&mut rig, number, "", OFFER)), 404, "{number}");
    }
    for other in [SocketAddr::new(FIRST.ip(), 5061), SocketAddr::new([192, 0, 2, 99].into(), FIRST.port())] {
        let mut outside = caller(&format!("o{}", other.port()), other);
        assert_eq!(status(&outside.call(&mut rig, "6001", "", OFFER)), 401, "{other}");
    }
    let mut connected = caller("tcp", FIRST);
    rig.over = Some(Flow { transport: Transport::Tcp, remote: FIRST, local: phone::HERE });
    assert_eq!(status(&connected.call(&mut rig, "6001", "", OFFER)), 401, "a connection from its address is anybody's");
    rig.over = None;
    // A phone has its own places and not the trunk's.
    let mut chief = Phone::new("1001", "pw-1001");
    chief.up(&mut rig, "6001", "");
    assert!(rig.told().iter().any(|(phone, _)| phone == "chief"));
    assert_eq!(rig.exchange.in_call().count(), 1);
}

#[test]
fn a_pbx_that_calls_us_by_our_registration_reaches_the_number_that_its_caller_dialled() {
    for (dialled, expected) in [("6001", 200), ("6003", 404), ("bridge", 404), ("911", 404)] {
        let mut rig = rig(TrunkSetting { registers: Some(account()), ..trunk(&[FIRST]) });
        let mut pbx = caller("pbx", FIRST);
        let invite = pbx.request("INVITE", "sip:bridge@192.0.2.1", "", OFFER);
        let invite = invite.replace("To: <sip:bridge@192.0.2.1>", &format!("To: <sip:{dialled}@pbx.example>"));
        assert_eq!(status(&rig.give(invite.as_bytes(), FIRST)[0]), expected, "{dialled}");
    }
    // Without a registration that name is nobody's.
    let mut rig = rig(trunk(&[FIRST]));
    let mut pbx = caller("pbx", FIRST);
    assert_eq!(status(&pbx.call(&mut rig, "bridge", "", OFFER)), 404);
}

#[test]
fn a_pbx_that_registers_here_is_up_while_it_does_and_proves_its_calls() {
    let theirs = TrunkSetting { registered: Some("pbx".to_owned()), ..trunk(&[]) };
    let mut rig = Rig::with_trunks(&[Algorithm::Md5], vec![theirs], lines("pbx"));
    let mut pbx = Phone::new("pbx", "pw-pbx");
    assert_eq!(status(&pbx.register(&mut rig, 60)), 200);
    assert_eq!(trunks(&mut rig), [true]);
    let mut wrong = Phone::new("pbx", "guessed");
    wrong.anew("wrong");
    assert_eq!(status(&wrong.call(&mut rig, "6001", "", OFFER)), 401);
    pbx.anew("one");
    pbx.up(&mut rig, "6001", "");
    pbx.anew("two");
    pbx.up(&mut rig, "6001", "");
    pbx.anew("three");
    assert_eq!(status(&pbx.call(&mut rig, "6001", "", OFFER)), 486);
    assert_eq!(rig.exchange.in_call().count(), 2);
    rig.pass(61_000);
    assert_eq!(trunks(&mut rig), [false]);
}

#[test]
fn a_phone_that_dials_an_emergency_number_is_sent_to_the_pbx_that_lives() {
    let redirected = |rig: &mut Rig, number: &str| {
        let mut chief = Phone::new("1001", "pw-1001");
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        chief.anew(&format!("{digits}-{}", rig.now.ms_since(MonoTime::default())));
        let answer = chief.ask_and_prove(rig, "INVITE", number, "", OFFER);
        (status(&answer), answer.value("contact").map(str::to_owned))
    };
    let mut rig = rig(trunk(&[FIRST, SECOND]));
    let to = |peer: &str, number: &str| (302, Some(format!("<sip:{number}@{peer}>")));
    assert_eq!(redirected(&mut rig, "sip:911@192.0.2.1"), to("192.0.2.20:5060", "911"), "nothing is known yet");
    serve(&mut rig, 10_000, well(&[SECOND]));
    assert_eq!(redirected(&mut rig, "sip:911@192.0.2.1"), to("192.0.2.21:5060", "911"));
    assert_eq!(redirected(&mut rig, "tel:1-1-2"), to("192.0.2.21:5060", "112"), "and never to a talkgroup");
    assert_eq!(redirected(&mut rig, "sip:9111@192.0.2.1").0, 404);
    assert_eq!(rig.exchange.in_call().count(), 0);

    let theirs = TrunkSetting { registered: Some("pbx".to_owned()), ..trunk(&[]) };
    let mut there = Rig::with_trunks(&[Algorithm::Md5], vec![theirs], lines("pbx"));
    assert_eq!(redirected(&mut there, "sip:911@192.0.2.1").0, 404, "a PBX that is nowhere");
    let mut pbx = Phone::new("pbx", "pw-pbx");
    pbx.register(&mut there, 60);
    assert_eq!(redirected(&mut there, "sip:112@192.0.2.1"), to(&pbx.source.to_string(), "112"));

    let mut without = Rig::new();
    assert_eq!(redirected(&mut without, "sip:911@192.0.2.1").0, 404);
}
