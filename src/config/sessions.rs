//! House rules, agreements and templates as meant.

use std::collections::{BTreeMap, BTreeSet};

use super::agencies::floor;
use super::fault::Faults;
use super::keys::{AGREEMENT, POLICY, TALKGROUP, TEMPLATE};
use super::read::{Document, Entry, Value};
use crate::domain::configuration::{Agreement, Policy, Template, TemplateLink, TemplatePatch};
use crate::domain::floor::FloorPolicy;
use crate::domain::id::{AgencyId, AgreementId, PatchName, TalkgroupId, TemplateId};

/// `[policy]`.
pub(super) fn policy(document: &Document, faults: &mut Faults<'_>) -> Option<Policy> {
    let entry = document.one(&POLICY);
    let policy = Policy {
        lease_default_s: entry.integer("lease_default_s")?,
        hard_end_default_s: entry.integer("hard_end_default_s")?,
        lease_max_s: entry.integer("lease_max_s")?,
        ring_s: entry.integer("ring_s")?,
        close_warning_s: entry.integer("close_warning_s")?,
        recent_s: entry.integer("recent_s")?,
        floor: floor(entry.table("floor"))?,
        incidents_max: entry.integer("incidents_max")?,
        patches_per_incident_max: entry.integer("patches_per_incident_max")?,
        links_per_patch_max: entry.integer("links_per_patch_max")?,
    };
    at_most(entry, "lease_default_s", policy.lease_default_s, "lease_max_s", policy.lease_max_s, faults);
    at_most(entry, "lease_default_s", policy.lease_default_s, "hard_end_default_s", policy.hard_end_default_s, faults);
    Some(policy)
}

/// A lease that is longer than what ends it.
fn at_most(entry: &Entry, key: &'static str, value: u32, bound: &str, most: u32, faults: &mut Faults<'_>) {
    if value > most {
        let message = format!("`{key}` = {value} is longer than `{bound}` = {most}");
        faults.fault(&entry.place(key), message, Some(format!("write at most {most}")));
    }
}

/// Who owns each talkgroup that has an owner.
fn owners(document: &Document) -> BTreeMap<&str, &str> {
    document.all(&TALKGROUP).iter().filter_map(|entry| entry.text("id").zip(entry.text("agency"))).collect()
}

/// Every `[[agreement]]`.
pub(super) fn agreements(
    document: &Document,
    policy: &Policy,
    faults: &mut Faults<'_>,
) -> BTreeMap<AgreementId, Agreement> {
    let owners = owners(document);
    let mut agreements = BTreeMap::new();
    for entry in document.all(&AGREEMENT) {
        let Some(agreement) = agreement(entry) else { continue };
        let [one, other] = &agreement.between;
        if one == other {
            let suggestion = "name the two agencies, or take the agreement out".to_owned();
            faults.fault(&entry.place("between"), "an agreement is between two agencies", Some(suggestion));
        }
        for (name, place) in entry.texts("talkgroups").iter().filter(|_| one != other) {
            let strange = owners.get(name).filter(|owner| ![one.as_str(), other.as_str()].contains(owner));
            if let Some(owner) = strange {
                let suggestion = Some(format!("only talkgroups of {one} and {other} can stand here"));
                faults.fault(place, format!("talkgroup {name} belongs to {owner}"), suggestion);
            }
        }
        for (name, place) in entry.texts("standing") {
            if !agreement.talkgroups.iter().any(|talkgroup| talkgroup.as_str() == name) {
                let suggestion = Some(format!("add {name:?} to talkgroups"));
                faults.fault(
                    &place,
                    format!("standing talkgroup {name} is not in the agreement's talkgroups"),
                    suggestion,
                );
            }
        }
        at_most(entry, "lease_max_s", agreement.lease_max_s, "policy.lease_max_s", policy.lease_max_s, faults);
        agreements.extend(entry.id("id").map(|id| (id, agreement)));
    }
    agreements
}

fn agreement(entry: &Entry) -> Option<Agreement> {
    let between: Vec<AgencyId> = ids(entry, "between");
    Some(Agreement {
        between: between.try_into().ok()?,
        talkgroups: ids(entry, "talkgroups").into_iter().collect(),
        kinds: entry.texts("kinds").into_iter().map(|(kind, _)| kind.into()).collect(),
        direction: entry.word("direction")?,
        answer: entry.word("answer")?,
        lease_max_s: entry.integer("lease_max_s")?,
        recording: entry.switch("recording"),
        end: entry.item("end").and_then(|item| if let Value::Moment(end) = item.value { Some(end) } else { None }),
        standing: ids(entry, "standing").into_iter().collect(),
    })
}

pub(super) fn ids<T: std::str::FromStr>(entry: &Entry, key: &'static str) -> Vec<T> {
    entry.texts(key).into_iter().filter_map(|(text, _)| text.parse().ok()).collect()
}

