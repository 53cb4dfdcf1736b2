//! Agencies and their talkgroups as meant.

use std::collections::BTreeMap;

use super::fault::Faults;
use super::keys::{AGENCY, FLOOR, GATEWAY_RTP, GATEWAY_SIP, PHONE, TALKGROUP};
use super::read::{Document, Entry};
use crate::domain::configuration::{Agency, Responsible, Talkgroup};
use crate::domain::floor::{FloorPolicy, Priority};
use crate::domain::id::{AgencyId, GatewayId, TalkgroupId};

/// Every `[[agency]]`.
pub(super) fn agencies(document: &Document, faults: &mut Faults<'_>) -> BTreeMap<AgencyId, Agency> {
    let mut agencies = BTreeMap::new();
    for entry in document.all(&AGENCY) {
        if !entry.is_written("responsible") {
            let message = format!("agency {} has no responsible position", entry.text("id").unwrap_or("?"));
            let suggestion =
                "add: responsible = { position = \"desk\" }, so that partners learn when nobody sits there";
            faults.warn(&entry.header, message, Some(suggestion.into()));
        }
        agencies.extend(entry.id("id").zip(agency(entry)));
    }
    agencies
}

fn agency(entry: &Entry) -> Option<Agency> {
    Some(Agency {
        name: entry.text("name").or(entry.text("id"))?.into(),
        contact_24h: entry.text("contact_24h")?.into(),
        responsible: entry.table("responsible").and_then(responsible),
        links_max: entry.integer("links_max")?,
        incidents_max: entry.integer("incidents_max")?,
    })
}

fn responsible(entry: &Entry) -> Option<Responsible> {
    Some(Responsible {
        position: entry.id("position")?,
        heartbeat_s: entry.integer("heartbeat_s")?,
        on_loss: entry.word("on_loss")?,
    })
}

/// Every `[[talkgroup]]`, with its transmit gateways.
pub(super) fn talkgroups(document: &Document, faults: &mut Faults<'_>) -> BTreeMap<TalkgroupId, Talkgroup> {
    let mut talkgroups = BTreeMap::new();
    for entry in document.all(&TALKGROUP) {
        let Some(id) = entry.id::<TalkgroupId>("id") else { continue };
        let members: Vec<&Entry> = document
            .all(&GATEWAY_RTP)
            .iter()
            .chain(document.all(&GATEWAY_SIP))
            .filter(|gateway| gateway.text("talkgroup") == Some(id.as_str()))
            .collect();
        let has_phone = document.all(&PHONE).iter().any(|phone| phone.text("talkgroup") == Some(id.as_str()));
        if members.is_empty() && !has_phone {
            let suggestion = format!("add a [[gateway.rtp]] with talkgroup = \"{id}\"");
            faults.warn(&entry.header, format!("talkgroup {id} has no gateway: nobody hears it"), Some(suggestion));
        }
        let transmit = transmit(entry, &members, faults);
        talkgroups.extend(talkgroup(entry, transmit).map(|talkgroup| (id, talkgroup)));
    }
    talkgroups
}

fn talkgroup(entry: &Entry, transmit: Vec<GatewayId>) -> Option<Talkgroup> {
    Some(Talkgroup {
        agency: entry.id("agency")?,
        name: entry.text("name").or(entry.text("id"))?.into(),
        security: entry.word("security")?,
        patchable: entry.word("patchable")?,
        coverage: entry.text("coverage").unwrap_or("").into(),
        priority_max: Priority(entry.integer("priority_max")?),
        transmit,
        talk_limit_ms: entry.integer::<u32>("talk_limit_s")? * 1000,
        announce: entry.word("announce")?,
        on_loop: entry.word("on_loop")?,
        idle_unlink_s: entry.integer("idle_unlink_s")?,
        floor: floor(entry.table("floor"))?,
    })
}

/// A gateway that speaks SIP is nothing else.
fn is_radio(gateway: &Entry) -> bool {
    gateway.section.name == GATEWAY_SIP.name || gateway.text("role") == Some("radio")
}

/// The gateways that may be keyed: named, or all radios of the talkgroup.
fn transmit(entry: &Entry, members: &[&Entry], faults: &mut Faults<'_>) -> Vec<GatewayId> {
    if !entry.is_written("transmit") {
        return members.iter().filter(|member| is_radio(member)).filter_map(|member| member.id("id")).collect();
    }
    let mut transmit: Vec<GatewayId> = Vec::new();
    for (name, place) in entry.texts("transmit") {
        let Ok(id) = GatewayId::new(name) else { continue };
        match members.iter().find(|member| member.text("id") == Some(name)) {
            Some(member) if !is_radio(member) => {
                let suggestion = Some(format!("leave {name:?} out: it hears everything anyway"));
                faults.fault(&place, format!("gateway {name} is no radio and is never keyed"), suggestion);
            }
            Some(_) if transmit.contains(&id) => {
                faults.fault(&place, format!("gateway {name} stands here twice"), Some("leave one out".into()));
            }
            Some(_) => transmit.push(id),
            None => {
                let own: Vec<&str> = members.iter().filter_map(|member| member.text("id")).collect();
                let suggestion =
                    if own.is_empty() { None } else { Some(format!("its gateways are {}", own.join(", "))) };
                faults.fault(&place, format!("gateway {name} does not carry this talkgroup"), suggestion);
            }
        }
    }
    transmit
}

/// A floor as written, or the default.
pub(super) fn floor(entry: Option<&Entry>) -> Option<FloorPolicy> {
    let absent = Entry::absent(&FLOOR);
    let entry = entry.unwrap_or(&absent);
    Some(FloorPolicy {
        mode: entry.word("mode")?,
        holders_max: entry.integer("holders_max")?,
        queue_max: entry.integer("queue_max")?,
        hang_ms: entry.integer("hang_ms")?,
        talk_limit_ms: entry.integer::<u32>("talk_limit_s")? * 1000,
    })
}
