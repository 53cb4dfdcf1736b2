//! What a call of ours promises the far side: it is asked as often as RFC 3261 says and no more, whatever it answers is
//! acknowledged, one yes makes one call, and whoever refuses or redirects is not pestered. Without sockets.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::net::SocketAddr;

use crosspatch::domain::audio::{Codec, Format};
use crosspatch::domain::configuration::MediaSecurity;
use crosspatch::domain::id::GatewayId;
use crosspatch::domain::port::{ExtensionIds, PeerRule};
use crosspatch::domain::time::MonoTime;
use crosspatch::sip::digest::{DigestSecret, Respondent};
use crosspatch::sip::flow::Flow;
use crosspatch::sip::message::{Message, Start, parameter};
use crosspatch::sip::names::Names;
use crosspatch::sip::offer::{LocalMedia, MediaRules, SECRETS_BYTES, Secrets};
use crosspatch::sip::outgoing::{Called, Failure, News, Outgoing, Step};
use crosspatch::sip::transaction::Datagram;
use zeroize::Zeroizing;

const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 5060);
const PBX: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 20)), 5060);
const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
    m=audio 7000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n";

/// A call that was placed, and what it sent.
struct Placed {
    call: Outgoing,
    names: Names,
    now: MonoTime,
    sent: Vec<Message>,
}

impl Placed {
    fn new(realm: Option<&str>) -> Self {
        let rules = MediaRules {
            formats: vec![Format::usual(Codec::G722), Format::usual(Codec::Pcmu)],
            security: MediaSecurity::Never,
            keys_may_cross: false,
            rtcp_mux: false,
            extensions: ExtensionIds::default(),
            events_needed: false,
        };
        let secrets = Secrets::new(Zeroizing::new([0; SECRETS_BYTES]));
        let local = LocalMedia { rtp: (HERE.ip(), 40_000).into(), rtcp: (HERE.ip(), 40_001).into() };
        let called = Called {
            uri: "sip:5550100@192.0.2.20:5060".to_owned(),
            caller: "sip:bridge@county".to_owned(),
            flow: Flow::datagrams(HERE, PBX),
            respondent: realm.map(|realm| Respondent::new("bridge", realm, DigestSecret::new("bridge", realm, "pw"))),
        };
        let (mut names, now) = (Names::new(&Zeroizing::new([7; 32])), MonoTime::from_millis(1_000));
        let (mut out, line) = (Vec::new(), GatewayId::new("line").unwrap());
        let media = (local, &rules, &secrets);
        let call = Outgoing::begin(called, (line, 9), media, &mut names, now, &mut out).unwrap();
        let mut placed = Self { call, names, now, sent: Vec::new() };
        placed.note(out);
        placed
    }

    fn note(&mut self, out: Vec<Datagram>) {
        for datagram in out {
            assert_eq!(datagram.to.remote, PBX, "to nobody else");
            self.sent.push(Message::read(&datagram.bytes).unwrap());
        }
    }

    fn invite(&self) -> &Message {
        self.sent.iter().rfind(|message| message.method() == Some("INVITE")).unwrap()
    }

    /// What was sent since somebody last looked, by method.
    fn methods(&mut self) -> Vec<String> {
        self.sent.drain(..).filter_map(|message| message.method().map(str::to_owned)).collect()
    }

    /// The far side answers the INVITE.
    fn answer(&mut self, invite: &Message, status: u16, tag: &str, lines: &str, body: &str) -> Step {
        let of = |name| invite.value(name).unwrap();
        let text = format!(
            "SIP/2.0 {status} x\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag={tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             {lines}Content-Length: {}\r\n\r\n{body}",
            of("via"),
            of("from"),
            of("to"),
            of("call-id"),
            of("cseq"),
            body.len()
        );
        let answer = Message::read(text.as_bytes()).unwrap();
        assert!(self.call.awaits(&answer));
        let mut out = Vec::new();
        let step = self.call.take(&answer, Flow::datagrams(HERE, PBX), &mut self.names, self.now, &mut out);
        self.note(out);
        step
    }

