//! A phone of the test's own, as text, and the exchange it talks to, in a time of the test's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crosspatch::domain::audio::Codec;
use crosspatch::domain::call::{CallMedia, PhoneSign};
use crosspatch::domain::configuration::MediaSecurity;
use crosspatch::domain::id::GatewayId;
use crosspatch::domain::time::MonoTime;
use crosspatch::sip::call::CallNumber;
use crosspatch::sip::digest::{Algorithm, DigestSecret, Respondent};
use crosspatch::sip::exchange::{Act, CallRecord, Exchange, Place, Setting};
use crosspatch::sip::flow::Flow;
use crosspatch::sip::message::{Message, Start, parameter};
use crosspatch::sip::offer::{LocalMedia, Protection};
use crosspatch::sip::standing::GatewaySetting;
use crosspatch::sip::trunk::TrunkSetting;
use zeroize::Zeroizing;

pub const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 5060);

/// Where media of calls arrives.
const MEDIA: LocalMedia =
    LocalMedia { rtp: SocketAddr::new(HERE.ip(), 40_000), rtcp: SocketAddr::new(HERE.ip(), 40_001) };

/// What the exchange was seen to do.
#[derive(Default)]
pub struct Desk {
    /// Everything it sent since somebody last looked, with whom it sent it to.
    pub sent: Vec<(SocketAddr, Message)>,
    /// The same as bytes.
    pub raw: Vec<Vec<u8>>,
    /// How all of it went.
    pub flows: Vec<Flow>,
    /// Everything it said of phones.
    pub told: Vec<(String, PhoneSign)>,
    /// Everything it said of trunks.
    pub trunks: Vec<(String, bool)>,
    /// Sockets that are open for calls.
    pub open: usize,
    pub handed_over: usize,
    /// What the last media is encrypted under, if it is.
    pub protection: Option<Protection>,
    /// How often what comes under those keys may have rolled over.
    pub roll_overs_most: u32,
}

/// An exchange with two users: 1001 at pd-1 (6001) and pd-2 (6002), 1002 at pd-1.
pub struct Rig {
    pub exchange: Exchange,
    pub now: MonoTime,
    pub desk: Desk,
    /// What is given comes over this connection.
    pub over: Option<Flow>,
    /// What the disk has.
    pub kept: BTreeMap<CallNumber, CallRecord>,
    pub setting: Setting,
}

impl Rig {
    pub fn new() -> Self {
        Self::with(&[Algorithm::Md5])
    }

    pub fn with(digests: &[Algorithm]) -> Self {
        Self::with_trunks(digests, Vec::new(), Vec::new())
    }

    pub fn encrypting(digests: &[Algorithm], srtp: MediaSecurity, keys_in_clear: bool) -> Self {
        Self::made(digests, (srtp, keys_in_clear), (Vec::new(), Vec::new()), (HERE, Vec::new()))
    }

    /// The same, somewhere, with radio gateways; all of them are in the configuration in force.
    pub fn with_gateways(here: SocketAddr, gateways: Vec<GatewaySetting>) -> Self {
        let protected = (MediaSecurity::Optional, false);
        let mut rig = Self::made(&[Algorithm::Md5], protected, (Vec::new(), Vec::new()), (here, gateways));
        rig.exchange.want(|_, _| true, rig.now, &mut Vec::new());
        rig
    }

    /// The same with trunks and their lines.
    pub fn with_trunks(digests: &[Algorithm], trunks: Vec<TrunkSetting>, lines: Vec<Place>) -> Self {
        Self::made(digests, (MediaSecurity::Optional, false), (trunks, lines), (HERE, Vec::new()))
    }

