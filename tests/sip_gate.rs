//! The gate against the tortures of RFC 4475 and RFC 5118, and against what they do not think of.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::net::SocketAddr;

use crosspatch::sip::gate::{GateFault, HEADERS_MAX, MESSAGE_BYTES_MAX, Passage, judge};

fn source() -> SocketAddr {
    "198.51.100.9:5099".parse().unwrap()
}

fn judged(message: &str) -> Passage {
    judge(message.as_bytes(), source())
}

/// A request that passes, as lines without their ends.
const GOOD: [&str; 7] = [
    "OPTIONS sip:user@example.com SIP/2.0",
    "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKkdjuw",
    "From: <sip:caller@example.org>;tag=33242",
    "To: <sip:user@example.com>",
    "Call-ID: abc@192.0.2.1",
    "CSeq: 8 OPTIONS",
    "Max-Forwards: 70",
];

fn message(lines: &[&str]) -> String {
    lines.join("\r\n") + "\r\n\r\n"
}

/// The good request with the line that begins so replaced, or another added.
fn with(begin: &str, line: &str) -> String {
    let mut lines: Vec<&str> = GOOD.into_iter().filter(|old| begin.is_empty() || !old.starts_with(begin)).collect();
    if begin == "OPTIONS" {
        lines.insert(0, line);
    } else if !line.is_empty() {
        lines.push(line);
    }
    message(&lines)
}

fn outcome(passage: &Passage) -> String {
    match passage {
        Passage::Pass(_) => "pass".to_owned(),
        Passage::KeepAlive => "keep-alive".to_owned(),
        Passage::Drop(_) => "drop".to_owned(),
        Passage::Refuse(fault, answer) => {
            let status = fault.status().0.to_string();
            assert!(answer.starts_with(format!("SIP/2.0 {status} ").as_bytes()));
            status
        }
    }
}

#[test]
fn every_torture_of_rfc_4475_gets_what_the_rfc_asks_for() {
    let mut met = Vec::new();
    for torture in include_str!("sip_torture/rfc4475.txt").split("\n=== ").skip(1) {
        let (title, text) = torture.split_once('\n').unwrap();
        let [name, section, expected] = title.split(' ').collect::<Vec<_>>()[..] else { panic!("{title:?}") };
        let message = format!("{text}\n").replace('\n', "\r\n");
        let passage = judged(&message);
        assert_eq!(outcome(&passage), expected, "{name}, section {section}: {passage:?}");
        if let Passage::Pass(length) = passage {
            let rest = &message[length..];
            assert_eq!(rest.starts_with("\r\nINVITE"), name == "dblreq", "what follows a message is not the stack's");
            assert_eq!(rest.is_empty(), name != "dblreq", "{name}");
        }
        met.push((name, passage));
    }
    assert_eq!(met.len(), 47);
    let why = |name: &str| match &met.iter().find(|(of, _)| *of == name).unwrap().1 {
        Passage::Refuse(fault, _) | Passage::Drop(fault) => *fault,
        Passage::Pass(_) | Passage::KeepAlive => panic!("{name} passes"),
    };
    for (name, fault) in [
        ("badinv01", GateFault::Via),
        ("clerr", GateFault::ContentLength),
        ("ncl", GateFault::ContentLength),
        ("scalar02", GateFault::CSeq),
        ("scalarlg", GateFault::CSeq),
        ("quotbal", GateFault::Address),
        ("ltgtruri", GateFault::RequestUri),
        ("lwsruri", GateFault::StartLine),
        ("escruri", GateFault::RequestUri),
        ("regbadct", GateFault::Address),
        ("mismatch01", GateFault::CSeq),
        ("bigcode", GateFault::StartLine),
        ("badbranch", GateFault::Via),
        ("insuf", GateFault::Missing),
        ("multi01", GateFault::Repeated),
        ("bcast", GateFault::Via),
    ] {
        assert_eq!(why(name), fault, "{name} for the right reason");
    }
}

