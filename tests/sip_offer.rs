//! Offers and answers (RFC 3264) between two of ours, and with phones as they write.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::net::SocketAddr;

use crosspatch::domain::audio::{Codec, Format};
use crosspatch::domain::configuration::{MediaSecurity, PathClass};
use crosspatch::domain::port::ExtensionIds;
use crosspatch::domain::random::Entropy;
use crosspatch::sip::offer::{AgreedMedia, LocalMedia, MediaRefusal, MediaRules, Negotiation, SECRETS_BYTES, Secrets};
use crosspatch::sip::sdes::CryptoFault;
use crosspatch::sip::sdp::{Description, Direction, Line, SDP_BYTES_MAX, SdpFault, SdpLimit};
use zeroize::Zeroizing;

use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};

fn rules() -> MediaRules {
    let formats = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma, Codec::L16].map(Format::usual).to_vec();
    MediaRules {
        formats,
        security: MediaSecurity::Never,
        keys_may_cross: true,
        rtcp_mux: true,
        extensions: ExtensionIds { level: Some(1), keying: None, talker: None },
        events_needed: false,
    }
}

fn secured(security: MediaSecurity) -> MediaRules {
    MediaRules { security, ..rules() }
}

fn only(codec: Codec) -> MediaRules {
    MediaRules { formats: vec![Format::usual(codec)], ..rules() }
}

fn secrets(seed: u64) -> Secrets {
    let mut entropy = Entropy::new(seed);
    Secrets::new(Zeroizing::new(std::array::from_fn::<u8, SECRETS_BYTES, _>(|_| entropy.next_u32() as u8)))
}

fn call(port: u16) -> Negotiation {
    let rtp: SocketAddr = format!("192.0.2.1:{port}").parse().unwrap();
    let rtcp = SocketAddr::new(rtp.ip(), port + 1);
    Negotiation::new(u64::from(port), LocalMedia { rtp, rtcp })
}

/// One calls, one is called; what each believes.
fn agree(
    a: &mut Negotiation,
    ours: &MediaRules,
    b: &mut Negotiation,
    theirs: &MediaRules,
) -> (AgreedMedia, AgreedMedia) {
    let offer = a.offer(SendRecv, ours, &secrets(1)).unwrap();
    let (answer, called) = b.answer(offer.as_str().as_bytes(), SendRecv, theirs, &secrets(2)).unwrap();
    let called = called.clone();
    (a.answered(answer.as_str().as_bytes()).unwrap().clone(), called)
}

/// A phone's description around one audio line.
fn phone(line: &str, attributes: &[&str]) -> String {
    let mut text =
        format!("v=0\r\no=- 7 1 IN IP4 198.51.100.9\r\ns=x\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\nm={line}\r\n");
    for attribute in attributes {
        text += &format!("a={attribute}\r\n");
    }
    text
}

fn answered(phone: &str, rules: &MediaRules) -> Result<(String, AgreedMedia), MediaRefusal> {
    let mut call = call(4000);
    let (text, agreed) = call.answer(phone.as_bytes(), SendRecv, rules, &secrets(3))?;
    Ok((text.as_str().to_owned(), agreed.clone()))
}

const KEY: &str = "inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";

#[test]
fn two_of_ours_agree_on_the_best_of_both_and_on_each_others_address() {
    let (mut a, mut b) = (call(4000), call(5000));
    let (caller, called) = agree(&mut a, &rules(), &mut b, &rules());
    assert_eq!((caller.send, &caller.receive), (called.send, &called.receive));
    assert_eq!((caller.send.number, caller.send.format), (111, Format::usual(Codec::Opus)));
    assert_eq!(caller.receive.len(), 5, "any of the five may come");
    assert_eq!(caller.peer, Some("192.0.2.1:5000".parse().unwrap()));
    assert_eq!(called.peer, Some("192.0.2.1:4000".parse().unwrap()));
    assert_eq!((caller.rtcp_mux, caller.peer_rtcp), (true, caller.peer));
    assert_eq!((caller.direction, called.direction), (SendRecv, SendRecv));
    assert_eq!(caller.extensions, rules().extensions);
    assert_eq!((caller.events[0].number, caller.events[0].clock_hz), (100, 48_000), "in the clock of what is sent");
    assert_eq!(caller.protection, None);
    let worse = MediaRules { rtcp_mux: false, ..only(Codec::Pcma) };
    let (caller, _) = agree(&mut call(4000), &rules(), &mut call(5000), &worse);
    assert_eq!((caller.send.number, caller.receive.len()), (8, 1));
    assert_eq!(caller.peer_rtcp, Some("192.0.2.1:5001".parse().unwrap()));
    assert_eq!(caller.events[0].clock_hz, 8000);
}

