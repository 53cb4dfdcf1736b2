//! Signs of life: RTCP reports that also keep the path open toward ports that must not get a packet outside a burst,
//! and whether a port's peer lives. Everything at its own moment, seeded, so that no two ports report at once.

use std::net::SocketAddr;

use crate::domain::id::NodeId;
use crate::domain::report::Report;
use crate::domain::time::MonoTime;
use crate::wire::rtcp::{
    NtpTime, Reception, RtcpSummary, SenderReport, write_goodbye, write_receiver_report, write_sender_report,
};

use super::discard::Discard;
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
        let (open, cname) = (&mut self.ports[port], &self.cname);
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
                write_sender_report(totals.ssrc, &report, reception.as_ref(), cname, room)
            } else {
                write_receiver_report(totals.ssrc, reception.as_ref(), cname, room)
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
            write_goodbye(totals.ssrc, &self.cname, room).unwrap_or(0)
        });
        if !sent {
            self.counters.limit(crate::domain::report::MediaLimit::Outbox);
        }
    }

    /// What a peer says of its streams. If the one we hear has ended (RFC 3550 section 6.6), the peer is lost now and not
    /// after its silence, until it says something again. Of a port that was never heard any stream of its peer's counts.
    pub(super) fn take_rtcp(
        &mut self,
        port: PortSlot,
        source: SocketAddr,
        packet: &[u8],
        now: MonoTime,
    ) -> Result<(), Discard> {
        let open = self.ports.get_mut(port).ok_or(Discard::NoPort)?;
        open.receiver.accept_control(source, now)?;
        let summary = RtcpSummary::parse(packet, open.sender.ssrc()).map_err(|_| Discard::Malformed)?;
        (open.sign_at, open.signed) = (now, true);
        if let (Some(ssrc), Some(sender)) = (summary.reporter, summary.sender) {
            open.receiver.handle_sender_report(ssrc, sender.ntp.0, now);
        }
        if summary.leaving.is_some_and(|ssrc| open.receiver.ssrc().is_none_or(|heard| heard == ssrc)) {
            open.left_at = Some(now);
        }
        Ok(())
    }

    /// Told when it changes: alive with the first sign, dead after more silence than its configuration allows. Of a
    /// peer that need show no life nothing is known, and if it was thought lost before, it no longer is.
    fn tell_life(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        let open = &mut self.ports[port];
        let heard = open.receiver.heard_at().is_some() || open.signed;
        let left = open.left_at.is_some_and(|at| at >= open.sign_at);
        let alive = open.spec.silence_max_ms.map(|most_ms| !left && now.ms_since(open.sign_at) < u64::from(most_ms));
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

/// The name of all a daemon's streams: who receives those of several, as from one host, must not take them for one's.
/// The identity is drawn when a journal begins, and kept (RFC 7022 section 4.2).
pub(super) fn cname_of(node: NodeId) -> String {
    format!("{:032x}", node.0)
}
