//! Every key of the file, with its default, unit and reason. See `key.rs` for what the words mean.
//!
//! A sentence here is what an administrator reads in `config/crosspatch.toml` and from `explain`.

use super::key::Kind::{Agency, Agreement, Gateway, Talkgroup, Template, Trunk};
use super::key::Plain::{Empty, Integer as N, Switch as On, Text as T, Texts};
use super::key::Preset::{Absent, ByRole, Instead, Is, Required};
use super::key::Shape::{
    Address, Decibels, Digest, Id, Integer, Ip, List, Moment, Name, Network, Ports, Ref, Short, Switch, Table, Text,
    Word,
};
use super::key::{Form, Key, Section};

macro_rules! section {
    ($(#[doc = $about:literal])* $constant:ident $name:literal, $form:expr, $doc:literal, $more:literal;
     $($key:literal : $shape:expr => $preset:expr, $why:literal;)*) => {
        $(#[doc = $about])*
        pub static $constant: Section = Section {
            name: $name,
            form: $form,
            doc: $doc,
            keys: &[$(Key { name: $key, shape: $shape, preset: $preset, doc: $why }),*],
            more: $more,
        };
    };
}

/// The sections that stand in a file by themselves, in the reference's order.
pub static SECTIONS: [&Section; 12] = [
    &SERVER,
    &TOKEN,
    &SIP,
    &TRUNK,
    &POLICY,
    &AGENCY,
    &TALKGROUP,
    &GATEWAY_RTP,
    &GATEWAY_SIP,
    &PHONE,
    &AGREEMENT,
    &TEMPLATE,
];

const TEXT: super::key::Shape = Text(200);
const DAY_S: i64 = 24 * 3600;
const YEAR_S: i64 = 366 * DAY_S;
/// What fits the wire's and the timers' 16-bit milliseconds.
const MS16: i64 = u16::MAX as i64;
/// A burst of an hour is a stuck microphone.
const TALK_LIMIT_MOST_S: i64 = 3600;

section! {
    /// The daemon itself.
    SERVER "server", Form::One,
    "The daemon itself: where it keeps its journal, listens and logs. Read at start; none of it is shared with agencies.", "";
    "node": Name => Is(T("crosspatch")),
        "Name of this daemon in the line of its log that says it is ready.";
    "data_dir": Text(4096) => Is(T("/var/lib/crosspatch")),
        "Folder of the journal. One daemon locks it; a second one refuses to start.";
    "http": Address => Is(T("127.0.0.1:8080")),
        "Where API and metrics are served. Only a loopback address as long as there is no TLS, because tokens travel over it.";
    "tls_certificate": Text(4096) => Absent("\"/etc/crosspatch/tls/fullchain.pem\"", "plain HTTP, on loopback only"),
        "Certificate chain in PEM; needs `tls_key`.";
    "tls_key": Text(4096) => Absent("\"/etc/crosspatch/tls/key.pem\"", "plain HTTP, on loopback only"),
        "Private key of `tls_certificate` in PEM.";
    "shards": Integer(0, 32) => Is(N(0)),
        "Media threads. 0 takes one per CPU core but one, which is left to signalling and the journal.";
    "media_address": Ip => Is(T("127.0.0.1")),
        "Address of the interface used by gateways that name no `local` address of their own.";
    "media_ports": Ports => Is(T("40000-40999")),
        "UDP ports handed out where port 0 is asked for. RTP takes an even one and RTCP the odd one above, so a thousand ports are five hundred endpoints.";
    "log": TEXT => Is(T("info")),
        "Log filter: error, warn, info, debug or trace, or per part such as \"info,crosspatch::media=debug\".";
    "journal_strict": Switch => Is(On(false)),
        "Refuse to start when the journal is damaged in its middle. The default starts with cross-agency legs muted and an alarm, because at night an agency's own traffic matters more.";
    "limits": Table(&LIMITS) => Is(Empty),
        "Room of each media thread, reserved at start. What does not fit is refused and counted; untouched room costs nothing.";
}

section! {
    /// Room of one media thread.
    LIMITS "server.limits", Form::Inline, "Room of one media thread.", "";
    "ports": Integer(1, 65_536) => Is(N(4096)), "Endpoints: gateways, calls, clients.";
    "patches": Integer(1, 65_536) => Is(N(2048)), "Patches: one for each talkgroup at home and for each net of an incident.";
    "legs": Integer(1, 1_048_576) => Is(N(16_384)), "Legs: every endpoint in its home patch and in each incident.";
    "groups": Integer(1, 65_536) => Is(N(2048)), "Talkgroups and shared RF channels.";
    "bursts": Integer(1, 16_384) => Is(N(512)), "Bursts at the same moment.";
    "decoders": Integer(1, 16_384) => Is(N(256)), "Opus decoders, 18 KiB each: one for every burst that is mixed, levelled or watched.";
    "encoders": Integer(1, 16_384) => Is(N(256)), "Opus encoders, 43 KiB each: one for every distinct mix.";
    "holds": Integer(1, 16_384) => Is(N(256)), "Transmitters that wait for a clear channel at the same moment.";
    "delays": Integer(1, 16_384) => Is(N(256)), "Receivers with a minimum burst or a declared squelch tail that receive at the same moment.";
}

section! {
    /// Who may send commands.
    TOKEN "token", Form::Many(1024),
    "Who may use API and command line. One secret each, by exactly one of sha256, env, file or credential; never the secret itself.", "";
    "user": Name => Required("\"police-desk\""),
        "Name in the journal. The same name may have two tokens while one replaces the other.";
    "role": Word(&["observer", "dispatcher", "admin"]) => Required("\"dispatcher\""),
        "observer reads, dispatcher commands its own agency, admin adopts configurations and commands no agency's audio.";
    "agency": Ref(Agency) => Absent("\"police\"", "acts for the host only; a dispatcher must have one"),
        "The agency this user acts for.";
    "sha256": Digest => Absent("\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"", "one of the other three"),
        "SHA-256 of the token: printf %s \"$TOKEN\" | sha256sum. Take at least 32 random bytes; a hash of a short word is soon guessed.";
    "env": TEXT => Instead("\"CROSSPATCH_TOKEN_POLICE\"", "sha256"),
        "Environment variable that holds the token.";
    "file": Text(4096) => Instead("\"/etc/crosspatch/tokens/police\"", "sha256"),
        "File that holds the token; a line end after it does not count.";
    "credential": TEXT => Instead("\"token_police\"", "sha256"),
        "Name of a systemd credential (LoadCredential=) that holds the token.";
}

section! {
    /// The host's house rules.
    POLICY "policy", Form::One, "The host's house rules for all incidents. What an owner or an agreement says more narrowly wins.", "";
    "lease_default_s": Integer(60, YEAR_S) => Is(N(4 * 3600)),
        "Lease of a link whose owner names none. Four hours: half a shift, so that a forgotten link does not outlive the people who made it.";
    "hard_end_default_s": Integer(60, YEAR_S) => Is(N(12 * 3600)),
        "Hard end of a grant whose owner names none: no extension and no overtime goes past it.";
    "lease_max_s": Integer(60, YEAR_S) => Is(N(7 * DAY_S)),
        "No lease is longer.";
    "ring_s": Integer(5, 3600) => Is(N(30)),
        "An invitation rings so long before the agency's `contact_24h` is shown.";
    "close_warning_s": Integer(0, 600) => Is(N(60)),
        "A forced close is said on the air so long before.";
    "recent_s": Integer(0, DAY_S) => Is(N(600)),
        "A link used this recently is not cut by the end of its lease, and an incident talked in this recently is not simply closed.";
    "floor": Table(&FLOOR) => Is(Empty),
        "How a new patch shares the right to talk.";
    "incidents_max": Integer(1, 10_000) => Is(N(200)),
        "Open incidents at once. A tenth of them is kept for agencies with an open emergency.";
    "patches_per_incident_max": Integer(1, 64) => Is(N(8)),
        "Nets in one incident: command, tactical ones, and some to spare.";
    "links_per_patch_max": Integer(2, 1000) => Is(N(60)),
        "Talkgroups in one patch; a tenth, rounded down, is kept for agencies with an open emergency.";
}

section! {
    /// How a patch shares the right to talk.
    FLOOR "floor", Form::Inline, "How a patch shares the right to talk.", "";
    "mode": Word(&["ptt", "open"]) => Is(T("ptt")),
        "ptt: talkers are granted or denied. open: everybody may talk and the loudest are heard.";
    "holders_max": Integer(1, 8) => Is(N(3)),
        "Talkers at once; 1 is strict push-to-talk. Three voices are what listeners can follow.";
    "queue_max": Integer(0, 8) => Is(N(0)),
        "Requests that may wait for their turn; 0 denies at once.";
    "hang_ms": Integer(0, 10_000) => Is(N(500)),
        "The floor stays so long with the talker's group after a burst, so that an answer is not overtaken.";
    "talk_limit_s": Integer(1, TALK_LIMIT_MOST_S) => Is(N(60)),
        "Longest burst; the shortest of gateway, talkgroup and patch counts.";
}

section! {
    /// An organisation.
    AGENCY "agency", Form::Many(256),
    "An organisation that owns talkgroups and gateways and decides what it shares.",
    "#[[agency]]\n#id = \"fire\"\n#contact_24h = \"+1 555 0120\"\n";
    "id": Id(Agency) => Required("\"police\""), "Short id, used everywhere.";
    "name": TEXT => Absent("\"Police Department\"", "the id"), "Name as people say it.";
    "contact_24h": TEXT => Required("\"+1 555 0110\""),
        "Whom partners call at night; shown when an invitation goes unanswered.";
    "responsible": Table(&RESPONSIBLE) => Absent("{ position = \"desk\" }", "nobody is missed when the desk is empty, and check warns"),
        "The position that must be staffed while the agency is linked.";
    "links_max": Integer(1, 10_000) => Is(N(100)), "Links of this agency in all incidents together.";
    "incidents_max": Integer(0, 1000) => Is(N(20)), "Open incidents that this agency may host.";
}

section! {
    /// A staffed place.
    RESPONSIBLE "agency.responsible", Form::Inline, "The position that must be staffed while the agency is linked.", "";
    "position": Name => Required("\"desk\""), "Name of the position.";
    "heartbeat_s": Integer(5, 3600) => Is(N(30)), "Without a sign of life for so long the position is lost and partners are alarmed.";
    "on_loss": Word(&["keep", "mute", "unlink"]) => Is(T("keep")),
        "What becomes of the links then. keep: a crew on the air is worth more than an empty chair.";
}

section! {
    /// A group channel.
    TALKGROUP "talkgroup", Form::Many(2048), "A named group channel of one agency: the unit that is patched.",
    "#[[talkgroup]]\n#id = \"fd-1\"\n#agency = \"fire\"\n";
    "id": Id(Talkgroup) => Required("\"pd-1\""), "Short id.";
    "agency": Ref(Agency) => Required("\"police\""), "Its owner.";
    "name": TEXT => Absent("\"Police dispatch 1\"", "the id"), "Name as people say it.";
    "number": Text(16) => Absent("\"6001\"", "phones dial its id"), "What its phones dial for it: digits.";
    "security": Word(&["clear", "secure"]) => Is(T("clear")),
        "secure: links only to secure talkgroups over encrypted paths, unless both owners give a reason.";
    "patchable": Word(&["never", "ask"]) => Is(T("ask")),
        "never: not even its owner can link it by mistake.";
    "coverage": TEXT => Absent("\"city and harbour\"", "nothing is shown"),
        "Where it can be heard; shown to whoever links it, because a patch carries no footprint.";
    "priority_max": Integer(0, 255) => Is(N(5)), "Highest priority that a host may set for its links; higher is heard first.";
    "transmit": List(&Ref(Gateway), 0, 16) => Absent("[\"pd-gw-1\"]", "its gateways with role radio, in the file's order"),
        "Gateways that may transmit for it, the preferred one first; exactly one is keyed, the next takes over when it fails. [] only receives.";
    "talk_limit_s": Integer(1, TALK_LIMIT_MOST_S) => Is(N(60)), "Longest burst of its members; a shorter one of the gateway or the patch counts.";
    "announce": Word(&["tone", "off"]) => Is(T("tone")), "What its own edge hears when it is linked, unlinked or loses a partner.";
    "on_loop": Word(&["isolate", "alarm"]) => Is(T("isolate")),
        "isolate: a leg that is proved to return the audio is muted in one direction for 10 s. alarm: only say so.";
    "idle_unlink_s": Integer(0, YEAR_S) => Is(N(0)), "Unlink after so long without speech. 0: silence only warns.";
    "floor": Table(&FLOOR) => Is(Empty), "How its own members share the right to talk when no incident is open.";
}

section! {
    /// Plain RTP.
    GATEWAY_RTP "gateway.rtp", Form::Many(4096),
    "A radio gateway, box or console reached by plain RTP. It belongs to the agency of its talkgroup.", "";
    "id": Id(Gateway) => Required("\"pd-gw-1\""), "Short id.";
    "talkgroup": Ref(Talkgroup) => Required("\"pd-1\""), "The talkgroup whose voice it carries.";
    "role": Word(&["radio", "phone", "client", "console", "recorder"]) => Is(T("radio")),
        "What it is to people; decides the defaults below. radio: half duplex, one voice. console: a dispatcher's microphone, outranks links. recorder: hears, never talks.";
    "local": Address => Absent("\"127.0.0.1:5004\"", "`media_address` of [server] and a port out of `media_ports`"),
        "Address and even port that it sends to; RTCP is the port above. Port 0 takes one out of `media_ports`.";
    "peer": Address => Absent("\"192.0.2.7:5004\"", "`latch`; one of the two is needed"),
        "Its one address, for both directions.";
    "latch": List(&Network, 1, 16) => Instead("[\"192.0.2.0/24\"]", "peer"),
        "Networks out of which its first packet may come; it may move after 2 s of silence.";
    "accept_open_network": Switch => Is(On(false)),
        "Plain RTP can be heard and forged by anyone on its path. Must be true for everything that is not on loopback.";
    "not_secure_reason": TEXT => Absent("\"cable inside one rack\"", "a secure talkgroup over this gateway is a fault"),
        "Why a secure talkgroup may use this open path.";
    "rtcp_timeout_s": Integer(0, 3600) => Is(N(0)),
        "Without RTCP for so long the gateway is lost. 0: unsupervised, for boxes that send none.";
    "codecs": List(&Short(&CODEC), 1, 8) => Is(Texts(&["opus"])),
        "What it may send us; the first is what we send it. A name, or a table where numbers differ: { codec = \"opus\", payload_type = 111 }.";
    "events_payload_type": Integer(96, 127) => Absent("101", "none are read and none are sent"),
        "Payload type of RFC 4733 telephone events; needed where rx or tx is \"event\".";
    "ext": Table(&EXT) => Is(Empty), "RTP header extensions by number (RFC 8285), as agreed with the box.";
    "rx": Word(&["presence", "event", "ext", "vox"]) => ByRole { radio: T("presence"), phone: T("vox"), other: T("presence") },
        "How we notice that it receives: packets arrive, RFC 4733 events, our keying extension, or sound.";
    "rx_end_ms": Integer(40, 5000) => Is(N(300)),
        "Without packets for so long the burst has ended. Take 450 if the box pauses in silence (DTX).";
    "rx_tail_ms": Integer(0, 1000) => Is(N(0)),
        "Declared squelch tail: so much of the end of every burst is noise and is cut off.";
    "rx_inhibit_after_tx_ms": Integer(0, 5000) => ByRole { radio: N(250), phone: N(0), other: N(0) },
        "Deaf for so long after its own transmission, so that its squelch crash does not key everybody.";
    "min_burst_ms": Integer(0, 1000) => ByRole { radio: N(150), phone: N(0), other: N(0) },
        "A shorter burst keys nobody. The beginning is held back meanwhile, not lost.";
    "talk_limit_s": Integer(1, TALK_LIMIT_MOST_S) => Is(N(60)),
        "Longest burst from it and longest transmission by it.";
    "tx": Word(&["presence", "event", "ext"]) => Is(T("presence")),
        "How we key it: by sending packets, by RFC 4733 events (* keys, # lets go), or by our keying extension.";
    "grant": Word(&["immediate", "signalled"]) => Is(T("immediate")),
        "When speech may flow after keying. signalled: when the keying extension says so, for trunked radios.";
    "key_up_ms": Integer(0, MS16) => Instead("180", "grant"),
        "Speech flows so long after keying: for transmitters that need a fixed time.";
    "hold_max_ms": Integer(0, 10_000) => Is(N(2500)),
        "Speech waits at most so long for a clear channel and the grant, then it is missed and shown as such.";
    "tx_tail_ms": Integer(0, 5000) => ByRole { radio: N(300), phone: N(0), other: N(0) },
        "It stays keyed so long after the last speech, so that a pause does not drop the carrier. With grant = \"signalled\" 0, because trunked radios have their own.";
    "far_timeout_s": Integer(1, TALK_LIMIT_MOST_S) => Absent("180", "a fault for tx = \"event\""),
        "After so long the box lets go by itself if our sign to let go is lost: the longest harm of a lost packet.";
    "half_duplex": Switch => ByRole { radio: On(true), phone: On(false), other: On(false) },
        "It cannot hear while it transmits.";
    "overlap": Word(&["one", "mix"]) => ByRole { radio: T("one"), phone: T("mix"), other: T("mix") },
        "Several talkers at once: the highest rank only, or mixed. Two voices on one radio are none.";
    "pacing": Word(&["immediate", "paced"]) => Is(T("immediate")),
        "paced: one packet each packet time, for boxes without a jitter buffer.";
    "rf_channel": Name => Absent("\"vhf-3\"", "it shares no frequency with another gateway here"),
        "Gateways with the same name hear each other over the air: while one transmits all are deaf.";
    "trim_db": Decibels(-30, 30) => Is(N(0)), "Gain of what it sends, before anything else; whole or with decimals.";
    "level": Switch => Is(On(false)),
        "Bring its talkers slowly to one loudness. Off: what needs no decoding passes untouched.";
    "alias": Text(15) => Absent("\"PD 1\"", "the id, as far as it fits"), "Name of its talkers where the wire names none, as radios show it.";
    "packets_per_second_max": Integer(10, 10_000) => Is(N(200)),
        "What it sends beyond that is discarded and counted: four times what 20 ms packets need.";
}

section! {
    /// A radio gateway that speaks SIP.
    GATEWAY_SIP "gateway.sip", Form::Many(1024),
    "A radio gateway (RoIP), or another maker's bridge, that is reached by SIP: one call with it is up for ever, and the call is a radio of its talkgroup. Read at start.", "";
    "id": Id(Gateway) => Required("\"pd-roip-1\""), "Short id, and the name by which it calls us where it is not the only gateway at its address.";
    "talkgroup": Ref(Talkgroup) => Required("\"pd-1\""), "The talkgroup whose voice it carries.";
    "peer": Address => Required("\"127.0.0.1:5080\""),
        "Its SIP address. Calls from elsewhere are none of its; over tcp, or with a password, from any port of it.";
    "number": Text(64) => Absent("\"channel-1\"", "only its address is called"), "What stands before its address when it is called: a channel of the box.";
    "calls": Word(&["we", "they"]) => Is(T("we")),
        "we: we call it, again and again until it answers and whenever the call has ended; a call of its own is taken as well. they: we wait for its call.";
    "profile": Word(&["bsi-core"]) => Absent("\"bsi-core\"", "the defaults of the keys"),
        "bsi-core: another maker's bridge by the Bridging Systems Interface, BSI-Core 1.1. It makes tcp the default of `transport`, 0 that of what only radios need, and check warns of whatever else that interface does not have.";
    "transport": Word(&["udp", "tcp"]) => Absent("\"tcp\"", "udp, but tcp with profile bsi-core"),
        "How its SIP travels; tcp needs `listen_tcp` of [sip].";
    "user": Text(64) => Absent("\"crosspatch\"", "nobody proves anything"),
        "Whose password it is: ours where we call and it asks for one, its own where it calls. No phone has the same.";
    "realm": TEXT => Absent("\"gateway.example\"", "we answer no question for a password"),
        "The realm in which it asks for our password; no other is ever answered.";
    "env": Text(200) => Absent("\"CROSSPATCH_ROIP_1\"", "one of the other two, or no password"), "Environment variable that holds the password.";
    "file": Text(4096) => Instead("\"/etc/crosspatch/gateways/pd-roip-1\"", "env"), "File that holds the password; a line end after it does not count.";
    "credential": Text(200) => Instead("\"gateway_pd_roip_1\"", "env"), "Name of a systemd credential (LoadCredential=) that holds the password.";
    "retry_min_s": Integer(1, 60) => Is(N(1)), "It is called again so late after the first failure, and twice as late after each that follows.";
    "retry_max_s": Integer(1, 3600) => Is(N(60)), "It is never called again later than that.";
    "not_secure_reason": TEXT => Absent("\"cable inside one rack\"", "a secure talkgroup over this gateway is a fault"),
        "Why a secure talkgroup may use this open path.";
    "codecs": List(&Word(&["opus", "pcmu", "pcma", "g722", "l16"]), 1, 5) => Is(Texts(&["pcmu"])),
        "What the call may speak, the preferred first. What the other radios speak passes untouched.";
    "rx": Word(&["presence", "event", "vox"]) => Is(T("presence")),
        "How we notice that it receives: packets arrive, telephone events (* keys, # lets go; by RFC 4733 or SIP INFO), or sound.";
    "rx_end_ms": Integer(40, 5000) => Is(N(300)),
        "Without packets for so long the burst has ended. Take 450 if the box pauses in silence (DTX), 1000 for rx = \"event\".";
    "rx_tail_ms": Integer(0, 1000) => Is(N(0)),
        "Declared squelch tail: so much of the end of every burst is noise and is cut off.";
    "rx_inhibit_after_tx_ms": Integer(0, 5000) => Absent("250", "250, but 0 with profile bsi-core"),
        "Deaf for so long after its own transmission, so that its squelch crash does not key everybody.";
    "min_burst_ms": Integer(0, 1000) => Absent("150", "150, but 0 with profile bsi-core"),
        "A shorter burst keys nobody. The beginning is held back meanwhile, not lost.";
    "talk_limit_s": Integer(1, TALK_LIMIT_MOST_S) => Is(N(60)),
        "Longest burst from it and longest transmission by it.";
    "tx": Word(&["presence", "event"]) => Is(T("presence")),
        "How we key it: by sending packets, or by RFC 4733 events (* keys, # lets go); a call without events is then refused.";
    "key_up_ms": Integer(0, MS16) => Absent("180", "speech flows at once"),
        "Speech flows so long after keying: for transmitters that need a fixed time.";
    "hold_max_ms": Integer(0, 10_000) => Is(N(2500)),
        "Speech waits at most so long for a clear channel, then it is missed and shown as such.";
    "tx_tail_ms": Integer(0, 5000) => Absent("300", "300, but 0 with profile bsi-core"),
        "It stays keyed so long after the last speech, so that a pause does not drop the carrier.";
    "far_timeout_s": Integer(1, TALK_LIMIT_MOST_S) => Absent("180", "a fault for tx = \"event\""),
        "After so long the box lets go by itself if our sign to let go is lost: the longest harm of a lost packet.";
    "half_duplex": Switch => Is(On(true)), "It cannot hear while it transmits.";
    "overlap": Word(&["one", "mix"]) => Is(T("one")),
        "Several talkers at once: the highest rank only, or mixed. Two voices on one radio are none.";
    "pacing": Word(&["immediate", "paced"]) => Is(T("immediate")),
        "paced: one packet each packet time, for boxes without a jitter buffer.";
    "rf_channel": Name => Absent("\"vhf-3\"", "it shares no frequency with another gateway here"),
        "Gateways with the same name hear each other over the air: while one transmits all are deaf.";
    "trim_db": Decibels(-30, 30) => Is(N(0)), "Gain of what it sends, before anything else; whole or with decimals.";
    "level": Switch => Is(On(false)),
        "Bring its talkers slowly to one loudness. Off: what needs no decoding passes untouched.";
    "alias": Text(15) => Absent("\"PD RoIP 1\"", "the id, as far as it fits"), "Name of its talkers, as radios show it.";
    "packets_per_second_max": Integer(10, 10_000) => Is(N(200)),
        "What it sends beyond that is discarded and counted: four times what 20 ms packets need.";
}

section! {
    /// Telephony.
    SIP "sip", Form::One,
    "Telephony: where phones register and call. Read at start. Without `listen` there is none.", "";
    "listen": Address => Absent("\"127.0.0.1:5060\"", "no SIP"),
        "Address of one interface and UDP port where phones register and call; what they are told stands in it.";
    "listen_tcp": Address => Absent("\"127.0.0.1:5060\"", "no SIP over TCP"),
        "The same for connections.";
    "listen_tls": Address => Absent("\"127.0.0.1:5061\"", "no SIP over TLS"),
        "The same for encrypted connections, over which keys of encrypted calls may come; needs `tls_certificate`.";
    "tls_certificate": Text(4096) => Absent("\"/etc/crosspatch/tls/fullchain.pem\"", "no SIP over TLS"),
        "Certificate chain of `listen_tls` in PEM, for the name that phones are given as registrar; needs `tls_key`. Read at start.";
    "tls_key": Text(4096) => Absent("\"/etc/crosspatch/tls/key.pem\"", "no SIP over TLS"),
        "Private key of `tls_certificate` in PEM.";
    "realm": Name => Is(T("crosspatch")),
        "What phones show when they ask for the password. Changed, every phone must be told its password anew.";
    "digests": List(&Word(&["md5", "sha-256"]), 1, 2) => Is(Texts(&["md5"])),
        "How phones may prove their password. Every phone knows md5, and some give up when they are asked for sha-256 as well: add it where all of them know it.";
    "codecs": List(&Word(&["opus", "g722", "pcmu", "pcma"]), 1, 4) => Is(Texts(&["opus", "g722", "pcmu", "pcma"])),
        "What phones may speak, the preferred first. What the radios speak passes untouched; write that first.";
    "accept_open_network": Switch => Is(On(false)),
        "Calls can be heard and forged by anyone on their path. Must be true for everything that is not on loopback, but for `listen_tls` alone where every phone must encrypt.";
    "keys_in_clear": Switch => Is(On(false)),
        "Let the keys of encrypted calls stand in signalling that is not encrypted. Whoever reads that can decrypt the call, so such a call still counts as open; it keeps out who sees speech only.";
    "emergency_numbers": List(&Text(16), 0, 16) => Is(Texts(&["911", "112", "999"])),
        "A registered phone that dials one of these is sent to the trunk with `emergency` (302, Moved Temporarily); without one nobody answers it, and check warns. No talkgroup may have such a number.";
}

section! {
    /// A PBX or border controller.
    TRUNK "trunk", Form::Many(16),
    "A PBX or border controller that calls come from. Whom its callers reach, [[phone]] lines with `trunk` say, and nobody else. Read at start.", "";
    "id": Id(Trunk) => Required("\"county-pbx\""), "Short id.";
    "transport": Word(&["udp"]) => Is(T("udp")), "How its SIP travels.";
    "peers": List(&Address, 1, 8) => Absent("[\"127.0.0.1:5070\"]", "it registers here"),
        "Its addresses, the preferred one first. What comes from exactly these is the trunk; each is asked every 30 s whether it lives, and the trunk is lost when none does.";
    "register": Word(&["none", "ours", "theirs"]) => Required("\"ours\""),
        "none: its addresses say who it is. ours: we also register there as `user`. theirs: it registers here as `user` and proves its calls with its password.";
    "user": Text(64) => Absent("\"crosspatch\"", "nobody registers"), "The user of that registration.";
    "realm": TEXT => Absent("\"pbx.example\"", "we register nowhere"),
        "The realm in which it asks for our password; no other is ever answered.";
    "domain": TEXT => Absent("\"pbx.example\"", "the peer's address"), "What stands behind `user` in our address there.";
    "env": Text(200) => Absent("\"CROSSPATCH_TRUNK_PBX\"", "one of the other two, or no password"), "Environment variable that holds the password.";
    "file": Text(4096) => Instead("\"/etc/crosspatch/trunks/county-pbx\"", "env"), "File that holds the password; a line end after it does not count.";
    "credential": Text(200) => Instead("\"trunk_county_pbx\"", "env"), "Name of a systemd credential (LoadCredential=) that holds the password.";
    "emergency": Switch => Is(On(false)), "Phones that dial one of `emergency_numbers` are sent to its first address that lives.";
}

section! {
    /// A telephone.
    PHONE "phone", Form::Many(4096),
    "A telephone at a talkgroup: it registers at [sip], calls and hears it, talks after * until #. It belongs to the agency of its talkgroup. Who needs two talkgroups has two of these with one `user` and calls them by their numbers; calls without a number of ours go to the first.", "";
    "id": Id(Gateway) => Required("\"pd-chief\""), "Short id; no gateway has the same.";
    "talkgroup": Ref(Talkgroup) => Required("\"pd-1\""), "The talkgroup that it calls.";
    "trunk": Ref(Trunk) => Instead("\"county-pbx\"", "env"),
        "Instead of user and password: a line at which callers of this trunk reach the talkgroup, one at a time, by dialling its number. As many at once as there are such lines. Without one no caller of the trunk reaches it.";
    "dial": Switch => Is(On(false)),
        "Of a line of a trunk: a dispatcher dials out with it (crosspatch incident dial), and nobody calls it. It is alone at a talkgroup of its own, which is linked by dialling.";
    "other_trunks": List(&Ref(Trunk), 0, 8) => Is(Texts(&[])),
        "Of a line that dials: trunks that are tried, in this order, where no address of `trunk` takes the call on. An address that is known to live goes before one that seems dead, whosever it is.";
    "user": Text(64) => Absent("\"1001\"", "the id"), "Name with which it registers.";
    "env": Text(200) => Absent("\"CROSSPATCH_PHONE_1001\"", "one of the other two"), "Environment variable that holds its password.";
    "file": Text(4096) => Instead("\"/etc/crosspatch/phones/1001\"", "env"), "File that holds its password; a line end after it does not count.";
    "credential": Text(200) => Instead("\"phone_1001\"", "env"), "Name of a systemd credential (LoadCredential=) that holds its password.";
    "talk": Word(&["ptt", "none"]) => Is(T("ptt")), "ptt: it talks after * until #. none: it only listens.";
    "srtp": Word(&["never", "optional", "required"]) => Is(T("optional")),
        "Whether its calls are encrypted (SRTP, keys by SDES). optional: if the phone offers keys. required: a call without is refused. Keys need encrypted signalling or `keys_in_clear` of [sip]; without either, optional means never.";
    "talk_limit_s": Integer(1, TALK_LIMIT_MOST_S) => Is(N(30)),
        "Longest burst from it: a forgotten # must not hold the channel. A shorter limit of talkgroup or patch counts.";
    "not_secure_reason": TEXT => Absent("\"cable inside one building\"", "a phone at a secure talkgroup is a fault, unless its `srtp` is required and `keys_in_clear` is false"),
        "Why a secure talkgroup may be heard on this phone, whose calls can be heard on their way.";
    "trim_db": Decibels(-30, 30) => Is(N(0)), "Gain of what it sends, before anything else; whole or with decimals.";
    "level": Switch => Is(On(false)), "Bring its talkers slowly to one loudness.";
    "alias": Text(15) => Absent("\"PD chief\"", "the id, as far as it fits"), "Name of its talker, as radios show it.";
}

section! {
    /// A codec and its number.
    CODEC "codecs", Form::Inline, "A codec and how it is numbered and cut.", "";
    "codec": Word(&["opus", "pcmu", "pcma", "g722", "l16"]) => Required("\"opus\""), "Its name.";
    "payload_type": Integer(0, 127) => Absent("111", "96 for opus, 0 pcmu, 8 pcma, 9 g722, 97 l16"),
        "RTP payload type; 64 to 95 would be mistaken for RTCP.";
    "clock_hz": Integer(8000, 48_000) => Absent("48000", "48000 for opus, 16000 for l16, 8000 for the others"),
        "RTP clock; only l16 has a choice: 8000, 16000 or 48000.";
    "channels": Integer(1, 2) => Is(N(1)), "Channels in the payload; 2 only for opus.";
    "packet_ms": Integer(10, 60) => Is(N(20)), "Audio in one packet: 10, 20, 40 or 60; l16 must fit a packet.";
}

section! {
    /// Header extension numbers.
    EXT "ext", Form::Inline, "RTP header extension numbers of RFC 8285.", "";
    "level": Integer(1, 14) => Absent("1", "not read and not written"), "Audio level (RFC 6464).";
    "keying": Integer(1, 14) => Absent("2", "not read and not written"), "Our keying element: key, grant, deny.";
    "talker": Integer(1, 14) => Absent("3", "not read and not written"), "Talker alias.";
}

section! {
    /// A written agreement.
    AGREEMENT "agreement", Form::Many(1024), "What two agencies have agreed in writing. Links of its talkgroups in an incident of the other stand under it, by a dispatcher or without one. An acceptance by agreement is an event like any other.", "";
    "id": Id(Agreement) => Required("\"police-fire\""), "Short id.";
    "between": List(&Ref(Agency), 2, 2) => Required("[\"police\", \"fire\"]"), "The two agencies.";
    "talkgroups": List(&Ref(Talkgroup), 1, 256) => Required("[\"pd-1\", \"fd-1\"]"), "Talkgroups of either that it covers.";
    "kinds": List(&Name, 0, 64) => Is(Texts(&[])), "Kinds of incident that it covers; empty covers all.";
    "direction": Word(&["both", "listen", "talk"]) => Is(T("both")), "Widest direction of a link under it, seen from the linked talkgroup, whoever makes the link.";
    "answer": Word(&["ask", "yes"]) => Is(T("ask")), "yes: invitations under it are accepted without a dispatcher.";
    "lease_max_s": Integer(60, YEAR_S) => Is(N(12 * 3600)), "Longest lease that a link under it is made with; without a hard end of its own the link ends then, or renews if it stands.";
    "recording": Switch => Is(On(false)), "Both agree that the other records: links under it are made with recorders admitted, while nobody but the two is in the incident.";
    "end": Moment => Absent("2027-12-31T23:59:59Z", "it holds until it is taken out"), "When it ends.";
    "standing": List(&Ref(Talkgroup), 0, 256) => Is(Texts(&[])), "Links of these talkgroups renew daily while both are in the incident, up to a hard end that their owner named.";
}

section! {
    /// A prepared incident.
    TEMPLATE "template", Form::Many(256), "A prepared incident: one command at night.", "";
    "id": Id(Template) => Required("\"harbour-fire\""), "Short id.";
    "title": TEXT => Absent("\"Fire in the harbour\"", "the id"), "Title of the incident.";
    "kind": Name => Is(T("incident")), "Kind of incident, as agreements name it.";
    "invite": List(&Ref(Agency), 0, 64) => Is(Texts(&[])), "Agencies that are invited at once; the opener is in anyway.";
    "patches": List(&Short(&TEMPLATE_PATCH), 1, 64) => Is(Texts(&["main"])),
        "Its nets; the first is where links go. A name, or { name = \"command\", floor = { holders_max = 1 } }.";
    "links": List(&Short(&TEMPLATE_LINK), 0, 256) => Absent("[\"fd-1\", \"pd-1\"]", "nothing is linked"),
        "Talkgroups: the opener's are linked at once, others' are proposed with the invitation. An id, or { talkgroup = \"pd-1\", patch = \"main\", direction = \"listen\" }.";
    "lease_s": Integer(60, YEAR_S) => Absent("14400", "`lease_default_s` of [policy]"), "Lease of its links.";
}

section! {
    /// A net of a template.
    TEMPLATE_PATCH "patches", Form::Inline, "A net of a template.", "";
    "name": Name => Required("\"command\""), "Its name.";
    "floor": Table(&FLOOR) => Absent("{ holders_max = 1 }", "`floor` of [policy]"), "How it shares the right to talk.";
}

section! {
    /// A talkgroup of a template.
    TEMPLATE_LINK "links", Form::Inline, "A talkgroup of a template.", "";
    "talkgroup": Ref(Talkgroup) => Required("\"pd-1\""), "Which one.";
    "patch": Name => Absent("\"command\"", "the first patch"), "Into which net.";
    "direction": Word(&["both", "listen", "talk"]) => Is(T("both")), "listen: it hears the net and is not heard.";
}
