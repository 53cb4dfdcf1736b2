//! The command line as whoever types it sees it: the real binary, its output and its exit codes.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn crosspatch(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crosspatch"));
    for name in ["CROSSPATCH_TOKEN", "CROSSPATCH_TOKEN_FILE", "CROSSPATCH_URL", "CROSSPATCH_CONFIG", "CROSSPATCH_CA"] {
        command.env_remove(name);
    }
    command.args(arguments).output().unwrap()
}

fn package(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Every verb with its path of words.
fn verbs(of: &clap::Command, path: &[String], all: &mut Vec<Vec<String>>) {
    for verb in of.get_subcommands() {
        let words: Vec<String> = path.iter().cloned().chain([verb.get_name().to_owned()]).collect();
        verbs(verb, &words, all);
        all.push(words);
    }
}

#[test]
fn every_verb_has_a_help_page_with_a_sentence_about_it() {
    let mut grammar = crosspatch::cli::grammar();
    grammar.build();
    let abouts: Vec<String> =
        grammar.get_subcommands().map(|verb| verb.get_about().map(ToString::to_string).unwrap_or_default()).collect();
    let told: std::collections::BTreeSet<&String> = abouts.iter().collect();
    assert_eq!(told.len(), abouts.len(), "two verbs say the same of themselves: {abouts:?}");
    let mut all = Vec::new();
    verbs(&grammar, &[], &mut all);
    assert!(all.len() > 45, "{}", all.len());
    for words in all.iter().filter(|words| words.iter().all(|word| word != "help")) {
        let verb = words.iter().fold(&mut grammar, |verb, word| verb.find_subcommand_mut(word).unwrap());
        let help = verb.render_long_help().to_string();
        assert!(help.contains("Usage:"), "{words:?}");
        assert!(
            verb.get_about().is_some_and(|about| !about.to_string().is_empty()),
            "{words:?} says nothing of itself"
        );
        for argument in verb.get_arguments() {
            assert!(argument.get_help().is_some(), "{words:?} does not say what {} is", argument.get_id());
        }
    }
    crosspatch::cli::grammar().debug_assert();
}

#[test]
fn completions_are_made_for_every_shell_and_name_the_red_button() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = crosspatch(&["completions", shell]);
        assert!(output.status.success(), "{shell}: {}", said(&output));
        assert!(said(&output).contains("hand-over") && said(&output).contains("cut"), "{shell}");
    }
}