#[test]
fn an_offer_says_what_it_must_and_reads_back() {
    let mut call = Negotiation::new(
        9,
        LocalMedia { rtp: "[2001:db8::1]:4000".parse().unwrap(), rtcp: "[2001:db8::1]:4444".parse().unwrap() },
    );
    let offer = call.offer(SendOnly, &rules(), &secrets(1)).unwrap();
    for line in [
        "o=- 4 1 IN IP6 2001:db8::1",
        "c=IN IP6 2001:db8::1",
        "m=audio 4000 RTP/AVP 111 9 0 8 96 101 100 99",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 useinbandfec=1",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:96 L16/16000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=rtcp:4444 IN IP6 2001:db8::1",
        "a=rtcp-mux",
        "a=sendonly",
    ] {
        assert!(
            offer.as_str().split("\r\n").any(|written| written == line),
            "{line:?} is missing in\n{}",
            offer.as_str()
        );
    }
    let read = Description::parse(offer.as_str().as_bytes()).unwrap();
    let (at, audio) = read.audio().next().unwrap();
    assert_eq!((at, audio.payloads.len(), audio.events.len(), audio.direction), (0, 5, 3, SendOnly));
    assert_eq!(audio.rtcp, Some("[2001:db8::1]:4444".parse().unwrap()));
}

#[test]
fn wide_band_with_a_clock_of_8_000_is_g722_and_with_16_000_is_nothing() {
    for (attributes, expected) in [
        (&[][..], true),
        (&["rtpmap:9 G722/8000"][..], true),
        (&["rtpmap:9 g722/8000/1"], true),
        (&["rtpmap:9 G722/16000"], false),
    ] {
        let got = answered(&phone("audio 6000 RTP/AVP 9", attributes), &rules());
        match expected {
            true => assert_eq!(got.unwrap().1.send.format, Format::usual(Codec::G722)),
            false => assert_eq!(got.unwrap_err(), MediaRefusal::NoCodec),
        }
    }
}

#[test]
fn an_answer_keeps_the_phones_numbers_and_takes_our_order() {
    let offer = phone(
        "audio 6000 RTP/AVP 0 8 97 101 13 72",
        &["rtpmap:97 opus/48000/2", "rtpmap:101 telephone-event/8000", "fmtp:101 0-15", "rtpmap:72 PCMA/8000"],
    );
    let (text, agreed) = answered(&offer, &rules()).unwrap();
    assert!(text.contains("m=audio 4000 RTP/AVP 97 0 8 101\r\n"), "{text}");
    assert_eq!((agreed.send.number, agreed.events[0].number), (97, 101));
    assert!(!text.contains("rtcp-mux") && !text.contains("extmap"), "nothing that was not offered");
}

#[test]
fn packet_time_follows_the_phone_within_what_we_make_and_a_datagram_holds() {
    let ms = |attributes: &[&str], rules: &MediaRules| {
        let all: Vec<_> = attributes.iter().copied().chain(["rtpmap:96 L16/48000"]).collect();
        let line = if rules.formats[0].codec == Codec::L16 { "audio 6000 RTP/AVP 96" } else { "audio 6000 RTP/AVP 0" };
        answered(&phone(line, &all), rules).unwrap().1.send.format.packet_ms
    };
    let plain = rules();
    for (attributes, expected) in [
        (&[][..], 20),
        (&["ptime:10"][..], 10),
        (&["ptime:30"], 20),
        (&["ptime:60"], 60),
        (&["ptime:200"], 60),
        (&["ptime:40", "maxptime:20"], 20),
        (&["maxptime:10"], 10),
        (&["ptime:0"], 20),
        (&["ptime:20.0"], 20),
    ] {
        assert_eq!(ms(attributes, &plain), expected, "{attributes:?}");
    }
    let wide = MediaRules { formats: vec![Format { clock_hz: 48_000, ..Format::usual(Codec::L16) }], ..rules() };
    assert_eq!(ms(&["ptime:20"], &wide), 10, "20 ms would not fit");
}

