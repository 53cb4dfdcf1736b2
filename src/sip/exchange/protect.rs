//! Which of a call's ends may encrypt: its place's rule, and whether its messages are read by others.

use super::Exchange;
use crate::domain::configuration::MediaSecurity;
use crate::domain::id::GatewayId;
use crate::sip::flow::Flow;
use crate::sip::offer::MediaRules;

impl Exchange {
    /// What a place's call may agree on. Who has no place encrypts nothing.
    pub(super) fn rules_of(&self, phone: &GatewayId, flow: &Flow) -> MediaRules {
        let place = self.places.iter().find(|place| place.phone == *phone);
        let security = place.map_or(MediaSecurity::Never, |place| place.srtp);
        let keys_may_cross = self.keys_in_clear || flow.transport.is_secret();
        let rules = MediaRules { security, keys_may_cross, ..self.rules.clone() };
        match (self.standing.formats(phone), self.standing.setting(phone)) {
            (Some(formats), Some(setting)) => MediaRules { formats, events_needed: setting.events_needed, ..rules },
            _ => rules,
        }
    }
}
