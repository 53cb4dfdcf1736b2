//! What calls are promised over `kill -9`: whoever is still there goes on talking to the same call, whoever is not is hung
//! up on, and nothing is kept of what is over. Without sockets.

use crosspatch::domain::call::PhoneSign;
use crosspatch::domain::configuration::MediaSecurity;
use crosspatch::sip::call::CallEnd;
use crosspatch::sip::digest::Algorithm;
use crosspatch::sip::flow::{Flow, Transport};
use crosspatch::sip::message::Message;
use crosspatch::sip::sdes::CryptoLine;
use crosspatch::wire::srtp::{MasterKey, Suite};

use crate::phone::{HERE, OFFER, Phone, Rig, status};
use crate::{answer_to, chief, method};

const URI: &str = "sip:192.0.2.1:5060";

fn of_call<'a>(sent: &'a [Message], call_id: &'a str) -> Vec<&'a Message> {
    sent.iter().filter(|message| message.value("call-id") == Some(call_id)).collect()
}

/// So much time passes (ms) and whatever is asked is answered; the highest number of a request.
fn answer_pings(rig: &mut Rig, phone: &Phone, ms: u64) -> Option<u32> {
    let mut highest = None;
    for _ in 0..ms / 1_000 {
        for ping in rig.pass(1_000) {
            highest = highest.max(ping.cseq());
            rig.give(answer_to(&ping, 200).as_bytes(), phone.source);
        }
    }
    highest
}

#[test]
fn a_call_goes_on_over_a_restart_with_its_media_and_its_phone_is_asked_at_once_and_needs_no_password() {
    let mut rig = Rig::new();
    let mut phone = chief();
    phone.register(&mut rig, 600);
    phone.up(&mut rig, "6001", "");
    let held = OFFER.replace("o=- 1 1", "o=- 1 2").replace("7000", "7002") + "a=sendonly\r\n";
    phone.ask(&mut rig, "INVITE", URI, "", &held);
    phone.acknowledge(&mut rig, "");
    let media = rig.media();
    let before = answer_pings(&mut rig, &phone, 100_000).expect("it was asked");

    rig.restart(true, true);
    assert_eq!(rig.told(), [("chief".to_owned(), PhoneSign::Media(media))]);
    assert_eq!((rig.desk.open, rig.desk.handed_over, rig.exchange.counters().calls_resumed), (1, 1, 1));
    let asked = rig.pass(200);
    assert_eq!(asked.iter().map(method).collect::<Vec<_>>(), ["OPTIONS"]);
    assert!(asked[0].cseq().unwrap() > before, "a number that was used");
    rig.give(answer_to(&asked[0], 200).as_bytes(), phone.source);

    // It goes on as if nothing had been: digits, a change, a second restart, its end.
    let star = "Content-Type: application/dtmf\r\n";
    assert_eq!(status(&phone.ask(&mut rig, "INFO", URI, star, "*")), 200);
    assert_eq!(rig.told(), [("chief".to_owned(), PhoneSign::Key(true))]);
    let resumed = OFFER.replace("o=- 1 1", "o=- 1 3");
    let answer = phone.ask(&mut rig, "INVITE", URI, "", &resumed);
    assert!(String::from_utf8_lossy(&answer.body).contains("m=audio 40000 RTP/AVP 9 0 101"));
    rig.restart(true, true);
    assert!(rig.media().hears, "what it was at last");
    assert_eq!(status(&phone.ask(&mut rig, "BYE", URI, "", "")), 200);
    assert_eq!(rig.told(), [("chief".to_owned(), PhoneSign::Ended)]);
    assert!(rig.kept.is_empty());
}

#[test]
fn nothing_is_kept_of_a_call_that_is_over_or_has_no_media_yet() {
    let mut rig = Rig::new();
    let mut phone = chief();
    phone.call(&mut rig, "6001", "", "");
    assert!(rig.kept.is_empty(), "it waits for its answer");
    phone.acknowledge(&mut rig, OFFER);
    assert_eq!(rig.kept.len(), 1);
    phone.anew("again");
    phone.up(&mut rig, "6001", "");
    assert_eq!(rig.kept.len(), 1, "the old call is over");
    let mut acts = Vec::new();
    rig.exchange.hang_up(None, rig.now, &mut acts);
    rig.note(acts);
    assert!(rig.kept.is_empty());
}

#[test]
fn what_cannot_go_on_is_hung_up_on_and_leaves_nothing() {
    // Too late, its phone is gone, or its ports are taken.
    for (may, is_free, has_place) in [(false, true, true), (true, false, true), (true, true, false)] {
        let mut rig = Rig::new();
        let mut phone = chief();
        phone.up(&mut rig, "6001", "");
        if !has_place {
            rig.setting.places.retain(|place| place.user != "1001");
        }
        let sent = rig.restart(may, is_free);
        let [bye] = &of_call(&sent, "call-1001")[..] else { panic!("{sent:?}") };
        assert_eq!((method(bye), bye.value("to")), ("BYE", Some("\"1001\" <sip:1001@192.0.2.1>;tag=from-1001")));
        assert!(rig.told().is_empty() && rig.kept.is_empty());
        assert_eq!(rig.exchange.counters().calls_ended.get(&CallEnd::Restarted), Some(&1));
        assert_eq!(status(&phone.ask(&mut rig, "INFO", URI, "", "")), 481);
    }
}

