//! The configuration's promises: every fault at once and in its place, no secret shown, examples that cannot lie.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crosspatch::config::{self, Fault, Severity};
use crosspatch::domain::audio::Codec;
use crosspatch::domain::configuration::{Configuration, Gateway, GatewayKind, Policy};
use crosspatch::domain::id::{GatewayId, TalkgroupId};
use crosspatch::domain::port::{GrantSign, Overlap, PeerRule, PortRole, ReceiveKeying};
use crosspatch::domain::random::Entropy;
use serde_json::Value;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text_of(name: &str) -> String {
    std::fs::read_to_string(folder(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Compares with a stored file; UPDATE=1 writes it.
fn assert_stored(path: &Path, now: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, now).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(stored == now, "{} differs; UPDATE=1 rewrites it. Now:\n{now}", path.display());
}

fn all_faults(text: &str, name: &str) -> Vec<Fault> {
    match config::parse(text, name) {
        Ok((_, _, warnings)) => warnings,
        Err(faults) => faults,
    }
}

fn accepted(text: &str) -> (config::Settings, Configuration) {
    match config::parse(text, "test.toml") {
        Ok((settings, configuration, _)) => (settings, configuration),
        Err(faults) => panic!("{}", config::render(&faults)),
    }
}

fn cases() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder("tests/config"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// Line, column, message and suggestion of every kind of fault are in the transcripts beside the files.
#[test]
fn every_kind_of_fault_is_told_at_its_place_with_a_suggestion() {
    for case in cases() {
        let text = text_of(&format!("tests/config/{case}.toml"));
        let name = format!("{case}.toml");
        let faults = all_faults(&text, &name);
        let shown = config::render(&faults);
        for fault in &faults {
            let place = format!("{name}:{}:{}", fault.line, fault.column);
            assert!(shown.contains(&place), "{place} is not shown:\n{shown}");
            let line = text.split('\n').nth(fault.line - 1).unwrap();
            assert!(fault.suggestion.is_some() || fault.severity == Severity::Warning, "{place} suggests nothing");
            assert!(fault.column <= line.chars().count() + 1, "{place} is behind its line");
        }
        let refused = faults.iter().filter(|fault| fault.severity == Severity::Fault).count();
        let mut transcript = shown;
        let _ = writeln!(transcript, "{refused} faults, {} warnings", faults.len() - refused);
        assert_stored(&folder(&format!("tests/config/{case}.txt")), &transcript);
    }
}

#[test]
fn a_file_with_many_faults_reports_all_of_them() {
    let all: String =
        ["unknown_names", "wrong_values"].map(|case| text_of(&format!("tests/config/{case}.toml"))).concat();
    let alone = all_faults(&text_of("tests/config/wrong_values.toml"), "x").len();
    assert!(alone >= 25, "{alone}");
    // One array of tables in two parts is still one file: nothing hides behind the first fault.
    assert!(all_faults(&all, "x").len() > alone);
}

#[test]
fn no_fault_shows_a_secret() {
    let text = text_of("tests/config/secrets.toml");
    let faults = all_faults(&text, "secrets.toml");
    assert!(faults.len() >= 7);
    for shown in [config::render(&faults), format!("{faults:?}")] {
        assert!(!shown.contains("CANARY"), "{shown}");
        assert!(!shown.contains("0123456789abcdef"), "{shown}");
    }
}

#[test]
fn the_examples_are_clean_but_that_the_demos_phones_reach_no_emergency_number() {
    for (name, expected) in [("config/demo.toml", 1), ("config/two-agencies.toml", 0)] {
        match config::load(&folder(name)) {
            Ok((_, _, warnings)) => {
                let told = config::render(&warnings);
                assert_eq!(warnings.len(), expected, "{told}");
                assert_eq!(
                    told.contains("an emergency number dialled on one of these phones"),
                    expected == 1,
                    "{told}"
                );
            }
            Err(faults) => panic!("{}", config::render(&faults)),
        }
    }
}

#[test]
fn the_demo_has_what_the_demo_shows() {
    let (settings, demo) = accepted(&text_of("config/demo.toml"));
    assert_eq!((demo.agencies.len(), demo.talkgroups.len(), settings.tokens.len()), (3, 3, 4));
    let port = |id: &str| demo.gateways[&GatewayId::new(id).unwrap()].port.clone();
    let codec = |id: &str| port(id).payloads[0].format.codec;
    assert_eq!([codec("pd-gw-1"), codec("fd-gw-1"), codec("ems-gw-1")], [Codec::Opus, Codec::Pcmu, Codec::L16]);
    let ems = port("ems-gw-1");
    assert_eq!((ems.transmit.grant, ems.transmit.tail_ms, ems.receive.tail_ms), (GrantSign::Signalled, 0, 120));
    assert_eq!((port("pd-desk").role, port("pd-desk").transmit.overlap), (PortRole::Console, Overlap::Mix));
    let phones = demo.gateways.iter().filter(|(_, gateway)| matches!(gateway.kind, GatewayKind::Phone(_)));
    assert_eq!(phones.map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["fd-chief", "fd-visitor"]);
    let police = &demo.talkgroups[&TalkgroupId::new("pd-1").unwrap()];
    assert_eq!(police.transmit, [GatewayId::new("pd-gw-1").unwrap()], "a console is not keyed");
    for gateway in demo.gateways.values() {
        let GatewayKind::Rtp(rtp) = &gateway.kind else { continue };
        assert!(rtp.local.ip().is_loopback() && rtp.local.port() == 0);
        assert!(matches!(rtp.peer, PeerRule::Static(peer) if peer.ip().is_loopback()));
    }
}

#[test]
fn the_demos_tokens_are_the_ones_it_prints() {
    use crosspatch::config::SecretSource;
    use sha2::Digest;
    let (settings, _) = accepted(&text_of("config/demo.toml"));
    for (token, secret) in settings.tokens.iter().zip(["demo-police", "demo-fire", "demo-ems", "demo-admin"]) {
        assert_eq!(token.secret, SecretSource::Sha256(sha2::Sha256::digest(secret).into()), "{}", token.user);
        assert_eq!(format!("{:?}", token.secret), "Sha256", "logs show no hash");
    }
}

#[test]
fn an_empty_file_means_every_default() {
    let (_, configuration) = accepted("");
    assert_eq!(configuration.policy, Policy::default(), "the key table and the domain have one mind");
}

/// The reference's settings, with the marks taken away; "or:" lines stay prose.
fn uncommented(reference: &str) -> String {
    let setting = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest.to_owned(),
        _ => line.to_owned(),
    };
    reference.lines().map(setting).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_the_handbooks_write_is_accepted() {
    for handbook in ["docs/phones.md", "docs/trunks.md", "docs/gateways/sip.md"] {
        let text = text_of(handbook);
        let files: Vec<&str> = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!files.is_empty());
        for file in files {
            assert_eq!(config::render(&all_faults(file, handbook)), "");
        }
    }
}

#[test]
fn the_reference_file_is_what_the_code_says() {
    assert_stored(&folder("config/crosspatch.toml"), &config::reference());
}

#[test]
fn the_reference_file_shows_the_defaults_that_hold() {
    let reference = text_of("config/crosspatch.toml");
    let (shown_settings, shown) = accepted(&uncommented(&reference));
    let (settings, configuration) = accepted(&reference);
    assert_eq!(shown.policy, configuration.policy, "a shown default is not the one that holds");
    let shown_settings = config::Settings { tokens: vec![], tls: None, sip: None, ..shown_settings };
    assert_eq!(shown_settings, settings, "a shown default is not the one that holds");

    // Tables that only stand as examples: with every default written, and with none.
    let (_, bare) = accepted(BARE);
    let (agency, bare_agency) = (&shown.agencies.values().nth(1), &bare.agencies.values().nth(1));
    assert_eq!(agency.map(|a| (a.links_max, a.incidents_max)), bare_agency.map(|a| (a.links_max, a.incidents_max)));
    let (talkgroup, bare_talkgroup) = (&shown.talkgroups.values().nth(1), &bare.talkgroups.values().nth(1));
    let (mut talkgroup, bare_talkgroup) = (talkgroup.unwrap().clone(), bare_talkgroup.unwrap().clone());
    (talkgroup.name, talkgroup.coverage) = (bare_talkgroup.name.clone(), String::new());
    assert_eq!(talkgroup, bare_talkgroup);
    let by_rtp = |gateway: &&Gateway| matches!(gateway.kind, GatewayKind::Rtp(_));
    let port = shown.gateways.values().find(by_rtp).unwrap().port.clone();
    let bare_port = bare.gateways.values().next().unwrap().port.clone();
    let mut without_examples = port;
    without_examples.alias = bare_port.alias.clone();
    (without_examples.rf_channel, without_examples.events) = (None, None);
    without_examples.transmit.far_timeout_ms = None;
    assert_eq!(without_examples, bare_port);
    let by_sip = |all: &Configuration| {
        let is_sip = |gateway: &&Gateway| matches!(gateway.kind, GatewayKind::Sip(_));
        let mut port = all.gateways.values().find(is_sip).unwrap().port.clone();
        (port.alias, port.rf_channel, port.transmit.grant) = (String::new(), None, GrantSign::Immediate);
        port.transmit.far_timeout_ms = None;
        port
    };
    let roip =
        "gateway.sip = [{ id = 'roip', talkgroup = 'pd-1', peer = '127.0.0.1:5080' }]\nsip.listen = '127.0.0.1:5060'\n";
    let (_, with_roip) = accepted(&format!("{roip}{BARE}"));
    assert_eq!(by_sip(&shown), by_sip(&with_roip));
    let agreement = shown.agreements.values().next().unwrap().clone();
    let bare_agreement = bare.agreements.values().next().unwrap().clone();
    assert_eq!(crosspatch::domain::configuration::Agreement { end: None, ..agreement }, bare_agreement);
    let (template, bare_template) = (shown.templates.values().next().unwrap(), bare.templates.values().next().unwrap());
    assert_eq!(
        (&template.patches, template.lease_s, &template.kind),
        (&bare_template.patches, 14_400, &bare_template.kind)
    );
}

/// The reference's tables with nothing but what they need.
const BARE: &str = r#"
    agency = [{ id = "police", contact_24h = "1" }, { id = "fire", contact_24h = "1" }]
    talkgroup = [{ id = "pd-1", agency = "police" }, { id = "fd-1", agency = "fire" }]
    gateway.rtp = [{ id = "pd-gw-1", talkgroup = "pd-1", peer = "127.0.0.1:5004" }]
    agreement = [{ id = "police-fire", between = ["police", "fire"], talkgroups = ["pd-1", "fd-1"] }]
    template = [{ id = "harbour-fire" }]
"#;

#[test]
fn defaults_follow_the_role() {
    let of = |role: &str| {
        let text =
            BARE.replace("talkgroup = \"pd-1\", peer", &format!("role = \"{role}\", talkgroup = \"pd-1\", peer"));
        accepted(&text).1.gateways.values().next().unwrap().port.clone()
    };
    let (radio, phone, console) = (of("radio"), of("phone"), of("console"));
    assert_eq!((radio.transmit.overlap, radio.transmit.half_duplex, radio.transmit.tail_ms), (Overlap::One, true, 300));
    assert_eq!((radio.receive.inhibit_after_transmit_ms, radio.receive.burst_min_ms), (250, 150));
    assert_eq!((phone.transmit.overlap, phone.receive.keying), (Overlap::Mix, ReceiveKeying::Vox));
    assert_eq!((console.transmit.overlap, console.transmit.half_duplex), (Overlap::Mix, false));
    assert_eq!(console.receive.keying, ReceiveKeying::Presence);
}

#[test]
fn a_bridge_by_its_profile_is_called_over_tcp_and_has_nothing_that_only_radios_need() {
    let of = |lines: &str| {
        let sip = "sip = { listen = '127.0.0.1:5060', listen_tcp = '127.0.0.1:5060' }";
        let roip = "[[gateway.sip]]\nid = 'roip'\ntalkgroup = 'pd-1'\npeer = '127.0.0.1:5080'";
        let (settings, configuration) =
            accepted(&format!("{sip}\n{BARE}\n{roip}\n{lines}").replace("gateway.rtp", "#"));
        let port = &configuration.gateways[&GatewayId::new("roip").unwrap()].port;
        let receive = port.receive;
        let radio_ms = [port.transmit.tail_ms, receive.inhibit_after_transmit_ms, receive.burst_min_ms];
        (settings.sip.unwrap().gateways[0].over_tcp, radio_ms, port.transmit.half_duplex, port.role)
    };
    assert_eq!(of(""), (false, [300, 250, 150], true, PortRole::Radio));
    assert_eq!(of("profile = 'bsi-core'"), (true, [0, 0, 0], true, PortRole::Radio));
    assert_eq!(of("profile = 'bsi-core'\ntx_tail_ms = 80\ntransport = 'udp'").1, [80, 0, 0], "what is written counts");
}

/// Every key with its path and its schema.
fn keys() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    properties("", &config::schema(), &mut all);
    all
}

fn properties(prefix: &str, schema: &Value, all: &mut Vec<(String, Value)>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        all.push((path.clone(), inner.clone()));
        properties(&format!("{path}."), inner, all);
        properties(&format!("{path}."), &inner["items"], all);
        for either in inner["anyOf"].as_array().into_iter().chain(inner["items"]["anyOf"].as_array()).flatten() {
            properties(&format!("{path}."), either, all);
        }
    }
}

