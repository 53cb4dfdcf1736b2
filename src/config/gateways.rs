//! Gateways as meant: who may send to them, what they speak, how they key. Ports that clash, paths that are open.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::fault::Faults;
use super::keys::{EXT, GATEWAY_RTP, TALKGROUP};
use super::read::{Document, Entry, Item, Value, word};
use super::settings::media_address;
use crate::domain::audio::{Codec, Format, Gain};
use crate::domain::configuration::{Gateway, GatewayKind, GatewayPort, PathClass, RtpGateway};
use crate::domain::id::{AgencyId, GatewayId, TalkgroupId};
use crate::domain::port::{
    ExtensionIds, GrantSign, Network, PayloadType, PeerRule, PortRole, ReceiveSpec, TransmitKeying, TransmitSpec,
};

/// L16 must fit one datagram on every path: 1,472 bytes less header and extensions.
const L16_PAYLOAD_BYTES_MAX: usize = 1440;

/// Every gateway.
pub(super) fn gateways(document: &Document, faults: &mut Faults<'_>) -> BTreeMap<GatewayId, Gateway> {
    let mut gateways = BTreeMap::new();
    let mut bound: Vec<(SocketAddr, String)> = Vec::new();
    for entry in document.all(&GATEWAY_RTP) {
        let local = local(document, entry, &mut bound, faults);
        let Some(peer) = peer(entry, faults) else { continue };
        check_families(entry, local, &peer, faults);
        check_open(entry, local, &peer, faults);
        let kind = GatewayKind::Rtp(RtpGateway {
            local,
            peer,
            accept_open_network: entry.switch("accept_open_network"),
            rtcp_timeout_s: entry.integer("rtcp_timeout_s").unwrap_or(0),
        });
        let Some((owner, talkgroup)) = owner(document, entry) else { continue };
        check_secure(document, entry, &kind, faults);
        let Some(port) = port(entry, faults) else { continue };
        gateways.extend(entry.id("id").map(|id| (id, Gateway { agency: owner, talkgroup, kind, port })));
    }
    gateways
}

pub(super) fn talkgroup_entry<'d>(document: &'d Document, entry: &Entry) -> Option<&'d Entry> {
    let id = entry.text("talkgroup")?;
    document.all(&TALKGROUP).iter().find(|talkgroup| talkgroup.text("id") == Some(id))
}

/// A gateway belongs to whom its talkgroup belongs.
pub(super) fn owner(document: &Document, entry: &Entry) -> Option<(AgencyId, TalkgroupId)> {
    Some((talkgroup_entry(document, entry)?.id("agency")?, entry.id("talkgroup")?))
}

pub(super) fn written_address(entry: &Entry, key: &'static str) -> Option<SocketAddr> {
    if let Value::Address(address) = entry.item(key)?.value { Some(address) } else { None }
}

/// The local address, and a fault if its pair of ports is odd or taken.
fn local(
    document: &Document,
    entry: &Entry,
    bound: &mut Vec<(SocketAddr, String)>,
    faults: &mut Faults<'_>,
) -> SocketAddr {
    let Some(local) = written_address(entry, "local") else {
        return SocketAddr::new(media_address(document), 0);
    };
    let place = entry.place("local");
    if local.port() % 2 == 1 {
        let even = SocketAddr::new(local.ip(), local.port() - 1);
        let message = "RTP takes an even port, RTCP the odd one above";
        faults.fault(&place, message, Some(format!("write \"{even}\"")));
    } else if local.port() != 0 {
        let same = |other: &SocketAddr| {
            other.port() == local.port()
                && (other.ip() == local.ip() || other.ip().is_unspecified() || local.ip().is_unspecified())
        };
        match bound.iter().find(|(other, _)| same(other)) {
            Some((_, name)) => {
                let next = free_port(bound, local);
                let message = format!("port {} is already taken by gateway {name}", local.port());
                faults.fault(&place, message, next.map(|next| format!("write \"{next}\", or port 0 to be given one")));
            }
            None => bound.push((local, entry.text("id").unwrap_or("?").into())),
        }
    }
    local
}

fn free_port(bound: &[(SocketAddr, String)], near: SocketAddr) -> Option<SocketAddr> {
    let mut ports = (near.port()..=u16::MAX - 1).step_by(2).skip(1);
    let free = ports.find(|port| bound.iter().all(|(other, _)| other.port() != *port))?;
    Some(SocketAddr::new(near.ip(), free))
}

