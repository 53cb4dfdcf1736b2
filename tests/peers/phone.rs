//! A phone made of baresip, which nobody here wrote: it registers, calls, says what a file holds and records what it hears.
//! It runs on loopback alone and is commanded over its own control port; digits are typed.
//!
//! What it does that others do not: it gives up when it is asked for SHA-256 as well as MD5; it counts telephone events in
//! the clock of its codec whatever was agreed on; after a hold it plays what it is sent and records nothing more. It says
//! its file over and over from the moment the call is up, so what is heard of it is looked for anywhere in it, and never
//! before its key.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use crosspatch::domain::audio::Codec;

use super::child::Running;
use super::hearing::heard_in;
use super::ports::free_pair;
use super::{PATIENCE, now};

/// See the file's head.
pub struct Phone {
    folder: PathBuf,
    program: Running,
    keys: ChildStdin,
    control: u16,
    codec: Codec,
    line: Line,
}

/// Where a phone registers and how its line there is protected.
#[derive(Clone, Debug)]
pub struct Line {
    pub registrar: u16,
    /// `udp`, `tcp` or `tls`.
    pub transport: &'static str,
    /// How baresip names what it does with media.
    pub encryption: Option<&'static str>,
    /// Certificates that it trusts.
    pub trusted: Option<PathBuf>,
}

impl From<u16> for Line {
    fn from(registrar: u16) -> Self {
        Self { registrar, transport: "udp", encryption: None, trusted: None }
    }
}

impl Phone {
    /// A phone of that user that speaks one codec and, in calls, says these samples (16 kHz).
    pub fn start(user: &str, password: &str, line: impl Into<Line>, codec: Codec, says: &[i16], folder: &Path) -> Self {
        let line = line.into();
        let encryption = line.encryption.map_or(String::new(), |word| format!(";mediaenc={word}"));
        let account = format!("<{}>;auth_pass={password};regint=60{encryption}", line.uri(user));
        Self::with_account(user, &account, (free_pair(), line), (codec, says), folder)
    }

    /// A phone that registers nowhere and is known by its port: to whom it calls it is a PBX with one caller.
    pub fn behind(user: &str, (here, called): (u16, u16), codec: Codec, says: &[i16], folder: &Path) -> Self {
        let account = format!("<sip:{user}@127.0.0.1:{here}>;regint=0");
        Self::with_account(user, &account, (here, called.into()), (codec, says), folder)
    }

    /// The same that takes every call at once: a radio gateway.
    pub fn answering(user: &str, (here, line): (u16, Line), codec: Codec, says: &[i16], folder: &Path) -> Self {
        let account = format!("<sip:{user}@127.0.0.1:{here}>;regint=0;answermode=auto");
        Self::with_account(user, &account, (here, line), (codec, says), folder)
    }

    fn with_account(
        user: &str,
        account: &str,
        (here, line): (u16, Line),
        (codec, says): (Codec, &[i16]),
        folder: &Path,
    ) -> Self {
        let folder = folder.join(format!("phone-{user}-{codec:?}"));
        std::fs::create_dir_all(&folder).unwrap();
        let (rate_hz, channels, module, name) = spoken(codec);
        let said: Vec<i16> = says.iter().copied().cycle().take(SAYS_S * 16_000).collect();
        std::fs::write(folder.join("says.wav"), wav(&said, rate_hz, channels)).unwrap();
        let (control, media) = (free_pair(), free_pair());
        let path = folder.display();
        let trusted = line.trusted.as_ref();
        let trusted = trusted.map_or(String::new(), |file| format!("sip_cafile {}\n", file.display()));
        let config = format!(
            "poll_method epoll\nnet_interface 127.0.0.1\nsip_listen 127.0.0.1:{here}\nrtp_ports {media}-{}\n\
             audio_source aufile,{path}/says.wav\naudio_player aubridge,ear\naudio_alert aufile,/dev/null\n\
             snd_path {path}\nausrc_srate {rate_hz}\nauplay_srate {rate_hz}\n\
             ausrc_channels {channels}\nauplay_channels {channels}\n\
             module_path {MODULES}\nmodule stdio.so\nmodule aufile.so\nmodule aubridge.so\nmodule sndfile.so\n\
             module {module}\nmodule ctrl_tcp.so\nctrl_tcp_listen 127.0.0.1:{control}\n\
             module srtp.so\n{trusted}module_app account.so\nmodule_app contact.so\nmodule_app menu.so\nmodule_tmp uuid.so\n",
            media + 1
        );
        std::fs::write(folder.join("config"), config).unwrap();
        std::fs::write(folder.join("accounts"), format!("{account};audio_codecs={name}\n")).unwrap();
        std::fs::write(folder.join("contacts"), "").unwrap();
        let words = ["baresip", "-f", folder.to_str().expect("a path of ours")];
        let mut program = Running::start(&format!("phone {user} {codec:?}"), &words, Stdio::piped());
        let keys = program.input();
        let mut output = program.output();
        // Read to the end, so that it never waits for us.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        let mut phone = Self { folder, program, keys, control, codec, line };
        phone.wait_for("its control port", |phone| TcpStream::connect(("127.0.0.1", phone.control)).is_ok());
        phone
    }

    /// Calls a number.
    pub fn dial(&mut self, number: &str) {
        let uri = self.line.uri(number);
        self.order("dial", &uri);
    }

    /// Takes the call that comes in.
    pub fn lift(&mut self) {
        self.order("accept", "");
    }

    pub fn hang_up(&mut self) {
        self.order("hangup", "");
    }