#[test]
fn every_key_of_the_code_is_in_the_reference_and_can_be_explained() {
    let reference = text_of("config/crosspatch.toml");
    let all = keys();
    assert!(all.len() > 120, "{}", all.len());
    for (path, _) in all.iter().filter(|(path, _)| path != "gateway") {
        let name = path.rsplit('.').next().unwrap();
        let stands = reference.contains(&format!("{name} = ")) || reference.contains(&format!("{path}]"));
        assert!(stands, "{path} is not in the reference");
        assert!(config::explain(path).is_ok(), "{path} is not explained");
    }
    assert!(config::explain("hold_max_ms").unwrap().contains("2500"));
    assert_eq!(config::explain("hold_max"), Err(Some("hold_max_ms".into())));
}

#[test]
fn every_word_and_both_ends_of_every_range_are_taken() {
    let all = keys();
    let mut tried = 0;
    for (path, schema) in all {
        let words =
            schema["enum"].as_array().into_iter().flatten().map(|word| toml::Value::from(word.as_str().unwrap()));
        for word in words {
            // Debug builds also assert that no entry is lost on the way.
            accepted(&set(&path, word));
            tried += 1;
        }
        for number in ["minimum", "maximum"].iter().filter_map(|end| schema[end].as_i64()) {
            // Other rules may refuse it, its range may not.
            let faults = all_faults(&set(&path, number.into()), "x");
            let range = faults.iter().find(|fault| fault.message.contains("must be from"));
            assert!(range.is_none(), "{path} = {number}: {range:?}");
            tried += 1;
            let outside = if Some(number) == schema["minimum"].as_i64() { number - 1 } else { number + 1 };
            let faults = all_faults(&set(&path, outside.into()), "x");
            assert!(faults.iter().any(|fault| fault.message.contains("must be from")), "{path} = {outside} was taken");
        }
    }
    assert!(tried > 120, "{tried}");
}

