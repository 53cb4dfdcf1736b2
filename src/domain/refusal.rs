//! Why not: a stable code for programs and a sentence a dispatcher understands at night.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::configuration::PathClass;
use super::id::{AgencyId, EmergencyId, IncidentId, LinkId, PatchName, TalkgroupId, TemplateId};

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $({ $($field:ident : $type:ty),* $(,)? })? = $code:literal, $sentence:literal;)*) => {
        /// A command that changed nothing.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "snake_case", tag = "code")]
        pub enum Refusal { $($(#[$doc])* $name $({ $($field: $type),* })?,)* }

        impl Refusal {
            /// All codes, for metrics and documentation.
            pub const CODES: &'static [&'static str] = &[$($code),*];
            /// The stable code.
            pub const fn code(&self) -> &'static str {
                match self { $(Refusal::$name $({ $($field: _),* })? => $code,)* }
            }
        }
        impl fmt::Display for Refusal {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $(Refusal::$name $({ $($field),* })? => write!(f, $sentence),)* }
            }
        }
    };
}

refusals! {
    /// The principal's role does not reach that far.
    NotAllowed { needs: String } = "not_allowed", "You may not do that: it needs {needs}.";
    /// The resource belongs to another agency.
    NotYours { owner: AgencyId } = "not_yours", "Only {owner} can do that: the resource is theirs.";
    /// Only the incident's host may.
    NotHost { host: AgencyId } = "not_host", "Only the host ({host}) can do that.";
    NoSuchAgency { agency: AgencyId } = "no_such_agency", "There is no agency {agency}.";
    NoSuchTalkgroup { talkgroup: TalkgroupId } = "no_such_talkgroup", "There is no talkgroup {talkgroup}.";
    NoSuchTemplate { template: TemplateId } = "no_such_template", "There is no template {template}.";
    NoSuchIncident { incident: IncidentId } = "no_such_incident", "There is no open incident {incident}.";
    NoSuchPatch { name: PatchName } = "no_such_patch", "The incident has no patch {name}.";
    NoSuchLink { link: LinkId } = "no_such_link", "There is no link {link}.";
    NoSuchEmergency { emergency: EmergencyId } = "no_such_emergency", "There is no open emergency {emergency}.";
    NoSuchPosition { position: String } = "no_such_position", "Your agency has no position {position}.";
    NothingProposed { agency: AgencyId } = "nothing_proposed", "No change waits for {agency}.";
    /// Only members may act in an incident.
    NotMember { agency: AgencyId } = "not_member", "{agency} has not accepted this incident.";
    NotInvited { agency: AgencyId } = "not_invited", "{agency} has no open invitation to this incident.";
    AlreadyMember { agency: AgencyId } = "already_member", "{agency} is already in this incident.";
    AlreadyInvited { agency: AgencyId } = "already_invited", "{agency} is already invited and has not answered yet.";
    AlreadyLinked { talkgroup: TalkgroupId } = "already_linked", "{talkgroup} is already linked there.";
    NameTaken { name: PatchName } = "name_taken", "The incident already has a patch {name}.";
    LastPatch = "last_patch", "An incident keeps at least one patch; close the incident instead.";
    /// The owner never shares it.
    NeverPatchable { talkgroup: TalkgroupId } = "never_patchable", "{talkgroup} is never patched, by its owner's configuration.";
    /// Second incident without the owner's separate yes.
    SharedIncidents { talkgroup: TalkgroupId, other: IncidentId } = "shared_incidents", "{talkgroup} is already in incident {other}: its members' answers would be heard in both. Confirm with shared_incidents.";
    ExerciseMixed { talkgroup: TalkgroupId } = "exercise_mixed", "{talkgroup} is in a real incident and an exercise cannot share it, or the other way round.";
    /// A secure talkgroup and something that is not.
    NotSecure { talkgroup: TalkgroupId, path: PathClass } = "not_secure", "{talkgroup} is secure and would meet a path that is {path:?}; both owners must give a not_secure_reason.";
    /// Cut by its own agency and not restored.
    IsCut { talkgroup: TalkgroupId } = "is_cut", "{talkgroup} was cut by its own agency; restore it first.";
    GrantTooNarrow { link: LinkId } = "grant_too_narrow", "The owner's grant for link {link} does not reach that far; the owner must link again.";
    PriorityCapped { talkgroup: TalkgroupId, most: u8 } = "priority_capped", "The owner of {talkgroup} allows a priority of at most {most}.";
    LeaseTooLong { most_s: u64 } = "lease_too_long", "That is past the hard end: at most {most_s} s are left to give.";
    OutOfRange { what: String } = "out_of_range", "Out of range: {what}.";
    /// Others talked a short while ago.
    InUse = "in_use", "Others talked here in the last minutes: offer the host role and leave once it is taken, or close with force (which warns on the air first).";
    HostMustStay = "host_must_stay", "The host leaves by handing the host role over, or closes the incident.";
    NotOffered { agency: AgencyId } = "not_offered", "The host role is not offered to {agency}.";
    NotTalkersAgency { agency: AgencyId } = "not_talkers_agency", "Only the talker's own agency ({agency}) clears an emergency.";
    EmergencyOpen = "emergency_open", "An emergency is open here; it must be cleared first.";
    /// A limit of the policy.
    Full { limit: String, most: u32 } = "full", "Full: {limit} is limited to {most}.";
    /// The journal does not accept anything, so nothing new can be given.
    JournalFailing = "journal_failing", "Nothing new can be granted: the journal does not record. Cuts still work.";
    /// An id that several things answer to.
    Ambiguous { short: String } = "ambiguous", "Several things are called {short}; give the full id.";
    /// Idempotency key with other content.
    KeyReused = "key_reused", "This idempotency key was used for another request.";
    /// The daemon is stopping.
    Draining = "draining", "The daemon is stopping; nothing new is accepted.";
    /// Media did not confirm in time; the shard is being rebuilt.
    MediaLate = "media_late", "Media did not confirm in time and is being rebuilt; look at the roster before you rely on it.";
    /// Changed nothing because nothing would change.
    NothingToDo = "nothing_to_do", "That is already so.";
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_as_a_sentence_and_travels_as_its_code() {
        let refusal = Refusal::NotHost { host: AgencyId::new("fire").unwrap() };
        assert_eq!(refusal.to_string(), "Only the host (fire) can do that.");
        let json = serde_json::to_value(&refusal).unwrap();
        assert_eq!(json["code"], refusal.code());
        assert_eq!(serde_json::from_value::<Refusal>(json).unwrap(), refusal);
    }
}
