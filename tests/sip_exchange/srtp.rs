//! What phones are promised of encryption: keys go only where the configuration lets them, calls are encrypted as it
//! says, and a change of keys is one change for both ends. Without sockets.

use crosspatch::domain::configuration::{MediaSecurity, PathClass};
use crosspatch::sip::digest::Algorithm;
use crosspatch::sip::offer::Protection;
use crosspatch::sip::sdes::CryptoLine;
use crosspatch::wire::srtp::{MasterKey, Suite};

use crate::phone::{OFFER, Phone, Rig, status};

fn rig(srtp: MediaSecurity, keys_in_clear: bool) -> Rig {
    Rig::encrypting(&[Algorithm::Md5], srtp, keys_in_clear)
}

fn chief() -> Phone {
    Phone::new("1001", "pw-1001")
}

fn key(suite: Suite, secret: u8) -> MasterKey {
    MasterKey::new(suite, &vec![secret; suite.key_bytes() + suite.salt_bytes()]).unwrap()
}

/// An offer with these keys, its tags from 3.
fn offer(secure: bool, keys: &[MasterKey]) -> String {
    let lines = keys.iter().zip(3..).map(|(key, tag)| {
        let line = CryptoLine { tag, key: key.clone(), lifetime_packets: 1 << 48 };
        format!("a=crypto:{}\r\n", line.to_value().as_str())
    });
    let profile = if secure { "RTP/SAVP" } else { "RTP/AVP" };
    OFFER.replace("RTP/AVP", profile) + &lines.collect::<String>()
}

fn answered_line(body: &[u8]) -> Option<CryptoLine> {
    let text = String::from_utf8(body.to_vec()).unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("a=crypto:"));
    let line = lines.next().map(|value| CryptoLine::parse(value).unwrap());
    assert!(lines.next().is_none(), "an answer chooses one key");
    line
}

/// Calls with this offer; what it was answered and what media was told.
fn call(rig: &mut Rig, phone: &mut Phone, body: &str) -> Result<(Option<CryptoLine>, Option<Protection>), u16> {
    let answer = phone.call(rig, "6001", "", body);
    if status(&answer) != 200 {
        return Err(status(&answer));
    }
    phone.acknowledge(rig, "");
    Ok((answered_line(&answer.body), rig.desk.protection.clone()))
}

#[test]
fn every_suite_is_agreed_on_under_its_offers_tag_and_both_ends_hold_the_same_keys() {
    for suite in Suite::ALL {
        for secure in [false, true] {
            let (mut rig, mut phone) = (rig(MediaSecurity::Optional, true), chief());
            let theirs = key(suite, 9);
            let (line, told) = call(&mut rig, &mut phone, &offer(secure, std::slice::from_ref(&theirs))).unwrap();
            let (line, told) = (line.unwrap(), told.unwrap());
            assert_eq!((line.tag, line.key.suite()), (3, suite));
            assert_eq!((told.send, told.receive), (line.key, theirs), "{suite:?}");
            assert_eq!(rig.media().path, PathClass::Open, "whoever read the keys can listen");
        }
    }
}

#[test]
fn keys_do_not_cross_signalling_that_others_read_unless_the_configuration_says_so() {
    let keys = [key(Suite::AesCm128HmacSha1_80, 9)];
    let (mut rig, mut phone) = (rig(MediaSecurity::Optional, false), chief());
    let answer = phone.call(&mut rig, "6001", "", &offer(true, &keys));
    assert_eq!(status(&answer), 488);
    assert!(answer.value("warning").unwrap().contains("unencrypted signalling"));
    assert_eq!((rig.desk.open, rig.exchange.in_call().count()), (0, 0));
    phone.anew("best-effort");
    let (line, told) = call(&mut rig, &mut phone, &offer(false, &keys)).unwrap();
    assert_eq!((line, told), (None, None), "the call goes on without");
    phone.anew("late");
    let ours = phone.call(&mut rig, "6001", "", "");
    assert!(!String::from_utf8(ours.body).unwrap().contains("crypto"));
}