#[test]
fn what_is_not_audio_is_answered_in_its_place_with_port_0() {
    let offer = "v=0\r\no=- 7 1 IN IP4 198.51.100.9\r\ns=x\r\nt=0 0\r\n\
        m=video 7000 RTP/AVP 31 34\r\nc=IN IP4 198.51.100.9\r\n\
        m=audio 6000 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 198.51.100.9\r\n\
        m=audio 6002 RTP/AVP 0\r\nc=IN IP4 198.51.100.10\r\n\
        m=audio 6004 RTP/AVP 0\r\nc=IN IP4 198.51.100.10\r\n\
        m=application 0 UDP/BFCP *\r\n";
    let mut ours = call(4000);
    let (text, agreed) = ours.answer(offer.as_bytes(), SendRecv, &rules(), &secrets(1)).unwrap();
    assert_eq!(agreed.peer, Some("198.51.100.10:6002".parse().unwrap()));
    let lines: Vec<_> = text.as_str().lines().filter(|line| line.starts_with("m=")).collect();
    let expected = [
        "m=video 0 RTP/AVP 31 34",
        "m=audio 0 UDP/TLS/RTP/SAVPF 0",
        "m=audio 4000 RTP/AVP 0",
        "m=audio 0 RTP/AVP 0",
        "m=application 0 UDP/BFCP *",
    ];
    assert_eq!(lines, expected);
    // A later offer of ours keeps all places (RFC 3264 section 8).
    let hold = ours.offer(SendOnly, &only(Codec::Pcmu), &secrets(1)).unwrap();
    let lines: Vec<_> = hold.as_str().lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!((lines.len(), lines[0], lines[2]), (5, expected[0], "m=audio 4000 RTP/AVP 0 101"));
    let too_few = phone("audio 6002 RTP/AVP 0", &[]);
    assert_eq!(ours.answered(too_few.as_bytes()), Err(MediaRefusal::Lines));
    let refused = ours.answer(too_few.as_bytes(), SendRecv, &rules(), &secrets(1)).map(|_| ());
    assert_eq!(refused, Err(MediaRefusal::Lines));
}

#[test]
fn hold_in_every_dialect_stops_what_it_says_and_resume_brings_it_back() {
    for (attribute, address, ours, peer_is_known) in [
        ("sendonly", "198.51.100.9", RecvOnly, true),
        ("recvonly", "198.51.100.9", SendOnly, true),
        ("inactive", "198.51.100.9", Inactive, true),
        ("sendrecv", "0.0.0.0", RecvOnly, false),
        ("inactive", "0.0.0.0", Inactive, false),
        ("sendrecv", "hold.invalid", RecvOnly, false),
    ] {
        let mut call = call(4000);
        let talk = phone("audio 6000 RTP/AVP 0", &[]);
        let hold = phone("audio 6000 RTP/AVP 0", &[attribute])
            .replace("IN IP4 198.51.100.9\r\nt", &format!("IN IP4 {address}\r\nt"));
        assert_eq!(call.answer(talk.as_bytes(), SendRecv, &rules(), &secrets(1)).unwrap().1.direction, SendRecv);
        let (text, held) = call.answer(hold.as_bytes(), SendRecv, &rules(), &secrets(1)).unwrap();
        assert_eq!((held.direction, held.peer.is_some()), (ours, peer_is_known), "{attribute} {address}");
        let name = format!("{ours:?}").to_lowercase();
        assert!(text.as_str().contains(&format!("a={name}\r\n")), "{}", text.as_str());
        let (_, back) = call.answer(talk.as_bytes(), SendRecv, &rules(), &secrets(1)).unwrap();
        assert_eq!((back.direction, back.peer.is_some()), (SendRecv, true));
    }
}

#[test]
fn a_line_in_use_stays_in_use_although_another_would_do() {
    let mut call = call(4000);
    let first = phone("audio 6000 RTP/AVP 18", &[]) + "m=audio 6002 RTP/AVP 0\r\n";
    let again = first.replace("6000 RTP/AVP 18", "6000 RTP/AVP 8");
    for offer in [&first, &again] {
        let (text, agreed) = call.answer(offer.as_bytes(), SendRecv, &rules(), &secrets(1)).unwrap();
        assert_eq!(agreed.peer.unwrap().port(), 6002);
        assert!(text.as_str().contains("m=audio 0 RTP/AVP"), "{}", text.as_str());
    }
}

