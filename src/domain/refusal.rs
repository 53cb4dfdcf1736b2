//! Why not: a stable code for programs and a sentence a dispatcher understands at night.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::configuration::PathClass;
use super::id::{AgencyId, EmergencyId, IncidentId, LinkId, PatchName, TalkgroupId, TemplateId};

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $({ $($field:ident : $type:ty),* $(,)? })? = $code:literal, $why:literal, $advice:literal;)*) => {
        /// A command that changed nothing.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "snake_case", tag = "code")]
        pub enum Refusal { $($(#[$doc])* $name $({ $($field: $type),* })?,)* }

        impl Refusal {
            /// All codes, for metrics and documentation.
            pub const CODES: &'static [&'static str] = &[$($code),*];
            /// Of each code why not, and what to do next: without either a refusal cannot be written down here.
            #[cfg(test)]
            const WORDS: &'static [(&'static str, &'static str)] = &[$(($why, $advice)),*];
            /// The stable code.
            pub const fn code(&self) -> &'static str {
                match self { $(Refusal::$name $({ $($field: _),* })? => $code,)* }
            }
        }
        impl fmt::Display for Refusal {
            #[expect(unused_variables, reason = "where a name is known, the id beside it is for programs")]
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $(Refusal::$name $({ $($field),* })? => write!(f, "{} {}", format_args!($why), format_args!($advice)),)* }
            }
        }
    };
}