/// Exactly one of `peer` and `latch`.
fn peer(entry: &Entry, faults: &mut Faults<'_>) -> Option<PeerRule> {
    match (entry.is_written("peer"), entry.is_written("latch")) {
        (true, true) => {
            let suggestion = "keep `peer` if the address is fixed, `latch` if it moves";
            faults.fault(&entry.place("latch"), "`peer` and `latch` exclude each other", Some(suggestion.into()));
            None
        }
        (false, false) => {
            let suggestion = "add: peer = \"192.0.2.7:5004\", or latch = [\"192.0.2.0/24\"]";
            faults.fault(&entry.header, "nothing says who may send to this gateway", Some(suggestion.into()));
            None
        }
        (true, false) => written_address(entry, "peer").map(PeerRule::Static),
        (false, true) => {
            let Value::List(items) = &entry.item("latch")?.value else { return None };
            Some(PeerRule::Latch(items.iter().filter_map(network).collect()))
        }
    }
}

fn network(item: &Item) -> Option<Network> {
    if let Value::Network(network) = item.value { Some(network) } else { None }
}

fn check_families(entry: &Entry, local: SocketAddr, peer: &PeerRule, faults: &mut Faults<'_>) {
    if let PeerRule::Static(peer) = peer {
        if peer.port() == 0 {
            let suggestion = "write the box's own port, or use latch".to_owned();
            faults.fault(&entry.place("peer"), "nothing can be sent to port 0", Some(suggestion));
        }
        if peer.is_ipv4() != local.is_ipv4() && !local.ip().is_unspecified() {
            let message = format!("{} and {} are not of one address family", local.ip(), peer.ip());
            faults.fault(&entry.place("peer"), message, Some("write both as IPv4 or both as IPv6".into()));
        }
    }
}

/// Plain RTP outside this host: interface, sources and the owner's word are all needed.
fn check_open(entry: &Entry, local: SocketAddr, peer: &PeerRule, faults: &mut Faults<'_>) {
    let everyone = matches!(peer, PeerRule::Latch(networks) if networks.iter().any(|network| network.is_everyone()));
    if local.ip().is_loopback() {
        if everyone {
            let suggestion = "name the peer's own address, such as latch = [\"127.0.0.1/32\"]".to_owned();
            faults.warn(
                &entry.place("latch"),
                "whoever sends first becomes the peer: nobody is left out",
                Some(suggestion),
            );
        }
        return;
    }
    if !entry.switch("accept_open_network") {
        let message = "plain RTP outside this host can be heard and forged by anyone on its path";
        let suggestion = "add: accept_open_network = true, if that network is yours alone";
        faults.fault(&entry.place("local"), message, Some(suggestion.into()));
    }
    if local.ip().is_unspecified() {
        let suggestion = "write the address of the interface towards the gateway".to_owned();
        faults.fault(&entry.place("local"), "an open gateway listens on one interface only", Some(suggestion));
    }
    if everyone {
        let suggestion = "name the networks of the gateway".to_owned();
        faults.fault(&entry.place("latch"), "an open gateway cannot latch onto everyone", Some(suggestion));
    }
}

/// A secure talkgroup over a path that anyone can hear.
pub(super) fn check_secure(document: &Document, entry: &Entry, kind: &GatewayKind, faults: &mut Faults<'_>) {
    let Some(talkgroup) = talkgroup_entry(document, entry) else { return };
    if talkgroup.text("security") != Some("secure") || kind.path_class() == PathClass::Encrypted {
        return;
    }
    let name = talkgroup.text("id").unwrap_or("?");
    match entry.text("not_secure_reason") {
        Some(reason) => {
            let message = format!("secure talkgroup {name} uses an open path, because: {reason}");
            faults.warn(&entry.place("not_secure_reason"), message, None);
        }
        None => {
            let suggestion = "add: not_secure_reason = \"...\", or make the talkgroup clear".to_owned();
            let message = format!("secure talkgroup {name} over an open path");
            faults.fault(&entry.place("talkgroup"), message, Some(suggestion));
        }
    }
}