#[test]
fn a_hold_of_ours_is_kept_even_if_the_phone_answers_it_wrongly() {
    for (theirs, ours) in
        [("recvonly", SendOnly), ("sendrecv", SendOnly), ("inactive", Inactive), ("sendonly", Inactive)]
    {
        let mut call = call(4000);
        call.offer(SendOnly, &only(Codec::Pcmu), &secrets(1)).unwrap();
        let answer = phone("audio 6000 RTP/AVP 0", &[theirs]);
        assert_eq!(call.answered(answer.as_bytes()).unwrap().direction, ours, "{theirs}");
    }
}

#[test]
fn a_change_of_codec_keeps_numbers_and_a_failed_change_keeps_the_call() {
    let (mut a, mut b) = (call(4000), call(5000));
    let offer = phone("audio 6000 RTP/AVP 96 0 101", &["rtpmap:96 opus/48000/2", "rtpmap:101 telephone-event/48000"]);
    b.answer(offer.as_bytes(), SendRecv, &rules(), &secrets(1)).unwrap();
    let again = b.offer(SendRecv, &rules(), &secrets(1)).unwrap();
    assert!(again.as_str().contains("RTP/AVP 96 9 0 8 97 "), "96 stays Opus, L16 moves: {}", again.as_str());
    assert!(again.as_str().contains("a=rtpmap:101 telephone-event/48000\r\n"), "{}", again.as_str());
    b.withdraw();

    let (before, _) = agree(&mut a, &rules(), &mut call(5000), &rules());
    a.offer(SendRecv, &only(Codec::Pcma), &secrets(1)).unwrap();
    assert_eq!(a.answered(b"nonsense"), Err(MediaRefusal::Sdp(SdpFault::Form)));
    assert_eq!(a.agreed(), Some(&before), "what was agreed stands");
    a.offer(SendRecv, &only(Codec::Pcma), &secrets(1)).unwrap();
    a.withdraw();
    assert_eq!(a.agreed(), Some(&before));
    a.offer(SendRecv, &only(Codec::Pcma), &secrets(1)).unwrap();
    let changed = a.answered(phone("audio 6000 RTP/AVP 8", &[]).as_bytes()).unwrap();
    assert_eq!((changed.send.number, changed.receive.len()), (8, 1));
}

#[test]
fn an_answer_with_numbers_of_its_own_is_sent_to_under_them_and_heard_under_ours() {
    let mut call = call(4000);
    call.offer(SendRecv, &rules(), &secrets(1)).unwrap();
    let other = phone("audio 6000 RTP/AVP 97 98 0", &["rtpmap:97 opus/48000/2", "rtpmap:98 OPUS/48000/2"]);
    let agreed = call.answered(other.as_bytes()).unwrap();
    let numbers: Vec<_> = agreed.receive.iter().map(|payload| payload.number).collect();
    assert_eq!((agreed.send.number, numbers), (97, vec![111, 0]));
}

#[test]
fn a_late_offer_is_an_offer() {
    let mut called = call(5000);
    let offer = called.offer(SendRecv, &rules(), &secrets(2)).unwrap();
    let mut caller = call(4000);
    let (answer, _) = caller.answer(offer.as_str().as_bytes(), SendRecv, &only(Codec::G722), &secrets(1)).unwrap();
    assert_eq!(called.answered(answer.as_str().as_bytes()).unwrap().send.format.codec, Codec::G722);
}

#[test]
fn nobody_offers_or_answers_out_of_turn() {
    let mut call = call(4000);
    let offer = phone("audio 6000 RTP/AVP 0", &[]);
    assert_eq!(call.answered(offer.as_bytes()), Err(MediaRefusal::NotAwaiting));
    call.offer(SendRecv, &rules(), &secrets(1)).unwrap();
    assert_eq!(call.offer(SendRecv, &rules(), &secrets(1)).map(|_| ()), Err(MediaRefusal::Awaiting));
    let collision = call.answer(offer.as_bytes(), SendRecv, &rules(), &secrets(1)).map(|_| ());
    assert_eq!(collision.map_err(MediaRefusal::status), Err(491));
    call.withdraw();
    assert!(call.answer(offer.as_bytes(), SendRecv, &rules(), &secrets(1)).is_ok());
}

