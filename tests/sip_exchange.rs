//! What phones are promised: who they are is asked, their calls are answered, changed and ended as RFC 3261, 3264, 3311
//! and 4028 say, and whoever is not one of them costs nothing that lasts. In the test's own time, without sockets.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

#[path = "sip_exchange/phone.rs"]
#[expect(dead_code, reason = "it can do more than phones need")]
mod phone;
#[path = "sip_exchange/resume.rs"]
mod resume;
#[path = "sip_exchange/srtp.rs"]
mod srtp;
#[path = "sip_exchange/streams.rs"]
mod streams;

use crosspatch::domain::audio::Codec;
use crosspatch::domain::call::PhoneSign;
use crosspatch::domain::port::PeerRule;
use crosspatch::sip::call::CallEnd;
use crosspatch::sip::digest::Algorithm;
use crosspatch::sip::message::{Message, Start};

use phone::{OFFER, Phone, Rig, status};

fn chief() -> Phone {
    Phone::new("1001", "pw-1001")
}

fn method(message: &Message) -> &str {
    message.method().unwrap_or("an answer")
}

#[test]
fn a_phone_registers_with_its_password_and_is_forgotten_when_its_time_is_over() {
    for digests in [&[Algorithm::Md5][..], &[Algorithm::Sha256, Algorithm::Md5]] {
        let mut rig = Rig::with(digests);
        let answer = chief().register(&mut rig, 120);
        assert_eq!(status(&answer), 200);
        let contact = answer.value("contact").unwrap();
        assert!(contact.contains("192.0.2.50:5070") && contact.ends_with("expires=120"), "{contact}");
        let there = |told: &[(String, PhoneSign)], is: bool| {
            told.contains(&("chief".into(), PhoneSign::Registered(is)))
                && told.contains(&("chief-2".into(), PhoneSign::Registered(is)))
        };
        assert!(there(&rig.told(), true));
        rig.pass(119_000);
        assert!(rig.told().is_empty());
        rig.pass(2_000);
        assert!(there(&rig.told(), false));
    }
}

#[test]
fn a_wrong_password_a_foreign_name_and_a_replay_get_nowhere() {
    let mut rig = Rig::new();
    assert_eq!(status(&Phone::new("1001", "guessed").register(&mut rig, 60)), 401);
    assert_eq!(status(&Phone::new("1009", "pw-1001").register(&mut rig, 60)), 401);
    assert_eq!(status(&Phone::new("1001", "guessed").call(&mut rig, "6001", "", OFFER)), 401);
    let mut other = chief();
    other.user = "1002".to_owned();
    assert_eq!(status(&other.register(&mut rig, 60)), 403, "who may be 1001 may not be 1002");
    assert!(rig.told().is_empty() && rig.exchange.counters().not_authentic >= 3);

    let mut phone = chief();
    phone.register(&mut rig, 60);
    let sent = rig.desk.sent.len();
    // The same bytes are a repetition and get the same answer; as another request they are a replay.
    let spy = phone.request("REGISTER", "sip:192.0.2.1", "Expires: 60\r\n", "");
    let heard = rig.give(spy.as_bytes(), phone.source);
    assert_eq!((status(&heard[0]), rig.desk.sent.len() - sent), (401, 1));
}

#[test]
fn whoever_has_not_shown_who_it_is_leaves_nothing_behind_and_gets_no_more_than_it_gave() {
    let mut rig = Rig::new();
    let mut stranger = Phone::new("nobody", "x");
    for n in 0..100 {
        stranger.anew(&format!("scan-{n}"));
        for (method, expected) in
            [("INVITE", 401), ("REGISTER", 401), ("OPTIONS", 200), ("BYE", 481), ("REFER", 603), ("SUBSCRIBE", 405)]
        {
            rig.now = rig.now.plus_ms(50);
            let text = stranger.request(method, "sip:100@192.0.2.1", "", "");
            let answers = rig.give(text.as_bytes(), stranger.source);
            let [answer] = &answers[..] else { panic!("{} answers to {method}", answers.len()) };
            assert_eq!(status(answer), expected, "{method}");
        }
    }
    assert!(rig.pass(40_000).is_empty(), "nothing is repeated to a stranger");
    assert_eq!((rig.desk.open, rig.exchange.in_call().count()), (0, 0));
    let lean =
        "OPTIONS sip:a SIP/2.0\r\nv:SIP/2.0/UDP a\r\nf:<sip:a@b>\r\nt:<sip:a@b>\r\ni:1\r\nCSeq:1 OPTIONS\r\n\r\n";
    let length: usize = rig.give(lean.as_bytes(), stranger.source).iter().map(|m| format!("{m:?}").len()).sum();
    assert!(length == 0 || rig.exchange.counters().too_long == 0);
    assert!(rig.exchange.counters().too_long > 0, "an answer far longer than its question is not given");
}

