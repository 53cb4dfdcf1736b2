//! A dialog (RFC 3261 section 12): whose request belongs to it, and how ours are addressed.
//! Session timers (RFC 4028) beside it. Not the call: what its media is and who ends it, [`super::call`] says.

use serde::{Deserialize, Serialize};

use super::flow::Flow;
use super::gate::is_request_uri;
use super::message::{Message, Writer, parameter, uri_of};
use crate::domain::time::MonoTime;

/// What both ends must know to speak of the same call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dialog {
    pub call_id: String,
    pub local_tag: String,
    remote_tag: String,
    /// Our and their address of record, tags included, as the headers have them.
    local: String,
    remote: String,
    /// Where the far side wants requests: its Contact.
    target: String,
    /// Proxies that want to stay in between.
    routes: Vec<String>,
    local_cseq: u32,
    /// None while it has asked nothing.
    remote_cseq: Option<u32>,
    /// Whence its last request came: through a NAT there is no other way back.
    pub flow: Flow,
}

impl Dialog {
    /// Of an INVITE that will be answered with this tag; `None` if it lacks what a dialog needs.
    pub fn of(invite: &Message, tag: &str, flow: Flow) -> Option<Self> {
        let (from, to) = (invite.value("from")?, invite.value("to")?);
        Some(Self {
            call_id: invite.value("call-id")?.to_owned(),
            local_tag: tag.to_owned(),
            // Without one it is a device of RFC 2543 (section 12.1.1).
            remote_tag: parameter(from, "tag").unwrap_or_default().to_owned(),
            local: format!("{to};tag={tag}"),
            remote: from.to_owned(),
            target: target_of(invite)?,
            routes: invite.list("record-route").into_iter().map(str::to_owned).collect(),
            local_cseq: 0,
            remote_cseq: Some(invite.cseq()?),
            flow,
        })
    }

    /// Of an answer to an INVITE of ours (section 12.1.2); `None` if it lacks what a dialog needs.
    pub fn of_answer(invite: &Message, answer: &Message, flow: Flow) -> Option<Self> {
        let (from, to) = (invite.value("from")?, answer.value("to")?);
        Some(Self {
            call_id: invite.value("call-id")?.to_owned(),
            local_tag: parameter(from, "tag")?.to_owned(),
            remote_tag: parameter(to, "tag").unwrap_or_default().to_owned(),
            local: from.to_owned(),
            remote: to.to_owned(),
            target: target_of(answer)?,
            routes: answer.list("record-route").into_iter().rev().map(str::to_owned).collect(),
            local_cseq: invite.cseq()?,
            remote_cseq: None,
            flow,
        })
    }

    /// The tag of the other end.
    pub fn remote_tag(&self) -> &str {
        &self.remote_tag
    }

    /// Whether a request with our tag is from the other end.
    pub fn is_from_peer(&self, request: &Message) -> bool {
        let tag = request.value("from").and_then(|from| parameter(from, "tag")).unwrap_or_default();
        tag == self.remote_tag
    }

    /// The number of its last request; an ACK repeats that of its INVITE.
    pub fn remote_cseq(&self) -> u32 {
        self.remote_cseq.unwrap_or_default()
    }

    /// Takes a request in order: false if it was overtaken (section 12.2.2).
    pub fn take(&mut self, request: &Message, flow: Flow) -> bool {
        let is_next = |cseq: &u32| self.remote_cseq.is_none_or(|last| *cseq > last);
        let Some(cseq) = request.cseq().filter(is_next) else { return false };
        self.remote_cseq = Some(cseq);
        self.flow = flow;
        let refreshes = matches!(request.method(), Some("INVITE" | "UPDATE"));
        if let Some(target) = target_of(request).filter(|_| refreshes) {
            self.target = target;
        }
        true
    }

    /// After a restart: what was asked since this was kept has used up numbers, one in half a minute.
    pub fn resumed(&mut self) {
        self.local_cseq = self.local_cseq.saturating_add(CSEQS_SKIPPED);
    }

    /// A request of ours, numbered and routed (section 12.2.1.1).
    pub fn request(&mut self, method: &str, branch: &str) -> Writer {
        self.local_cseq += 1;
        self.write(method, branch)
    }

    /// The ACK of the answer that made this dialog: it bears the number of its INVITE (section 13.2.2.4).
    pub fn acknowledgement(&self, branch: &str) -> Writer {
        self.write("ACK", branch)
    }

    fn write(&self, method: &str, branch: &str) -> Writer {
        let is_strict = |first: &&String| parameter_of_uri(first, "lr").is_none() && is_request_uri(uri_of(first));
        let strict = self.routes.first().filter(is_strict);
        let (uri, routes) = match strict {
            Some(first) => (uri_of(first).to_owned(), [&self.routes[1..], &[format!("<{}>", self.target)]].concat()),
            None => (self.target.clone(), self.routes.clone()),
        };
        let mut text = Writer::request(method, &uri).line("Via", &self.flow.via(branch)).line("Max-Forwards", "70");
        for route in &routes {
            text = text.line("Route", route);
        }
        text.line("From", &self.local)
            .line("To", &self.remote)
            .line("Call-ID", &self.call_id)
            .line("CSeq", &format!("{} {method}", self.local_cseq))
    }
}

