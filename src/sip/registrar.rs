//! Where phones are (RFC 3261 section 10.3): bindings of contacts to phones, each with an end.
//!
//! Not an authority: who may register as which phone was decided before. Not a proxy: it says where to call, in which
//! order, and over which flow. Pure and in memory: after a restart phones register anew. Owned by the SIP task. What it
//! will not store is a [`RegisterRefusal`], and then nothing of the request is stored.

mod address;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::flow::Flow;
use crate::domain::time::MonoTime;
use address::canonical;

/// How much is stored and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrarLimits {
    /// Shortest life (s): a phone that asks for less is told this. Each refresh costs a digest.
    pub expires_min_s: u32,
    /// Longest life (s): a phone that asks for more gets this. So long a dead phone may be called in vain.
    pub expires_max_s: u32,
    /// Bindings of one phone. A phone that changes its contact at every start fills them: the one refreshed longest ago
    /// gives way.
    pub bindings_per_phone: usize,
    /// Bindings in all: what the memory was sized for.
    pub bindings: usize,
}

impl Default for RegistrarLimits {
    fn default() -> Self {
        Self { expires_min_s: 60, expires_max_s: 3600, bindings_per_phone: 8, bindings: 10_000 }
    }
}

/// The longest text of a binding that is stored (bytes): URI, Call-ID or instance.
pub const TEXT_BYTES_MAX: usize = 512;

/// A REGISTER request, authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its Call-ID.
    pub call_id: String,
    /// Its CSeq number.
    pub cseq: u32,
    /// Its Contact headers.
    pub contacts: Contacts,
    /// Its Expires header (s).
    pub expires_s: Option<u32>,
    /// How it came.
    pub flow: Flow,
}

/// Which bindings a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contacts {
    /// `*`: all of them; only to be removed.
    All,
    /// These; none at all only asks.
    These(Vec<Contact>),
}

/// One contact of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The URI between the angle brackets.
    pub uri: String,
    /// `q` in thousandths: who is called first.
    pub q_thousandths: u16,
    /// `expires` (s).
    pub expires_s: Option<u32>,
    /// `+sip.instance` and `reg-id`: the same phone over another flow replaces itself (RFC 5626 section 6).
    pub instance: Option<(String, u32)>,
}

/// Where a phone can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The request URI.
    pub uri: String,
    /// Who is called first.
    pub q_thousandths: u16,
    /// The device, if it says so.
    pub instance: Option<(String, u32)>,
    /// Where the request must be sent, whatever the URI says.
    pub flow: Flow,
    /// When it ends.
    pub ends: MonoTime,
    /// When it was last refreshed.
    pub refreshed: MonoTime,
    call_id: String,
    cseq: u32,
}

impl Binding {
    /// What is left of it, as an answer says it (s).
    pub fn expires_s(&self, now: MonoTime) -> u32 {
        u32::try_from(self.ends.ms_since(now).div_ceil(1000)).unwrap_or(u32::MAX)
    }

    fn is_overtaken_by(&self, call_id: &str, cseq: u32) -> bool {
        self.call_id != call_id || self.cseq < cseq
    }
}

/// Why nothing was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterRefusal {
    /// `*` together with an end that is not 0, a contact twice, or more contacts than a phone may have.
    Malformed,
    /// A text longer than [`TEXT_BYTES_MAX`].
    TooLong,
    /// Older than what is stored: overtaken on its way.
    OutOfOrder,
    /// Shorter than this (s).
    TooBrief(u32),
    /// All places are taken.
    Full,
}

impl RegisterRefusal {
    /// The status of the answer; 423 goes with a Min-Expires header.
    pub fn status(self) -> u16 {
        match self {
            RegisterRefusal::Malformed | RegisterRefusal::TooLong => 400,
            RegisterRefusal::TooBrief(_) => 423,
            RegisterRefusal::OutOfOrder => 500,
            RegisterRefusal::Full => 503,
        }
    }
}

impl fmt::Display for RegisterRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegisterRefusal::Malformed => f.write_str("the contacts contradict each other"),
            RegisterRefusal::TooLong => write!(f, "a contact is longer than {TEXT_BYTES_MAX} bytes"),
            RegisterRefusal::OutOfOrder => f.write_str("a later registration is already stored"),
            RegisterRefusal::TooBrief(least) => write!(f, "registrations last at least {least} s"),
            RegisterRefusal::Full => f.write_str("no room for another registration"),
        }
    }
}

