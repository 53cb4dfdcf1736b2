//! Who it is, where it is, and the beginning of its calls: REGISTER and the first INVITE.

use super::lines::Reached;
use super::{Act, CALLS_MAX, Came, Exchange, OpenMedia};
use crate::domain::call::PhoneSign;
use crate::domain::time::MonoTime;
use crate::sip::call::{Call, CallEnd, Outcome, Reply};
use crate::sip::dialog::Dialog;
use crate::sip::digest::{Authorization, Verdict};
use crate::sip::message::{Message, parameter, uri_of, user_of};
use crate::sip::registrar::{Contact, Contacts, RegisterRefusal, Registration};

impl Exchange {
    /// The user that made this request, or it has been asked who it is.
    pub(super) fn authenticated(
        &mut self,
        request: &Message,
        came: &Came,
        now: MonoTime,
        acts: &mut Vec<Act>,
    ) -> Option<String> {
        let mut stale = false;
        // A phone with several accounts sends several.
        for value in request.values("authorization") {
            let Ok(answer) = Authorization::parse(value) else { continue };
            let secret = self.secrets.get(&answer.username);
            match self.challenger.judge(&answer, request.method().unwrap_or_default(), secret, now) {
                Verdict::Right => return Some(answer.username),
                Verdict::Stale => stale = true,
                Verdict::Wrong => self.counters.not_authentic += 1,
            }
        }
        self.counters.challenged += 1;
        let mut reply = Reply::of(401);
        for challenge in self.challenger.challenges(stale, now) {
            reply = reply.with("WWW-Authenticate", challenge);
        }
        self.answer_stateless(request, came, &reply, acts);
        None
    }

    pub(super) fn register(&mut self, request: &Message, came: &Came, now: MonoTime, acts: &mut Vec<Act>) {
        let Some(user) = self.authenticated(request, came, now, acts) else { return };
        let aor = request.value("to").map(|to| user_of(uri_of(to))).unwrap_or_default();
        if aor != user {
            return self.answer(request, came, &Reply::of(403), None, now, acts);
        }
        let registration = registration(request, came);
        if let Err(why) = self.registrar.register(&user, &registration, now) {
            let mut reply = Reply::of(why.status());
            if let RegisterRefusal::TooBrief(least_s) = why {
                reply = reply.with("Min-Expires", least_s.to_string());
            }
            return self.answer(request, came, &reply, None, now, acts);
        }
        let mut reply = Reply::of(200);
        for binding in self.registrar.bindings(&user, now) {
            reply = reply.with("Contact", format!("<{}>;expires={}", binding.uri, binding.expires_s(now)));
        }
        self.answer(request, came, &reply, None, now, acts);
        self.find_calls(&user, came.flow, now);
        self.tell_registered(&user, now, acts);
    }

    /// All places of a user are where it is.
    pub(super) fn tell_registered(&mut self, user: &str, now: MonoTime, acts: &mut Vec<Act>) {
        let is_there = !self.registrar.bindings(&user.to_owned(), now).is_empty();
        let changed = if is_there { self.registered.insert(user.to_owned()) } else { self.registered.remove(user) };
        if !changed {
            return;
        }
        self.tell_places(user, is_there, acts);
        if let Some((trunk, is_up)) = self.trunks.registered(user, is_there) {
            self.tell_trunk(trunk, is_up, acts);
        }
    }

    /// All places of a user can be called, or no longer.
    pub(super) fn tell_places(&self, user: &str, is_there: bool, acts: &mut Vec<Act>) {
        for place in self.places.iter().filter(|place| place.user == user) {
            acts.push(Act::tell(place.phone.clone(), PhoneSign::Registered(is_there)));
        }
    }

