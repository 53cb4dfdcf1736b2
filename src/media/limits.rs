//! How much one shard holds: every slab, pool and queue is made once with these sizes and never grows.

/// Sizes of one shard and its outbox. Memory is reserved at the start; pages that are never touched cost nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardLimits {
    /// Ports: 3,000 listeners of one talker on one core, and room for a second incident's.
    pub ports: usize,
    /// Patches: 1,000 incidents with a main and a tactical net, and as many home patches.
    pub patches: usize,
    /// Legs, local and remote: each port in its home patch and in three incidents.
    pub legs: usize,
    /// Talkgroups and RF channels: one each for half of all ports.
    pub groups: usize,
    /// Bursts at once, local and remote: 100 incidents with three talkers each, and as many whose end is still played.
    pub bursts: usize,
    /// Decoders (18 KiB): one for every burst that is heard in a mix, levelled, or watched.
    pub decoders: usize,
    /// Encoders (43 KiB): one for every distinct mix; talkers each need their own, listeners share.
    pub encoders: usize,
    /// Holds: radio transmitters that wait for a grant at the same moment, 2,500 ms each.
    pub holds: usize,
    /// Delay lines of receivers with a minimum burst or a declared squelch tail.
    pub delays: usize,
    /// Packets in the outbox: a batch of 32 arrivals to 250 listeners each, or one to all ports.
    pub outbox_packets: usize,
    /// Bytes of those packets: 160 of a G.711 frame and a header, with room for some of L16.
    pub outbox_bytes: usize,
    /// Frames to other shards in the outbox.
    pub trunk_frames: usize,
    /// Bytes of those frames.
    pub trunk_bytes: usize,
    /// Reports in the outbox: outcomes that do not fit wait for the next tick, all others are counted.
    pub reports: usize,
    /// Frames handed to a recorder in one round.
    pub taps: usize,
}

impl Default for ShardLimits {
    fn default() -> Self {
        Self {
            ports: 4096,
            patches: 2048,
            legs: 16_384,
            groups: 2048,
            bursts: 512,
            decoders: 256,
            encoders: 256,
            holds: 256,
            delays: 256,
            outbox_packets: 8192,
            outbox_bytes: 2 << 20,
            trunk_frames: 1024,
            trunk_bytes: 512 << 10,
            reports: 4096,
            taps: 512,
        }
    }
}

impl ShardLimits {
    /// For tests and the demo: everything is there, little of it.
    pub fn small() -> Self {
        Self {
            ports: 64,
            patches: 32,
            legs: 256,
            groups: 32,
            bursts: 32,
            decoders: 16,
            encoders: 16,
            holds: 16,
            delays: 16,
            outbox_packets: 1024,
            outbox_bytes: 512 << 10,
            trunk_frames: 256,
            trunk_bytes: 128 << 10,
            reports: 512,
            taps: 64,
        }
    }
}