/// More than a call asks in three weeks; and RFC 3261 section 8.1.1.5 has room for 32,000 restarts.
const CSEQS_SKIPPED: u32 = 1 << 16;

/// Where the sender of a request wants ours, if it says so in a way that can be written into one.
fn target_of(request: &Message) -> Option<String> {
    let uri = uri_of(request.list("contact").first()?);
    is_request_uri(uri).then(|| uri.to_owned())
}

/// A parameter inside the brackets.
fn parameter_of_uri<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    parameter(uri_of(value), name)
}

/// How long a session lasts unless somebody refreshes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub interval_s: u32,
    /// We must refresh; else the far side must.
    pub ours: bool,
    refreshed: MonoTime,
}

/// Its interval is shorter than ours may be (RFC 4028 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall;

impl Session {
    /// What the called side makes of a session that an INVITE or UPDATE proposes; `None`: no timer.
    pub fn agree(request: &Message, now: MonoTime) -> Result<Option<Self>, TooSmall> {
        let Some(proposed) = request.value("session-expires") else { return Ok(None) };
        let number = |text: &str| text.split(';').next()?.trim().parse::<u32>().ok();
        let Some(proposed_s) = number(proposed) else { return Ok(None) };
        let peer_can = request.lists("supported", "timer") || request.lists("require", "timer");
        if proposed_s < INTERVAL_MIN_S && peer_can {
            return Err(TooSmall);
        }
        // Whoever knows no timer cannot be told of it, and need not refresh.
        let wants_us = parameter(proposed, "refresher").is_some_and(|who| who.eq_ignore_ascii_case("uas")) || !peer_can;
        let can_update = request.lists("allow", "UPDATE");
        let interval_s = proposed_s.clamp(INTERVAL_MIN_S, INTERVAL_MAX_S);
        // We refresh by UPDATE only: where that is not known there is no timer, and the dialog's pings remain.
        Ok((!wants_us || can_update).then_some(Self { interval_s, ours: wants_us, refreshed: now }))
    }

    /// What became of the session that an INVITE of ours proposed (RFC 4028 section 7.2); `None`: no timer.
    pub fn answered(answer: &Message, now: MonoTime) -> Option<Self> {
        let value = answer.value("session-expires")?;
        let interval_s: u32 = value.split(';').next()?.trim().parse().ok()?;
        let ours = parameter(value, "refresher").is_some_and(|who| who.eq_ignore_ascii_case("uac"));
        // As above: without UPDATE we cannot refresh, and its pings say whether it lives.
        let can_update = answer.lists("allow", "UPDATE");
        let interval_s = interval_s.clamp(INTERVAL_MIN_S, INTERVAL_MAX_S);
        (!ours || can_update).then_some(Self { interval_s, ours, refreshed: now })
    }

    /// What the answer says of it.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let refresher = if self.ours { "uas" } else { "uac" };
        let mut lines = vec![("Session-Expires", format!("{};refresher={refresher}", self.interval_s))];
        lines.extend((!self.ours).then(|| ("Require", "timer".to_owned())));
        lines
    }

    /// What our refreshing request says of it.
    pub fn write_refresh(&self, request: Writer) -> Writer {
        request
            .line("Supported", "timer")
            .line("Session-Expires", &format!("{};refresher=uac", self.interval_s))
            .line("Min-SE", &INTERVAL_MIN_S.to_string())
    }

    /// After a restart: whoever must refresh it has all its time from now on, but we are due at once.
    pub fn resumed(&mut self, now: MonoTime) {
        let half_ms = if self.ours { u64::from(self.interval_s) * 500 } else { 0 };
        self.refreshed = MonoTime::from_millis(now.as_millis().saturating_sub(half_ms));
    }

    /// Our refresh was accepted.
    pub fn refreshed(&mut self, now: MonoTime) {
        self.refreshed = now;
    }

    /// Whether it is time for us to refresh: half the interval (section 10).
    pub fn is_due(&self, now: MonoTime) -> bool {
        self.ours && now.ms_since(self.refreshed) >= u64::from(self.interval_s) * 500
    }

    /// Whether nobody has refreshed in time: a third of it, or 32 s, before its end (section 10).
    pub fn is_over(&self, now: MonoTime) -> bool {
        let margin_s = (self.interval_s / 3).min(32);
        now.ms_since(self.refreshed) >= u64::from(self.interval_s - margin_s) * 1000
    }
}

