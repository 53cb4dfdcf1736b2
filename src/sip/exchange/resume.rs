//! What outlives the process: each call as a record, and what becomes of a record at the next start. A call whose phone
//! is still there goes on where its media was; any other is hung up on.

use zeroize::Zeroizing;

use super::{Act, Exchange};
use crate::domain::id::GatewayId;
use crate::domain::time::MonoTime;
use crate::sip::call::{Call, CallEnd, CallNumber};
use crate::sip::offer::LocalMedia;

/// A call with its keys: only ever written sealed.
pub type CallRecord = Zeroizing<Vec<u8>>;

/// Opens the sockets that a call had; false if they are not free.
pub type OpenAgain<'a> = &'a mut dyn FnMut(CallNumber, LocalMedia) -> bool;

impl Exchange {
    /// Calls that have changed since this was asked, and what is to be kept of each: nothing of those that are over.
    pub fn unkept(&mut self) -> Vec<(CallNumber, Option<CallRecord>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|number| (number, self.calls.get(&number).and_then(record_of))).collect()
    }

    /// Calls that are up.
    pub fn call_numbers(&self) -> impl Iterator<Item = CallNumber> {
        self.calls.keys().copied()
    }

    /// A call of before the start. It goes on if `may` says so of its phone, its phone has its place, and its sockets can
    /// be opened.
    pub fn resume(
        &mut self,
        (number, record): (CallNumber, &[u8]),
        may: &dyn Fn(&GatewayId) -> bool,
        open: OpenAgain<'_>,
        now: MonoTime,
        acts: &mut Vec<Act>,
    ) {
        self.changed.insert(number);
        let read = serde_json::from_slice::<Call>(record).ok();
        let Some(mut call) = read.filter(|call| call.number == number) else { return };
        call.resumed(now);
        let (phone, flow) = (call.phone.clone(), call.dialog.flow);
        let has_place = self.standing.keeps(&phone, &flow) || self.places.iter().any(|place| place.phone == phone);
        let is_reached = flow.transport.is_reliable() || flow.local == self.here;
        let is_alone = self.in_call().all(|other| *other != phone);
        let agreed = call.agreed_media().filter(|_| may(&phone) && has_place && is_reached && is_alone);
        let Some((media, protection)) = agreed.filter(|_| open(number, call.local_media())) else {
            *self.counters.calls_ended.entry(CallEnd::Restarted).or_default() += 1;
            return self.say_bye(&mut call.dialog, now, acts);
        };
        self.counters.calls_resumed += 1;
        let roll_overs_most = u32::try_from(call.age_ms(now) / ROLL_OVER_MS + 1).unwrap_or(u32::MAX);
        self.standing.began(&phone, now);
        if let Some(way) = self.standing.way_to(&phone).filter(|way| way.transport.is_reliable()) {
            call.moved(way);
        }
        self.call_by_tag.insert(call.dialog.local_tag.clone(), number);
        self.calls.insert(number, call);
        acts.push(Act::Resume { phone, call: number, media, protection, roll_overs_most });
    }
}

/// Without media there is nothing to go on with.
fn record_of(call: &Call) -> Option<CallRecord> {
    call.agreed_media()?;
    // One allocation, so that no half-written copy stays behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(RECORD_BYTES));
    serde_json::to_writer(&mut *bytes, call).ok()?;
    Some(bytes)
}

/// Names, routes and codecs of a call, a message's worth (bytes).
const RECORD_BYTES: usize = 32 << 10;
/// The quickest that sequence numbers come round: packets of 10 ms (ms).
const ROLL_OVER_MS: u64 = 65_536 * 10;
