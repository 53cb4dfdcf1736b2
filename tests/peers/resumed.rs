//! Calls of real phones over `kill -9` of the daemon: the phones do nothing for it, and their calls go on.

use crosspatch::dispatch::view::Life;
use crosspatch::domain::audio::Codec;

use super::Tool;
use super::calls::{MIXED, wait_until, wait_until_heard};
use super::county::County;
use super::daemon::Daemon;
use super::hearing::Voice;
use super::phone::{Line, Phone};

#[test]
fn a_call_plain_encrypted_or_over_tcp_is_the_same_call_after_kill_9_and_ends_with_its_phone() {
    let mut county = County::new();
    county.agency("pd");
    let mic = county.mic("pd", Tool::GStreamer, Codec::Pcmu);
    let mut ear = county.ear("pd", Tool::Ffmpeg, Codec::Pcmu);
    let registrar = county.sip("\"pcmu\", \"opus\"");
    let tcp = county.sip_over_tcp();
    county.also("keys_in_clear = true");
    let plain = Line::from(registrar);
    let sealed = Line { encryption: Some("srtp-mand"), ..plain.clone() };
    let connected = Line { transport: "tcp", ..tcp.into() };
    let lines = [("plain", Codec::Opus, plain), ("sealed", Codec::Pcmu, sealed), ("tcp", Codec::Pcmu, connected)];
    let passwords = lines.each_ref().map(|(id, ..)| county.phone_that(id, "pd-1", "srtp = \"optional\""));
    let mut daemon = Daemon::start(&county.file());
    let desk = daemon.desk("pd");
    let mut voice = Voice::load("demo-instruct");
    let [before, after, last] = std::array::from_fn(|_| voice.next_piece());
    let calls = lines.into_iter().zip(passwords).map(|((id, codec, line), password)| {
        let own = voice.next_piece();
        let mut phone = Phone::start(id, &password, line, codec, own.frames.as_flattened(), county.path());
        wait_until(&desk, &mut phone, id, "its registration", |view| view.life == Life::Registered);
        phone.dial("pd-1");
        wait_until(&desk, &mut phone, id, "its call", |view| view.life == Life::InCall);
        (id, phone, own)
    });
    let mut calls: Vec<_> = calls.collect();
    mic.say(&before.frames);
    for (_, phone, _) in &mut calls {
        phone.wait_for_speech(&before.samples, "the radio");
    }
    // Killed with its key down: nobody talks over a restart without saying so.
    let (_, first, own) = &mut calls[0];
    first.press('*');
    wait_until_heard(&ear, first, own, 0, "being heard after its star");

    daemon.kill();
    daemon.start_again();
    let (desk, figures) = (daemon.desk("pd"), daemon.desk("admin"));
    let mark = ear.mark() + MIXED;
    for (id, phone, _) in &mut calls {
        wait_until(&desk, phone, id, "its call to go on", |view| view.life == Life::InCall && !view.talking);
    }
    mic.say(&after.frames);
    ear.wait_for(&after.samples, mark - MIXED, "the radio after the restart");
    for (id, phone, own) in &mut calls {
        phone.wait_for_speech(&after.samples, "the radio after the restart");
        assert!(!ear.has_heard(&own.samples, mark), "{id} is heard and has not pressed its star");
        phone.press('*');
        wait_until_heard(&ear, phone, own, mark, "being heard after the restart");
        phone.press('#');
        wait_until(&desk, phone, id, "its key to be up", |view| !view.talking);
    }
    assert_eq!(figures.figure("crosspatch_sip_total{what=\"calls_resumed\"}"), 3);
    assert_eq!(figures.figure("crosspatch_sip_total{what=\"calls\"}"), 0, "nobody called again");
    for (id, phone, _) in &mut calls {
        phone.hang_up();
        wait_until(&desk, phone, id, "its end", |view| view.life != Life::InCall);
    }
    // What is over does not come back.
    daemon.kill();
    daemon.start_again();
    let mark = ear.mark();
    mic.say(&last.frames);
    ear.wait_for(&last.samples, mark, "the radio at the end");
    assert_eq!(daemon.desk("admin").figure("crosspatch_sip_total{what=\"calls_resumed\"}"), 0);
}