#[test]
fn the_version_rises_with_every_change_and_only_then() {
    let version = |text: &str| text.lines().nth(1).unwrap().split(' ').nth(2).unwrap().parse::<u64>().unwrap();
    let mut call = call(4000);
    let mut say = |wish| {
        let text = call.offer(wish, &rules(), &secrets(1)).unwrap();
        call.withdraw();
        version(text.as_str())
    };
    assert_eq!([say(SendRecv), say(SendRecv), say(SendOnly), say(SendRecv)], [1, 1, 2, 3]);
}

#[test]
fn two_who_may_encrypt_do_and_each_reads_what_the_other_writes() {
    for (ours, theirs) in [
        (MediaSecurity::Optional, MediaSecurity::Optional),
        (MediaSecurity::Optional, MediaSecurity::Required),
        (MediaSecurity::Required, MediaSecurity::Optional),
        (MediaSecurity::Required, MediaSecurity::Required),
    ] {
        let (caller, called) = agree(&mut call(4000), &secured(ours), &mut call(5000), &secured(theirs));
        assert_eq!((caller.path_class(true), caller.path_class(false)), (PathClass::Encrypted, PathClass::Open));
        let (caller, called) = (caller.protection.unwrap(), called.protection.unwrap());
        assert_eq!((&caller.send, &caller.receive), (&called.receive, &called.send));
        assert_ne!(caller.send, caller.receive);
        assert_eq!(caller.send.suite().name(), "AEAD_AES_256_GCM", "the strongest");
    }
}

#[test]
fn policy_and_offer_decide_between_plain_encrypted_and_refused() {
    use MediaSecurity::{Never, Optional, Required};
    let crypto = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}");
    let identified = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}|1:4");
    let (keyed, broken, bare) = (&[crypto.as_str()][..], &[identified.as_str()][..], &[][..]);
    let identifier = Err(MediaRefusal::Crypto(CryptoFault::Identifier));
    for (security, profile, attributes, expected) in [
        (Never, "RTP/AVP", bare, Ok(false)),
        (Never, "RTP/AVP", keyed, Ok(false)),
        (Never, "RTP/SAVP", keyed, Err(MediaRefusal::Protected)),
        (Optional, "RTP/AVP", bare, Ok(false)),
        (Optional, "RTP/AVP", keyed, Ok(true)),
        (Optional, "RTP/AVP", broken, Ok(false)),
        (Optional, "RTP/SAVP", keyed, Ok(true)),
        (Optional, "RTP/SAVPF", keyed, Ok(true)),
        (Optional, "RTP/SAVP", bare, Err(MediaRefusal::Unprotected)),
        (Optional, "RTP/SAVP", broken, identifier),
        (Required, "RTP/AVP", bare, Err(MediaRefusal::Unprotected)),
        (Required, "RTP/AVP", keyed, Ok(true)),
        (Required, "RTP/SAVP", keyed, Ok(true)),
        (Required, "RTP/SAVP", broken, identifier),
    ] {
        let offer = phone(&format!("audio 6000 {profile} 0"), attributes);
        let got = answered(&offer, &secured(security));
        let protected = got.as_ref().map(|(_, agreed)| agreed.protection.is_some()).map_err(|why| *why);
        assert_eq!(protected, expected, "{security:?} {profile} {attributes:?}");
        if let Ok((text, agreed)) = got {
            assert!(text.contains(&format!("m=audio 4000 {profile} 0\r\n")), "{text}");
            assert_eq!(
                text.matches("a=crypto:1 AES_CM_128_HMAC_SHA1_80 ").count(),
                usize::from(agreed.protection.is_some())
            );
        }
    }
}