    pub(super) fn invite(
        &mut self,
        request: &Message,
        came: &Came,
        now: MonoTime,
        open: OpenMedia<'_>,
        acts: &mut Vec<Act>,
    ) {
        let gateway =
            self.standing.calling(request, &came.flow).map(|setting| (setting.id.clone(), setting.proves.clone()));
        let reached = match gateway {
            Some(gateway) => self.admit_gateway(gateway, request, came, now, acts),
            None => self.caller(request, came, now, acts).map(|user| self.reach(&user, request)),
        };
        let reached = match reached {
            Some(Reached::Place(phone)) => self.may_begin(request).map(|()| phone),
            Some(Reached::Emergency(number)) => Err(self.redirect(&number, now)),
            Some(Reached::Busy) => Err(Reply::of(486)),
            Some(Reached::Nobody) => Err(Reply::of(404)),
            None => return,
        };
        let phone = match reached {
            Ok(phone) => phone,
            Err(reply) => return self.answer(request, came, &reply, None, now, acts),
        };
        let tag = self.names.tag();
        let Some(dialog) = Dialog::of(request, &tag, came.flow) else {
            return self.answer(request, came, &Reply::of(400), None, now, acts);
        };
        let number = self.names.number();
        let Some(local) = open(number) else {
            return self.answer(request, came, &Reply::of(503).with("Retry-After", "5"), None, now, acts);
        };
        let session = self.names.number();
        let (rules, secrets) = (&self.rules_of(&phone, &came.flow), self.names.secrets());
        let of_dialog = (came.key.clone(), dialog);
        let begun = Call::begin(request, (phone.clone(), number), of_dialog, (local, session), (rules, &secrets), now);
        match begun {
            Err(reply) => {
                acts.push(Act::Close(number));
                self.answer(request, came, &reply, None, now, acts);
            }
            Ok((call, reply, outcome)) => {
                // A phone that starts anew does not know its old call any more: the new one is what it wants.
                let old: Vec<_> = self.calls.values().filter(|old| old.phone == phone).map(|old| old.number).collect();
                old.into_iter().for_each(|old| self.end(old, CallEnd::Replaced, now, acts));
                self.give_up(Some(&phone), now, acts);
                self.standing.began(&phone, now);
                self.counters.calls_begun += 1;
                self.call_by_tag.insert(tag.clone(), number);
                self.calls.insert(number, call);
                self.changed.insert(number);
                // Heard before it is told that it is: what is said meanwhile is not lost.
                let begins = matches!(outcome, Outcome::Media(..)).then_some(number);
                self.carry_out(number, outcome, begins, now, acts);
                self.answer(request, came, &reply, Some(&tag), now, acts);
            }
        }
    }

    /// Whether a call that reaches somebody can be understood and has room.
    fn may_begin(&self, request: &Message) -> Result<(), Reply> {
        let kind = request.value("content-type").unwrap_or("application/sdp");
        let is_sdp = kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/sdp"));
        if !is_sdp && !request.body.is_empty() {
            return Err(Reply::of(415).with("Accept", "application/sdp"));
        }
        if self.calls.len() >= CALLS_MAX {
            return Err(Reply::of(503).with("Retry-After", "5"));
        }
        Ok(())
    }
}

/// An authenticated REGISTER as the registrar wants it.
fn registration(request: &Message, came: &Came) -> Registration {
    let contacts = request.list("contact");
    Registration {
        call_id: request.value("call-id").unwrap_or_default().to_owned(),
        cseq: request.cseq().unwrap_or_default(),
        contacts: match contacts[..] {
            ["*"] => Contacts::All,
            _ => Contacts::These(contacts.into_iter().map(contact).collect()),
        },
        expires_s: request.value("expires").and_then(|expires| expires.parse().ok()),
        flow: came.flow,
    }
}

fn contact(value: &str) -> Contact {
    let thousandths = |q: &str| q.parse::<f32>().ok().map(|q| (q.clamp(0.0, 1.0) * 1000.0) as u16);
    let flow = parameter(value, "reg-id").and_then(|number| number.parse().ok()).unwrap_or(0);
    Contact {
        uri: uri_of(value).to_owned(),
        q_thousandths: parameter(value, "q").and_then(thousandths).unwrap_or(1000),
        expires_s: parameter(value, "expires").and_then(|expires| expires.parse().ok()),
        instance: parameter(value, "+sip.instance").map(|id| (id.to_owned(), flow)),
    }
}