#[test]
fn of_two_records_of_one_phone_one_goes_on() {
    let mut rig = Rig::new();
    let mut phone = chief();
    phone.up(&mut rig, "6001", "");
    let old = rig.kept.clone();
    phone.anew("second");
    phone.up(&mut rig, "6001", "");
    // Killed before the first was taken off the disk.
    rig.kept.extend(old);
    let sent = rig.restart(true, true);
    assert_eq!(sent.iter().map(method).collect::<Vec<_>>(), ["BYE"]);
    assert_eq!((rig.exchange.in_call().count(), rig.told().len(), rig.kept.len()), (1, 1, 1));
}

#[test]
fn a_phone_that_knows_its_call_no_more_or_does_not_answer_has_it_ended() {
    for answer in [Some(481), None] {
        let mut rig = Rig::new();
        let mut phone = chief();
        phone.up(&mut rig, "6001", "");
        rig.restart(true, true);
        let asked = rig.pass(200);
        match answer {
            Some(status) => drop(rig.give(answer_to(&asked[0], status).as_bytes(), phone.source)),
            None => drop(rig.pass(33_000)),
        }
        assert_eq!(rig.told().last(), Some(&("chief".to_owned(), PhoneSign::Ended)));
        assert!(rig.kept.is_empty());
    }
}

#[test]
fn a_session_that_is_ours_to_refresh_is_refreshed_at_once_and_theirs_has_its_time() {
    let timer = "Supported: timer\r\nAllow: INVITE, ACK, BYE, UPDATE\r\n";
    for (refresher, asked) in [("uas", "UPDATE"), ("uac", "OPTIONS")] {
        let mut rig = Rig::new();
        let mut phone = chief();
        phone.up(&mut rig, "6001", &format!("{timer}Session-Expires: 1800;refresher={refresher}\r\n"));
        rig.restart(true, true);
        let sent = rig.pass(200);
        assert_eq!(sent.iter().map(method).collect::<Vec<_>>(), [asked]);
        rig.give(answer_to(&sent[0], 200).as_bytes(), phone.source);
        answer_pings(&mut rig, &phone, 31_000);
        assert_eq!(rig.exchange.in_call().count(), 1, "{refresher}");
    }
}

#[test]
fn an_encrypted_call_goes_on_under_its_keys_and_its_record_says_how_long_they_may_have_been_in_use() {
    let mut rig = Rig::encrypting(&[Algorithm::Md5], MediaSecurity::Required, true);
    let mut phone = chief();
    let suite = Suite::AeadAes256Gcm;
    let key = MasterKey::new(suite, &vec![9; suite.key_bytes() + suite.salt_bytes()]).unwrap();
    let line = CryptoLine { tag: 1, key, lifetime_packets: 1 << 48 };
    let crypto = format!("a=crypto:{}\r\n", line.to_value().as_str());
    phone.call(&mut rig, "6001", "", &(OFFER.replace("RTP/AVP", "RTP/SAVP") + &crypto));
    phone.acknowledge(&mut rig, "");
    let keys = rig.desk.protection.clone().expect("it is encrypted");
    answer_pings(&mut rig, &phone, 3_000_000);
    rig.restart(true, true);
    assert_eq!(rig.desk.protection.as_ref(), Some(&keys));
    // 3,000 s: at a packet each 10 ms 300,000 of them, at each roll-over 65,536.
    assert_eq!(rig.desk.roll_overs_most, 5);
}

#[test]
fn over_a_connection_a_call_waits_for_its_phone_to_come_back_and_is_over_if_it_does_not() {
    for comes_back in [true, false] {
        let over = |port| Flow { transport: Transport::Tcp, remote: ([192, 0, 2, 50], port).into(), local: HERE };
        let mut rig = Rig::new();
        rig.over = Some(over(40_000));
        let mut phone = Phone::new("1001", "pw-1001");
        phone.up(&mut rig, "6001", "");
        rig.restart(true, true);
        assert_eq!(rig.told().len(), 1, "its speech goes on meanwhile");
        assert!(rig.pass(20_000).is_empty(), "nothing can be asked");
        if comes_back {
            rig.over = Some(over(40_001));
            phone.anew("registration");
            phone.register(&mut rig, 600);
            let asked = rig.pass(31_000);
            assert!(asked.iter().all(|message| method(message) == "OPTIONS") && !asked.is_empty());
            assert!(rig.desk.flows.iter().all(|flow| *flow == over(40_001)));
        } else {
            rig.pass(13_000);
            assert_eq!(rig.told().last(), Some(&("chief".to_owned(), PhoneSign::Ended)));
        }
        assert_eq!((rig.exchange.in_call().count(), rig.kept.len()), if comes_back { (1, 1) } else { (0, 0) });
    }
}