/// RFC 4028 section 4: shorter ones only load the wire (s).
pub const INTERVAL_MIN_S: u32 = 90;
/// A dead call is noticed by pings long before (s).
const INTERVAL_MAX_S: u32 = 7200;

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(lines: &str) -> Message {
        let text = format!(
            "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\nFrom: <sip:1001@h>;tag=f\r\n\
             To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 5 INVITE\r\nContact: <sip:1001@192.0.2.9:5070>\r\n{lines}\r\n"
        );
        Message::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn who_refreshes_is_who_can() {
        let now = MonoTime::from_millis(1);
        let agreed = |lines: &str| {
            Session::agree(&invite(lines), now).map(|session| session.map(|session| (session.interval_s, session.ours)))
        };
        let both = "Supported: timer\r\nAllow: INVITE, UPDATE\r\n";
        assert_eq!(agreed("Supported: timer\r\n"), Ok(None));
        assert_eq!(agreed(&format!("{both}Session-Expires: 600\r\n")), Ok(Some((600, false))));
        assert_eq!(agreed(&format!("{both}x: 600;refresher=uas\r\n")), Ok(Some((600, true))));
        assert_eq!(agreed("Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n"), Ok(None), "no way to refresh");
        assert_eq!(agreed(&format!("{both}Session-Expires: 60\r\n")), Err(TooSmall));
        assert_eq!(agreed("Allow: UPDATE\r\nSession-Expires: 60\r\n"), Ok(Some((90, true))), "it knows no 422");
    }

    #[test]
    fn a_session_nobody_refreshes_ends_before_its_time_and_ours_is_refreshed_at_half() {
        let at = |s: u64| MonoTime::from_millis(1000 + s * 1000);
        let text = invite("Allow: UPDATE\r\nSession-Expires: 90\r\n");
        let mut session = Session::agree(&text, at(0)).unwrap().unwrap();
        assert_eq!([44, 45].map(|s| session.is_due(at(s))), [false, true]);
        assert_eq!([59, 60].map(|s| session.is_over(at(s))), [false, true]);
        session.refreshed(at(45));
        assert!(!session.is_due(at(89)) && !session.is_over(at(104)) && session.is_over(at(105)));
    }

    fn from(ip: [u8; 4], port: u16) -> Flow {
        Flow::datagrams(([192, 0, 2, 1], 5060).into(), (ip, port).into())
    }

    #[test]
    fn requests_follow_the_route_and_bear_the_dialogs_names() {
        let there = from([192, 0, 2, 9], 5070);
        let routed = invite("Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\n");
        let mut dialog = Dialog::of(&routed, "t1", there).unwrap();
        let bye = Message::read(&dialog.request("BYE", "z9hG4bKq").bytes()).unwrap();
        assert_eq!(bye.list("route"), ["<sip:p1;lr>", "<sip:p2;lr>"]);
        let super::super::message::Start::Request { uri, .. } = &bye.start else { panic!("a request") };
        assert_eq!(uri, "sip:1001@192.0.2.9:5070");
        assert_eq!((bye.value("from"), bye.value("to")), (Some("<sip:a@b>;tag=t1"), Some("<sip:1001@h>;tag=f")));
        let mut strict = Dialog::of(&invite("Record-Route: <sip:p1>, <sip:p2>\r\n"), "t1", there).unwrap();
        let bye = Message::read(&strict.request("BYE", "z9hG4bKq").bytes()).unwrap();
        assert_eq!(bye.list("route"), ["<sip:p2>", "<sip:1001@192.0.2.9:5070>"]);
        assert!(matches!(&bye.start, super::super::message::Start::Request { uri, .. } if uri == "sip:p1"));
    }

    #[test]
    fn a_contact_that_no_request_can_be_sent_to_makes_no_dialog_and_moves_none() {
        let there = from([192, 0, 2, 9], 5070);
        for bad in ["sip:1001@19\".0.2.9", "sip:1001@192.0.2.9:0", "sip:1001@192.0.2.9?Subject=x", "mailto:a@b"] {
            let invite = |uri: &str, cseq: u32| {
                let text = format!(
                    "INVITE sip:a@b SIP/2.0\r\nFrom: <sip:1001@h>;tag=f\r\nTo: <sip:a@b>\r\nCall-ID: c\r\n\
                     CSeq: {cseq} INVITE\r\nContact: <{uri}>\r\n\r\n"
                );
                Message::read(text.as_bytes()).unwrap()
            };
            assert!(Dialog::of(&invite(bad, 1), "t", there).is_none(), "{bad}");
            let mut dialog = Dialog::of(&invite("sip:1001@192.0.2.9", 1), "t", there).unwrap();
            assert!(dialog.take(&invite(bad, 2), there));
            assert_eq!(dialog.target, "sip:1001@192.0.2.9");
        }
    }

    #[test]
    fn an_overtaken_request_moves_nothing() {
        let mut dialog = Dialog::of(&invite(""), "t1", from([192, 0, 2, 9], 5070)).unwrap();
        assert!(!dialog.take(&invite(""), from([198, 51, 100, 1], 1)));
        assert_eq!(dialog.flow, from([192, 0, 2, 9], 5070));
        assert!(dialog.is_from_peer(&invite("")));
    }
}
