//! The rules of the house as a test: who may import whom, what a core may not touch, how long things get, which
//! words name nothing, and that the map shows every file. A rule that fails says where and why.

#[path = "tidy/seeded.rs"]
mod seeded;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path as FilePath;

use source::{Path, Source, Token, is_word};

/// Who may import whom. A room not listed here must be argued into the list first.
const LADDER: [(&str, &[&str]); 14] = [
    ("domain", &[]),
    ("wire", &["domain"]),
    ("media", &["domain", "wire"]),
    ("dispatch", &["domain"]),
    ("sip", &["domain", "wire"]),
    ("documents", &["domain"]),
    ("config", &["domain"]),
    ("io", &["domain", "wire", "media", "dispatch", "sip", "documents", "config"]),
    ("api", &["domain", "wire", "media", "dispatch", "sip", "documents", "config", "io"]),
    ("daemon", &["domain", "wire", "media", "dispatch", "sip", "documents", "config", "io", "api"]),
    ("demo", &["domain", "wire", "media", "dispatch", "sip", "documents", "config", "io", "api", "daemon"]),
    ("cli", &["domain", "wire", "media", "dispatch", "sip", "documents", "config", "io", "api", "daemon", "demo"]),
    (
        "main",
        &["domain", "wire", "media", "dispatch", "sip", "documents", "config", "io", "api", "daemon", "demo", "cli"],
    ),
    ("lib", &[]),
];

/// Rooms that replay from a seed.
const CORES: [&str; 5] = ["domain", "wire", "media", "dispatch", "sip"];

/// Whatever a path in a core may not begin with.
const BANNED_PATHS: [&str; 16] = [
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::sync::mpsc",
    "tokio",
    "tracing",
    "rand",
    "getrandom",
    "libc",
    "socket2",
    "rusqlite",
    "axum",
    "rustls",
];

/// Words that may stand nowhere in a core's path, however they were imported.
const BANNED_SEGMENTS: [&str; 11] = [
    "HashMap",
    "HashSet",
    "Instant",
    "SystemTime",
    "Mutex",
    "RwLock",
    "Condvar",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "ToSocketAddrs",
];

/// Words that say nothing about what they name; the glossary has better ones.
const EMPTY_WORDS: [&str; 12] =
    ["manager", "handler", "helper", "helpers", "util", "utils", "common", "misc", "base", "data", "info", "context"];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn imports_go_down_the_ladder() {
    assert_tidy(files("src"), ladder_faults);
}

#[test]
fn cores_have_no_clock_socket_thread_lock_or_unordered_map() {
    assert_tidy(files("src"), core_faults);
}

#[test]
fn files_and_functions_fit_the_eye() {
    assert_tidy(files("src").chain(files("tests")), length_faults);
}

#[test]
fn names_say_something() {
    assert_tidy(files("src").chain(files("tests")), name_faults);
}

#[test]
fn nothing_is_left_undone_or_skipped() {
    assert_tidy(files("src").chain(files("tests")), undone_faults);
}

#[test]
fn the_map_shows_every_file() {
    let map = fs::read_to_string(package("ARCHITECTURE.md")).expect("a newcomer finds a file through the map");
    let shown = files_on_map(&map);
    assert_tidy(files("src"), |file| {
        let path = file.path.trim_start_matches("src/");
        let room = path.strip_suffix("/mod.rs").map(|room| format!("{room}/"));
        if shown.contains(path) || room.is_some_and(|room| shown.contains(&room)) {
            return Vec::new();
        }
        vec![fault(file, 1, "ARCHITECTURE.md does not name this file: a newcomer finds a file through the map")]
    });
}

fn ladder_faults(file: &Source) -> Vec<String> {
    let room = room_of(&file.path);
    let Some((_, below)) = LADDER.iter().find(|(name, _)| *name == room) else {
        return vec![fault(
            file,
            1,
            &format!("the room {room:?} has no rung: give it one in tests/tidy.rs, with a reason"),
        )];
    };
    let imports = file.paths().into_iter().filter_map(|path| Some((crate_room(file, &path)?, path.line)));
    imports
        .filter(|(target, _)| *target != room && !below.contains(&target.as_str()))
        // What stands at the crate's root without a room (a macro, a re-export) is nobody's.
        .filter(|(target, _)| target == "*" || LADDER.iter().any(|(name, _)| name == target))
        .map(|(target, line)| {
            fault(file, line, &format!("{room} may not import {target}: the ladder keeps cores apart and replayable"))
        })
        .collect()
}

fn core_faults(file: &Source) -> Vec<String> {
    if !CORES.contains(&room_of(&file.path)) {
        return Vec::new();
    }
    let banned = |path: &Path| {
        let joined = path.segments.join("::");
        let begins = |ban: &&&str| joined == **ban || joined.starts_with(&format!("{ban}::"));
        let within = |ban: &&&str| path.segments.iter().any(|segment| segment == **ban);
        BANNED_PATHS.iter().find(begins).or_else(|| BANNED_SEGMENTS.iter().find(within)).copied()
    };
    // Tests inside a core may look at the world: they are not what replays.
    file.paths()
        .iter()
        .filter(|path| !path.in_test)
        .filter_map(|path| Some((banned(path)?, path.line)))
        .map(|(ban, line)| {
            fault(file, line, &format!("{ban} in a core: time, randomness and the world come in as arguments"))
        })
        .collect()
}

