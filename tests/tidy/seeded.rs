//! The rules themselves on trial: each catches what it forbids and spares what only looks like it.

use super::source::Source;
use super::{core_faults, files_on_map, ladder_faults, length_faults, name_faults, undone_faults};

fn lines(faults: &[String]) -> Vec<usize> {
    faults.iter().map(|fault| fault.split(':').nth(1).and_then(|line| line.parse().ok()).expect("a line")).collect()
}

fn judged(rule: impl Fn(&Source) -> Vec<String>, path: &str, text: &str) -> Vec<usize> {
    lines(&rule(&Source::read(path, text)))
}

#[test]
fn the_ladder_sees_every_spelling_of_an_import() {
    let caught = |path, text| judged(ladder_faults, path, text);
    let media = "src/media/mix/sum.rs";
    assert_eq!(caught(media, "use crate::dispatch::Dispatch;"), [1]);
    assert_eq!(caught(media, "use crate::{\n    domain::id,\n    io,\n    wire::{self, rtp as r},\n};"), [3]);
    assert_eq!(caught(media, "fn f() {\n    crate::io::clock::now();\n}"), [2]);
    assert_eq!(caught(media, "use super::super::super::config::Config;"), [1]);
    assert_eq!(caught(media, "mod tests {\n    use super::super::super::super::io::x;\n}"), [2]);
    assert_eq!(caught(media, "macro_rules! m { () => { $crate::daemon::run() } }"), [1]);
    assert_eq!(caught(media, "use crate::*;"), [1]);
    assert_eq!(caught("src/wire/mod.rs", "use super::media::Shard;"), [1]);
    assert_eq!(caught("src/domain/id.rs", "pub use crate::wire::rtp;"), [1]);
    assert_eq!(caught("src/io/http.rs", "use crate::daemon;"), [1]);
    assert_eq!(caught("src/attic/old.rs", ""), [1], "a room without a rung");
}

#[test]
fn the_ladder_spares_neighbours_prose_and_literals() {
    let caught = |path, text| judged(ladder_faults, path, text);
    for text in [
        "use crate::{domain::id, media::slab};\nuse super::super::floor;\nuse crate::some_macro;",
        "// crate::io is not ours\n/* nor /* crate::io */ crate::dispatch::x */\n//! crate::io \"quoted\"",
        "const A: &str = \"crate::io\"; const B: &str = r#\"say \"crate::io::x\"\"#; const C: char = '\"';",
        "fn f<'a>(x: &'a str) -> char { if x == \"\\\"\" { '\\'' } else { b'\\'' as char } } // crate::io::x",
    ] {
        assert_eq!(caught("src/media/mix/sum.rs", text), [0; 0], "{text}");
    }
    assert_eq!(caught("src/main.rs", "use crosspatch::{daemon, cli};"), [0; 0]);
}

#[test]
fn a_core_is_caught_reaching_for_the_world() {
    let caught = |text| judged(core_faults, "src/dispatch/lease.rs", text);
    assert_eq!(caught("use std::time::{Duration, Instant};"), [1]);
    assert_eq!(caught("fn f() {\n    let now = Instant::now();\n}"), [2]);
    assert_eq!(caught("use std::{fs, collections::{BTreeMap, HashMap}};"), [1, 1]);
    assert_eq!(caught("use std::net::UdpSocket;\nuse std::sync::Mutex;\nuse std::thread;"), [1, 2, 3]);
    assert_eq!(caught("fn f() { ::std::env::var(X); tracing::info!(); rand::random::<u8>() }"), [1, 1, 1]);
    assert_eq!(caught("use std::net::SocketAddr;\nuse std::time::Duration;\nuse std::sync::Arc;"), [0; 0]);
    assert_eq!(caught("#[cfg(test)]\nmod tests {\n    use std::fs;\n}\nuse std::env;"), [5], "tests may look outside");
    assert_eq!(judged(core_faults, "src/io/clock.rs", "use std::time::Instant;"), [0; 0]);
}

#[test]
fn a_long_file_and_a_long_function_are_caught_and_their_neighbours_are_not() {
    let body = |lines: usize| format!("fn long() -> [u8; 2] {{\n{}}}\n", "    step();\n".repeat(lines - 2));
    assert_eq!(judged(length_faults, "src/io/a.rs", &body(70)), [0; 0]);
    assert_eq!(
        judged(length_faults, "src/io/a.rs", &format!("trait T {{\n    fn no_body(&self);\n{}}}", body(71))),
        [3]
    );
    assert_eq!(judged(length_faults, "tests/a.rs", &"\n".repeat(600)), [0; 0]);
    assert_eq!(judged(length_faults, "tests/a.rs", &"\n".repeat(601)), [601]);
}

#[test]
fn empty_words_are_caught_where_things_are_named() {
    let caught = |text| judged(name_faults, "src/io/a.rs", text);
    assert_eq!(caught("struct LegManager;\nenum StreamInfo {}\ntrait Handler {}\nmod util {}"), [1, 2, 3, 4]);
    assert_eq!(caught("fn process_packet() {}\nfn do_it() {}\nfn new2() {}\nfn leg_data() {}"), [1, 2, 3, 4]);
    assert_eq!(caught("fn handle_packet() {}\nfn base32() {}\nstruct Database;\nstruct DataDir;"), [0; 0]);
    assert_eq!(caught("#[test]\nfn a_base_station_has_no_context() {}\n#[tokio::test]\nasync fn no_data() {}"), [0; 0]);
    assert_eq!(judged(name_faults, "src/io/sip_utils.rs", ""), [1]);
}

#[test]
fn unfinished_work_is_caught_and_talk_of_it_is_not() {
    let caught = |text| judged(undone_faults, "tests/a.rs", text);
    assert_eq!(caught("fn f() { todo!() }\nfn g() { unimplemented!(\"x\") }"), [1, 2]);
    assert_eq!(caught("#[ignore]\nfn f() {}\n#[ignore = \"slow\"]\nfn g() {}"), [1, 3]);
    assert_eq!(caught("// todo!() and #[ignore]\nconst A: &str = \"todo!()\";\nfn todo() {}"), [0; 0]);
}

#[test]
fn a_map_names_files_in_full_or_below_their_room() {
    let shown =
        files_on_map("See src/io/udp.rs.\n\n    src/wire/   bytes\n      rtp.rs, rtcp.rs  packets\n    `src/main.rs`");
    for path in ["io/udp.rs", "wire/", "wire/rtp.rs", "wire/rtcp.rs", "main.rs"] {
        assert!(shown.contains(path), "{path} is on the map");
    }
    assert!(!shown.contains("media/rtp.rs"));
}
