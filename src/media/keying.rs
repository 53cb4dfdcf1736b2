//! Keys in both directions: when a port's talker has keyed, and when its transmitter is raised. Not who may talk
//! (the floor) and not what is sent (hold and sender). Owned by the port; a wrong line here jams a radio channel, so
//! talk limits are checked here a second time.

mod receive;
mod transmit;

pub use receive::{Cue, KeyChange, ReceiveKeyer};
pub use transmit::{FarFloor, TransmitChange, TransmitKeyer};
