//! Groups of equal listeners: everybody who hears the same bursts with the same gains in the same format gets the same
//! bytes, encoded once. A group keeps its encoder from tick to tick, and over a change of talkers if it can, so that
//! decoders hear one stream; G.722 listeners share the sum and each have a coder of their own (decision 018). Owned by
//! the shard; the number of groups is the number of encoders.
//!
//! A packet longer than a tick is filled over several. Packets of one length begin at the same tick in all groups, so
//! that a port may go from one to another; nobody goes into a packet in which somebody sounds whom it may not hear.

use crate::domain::audio::{Format, Frame, Gain, MIX_FRAME};

use super::codec::{CodecPool, Decoded, Encoder, Payload};
use super::hearing::EARS_MAX;
use super::limits::ShardLimits;
use super::slab::{BurstSlot, PortSlot};
use super::transmit::MixedFrame;

/// One burst in a mix, and how loud.
pub type Part = (BurstSlot, Gain);

/// Listeners that need equal bytes.
pub struct MixGroup {
    /// What they hear, by slot.
    pub parts: Vec<Part>,
    /// Who they are, this tick.
    pub members: Vec<PortSlot>,
    /// What they are sent.
    pub format: Format,
    encoder: Option<Encoder>,
    /// Who sounds in the packet that is being filled, this tick's last.
    filling: Vec<BurstSlot>,
    /// Who sounded in the packet before: an encoder's memory of it is heard in the next one.
    remembered: Vec<BurstSlot>,
    /// How many of `filling` sounded before this tick.
    filled_before: usize,
    /// Whether somebody speaks in that packet, and in this tick.
    speech: (bool, bool),
    /// Somebody found it as it is this tick: its parts may not change any more.
    confirmed: bool,
}

/// All groups of a shard.
pub struct MixGroups {
    groups: Vec<MixGroup>,
    /// Samples of all ticks before this one: where in a packet each of them begins.
    begun_samples: u64,
    /// The parts of the port that is being placed.
    pub wanted: Vec<Part>,
}

impl MixGroups {
    /// As many as there are encoders, each with room for every port.
    pub fn new(limits: &ShardLimits) -> Self {
        let group = || MixGroup {
            parts: Vec::with_capacity(EARS_MAX),
            members: Vec::with_capacity(limits.ports),
            format: Format::usual(crate::domain::audio::Codec::Opus),
            encoder: None,
            filling: Vec::with_capacity(EARS_MAX * TICKS_MAX),
            remembered: Vec::with_capacity(EARS_MAX * TICKS_MAX),
            filled_before: 0,
            speech: (false, false),
            confirmed: false,
        };
        Self {
            groups: (0..limits.encoders).map(|_| group()).collect(),
            begun_samples: 0,
            wanted: Vec::with_capacity(EARS_MAX),
        }
    }

    /// A new tick: everybody is placed again.
    pub fn begin(&mut self) {
        self.begun_samples = self.begun_samples.wrapping_add(MIX_FRAME as u64);
        for group in &mut self.groups {
            group.members.clear();
            group.confirmed = false;
        }
    }

    /// Puts a port with the `wanted` parts into a group: the one it was in if that fits, one that fits, the one it was
    /// in with new parts if nobody else needs the old ones, or a new one, which goes on with the packet that the old
    /// one had begun. `None` if there is no encoder left.
    pub fn place(
        &mut self,
        port: PortSlot,
        before: Option<usize>,
        format: Format,
        may_hear: impl Fn(BurstSlot) -> bool,
        codecs: &mut CodecPool,
    ) -> Option<usize> {
        let (groups, wanted) = (&mut self.groups, &mut self.wanted);
        wanted.sort_unstable();
        let is_open = |group: &MixGroup| {
            group.encoder.is_some() && group.format == format && group.filling.iter().all(|burst| may_hear(*burst))
        };
        let own = before.filter(|at| groups.get(*at).is_some_and(is_open));
        let goes_on = |at: usize| {
            own == Some(at)
                || own.is_none_or(|own| groups[own].filling.iter().all(|own| groups[at].filling.contains(own)))
        };
        let is_fresh = |at: usize| own == Some(at) || groups[at].remembered.iter().all(|burst| may_hear(*burst));
        let fits = |at: &usize| groups[*at].parts == *wanted && is_open(&groups[*at]) && goes_on(*at) && is_fresh(*at);
        let same = own.filter(fits).or_else(|| (0..groups.len()).find(fits));
        let at = match same {
            Some(at) => at,
            None => {
                let at = match own.filter(|at| !groups[*at].confirmed) {
                    Some(mine) => mine,
                    None => {
                        let at = groups.iter().position(|group| group.encoder.is_none())?;
                        groups[at].encoder = Some(codecs.take_encoder(format).ok()?);
                        groups[at].format = format;
                        if let Some(own) = own {
                            take_up(groups, at, own);
                        }
                        at
                    }
                };
                groups[at].parts.clone_from(wanted);
                at
            }
        };
        let group = &mut self.groups[at];
        group.confirmed = true;
        group.members.push(port);
        Some(at)
    }