/// Every `[[template]]`.
pub(super) fn templates(
    document: &Document,
    policy: &Policy,
    agreements: &BTreeMap<AgreementId, Agreement>,
    faults: &mut Faults<'_>,
) -> BTreeMap<TemplateId, Template> {
    let owners = owners(document);
    let mut templates = BTreeMap::new();
    for entry in document.all(&TEMPLATE) {
        let Some(template) = template(entry, policy, faults) else { continue };
        if entry.is_written("lease_s") {
            at_most(entry, "lease_s", template.lease_s, "policy.lease_max_s", policy.lease_max_s, faults);
        }
        check_strangers(entry, &template, &owners, agreements, faults);
        templates.extend(entry.id("id").map(|id| (id, template)));
    }
    templates
}

fn template(entry: &Entry, policy: &Policy, faults: &mut Faults<'_>) -> Option<Template> {
    let patches = patches(entry, &policy.floor, faults)?;
    if patches.len() > usize::from(policy.patches_per_incident_max) {
        let most = policy.patches_per_incident_max;
        let message = format!("{} patches, and an incident has at most {most}", patches.len());
        faults.fault(&entry.place("patches"), message, Some("raise patches_per_incident_max of [policy]".into()));
    }
    let mut links: Vec<TemplateLink> = Vec::new();
    for table in entry.tables("links").into_iter().flatten() {
        let named = table.id::<PatchName>("patch");
        if let Some(name) = named.as_ref().filter(|name| patches.iter().all(|patch| patch.name != **name)) {
            let known: Vec<&str> = patches.iter().map(|patch| patch.name.as_str()).collect();
            let suggestion = Some(format!("its patches are {}", known.join(", ")));
            faults.fault(&table.place("patch"), format!("the template has no patch {name}"), suggestion);
        }
        let Some(talkgroup) = table.id::<TalkgroupId>("talkgroup") else { continue };
        let patch = named.or_else(|| patches.first().map(|patch| patch.name.clone()))?;
        if links.iter().any(|link| link.talkgroup == talkgroup && link.patch == patch) {
            let message = format!("talkgroup {talkgroup} stands twice in patch {patch}");
            faults.fault(&table.place("talkgroup"), message, Some("leave one out".into()));
        }
        links.push(TemplateLink { talkgroup, patch, direction: table.word("direction")? });
    }
    Some(Template {
        title: entry.text("title").or(entry.text("id"))?.into(),
        kind: entry.text("kind")?.into(),
        invite: ids(entry, "invite"),
        patches,
        links,
        lease_s: entry.integer("lease_s").unwrap_or(policy.lease_default_s),
    })
}

fn patches(entry: &Entry, usual: &FloorPolicy, faults: &mut Faults<'_>) -> Option<Vec<TemplatePatch>> {
    let Some(tables) = entry.tables("patches") else {
        let names = entry.texts("patches").into_iter();
        return names.map(|(name, _)| Some(TemplatePatch { name: name.parse().ok()?, floor: *usual })).collect();
    };
    let mut patches: Vec<TemplatePatch> = Vec::new();
    for table in tables {
        let Some(name) = table.id::<PatchName>("name") else { continue };
        if patches.iter().any(|patch| patch.name == name) {
            let message = format!("patch {name} stands here twice");
            faults.fault(&table.place("name"), message, Some("name one of them differently".into()));
        }
        let written = if table.is_written("floor") { floor(table.table("floor")) } else { Some(*usual) };
        patches.push(TemplatePatch { name, floor: written? });
    }
    (!patches.is_empty()).then_some(patches)
}

/// Talkgroups that the opener cannot link at once: an invitation must bring them, and an agreement hurries it.
fn check_strangers(
    entry: &Entry,
    template: &Template,
    owners: &BTreeMap<&str, &str>,
    agreements: &BTreeMap<AgreementId, Agreement>,
    faults: &mut Faults<'_>,
) {
    let mut openers: BTreeSet<&str> = BTreeSet::new();
    for table in entry.tables("links").into_iter().flatten() {
        let Some(talkgroup) = table.id::<TalkgroupId>("talkgroup") else { continue };
        let Some(owner) = owners.get(talkgroup.as_str()) else { continue };
        let invited = template.invite.iter().any(|agency| agency.as_str() == *owner);
        let agreed = agreements.values().any(|agreement| {
            agreement.talkgroups.contains(&talkgroup)
                && (agreement.kinds.is_empty() || agreement.kinds.contains(&template.kind))
        });
        if invited && !agreed {
            let message = format!("talkgroup {talkgroup} belongs to {owner}, and no agreement covers it here");
            let suggestion = format!("{owner} is asked each time; an [[agreement]] with {owner} can say so or yes");
            faults.warn(&table.place("talkgroup"), message, Some(suggestion));
        }
        if !invited && openers.insert(owner) && openers.len() == 2 {
            let message = format!("talkgroup {talkgroup} belongs to {owner}, which is not invited");
            let suggestion = format!("add {owner:?} to invite: only the opener's own talkgroups come without");
            faults.warn(&table.place("talkgroup"), message, Some(suggestion));
        }
    }
}
