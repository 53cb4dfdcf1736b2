//! How much one command may say. Everything in it is journalled, so a command without bounds could outgrow what the
//! journal takes and be mistaken for a journal that fails. Looked at before anything else of the command is.

use crate::domain::command::Command;
use crate::domain::incident::LinkRequest;
use crate::domain::refusal::Refusal;

/// Longest title, kind, note, reason or place (characters).
const TEXT_MAX: usize = 1000;

/// The most agencies or talkgroups in one command: a region's, and room.
const LIST_MAX: usize = 256;

/// Refuses a command that says too much, naming what.
pub(super) fn check(command: &Command) -> Result<(), Refusal> {
    match command {
        Command::OpenIncident { title, kind, invite, links, template: _, exercise: _ } => {
            text("a title", title.as_deref())?;
            text("a kind", kind.as_deref())?;
            list("invited agencies", invite.len())?;
            requests(links)
        }
        Command::Invite { note, links, .. } => text("a note", Some(note)).and_then(|()| requests(links)),
        Command::Accept { links, incident: _ } => requests(links),
        Command::Dial { number, request, incident: _ } => {
            text("a number", Some(number)).and_then(|()| requests(std::slice::from_ref(request)))
        }
        Command::Link { request, incident: _ } => requests(std::slice::from_ref(request)),
        Command::Admit { agencies, not_secure_reason, link: _, classes: _ } => {
            list("agencies", agencies.len())?;
            text("a reason", not_secure_reason.as_deref())
        }
        Command::Decline { reason, incident: _ }
        | Command::ClearEmergency { reason, emergency: _ }
        | Command::ConfirmLoss { reason } => text("a reason", Some(reason)),
        Command::HandOver { note, incident: _, to: _ } => text("a note", Some(note)),
        Command::Note { text: note, incident: _ } => text("a note", Some(note)),
        Command::DeclareEmergency { place, talkgroup: _, talker: _ } => text("a place", Some(place)),
        // Names and ids have their own lengths; a file has its own limit, which the journal knows.
        Command::AddPatch { .. }
        | Command::ClosePatch { .. }
        | Command::SetFloor { .. }
        | Command::Unlink { .. }
        | Command::Adjust { .. }
        | Command::Extend { .. }
        | Command::OfferHost { .. }
        | Command::TakeHost { .. }
        | Command::Leave { .. }
        | Command::Remove { .. }
        | Command::Close { .. }
        | Command::AcknowledgeEmergency { .. }
        | Command::Cut { .. }
        | Command::Restore { .. }
        | Command::Revoke { .. }
        | Command::Beat { .. }
        | Command::Confirm { .. }
        | Command::EndIsolation { .. }
        | Command::Adopt { .. }
        | Command::ConfirmChange { .. } => Ok(()),
    }
}

fn requests(links: &[LinkRequest]) -> Result<(), Refusal> {
    list("links", links.len())?;
    links.iter().try_for_each(|request| text("a reason", request.not_secure_reason.as_deref()))
}

fn text(what: &str, text: Option<&str>) -> Result<(), Refusal> {
    if text.is_some_and(|text| text.chars().count() > TEXT_MAX) {
        return Err(Refusal::OutOfRange { what: format!("{what} of more than {TEXT_MAX} characters") });
    }
    Ok(())
}

fn list(what: &str, length: usize) -> Result<(), Refusal> {
    if length > LIST_MAX {
        return Err(Refusal::OutOfRange { what: format!("more than {LIST_MAX} {what} in one command") });
    }
    Ok(())
}