    fn made(
        digests: &[Algorithm],
        (srtp, keys_in_clear): (MediaSecurity, bool),
        (trunks, lines): (Vec<TrunkSetting>, Vec<Place>),
        (here, gateways): (SocketAddr, Vec<GatewaySetting>),
    ) -> Self {
        let place = |phone: &str, user: &str, dialled: [&str; 2]| Place {
            phone: GatewayId::new(phone).unwrap(),
            user: user.to_owned(),
            is_line: false,
            dialled: dialled.map(str::to_owned).to_vec(),
            srtp,
        };
        let secret = |user: &str| (user.to_owned(), DigestSecret::new(user, "county", &format!("pw-{user}")));
        let setting = Setting {
            here,
            here_tcp: Some(here),
            realm: "county".to_owned(),
            digests: digests.to_vec(),
            codecs: vec![Codec::Opus, Codec::G722, Codec::Pcmu],
            keys_in_clear,
            places: [
                place("chief", "1001", ["pd-1", "6001"]),
                place("chief-2", "1001", ["pd-2", "6002"]),
                place("deputy", "1002", ["pd-1", "6001"]),
            ]
            .into_iter()
            .chain(lines)
            .collect(),
            secrets: BTreeMap::from([secret("1001"), secret("1002"), secret("pbx")]),
            trunks,
            gateways,
            emergency_numbers: vec!["911".to_owned(), "112".to_owned()],
            key: Zeroizing::new([7; 32]),
        };
        let (exchange, now) = (Exchange::new(setting.clone()), MonoTime::from_millis(3_600_000));
        Self { exchange, now, desk: Desk::default(), over: None, kept: BTreeMap::new(), setting }
    }

    /// A datagram comes in; what was sent because of it comes back.
    pub fn give(&mut self, bytes: &[u8], source: SocketAddr) -> Vec<Message> {
        let mut acts = Vec::new();
        let desk = &mut self.desk;
        let mut open = |_| {
            desk.open += 1;
            Some(MEDIA)
        };
        match self.over {
            Some(flow) => self.exchange.hear(bytes, flow, self.now, &mut open, &mut acts),
            None => self.exchange.handle(bytes, source, self.now, &mut open, &mut acts),
        }
        self.note(acts)
    }

    /// The daemon was killed and starts again: what is on disk goes on if it may and its sockets are free.
    pub fn restart(&mut self, may: bool, is_free: bool) -> Vec<Message> {
        self.desk = Desk::default();
        let key = Zeroizing::new([8; 32]);
        self.exchange = Exchange::new(Setting { key, ..self.setting.clone() });
        let mut acts = Vec::new();
        self.exchange.want(|_, _| true, self.now, &mut acts);
        for (number, record) in self.kept.clone() {
            let mut open = |_, media: LocalMedia| is_free && media.rtp.port() == 40_000;
            self.exchange.resume((number, &record), &|_| may, &mut open, self.now, &mut acts);
        }
        self.note(acts)
    }

    /// So much time passes (ms).
    pub fn pass(&mut self, ms: u64) -> Vec<Message> {
        let mut sent = Vec::new();
        for _ in 0..ms.div_ceil(100) {
            self.now = self.now.plus_ms(100);
            let mut acts = Vec::new();
            self.exchange.tick(self.now, &mut acts);
            let desk = &mut self.desk;
            let mut open = |_| {
                desk.open += 1;
                Some(MEDIA)
            };
            self.exchange.keep_up(self.now, &mut open, &mut acts);
            sent.extend(self.note(acts));
        }
        sent
    }

    pub fn note(&mut self, acts: Vec<Act>) -> Vec<Message> {
        let mut sent = Vec::new();
        for act in acts {
            match act {
                Act::Send(datagram) => {
                    let message = Message::read(&datagram.bytes).expect("we read what we write");
                    agree(&message, &datagram.bytes);
                    self.desk.flows.push(datagram.to);
                    self.desk.raw.push(datagram.bytes);
                    self.desk.sent.push((datagram.to.remote, message.clone()));
                    sent.push(message);
                }
                Act::Tell { phone, sign, begins, protection } => {
                    self.desk.handed_over += usize::from(begins.is_some());
                    if matches!(sign, PhoneSign::Media(_)) {
                        self.desk.protection = protection;
                    }
                    self.desk.told.push((phone.to_string(), sign));
                }
                Act::Resume { phone, call: _, media, protection, roll_overs_most } => {
                    self.desk.handed_over += 1;
                    self.desk.open += 1;
                    self.desk.roll_overs_most = roll_overs_most;
                    self.desk.protection = protection;
                    self.desk.told.push((phone.to_string(), PhoneSign::Media(media)));
                }
                Act::Trunk { trunk, is_up } => self.desk.trunks.push((trunk.to_string(), is_up)),
                Act::Close(_) => self.desk.open -= 1,
            }
        }
        for (number, record) in self.exchange.unkept() {
            match record {
                Some(record) => drop(self.kept.insert(number, record)),
                None => drop(self.kept.remove(&number)),
            }
        }
        sent
    }