/// RFC 4475 section 3.1.1.2, whose characters no text file carries well.
#[test]
fn the_wide_range_of_valid_characters_passes() {
    let odd = "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*";
    let text = format!(
        "!interesting-Method0123456789_*+`.%indeed'~ sip:{odd}:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0\r\n\
         Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~\r\n\
         To: \"BEL:\\\u{7} NUL:\\\u{0} DEL:\\\u{7f}\" <sip:{odd}@example.com>\r\n\
         From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"работающий\";tag=_token~1'+`*%!-.\r\n\
         Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}}{{\r\n\
         CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\r\n\
         Max-Forwards: 255\r\n\
         extensionHeader-!.%*+_`'~:\u{feff}大停電\r\n\
         Content-Length: 0\r\n\r\n"
    );
    assert_eq!(judged(&text), Passage::Pass(text.len()));
}

#[test]
fn addresses_of_ipv6_pass_in_brackets_and_not_without_as_rfc_5118_has_it() {
    for (uri, expected) in [
        ("sip:[2001:db8::10]", "pass"),                 // section 4.1
        ("sip:2001:db8::10", "400"),                    // section 4.2
        ("sip:[2001:db8::10:5070]", "pass"),            // section 4.3: it is an address
        ("sip:[2001:db8::10]:5070", "pass"),            // section 4.4
        ("sip:user@[::ffff:192.0.2.10]:19823", "pass"), // section 4.9
        ("sip:[2001:db8::10", "400"),
        ("sip:[2001:db8::10]x", "400"),
        ("sip:[192.0.2.1]", "400"),
        ("sip:user@host:0", "400"),
        ("sip:user@host:65536", "400"),
        ("sip:user@", "400"),
        ("sip:user@host;lr?Subject=x", "400"),
        ("sip:", "400"),
        ("tel:+15551234", "pass"),
        ("nonsense", "400"),
    ] {
        let passage = judged(&with("OPTIONS", &format!("OPTIONS {uri} SIP/2.0")));
        assert_eq!(outcome(&passage), expected, "{uri}");
    }
    for via in [
        "SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111", // section 4.5
        "SIP/2.0/UDP [2001:db8::9:1]:5070;received=2001:db8::9:255;branch=z9hG4bKas3",
        "SIP/2.0/TLS-SCTP host ;rport;branch=z9hG4bKa , SIP/2.0/UDP [2001:db8::9:1]",
    ] {
        assert_eq!(outcome(&judged(&with("Via", &format!("Via: {via}")))), "pass", "{via}");
    }
}

