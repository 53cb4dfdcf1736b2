//! The far end of one port: what it sends and how its transmitter answers. Who speaks into it, and who hears its channel,
//! is the field's.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crosspatch::domain::audio::Format;
use crosspatch::domain::configuration::GatewayPort;
use crosspatch::domain::id::{AgencyId, GatewayId, PortId, TalkgroupId};
use crosspatch::domain::port::{GrantSign, PayloadType, PortRole, ReceiveKeying};
use crosspatch::domain::random::Entropy;
use crosspatch::domain::time::MonoTime;
use crosspatch::wire::rtcp::{NtpTime, SenderReport, write_receiver_report, write_sender_report};
use crosspatch::wire::rtp::RtpHeader;
use crosspatch::wire::rtp_extension::{Elements, Keying};
use crosspatch::wire::telephone_event::TelephoneEvent;

use super::field::{Datagram, Ear, FieldCounts};
use super::ingredients::EVENTS;
use super::network::{Network, Quality};
use super::stamp::{self, FILLER, LIVE, Stamp};

/// The far end of one port.
pub struct Device {
    pub gateway: GatewayId,
    pub port: PortId,
    pub agency: AgencyId,
    pub talkgroup: TalkgroupId,
    pub spec: GatewayPort,
    pub address: SocketAddr,
    /// Another site's daemon is at the far end, and nobody speaks here.
    pub is_line: bool,
    /// May send from elsewhere after a silence.
    pub moves: bool,
    pub path: Quality,
    pub transmitter: Transmitter,
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) marked: bool,
    pub(super) keyed: bool,
    pub(super) sent_at: MonoTime,
    /// What it heard off the air and sends in at the next beat.
    pub(super) off_air: VecDeque<Stamp>,
    /// Beats of noise or release still to send.
    pub(super) after: VecDeque<u8>,
    pub(super) last: Stamp,
    pub(super) flood: u8,
    /// Sends RTCP, and when next.
    pub reports: bool,
    pub(super) report_at: MonoTime,
    /// Packets and their payload bytes.
    pub(super) sent: (u32, u32),
}

/// What a device does with what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transmitter {
    Off,
    /// Keyed, and not on the air before this.
    Rising {
        at: MonoTime,
        denied: bool,
    },
    On {
        heard_at: MonoTime,
    },
    /// Its trunk is busy.
    Busy {
        until: MonoTime,
    },
}

impl Device {
    /// What it is sent.
    pub fn format(&self) -> Format {
        self.spec.payloads[0].format
    }

    pub(super) fn key(&mut self, keyed: bool, now: MonoTime, entropy: &mut Entropy, happened: &mut FieldCounts) {
        match (self.transmitter, keyed) {
            (Transmitter::Off, true) => {
                let (wait_ms, denied) = match self.spec.transmit.grant {
                    GrantSign::Immediate => (0, false),
                    GrantSign::AfterMs(ms) => (u64::from(ms), false),
                    GrantSign::Signalled => (entropy.below(900), entropy.percent(15)),
                };
                happened.late_grants += u64::from(wait_ms > 100 && !denied);
                self.transmitter = if wait_ms == 0 && !denied {
                    Transmitter::On { heard_at: now }
                } else {
                    Transmitter::Rising { at: now.plus_ms(wait_ms), denied }
                };
            }
            (Transmitter::On { .. }, true) => self.transmitter = Transmitter::On { heard_at: now },
            (Transmitter::On { .. } | Transmitter::Rising { .. }, false) => self.transmitter = Transmitter::Off,
            (Transmitter::Off | Transmitter::Busy { .. }, false)
            | (Transmitter::Rising { .. } | Transmitter::Busy { .. }, true) => {}
        }
    }

    /// A sign without speech: the trunk's answer.
    pub(super) fn signal(
        &mut self,
        ear: Ear,
        keying: Keying,
        now: MonoTime,
        network: &mut Network<Datagram>,
        entropy: &mut Entropy,
    ) {
        let stamp = Stamp { air: FILLER, ..self.last };
        self.put(ear, stamp, Some(keying), now, network, entropy);
    }