fn port(entry: &Entry, faults: &mut Faults<'_>) -> Option<GatewayPort> {
    let extension = extension(entry.table("ext"), faults)?;
    let receive = receive(entry, entry.integer("rx_inhibit_after_tx_ms")?, entry.integer("min_burst_ms")?)?;
    let transmit = transmit(entry, faults)?;
    let signs = [
        ("rx", entry.text("rx") == Some("ext")),
        ("tx", transmit.keying == TransmitKeying::Ext),
        ("grant", transmit.grant == GrantSign::Signalled),
    ];
    if let Some((key, _)) = signs.into_iter().find(|(_, needs)| *needs && extension.keying.is_none()) {
        let message = format!("`{key}` uses the keying extension, and that has no number");
        faults.fault(&entry.place(key), message, Some("add: ext = { keying = 2 }".into()));
    }
    let events = entry.integer("events_payload_type");
    let payloads = payloads(entry, faults)?;
    check_events(entry, events, &payloads, faults);
    Some(GatewayPort {
        role: entry.word::<PortRole>("role")?,
        rf_channel: entry.id("rf_channel"),
        payloads,
        events,
        extension,
        receive,
        transmit,
        trim: Gain(entry.integer("trim_db")?),
        level: entry.switch("level"),
        alias: entry.text("alias").or(entry.text("id"))?.into(),
        packets_per_second_max: entry.integer("packets_per_second_max")?,
    })
}

/// How its talker is noticed, but for how long it is deaf and how short it may be (ms).
pub(super) fn receive(entry: &Entry, inhibit_after_transmit_ms: u16, burst_min_ms: u16) -> Option<ReceiveSpec> {
    Some(ReceiveSpec {
        keying: entry.word("rx")?,
        end_ms: entry.integer("rx_end_ms")?,
        tail_ms: entry.integer("rx_tail_ms")?,
        inhibit_after_transmit_ms,
        burst_min_ms,
        talk_limit_ms: entry.integer::<u32>("talk_limit_s")? * 1000,
    })
}

/// Telephone events need a payload type of their own where they key.
fn check_events(entry: &Entry, events: Option<u8>, payloads: &[PayloadType], faults: &mut Faults<'_>) {
    let keyed = ["rx", "tx"].into_iter().find(|key| matches!(entry.text(key), Some("event" | "dtmf")));
    if let (None, Some(key)) = (events, keyed.filter(|_| !entry.is_written("events_payload_type"))) {
        let message = format!("`{key}` uses telephone events, and those have no payload type");
        faults.fault(&entry.place(key), message, Some("add: events_payload_type = 101".into()));
    }
    if let Some(number) = events.filter(|number| payloads.iter().any(|payload| payload.number == *number)) {
        let message = format!("payload type {number} is a codec's");
        let suggestion = "write 101, or as the box is set".to_owned();
        faults.fault(&entry.place("events_payload_type"), message, Some(suggestion));
    }
}

fn transmit(entry: &Entry, faults: &mut Faults<'_>) -> Option<TransmitSpec> {
    if entry.is_written("grant") && entry.is_written("key_up_ms") {
        let suggestion = "keep key_up_ms for a fixed time, grant = \"signalled\" for a trunked radio".to_owned();
        faults.fault(&entry.place("key_up_ms"), "`grant` and `key_up_ms` exclude each other", Some(suggestion));
    }
    let grant = match (entry.integer("key_up_ms"), entry.word("grant")?) {
        (Some(ms), GrantSign::Immediate) => GrantSign::AfterMs(ms),
        (_, grant) => grant,
    };
    // A trunked radio keeps its own hang time.
    let trunked = grant == GrantSign::Signalled && !entry.is_written("tx_tail_ms");
    keyed(entry, grant, if trunked { 0 } else { entry.integer("tx_tail_ms")? }, faults)
}

/// How it is made to transmit, but for when speech may flow and how long it stays keyed.
pub(super) fn keyed(entry: &Entry, grant: GrantSign, tail_ms: u16, faults: &mut Faults<'_>) -> Option<TransmitSpec> {
    let keying = entry.word("tx")?;
    if keying == TransmitKeying::Event && !entry.is_written("far_timeout_s") {
        let message = "a transmitter keyed this way stays keyed if our sign to let go is lost";
        let suggestion = "add: far_timeout_s = ..., the time after which the box lets go by itself".to_owned();
        faults.fault(&entry.place("tx"), message, Some(suggestion));
    }
    Some(TransmitSpec {
        keying,
        grant,
        overlap: entry.word("overlap")?,
        pacing: entry.word("pacing")?,
        hold_max_ms: entry.integer("hold_max_ms")?,
        tail_ms,
        talk_limit_ms: entry.integer::<u32>("talk_limit_s")? * 1000,
        far_timeout_ms: entry.integer::<u32>("far_timeout_s").map(|s| s * 1000),
        half_duplex: entry.switch("half_duplex"),
    })
}

