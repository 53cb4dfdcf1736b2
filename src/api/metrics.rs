//! Figures for OpenMetrics scrapers: every counter of media threads, journal and door, read when asked for.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::domain::floor::{BurstEnd, Denial, MissCause};
use crate::domain::refusal::Refusal;
use crate::domain::report::MediaLimit;
use crate::io::media::stats::{LATENESS_MS, ShardStats};
use crate::media::discard::Discard;
use crate::sip::call::CallEnd;
use crate::sip::gate::GateFault;
use crate::sip::stream::StreamEnd;

use super::Door;

type Labels = Vec<(&'static str, String)>;

/// Everything as OpenMetrics text.
pub fn text(door: &Door) -> String {
    let mut registry = Registry::with_prefix("crosspatch");
    shards(&mut registry, &door.stats);
    reasons(&mut registry, &door.stats);
    own(&mut registry, door);
    telephony(&mut registry, door);
    let mut text = String::new();
    if let Err(fault) = encode(&mut text, &registry) {
        // Writing into a string fails only by a fault of ours; a scraper must not see half of it.
        tracing::error!(%fault, "metrics could not be written");
        return String::new();
    }
    // The histogram is cumulative text of its own: the client has no histogram that is set from outside.
    let end = text.trim_end().strip_suffix("# EOF").map_or(text.len(), str::len);
    text.truncate(end);
    lateness(&mut text, &door.stats);
    text.push_str("# EOF\n");
    text
}

fn count(registry: &mut Registry, name: &str, help: &str) -> Family<Labels, Counter> {
    let family = Family::<Labels, Counter>::default();
    registry.register(name, help, family.clone());
    family
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

fn shards(registry: &mut Registry, stats: &[Arc<ShardStats>]) {
    type Pick = fn(&ShardStats) -> &AtomicU64;
    let figures: [(&str, &str, Pick); 14] = [
        ("rtp_received", "RTP packets accepted from ports", |s| &s.received),
        ("rtp_relayed", "Packets sent with a talker's payload untouched", |s| &s.relayed),
        ("rtp_mixed", "Packets sent from the mix path", |s| &s.mixed),
        ("frames_encoded", "Frames encoded", |s| &s.encoded),
        ("frames_decoded", "Frames decoded", |s| &s.decoded),
        ("trunk_frames", "Frames exchanged between shards", |s| &s.steered),
        ("bursts", "Bursts that got a floor", |s| &s.bursts),
        ("send_faults", "Packets the kernel did not take", |s| &s.send_faults),
        ("not_sealed", "Packets of encrypted calls that could not be sealed and did not leave", |s| &s.not_sealed),
        ("without_socket", "Packets for a port without sockets", |s| &s.without_socket),
        ("truncated", "Datagrams longer than any voice packet", |s| &s.truncated),
        ("ring_full", "Trunk frames a full ring did not take", |s| &s.ring_full),
        ("reports_lost", "Reports a full ring did not take", |s| &s.reports_lost),
        ("shard_rebuilt", "Shards lost to a panic or condemned", |s| &s.rebuilt),
    ];
    for (name, help, pick) in figures {
        let family = count(registry, name, help);
        for (shard, stats) in stats.iter().enumerate() {
            let value = pick(stats).load(Ordering::Relaxed);
            family.get_or_create(&vec![("shard", shard.to_string())]).inc_by(value);
        }
    }
    let most = stats.iter().map(|stats| stats.outbox_most.load(Ordering::Relaxed)).max().unwrap_or(0);
    gauge(registry, "outbox_packets_most", "Most packets of one round in the last half second", most);
}

/// One counter a reason, summed over shards.
fn reasons(registry: &mut Registry, stats: &[Arc<ShardStats>]) {
    let mut table = |name: &str,
                     help: &str,
                     label: &'static str,
                     names: Vec<String>,
                     pick: &dyn Fn(&ShardStats) -> &[AtomicU64]| {
        let family = count(registry, name, help);
        for (at, reason) in names.into_iter().enumerate() {
            let value = stats.iter().map(|stats| pick(stats)[at].load(Ordering::Relaxed)).sum();
            family.get_or_create(&vec![(label, reason)]).inc_by(value);
        }
    };
    table("discards", "Packets not used", "reason", words(Discard::ALL), &|s| &s.discards);
    table("burst_ends", "Bursts by how they ended", "cause", words(&BurstEnd::ALL), &|s| &s.burst_ends);
    table("misses", "Ports that missed some of a burst", "cause", words(&MissCause::ALL), &|s| &s.misses);
    table("denials", "Keys that got no floor", "cause", words(&Denial::ALL), &|s| &s.denials);
    table("limits", "Times a limit of media was hit", "limit", words(&MediaLimit::ALL), &|s| &s.limits);
}

/// `StillRevoked` as `still_revoked`.
fn words<T: std::fmt::Debug>(all: &[T]) -> Vec<String> {
    let snake = |name: String| {
        let mut word = String::new();
        for c in name.chars() {
            if c.is_uppercase() && !word.is_empty() {
                word.push('_');
            }
            word.extend(c.to_lowercase());
        }
        word
    };
    all.iter().map(|one| snake(format!("{one:?}"))).collect()
}

/// What became of SIP's datagrams and calls.
fn telephony(registry: &mut Registry, door: &Door) {
    let Some(counters) = door.telephony.get().map(|counters| counters.borrow().clone()) else { return };
    let datagrams = count(registry, "sip", "Datagrams of SIP, and why some were not used");
    for (what, value) in [
        ("datagrams", counters.datagrams),
        ("over_rate", counters.over_rate),
        ("challenged", counters.challenged),
        ("not_authentic", counters.not_authentic),
        ("answer_too_long", counters.too_long),
        ("calls", counters.calls_begun),
        ("calls_encrypted", counters.calls_encrypted),
        ("calls_resumed", counters.calls_resumed),
    ] {
        datagrams.get_or_create(&vec![("what", what.to_owned())]).inc_by(value);
    }
    let trunks = <Family<Vec<(&str, String)>, Gauge>>::default();
    registry.register("trunk_up", "1 while a trunk answers and accepts us", trunks.clone());
    for (trunk, is_up) in &counters.trunks {
        trunks.get_or_create(&vec![("trunk", trunk.to_string())]).set(i64::from(*is_up));
    }
    let refused = count(registry, "sip_gate", "Messages of SIP that the gate refused");
    for (fault, name) in GateFault::ALL.iter().zip(words(&GateFault::ALL)) {
        let value = counters.gate.get(fault).copied().unwrap_or_default();
        refused.get_or_create(&vec![("fault", name)]).inc_by(value);
    }
    let streams = count(registry, "sip_streams", "Connections of SIP by how they ended, or why they were not taken");
    streams.get_or_create(&vec![("end", "begun".to_owned())]).inc_by(counters.streams_begun);
    for (end, name) in StreamEnd::ALL.iter().zip(words(&StreamEnd::ALL)) {
        let value = counters.streams_ended.get(end).copied().unwrap_or_default();
        streams.get_or_create(&vec![("end", name)]).inc_by(value);
    }
    let answers = count(registry, "sip_answers", "Final answers of SIP by status");
    for (status, value) in &counters.answers {
        answers.get_or_create(&vec![("status", status.to_string())]).inc_by(*value);
    }
    let failed = count(registry, "sip_dialled_in_vain", "Attempts of ours to call somebody that failed, by why");
    for (why, value) in &counters.calls_failed {
        failed.get_or_create(&vec![("cause", why.name())]).inc_by(*value);
    }
    let ends = count(registry, "call_ends", "Calls by how they ended");
    for (end, name) in CallEnd::ALL.iter().zip(words(&CallEnd::ALL)) {
        let value = counters.calls_ended.get(end).copied().unwrap_or_default();
        ends.get_or_create(&vec![("cause", name)]).inc_by(value);
    }
}

fn own(registry: &mut Registry, door: &Door) {
    let refusals = count(registry, "refusals", "Commands refused");
    for (code, counter) in Refusal::CODES.iter().zip(&door.counters.refusals) {
        refusals.get_or_create(&vec![("code", (*code).to_owned())]).inc_by(counter.load(Ordering::Relaxed));
    }
    let door_counts = count(registry, "http", "Requests by what became of them");
    let counters = &door.counters;
    for (what, value) in [
        ("requests", counters.requests.load(Ordering::Relaxed)),
        ("wrong_tokens", door.tokens.wrong()),
        ("subscribers_refused", counters.subscribers_refused.load(Ordering::Relaxed)),
        ("subscribers_slow", counters.subscribers_slow.load(Ordering::Relaxed)),
        ("connections_refused", counters.connections_refused.load(Ordering::Relaxed)),
        ("connections_stalled", counters.connections_stalled.load(Ordering::Relaxed)),
    ] {
        door_counts.get_or_create(&vec![("what", what.to_owned())]).inc_by(value);
    }
    gauge(registry, "subscribers", "Event subscribers now", door.counters.subscribers.load(Ordering::Relaxed) as u64);
    let seen = Arc::clone(&door.link.seen.borrow());
    let journal = count(registry, "journal", "The journal's own counters");
    for (what, value) in [
        ("commits", seen.journal.commits),
        ("commits_failed", seen.journal.commits_failed),
        ("records", seen.journal.records),
        ("refused_full", seen.journal.refused_full),
        ("checkpoints_failed", seen.journal.checkpoints_failed),
        ("witness_failed", seen.journal.witness_failed),
        ("facts_lost", seen.facts_lost),
    ] {
        journal.get_or_create(&vec![("what", what.to_owned())]).inc_by(value);
    }
    gauge(registry, "journal_failing", "1 while the journal does not record", u64::from(seen.journal.alarm.is_some()));
    gauge(registry, "journal_queued", "Appends that wait", seen.journal.queued as u64);
    gauge(registry, "incidents", "Open incidents", seen.state.incidents.len() as u64);
    gauge(registry, "alarms", "Alarms that stand", seen.state.alarms.len() as u64);
    gauge(registry, "emergencies", "Open emergencies", seen.state.emergencies.len() as u64);
}

fn lateness(text: &mut String, stats: &[Arc<ShardStats>]) {
    let name = "crosspatch_tick_lateness_seconds";
    let mut line = |line: String| {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{line}");
    };
    line(format!("# HELP {name} How late the 20 ms tick began."));
    line(format!("# TYPE {name} histogram"));
    for (shard, stats) in stats.iter().enumerate() {
        let mut sum = 0;
        for (at, count) in stats.lateness.iter().enumerate() {
            sum += count.load(Ordering::Relaxed);
            let bound = LATENESS_MS.get(at).map_or("+Inf".to_owned(), |ms| (*ms as f64 / 1000.0).to_string());
            line(format!("{name}_bucket{{shard=\"{shard}\",le=\"{bound}\"}} {sum}"));
        }
        line(format!("{name}_sum{{shard=\"{shard}\"}} {}", stats.lateness_us.load(Ordering::Relaxed) as f64 / 1e6));
        line(format!("{name}_count{{shard=\"{shard}\"}} {sum}"));
    }
}