    /// Holds its call, or goes on with it.
    pub fn hold(&mut self, held: bool) {
        self.order(if held { "hold" } else { "resume" }, "");
    }

    /// Presses a key of the dial pad.
    pub fn press(&mut self, key: char) {
        write!(self.keys, "{key}").and_then(|()| self.keys.flush()).unwrap();
    }

    /// All it has heard in its last call, at 16 kHz.
    pub fn heard(&self) -> Vec<i16> {
        let files = std::fs::read_dir(&self.folder).unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        let Some(last) = files.filter(|path| path.to_string_lossy().ends_with("-dec.wav")).max() else {
            return Vec::new();
        };
        let bytes = std::fs::read(last).unwrap();
        let samples = bytes.get(WAV_HEAD..).unwrap_or_default();
        let samples: Vec<i16> = samples.as_chunks().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
        let (rate_hz, channels, ..) = spoken(self.codec);
        let one: Vec<i16> = samples.chunks_exact(channels.into()).map(|of_all| of_all[0]).collect();
        to_16k(&one, rate_hz)
    }

    /// It dies without a word.
    pub fn die(mut self) {
        self.program.kill();
    }

    /// Waits until it has heard this.
    pub fn wait_for_speech(&mut self, said: &[i16], what: &str) {
        self.wait_for(what, |phone| heard_in(said, &phone.heard()).is_heard());
    }

    /// Waits until something is so; fails the test if it never is.
    pub fn wait_for(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let deadline = now() + PATIENCE;
        while !is_so(self) {
            self.program.check();
            assert!(now() < deadline, "the phone waits for {what}; it says: {}", self.program.said());
            // Nothing tells when a stranger writes a file.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether it thinks that it is in a call.
    pub fn is_in_call(&mut self) -> bool {
        !self.order("listcalls", "").contains("calls (0)")
    }

    /// One command to its control port, as a netstring of JSON, and the answer to it. What happens is told there, too.
    fn order(&mut self, command: &str, argument: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.control)).unwrap();
        let text = format!("{{\"command\":\"{command}\",\"params\":\"{argument}\",\"token\":\"t\"}}");
        write!(stream, "{}:{text},", text.len()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = BufReader::new(stream);
        loop {
            let mut length = Vec::new();
            stream.read_until(b':', &mut length).unwrap();
            let length = String::from_utf8_lossy(&length).trim_start_matches(',').trim_end_matches(':').parse();
            let mut said = vec![0; length.expect("a netstring")];
            stream.read_exact(&mut said).unwrap();
            let said = String::from_utf8_lossy(&said).into_owned();
            if said.contains("\"token\"") {
                return said;
            }
        }
    }
}

impl Line {
    fn uri(&self, user: &str) -> String {
        format!("sip:{user}@127.0.0.1:{};transport={}", self.registrar, self.transport)
    }
}

/// Rate, channels, module and name of a codec in baresip.
fn spoken(codec: Codec) -> (u32, u16, &'static str, &'static str) {
    match codec {
        Codec::Pcmu => (8_000, 1, "g711.so", "pcmu"),
        Codec::Pcma => (8_000, 1, "g711.so", "pcma"),
        Codec::G722 => (16_000, 1, "g722.so", "g722"),
        Codec::Opus => (48_000, 2, "opus.so", "opus/48000/2"),
        Codec::L16 => panic!("no phone of ours speaks it"),
    }
}

/// A file at this rate, the same in each channel, of samples at 16 kHz: neighbours averaged, or repeated.
fn wav(samples: &[i16], rate_hz: u32, channels: u16) -> Vec<u8> {
    let samples: Vec<i16> = match rate_hz {
        8_000 => samples.as_chunks().0.iter().map(|[a, b]| ((i32::from(*a) + i32::from(*b)) / 2) as i16).collect(),
        16_000 => samples.to_vec(),
        _ => between(samples, 3),
    };
    let each = |sample: &i16| std::iter::repeat_n(sample.to_le_bytes(), channels.into()).flatten();
    let bytes: Vec<u8> = samples.iter().flat_map(each).collect();
    let (length, frame_bytes) = (u32::try_from(bytes.len()).unwrap(), 2 * channels);
    let mut file = b"RIFF".to_vec();
    file.extend((36 + length).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    file.extend(channels.to_le_bytes());
    file.extend(rate_hz.to_le_bytes());
    file.extend((u32::from(frame_bytes) * rate_hz).to_le_bytes());
    file.extend(frame_bytes.to_le_bytes());
    file.extend(b"\x10\0data");
    file.extend(length.to_le_bytes());
    file.extend(bytes);
    file
}

/// So many samples for each, on straight lines between them.
fn between(samples: &[i16], times: i32) -> Vec<i16> {
    let pairs = samples.windows(2);
    pairs
        .flat_map(|pair| {
            let (from, to) = (i32::from(pair[0]), i32::from(pair[1]));
            (0..times).map(move |at| (from + (to - from) * at / times) as i16)
        })
        .collect()
}

fn to_16k(samples: &[i16], rate_hz: u32) -> Vec<i16> {
    match rate_hz {
        8_000 => between(samples, 2),
        16_000 => samples.to_vec(),
        _ => samples
            .as_chunks()
            .0
            .iter()
            .map(|[a, b, c]| ((i32::from(*a) + i32::from(*b) + i32::from(*c)) / 3) as i16)
            .collect(),
    }
}

/// Longer than any test: at the end of its file it hangs up.
const SAYS_S: usize = 240;
/// Where Debian has them.
const MODULES: &str = "/usr/lib/baresip/modules";
/// RIFF, its format and the head of its samples.
const WAV_HEAD: usize = 44;