    fn yes(&mut self, invite: &Message, tag: &str) -> Step {
        let lines = "Contact: <sip:5550100@192.0.2.20:5062>\r\nRecord-Route: <sip:p2;lr>, <sip:p1;lr>\r\n";
        self.answer(invite, 200, tag, lines, ANSWER)
    }

    fn pass(&mut self, ms: u64) -> Vec<News> {
        let mut news = Vec::new();
        for _ in 0..ms / 100 {
            self.now = self.now.plus_ms(100);
            let mut out = Vec::new();
            let step = self.call.tick(self.now, &mut out);
            assert!(step.hang_up.is_none());
            news.extend(step.news);
            self.note(out);
        }
        news
    }

    fn give_up(&mut self) {
        let mut out = Vec::new();
        self.call.give_up(self.now, &mut out);
        self.note(out);
    }
}

fn failed(step: &Step) -> Option<Failure> {
    match step.news {
        Some(News::Failed(why)) => Some(why),
        Some(News::Rings | News::Up(_)) | None => None,
    }
}

fn branch(message: &Message) -> String {
    parameter(message.value("via").unwrap(), "branch").unwrap().to_owned()
}

#[test]
fn an_invite_nobody_answers_is_said_seven_times_and_given_up_after_half_a_minute() {
    let mut placed = Placed::new(None);
    let news = placed.pass(40_000);
    assert!(matches!(news[..], [News::Failed(Failure::Silent)]), "{news:?}");
    // At 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s.
    assert_eq!(placed.sent.len(), 7);
    assert!(placed.sent.iter().all(|message| message == placed.invite()));
    assert!(Failure::Silent.is_peers() && placed.call.is_over());
}

#[test]
fn a_yes_is_acknowledged_as_often_as_it_comes_and_makes_one_call() {
    let mut placed = Placed::new(None);
    let invite = placed.invite().clone();
    assert!(String::from_utf8_lossy(&invite.body).contains("m=audio 40000 RTP/AVP 9 0 101\r\n"));
    assert!(placed.answer(&invite, 100, "", "", "").news.is_none());
    placed.methods();
    assert!(placed.pass(20_000).is_empty() && placed.sent.is_empty(), "whoever is trying is not asked again");
    assert!(matches!(placed.answer(&invite, 180, "a", "", "").news, Some(News::Rings)));

    let step = placed.yes(&invite, "a");
    let (Some(News::Up(call)), None) = (step.news, step.hang_up) else { panic!("it is up") };
    let (media, _) = call.agreed_media().unwrap();
    assert_eq!(media.peer, PeerRule::Static(([192, 0, 2, 20], 7000).into()));
    assert_eq!((media.payloads[0].format.codec, media.events), (Codec::Pcmu, Some(101)));
    let ack = placed.sent.pop().unwrap();
    assert_eq!((ack.method(), ack.cseq()), (Some("ACK"), invite.cseq()));
    assert_ne!(branch(&ack), branch(&invite), "a transaction of its own");
    assert_eq!(ack.list("route"), ["<sip:p1;lr>", "<sip:p2;lr>"], "their route is ours backwards");
    assert!(matches!(&ack.start, Start::Request { uri, .. } if uri == "sip:5550100@192.0.2.20:5062"));

    let again = placed.yes(&invite, "a");
    assert!(again.news.is_none() && again.hang_up.is_none());
    assert_eq!(placed.sent.pop().as_ref(), Some(&ack), "its acknowledgement was lost");
    // Another phone of the same number lifts off too.
    let other = placed.yes(&invite, "b");
    assert!(other.news.is_none() && other.hang_up.is_some_and(|dialog| dialog.remote_tag() == "b"));
    assert_eq!(placed.methods(), ["ACK"]);
    let again = placed.yes(&invite, "b");
    assert!(again.hang_up.is_none() && placed.methods() == ["ACK"], "it is hung up on once");
    placed.pass(33_000);
    assert!(placed.call.is_over());
}