#[test]
fn each_part_that_transactions_live_by_is_looked_at() {
    assert_eq!(judged(&message(&GOOD)), Passage::Pass(message(&GOOD).len()));
    for (begin, line, fault) in [
        ("Via", "", GateFault::Missing),
        ("From", "", GateFault::Missing),
        ("To", "", GateFault::Missing),
        ("Call-ID", "", GateFault::Missing),
        ("CSeq", "", GateFault::Missing),
        ("", "t: <sip:other@example.com>", GateFault::Repeated),
        ("", "i: again", GateFault::Repeated),
        ("CSeq", "CSeq: 2147483648 OPTIONS", GateFault::CSeq),
        ("CSeq", "CSeq: -1 OPTIONS", GateFault::CSeq),
        ("CSeq", "CSeq: 8", GateFault::CSeq),
        ("CSeq", "CSeq: 8 options", GateFault::CSeq),
        ("CSeq", "CSeq: 8 INVITE", GateFault::CSeq),
        ("Max-Forwards", "Max-Forwards: 256", GateFault::MaxForwards),
        ("Max-Forwards", "Max-Forwards: x", GateFault::MaxForwards),
        ("", "Content-Length: 1", GateFault::ContentLength),
        ("", "l: 18446744073709551615", GateFault::ContentLength),
        ("", "l: 18446744073709551616", GateFault::ContentLength),
        ("", "l: +0", GateFault::ContentLength),
        ("", "no colon", GateFault::HeaderLine),
        ("", ": no name", GateFault::HeaderLine),
        ("", "bad name: x", GateFault::HeaderLine),
        ("", "X: lone\nline feed", GateFault::HeaderLine),
        ("", "X: lone\rcarriage return", GateFault::HeaderLine),
        ("Call-ID", "Call-ID:", GateFault::HeaderLine),
        ("From", "From: <sip:a@b", GateFault::Address),
        ("From", "From: <>;tag=1", GateFault::Address),
        ("From", "From: \"a <sip:a@b>", GateFault::Address),
        ("From", "From: <sip:a@b>;;tag=1", GateFault::Address),
        ("From", "From: <sip:a@b> tag", GateFault::Address),
        ("From", "From: <sip:a@b>;tag=", GateFault::Address),
        ("", "Contact: <sip:a@b>, , <sip:c@d>", GateFault::Address),
        ("Via", "Via: SIP/2.0 host", GateFault::Via),
        ("Via", "Via: SIP/3.0/UDP host", GateFault::Via),
        ("Via", "Via: SIP/2.0/UDP", GateFault::Via),
        ("Via", "Via: SIP/2.0/UDP host,", GateFault::Via),
        ("Via", "Via: SIP/2.0/UDP host;x=\"a", GateFault::Via),
        ("OPTIONS", "OPTIONS sip:a@b SIP/2.1", GateFault::Version),
        ("OPTIONS", "OPTIONS sip:a@b HTTP/1.1", GateFault::StartLine),
        ("OPTIONS", "OPT(IONS sip:a@b SIP/2.0", GateFault::StartLine),
        ("OPTIONS", "OPTIONS sip:a@b", GateFault::StartLine),
        ("OPTIONS", "OPTIONS sip:a@b\u{7} SIP/2.0", GateFault::RequestUri),
        ("OPTIONS", "OPTIONS http://a SIP/2.0", GateFault::Scheme),
    ] {
        let fault_of = |passage| match passage {
            Passage::Refuse(fault, _) | Passage::Drop(fault) => Some(fault),
            Passage::Pass(_) | Passage::KeepAlive => None,
        };
        assert_eq!(fault_of(judged(&with(begin, line))), Some(fault), "{begin:?} {line:?}");
    }
    for (begin, line) in [
        ("", "Contact: *"),
        ("", "m: <sip:a@b?Subject=x>;q=0.5, \"x, \\\"y\\\" <z>\" <sip:c@d>"),
        ("", "m: \"a\\\",b\" <sip:c@d>"),
        ("", "X:"),
        ("Max-Forwards", ""),
        ("From", "f: sip:a@b;tag=1"),
        ("Call-ID", "I :\r\n folded"),
        ("OPTIONS", "OPTIONS sips:a@b;transport=tcp sip/2.0"),
    ] {
        assert_eq!(outcome(&judged(&with(begin, line))), "pass", "{line:?}");
    }
}

#[test]
fn a_refusal_finds_its_way_back_and_is_the_same_for_a_repetition() {
    let request = with("Max-Forwards", "Max-Forwards: 999").replace("192.0.2.1;", "192.0.2.1;rport;");
    let Passage::Refuse(GateFault::MaxForwards, answer) = judged(&request) else { panic!("it passes") };
    let answer = String::from_utf8(answer).unwrap();
    let lines: Vec<&str> = answer.split("\r\n").collect();
    assert_eq!(lines[0], "SIP/2.0 400 Bad Max-Forwards");
    assert_eq!(lines[1], "Via: SIP/2.0/UDP 192.0.2.1;rport=5099;branch=z9hG4bKkdjuw;received=198.51.100.9");
    assert_eq!(lines[2], "From: <sip:caller@example.org>;tag=33242");
    assert!(lines[3].starts_with("To: <sip:user@example.com>;tag="), "{}", lines[3]);
    assert_eq!(lines[4..], ["Call-ID: abc@192.0.2.1", "CSeq: 8 OPTIONS", "Content-Length: 0", "", ""]);
    assert_eq!(outcome(&judged(&answer)), "pass", "the peer's own gate would take it");
    assert_eq!(judged(&request), Passage::Refuse(GateFault::MaxForwards, answer.into_bytes()));
    let tagged = request.replace("To: <sip:user@example.com>", "To: <sip:user@example.com> ; Tag=7");
    let Passage::Refuse(_, answer) = judged(&tagged) else { panic!("it passes") };
    assert_eq!(String::from_utf8(answer).unwrap().matches("ag=").count(), 2, "a tag is not replaced");
    let relayed = request.replace("Max", "v: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKb\r\nMax");
    let Passage::Refuse(_, answer) = judged(&relayed) else { panic!("it passes") };
    let answer = String::from_utf8(answer).unwrap();
    let one_line = request.replace("kdjuw\r\n", "kdjuw, SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKb\r\n");
    let Passage::Refuse(_, listed) = judged(&one_line) else { panic!("it passes") };
    let listed = String::from_utf8(listed).unwrap();
    assert!(listed.contains("received=198.51.100.9, SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKb\r\n"), "{listed}");
    assert!(answer.contains("received=198.51.100.9\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKb\r\n"), "{answer}");
}