/// The reference with one key set, whatever table it stands in.
fn set(path: &str, value: toml::Value) -> String {
    let mut root: toml::Value = toml::from_str(&uncommented(&text_of("config/crosspatch.toml"))).unwrap();
    root["gateway"]["rtp"][0]["ext"] = toml::Value::Table([("keying".to_owned(), 2.into())].into_iter().collect());
    // With another role the radio that it names is none.
    root["talkgroup"][0].as_table_mut().unwrap().remove("transmit");
    let parts: Vec<&str> = path.split('.').collect();
    let mut at = &mut root;
    for part in &parts[..parts.len() - 1] {
        at = at.as_table_mut().unwrap().entry(*part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if at.is_array() {
            at = at.get_mut(0).unwrap();
        }
        if at.is_str() {
            let first = match *part {
                "codecs" => "codec",
                "patches" => "name",
                _ => "talkgroup",
            };
            *at = toml::Value::Table([(first.to_owned(), at.clone())].into_iter().collect());
        }
    }
    at.as_table_mut().unwrap().insert(parts[parts.len() - 1].to_owned(), value);
    toml::to_string(&root).unwrap()
}

/// As much of JSON schema as ours uses.
fn conforms(value: &toml::Value, schema: &Value, path: &str) -> Result<(), String> {
    if let Some(either) = schema["anyOf"].as_array() {
        let tried: Vec<String> = either.iter().filter_map(|schema| conforms(value, schema, path).err()).collect();
        return if tried.len() < either.len() { Ok(()) } else { Err(tried.join("; ")) };
    }
    let fits = match (schema["type"].as_str(), value) {
        (Some("object"), toml::Value::Table(table)) => {
            for (name, inner) in table {
                match schema["properties"].get(name) {
                    Some(known) => conforms(inner, known, &format!("{path}.{name}"))?,
                    None if schema["additionalProperties"] == false => return Err(format!("{path}: unknown {name}")),
                    None => {}
                }
            }
            let required = schema["required"].as_array().into_iter().flatten();
            required.filter_map(Value::as_str).all(|name| table.contains_key(name))
        }
        (Some("array"), toml::Value::Array(items)) => {
            for item in items {
                conforms(item, &schema["items"], path)?;
            }
            true
        }
        (Some("string"), toml::Value::String(text)) => {
            schema["enum"].as_array().is_none_or(|words| words.iter().any(|word| word == text.as_str()))
        }
        (Some("string"), toml::Value::Datetime(_)) => schema["format"] == "date-time",
        (Some("integer" | "number"), toml::Value::Integer(number)) => {
            (schema["minimum"].as_i64().unwrap()..=schema["maximum"].as_i64().unwrap()).contains(number)
        }
        (Some("boolean"), toml::Value::Boolean(_)) => true,
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("{path}: {value} does not fit {schema}")) }
}

