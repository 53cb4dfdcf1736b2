//! Calls of a real phone: what it hears, when it is heard, and what ends that.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crosspatch::dispatch::view::{GatewayView, Life};
use crosspatch::domain::audio::Codec;
use crosspatch::domain::command::Command;
use crosspatch::domain::configuration::PathClass;
use crosspatch::domain::id::AgencyId;
use crosspatch::domain::incident::CutTarget;

use super::county::County;
use super::daemon::{Daemon, Desk};
use super::ear::Ear;
use super::hearing::{Piece, Voice};
use super::phone::{Line, Phone};
use super::{PATIENCE, Tool, now};

const SPOKEN: [(&str, Codec); 3] = [("plain", Codec::Pcmu), ("wide", Codec::G722), ("best", Codec::Opus)];

fn gateway(desk: &Desk, id: &str) -> GatewayView {
    let all = desk.roster().talkgroups.into_iter().flat_map(|talkgroup| talkgroup.gateways);
    all.into_iter().find(|view| view.gateway.as_str() == id).expect("it is configured")
}

/// Waits until a phone is like this in the roster.
pub fn wait_until(desk: &Desk, phone: &mut Phone, id: &str, what: &str, is_so: impl Fn(&GatewayView) -> bool) {
    phone.wait_for(what, |_| is_so(&gateway(desk, id)));
}

pub fn wait_until_heard(ear: &Ear, phone: &mut Phone, said: &Piece, mark: usize, what: &str) {
    phone.wait_for(what, |_| ear.has_heard(&said.samples, mark));
}

