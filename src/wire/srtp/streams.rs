//! The streams under one key, at most [`STREAMS_MAX`]: none is ever forgotten while the key lives, for what is forgotten
//! could be played again (or sealed again under the same nonce).

use super::window::Window;

/// Streams under one key in one direction. A call has one, a peer that restarts its sender a few: each costs memory
/// and a place in a scan, and whoever wants more gets it with a new key.
pub const STREAMS_MAX: usize = 16;

/// Where one SSRC stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub ssrc: u32,
    pub rtp: Progress,
    pub rtcp: Option<Window>,
}

/// How far its RTP has come under this key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Progress {
    /// Not heard; it had rolled over so often under an earlier key, or before a restart.
    Unheard { roll_overs: u32 },
    /// Heard.
    Heard(Window),
}

/// All of them, at places that do not move.
#[derive(Debug)]
pub(super) struct Streams(Vec<Stream>);

impl Streams {
    pub fn new() -> Self {
        Self(Vec::with_capacity(STREAMS_MAX))
    }

    /// As it is known, or as one that nobody heard of. Nothing is remembered by this.
    pub fn known(&self, ssrc: u32) -> Stream {
        let unknown = Stream { ssrc, rtp: Progress::Unheard { roll_overs: 0 }, rtcp: None };
        self.0.iter().find(|stream| stream.ssrc == ssrc).copied().unwrap_or(unknown)
    }

    /// Whether [`Streams::remember`] would find a place.
    pub fn has_room_for(&self, ssrc: u32) -> bool {
        self.0.len() < STREAMS_MAX || self.0.iter().any(|stream| stream.ssrc == ssrc || stream.is_a_hint())
    }

    /// Keeps it; a mere hint makes room.
    pub fn remember(&mut self, stream: Stream) {
        match self.0.iter().position(|old| old.ssrc == stream.ssrc) {
            Some(at) => self.0[at] = stream,
            None if self.0.len() < STREAMS_MAX => self.0.push(stream),
            None => {
                if let Some(hint) = self.0.iter_mut().find(|old| old.is_a_hint()) {
                    *hint = stream;
                }
            }
        }
    }

    /// Under a new key nothing was seen yet; how often each had rolled over is kept as a hint.
    pub fn forget_what_was_seen(&mut self) {
        for stream in &mut self.0 {
            *stream = Stream { rtp: Progress::Unheard { roll_overs: stream.roll_overs() }, rtcp: None, ..*stream };
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.0.iter()
    }
}

impl Stream {
    pub fn roll_overs(&self) -> u32 {
        match self.rtp {
            Progress::Unheard { roll_overs } => roll_overs,
            Progress::Heard(window) => window.roll_overs(),
        }
    }

    /// Forgetting it lets nobody play anything again.
    fn is_a_hint(&self) -> bool {
        self.rtcp.is_none() && matches!(self.rtp, Progress::Unheard { .. })
    }
}