/// Bindings by phone. `P` names a phone.
#[derive(Debug)]
pub struct Registrar<P> {
    limits: RegistrarLimits,
    bindings_by_phone: BTreeMap<P, BTreeMap<Key, Binding>>,
    flows: BTreeMap<Flow, Usage<P>>,
    displaced: u64,
    refused_full: u64,
}

/// A binding's identity: the device and its flow's number, or else the contact.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Instance(String, u32),
    Address(String),
}

/// Who is reached over a flow, and when it last carried anything from there.
#[derive(Debug)]
struct Usage<P> {
    phones: BTreeSet<P>,
    heard: MonoTime,
}

impl<P: Ord + Clone> Registrar<P> {
    /// Knows nobody.
    pub fn new(limits: RegistrarLimits) -> Self {
        Self { limits, bindings_by_phone: BTreeMap::new(), flows: BTreeMap::new(), displaced: 0, refused_full: 0 }
    }

    /// Stores, refreshes or removes what the request asks for, all of it or nothing; an answer lists
    /// [`Registrar::bindings`].
    pub fn register(&mut self, phone: &P, request: &Registration, now: MonoTime) -> Result<(), RegisterRefusal> {
        let before = self.bindings_by_phone.get(phone).cloned().unwrap_or_default();
        let mut after: BTreeMap<_, _> = before.clone().into_iter().filter(|(_, binding)| binding.ends > now).collect();
        let displaced = match &request.contacts {
            Contacts::All if request.expires_s != Some(0) => return Err(RegisterRefusal::Malformed),
            Contacts::All => {
                if !after.values().all(|binding| binding.is_overtaken_by(&request.call_id, request.cseq)) {
                    return Err(RegisterRefusal::OutOfOrder);
                }
                after.clear();
                0
            }
            Contacts::These(contacts) => self.merge(contacts, request, now, &mut after)?,
        };
        let others = self.len() - before.len();
        if others + after.len() > self.limits.bindings {
            self.refused_full += 1;
            return Err(RegisterRefusal::Full);
        }
        self.displaced += displaced;
        self.replace(phone, after, now);
        Ok(())
    }

    /// Where to call, best first: by `q`, then the one refreshed last.
    pub fn bindings(&self, phone: &P, now: MonoTime) -> Vec<&Binding> {
        let all = self.bindings_by_phone.get(phone).into_iter().flat_map(BTreeMap::values);
        let mut all: Vec<_> = all.filter(|binding| binding.ends > now).collect();
        all.sort_by_key(|binding| std::cmp::Reverse((binding.q_thousandths, binding.refreshed)));
        all
    }

    /// Forgets what has ended; the phones that lost something. Called about once a second.
    pub fn expire(&mut self, now: MonoTime) -> Vec<P> {
        let has_ended = |bindings: &BTreeMap<Key, Binding>| bindings.values().any(|binding| binding.ends <= now);
        let phones = self.bindings_by_phone.iter().filter(|(_, bindings)| has_ended(bindings));
        let phones: Vec<P> = phones.map(|(phone, _)| phone.clone()).collect();
        for phone in &phones {
            self.retain(phone, now, |binding| binding.ends > now);
        }
        phones
    }

    /// Something came over a flow: a request, an answer, or a keep-alive (RFC 5626 section 3.5).
    pub fn heard(&mut self, flow: &Flow, now: MonoTime) {
        if let Some(usage) = self.flows.get_mut(flow) {
            usage.heard = usage.heard.max(now);
        }
    }

    /// Whether a phone is reached over this flow.
    pub fn knows(&self, flow: &Flow) -> bool {
        self.flows.contains_key(flow)
    }

    /// Flows over which phones are reached and nothing came for so long: to be pinged, lest a NAT forgets them.
    pub fn quiet(&self, for_ms: u64, now: MonoTime) -> impl Iterator<Item = &Flow> {
        let is_quiet = move |usage: &Usage<P>| now.ms_since(usage.heard) >= for_ms;
        self.flows.iter().filter(move |(_, usage)| is_quiet(usage)).map(|(flow, _)| flow)
    }

    /// A connection has closed, or pings stay unanswered: nobody is reached over it any more (RFC 5626 section 5.3).
    /// The phones that lost something.
    pub fn lost(&mut self, flow: &Flow, now: MonoTime) -> Vec<P> {
        let phones: Vec<P> =
            self.flows.get(flow).map(|usage| usage.phones.iter().cloned().collect()).unwrap_or_default();
        for phone in &phones {
            self.retain(phone, now, |binding| binding.flow != *flow);
        }
        phones
    }

