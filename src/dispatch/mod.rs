//! Control core: who MAY hear whom. Deterministic: time and randomness are arguments, nothing here waits.
//!
//! A command becomes events or a refusal ([`decide()`]), events become state ([`evolve()`]: live and replay alike),
//! state becomes routes ([`routes`]), and [`control`] releases answers, orders and publications in the order that
//! law 2 wants. It imports words only; media never sees it, it never sees media.

pub mod admission;
pub mod control;
pub mod deadlines;
pub mod decide;
pub mod ears;
pub mod effect;
pub mod evolve;
pub mod live;
pub mod partings;
pub mod plan;
pub mod recovery;
pub mod reports;
pub mod routes;
pub mod sharing;
pub mod sight;
pub mod state;
pub mod told;
pub mod view;
pub mod why;

pub use control::Control;
pub use deadlines::deadlines;
pub use decide::decide;
pub use evolve::evolve;
pub use live::Live;
pub use reports::handle_report;
pub use sight::Sight;
pub use state::State;