#[test]
fn a_place_that_must_encrypt_has_no_call_in_the_clear_and_one_that_must_not_has_none_that_is_encrypted() {
    let keys = [key(Suite::AeadAes256Gcm, 9)];
    let (mut must, mut phone) = (rig(MediaSecurity::Required, true), chief());
    assert_eq!(call(&mut must, &mut phone, OFFER), Err(488));
    assert_eq!(call(&mut must, &mut phone, &offer(true, &[])), Err(488));
    phone.anew("with-keys");
    assert!(call(&mut must, &mut phone, &offer(false, &keys)).unwrap().1.is_some());
    // Nor can a call that is up leave its keys behind: it stays as it was.
    let bare = OFFER.replace("o=- 1 1", "o=- 1 2");
    assert_eq!(status(&phone.ask(&mut must, "INVITE", "sip:192.0.2.1:5060", "", &bare)), 488);
    assert!(must.desk.protection.is_some() && must.exchange.in_call().count() == 1);

    let (mut must_not, mut phone) = (rig(MediaSecurity::Never, true), chief());
    assert_eq!(call(&mut must_not, &mut phone, &offer(true, &keys)), Err(488));
    phone.anew("in-clear");
    assert_eq!(call(&mut must_not, &mut phone, &offer(false, &keys)), Ok((None, None)));
}

#[test]
fn a_change_keeps_our_key_and_takes_theirs_and_without_keys_encryption_ends() {
    let suite = Suite::AesCm128HmacSha1_32;
    let (mut rig, mut phone) = (rig(MediaSecurity::Optional, true), chief());
    let first = call(&mut rig, &mut phone, &offer(false, &[key(suite, 1)])).unwrap().1.unwrap();
    let mut change = |version: u32, body: &str, rig: &mut Rig| {
        let body = body.replace("o=- 1 1", &format!("o=- 1 {version}"));
        let answer = phone.ask(rig, "INVITE", "sip:192.0.2.1:5060", "", &body);
        assert_eq!(status(&answer), 200);
        phone.acknowledge(rig, "");
        rig.desk.protection.clone()
    };
    let held = offer(false, &[key(suite, 1)]) + "a=sendonly\r\n";
    assert_eq!(change(2, &held, &mut rig).unwrap(), first, "hold changes no key");
    let second = change(3, &offer(false, &[key(suite, 2)]), &mut rig).unwrap();
    assert_eq!((second.send, second.receive), (first.send.clone(), key(suite, 2)));
    let other = Suite::AeadAes128Gcm;
    let third = change(4, &offer(false, &[key(other, 3)]), &mut rig).unwrap();
    assert_eq!((third.send.suite(), third.receive), (other, key(other, 3)));
    assert_eq!(change(5, OFFER, &mut rig), None);
    let again = change(6, &offer(false, &[key(suite, 4)]), &mut rig).unwrap();
    assert_ne!(again.send, first.send, "a key that was left is not used again");
}

#[test]
fn our_own_offer_has_a_key_for_each_suite_and_the_answer_takes_one() {
    let (mut rig, mut phone) = (rig(MediaSecurity::Optional, true), chief());
    let ours = String::from_utf8(phone.call(&mut rig, "6001", "", "").body).unwrap();
    let lines: Vec<CryptoLine> =
        ours.lines().filter_map(|l| l.strip_prefix("a=crypto:")).map(|v| CryptoLine::parse(v).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line.key.suite()).collect::<Vec<_>>(), Suite::ALL);
    let chosen = &lines[2];
    let theirs = CryptoLine { key: key(chosen.key.suite(), 5), ..chosen.clone() };
    phone.acknowledge(&mut rig, &format!("{OFFER}a=crypto:{}\r\n", theirs.to_value().as_str()));
    let told = rig.desk.protection.clone().unwrap();
    assert_eq!((told.send, told.receive), (chosen.key.clone(), theirs.key));
}

#[test]
fn no_two_calls_share_a_key_and_none_is_shown() {
    let suite = Suite::AesCm128HmacSha1_80;
    let mut rig = rig(MediaSecurity::Optional, true);
    let mut seen = Vec::new();
    for number in 0..5 {
        let mut phone = chief();
        phone.anew(&format!("call-{number}"));
        let (line, told) = call(&mut rig, &mut phone, &offer(true, &[key(suite, 1)])).unwrap();
        let (line, told) = (line.unwrap(), told.unwrap());
        let shown = format!("{line:?} {told:?} {:?}", rig.told());
        assert!(shown.contains("not shown") && !shown.contains(&format!("{:?}", &line.key.expose()[..4])), "{shown}");
        assert!(!seen.contains(&line.key));
        seen.push(line.key);
    }
}