#[test]
fn keys_do_not_cross_in_the_clear_unless_allowed() {
    let clear = |security| MediaRules { keys_may_cross: false, ..secured(security) };
    let keyed = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}");
    let offer = call(4000).offer(SendRecv, &clear(MediaSecurity::Optional), &secrets(1)).unwrap();
    assert!(!offer.as_str().contains("crypto"));
    let refused = call(4000).offer(SendRecv, &clear(MediaSecurity::Required), &secrets(1)).map(|_| ());
    assert_eq!(refused, Err(MediaRefusal::KeysInClear));
    let plain = answered(&phone("audio 6000 RTP/AVP 0", &[&keyed]), &clear(MediaSecurity::Optional)).unwrap();
    assert!(!plain.0.contains("crypto") && plain.1.protection.is_none());
    for security in [MediaSecurity::Optional, MediaSecurity::Required] {
        let refused = answered(&phone("audio 6000 RTP/SAVP 0", &[&keyed]), &clear(security)).unwrap_err();
        assert_eq!(refused, MediaRefusal::KeysInClear);
    }
}

#[test]
fn an_answer_with_a_key_we_did_not_offer_or_cannot_use_is_refused() {
    let good = format!("crypto:3 AES_CM_128_HMAC_SHA1_80 {KEY}");
    let other_tag = format!("crypto:9 AES_CM_128_HMAC_SHA1_80 {KEY}");
    let other_suite = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}");
    let broken = format!("crypto:3 AES_CM_128_HMAC_SHA1_80 {KEY} UNENCRYPTED_SRTP");
    for (attribute, security, expected) in [
        (good.as_str(), MediaSecurity::Required, Ok(true)),
        (&good, MediaSecurity::Optional, Ok(true)),
        (&other_tag, MediaSecurity::Optional, Err(MediaRefusal::CryptoNotOffered)),
        (&other_suite, MediaSecurity::Optional, Err(MediaRefusal::CryptoNotOffered)),
        (&good, MediaSecurity::Never, Err(MediaRefusal::CryptoNotOffered)),
        (&broken, MediaSecurity::Optional, Err(MediaRefusal::Crypto(CryptoFault::Parameter))),
        ("x", MediaSecurity::Optional, Ok(false)),
        ("x", MediaSecurity::Required, Err(MediaRefusal::Unprotected)),
    ] {
        let mut call = call(4000);
        call.offer(SendRecv, &secured(security), &secrets(1)).unwrap();
        let profile = if security == MediaSecurity::Required { "RTP/SAVP" } else { "RTP/AVP" };
        let got = call.answered(phone(&format!("audio 6000 {profile} 0"), &[attribute]).as_bytes());
        assert_eq!(got.map(|agreed| agreed.protection.is_some()), expected, "{attribute} {security:?}");
    }
}

#[test]
fn a_change_within_a_call_keeps_its_keys_whoever_asks() {
    let (mut a, mut b) = (call(4000), call(5000));
    let rules = secured(MediaSecurity::Optional);
    let (before, _) = agree(&mut a, &rules, &mut b, &rules);
    let hold = b.offer(Inactive, &rules, &secrets(77)).unwrap();
    assert_eq!(hold.as_str().matches("a=crypto:").count(), 1, "the key in use and no other");
    let (answer, held) = a.answer(hold.as_str().as_bytes(), SendRecv, &rules, &secrets(78)).unwrap();
    assert_eq!(held.protection, before.protection);
    b.answered(answer.as_str().as_bytes()).unwrap();
    let weaker = format!("crypto:5 AES_CM_128_HMAC_SHA1_80 {KEY}");
    let (_, changed) =
        a.answer(phone("audio 6000 RTP/AVP 0", &[&weaker]).as_bytes(), SendRecv, &rules, &secrets(79)).unwrap();
    let changed = changed.protection.clone().unwrap();
    assert_ne!(changed.send, before.protection.unwrap().send, "another suite, another key");
}

#[test]
fn no_key_is_shown_by_anything_that_can_be_logged() {
    let mut call = call(4000);
    let text = call.offer(SendRecv, &secured(MediaSecurity::Required), &secrets(1)).unwrap();
    let key = text.as_str().split("inline:").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
    let shown = format!("{call:?} {:?}", Description::parse(text.as_str().as_bytes()));
    assert!(shown.contains("not shown") && !shown.contains(&key[..12]), "{shown}");
}