    /// All flows over which phones are reached.
    pub fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.flows.keys()
    }

    /// Bindings stored, ended ones included until they are forgotten.
    pub fn len(&self) -> usize {
        self.bindings_by_phone.values().map(BTreeMap::len).sum()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.bindings_by_phone.is_empty()
    }

    /// Bindings that gave way because their phone had too many.
    pub fn displaced(&self) -> u64 {
        self.displaced
    }

    /// Requests refused because all places were taken.
    pub fn refused_full(&self) -> u64 {
        self.refused_full
    }

    /// RFC 3261 section 10.3 step 7, on a draft; how many bindings gave way.
    fn merge(
        &self,
        contacts: &[Contact],
        request: &Registration,
        now: MonoTime,
        draft: &mut BTreeMap<Key, Binding>,
    ) -> Result<u64, RegisterRefusal> {
        if contacts.len() > self.limits.bindings_per_phone {
            return Err(RegisterRefusal::Malformed);
        }
        let mut named = BTreeSet::new();
        for contact in contacts {
            let key = Key::of(contact, &request.call_id)?;
            if !named.insert(key.clone()) {
                return Err(RegisterRefusal::Malformed);
            }
            if draft.get(&key).is_some_and(|old| !old.is_overtaken_by(&request.call_id, request.cseq)) {
                return Err(RegisterRefusal::OutOfOrder);
            }
            let asked_s = contact.expires_s.or(request.expires_s).unwrap_or(self.limits.expires_max_s);
            if asked_s == 0 {
                draft.remove(&key);
                continue;
            }
            if asked_s < self.limits.expires_min_s {
                return Err(RegisterRefusal::TooBrief(self.limits.expires_min_s));
            }
            let life_s = asked_s.min(self.limits.expires_max_s);
            let binding = Binding {
                uri: contact.uri.clone(),
                q_thousandths: contact.q_thousandths,
                instance: contact.instance.clone(),
                flow: request.flow,
                ends: now.plus_ms(u64::from(life_s) * 1000),
                refreshed: now,
                call_id: request.call_id.clone(),
                cseq: request.cseq,
            };
            draft.insert(key, binding);
        }
        // Those of this request are the youngest, and there are not more of them than places.
        let mut displaced = 0;
        while draft.len() > self.limits.bindings_per_phone {
            let oldest = draft.iter().filter(|(key, _)| !named.contains(key));
            let Some(oldest) = oldest.min_by_key(|(_, binding)| binding.refreshed).map(|(key, _)| key.clone()) else {
                break;
            };
            draft.remove(&oldest);
            displaced += 1;
        }
        Ok(displaced)
    }

    fn retain(&mut self, phone: &P, now: MonoTime, keep: impl Fn(&Binding) -> bool) {
        let kept = self.bindings_by_phone.get(phone).cloned().unwrap_or_default();
        let kept = kept.into_iter().filter(|(_, binding)| keep(binding)).collect();
        self.replace(phone, kept, now);
    }

    /// The one place where bindings change, so that flows never lie.
    fn replace(&mut self, phone: &P, bindings: BTreeMap<Key, Binding>, now: MonoTime) {
        let used: BTreeSet<Flow> = bindings.values().map(|binding| binding.flow).collect();
        let before = match bindings.is_empty() {
            true => self.bindings_by_phone.remove(phone),
            false => self.bindings_by_phone.insert(phone.clone(), bindings),
        };
        for binding in before.iter().flat_map(BTreeMap::values).filter(|binding| !used.contains(&binding.flow)) {
            if let Some(usage) = self.flows.get_mut(&binding.flow) {
                usage.phones.remove(phone);
                if usage.phones.is_empty() {
                    self.flows.remove(&binding.flow);
                }
            }
        }
        for flow in used {
            let usage = self.flows.entry(flow).or_insert_with(|| Usage { phones: BTreeSet::new(), heard: now });
            usage.phones.insert(phone.clone());
        }
    }
}

impl Key {
    fn of(contact: &Contact, call_id: &str) -> Result<Self, RegisterRefusal> {
        let instance = contact.instance.as_ref().map_or(0, |(id, _)| id.len());
        if [contact.uri.len(), call_id.len(), instance].into_iter().any(|length| length > TEXT_BYTES_MAX) {
            return Err(RegisterRefusal::TooLong);
        }
        Ok(match &contact.instance {
            Some((id, number)) => Self::Instance(id.clone(), *number),
            None => Self::Address(canonical(&contact.uri)),
        })
    }
}