#[test]
fn a_call_gets_its_talkgroups_number_and_no_other() {
    let mut rig = Rig::new();
    let mut phone = chief();
    for (number, place) in [("6001", "chief"), ("pd-1", "chief"), ("6002", "chief-2"), ("1001", "chief")] {
        phone.anew(number);
        phone.up(&mut rig, number, "");
        assert_eq!(rig.told().last().unwrap().0, place, "{number}");
    }
    // A bare number names somebody, too: it is not for the phone's own talkgroup.
    for number in ["6003", "911", "*", "6001x", "tel:911"] {
        phone.anew(&number.replace(':', "-"));
        assert_eq!(status(&phone.call(&mut rig, number, "", OFFER)), 404, "{number}");
    }
    let mut deputy = Phone::new("1002", "pw-1002");
    assert_eq!(status(&deputy.call(&mut rig, "6002", "", OFFER)), 404, "not its talkgroup");
}

#[test]
fn a_call_speaks_what_both_prefer_and_its_media_comes_from_nowhere_else() {
    let mut rig = Rig::new();
    let mut phone = chief();
    let answer = phone.up(&mut rig, "6001", "");
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.contains("m=audio 40000 RTP/AVP 9 0 101\r\n") && text.contains("c=IN IP4 192.0.2.1\r\n"), "{text}");
    let media = rig.media();
    assert_eq!(media.peer, PeerRule::Static(([192, 0, 2, 50], 7000).into()));
    assert_eq!((media.payloads[0].format.codec, media.events), (Codec::G722, Some(101)));
    assert!(media.hears && media.talks);
    assert_eq!((rig.desk.open, rig.desk.handed_over), (1, 1));

    // Behind a NAT: the address in the offer is not where its messages come from.
    phone.anew("nat");
    phone.source = ([203, 0, 113, 9], 1024).into();
    phone.up(&mut rig, "6001", "");
    let PeerRule::Latch(networks) = rig.media().peer else { panic!("it latches") };
    assert!(networks.iter().any(|network| network.contains([203, 0, 113, 9].into())));
    assert!(!networks.iter().any(|network| network.contains([203, 0, 113, 10].into())));
}

#[test]
fn a_phone_that_calls_again_loses_its_old_call_and_nobody_elses() {
    let mut rig = Rig::new();
    let (mut phone, mut deputy) = (chief(), Phone::new("1002", "pw-1002"));
    deputy.up(&mut rig, "6001", "");
    phone.up(&mut rig, "6001", "");
    phone.anew("again");
    rig.told();
    let uri = "sip:6001@192.0.2.1";
    phone.ask(&mut rig, "INVITE", uri, "", OFFER);
    phone.anew("and-again");
    phone.call(&mut rig, "6001", "", OFFER);
    let told: Vec<String> = rig.told().into_iter().map(|(phone, sign)| format!("{phone} {sign:?}")).collect();
    assert!(told[0].starts_with("chief Ended") && told[1].starts_with("chief Media"), "{told:?}");
    let byes = rig.desk.sent.iter().filter(|(_, message)| method(message) == "BYE");
    let ended: Vec<&str> = byes.filter_map(|(_, bye)| bye.value("call-id")).collect();
    assert_eq!(ended, ["call-1001"]);
    assert_eq!((rig.exchange.in_call().count(), rig.desk.open), (2, 2));
}

