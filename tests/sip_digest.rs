//! Digest authentication between the side that asks and the side that answers, and against those who cheat.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

use crosspatch::domain::time::MonoTime;
use crosspatch::sip::digest::{
    Algorithm, Authorization, Challenge, Challenger, DigestFault, DigestSecret, HEADER_BYTES_MAX, NONCE_LIFE_MS,
    NONCES_MAX, PARAMETERS_MAX, Respondent, Verdict,
};
use zeroize::Zeroizing;

const NOW: MonoTime = MonoTime::from_millis(1_000_000);

fn asking(key: u8) -> Challenger {
    Challenger::new("county", &Algorithm::ALL, &Zeroizing::new([key; 32]))
}

fn secret() -> DigestSecret {
    DigestSecret::new("1001", "county", "right")
}

fn answering(password: &str) -> Respondent {
    Respondent::new("1001", "county", DigestSecret::new("1001", "county", password))
}

fn asked(respondent: &mut Respondent, values: &[String]) -> Result<(), DigestFault> {
    respondent.asked(&values.iter().map(String::as_str).collect::<Vec<_>>())
}

/// One answer to REGISTER.
fn answer(respondent: &mut Respondent) -> Authorization {
    Authorization::parse(&respondent.answer("REGISTER", "sip:county", 7).unwrap()).unwrap()
}

#[test]
fn the_right_secret_is_let_in_by_every_algorithm_and_a_wrong_one_by_none() {
    for algorithm in Algorithm::ALL {
        let mut challenger = Challenger::new("county", &[algorithm], &Zeroizing::new([1; 32]));
        for (password, verdict) in [("right", Verdict::Right), ("wrong", Verdict::Wrong)] {
            let mut respondent = answering(password);
            asked(&mut respondent, &challenger.challenges(false, NOW)).unwrap();
            let answer = answer(&mut respondent);
            assert_eq!(answer.algorithm, algorithm);
            assert_eq!(challenger.judge(&answer, "REGISTER", Some(&secret()), NOW), verdict);
        }
    }
}

#[test]
fn an_answer_is_bound_to_its_user_realm_method_and_uri() {
    let mut challenger = asking(1);
    let mut respondent = answering("right");
    asked(&mut respondent, &challenger.challenges(false, NOW)).unwrap();
    let value = respondent.answer("REGISTER", "sip:county", 7).unwrap();
    let changed = |from: &str, to: &str| Authorization::parse(&value.replace(from, to)).unwrap();
    let whole = changed("", "");
    assert_eq!(challenger.judge(&whole, "INVITE", Some(&secret()), NOW), Verdict::Wrong, "another method");
    assert_eq!(challenger.judge(&changed("sip:county", "sip:other"), "REGISTER", Some(&secret()), NOW), Verdict::Wrong);
    assert_eq!(
        challenger.judge(&changed("nc=00000001", "nc=00000002"), "REGISTER", Some(&secret()), NOW),
        Verdict::Wrong
    );
    assert_eq!(challenger.judge(&whole, "REGISTER", None, NOW), Verdict::Wrong, "nobody");
    let other = DigestSecret::new("1002", "county", "right");
    assert_eq!(challenger.judge(&whole, "REGISTER", Some(&other), NOW), Verdict::Wrong);
    let other_realm = Challenger::new("city", &Algorithm::ALL, &Zeroizing::new([1; 32])).judge(
        &whole,
        "REGISTER",
        Some(&secret()),
        NOW,
    );
    assert_eq!(other_realm, Verdict::Wrong);
    let sha_only = Challenger::new("county", &[Algorithm::Md5], &Zeroizing::new([1; 32])).judge(
        &whole,
        "REGISTER",
        Some(&secret()),
        NOW,
    );
    assert_eq!(sha_only, Verdict::Wrong, "an algorithm that was not offered");
    assert_eq!(
        challenger.judge(&whole, "REGISTER", Some(&secret()), NOW),
        Verdict::Right,
        "and after all that still good"
    );
}

#[test]
fn no_answer_is_good_twice_and_counts_may_overtake_each_other() {
    let mut challenger = asking(1);
    let mut respondent = answering("right");
    asked(&mut respondent, &challenger.challenges(false, NOW)).unwrap();
    let answers: Vec<_> = (0..200).map(|_| answer(&mut respondent)).collect();
    let mut judge = |at: usize| challenger.judge(&answers[at], "REGISTER", Some(&secret()), NOW);
    for at in [0, 2, 1, 9, 8, 199, 150] {
        assert_eq!(judge(at), Verdict::Right, "answer {at}");
        assert_eq!(judge(at), Verdict::Stale, "answer {at} again");
    }
    assert_eq!(judge(3), Verdict::Stale, "too far behind to tell");
    assert_eq!(challenger.replayed(), 8);
}

