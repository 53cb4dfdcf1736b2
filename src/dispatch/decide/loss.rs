//! History that is gone: a person looks at what was lost, and says that audio may cross agency borders again.

use crate::domain::event::{Alarm, Event, Stream};
use crate::domain::refusal::Refusal;

use super::Draft;

/// Ends the muting for every loss that is alarmed about now. The reason is journalled with each.
pub(super) fn decide_confirm(draft: &mut Draft<'_>, reason: &str) -> Result<(), Refusal> {
    if reason.trim().is_empty() {
        return Err(Refusal::OutOfRange { what: "a reason without a word".to_owned() });
    }
    let losses: Vec<Alarm> = draft.state.alarms.iter().filter(|alarm| alarm.is_loss()).cloned().collect();
    if losses.is_empty() {
        return Err(Refusal::NothingToDo);
    }
    for alarm in losses {
        draft.push(Stream::Node, Event::LossConfirmed { alarm: alarm.clone(), reason: reason.to_owned() });
        draft.push(Stream::Node, Event::AlarmCleared { alarm });
    }
    Ok(())
}
