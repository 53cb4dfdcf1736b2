//! Signs of life: RTCP reports that also keep the path open toward ports that must not get a packet outside a burst,
//! and whether a port's peer lives. Everything at its own moment, seeded, so that no two ports report at once.

use crate::domain::report::Report;
use crate::domain::time::MonoTime;
use crate::wire::rtcp::{NtpTime, Reception, SenderReport, write_goodbye, write_receiver_report, write_sender_report};

use super::outbox::{Carries, Outbox, PacketKind};
use super::port::REPORT_EVERY_MS;
use super::shard::Shard;
use super::slab::PortSlot;

impl Shard {
    pub(super) fn tick_life(&mut self, now: MonoTime, out: &mut Outbox) {
        for index in 0..self.ports.reach() {
            let Some(port) = self.ports.slot_at(index) else { continue };
            if now >= self.ports[port].report_at {
                // RFC 3550 section 6.2: half to one and a half times the interval.
                let next = REPORT_EVERY_MS / 2 + self.entropy.below(REPORT_EVERY_MS);
                self.ports[port].report_at = now.plus_ms(next);
                self.send_rtcp(port, now, out);
            }
            self.tell_life(port, now, out);
        }
    }

    fn send_rtcp(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        let open = &mut self.ports[port];
        let Some(to) = open.peer() else { return };
        let reception = open.receiver.report(now).map(|report| Reception {
            ssrc: report.ssrc,
            lost_fraction: report.fraction_lost,
            lost_total: report.cumulative_lost,
            highest_sequence: report.highest_sequence,
            jitter: report.jitter,
            last_report: report.last_sender_report,
            delay: report.delay_since_last,
        });
        let totals = open.sender.totals(now);
        let has_sent = totals.packets != open.reported_packets;
        open.reported_packets = totals.packets;
        let sent = out.push_packet(port, to, PacketKind::Rtcp, Carries::Nobody, |room| {
            let written = if has_sent {
                let report = SenderReport {
                    ntp: NtpTime::of(now),
                    rtp_timestamp: totals.timestamp,
                    packets: totals.packets,
                    octets: totals.octets,
                };
                write_sender_report(totals.ssrc, &report, reception.as_ref(), CNAME, room)
            } else {
                write_receiver_report(totals.ssrc, reception.as_ref(), CNAME, room)
            };
            written.unwrap_or(0)
        });
        if !sent {
            self.counters.limit(crate::domain::report::MediaLimit::Outbox);
        }
    }

    /// Its stream ends: who has heard it need not wait for more (RFC 3550 section 6.6).
    pub(super) fn say_goodbye(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        let open = &self.ports[port];
        let totals = open.sender.totals(now);
        // Whoever never sent anything must not say that it stops (section 6.3.7).
        let Some(to) = open.peer().filter(|_| totals.packets > 0) else { return };
        let sent = out.push_packet(port, to, PacketKind::Rtcp, Carries::Nobody, |room| {
            write_goodbye(totals.ssrc, CNAME, room).unwrap_or(0)
        });
        if !sent {
            self.counters.limit(crate::domain::report::MediaLimit::Outbox);
        }
    }

    /// Told when it changes: alive with the first sign, dead after more silence than its configuration allows. Of a
    /// peer that need show no life nothing is known, and if it was thought lost before, it no longer is.
    fn tell_life(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        let open = &mut self.ports[port];
        let heard = open.receiver.heard_at().is_some() || open.signed;
        let alive = open.spec.silence_max_ms.map(|most_ms| now.ms_since(open.sign_at) < u64::from(most_ms));
        let told = match (open.alive, alive) {
            (None | Some(false), Some(true)) if heard => Some(true),
            (None | Some(true), Some(false)) => Some(false),
            (Some(_), None) => Some(true),
            (_, Some(_)) | (None, None) => None,
        };
        if let Some(told) = told {
            open.alive = alive;
            let alive = told;
            let report = Report::Alive { port: open.spec.port, alive, at: now };
            self.report(report, out);
        }
    }
}

/// The same for all ports of one daemon: its SSRCs differ.
const CNAME: &str = "crosspatch";