refusals! {
    /// The principal's role does not reach that far.
    NotAllowed { needs: String } = "not_allowed", "You may not do that: it needs {needs}.", "Ask somebody who has it.";
    /// The resource belongs to another agency.
    NotYours { owner: AgencyId } = "not_yours", "Only {owner} can do that: it is theirs.", "Ask their dispatcher.";
    /// Only the incident's host may.
    NotHost { host: AgencyId } = "not_host", "Only the host ({host}) can do that.", "Ask their dispatcher.";
    NoSuchAgency { agency: AgencyId } = "no_such_agency", "There is no agency {agency}.", "The roster names them all.";
    NoSuchTalkgroup { talkgroup: TalkgroupId } = "no_such_talkgroup", "There is no talkgroup {talkgroup}.", "Look at the roster for its name.";
    NoSuchTemplate { template: TemplateId } = "no_such_template", "There is no template {template}.", "The configuration names them; open the incident without one, or ask your administrator.";
    NoSuchIncident { incident: IncidentId } = "no_such_incident", "There is no open incident {incident:#}.", "It may have been closed: look at the roster.";
    NoSuchPatch { name: PatchName } = "no_such_patch", "The incident has no net {name}.", "The roster names its nets.";
    NoSuchLink { link: LinkId } = "no_such_link", "There is no link {link:#}.", "It may have ended: look at the roster.";
    NoSuchEmergency { emergency: EmergencyId } = "no_such_emergency", "There is no open emergency {emergency:#}.", "It may have been cleared: look at the roster.";
    NoSuchPosition { position: String } = "no_such_position", "Your agency has no position {position}.", "The configuration names it; ask your administrator.";
    NothingProposed { agency: AgencyId } = "nothing_proposed", "No change waits for a yes of {agency}.", "It may be confirmed or withdrawn: look at the roster.";
    /// Only members may act in an incident.
    NotMember { agency: AgencyId } = "not_member", "{agency} is not in this incident.", "It is once the host has invited it and it has accepted.";
    NotInvited { agency: AgencyId } = "not_invited", "{agency} has no open invitation to this incident.", "Ask the host to invite it.";
    AlreadyMember { agency: AgencyId } = "already_member", "{agency} is already in this incident.", "It can link its talkgroups.";
    AlreadyInvited { agency: AgencyId } = "already_invited", "{agency} is already invited and has not answered yet.", "If it is urgent, call its contact in the roster.";
    AlreadyLinked { talkgroup: TalkgroupId } = "already_linked", "{talkgroup} is already linked there.", "Adjust or extend that link, or unlink it first.";
    NameTaken { name: PatchName } = "name_taken", "The incident already has a net {name}.", "Choose another name.";
    /// A line out is linked by dialling, and nothing else dials.
    NotByLink { talkgroup: TalkgroupId } = "not_by_link", "{talkgroup} is a line that dials.", "Dial a number with it; do not link it.";
    NoLine { talkgroup: TalkgroupId } = "no_line", "{talkgroup} is no line that dials.", "Ask your administrator for one, or link the talkgroup.";
    /// Its last call is being hung up.
    LineBusy { talkgroup: TalkgroupId } = "line_busy", "{talkgroup} still has a call that is being ended.", "Dial again in a moment.";
    LastPatch = "last_patch", "An incident keeps at least one net.", "Close the incident instead.";
    /// The owner never shares it.
    NeverPatchable { talkgroup: TalkgroupId } = "never_patchable", "{talkgroup} is never shared, by its owner's configuration.", "Choose another talkgroup.";
    /// Second incident without the owner's separate yes.
    SharedIncidents { talkgroup: TalkgroupId, other: IncidentId, title: String } = "shared_incidents", "{talkgroup} is already in the incident {title:?}: its members' answers would be heard in both.", "If that is wanted, link it by itself and confirm the sharing.";
    ExerciseMixed { talkgroup: TalkgroupId } = "exercise_mixed", "{talkgroup} is in a real incident and an exercise cannot share it, or the other way round.", "Choose another talkgroup, or unlink it there first.";
    /// A secure talkgroup and something that is not.
    NotSecure { talkgroup: TalkgroupId, path: PathClass } = "not_secure", "{talkgroup} is secure and would meet a path that is {path}.", "If that must be, both owners say so with a reason when they link.";
    /// Cut by its own agency and not restored.
    IsCut { talkgroup: TalkgroupId } = "is_cut", "{talkgroup} was cut by its own agency.", "That agency must restore it first.";
    GrantTooNarrow { link: LinkId } = "grant_too_narrow", "The owner's yes for link {link:#} does not reach that far.", "The owner must link again.";
    PriorityCapped { talkgroup: TalkgroupId, most: u8 } = "priority_capped", "The owner of {talkgroup} allows a priority of at most {most}.", "Ask for that or less.";
    LeaseTooLong { most_s: u64 } = "lease_too_long", "That is past the hard end: at most {most_s} s are left to give.", "Ask for that or less, or have the owner link again.";
    OutOfRange { what: String } = "out_of_range", "Out of range: {what}.", "Change that and try again.";
    /// Others talked a short while ago.
    InUse = "in_use", "Others talked here in the last minutes.", "Offer the host role and leave once it is taken, or close with force (which warns on the air first).";
    HostMustStay = "host_must_stay", "The host cannot just leave.", "Hand the host role over first, or close the incident.";
    NotOffered { agency: AgencyId } = "not_offered", "The host role is not offered to {agency}.", "Ask the host to offer it.";
    NotTalkersAgency { agency: AgencyId } = "not_talkers_agency", "Only the talker's own agency ({agency}) clears an emergency.", "Ask their dispatcher.";
    EmergencyOpen = "emergency_open", "An emergency is open here.", "It must be cleared first.";
    /// A limit of the policy.
    Full { limit: String, most: u32 } = "full", "Full: {limit} is limited to {most}.", "End one that is not needed any more, or ask your administrator for room.";
    /// The journal does not accept anything, so nothing new can be given.
    JournalFailing = "journal_failing", "Nothing new can be granted: the journal does not record.", "Cuts still work; call your administrator.";
    /// An id that several things answer to.
    Ambiguous { short: String } = "ambiguous", "Several things are called {short}.", "Give more of the id, or all of it.";
    /// Idempotency key with other content.
    KeyReused = "key_reused", "The key of this request was used for another one.", "Send it again with a fresh key.";
    /// The daemon is stopping.
    Draining = "draining", "The daemon is stopping; nothing new is accepted.", "Try again when it is back.";
    /// Media did not confirm in time; the shard is being rebuilt.
    MediaLate = "media_late", "Media did not confirm in time and is being rebuilt.", "Look at the roster before you rely on it.";
    /// Changed nothing because nothing would change.
    NothingToDo = "nothing_to_do", "That is already so.", "Look at the roster if you expected something else.";
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_as_a_sentence_and_travels_as_its_code() {
        let refusal = Refusal::NotHost { host: AgencyId::new("fire").unwrap() };
        assert_eq!(refusal.to_string(), "Only the host (fire) can do that. Ask their dispatcher.");
        let json = serde_json::to_value(&refusal).unwrap();
        assert_eq!(json["code"], refusal.code());
        assert_eq!(serde_json::from_value::<Refusal>(json).unwrap(), refusal);
    }

    #[test]
    fn every_refusal_says_what_to_do_next_in_words_of_the_field() {
        for (why, advice) in Refusal::WORDS {
            assert!(advice.len() > 10 && advice.ends_with('.'), "{why} gives no advice: {advice:?}");
            assert!(why.ends_with('.') && why.len() + advice.len() < 200, "too long for the night: {why} {advice}");
            for text in [why, advice] {
                // What stands in brackets is filled in; the rest is read by people.
                let said: String = text.split('}').map(|part| part.split('{').next().unwrap_or_default()).collect();
                assert!(!said.contains('_'), "the name of a field of the API: {text}");
            }
        }
    }

    #[test]
    fn ids_are_spoken_and_a_path_is_described() {
        let incident = IncidentId(7 << 80);
        let told = Refusal::NoSuchIncident { incident }.to_string();
        assert!(told.contains(&incident.spoken()) && !told.contains(&incident.to_string()), "{told}");
        let talkgroup = TalkgroupId::new("pd-1").unwrap();
        let told = Refusal::NotSecure { talkgroup, path: PathClass::Open }.to_string();
        assert!(told.contains("a path that is open to anyone on the way."), "{told}");
    }
}