#[test]
fn a_nonce_that_is_old_or_of_another_life_is_stale_only_for_the_right_secret() {
    let mut before = asking(1);
    let mut challenger = asking(2);
    for (password, verdict) in [("right", Verdict::Stale), ("wrong", Verdict::Wrong)] {
        let mut respondent = answering(password);
        asked(&mut respondent, &before.challenges(false, NOW)).unwrap();
        assert_eq!(
            challenger.judge(&answer(&mut respondent), "REGISTER", Some(&secret()), NOW),
            verdict,
            "after a restart"
        );
        let mut respondent = answering(password);
        asked(&mut respondent, &challenger.challenges(false, NOW)).unwrap();
        let late = NOW.plus_ms(NONCE_LIFE_MS);
        assert_eq!(challenger.judge(&answer(&mut respondent), "REGISTER", Some(&secret()), late), verdict, "too late");
    }
    let mut respondent = answering("right");
    asked(&mut respondent, &challenger.challenges(false, NOW)).unwrap();
    let just = NOW.plus_ms(NONCE_LIFE_MS - 1);
    assert_eq!(challenger.judge(&answer(&mut respondent), "REGISTER", Some(&secret()), just), Verdict::Right);
    respondent.accepted();
    asked(&mut respondent, &challenger.challenges(false, NOW.plus_ms(5))).unwrap();
    assert_eq!(
        challenger.judge(&answer(&mut respondent), "REGISTER", Some(&secret()), NOW),
        Verdict::Stale,
        "from the future"
    );
}

#[test]
fn a_forged_nonce_is_never_good() {
    let mut challenger = asking(1);
    let good = challenger.challenges(false, NOW)[0].clone();
    let nonce = good.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
    for at in 0..nonce.len() {
        let mut forged: Vec<u8> = nonce.bytes().collect();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = good.replace(nonce, std::str::from_utf8(&forged).unwrap());
        let mut respondent = answering("right");
        asked(&mut respondent, &[forged]).unwrap();
        assert_eq!(
            challenger.judge(&answer(&mut respondent), "REGISTER", Some(&secret()), NOW),
            Verdict::Stale,
            "byte {at}"
        );
    }
}

#[test]
fn what_is_remembered_is_bounded_and_what_is_forgotten_is_not_good_again() {
    let mut challenger = asking(1);
    let mut first = answering("right");
    let mut waiting = answering("right");
    asked(&mut first, &challenger.challenges(false, NOW)).unwrap();
    asked(&mut waiting, &challenger.challenges(false, NOW)).unwrap();
    let replayed = answer(&mut first);
    assert_eq!(challenger.judge(&replayed, "REGISTER", Some(&secret()), NOW), Verdict::Right);
    for _ in 0..NONCES_MAX {
        let mut phone = answering("right");
        asked(&mut phone, &challenger.challenges(false, NOW.plus_ms(1))).unwrap();
        assert_eq!(challenger.judge(&answer(&mut phone), "REGISTER", Some(&secret()), NOW.plus_ms(2)), Verdict::Right);
    }
    assert_eq!(challenger.evicted(), 1);
    assert_eq!(
        challenger.judge(&replayed, "REGISTER", Some(&secret()), NOW.plus_ms(2)),
        Verdict::Stale,
        "not good again"
    );
    let mut phone = answering("right");
    asked(&mut phone, &challenger.challenges(false, NOW.plus_ms(2))).unwrap();
    assert_eq!(challenger.judge(&answer(&mut phone), "REGISTER", Some(&secret()), NOW.plus_ms(3)), Verdict::Right);
    let later = NOW.plus_ms(NONCE_LIFE_MS + 10);
    asked(&mut phone, &challenger.challenges(true, later)).unwrap();
    assert_eq!(challenger.judge(&answer(&mut phone), "REGISTER", Some(&secret()), later), Verdict::Right);
    assert_eq!(challenger.evicted(), 2, "those that had expired were not evicted");
}