    pub(super) fn send(
        &mut self,
        ear: Ear,
        stamp: Stamp,
        keyed: Option<bool>,
        now: MonoTime,
        network: &mut Network<Datagram>,
        entropy: &mut Entropy,
    ) {
        let radio = self.spec.role == PortRole::Radio;
        if self.spec.receive.keying == ReceiveKeying::Event && stamp.air == LIVE && stamp.frame == 0 {
            self.press(ear, '*', now, network, entropy);
        }
        let keying = match (self.spec.receive.keying, keyed) {
            (ReceiveKeying::Ext, Some(emergency)) => {
                Some(Keying { ptt: !radio, cor: radio, emergency, ..Keying::default() })
            }
            (ReceiveKeying::Ext, None) => Some(Keying::default()),
            (ReceiveKeying::Presence | ReceiveKeying::Event | ReceiveKeying::Vox, _) => None,
        };
        self.put(ear, stamp, keying, now, network, entropy);
    }

    /// A telephone event, as some radio gateways tell of their keys.
    pub(super) fn press(
        &mut self,
        ear: Ear,
        digit: char,
        now: MonoTime,
        network: &mut Network<Datagram>,
        entropy: &mut Entropy,
    ) {
        let event = TelephoneEvent::event_of(digit).expect("a key of a telephone");
        let event = TelephoneEvent { event, end: true, volume: 10, duration: 160 };
        let bytes = event.bytes().expect("a short event");
        let stamp = Stamp { air: FILLER, ..self.last };
        self.leave(ear, EVENTS, &bytes, stamp, None, now, network, entropy);
    }

    /// Now and then a report, as RFC 3550 section 6.2 wants it. Whether it sent one.
    pub(super) fn report(
        &mut self,
        ear: Ear,
        now: MonoTime,
        network: &mut Network<Datagram>,
        entropy: &mut Entropy,
    ) -> bool {
        if !self.reports || now < self.report_at {
            return false;
        }
        self.report_at = now.plus_ms(2_500 + entropy.below(5_000));
        let mut bytes = vec![0; 128];
        let (packets, octets) = self.sent;
        let report = SenderReport { ntp: NtpTime::of(now), rtp_timestamp: self.timestamp, packets, octets };
        let length = match packets {
            0 => write_receiver_report(self.ssrc, None, "far@world", &mut bytes),
            _ => write_sender_report(self.ssrc, &report, None, "far@world", &mut bytes),
        };
        bytes.truncate(length.expect("a report fits"));
        let datagram = Datagram { to: ear, source: self.address, bytes, stamp: None, control: true };
        network.send(datagram, self.path, now, entropy);
        true
    }

    fn put(
        &mut self,
        ear: Ear,
        stamp: Stamp,
        keying: Option<Keying>,
        now: MonoTime,
        network: &mut Network<Datagram>,
        entropy: &mut Entropy,
    ) {
        let PayloadType { number, format } = self.spec.payloads[0];
        self.leave(ear, number, &stamp::payload(format, stamp), stamp, keying, now, network, entropy);
    }

    #[expect(clippy::too_many_arguments, reason = "a packet's parts and the world")]
    fn leave(
        &mut self,
        ear: Ear,
        payload_type: u8,
        payload: &[u8],
        stamp: Stamp,
        keying: Option<Keying>,
        now: MonoTime,
        network: &mut Network<Datagram>,
        entropy: &mut Entropy,
    ) {
        let format = self.spec.payloads[0].format;
        // RFC 3550 section 5.1: timestamps run on while nothing is sent.
        let idle = now.ms_since(self.sent_at) / 20;
        self.timestamp = self.timestamp.wrapping_add(format.ticks_per_packet().wrapping_mul(idle.max(1) as u32));
        self.sequence = self.sequence.wrapping_add(1);
        self.sent_at = now;
        self.sent = (self.sent.0.wrapping_add(1), self.sent.1.wrapping_add(payload.len() as u32));
        let header = RtpHeader {
            payload_type,
            marker: !std::mem::replace(&mut self.marked, true),
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let mut elements = [0; 24];
        let mut bytes = vec![0; 1500];
        let length = Elements { keying, ..Elements::default() }
            .write(&self.spec.extension, &mut elements)
            .and_then(|used| header.write_packet(&elements[..used], payload, &mut bytes))
            .expect("a voice packet fits 1,500 bytes");
        bytes.truncate(length);
        let datagram = Datagram { to: ear, source: self.address, bytes, stamp: Some(stamp), control: false };
        network.send(datagram, self.path, now, entropy);
    }
}
