//! Every reader of SIP texts against damaged ones: none panics, and what it accepts it can say again.
//!
//! `SEED=n cargo test --test fuzz_sip` tries another sequence; the failing input is printed.

mod mutate;

use std::panic::catch_unwind;

use crosspatch::sip::fuzz;

/// Runs a target over damaged texts and demands that it met both answers often.
fn survives(target: fn(&[u8]) -> bool, inputs: u32, corpus: &[&str]) {
    let corpus: Vec<Vec<u8>> = corpus.iter().map(|text| text.as_bytes().to_vec()).collect();
    for text in &corpus {
        assert!(target(text), "a valid text was refused: {}", text.escape_ascii());
    }
    let seed = mutate::seed();
    let mut mutator = mutate::Mutator::new(seed, corpus);
    let mut accepted = 0;
    for round in 0..inputs {
        let input = mutator.next_input();
        match catch_unwind(|| target(input)) {
            Ok(taken) => accepted += u32::from(taken),
            Err(_) => panic!("seed {seed}, round {round}: the target panicked on {}", input.escape_ascii()),
        }
    }
    let refused = inputs - accepted;
    assert!(accepted > inputs / 20 && refused > inputs / 20, "one-sided: {accepted} accepted, {refused} refused");
}

#[test]
fn no_text_breaks_the_crypto_line_reader() {
    survives(
        fuzz::crypto_line,
        200_000,
        &[
            "1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR|2^20 KDR=0 WSH=128 -X",
            "22 AES_CM_128_HMAC_SHA1_32 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj",
            "3 AEAD_AES_128_GCM inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==",
            "4 AEAD_AES_256_GCM inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKis=",
        ],
    );
}

#[test]
fn no_text_breaks_offer_and_answer() {
    let head = "v=0\r\no=- 7 1 IN IP4 198.51.100.9\r\ns=x\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\n";
    let phone = "m=audio 6000 RTP/AVP 96 9 0 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=maxptime:60\r\na=rtcp-mux\r\n\
        a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=sendrecv\r\n";
    let secured = "m=video 7000 RTP/AVP 31\r\na=x\r\nm=audio 6000 RTP/SAVP 8 97\r\na=rtpmap:97 L16/16000\r\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR|2^20\r\n\
        a=rtcp:6009 IN IP4 198.51.100.7\r\na=recvonly\r\nm=application 0 UDP/BFCP *\r\n";
    let held = "m=audio 6000 RTP/AVPF 0\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n";
    let corpus = [phone, secured, held].map(|lines| format!("{head}{lines}"));
    survives(fuzz::description, 30_000, &corpus.each_ref().map(String::as_str));
}

#[test]
fn no_text_breaks_the_digest_reader() {
    survives(
        fuzz::digest_header,
        200_000,
        &[
            "Digest username=\"10\\\"01\", realm=\"county\", nonce=\"n\", uri=\"sip:a,b\", response=\"00\", cnonce=\"c\", \
             qop=auth, nc=0000000a, algorithm=MD5",
            "Digest realm=\"county\", nonce=\"AAAA\", algorithm=SHA-256, qop=\"auth,auth-int\", opaque=\"x\", stale=TRUE",
            "Digest realm=\"county\", nonce=\"AAAA\"",
        ],
    );
}

#[test]
fn no_bytes_break_the_gate() {
    let torture = include_str!("sip_torture/rfc4475.txt").split("\n=== ").skip(1);
    let messages = torture.filter_map(|message| {
        let (title, text) = message.split_once('\n')?;
        title.ends_with(" pass").then(|| format!("{text}\n").replace('\n', "\r\n"))
    });
    let messages: Vec<String> = messages.filter(|message| message.len() < 1000).collect();
    assert!(messages.len() > 15);
    survives(fuzz::gate, 200_000, &messages.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn no_datagrams_break_the_exchange() {
    let request = |method: &str, number: u32, tag: &str, lines: &str, body: &str| {
        format!(
            "{method} sip:6001@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.50:5070;branch=z9hG4bKx{number};rport\r\n\
             From: <sip:1001@h>;tag=f\r\nTo: <sip:6001@h>{tag}\r\nCall-ID: c\r\nCSeq: {number} {method}\r\n\
             Contact: <sip:1001@192.0.2.50:5071>\r\n{lines}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let ours = ";tag=TAG";
    let offer = "v=0\r\no=- 1 2 IN IP4 192.0.2.50\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 7002 RTP/AVP 0 101\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n";
    let sdp = "Content-Type: application/sdp\r\n";
    let timer = "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\nMin-SE: 90\r\n";
    let call = [
        request("ACK", 2, ours, "", ""),
        request("INVITE", 3, ours, &format!("{sdp}{timer}"), offer),
        request("OPTIONS", 9, "", "", ""),
        request("ACK", 3, ours, "", ""),
        request("INFO", 4, ours, "Content-Type: application/dtmf-relay\r\n", "Signal=*\r\n"),
        request("REGISTER", 5, "", "Expires: 60\r\n", ""),
        request("UPDATE", 6, ours, sdp, offer),
        request("BYE", 7, ours, "Record-Route: <sip:p;lr>, <sip:q>\r\n", ""),
    ]
    .join("\n===\n");
    let late =
        [request("ACK", 2, ours, "", ""), request("INVITE", 3, ours, "", ""), request("ACK", 3, ours, sdp, offer)];
    let late = late.join("\n===\n");
    let refer = request("REFER", 8, ours, "Refer-To: <sip:x>\r\nRequire: norefersub, timer\r\n", "");
    survives(fuzz::exchange, 20_000, &[&call, &late, &refer, &request("INVITE", 3, "", sdp, offer)]);
}

#[test]
fn no_bytes_break_the_framing_and_no_cut_changes_what_comes_out() {
    let message = |lines: &str, body: &str| {
        format!("OPTIONS sip:a SIP/2.0\r\nCall-ID: 1\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    let several = message("", "").repeat(3) + "\r\n\r\n" + &message("", "v=0\r\n\r\n");
    let folded = message("Subject: a\r\n b\r\n", "x").replace("Content-Length:", "l :\r\n");
    survives(fuzz::stream, 100_000, &[&several, &folded, &("\r\n".repeat(5) + &message("", "ab"))]);
}