#[test]
fn a_description_that_cannot_be_a_call_is_refused_by_name() {
    let refused = |text: &str| answered(text, &rules()).unwrap_err();
    let audio = |address: &str| {
        phone("audio 6000 RTP/AVP 0", &[]).replace("IN IP4 198.51.100.9\r\nt", &format!("{address}\r\nt"))
    };
    for address in ["IN IP4 phone.example", "IN IP4 224.2.1.1/127", "IN IP6 ff02::1", "IN IP4 1.2.3.4/1"] {
        assert_eq!(refused(&audio(address)), MediaRefusal::Sdp(SdpFault::Address), "{address}");
    }
    assert_eq!(refused(&phone("audio 0 RTP/AVP 0", &[])), MediaRefusal::Sdp(SdpFault::Rejected));
    assert_eq!(refused(&phone("audio 6000 UDP/TLS/RTP/SAVPF 0", &[])), MediaRefusal::Sdp(SdpFault::Profile));
    assert_eq!(refused(&phone("video 6000 RTP/AVP 31", &[])), MediaRefusal::Sdp(SdpFault::NotAudio));
    assert_eq!(refused(&phone("audio 6000 RTP/AVP 18", &[])), MediaRefusal::NoCodec);
    let like_rtcp = phone("audio 6000 RTP/AVP 72", &["rtpmap:72 PCMA/8000"]);
    assert_eq!(refused(&like_rtcp), MediaRefusal::NoCodec, "with a marker it would be taken for RTCP");
    assert_eq!(refused("v=0\r\n"), MediaRefusal::Sdp(SdpFault::NotAudio));
    for nonsense in ["", "v=1\r\n", "m=audio x RTP/AVP 0\r\n", "v=0\r\nm=audio 1 RTP/AVP\r\n"] {
        assert_eq!(refused(nonsense).status(), 400, "{nonsense:?}");
    }
    assert_eq!(
        answered(&phone("audio 6000 RTP/AVP 0", &[]), &MediaRules { formats: vec![], ..rules() }).unwrap_err().status(),
        488
    );
}

#[test]
fn every_list_has_a_limit_with_a_name() {
    let refused = |text: &str| Description::parse(text.as_bytes()).unwrap_err();
    let one = "m=audio 6000 RTP/AVP 0\r\n";
    let line = |formats: &str| phone(&format!("audio 6000 RTP/AVP {formats}"), &[]);
    let many = |n: usize, text: &str| text.repeat(n);
    let crypto = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n");
    for (text, limit) in [
        (line("0") + &many(SDP_BYTES_MAX, " "), SdpLimit::Bytes),
        (line("0") + &many(16, one), SdpLimit::Lines),
        (line("0") + &many(257, "a=x\r\n"), SdpLimit::Attributes),
        (line(&many(65, "0 ")), SdpLimit::Formats),
        (line("0") + &many(17, &crypto), SdpLimit::CryptoLines),
        (line(&many(300, "0 ")), SdpLimit::Shape),
    ] {
        assert_eq!(refused(&text), SdpFault::Limit(limit));
    }
    for text in [
        line("0") + &many(15, one),
        line("0") + &many(256, "a=x\r\n"),
        line(&many(64, "0 ")),
        line("0") + &many(16, &crypto),
    ] {
        assert!(Description::parse(text.as_bytes()).is_ok(), "exactly the limit is allowed");
    }
}

#[test]
fn events_without_digits_are_none() {
    for (list, known) in [
        ("0-15", true),
        ("0-16", true),
        ("0-11,16", true),
        ("0-9", false),
        ("16", false),
        ("events=0-15", true),
        ("x", false),
    ] {
        let fmtp = format!("fmtp:101 {list}");
        let text = phone("audio 6000 RTP/AVP 0 101", &["rtpmap:101 telephone-event/8000", &fmtp]);
        let read = Description::parse(text.as_bytes()).unwrap();
        assert_eq!(read.audio().next().unwrap().1.events.len(), usize::from(known), "{list}");
    }
}

#[test]
fn a_line_break_inside_a_line_never_reaches_an_answer() {
    let text = phone("video 6000 RTP/AVP 31\ra=x", &[]);
    match Description::parse(text.as_bytes()) {
        Err(fault) => assert_eq!(fault, SdpFault::Form),
        Ok(read) => match &read.lines[0] {
            Line::Refused(shape, _) => assert!(!shape.formats.contains('\r')),
            Line::Audio(..) => panic!("not audio"),
        },
    }
}