fn length_faults(file: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    if file.lines > FILE_LINES_MAX {
        let why = format!("{} lines, {FILE_LINES_MAX} is the wall: a file is one noun", file.lines);
        faults.push(fault(file, file.lines, &why));
    }
    for function in file.functions().iter().filter(|function| function.lines > FUNCTION_LINES_MAX) {
        let Token { text, line } = function.name;
        let why = format!("fn {text} has {} lines, a screen has {FUNCTION_LINES_MAX}", function.lines);
        faults.push(fault(file, *line, &why));
    }
    faults
}

fn name_faults(file: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let stem = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
    if let Some(word) = empty_word(stem) {
        faults.push(fault(file, 1, &format!("{word:?} in a file name says nothing: see GLOSSARY.md")));
    }
    let types = file.tokens.windows(2).filter(|pair| {
        matches!(pair[0].text.as_str(), "struct" | "enum" | "trait" | "type" | "union" | "mod")
            && pair[1].text.starts_with(is_word)
    });
    for name in types.map(|pair| &pair[1]) {
        if let Some(word) = empty_word(&name.text) {
            faults.push(fault(file, name.line, &format!("{word:?} in {} says nothing: see GLOSSARY.md", name.text)));
        }
    }
    // A test's name is a sentence and may need any word.
    for function in file.functions().iter().filter(|function| !function.is_test) {
        let name = &function.name.text;
        let vague = name == "process" || name == "new2" || name.starts_with("process_") || name.starts_with("do_");
        if let Some(word) = empty_word(name).or(vague.then_some(name.as_str())) {
            faults.push(fault(
                file,
                function.name.line,
                &format!("{word:?} in fn {name} says nothing: see GLOSSARY.md"),
            ));
        }
    }
    faults
}

fn undone_faults(file: &Source) -> Vec<String> {
    let undone = [
        (&["todo", "!"][..], "todo! is a promise, and promises are kept before they are committed"),
        (&["unimplemented", "!"], "unimplemented! is a crash with a good conscience"),
        (&["#", "[", "ignore"], "an ignored test proves nothing: repair it or delete it"),
    ];
    let at = |at: usize| undone.iter().filter(move |(texts, _)| file.is(at, texts)).map(move |(_, why)| (at, why));
    (0..file.tokens.len()).flat_map(at).map(|(at, why)| fault(file, file.tokens[at].line, why)).collect()
}

/// The room under `src` a file belongs to.
fn room_of(path: &str) -> &str {
    let inside = path.trim_start_matches("src/");
    inside.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// The room of this package that a path leads to, if it leads to one.
fn crate_room(file: &Source, path: &Path) -> Option<String> {
    let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
    let supers = segments.iter().take_while(|segment| **segment == "super").count();
    let from_root = match segments.first()? {
        &"crate" | &"crosspatch" => 1,
        &"super" if supers == path.depth + file_depth(&file.path) => supers,
        _ => return None,
    };
    segments.get(from_root).map(|room| (*room).to_owned())
}

/// Modules between the crate's root and a file's own items.
fn file_depth(path: &str) -> usize {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    let parts = inside.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main"));
    parts.count()
}

fn empty_word(name: &str) -> Option<&'static str> {
    let mut spaced = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            spaced.push('_');
        }
        spaced.extend(c.to_lowercase());
    }
    // `data_dir` is the configuration key everybody knows.
    let spaced = spaced.replace("data_dir", "directory");
    EMPTY_WORDS.into_iter().find(|word| spaced.split('_').any(|part| part == *word))
}

/// Files (and rooms, with a closing slash) that a map names, in full or below the room it named last.
fn files_on_map(map: &str) -> BTreeSet<String> {
    let (mut shown, mut room) = (BTreeSet::new(), String::new());
    for word in map.split(|c: char| !(is_word(c) || matches!(c, '.' | '/' | '-'))) {
        let word = word.trim_start_matches("./").trim_start_matches("src/");
        if word.is_empty() {
            continue;
        } else if word.ends_with('/') {
            room = word.to_owned();
            shown.insert(word.to_owned());
        } else if word.trim_end_matches('.').ends_with(".rs") {
            let word = word.trim_end_matches('.');
            shown.insert(word.to_owned());
            shown.insert(format!("{room}{word}"));
        }
    }
    shown
}

fn assert_tidy(files: impl Iterator<Item = Source>, rule: impl Fn(&Source) -> Vec<String>) {
    let mut judged = 0;
    let faults: Vec<String> = files.inspect(|_| judged += 1).flat_map(|file| rule(&file)).collect();
    assert!(judged > 0, "no file was found: the rule judged nothing");
    assert!(faults.is_empty(), "{} untidy:\n{}\n", faults.len(), faults.join("\n"));
}

fn fault(file: &Source, line: usize, why: &str) -> String {
    format!("{}:{line}: {why}", file.path)
}

fn package(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a folder of the package, in order.
fn files(folder: &str) -> impl Iterator<Item = Source> {
    let mut found = Vec::new();
    collect(FilePath::new(&package(folder)), &mut found);
    found.sort();
    let root = package("");
    found.into_iter().map(move |path| {
        let text = fs::read_to_string(&path).expect("a file of the package is readable");
        Source::read(path.trim_start_matches(&root), &text)
    })
}

fn collect(folder: &FilePath, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path.to_string_lossy().into_owned());
        }
    }
}