#[test]
fn hold_resume_and_another_codec_reach_the_port_and_lift_the_key() {
    let mut rig = Rig::new();
    let mut phone = chief();
    phone.up(&mut rig, "6001", "");
    rig.told();
    let held = OFFER.replace("o=- 1 1", "o=- 1 2") + "a=sendonly\r\n";
    let answer = phone.ask(&mut rig, "INVITE", "sip:192.0.2.1:5060", "", &held);
    assert!(String::from_utf8_lossy(&answer.body).contains("a=recvonly"));
    phone.acknowledge(&mut rig, "");
    let media = rig.media();
    assert!(!media.hears && media.talks);
    let old = OFFER.replace("o=- 1 1", "o=- 1 3").replace("c=IN IP4 192.0.2.50", "c=IN IP4 0.0.0.0");
    phone.ask(&mut rig, "INVITE", "sip:192.0.2.1:5060", "", &old);
    phone.acknowledge(&mut rig, "");
    assert!(!rig.media().hears, "an unspecified address is the old way to say hold");
    let resumed = OFFER.replace("o=- 1 1", "o=- 1 4").replace("0 9 101", "0 101").replace("7000", "7002");
    phone.ask(&mut rig, "UPDATE", "sip:192.0.2.1:5060", "", &resumed);
    let media = rig.media();
    assert!(media.hears && media.payloads[0].format.codec == Codec::Pcmu);
    assert_eq!(media.peer, PeerRule::Static(([192, 0, 2, 50], 7002).into()));
    // Nothing in common: the call goes on as it was.
    let video = OFFER.replace("o=- 1 1", "o=- 1 5").replace("0 9 101", "3");
    assert_eq!(status(&phone.ask(&mut rig, "INVITE", "sip:192.0.2.1:5060", "", &video)), 488);
    assert!(rig.told().is_empty() && rig.exchange.in_call().count() == 1);
}

#[test]
fn an_invitation_without_an_offer_gets_ours_and_its_answer_comes_with_the_ack() {
    let mut rig = Rig::new();
    let mut phone = chief();
    let answer = phone.call(&mut rig, "6001", "", "");
    let ours = String::from_utf8(answer.body).unwrap();
    assert!(ours.contains("opus/48000/2") && ours.contains("telephone-event/8000"), "{ours}");
    assert!(rig.told().is_empty(), "nothing is agreed yet");
    phone.acknowledge(&mut rig, OFFER);
    assert_eq!(rig.desk.handed_over, 1);
    assert_eq!(rig.media().payloads[0].format.codec, Codec::Pcmu, "its own choice");

    phone.anew("without-answer");
    phone.call(&mut rig, "6001", "", "");
    let sent = phone.acknowledge(&mut rig, "");
    assert_eq!(method(&sent[0]), "BYE");
    assert_eq!(rig.exchange.in_call().count(), 0);
    assert_eq!(rig.desk.open, 0);
}

#[test]
fn a_star_keys_and_a_hash_lets_go_in_every_way_an_info_says_it() {
    let mut rig = Rig::new();
    let mut phone = chief();
    phone.up(&mut rig, "6001", "");
    rig.told();
    for (kind, body, expected) in [
        ("application/dtmf-relay", "Signal=*\r\nDuration=160\r\n", Some(true)),
        ("application/dtmf-relay", "Signal= 11\nDuration=160", Some(false)),
        ("application/dtmf", "*", Some(true)),
        ("Application/DTMF; x=y", "#\r\n", Some(false)),
        ("application/dtmf-relay", "Signal=5\r\n", None),
    ] {
        let lines = format!("Content-Type: {kind}\r\n");
        assert_eq!(status(&phone.ask(&mut rig, "INFO", "sip:192.0.2.1:5060", &lines, body)), 200);
        let told = rig.told().pop().map(|(_, sign)| sign);
        assert_eq!(told, expected.map(PhoneSign::Key), "{kind} {body}");
    }
    let answer = phone.ask(&mut rig, "INFO", "sip:192.0.2.1:5060", "Content-Type: application/x\r\n", "*");
    assert_eq!((status(&answer), rig.told().len()), (415, 0));
}