#[test]
fn a_no_is_acknowledged_in_its_own_transaction_and_nobody_is_followed_elsewhere() {
    for (status, peers) in [(486, false), (404, false), (503, true), (302, false), (603, false)] {
        let mut placed = Placed::new(None);
        let invite = placed.invite().clone();
        placed.methods();
        let lines = "Contact: <sip:900@203.0.113.66>\r\n";
        let step = placed.answer(&invite, status, "n", lines, "");
        assert_eq!(failed(&step), Some(Failure::Refused(status)));
        assert_eq!(Failure::Refused(status).is_peers(), peers, "{status}");
        let ack = placed.sent.pop().unwrap();
        assert_eq!((ack.method(), branch(&ack)), (Some("ACK"), branch(&invite)));
        assert!(ack.value("to").unwrap().ends_with(";tag=n") && ack.cseq() == invite.cseq());
        assert!(placed.answer(&invite, status, "n", lines, "").news.is_none(), "it failed once");
        assert_eq!(placed.sent.pop(), Some(ack));
        assert!(placed.pass(33_000).is_empty() && placed.sent.is_empty() && placed.call.is_over());
    }
}

#[test]
fn our_password_is_given_once_in_its_own_realm_and_never_in_another() {
    let challenge =
        |name: &str, realm: &str| format!("{name}: Digest realm=\"{realm}\", nonce=\"n\", qop=\"auth\"\r\n");
    for (status, asks, answers) in
        [(401, "WWW-Authenticate", "authorization"), (407, "Proxy-Authenticate", "proxy-authorization")]
    {
        let mut placed = Placed::new(Some("county"));
        let first = placed.invite().clone();
        let step = placed.answer(&first, status, "x", &challenge(asks, "county"), "");
        assert!(step.news.is_none());
        let second = placed.invite().clone();
        assert_eq!(second.value("call-id"), first.value("call-id"));
        assert_eq!((second.cseq(), second.body == first.body), (first.cseq().map(|n| n + 1), true));
        assert_ne!(branch(&second), branch(&first));
        assert!(second.value(answers).is_some_and(|value| value.contains("username=\"bridge\"")));
        // Its yes: the acknowledgement proves it as well (section 22.1).
        placed.yes(&second, "y");
        assert!(placed.sent.pop().unwrap().value(answers) == second.value(answers));

        let mut wrong = Placed::new(Some("county"));
        for _ in 0..2 {
            let invite = wrong.invite().clone();
            let step = wrong.answer(&invite, status, "x", &challenge(asks, "county"), "");
            if invite.cseq() == Some(2) {
                assert_eq!(failed(&step), Some(Failure::NotAccepted));
            }
        }
        assert_eq!(wrong.methods(), ["INVITE", "ACK", "INVITE", "ACK"]);

        for realm in [Some("county"), None] {
            let mut other = Placed::new(realm);
            let invite = other.invite().clone();
            let step = other.answer(&invite, status, "x", &challenge(asks, "elsewhere"), "");
            assert_eq!(failed(&step), Some(Failure::NotAccepted));
            assert_eq!(other.methods(), ["INVITE", "ACK"]);
        }
    }
}