    /// Whether a burst sounds in the packet that a port's group is filling.
    pub fn fills(&self, group: Option<usize>, burst: BurstSlot) -> bool {
        group.and_then(|at| self.groups.get(at)).is_some_and(|group| group.filling.contains(&burst))
    }
    /// Whether it sounds there, or did so lately that the encoder has not forgotten it.
    pub fn remembers(&self, group: Option<usize>, burst: BurstSlot) -> bool {
        let lately = group.and_then(|at| self.groups.get(at)).is_some_and(|group| group.remembered.contains(&burst));
        lately || self.fills(group, burst)
    }
    /// Whether anybody does.
    pub fn is_filling(&self, at: usize) -> bool {
        !self.groups[at].filling.is_empty()
    }
    /// This tick's frame of a group, whether somebody speaks in it, and who sounds. Pull afterwards.
    pub fn push(&mut self, at: usize, frame: &Frame, speech: bool, sounding: impl Fn(BurstSlot) -> bool) {
        let begun_samples = self.begun_samples;
        let group = &mut self.groups[at];
        let Some(encoder) = &mut group.encoder else { return };
        if !encoder.is_waiting() {
            group.filling.clear();
        }
        if group.filling.is_empty() {
            encoder.align(begun_samples);
            group.speech.0 = false;
        }
        group.speech = (group.speech.0 | speech, speech);
        encoder.push(frame);
        group.filled_before = group.filling.len();
        group.filling.extend(group.parts.iter().map(|(burst, _)| *burst).filter(|burst| sounding(*burst)));
    }
    /// The next whole packet.
    pub fn pull<'a>(&mut self, at: usize, payload: &'a mut Payload) -> Option<MixedFrame<'a>> {
        let group = &mut self.groups[at];
        let encoder = group.encoder.as_mut()?;
        let length = encoder.pull(payload)?;
        Some(MixedFrame { encoder: encoder.life(), speech: group.speech.0, payload: &payload[..length] })
    }
    /// The next whole packet's samples, and whether somebody speaks in it: each listener's own coder makes it a payload.
    pub fn pull_samples(&mut self, at: usize, samples: &mut Decoded) -> Option<(usize, bool)> {
        let group = &mut self.groups[at];
        Some((group.encoder.as_mut()?.pull_samples(samples)?, group.speech.0))
    }
    /// Who sounds in the packet pulled last, or being filled.
    pub fn sounding(&self, at: usize) -> &[BurstSlot] {
        &self.groups[at].filling
    }
    /// The packet pulled last has gone; what is left over begins the next.
    pub fn next_packet(&mut self, at: usize) {
        let group = &mut self.groups[at];
        let rest = group.encoder.as_ref().is_some_and(Encoder::is_waiting);
        group.remembered.clone_from(&group.filling);
        group.filling.drain(..if rest { group.filled_before } else { group.filling.len() });
        (group.filled_before, group.speech.0) = (0, rest && group.speech.1);
    }

    /// Every group; those without members have nothing to do.
    pub fn len(&self) -> usize {
        self.groups.len()
    }
    /// One of them.
    pub fn group(&self, at: usize) -> &MixGroup {
        &self.groups[at]
    }
    /// Encoders nobody needs any more go back.
    pub fn end(&mut self, codecs: &mut CodecPool) {
        for group in self.groups.iter_mut().filter(|group| group.members.is_empty()) {
            if let Some(encoder) = group.encoder.take() {
                codecs.give_encoder(encoder);
                group.parts.clear();
                group.filling.clear();
                group.remembered.clear();
            }
        }
    }
}

/// A new group goes on with the packet that another has begun.
fn take_up(groups: &mut [MixGroup], at: usize, from: usize) {
    let Ok([group, from]) = groups.get_disjoint_mut([at, from]) else { return };
    if let (Some(encoder), Some(begun)) = (&mut group.encoder, &from.encoder) {
        encoder.take_up(begun);
        group.filling.clone_from(&from.filling);
    }
}

/// Ticks that one packet of at most 60 ms touches.
const TICKS_MAX: usize = 4;