    /// What was said of phones since somebody last asked.
    pub fn told(&mut self) -> Vec<(String, PhoneSign)> {
        std::mem::take(&mut self.desk.told)
    }

    /// The last media that was told.
    pub fn media(&mut self) -> CallMedia {
        let told = self.told();
        let last = told.into_iter().rev().find_map(|(_, sign)| match sign {
            PhoneSign::Media(media) => Some(media),
            PhoneSign::Registered(_) | PhoneSign::Rings | PhoneSign::Key(_) | PhoneSign::Ended => None,
        });
        last.expect("media was told")
    }
}

/// A second reader, which nobody here wrote, finds in it what ours does.
fn agree(ours: &Message, bytes: &[u8]) {
    use rsip::prelude::{HeadersExt, ToTypedHeader, UntypedHeader};
    let of = |name| ours.value(name).unwrap_or_default();
    if of("cseq").ends_with("DANCE") || of("to").contains("<tel:") {
        return; // it knows no method beyond the RFCs', and no telephone's URI
    }
    if of("via").contains('[') {
        return; // nor an address of the newer internet
    }
    if !of("to").contains("sip:") {
        return; // nor a bare number
    }
    let theirs = rsip::SipMessage::try_from(bytes).expect("rsip reads it");
    assert_eq!(theirs.call_id_header().unwrap().value(), of("call-id"));
    assert_eq!(theirs.cseq_header().unwrap().seq().unwrap(), ours.cseq().unwrap());
    assert_eq!(theirs.from_header().unwrap().value(), of("from"));
    assert_eq!(
        theirs.to_header().unwrap().tag().unwrap().map(|tag| tag.to_string()),
        parameter(of("to"), "tag").map(str::to_owned)
    );
    let branch = parameter(of("via"), "branch");
    assert_eq!(
        theirs.via_header().unwrap().typed().unwrap().branch().map(|branch| branch.to_string()).as_deref(),
        branch
    );
    assert_eq!(*theirs.body(), ours.body);
    match (&theirs, &ours.start) {
        (rsip::SipMessage::Request(request), Start::Request { method, uri }) => {
            // It writes a transport in capitals.
            let theirs = request.uri.to_string().replace(";transport=TCP", ";transport=tcp");
            assert_eq!((request.method.to_string(), theirs), (method.clone(), uri.clone()));
        }
        (rsip::SipMessage::Response(response), Start::Response { status }) => {
            assert_eq!(response.status_code.code(), *status);
        }
        (_, start) => panic!("rsip takes {start:?} for something else"),
    }
}

/// One account on one device.
pub struct Phone {
    pub user: String,
    pub source: SocketAddr,
    password: Respondent,
    cseq: u32,
    branch: u32,
    call_id: String,
    /// The far tag, once there is a dialog.
    pub to_tag: Option<String>,
    answers: Option<String>,
}

impl Phone {
    pub fn new(user: &str, password: &str) -> Self {
        let secret = DigestSecret::new(user, "county", password);
        Self {
            user: user.to_owned(),
            source: ([192, 0, 2, 50], 5070).into(),
            password: Respondent::new(user, "county", secret),
            cseq: 0,
            branch: 0,
            call_id: format!("call-{user}"),
            to_tag: None,
            answers: None,
        }
    }