#[test]
fn a_phone_hears_its_talkgroup_and_is_heard_from_its_star_to_its_hash_and_at_no_other_time() {
    let mut county = County::new();
    county.agency("pd");
    let mic = county.mic("pd", Tool::GStreamer, Codec::Pcmu);
    let mut ear = county.ear("pd", Tool::Ffmpeg, Codec::Pcmu);
    let registrar = county.sip("\"pcmu\", \"g722\", \"opus\"");
    let passwords = SPOKEN.map(|(id, _)| county.phone(id, "pd-1"));
    let mut daemon = Daemon::start(&county.file());
    let desk = daemon.desk("pd");
    let mut voice = Voice::load("demo-instruct");
    for ((id, codec), password) in SPOKEN.into_iter().zip(passwords) {
        let own = voice.next_piece();
        let mut phone = Phone::start(id, &password, registrar, codec, own.frames.as_flattened(), county.path());
        wait_until(&desk, &mut phone, id, "its registration", |view| view.life == Life::Registered);
        phone.dial("pd-1");
        wait_until(&desk, &mut phone, id, "its call", |view| view.life == Life::InCall);
        let before = ear.mark();
        let said = voice.next_piece();
        mic.say(&said.frames);
        phone.wait_for_speech(&said.samples, "the radio");
        ear.wait_for(&said.samples, before, "the radio");
        assert!(!ear.has_heard(&own.samples, before), "{id} was heard before its star");

        phone.press('*');
        wait_until_heard(&ear, &mut phone, &own, before, "being heard after its star");
        phone.press('#');
        wait_until(&desk, &mut phone, id, "its key to be up", |view| !view.talking);
        let after = ear.mark() + MIXED;
        let said = voice.next_piece();
        mic.say(&said.frames);
        ear.wait_for(&said.samples, after - MIXED, "the radio after the phone");
        phone.wait_for_speech(&said.samples, "the radio after it talked");
        assert!(!ear.has_heard(&own.samples, after), "{id} was heard after its hash");
        phone.hang_up();
        wait_until(&desk, &mut phone, id, "its call to end", |view| view.life == Life::Registered);
    }
    let faults: Vec<&String> = daemon.logged().iter().filter(|line| line.contains("ERROR")).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_cut_silences_a_phone_like_any_other_and_hold_and_hanging_up_let_go_of_its_key() {
    let mut county = County::new();
    county.agency("pd");
    county.agency("fd");
    let mic = county.mic("fd", Tool::GStreamer, Codec::Pcmu);
    let radio = county.mic("pd", Tool::GStreamer, Codec::Pcmu);
    let mut home = county.ear("pd", Tool::Ffmpeg, Codec::Pcmu);
    let mut away = county.ear("fd", Tool::Ffmpeg, Codec::Pcmu);
    let registrar = county.sip("\"pcmu\"");
    let password = county.phone("chief", "pd-1");
    let daemon = Daemon::start(&county.file());
    county.join_all(&daemon);
    let desk = daemon.desk("pd");
    let mut voice = Voice::load("demo-instruct");
    let [own, said, unheard, resumed, again] = std::array::from_fn(|_| voice.next_piece());
    let mut phone = Phone::start("chief", &password, registrar, Codec::Pcmu, own.frames.as_flattened(), county.path());
    wait_until(&desk, &mut phone, "chief", "its registration", |view| view.life == Life::Registered);
    phone.dial("pd-1");
    wait_until(&desk, &mut phone, "chief", "its call", |view| view.life == Life::InCall);
    mic.say(&said.frames);
    phone.wait_for_speech(&said.samples, "the other agency");
    phone.press('*');
    wait_until_heard(&home, &mut phone, &own, 0, "being heard at home");
    wait_until_heard(&away, &mut phone, &own, 0, "being heard by the other agency");

    // Its own agency cuts itself out: at home it is heard on.
    desk.order(&Command::Cut { target: CutTarget::Agency(AgencyId::new("pd").unwrap()) });
    let (cut_away, cut_home) = (away.mark() + MIXED, home.mark());
    wait_until_heard(&home, &mut phone, &own, cut_home, "being heard at home after the cut");
    mic.say(&unheard.frames);
    away.wait_for(&unheard.samples, cut_away - MIXED, "its own radio");
    assert!(!away.has_heard(&own.samples, cut_away), "the phone was heard by another agency after the cut");
    desk.order(&Command::Restore { target: CutTarget::Agency(AgencyId::new("pd").unwrap()) });

    phone.hold(true);
    wait_until(&desk, &mut phone, "chief", "its key to be lifted by hold", |view| !view.talking);
    phone.hold(false);
    let mark = home.mark() + MIXED;
    radio.say(&resumed.frames);
    home.wait_for(&resumed.samples, mark - MIXED, "its radio while the phone is back");
    assert!(!home.has_heard(&own.samples, mark), "the phone was heard after hold without another star");
    phone.press('*');
    wait_until_heard(&home, &mut phone, &own, mark, "being heard after it has keyed again");
    phone.hang_up();
    wait_until(&desk, &mut phone, "chief", "its key to be lifted by its end", |view| {
        !view.talking && view.life == Life::Registered
    });
    mic.say(&again.frames);
    away.wait_for(&again.samples, cut_away, "its own radio at the end");
    assert!(!phone.heard().is_empty() && !home.has_heard(&unheard.samples, 0), "who is cut out hears nothing");
    assert!(home.mark() > 0);
}

#[test]
fn an_encrypted_phone_hears_and_is_heard_and_one_that_would_not_encrypt_has_no_call() {
    let mut county = County::new();
    county.agency("pd");
    let mic = county.mic("pd", Tool::GStreamer, Codec::Pcmu);
    let mut ear = county.ear("pd", Tool::Ffmpeg, Codec::Pcmu);
    let registrar = county.sip("\"pcmu\"");
    county.also("keys_in_clear = true");
    let users = ["must", "bare"].map(|id| (id, county.phone_that(id, "pd-1", "srtp = \"required\"")));
    let daemon = Daemon::start(&county.file());
    let desk = daemon.desk("pd");
    let mut voice = Voice::load("demo-instruct");
    let [own, said, again] = std::array::from_fn(|_| voice.next_piece());
    let start = |(id, password): &(&str, String), encryption| {
        let line = Line { encryption, ..registrar.into() };
        let mut phone = Phone::start(id, password, line, Codec::Pcmu, own.frames.as_flattened(), county.path());
        wait_until(&desk, &mut phone, id, "its registration", |view| view.life == Life::Registered);
        phone.dial("pd-1");
        phone
    };
    let mut bare = start(&users[1], None);
    let figures = daemon.desk("admin");
    bare.wait_for("its refusal", |_| figures.figure("crosspatch_sip_answers_total{status=\"488\"}") == 1);
    let mut phone = start(&users[0], Some("srtp-mand"));
    wait_until(&desk, &mut phone, "must", "its call", |view| view.life == Life::InCall);
    mic.say(&said.frames);
    phone.wait_for_speech(&said.samples, "the radio");
    phone.press('*');
    wait_until_heard(&ear, &mut phone, &own, 0, "being heard after its star");
    phone.press('#');
    wait_until(&desk, &mut phone, "must", "its key to be up", |view| !view.talking);
    // Hold and its end agree on keys anew.
    phone.hold(true);
    phone.hold(false);
    phone.press('*');
    let mark = ear.mark() + MIXED;
    wait_until_heard(&ear, &mut phone, &own, mark, "being heard after hold");
    phone.press('#');
    wait_until(&desk, &mut phone, "must", "its key to be up again", |view| !view.talking);
    mic.say(&again.frames);
    ear.wait_for(&again.samples, mark, "the radio at the end");
    assert_eq!(gateway(&desk, "bare").life, Life::Registered);
    assert_eq!(figures.figure("crosspatch_sip_total{what=\"calls_encrypted\"}"), 1);
    assert_eq!(gateway(&desk, "must").path, PathClass::Open, "its keys could be read");
}

#[test]
fn a_phone_calls_over_tcp_and_tls_and_whose_connection_is_gone_is_away() {
    let mut county = County::new();
    county.agency("pd");
    let mic = county.mic("pd", Tool::GStreamer, Codec::Pcmu);
    let mut ear = county.ear("pd", Tool::Ffmpeg, Codec::Pcmu);
    county.sip("\"pcmu\"");
    let (tcp, (tls, trusted)) = (county.sip_over_tcp(), county.sip_over_tls());
    let bare = Line { transport: "tcp", ..tcp.into() };
    let sealed = Line { transport: "tls", encryption: Some("srtp-mand"), trusted: Some(trusted), ..tls.into() };
    let lines = [("tcp", "never", bare, PathClass::Open), ("tls", "required", sealed, PathClass::Encrypted)];
    let passwords = lines.each_ref().map(|(id, srtp, ..)| county.phone_that(id, "pd-1", &format!("srtp = \"{srtp}\"")));
    let daemon = Daemon::start(&county.file());
    let desk = daemon.desk("pd");
    let mut voice = Voice::load("demo-instruct");
    for ((id, _, line, path), password) in lines.into_iter().zip(passwords) {
        let [own, said, again] = std::array::from_fn(|_| voice.next_piece());
        let mut phone = Phone::start(id, &password, line, Codec::Pcmu, own.frames.as_flattened(), county.path());
        wait_until(&desk, &mut phone, id, "its registration", |view| view.life == Life::Registered);
        phone.dial("pd-1");
        wait_until(&desk, &mut phone, id, "its call", |view| view.life == Life::InCall);
        assert_eq!(gateway(&desk, id).path, path, "{id}");
        let mark = ear.mark();
        mic.say(&said.frames);
        phone.wait_for_speech(&said.samples, "the radio");
        phone.press('*');
        wait_until_heard(&ear, &mut phone, &own, mark, "being heard after its star");
        phone.hang_up();
        wait_until(&desk, &mut phone, id, "its call to end", |view| view.life == Life::Registered);
        drop(phone);
        let after = ear.mark();
        mic.say(&again.frames);
        ear.wait_for(&again.samples, after, "the radio");
        let deadline = now() + PATIENCE;
        while gateway(&desk, id).life != Life::Away {
            assert!(now() < deadline, "{id} is gone and still registered");
        }
    }
}

#[test]
fn whoever_connects_is_answered_over_the_connection_and_whoever_wastes_it_loses_it() {
    let mut county = County::new();
    county.agency("pd");
    county.sip("\"pcmu\"");
    let port = county.sip_over_tcp();
    let daemon = Daemon::start(&county.file());
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let silent = connect();
    let mut one = connect();
    let question = "OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
        From: <sip:b@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 3\r\n\r\nabc";
    let (first, second) = question.split_at(150);
    one.write_all(format!("\r\n\r\n{first}").as_bytes()).unwrap();
    let mut pong = [0; 2];
    one.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n", "a keep-alive is answered before the message is whole");
    one.write_all(format!("{second}{question}").replace("CSeq: 1", "CSeq: 2").as_bytes()).unwrap();
    let mut lines = BufReader::new(&one).lines().map_while(Result::ok).filter(|line| line.starts_with("SIP/2.0 "));
    assert_eq!([lines.next(), lines.next()], [(); 2].map(|()| Some("SIP/2.0 200 OK".to_owned())));

    let mut endless = connect();
    endless.write_all(question.replace("Content-Length: 3", "X: 3").as_bytes()).unwrap();
    assert_eq!(endless.read(&mut pong).unwrap_or(0), 0, "nobody knows where it ends");
    assert_eq!((&silent).read(&mut pong).unwrap_or(0), 0, "it said nothing");
    let figures = daemon.desk("admin");
    let ends = |end: &str| figures.figure(&format!("crosspatch_sip_streams_total{{end=\"{end}\"}}"));
    let deadline = now() + PATIENCE;
    while (ends("begun"), ends("length"), ends("first_too_late")) != (3, 1, 1) {
        assert!(now() < deadline, "connections are not counted by how they end");
    }
}

/// What was on its way when something ended may still be heard (samples at 16 kHz).
pub const MIXED: usize = 16 * 300;