#[test]
fn nobody_is_answered_who_does_not_wait_for_it() {
    let ack = message(&GOOD).replace("OPTIONS", "ACK").replace("Max-Forwards: 70", "Max-Forwards: 999");
    assert_eq!(judged(&ack), Passage::Drop(GateFault::MaxForwards));
    let mixed = message(&GOOD).replace("OPTIONS sip", "ACK sip");
    assert_eq!(judged(&mixed), Passage::Drop(GateFault::CSeq), "an ACK by its first line");
    let ack = ack.replace("sip:user@example.com SIP", "<sip:user@example.com> SIP/2.0 SIP");
    assert_eq!(judged(&ack), Passage::Drop(GateFault::StartLine), "an ACK by its CSeq");
    let response = message(&GOOD).replace("OPTIONS sip:user@example.com SIP/2.0", "SIP/2.0 200 OK");
    assert_eq!(outcome(&judged(&response)), "pass");
    assert_eq!(judged(&response.replace("70", "999")), Passage::Drop(GateFault::MaxForwards));
    for start in ["SIP/2.0 099 x", "SIP/2.0 700 x", "SIP/2.0 20 x", "SIP/2.0 2000 x", "SIP/2.0 200", "SIP/2.0 2x0 x"] {
        assert_eq!(judged(&response.replace("SIP/2.0 200 OK", start)), Passage::Drop(GateFault::StartLine), "{start}");
    }
    assert_eq!(judged(&response.replace("SIP/2.0 200", "SIP/7.0 200")), Passage::Drop(GateFault::Version));
    assert_eq!(judged("x\r\nVia: y\r\n\r\n"), Passage::Drop(GateFault::StartLine), "an answer would be an amplifier");
    assert_eq!(judged("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), Passage::Drop(GateFault::StartLine));
    assert_eq!(judged("OPTIONS sip:a@b SIP/2.0\r\n"), Passage::Drop(GateFault::Truncated));
    for blank in ["", "\r\n", "\r\n\r\n", "\n"] {
        assert_eq!(judged(blank), Passage::KeepAlive, "{blank:?}");
    }
    let led = format!("\r\n\r\n{}", message(&GOOD));
    assert_eq!(judged(&led), Passage::Pass(led.len()), "blank lines before a message are skipped");
}

#[test]
fn length_and_number_of_lines_have_limits() {
    let room = MESSAGE_BYTES_MAX - message(&GOOD).len() - "X: ".len() - 2;
    let longest = with("", &format!("X: {}", "x".repeat(room)));
    assert_eq!((longest.len(), outcome(&judged(&longest))), (MESSAGE_BYTES_MAX, "pass".to_owned()));
    assert_eq!(judged(&format!("{longest}x")), Passage::Drop(GateFault::TooLong));
    let lines = |count: usize| {
        let all: Vec<&str> = GOOD.into_iter().chain(std::iter::repeat_n("X: y", count)).collect();
        outcome(&judged(&message(&all)))
    };
    let most = HEADERS_MAX - (GOOD.len() - 1);
    assert_eq!([lines(most), lines(most + 1)], ["pass", "400"]);
}