#[test]
fn what_is_lost_is_said_again_and_what_comes_again_is_answered_again_and_done_once() {
    let mut rig = Rig::new();
    let mut phone = chief();
    phone.register(&mut rig, 60);
    let answer = phone.call(&mut rig, "6001", "", OFFER);
    rig.told();
    // No ACK: at 0.5 s, 1.5, 3.5, 7.5 and so on.
    let repeated = rig.pass(8_000);
    assert_eq!(repeated.iter().filter(|message| **message == answer).count(), 4);
    phone.acknowledge(&mut rig, "");
    assert!(rig.pass(8_000).is_empty());

    let bye = phone.request("BYE", "sip:192.0.2.1:5060", "", "");
    let first = rig.give(bye.as_bytes(), phone.source);
    let second = rig.give(bye.as_bytes(), phone.source);
    assert_eq!((status(&first[0]), &first), (200, &second));
    assert_eq!(rig.told().len(), 1, "it ended once");
    assert_eq!(status(&phone.ask(&mut rig, "BYE", "sip:192.0.2.1:5060", "", "")), 481);
    // An INVITE that comes again after its answer was lost is not another call.
    phone.anew("lost");
    phone.call(&mut rig, "6001", "", OFFER);
    assert_eq!(rig.exchange.in_call().count(), 1);
}

#[test]
fn a_call_nobody_acknowledges_and_a_phone_that_is_gone_are_hung_up_on_and_silence_alone_is_not() {
    let mut rig = Rig::new();
    let mut phone = chief();
    phone.call(&mut rig, "6001", "", OFFER);
    let sent = rig.pass(33_000);
    assert_eq!(method(sent.iter().find(|message| message.method().is_some()).unwrap()), "BYE");
    assert_eq!(rig.exchange.counters().calls_ended.get(&CallEnd::Unacknowledged), Some(&1));
    rig.pass(60_000);

    phone.anew("there");
    phone.up(&mut rig, "6001", "");
    // It says nothing for an hour, but answers when it is asked.
    for _ in 0..120 {
        let asked = rig.pass(30_100);
        let ping = asked.iter().find(|message| method(message) == "OPTIONS").expect("it is asked");
        let answer = answer_to(ping, 200);
        rig.give(answer.as_bytes(), phone.source);
    }
    assert_eq!(rig.exchange.in_call().count(), 1, "silence never ends a call");
    rig.pass(30_100 + 32_100);
    assert_eq!(rig.exchange.in_call().count(), 0);
    assert_eq!(rig.exchange.counters().calls_ended.get(&CallEnd::Gone), Some(&1));

    phone.anew("forgotten");
    phone.up(&mut rig, "6001", "");
    let asked = rig.pass(30_100);
    rig.give(answer_to(&asked[0], 481).as_bytes(), phone.source);
    assert_eq!(rig.exchange.in_call().count(), 0, "it says that it knows no such call");
}

/// A bare answer to a request of the exchange's.
fn answer_to(request: &Message, status: u16) -> String {
    let of = |name| request.value(name).unwrap();
    format!(
        "SIP/2.0 {status} x\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\nContent-Length: 0\r\n\r\n",
        of("via"),
        of("from"),
        of("to"),
        of("call-id"),
        of("cseq")
    )
}

