//! What some worlds have beside what all have: notices, open floors, levelled microphones, keys told by telephone events
//! or by loudness, G.722, reports, and papers that end. Drawn from a stream of chance of its own, so that a world
//! without an ingredient is what it was before there was any.

use std::collections::BTreeMap;

use crosspatch::domain::audio::{Codec, Format};
use crosspatch::domain::configuration::{Announce, Configuration};
use crosspatch::domain::floor::FloorMode;
use crosspatch::domain::id::TalkgroupId;
use crosspatch::domain::port::{PayloadType, ReceiveKeying};
use crosspatch::domain::random::Entropy;
use crosspatch::domain::time::WallTime;

use super::field::Field;
use super::geography::{Geography, payload_number};

/// The chance of ingredients, and of nothing else.
pub struct Ingredients(Entropy);

impl Ingredients {
    pub fn of(seed: u64) -> Self {
        Self(Entropy::new(seed.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ 0x1c9e))
    }

    /// What the configuration says.
    pub fn season(&mut self, geography: &mut Geography, began: WallTime) {
        let configuration = &mut geography.configuration;
        if self.0.percent(20) {
            self.speak_g722(configuration);
        }
        if self.0.percent(25) {
            self.key_otherwise(configuration);
        }
        if self.0.percent(15) {
            self.level(configuration);
        }
        if self.0.percent(40) {
            self.end_papers(configuration, began);
        }
        if self.0.percent(30) {
            configuration.talkgroups.values_mut().for_each(|group| group.announce = Announce::Tone);
        }
        if self.0.percent(15) {
            configuration.policy.floor.mode = FloorMode::Open;
            let patches = configuration.templates.values_mut().flat_map(|template| &mut template.patches);
            patches.for_each(|patch| patch.floor.mode = FloorMode::Open);
        }
    }

    /// What the far ends do: some report by RTCP, as most real ones do.
    pub fn season_field(&mut self, field: &mut Field) {
        if self.0.percent(30) {
            for device in &mut field.devices {
                device.reports = self.0.percent(50);
            }
        }
    }

    fn speak_g722(&mut self, configuration: &mut Configuration) {
        let g722 = PayloadType { number: payload_number(Codec::G722), format: Format::usual(Codec::G722) };
        for gateway in configuration.gateways.values_mut() {
            if self.0.percent(35) {
                gateway.port.payloads = vec![g722];
            }
        }
    }

    /// Receivers of one talkgroup open in one way.
    fn key_otherwise(&mut self, configuration: &mut Configuration) {
        let mut ways: BTreeMap<TalkgroupId, Option<ReceiveKeying>> = BTreeMap::new();
        for gateway in configuration.gateways.values_mut() {
            let choices = [None, Some(ReceiveKeying::Event), Some(ReceiveKeying::Vox)];
            let drawn = choices[self.0.below(3) as usize];
            let way = *ways.entry(gateway.talkgroup.clone()).or_insert(drawn);
            if let (ReceiveKeying::Presence, Some(way)) = (gateway.port.receive.keying, way) {
                gateway.port.receive.keying = way;
                gateway.port.events = (way == ReceiveKeying::Event).then_some(EVENTS);
            }
        }
    }

    fn level(&mut self, configuration: &mut Configuration) {
        for gateway in configuration.gateways.values_mut() {
            gateway.port.level = self.0.percent(30);
        }
    }

    fn end_papers(&mut self, configuration: &mut Configuration, began: WallTime) {
        for paper in configuration.agreements.values_mut() {
            let after_ms = [60_000, 3_600_000, 40_000_000][self.0.below(3) as usize];
            paper.end = Some(began.plus_ms(after_ms));
        }
    }
}

/// The payload type of telephone events.
pub const EVENTS: u8 = 101;
