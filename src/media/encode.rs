//! Groups of equal listeners: everybody who hears the same bursts with the same gains in the same format gets the same
//! bytes, encoded once. A group keeps its encoder from tick to tick, and over a change of talkers if it can, so that
//! decoders hear one stream. Owned by the shard; the number of groups is the number of encoders.

use crate::domain::audio::{Format, Gain};

use super::codec::{CodecPool, Encoder};
use super::hearing::EARS_MAX;
use super::limits::ShardLimits;
use super::slab::{BurstSlot, PortSlot};

/// One burst in a mix, and how loud.
pub type Part = (BurstSlot, Gain);

/// Listeners that need equal bytes.
pub struct MixGroup {
    /// What they hear, by slot.
    pub parts: Vec<Part>,
    /// Who they are, this tick.
    pub members: Vec<PortSlot>,
    format: Format,
    encoder: Option<Encoder>,
    /// Somebody found it as it is this tick: its parts may not change any more.
    confirmed: bool,
}

/// All groups of a shard.
pub struct MixGroups {
    groups: Vec<MixGroup>,
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
            confirmed: false,
        };
        Self { groups: (0..limits.encoders).map(|_| group()).collect(), wanted: Vec::with_capacity(EARS_MAX) }
    }

    /// A new tick: everybody is placed again.
    pub fn begin(&mut self) {
        for group in &mut self.groups {
            group.members.clear();
            group.confirmed = false;
        }
    }

    /// Puts a port with the `wanted` parts into a group: the one it was in if that fits, one that fits, the one it was
    /// in with new parts if nobody else needs the old ones, or a new one. `None` if there is no encoder left.
    pub fn place(
        &mut self,
        port: PortSlot,
        before: Option<usize>,
        format: Format,
        codecs: &mut CodecPool,
    ) -> Option<usize> {
        let (groups, wanted) = (&mut self.groups, &mut self.wanted);
        wanted.sort_unstable();
        let fits = |group: &MixGroup| group.encoder.is_some() && group.format == format && group.parts == *wanted;
        let same = before.filter(|at| groups.get(*at).is_some_and(fits)).or_else(|| groups.iter().position(fits));
        let at = match same {
            Some(at) => at,
            None => {
                let mine = before.filter(|at| {
                    groups
                        .get(*at)
                        .is_some_and(|group| group.encoder.is_some() && !group.confirmed && group.format == format)
                });
                let at = mine.or_else(|| groups.iter().position(|group| group.encoder.is_none()))?;
                let group = &mut groups[at];
                if group.encoder.is_none() {
                    group.encoder = Some(codecs.take_encoder(format).ok()?);
                    group.format = format;
                }
                group.parts.clone_from(wanted);
                at
            }
        };
        let group = &mut self.groups[at];
        group.confirmed = true;
        group.members.push(port);
        Some(at)
    }

    /// Every group; those without members have nothing to do.
    pub fn len(&self) -> usize {
        self.groups.len()
    }
    /// One of them.
    pub fn group(&self, at: usize) -> &MixGroup {
        &self.groups[at]
    }
    /// Its encoder, while it has one.
    pub fn encoder(&mut self, at: usize) -> Option<&mut Encoder> {
        self.groups[at].encoder.as_mut()
    }
    /// Encoders nobody needs any more go back.
    pub fn end(&mut self, codecs: &mut CodecPool) {
        for group in self.groups.iter_mut().filter(|group| group.members.is_empty()) {
            if let Some(encoder) = group.encoder.take() {
                codecs.give_encoder(encoder);
                group.parts.clear();
            }
        }
    }
}