#[test]
fn what_is_given_up_is_cancelled_when_that_is_allowed_and_a_yes_that_crosses_it_is_hung_up_on() {
    let mut placed = Placed::new(None);
    let invite = placed.invite().clone();
    placed.methods();
    placed.give_up();
    assert!(placed.sent.is_empty(), "nobody has heard of it yet");
    assert_eq!(failed(&placed.answer(&invite, 180, "a", "", "")), Some(Failure::GivenUp));
    let cancel = placed.sent.pop().unwrap();
    assert_eq!((cancel.method(), branch(&cancel), cancel.cseq()), (Some("CANCEL"), branch(&invite), invite.cseq()));
    let of = |name| cancel.value(name).unwrap();
    let text = format!(
        "SIP/2.0 200 x\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=a\r\nCall-ID: {}\r\nCSeq: {}\r\n\r\n",
        of("via"),
        of("from"),
        of("to"),
        of("call-id"),
        of("cseq")
    );
    let mut out = Vec::new();
    let ok = Message::read(text.as_bytes()).unwrap();
    assert!(placed.call.awaits(&ok));
    let step = placed.call.take(&ok, Flow::datagrams(HERE, PBX), &mut placed.names, placed.now, &mut out);
    assert!(step.news.is_none() && out.is_empty());
    assert!(placed.pass(3_000).is_empty() && placed.sent.is_empty(), "the CANCEL has arrived");
    assert!(placed.answer(&invite, 487, "a", "", "").news.is_none(), "its end was told");
    assert_eq!(placed.methods(), ["ACK"]);

    let mut crossed = Placed::new(None);
    let invite = crossed.invite().clone();
    crossed.answer(&invite, 180, "a", "", "");
    crossed.give_up();
    let step = crossed.yes(&invite, "a");
    assert!(step.hang_up.is_some() && failed(&step).is_none_or(|why| why == Failure::GivenUp));
    assert_eq!(crossed.methods(), ["INVITE", "CANCEL", "ACK"]);
}

#[test]
fn a_bell_rings_for_a_minute_and_a_half_and_a_lost_cancel_is_said_again() {
    let mut placed = Placed::new(None);
    let invite = placed.invite().clone();
    placed.answer(&invite, 180, "a", "", "");
    placed.methods();
    let news = placed.pass(90_000);
    assert!(matches!(news[..], [News::Failed(Failure::NotAnswered)]), "{news:?}");
    placed.pass(4_000);
    assert_eq!(placed.methods(), ["CANCEL"; 4]);
    placed.pass(33_000);
    assert!(placed.call.is_over());
}

#[test]
fn a_yes_without_media_of_ours_is_hung_up_on_and_one_nobody_can_speak_to_is_none() {
    let mut placed = Placed::new(None);
    let invite = placed.invite().clone();
    let other = ANSWER.replace("AVP 0 101", "AVP 3").replace("0 PCMU", "3 GSM");
    let step = placed.answer(&invite, 200, "a", "Contact: <sip:a@192.0.2.20>\r\n", &other);
    assert!(failed(&step) == Some(Failure::NoMedia) && step.hang_up.is_some());

    let mut placed = Placed::new(None);
    let invite = placed.invite().clone();
    let step = placed.answer(&invite, 200, "a", "", ANSWER);
    assert!(failed(&step) == Some(Failure::NoMedia) && step.hang_up.is_none());
}

#[test]
fn a_session_that_is_too_small_is_proposed_once_more_and_what_the_answer_says_holds() {
    let mut placed = Placed::new(None);
    let invite = placed.invite().clone();
    assert_eq!(invite.value("session-expires"), Some("1800;refresher=uas"));
    assert!(placed.answer(&invite, 422, "a", "Min-SE: 3600\r\n", "").news.is_none());
    let second = placed.invite().clone();
    assert_eq!((second.value("session-expires"), second.value("min-se")), (Some("3600;refresher=uas"), Some("3600")));
    let step = placed.answer(&second, 422, "a", "Min-SE: 3600\r\n", "");
    assert_eq!(failed(&step), Some(Failure::Refused(422)));

    let agreed = |lines: &str| {
        let mut placed = Placed::new(None);
        let invite = placed.invite().clone();
        let lines = format!("Contact: <sip:a@192.0.2.20>\r\n{lines}");
        let Some(News::Up(call)) = placed.answer(&invite, 200, "a", &lines, ANSWER).news else { panic!("it is up") };
        call.session().map(|session| (session.interval_s, session.ours))
    };
    assert_eq!(agreed(""), None);
    assert_eq!(agreed("Session-Expires: 600;refresher=uas\r\n"), Some((600, false)));
    assert_eq!(agreed("Session-Expires: 600;refresher=uac\r\nAllow: UPDATE\r\n"), Some((600, true)));
    assert_eq!(agreed("Session-Expires: 600;refresher=uac\r\n"), None, "we have no way to refresh");
}