#[test]
fn a_trunk_takes_the_best_it_can_answer_and_stops_when_rejected() {
    let mut challenger = asking(1);
    let both = challenger.challenges(false, NOW);
    assert!(
        both[0].contains("SHA-256")
            && both[1].contains("MD5")
            && both.iter().all(|value| value.contains("qop=\"auth\""))
    );
    let mut backwards = both;
    backwards.reverse();
    let mut respondent = answering("right");
    asked(&mut respondent, &backwards).unwrap();
    assert_eq!(answer(&mut respondent).algorithm, Algorithm::Sha256);
    assert_eq!(asked(&mut respondent, &challenger.challenges(false, NOW)), Err(DigestFault::Rejected));
    assert_eq!(asked(&mut respondent, &challenger.challenges(true, NOW)), Ok(()), "stale: once more");
    answer(&mut respondent);
    assert_eq!(asked(&mut respondent, &challenger.challenges(true, NOW)), Err(DigestFault::Rejected), "stale for ever");
    respondent.accepted();
    assert_eq!(asked(&mut respondent, &challenger.challenges(false, NOW)), Ok(()), "used up after a success");
    let weak = "Digest realm=\"county\", nonce=\"n\"";
    let hex = "0123456789abcdef0123456789abcdef";
    let mut md5_only = Respondent::new("1001", "county", DigestSecret::from_hex(None, Some(hex)).unwrap());
    assert_eq!(md5_only.asked(&[weak]), Ok(()));
    let old = md5_only.answer("REGISTER", "sip:county", 1).unwrap();
    assert!(
        !old.contains("qop") && !old.contains("nc=") && !old.contains("cnonce"),
        "RFC 2069 for whoever asks so: {old}"
    );
    let mut unasked = answering("right");
    let elsewhere = unasked.asked(&["Digest realm=\"elsewhere\", nonce=\"n\""]);
    assert_eq!(elsewhere, Err(DigestFault::Realm), "a secret is not shown around");
    assert_eq!(unasked.answer("REGISTER", "sip:county", 1), None);
    assert_eq!(
        unasked.asked(&["Digest realm=\"county\", nonce=\"n\", qop=\"auth-int\""]),
        Err(DigestFault::Unsupported)
    );
    assert_eq!(
        unasked.asked(&["Digest realm=\"county\", nonce=\"n\", algorithm=MD5-sess"]),
        Err(DigestFault::Unsupported)
    );
    assert_eq!(unasked.asked(&["Basic realm=\"county\""]), Err(DigestFault::Scheme));
    assert_eq!(unasked.asked(&[]), Err(DigestFault::Missing));
}

#[test]
fn a_value_is_read_in_every_spelling_and_refused_by_name() {
    let good = "Digest username=\"10\\\"01\", realm=\"county\" ,nonce=\"n\", uri=\"sip:a,b\", response=\"00\", cnonce=\"c\", qop=auth, nc=0000000A, algorithm=\"MD5\", new=\"x\"";
    let read = Authorization::parse(good).unwrap();
    assert_eq!((read.username.as_str(), read.realm.as_str(), read.algorithm), ("10\"01", "county", Algorithm::Md5));
    assert_eq!(
        Authorization::parse(&good.replace("Digest ", "DIGEST\t ").replace("qop=auth", "QOP = \"auth\"")),
        Ok(read)
    );
    for (from, to, fault) in [
        ("Digest", "Basic", DigestFault::Scheme),
        ("Digest ", "Digest", DigestFault::Scheme),
        ("qop=auth", "qop=auth-int", DigestFault::Unsupported),
        (", qop=auth", "", DigestFault::Missing),
        (", nc=0000000A", "", DigestFault::Missing),
        ("nc=0000000A", "nc=A", DigestFault::Form),
        ("nc=0000000A", "nc=0000000G", DigestFault::Form),
        ("username=\"10\\\"01\", ", "", DigestFault::Missing),
        ("new=\"x\"", "realm=\"again\"", DigestFault::Form),
        ("new=\"x\"", "new=\"x", DigestFault::Form),
        ("new=\"x\"", "new=\"x\" y", DigestFault::Form),
        ("new=\"x\"", "new", DigestFault::Form),
        ("new=\"x\"", "new=\"\r\nX: y\"", DigestFault::Form),
        ("\"MD5\"", "\"SHA-512-256\"", DigestFault::Unsupported),
        ("new=\"x\"", "userhash=true", DigestFault::Unsupported),
    ] {
        assert_eq!(Authorization::parse(&good.replacen(from, to, 1)).unwrap_err(), fault, "{to}");
    }
    let many: String = (0..PARAMETERS_MAX).map(|n| format!(", x{n}=1")).collect();
    assert_eq!(Authorization::parse(&(good.to_owned() + &many)).unwrap_err(), DigestFault::TooLong);
    assert_eq!(Challenge::parse(&"x".repeat(HEADER_BYTES_MAX + 1)).unwrap_err(), DigestFault::TooLong);
}

#[test]
fn no_secret_and_no_response_is_shown() {
    let mut respondent = answering("right");
    asked(&mut respondent, &asking(1).challenges(false, NOW)).unwrap();
    let value = respondent.answer("REGISTER", "sip:county", 7).unwrap();
    let response = value.split("response=\"").nth(1).unwrap().split('"').next().unwrap();
    let shown = format!("{:?} {respondent:?} {:?}", Authorization::parse(&value).unwrap(), secret());
    assert!(!shown.contains(response) && !shown.contains("right"), "{shown}");
}