#[test]
fn a_session_is_refreshed_by_whoever_said_so_or_ends() {
    let mut rig = Rig::new();
    let mut phone = chief();
    let timer = "Supported: timer\r\nAllow: INVITE, ACK, BYE, UPDATE\r\n";
    let answer = phone.call(&mut rig, "6001", &format!("{timer}Session-Expires: 60\r\n"), OFFER);
    assert_eq!((status(&answer), answer.value("min-se")), (422, Some("90")));
    assert_eq!(rig.desk.open, 0);

    // The phone refreshes.
    let answer = phone.up(&mut rig, "6001", &format!("{timer}Session-Expires: 90\r\n"));
    assert_eq!((answer.value("session-expires"), answer.value("require")), (Some("90;refresher=uac"), Some("timer")));
    rig.pass(50_000);
    let refresh = format!("{timer}Session-Expires: 90;refresher=uac\r\n");
    assert_eq!(status(&phone.ask(&mut rig, "UPDATE", "sip:192.0.2.1:5060", &refresh, "")), 200);
    rig.told();
    for _ in 0..2 {
        let sent = rig.pass(30_000);
        sent.iter()
            .filter(|m| method(m) == "OPTIONS")
            .for_each(|ping| drop(rig.give(answer_to(ping, 200).as_bytes(), phone.source)));
    }
    assert_eq!(rig.exchange.in_call().count(), 0, "60 s after its refresh, 30 s before its end");
    assert_eq!(rig.exchange.counters().calls_ended.get(&CallEnd::Expired), Some(&1));

    // We refresh.
    phone.anew("ours");
    let answer = phone.up(&mut rig, "6001", &format!("{timer}Session-Expires: 100;refresher=uas\r\n"));
    assert_eq!(answer.value("session-expires"), Some("100;refresher=uas"));
    let mut refreshed = 0;
    for _ in 0..500 {
        for asked in rig.pass(1_000).iter().filter(|message| message.value("call-id") == Some("ours")) {
            refreshed += u32::from(method(asked) == "UPDATE");
            assert!(method(asked) == "OPTIONS" || asked.value("session-expires") == Some("100;refresher=uac"));
            rig.give(answer_to(asked, 200).as_bytes(), phone.source);
        }
    }
    assert!((9..=10).contains(&refreshed), "{refreshed} in 500 s");
    assert_eq!(rig.exchange.in_call().count(), 1);
}

#[test]
fn what_is_not_ours_to_do_is_refused_by_its_own_name() {
    let mut rig = Rig::new();
    let mut phone = chief();
    let answer = phone.call(&mut rig, "6001", "Require: 100rel, timer\r\n", OFFER);
    assert_eq!((status(&answer), answer.value("unsupported")), (420, Some("100rel")));
    assert_eq!(status(&phone.call(&mut rig, "6001", "Content-Type: text/plain\r\n", "hello")), 415);
    assert_eq!(status(&phone.call(&mut rig, "6001", "", "v=1\r\n")), 400);
    phone.up(&mut rig, "6001", "");
    let mut ask = |method: &str, lines: &str| {
        let answer = phone.ask(&mut rig, method, "sip:192.0.2.1:5060", lines, "");
        (status(&answer), answer.value("allow").is_some())
    };
    assert_eq!(ask("REFER", "Refer-To: <sip:911@x>\r\n"), (603, false));
    assert_eq!(ask("MESSAGE", ""), (405, true));
    assert_eq!(ask("DANCE", ""), (501, true));
    assert_eq!(ask("OPTIONS", ""), (200, true));
    let cancel = phone.ask(&mut rig, "CANCEL", "sip:6001@192.0.2.1", "", "");
    assert_eq!(status(&cancel), 481);
    assert_eq!(rig.exchange.in_call().count(), 1);
    // From elsewhere, with the names of the call but not both tags.
    let mut thief = chief();
    thief.to_tag = Some("guessed".to_owned());
    assert_eq!(status(&thief.ask(&mut rig, "BYE", "sip:192.0.2.1:5060", "", "")), 481);
    assert_eq!(rig.exchange.in_call().count(), 1);
}

#[test]
fn an_overtaken_request_is_refused_and_changes_nothing() {
    let mut rig = Rig::new();
    let mut phone = chief();
    phone.up(&mut rig, "6001", "");
    let late = phone.request("BYE", "sip:192.0.2.1:5060", "", "");
    phone.ask(&mut rig, "OPTIONS", "sip:192.0.2.1:5060", "", "");
    assert_eq!(status(&rig.give(late.as_bytes(), phone.source)[0]), 500);
    assert_eq!(rig.exchange.in_call().count(), 1);
}

#[test]
fn a_daemon_that_stops_says_goodbye_to_every_phone() {
    let mut rig = Rig::new();
    chief().up(&mut rig, "6001", "");
    Phone::new("1002", "pw-1002").up(&mut rig, "6001", "");
    rig.told();
    let mut acts = Vec::new();
    rig.exchange.hang_up(None, rig.now, &mut acts);
    let sent = rig.note(acts);
    assert!(
        sent.len() == 2
            && sent.iter().all(|message| matches!(&message.start, Start::Request { method, .. } if method == "BYE"))
    );
    assert!(rig.told().iter().all(|(_, sign)| *sign == PhoneSign::Ended));
    assert_eq!(rig.desk.open, 0);
}