#[test]
fn the_schema_takes_the_examples_and_refuses_what_the_reader_refuses() {
    let schema = config::schema();
    let reference = uncommented(&text_of("config/crosspatch.toml"));
    for text in [text_of("config/demo.toml"), text_of("config/two-agencies.toml"), reference] {
        conforms(&toml::Value::Table(toml::from_str(&text).unwrap()), &schema, "").unwrap();
    }
    let unknown = [
        "[sever]\n",
        "[server]\nnod = \"x\"\n",
        "[gateway]\nusrp = []\n",
        "[policy]\nfloor = { hang = 1 }\n",
        "[[template]]\nid = \"t\"\nlinks = [{ talkgroup = \"pd-1\", pach = \"main\" }]\n",
    ];
    for text in unknown {
        assert!(conforms(&toml::Value::Table(toml::from_str(text).unwrap()), &schema, "").is_err(), "{text}");
        let faults = all_faults(text, "x");
        assert!(faults.iter().any(|f| f.message.contains("has no key") || f.message.contains("no section")), "{text}");
    }
    for (path, _) in keys().into_iter().filter(|(_, schema)| schema["enum"].is_array() || schema["minimum"].is_i64()) {
        let text = set(&path, toml::Value::Boolean(true));
        assert!(conforms(&toml::Value::Table(toml::from_str(&text).unwrap()), &schema, "").is_err(), "{path}");
    }
}