#[test]
fn manual_pages_are_written_for_the_program_and_each_verb() {
    let dir = tempfile::tempdir().unwrap();
    let output = crosspatch(&["man", dir.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    let pages: Vec<PathBuf> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    for page in ["crosspatch.1", "crosspatch-cut.1", "crosspatch-incident-hand-over.1"] {
        assert!(pages.iter().any(|path| path.ends_with(page)), "{page} among {pages:?}");
    }
    assert!(std::fs::read_to_string(dir.path().join("crosspatch.1")).unwrap().contains(".TH"));
}

#[test]
fn good_files_are_called_whole() {
    for file in ["config/demo.toml", "config/two-agencies.toml"] {
        let output = crosspatch(&["check", &package(file)]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(said(&output).contains("agencies, "), "{}", said(&output));
    }
}

#[test]
fn a_faulty_file_is_refused_with_line_and_column_of_each_fault() {
    let file = package("tests/config/dangling_references.toml");
    let output = crosspatch(&["check", &file]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    let places = text.matches("dangling_references.toml:").count();
    assert!(places > 2, "{text}");
    let place = text.split("dangling_references.toml:").nth(1).unwrap();
    let numbers: Vec<&str> = place.split_whitespace().next().unwrap().split(':').collect();
    assert!(numbers.len() == 2 && numbers.iter().all(|n| n.parse::<u32>().is_ok()), "{numbers:?}");
}

#[test]
fn schema_and_explanations_need_no_file() {
    let schema = crosspatch(&["check", "--schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(schema.get("properties").is_some());
    assert!(said(&crosspatch(&["explain", "hold_max_ms"])).contains("gateway.rtp.hold_max_ms"));
    let typo = crosspatch(&["explain", "hold_mx_ms"]);
    assert_eq!(typo.status.code(), Some(1));
    assert!(said(&typo).contains("Do you mean hold_max_ms?"), "{}", said(&typo));
}

#[test]
fn what_a_key_may_have_meant_is_always_said() {
    for (asked, meant) in [("gateway", "Do you mean gateway.rtp?"), ("foo", "Its sections are server, ")] {
        let typo = said(&crosspatch(&["explain", asked]));
        assert!(typo.contains(meant), "{asked}: {typo}");
    }
}

#[test]
fn a_verb_offers_the_options_that_mean_something_to_it_and_no_others() {
    let mut grammar = crosspatch::cli::grammar();
    grammar.build();
    let mut all = Vec::new();
    verbs(&grammar, &[], &mut all);
    for words in all.iter().filter(|words| words.iter().all(|word| word != "help")) {
        let verb = words.iter().fold(&mut grammar, |verb, word| verb.find_subcommand_mut(word).unwrap());
        let takes = |name: &str| verb.get_arguments().any(|argument| argument.get_long() == Some(name));
        let alone = ["run", "demo", "check", "explain", "doctor", "journal", "completions", "man", "version"];
        let silent = ["run", "demo", "explain", "completions", "man", "version"];
        for option in ["url", "token-file", "ca"] {
            assert_eq!(takes(option), !alone.contains(&words[0].as_str()), "{words:?} --{option}");
        }
        assert_eq!(takes("json"), !silent.contains(&words[0].as_str()), "{words:?} --json");
    }
    assert_eq!(crosspatch(&["version", "--json"]).status.code(), Some(2), "what does nothing is not taken");
}

#[test]
fn a_check_tells_programs_what_it_tells_people() {
    let json = |output: &[u8]| serde_json::from_slice::<serde_json::Value>(output).unwrap();
    let whole = crosspatch(&["check", &package("config/demo.toml"), "--json"]);
    assert_eq!(json(&whole.stdout)["agencies"], 3, "{}", said(&whole));
    let warned = json(&crosspatch(&["check", &package("tests/config/warnings.toml"), "--json"]).stdout);
    assert!(warned["warnings"][0]["line"].is_u64(), "{warned}");
    let faulty = crosspatch(&["check", &package("tests/config/dangling_references.toml"), "--json"]);
    assert_eq!((faulty.status.code(), json(&faulty.stderr)["code"].as_str()), (Some(1), Some("faulty")));
}

#[test]
fn wrong_use_is_2_and_says_how() {
    for arguments in [&["roster"][..], &["incident", "extend", "x", "--by", "4"], &["cut"], &["no-such-verb"]] {
        let output = crosspatch(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(!output.stderr.is_empty());
    }
    assert!(said(&crosspatch(&["roster"])).contains("CROSSPATCH_TOKEN"));
    assert!(said(&crosspatch(&["incident", "extend", "x", "--by", "4"])).contains("4h"), "the unit is asked for");
}

#[test]
fn a_daemon_that_is_not_there_is_3_with_what_to_do_and_never_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "a-very-secret-token\n").unwrap();
    // A port that was free a moment ago, and that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    for verb in [&["roster"][..], &["watch"], &["cut", "pd-1"], &["why", "a", "b"], &["beat", "desk"]] {
        let target = ["--url", &url, "--token-file", token.to_str().unwrap()];
        let output = crosspatch(&[verb, &target].concat());
        assert_eq!(output.status.code(), Some(3), "{verb:?}: {}", said(&output));
        assert!(said(&output).contains("systemctl status crosspatch"), "{}", said(&output));
        assert!(!said(&output).contains("secret"), "{}", said(&output));
    }
}

#[test]
fn a_missing_journal_folder_is_no_whole_journal() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    assert_eq!(crosspatch(&["journal", "check", nowhere.to_str().unwrap()]).status.code(), Some(1));
    let empty = crosspatch(&["journal", "check", dir.path().to_str().unwrap()]);
    assert_eq!(empty.status.code(), Some(0), "{}", said(&empty));
    assert!(said(&empty).contains("0 records"), "{}", said(&empty));
    assert!(!Path::new(&nowhere).exists(), "a check makes nothing");
}

#[test]
fn doctor_names_a_taken_address_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let file = dir.path().join("crosspatch.toml");
    let journal = dir.path().join("journal");
    std::fs::write(&file, format!("[server]\ndata_dir = {journal:?}\nhttp = \"{address}\"\n")).unwrap();
    let output = crosspatch(&["doctor", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains(&format!("http {address}")), "{}", said(&output));
    drop(taken);
    let output = crosspatch(&["doctor", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!journal.exists(), "doctor made a folder");
}

#[test]
fn doctor_says_whether_the_certificate_and_its_key_can_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (ours, other) = (made(), made());
    std::fs::write(path("certificate.pem"), ours.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), ours.signing_key.serialize_pem()).unwrap();
    std::fs::write(path("other.pem"), other.signing_key.serialize_pem()).unwrap();
    let look = |certificate: &str, key: &str| {
        let text = format!(
            "[server]\nhttp = \"127.0.0.1:0\"\ndata_dir = {:?}\ntls_certificate = {:?}\ntls_key = {:?}\n",
            path("journal"),
            path(certificate),
            path(key)
        );
        std::fs::write(path("crosspatch.toml"), text).unwrap();
        let output = crosspatch(&["doctor", path("crosspatch.toml").to_str().unwrap()]);
        (output.status.code(), said(&output))
    };
    let (code, told) = look("certificate.pem", "key.pem");
    assert!(code == Some(0) && told.contains("belong together"), "{told}");
    for (certificate, key, word) in [
        ("certificate.pem", "other.pem", "not with this key"),
        ("nothing.pem", "key.pem", "nothing.pem: No such file"),
        ("key.pem", "key.pem", "no certificate"),
        ("certificate.pem", "certificate.pem", "tls_key"),
    ] {
        let (code, told) = look(certificate, key);
        assert!(code == Some(1) && told.contains(word), "{certificate} {key}: {told}");
    }
}

#[test]
fn doctor_names_a_phone_that_is_shut_out_and_a_port_of_sip_that_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "[server]\nhttp = \"127.0.0.1:0\"\ndata_dir = {:?}\n[sip]\nlisten = \"{}\"\n\
         [[agency]]\nid = \"police\"\ncontact_24h = \"1\"\n[[talkgroup]]\nid = \"pd-1\"\nagency = \"police\"\n\
         [[phone]]\nid = \"chief\"\ntalkgroup = \"pd-1\"\nfile = {:?}\n",
        path("journal"),
        taken.local_addr().unwrap(),
        path("password")
    );
    std::fs::write(path("crosspatch.toml"), text).unwrap();
    let look = || {
        let output = crosspatch(&["doctor", path("crosspatch.toml").to_str().unwrap()]);
        (output.status.code(), said(&output))
    };
    let (code, told) = look();
    assert!(code == Some(1) && told.contains("phone chief: ") && told.contains("No such file"), "{told}");
    assert!(told.contains(&format!("sip {}", taken.local_addr().unwrap())), "{told}");
    std::fs::write(path("password"), "\n").unwrap();
    assert!(look().1.contains("its password is empty"));
    std::fs::write(path("password"), "a password\n").unwrap();
    drop(taken);
    let (code, told) = look();
    assert!(code == Some(0) && told.contains("the passwords of 1 phones, trunks and gateways can be read"), "{told}");
}
