//! A phone that only signals: it registers, calls, answers whoever asks whether it is there, and hangs up. Its speech comes
//! to the listener's port at the same address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crosspatch::sip::digest::{DigestSecret, Respondent};
use crosspatch::sip::message::{Message, Start, parameter};
use crosspatch::sip::sdes::CryptoLine;
use crosspatch::wire::srtp::{MasterKey, Suite};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Phone {
    user: String,
    socket: UdpSocket,
    password: Respondent,
    calls: u32,
    cseq: u32,
    to_tag: Option<String>,
}

impl Phone {
    /// At an address of its own.
    pub fn new(number: usize, daemon: SocketAddr, realm: &str, password: &str) -> Self {
        let user = user(number);
        let first = u32::from(Ipv4Addr::new(127, 11, 0, 1));
        let socket = UdpSocket::bind((Ipv4Addr::from(first + number as u32), 0)).unwrap();
        socket.connect(daemon).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let secret = DigestSecret::new(&user, realm, password);
        let password = Respondent::new(&user, realm, secret);
        Self { user, socket, password, calls: 0, cseq: 0, to_tag: None }
    }

    pub fn register(&mut self) {
        let uri = format!("sip:{}", self.socket.peer_addr().unwrap());
        assert_eq!(self.ask_and_prove("REGISTER", &uri, "Expires: 3600\r\n", ""), 200);
    }

    /// Calls, and how long that took. Encrypted if wanted.
    pub fn call(&mut self, talkgroup: &str, media_port: u16, encrypted: bool) -> Duration {
        self.calls += 1;
        let uri = format!("sip:{talkgroup}@{}", self.socket.peer_addr().unwrap());
        let ip = self.ip();
        let (profile, keys) = if encrypted { ("RTP/SAVP", self.crypto()) } else { ("RTP/AVP", String::new()) };
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {media_port} {profile} 0\r\n{keys}"
        );
        let began = Instant::now();
        assert_eq!(self.ask_and_prove("INVITE", &uri, "Content-Type: application/sdp\r\n", &offer), 200, "{offer}");
        let took = began.elapsed();
        let ack = self.request("ACK", &uri, "", "");
        self.socket.send(ack.as_bytes()).unwrap();
        took
    }

    pub fn hang_up(&mut self) {
        let uri = format!("sip:{}", self.socket.peer_addr().unwrap());
        assert_eq!(self.ask("BYE", &uri, "", ""), 200);
        self.to_tag = None;
    }

    /// Where it hears.
    pub fn ip(&self) -> IpAddr {
        self.socket.local_addr().unwrap().ip()
    }

    /// Answers what has come.
    pub fn answer_pings(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let mut room = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut room) {
            self.answer(&room[..length]);
        }
        self.socket.set_nonblocking(false).unwrap();
    }

    fn crypto(&self) -> String {
        let suite = Suite::AesCm128HmacSha1_80;
        let key = vec![self.calls as u8; suite.key_bytes() + suite.salt_bytes()];
        let key = MasterKey::new(suite, &key).unwrap();
        format!("a=crypto:{}\r\n", CryptoLine { tag: 1, key, lifetime_packets: 1 << 48 }.to_value().as_str())
    }

    fn ask_and_prove(&mut self, method: &str, uri: &str, lines: &str, body: &str) -> u16 {
        let status = self.ask(method, uri, lines, body);
        if status != 401 {
            return status;
        }
        let answer = self.password.answer(method, uri, 1).unwrap();
        let status = self.ask(method, uri, &format!("{lines}Authorization: {answer}\r\n"), body);
        self.password.accepted();
        status
    }

    /// Sends a request and waits for its final answer.
    fn ask(&mut self, method: &str, uri: &str, lines: &str, body: &str) -> u16 {
        self.cseq += 1;
        let request = self.request(method, uri, lines, body);
        self.socket.send(request.as_bytes()).unwrap();
        let mut room = [0; 4096];
        loop {
            let length = self.socket.recv(&mut room).unwrap_or_else(|fault| panic!("{method} has no answer: {fault}"));
            let Some(message) = Message::read(&room[..length]) else { continue };
            let Start::Response { status } = message.start else {
                self.answer(&room[..length]);
                continue;
            };
            if status < 200 || message.cseq() != Some(self.cseq) {
                continue;
            }
            let challenges: Vec<&str> = message.values("www-authenticate").collect();
            if status == 401 {
                self.password.asked(&challenges).unwrap();
            }
            if method == "INVITE" && status == 200 {
                self.to_tag = parameter(message.value("to").unwrap(), "tag").map(str::to_owned);
            }
            return status;
        }
    }

    fn request(&self, method: &str, uri: &str, lines: &str, body: &str) -> String {
        let Self { user, cseq, calls, .. } = self;
        let (here, daemon) = (self.socket.local_addr().unwrap(), self.socket.peer_addr().unwrap());
        let to = if method == "REGISTER" { format!("sip:{user}@{daemon}") } else { uri.to_owned() };
        let tag = self.to_tag.as_ref().map_or(String::new(), |tag| format!(";tag={tag}"));
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK-{method}-{calls}-{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{daemon}>;tag=of-{user}-{calls}\r\nTo: <{to}>{tag}\r\n\
             Call-ID: {user}-{calls}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{user}@{here}>\r\n{lines}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn answer(&self, request: &[u8]) {
        let Some(request) = Message::read(request).filter(|message| message.method().is_some()) else { return };
        let of = |name| request.value(name).unwrap_or_default();
        let answer = format!(
            "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\nContent-Length: 0\r\n\r\n",
            of("via"),
            of("from"),
            of("to"),
            of("call-id"),
            of("cseq")
        );
        self.socket.send(answer.as_bytes()).unwrap();
    }
}

/// A phone's user and id.
pub fn user(number: usize) -> String {
    format!("phone-{number}")
}