#[test]
fn limits_are_kept() {
    let long = "#".repeat(config::FILE_BYTES_MAX + 1);
    let faults = config::parse(&long, "long.toml").unwrap_err();
    assert!(faults[0].message.contains("more than 1048576 bytes"), "{faults:?}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.toml");
    std::fs::write(&path, &long).unwrap();
    assert_eq!(config::load(&path).unwrap_err()[0].message, faults[0].message);
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(config::load(&path).unwrap_err()[0].message.contains("UTF-8"));
    assert!(config::load(&folder.path().join("none.toml")).unwrap_err()[0].message.contains("cannot open"));

    let agencies: String = (0..257).map(|n| format!("[[agency]]\nid = \"a{n}\"\ncontact_24h = \"1\"\n")).collect();
    let faults = config::parse(&agencies, "x").unwrap_err();
    let over = faults.iter().find(|fault| fault.severity == Severity::Fault).unwrap();
    assert_eq!((over.line, over.message.as_str()), (256 * 3 + 1, "more than 256 entries of [[agency]]"));

    let nonsense: String = (0..1000).map(|n| format!("key{n} = 1\n")).collect();
    assert_eq!(config::parse(&nonsense, "x").unwrap_err().len(), config::FAULTS_MAX + 1);
}

#[test]
fn a_file_is_never_accepted_because_it_has_too_many_warnings() {
    let warned: String = (0..250).map(|n| format!("[[agency]]\nid = \"a{n}\"\ncontact_24h = \"1\"\n")).collect();
    assert!(config::parse(&warned, "x").is_ok());
    assert!(config::parse(&format!("{warned}[policy]\nring_s = 1\n"), "x").is_err());
}