    /// The next call is another one.
    pub fn anew(&mut self, call_id: &str) {
        self.call_id = call_id.to_owned();
        self.to_tag = None;
    }

    /// The next request as text.
    pub fn request(&mut self, method: &str, uri: &str, lines: &str, body: &str) -> String {
        if method != "ACK" {
            self.cseq += 1;
        }
        self.branch += 1;
        let Self { user, source, cseq, branch, call_id, .. } = self;
        let to = if method == "REGISTER" { format!("sip:{user}@192.0.2.1") } else { uri.to_owned() };
        let tag = self.to_tag.as_ref().map_or(String::new(), |tag| format!(";tag={tag}"));
        let kind =
            if body.is_empty() || lines.contains("Content-Type") { "" } else { "Content-Type: application/sdp\r\n" };
        let answers = self.answers.take().map_or(String::new(), |value| format!("Authorization: {value}\r\n"));
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {source};branch=z9hG4bK-{call_id}-{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: \"{user}\" <sip:{user}@192.0.2.1>;tag=from-{user}\r\nTo: <{to}>{tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{user}@{source}>\r\nUser-Agent: a test's own\r\n\
             {answers}{lines}{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// Sends a request and returns its final answer.
    pub fn ask(&mut self, rig: &mut Rig, method: &str, uri: &str, lines: &str, body: &str) -> Message {
        let text = self.request(method, uri, lines, body);
        rig.give(text.as_bytes(), self.source).pop().unwrap_or_else(|| panic!("no answer to {text}"))
    }

    /// Sends a request, and once more with its password if it is asked who it is.
    pub fn ask_and_prove(&mut self, rig: &mut Rig, method: &str, uri: &str, lines: &str, body: &str) -> Message {
        let answer = self.ask(rig, method, uri, lines, body);
        if status(&answer) != 401 {
            return answer;
        }
        let values: Vec<&str> = answer.values("www-authenticate").collect();
        self.password.asked(&values).expect("a challenge that can be answered");
        self.answers = self.password.answer(method, uri, 0xc0ffee);
        let answer = self.ask(rig, method, uri, lines, body);
        if status(&answer) != 401 {
            self.password.accepted();
        }
        answer
    }

    pub fn register(&mut self, rig: &mut Rig, expires_s: u32) -> Message {
        let lines = format!("Expires: {expires_s}\r\n");
        self.ask_and_prove(rig, "REGISTER", "sip:192.0.2.1", &lines, "")
    }

    /// Calls, and acknowledges an answer that is yes.
    pub fn call(&mut self, rig: &mut Rig, number: &str, lines: &str, body: &str) -> Message {
        let uri = if number.contains(':') { number.to_owned() } else { format!("sip:{number}@192.0.2.1") };
        let answer = self.ask_and_prove(rig, "INVITE", &uri, lines, body);
        if status(&answer) == 200 {
            self.to_tag = parameter(answer.value("to").unwrap(), "tag").map(str::to_owned);
        }
        answer
    }

    pub fn acknowledge(&mut self, rig: &mut Rig, body: &str) -> Vec<Message> {
        let text = self.request("ACK", "sip:192.0.2.1:5060", "", body);
        rig.give(text.as_bytes(), self.source)
    }

    /// A call that is up.
    pub fn up(&mut self, rig: &mut Rig, number: &str, lines: &str) -> Message {
        let answer = self.call(rig, number, lines, OFFER);
        assert_eq!(status(&answer), 200);
        self.acknowledge(rig, "");
        answer
    }
}

pub fn status(message: &Message) -> u16 {
    match message.start {
        Start::Response { status } => status,
        Start::Request { .. } => panic!("a request: {message:?}"),
    }
}

/// What a plain phone offers.
pub const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.50\r\ns=-\r\nc=IN IP4 192.0.2.50\r\nt=0 0\r\n\
    m=audio 7000 RTP/AVP 0 9 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:9 G722/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\n";