fn extension(written: Option<&Entry>, faults: &mut Faults<'_>) -> Option<ExtensionIds> {
    let absent = Entry::absent(&EXT);
    let entry = written.unwrap_or(&absent);
    let mut taken: Vec<u8> = Vec::new();
    for key in ["level", "keying", "talker"] {
        let Some(number) = entry.integer::<u8>(key) else { continue };
        if taken.contains(&number) {
            let free = (1..=14).find(|number| !taken.contains(number));
            let suggestion = free.map(|free| format!("write {free}"));
            faults.fault(&entry.place(key), format!("extension number {number} is already taken"), suggestion);
        }
        taken.push(number);
    }
    Some(ExtensionIds {
        level: entry.integer("level"),
        keying: entry.integer("keying"),
        talker: entry.integer("talker"),
    })
}

fn payloads(entry: &Entry, faults: &mut Faults<'_>) -> Option<Vec<PayloadType>> {
    let Some(tables) = entry.tables("codecs") else {
        // The default, also where what is written cannot be used and somebody has been told.
        return entry.texts("codecs").iter().map(|(name, _)| Some(usual(word(name)?))).collect();
    };
    let mut payloads: Vec<PayloadType> = Vec::new();
    for table in tables {
        let payload = payload(table, faults)?;
        if payloads.iter().any(|other| other.number == payload.number) {
            let free = (96..=127).find(|number| payloads.iter().all(|other| other.number != *number));
            let suggestion = free.map(|free| format!("write payload_type = {free}, as the box is set"));
            let message = format!("payload type {} stands here twice", payload.number);
            faults.fault(&table.place("payload_type"), message, suggestion);
        }
        payloads.push(payload);
    }
    Some(payloads)
}

pub(super) fn usual(codec: Codec) -> PayloadType {
    let number = match codec {
        Codec::Opus => 96,
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::L16 => 97,
    };
    PayloadType { number, format: Format::usual(codec) }
}

fn payload(entry: &Entry, faults: &mut Faults<'_>) -> Option<PayloadType> {
    let usual = usual(entry.word("codec")?);
    let number = entry.integer("payload_type").unwrap_or(usual.number);
    if (64..=95).contains(&number) {
        // RFC 5761 section 4: with RTCP's own types beside them these cannot be told apart.
        let message = format!("payload type {number} would be mistaken for RTCP");
        faults.fault(&entry.place("payload_type"), message, Some("take one from 96 to 127".into()));
    }
    let format = Format {
        clock_hz: entry.integer("clock_hz").unwrap_or(usual.format.clock_hz),
        channels: entry.integer("channels")?,
        packet_ms: entry.integer("packet_ms")?,
        ..usual.format
    };
    check_format(entry, format, usual.format, faults);
    Some(PayloadType { number, format })
}

fn check_format(entry: &Entry, format: Format, usual: Format, faults: &mut Faults<'_>) {
    let clocks: &[u32] = match format.codec {
        Codec::L16 => &[8000, 16_000, 48_000],
        Codec::Opus | Codec::Pcmu | Codec::Pcma | Codec::G722 => &[usual.clock_hz],
    };
    if !clocks.contains(&format.clock_hz) {
        let known: Vec<String> = clocks.iter().map(u32::to_string).collect();
        let message = format!("this codec has no RTP clock of {} Hz", format.clock_hz);
        faults.fault(&entry.place("clock_hz"), message, Some(format!("write {}", known.join(", or "))));
    }
    if format.channels == 2 && format.codec != Codec::Opus {
        faults.fault(&entry.place("channels"), "only opus has two channels here", Some("write 1".into()));
    }
    if !matches!(format.packet_ms, 10 | 20 | 40 | 60) {
        faults.fault(&entry.place("packet_ms"), "a packet holds 10, 20, 40 or 60 ms", Some("write 20".into()));
    }
    let bytes = format.ticks_per_packet() as usize * 2;
    if format.codec == Codec::L16 && bytes > L16_PAYLOAD_BYTES_MAX {
        let message = format!("{bytes} bytes of l16 do not fit one packet");
        let suggestion = "write packet_ms = 10, or a lower clock_hz".to_owned();
        faults.fault(&entry.place("packet_ms"), message, Some(suggestion));
    }
}