/// Damages files by bytes, by lines and by tokens; the same for the same seed.
fn damaged(entropy: &mut Entropy, corpus: &[String]) -> Vec<u8> {
    let below = |entropy: &mut Entropy, most: usize| entropy.next_u32() as usize % most.max(1);
    let mut text = corpus[below(entropy, corpus.len())].clone();
    for _ in 0..below(entropy, 6) {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = below(entropy, lines.len());
        let other = corpus[below(entropy, corpus.len())].lines().nth(below(entropy, 60)).unwrap_or("").to_owned();
        match below(entropy, 6) {
            0 if !lines.is_empty() => drop(lines.remove(at)),
            1 => lines.insert(at, other),
            2 if !lines.is_empty() => lines[at] = lines[at].split(['=', '"']).rev().collect::<Vec<_>>().join("="),
            3 if !lines.is_empty() => lines[at] = lines[at].replace('"', ""),
            4 if !lines.is_empty() => lines[at] = format!("{} = [{{ {} }}]", other.trim(), lines[at]),
            _ => lines.truncate(at),
        }
        text = lines.join("\n");
    }
    let mut bytes = text.into_bytes();
    for _ in 0..below(entropy, 4) {
        let at = below(entropy, bytes.len());
        if let Some(byte) = bytes.get_mut(at) {
            *byte = b"\"[]{}=.#\n\x00\xff\xc3-9a"[below(entropy, 15)];
        }
    }
    bytes
}

#[test]
fn no_damaged_file_makes_the_parser_panic() {
    let mut corpus: Vec<String> = cases().iter().map(|case| text_of(&format!("tests/config/{case}.toml"))).collect();
    corpus.extend(["demo", "two-agencies"].map(|name| text_of(&format!("config/{name}.toml"))));
    corpus.push(uncommented(&text_of("config/crosspatch.toml")));
    let mut entropy = Entropy::new(7);
    let mut accepted = 0;
    let mut messages = BTreeSet::new();
    for _ in 0..1500 {
        let input = damaged(&mut entropy, &corpus);
        config::fuzz::parse_bytes(&input);
        match config::parse(&String::from_utf8_lossy(&input), "x") {
            Ok(_) => accepted += 1,
            Err(faults) => messages.extend(faults.into_iter().map(|fault| fault.message)),
        }
    }
    assert!(
        accepted > 20 && messages.len() > 200,
        "the mutator is too mild or too wild: {accepted}, {}",
        messages.len()
    );
}
