//! The language of the scenarios: one line, one thing that somebody does or expects, as a dispatcher would say it.
//!
//! ```text
//! agencies 3                               police, fire, ems: each with pd-1, fd-1, ems-1, a radio and a desk
//! radio pd-1 b [on vhf-5] [slow 400] [signalled] [tail 120]
//! police opens "Warehouse" [from warehouse-fire]      police invites fire      fire accepts fd-1 [for 20 m] [ending 30 m] [again]
//! fire declines "no crew"    police links pd-2    police unlinks pd-1    fire listens fd-1    fire admits ems on fd-1
//! police extends 1 h         police offers host to fire    fire takes host    fire leaves    police removes fire    police closes [now]
//! police cuts pd-1           police restores pd-1          police declares emergency on pd-1    fire acknowledges    police clears
//! pd-1 talks 2 s             pd-1-desk keys                pd-1 lets go       wait 2 s           at +4h
//! journal fails | is late 300 | works      process dies     process starts     shard 0 panics    shard 0 stalls 2 s    clock steps 1 h
//! in "Search"                              what follows is about that incident
//! expect fd-1 heard pd-1     expect fd-1 heard nothing     expect refused is_cut     expect not recorded
//! ```

use super::words::{duration_ms, number, seconds, words};
use std::collections::BTreeSet;
use std::fmt::Write;

use crosspatch::dispatch::control::{Answer, RequestId};
use crosspatch::domain::audio::Gain;
use crosspatch::domain::command::Command;
use crosspatch::domain::event::{Event, HeardBy, Recorded};
use crosspatch::domain::floor::Priority;
use crosspatch::domain::id::{IncidentId, LinkId, RfChannelId, TalkgroupId};
use crosspatch::domain::incident::{CutTarget, Direction, LinkRequest};
use crosspatch::domain::port::{GrantSign, PortRole, ReceiveKeying, ShardId, TransmitKeying};
use crosspatch::domain::talker::Alias;
use crosspatch::domain::time::{MonoTime, WallTime};

use super::dispatchers::{dispatcher, plain_request};
use super::field::Ear;
use super::geography::{self, AGENCIES, Geography, plain_port};
use super::journal::Mood;
use super::world::World;

/// Runs a script; the transcript, or the line that failed and why.
pub fn run(script: &str) -> Result<String, String> {
    let mut stage = Stage {
        world: None,
        geography: None,
        out: String::new(),
        incident: None,
        since: MonoTime(0),
        last: None,
        told: 0,
    };
    for (number, line) in script.lines().enumerate() {
        let words = words(line);
        if words.is_empty() {
            continue;
        }
        writeln!(stage.out, "> {}", line.trim()).map_err(|fault| fault.to_string())?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        stage.perform(&words).map_err(|why| format!("line {}: {}: {why}\n{}", number + 1, line.trim(), stage.out))?;
        stage.tell();
    }
    let world = stage.world.ok_or("an empty script")?;
    if let Some(violation) = world.findings.first.values().next() {
        return Err(format!("{:?} broken: {}\n{}", violation.law, violation.what, stage.out));
    }
    Ok(stage.out)
}

struct Stage {
    geography: Option<Geography>,
    world: Option<World>,
    out: String,
    incident: Option<IncidentId>,
    /// What was heard counts from here: the last time somebody keyed.
    since: MonoTime,
    last: Option<RequestId>,
    /// Events already told.
    told: usize,
}

impl Stage {
    fn perform(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["agencies", count] => {
                self.geography = Some(Geography::plain(number(count)? as usize));
                Ok(())
            }
            ["radio", talkgroup, suffix, rest @ ..] => self.add_radio(talkgroup, suffix, rest),
            ["wait", count, unit] => self.pass(duration_ms(count, unit)?),
            ["at", ahead] => self.leap(ahead.strip_prefix('+').ok_or("at +4h, +10m or +30s")?),
            ["in", title] => self.choose(title),
            ["expect", rest @ ..] => self.expect(rest),
            ["journal", rest @ ..] => self.journal(rest),
            ["process", "dies"] => self.with(|world| {
                world.kill();
                Ok(())
            }),
            ["process", "starts"] => self.with(|world| {
                world.start();
                Ok(())
            }),
            ["shard", shard, rest @ ..] => self.shard(number(shard)? as u8, rest),
            ["clock", "steps", by, unit] => {
                let back = by.starts_with('-');
                let ms = duration_ms(by.trim_start_matches('-'), unit)? as i64;
                self.with(|world| {
                    world.step_wall(if back { -ms } else { ms });
                    Ok(())
                })
            }
            [who, rest @ ..] if AGENCIES.iter().any(|(name, _)| name == who) => self.command(who, rest),
            [who, "talks", count, unit] => {
                let ms = duration_ms(count, unit)?;
                self.key(who, (ms / 20) as u16)?;
                self.pass(ms + 1_000)
            }
            [who, "keys"] => self.key(who, u16::MAX),
            [who, "keys", "emergency"] => self.key_as(who, u16::MAX, true),
            [who, "lets", "go"] => {
                let speaker = self.speaker(who)?;
                self.with(|world| {
                    world.field.let_go(speaker);
                    Ok(())
                })?;
                self.pass(1_000)
            }
            _ => Err("nobody understands this line".into()),
        }
    }

    /// The world begins with the first thing that happens in it.
    fn world(&mut self) -> Result<&mut World, String> {
        if self.world.is_none() {
            let geography = self.geography.take().ok_or("say `agencies 3` first")?;
            let mut world = World::plain(geography);
            (0..25).for_each(|_| world.beat());
            self.told = world.transcript.len();
            self.world = Some(world);
        }
        self.world.as_mut().ok_or_else(|| "no world".into())
    }

    fn with(&mut self, act: impl FnOnce(&mut World) -> Result<(), String>) -> Result<(), String> {
        act(self.world()?)?;
        self.pass(100)
    }

    fn pass(&mut self, ms: u64) -> Result<(), String> {
        let world = self.world()?;
        (0..ms / 20).for_each(|_| world.beat());
        Ok(())
    }

    fn leap(&mut self, ahead: &str) -> Result<(), String> {
        let digits = ahead.trim_end_matches(|c: char| c.is_alphabetic());
        let ms = duration_ms(digits, &ahead[digits.len()..])?;
        self.world()?.leap(ms);
        self.pass(100)
    }

    fn add_radio(&mut self, talkgroup: &str, suffix: &str, mut rest: &[&str]) -> Result<(), String> {
        let geography = self.geography.as_mut().ok_or("radios are added before anything happens")?;
        let mut port = plain_port(PortRole::Radio);
        while !rest.is_empty() {
            rest = match rest {
                ["on", channel, more @ ..] => {
                    port.rf_channel = Some(RfChannelId::new(channel).map_err(|bad| bad.to_string())?);
                    more
                }
                ["slow", ms, more @ ..] => {
                    port.transmit.grant = GrantSign::AfterMs(number(ms)? as u16);
                    more
                }
                ["signalled", more @ ..] => {
                    port.transmit.grant = GrantSign::Signalled;
                    port.transmit.keying = TransmitKeying::Ext;
                    port.receive.keying = ReceiveKeying::Ext;
                    more
                }
                ["tail", ms, more @ ..] => {
                    port.receive.tail_ms = number(ms)? as u16;
                    more
                }
                ["limit", ms, more @ ..] => {
                    port.receive.talk_limit_ms = number(ms)? as u32;
                    more
                }
                _ => return Err("on CHANNEL, slow MS, signalled, tail MS, limit MS".into()),
            };
        }
        geography.add_gateway(talkgroup, suffix, port);
        Ok(())
    }

    fn choose(&mut self, title: &str) -> Result<(), String> {
        let world = self.world()?;
        let found = world.published.incidents.iter().find(|(_, told)| told.title == title).map(|(id, _)| *id);
        self.incident = Some(found.ok_or("no such incident is open")?);
        Ok(())
    }

    fn journal(&mut self, rest: &[&str]) -> Result<(), String> {
        let mood = match rest {
            ["fails"] => Mood::Failing(MonoTime(u64::MAX)),
            ["works"] => Mood::Failing(MonoTime(0)),
            ["is", "late", ms] => Mood::Late(number(ms)?),
            _ => return Err("journal fails, works, is late MS".into()),
        };
        self.with(|world| {
            world.journal.mood = mood;
            Ok(())
        })
    }

    fn shard(&mut self, shard: u8, rest: &[&str]) -> Result<(), String> {
        match rest {
            ["panics"] => self.with(|world| {
                world.rebuild_shard(ShardId(shard));
                Ok(())
            }),
            ["stalls", count, unit] => {
                let ms = duration_ms(count, unit)?;
                let world = self.world()?;
                let until = world.now.mono.plus_ms(ms);
                world.bursts.disturb(world.now.mono);
                let daemon = world.daemon.as_mut().ok_or("nothing runs")?;
                daemon.seats.get_mut(usize::from(shard)).ok_or("no such shard")?.stuck_until = until;
                Ok(())
            }
            _ => Err("shard N panics, stalls 2 s".into()),
        }
    }

    fn key(&mut self, who: &str, frames: u16) -> Result<(), String> {
        self.key_as(who, frames, false)
    }

    fn key_as(&mut self, who: &str, frames: u16, emergency: bool) -> Result<(), String> {
        let speaker = self.speaker(who)?;
        let world = self.world()?;
        let now = world.now.mono;
        world.field.press(speaker, frames, emergency, now);
        self.since = now;
        Ok(())
    }

    fn speaker(&mut self, who: &str) -> Result<usize, String> {
        let ear = self.ear(who)?;
        self.world()?.field.speaker_at(ear).ok_or_else(|| format!("nobody speaks at {who}"))
    }

    /// A gateway, or the first radio of a talkgroup.
    fn ear(&mut self, name: &str) -> Result<Ear, String> {
        let field = &self.world()?.field;
        field.ear(name).or_else(|| field.ear(&format!("{name}-a"))).ok_or_else(|| format!("there is no {name}"))
    }

    fn command(&mut self, who: &str, words: &[&str]) -> Result<(), String> {
        let command = self.meaning(who, words)?;
        let opens = matches!(command, Command::OpenIncident { .. });
        let world = self.world()?;
        let request = world.ask(dispatcher(&geography::agency(who)), command);
        let limit = world.now.mono.plus_ms(1_500);
        while !world.told.contains_key(&request) && world.now.mono < limit {
            world.beat();
        }
        if opens {
            (0..5).for_each(|_| world.beat());
            let opened = world.transcript.iter().rev().find_map(|record| match &record.event {
                Event::IncidentOpened { incident, .. } => Some(*incident),
                _ => None,
            });
            self.incident = opened.or(self.incident);
        }
        self.last = Some(request);
        self.show_answer(request)
    }

    fn show_answer(&mut self, request: RequestId) -> Result<(), String> {
        let told = self.world()?.told.get(&request).cloned();
        let text = match told.map(|told| told.outcome) {
            None => "  not answered".to_owned(),
            Some(Ok(Answer::Done { .. })) => "  done".to_owned(),
            Some(Ok(Answer::EffectiveNotRecorded { cause, .. })) => format!("  effective, not recorded: {cause}"),
            Some(Err(refusal)) => format!("  refused, {}: {}", refusal.code(), self.named(&refusal.to_string())),
        };
        writeln!(self.out, "{text}").map_err(|fault| fault.to_string())
    }

    /// Ids change with every change of a core's draws; names do not.
    fn named(&self, text: &str) -> String {
        let Some(world) = &self.world else { return text.to_owned() };
        let known = world.transcript.iter().filter_map(|record| match &record.event {
            Event::IncidentOpened { incident, title, .. } => Some((incident.to_string(), format!("{title:?}"))),
            _ => None,
        });
        known.fold(text.to_owned(), |text, (id, name)| text.replace(&id, &name))
    }

    fn meaning(&mut self, who: &str, words: &[&str]) -> Result<Command, String> {
        let one = |name: &str| BTreeSet::from([geography::agency(name)]);
        Ok(match words {
            ["opens", rest @ ..] => opening(rest)?,
            ["invites", agency] => Command::Invite {
                incident: self.incident()?,
                agency: geography::agency(agency),
                note: String::new(),
                links: Vec::new(),
            },
            ["accepts"] => Command::Accept { incident: self.incident()?, links: Vec::new() },
            ["accepts", talkgroup, rest @ ..] => {
                Command::Accept { incident: self.incident()?, links: vec![request(talkgroup, rest)?] }
            }
            ["declines", reason] => Command::Decline { incident: self.incident()?, reason: (*reason).into() },
            ["links", talkgroup, rest @ ..] => {
                Command::Link { incident: self.incident()?, request: request(talkgroup, rest)? }
            }
            ["unlinks", talkgroup] => Command::Unlink { link: self.link(talkgroup)? },
            ["listens", talkgroup] => Command::Adjust {
                link: self.link(talkgroup)?,
                direction: Some(Direction::Listen),
                gain: None,
                priority: None,
            },
            ["ranks", talkgroup, rank] => Command::Adjust {
                link: self.link(talkgroup)?,
                direction: None,
                gain: None,
                priority: Some(Priority(number(rank)? as u8)),
            },
            ["admits", agency, "on", talkgroup] => Command::Admit {
                link: self.link(talkgroup)?,
                agencies: one(agency),
                classes: BTreeSet::new(),
                not_secure_reason: None,
            },
            ["extends", count, unit] => {
                let by_s = (duration_ms(count, unit)? / 1000) as u32;
                Command::Extend { incident: self.incident()?, link: None, by_s }
            }
            ["offers", "host", "to", agency] => {
                Command::OfferHost { incident: self.incident()?, to: geography::agency(agency) }
            }
            ["takes", "host"] => Command::TakeHost { incident: self.incident()? },
            ["leaves"] => Command::Leave { incident: self.incident()? },
            ["removes", agency] => Command::Remove { incident: self.incident()?, agency: geography::agency(agency) },
            ["closes"] => Command::Close { incident: self.incident()?, force: false },
            ["closes", "now"] => Command::Close { incident: self.incident()?, force: true },
            ["cuts", target] => Command::Cut { target: cut_target(who, target) },
            ["restores", target] => Command::Restore { target: cut_target(who, target) },
            ["declares", "emergency", "on", talkgroup] => Command::DeclareEmergency {
                talkgroup: geography::talkgroup(talkgroup),
                talker: Alias::default(),
                place: String::new(),
            },
            ["acknowledges"] => Command::AcknowledgeEmergency { emergency: self.emergency()? },
            ["clears"] => Command::ClearEmergency { emergency: self.emergency()?, reason: "safe".into() },
            ["revokes"] => {
                Command::Revoke { incident: self.incident()?, name: geography::patch_name("main"), burst: None }
            }
            _ => return Err("no dispatcher can do that".into()),
        })
    }

    fn incident(&mut self) -> Result<IncidentId, String> {
        self.incident.ok_or_else(|| "no incident has been opened".into())
    }

    fn link(&mut self, talkgroup: &str) -> Result<LinkId, String> {
        let (incident, talkgroup) = (self.incident()?, geography::talkgroup(talkgroup));
        let links = &self.world()?.published.links;
        let found = links.iter().find(|(_, link)| link.incident == incident && link.talkgroup == talkgroup);
        Ok(found.map_or(LinkId(0), |(id, _)| *id))
    }

    fn emergency(&mut self) -> Result<crosspatch::domain::id::EmergencyId, String> {
        self.world()?.published.emergencies.keys().next().copied().ok_or_else(|| "no emergency is open".into())
    }

    fn expect(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["refused", code] => match self.outcome()? {
                Err(refusal) if refusal.code() == *code => Ok(()),
                other => Err(format!("the answer was {other:?}")),
            },
            ["done"] => match self.outcome()? {
                Ok(Answer::Done { .. }) => Ok(()),
                other => Err(format!("the answer was {other:?}")),
            },
            ["not", "recorded"] => match self.outcome()? {
                Ok(Answer::EffectiveNotRecorded { .. }) => Ok(()),
                other => Err(format!("the answer was {other:?}")),
            },
            [who, "heard", "nothing"] => {
                let heard = self.heard_ms(who, None)?;
                if heard == 0 { Ok(()) } else { Err(format!("{who} heard {heard} ms")) }
            }
            [who, "heard", talker] => match self.heard_ms(who, Some(talker))? {
                0 => Err(format!("{who} did not hear {talker}")),
                ms => self.show(&format!("  {who} heard {talker} for {}", seconds(ms))),
            },
            [who, "heard", "all", "of", talker] => {
                let ms = self.heard_ms(who, Some(talker))?;
                let speaker = self.speaker(talker)?;
                let said = u64::from(self.world()?.field.speakers[speaker].said) * 20;
                if ms < said {
                    return Err(format!("{who} heard {ms} of {said} ms"));
                }
                self.show(&format!("  {who} heard {talker} for {}", seconds(ms)))
            }
            [who, "did", "not", "hear", talker] => match self.heard_ms(who, Some(talker))? {
                0 => Ok(()),
                ms => Err(format!("{who} heard {talker} for {ms} ms")),
            },
            ["open", "emergency"] => self.emergency().map(|_| ()),
            _ => Err("expect what?".into()),
        }
    }

    fn show(&mut self, line: &str) -> Result<(), String> {
        writeln!(self.out, "{line}").map_err(|fault| fault.to_string())
    }

    fn outcome(&mut self) -> Result<Result<Answer, crosspatch::domain::refusal::Refusal>, String> {
        let request = self.last.ok_or("nobody has asked for anything")?;
        let told = self.world()?.told.get(&request).ok_or("no answer came")?;
        Ok(told.outcome.clone())
    }

    /// What a device heard of somebody since the last key.
    fn heard_ms(&mut self, who: &str, talker: Option<&str>) -> Result<u64, String> {
        let ear = self.ear(who)?;
        let voice = match talker {
            Some(talker) => Some(self.speaker(talker)? as u8),
            None => None,
        };
        let since = self.since;
        let world = self.world()?;
        let over = |voice: u8| world.field.overs.iter().filter(move |((of, _), _)| *of == voice);
        let fresh = |voice: u8, number: u16| {
            over(voice).any(|((_, of), over)| *of == number && (over.began >= since || !over.done))
        };
        let heard = world.ears.heard.iter().filter(|((at, of, number), heard)| {
            *at == ear && voice.is_none_or(|voice| voice == *of) && fresh(*of, *number) && heard.last_at >= since
        });
        Ok(heard.map(|(_, heard)| 20 * (heard.frames.len() as u64 + u64::from(heard.tones))).sum())
    }

    /// What has been published since the last line.
    fn tell(&mut self) {
        let Some(world) = &self.world else { return };
        for record in &world.transcript[self.told..] {
            if let Some(text) = sentence(record) {
                let ms = world.now.mono.ms_since(record.at.mono).min(world.beats * 20 + 360_000_000);
                let at = world.now.mono.as_millis().saturating_sub(ms).saturating_sub(3_600_000);
                let clock = WallTime(at as i64).to_string();
                self.out.push_str(&format!("  [{}] {text}\n", &clock[11..21]));
            }
        }
        self.told = world.transcript.len();
    }
}

/// An event as a dispatcher reads it; what only machines need is left out.
pub(super) fn sentence(record: &Recorded) -> Option<String> {
    Some(match &record.event {
        Event::IncidentOpened { title, host, .. } => format!("{host} opened {title:?}"),
        Event::Invited { agency, .. } => format!("{agency} is invited"),
        Event::InvitationEscalated { agency, contact_24h, .. } => {
            format!("{agency} does not answer: call {contact_24h}")
        }
        Event::Accepted { agency, by: None, .. } => format!("{agency} accepted"),
        Event::Accepted { agency, by: Some(paper), .. } => format!("{agency} accepted by {paper}"),
        Event::Declined { agency, reason, .. } => format!("{agency} declined: {reason}"),
        Event::Linked { terms, .. } => {
            let lease = seconds(terms.lease.remaining_ms);
            let present: Vec<_> = terms.grant.audience.agencies.iter().map(|agency| agency.as_str()).collect();
            format!("{} linked for {lease}, heard by {}", terms.talkgroup, present.join(", "))
        }
        Event::Adjusted { direction, .. } => format!("a link is adjusted: {direction:?}"),
        Event::Admitted { agencies, .. } => {
            let agencies: Vec<_> = agencies.iter().map(|agency| agency.as_str()).collect();
            format!("{} admitted", agencies.join(", "))
        }
        Event::Extended { lease, .. } => format!("a link is extended to {}", seconds(lease.remaining_ms)),
        Event::ExpiryWarned { left_s, .. } => format!("a link ends in {left_s} s"),
        Event::OvertimeBegan { .. } => "a link runs in overtime".into(),
        Event::OvertimeRuns { minutes, .. } => format!("overtime: minute {minutes}"),
        Event::IdleWarned { idle_s, .. } => format!("a link is idle for {idle_s} s"),
        Event::Unlinked { cause, .. } => format!("a link ended: {cause:?}"),
        Event::HostOffered { to, .. } => format!("the host role is offered to {to}"),
        Event::HostTaken { host, .. } => format!("{host} is host"),
        Event::Left { agency, .. } => format!("{agency} left"),
        Event::Removed { agency, .. } => format!("{agency} was removed"),
        Event::CloseWithdrawn { .. } => "the incident stays open: an emergency came in between".to_owned(),
        Event::CloseWarned { in_s, .. } => format!("the incident closes in {in_s} s"),
        Event::Closed { .. } => "the incident is closed".into(),
        Event::FloorRevoked { .. } => "the floor is revoked".into(),
        Event::Talked { gateway, duration_ms, end, heard_by, emergency, .. } => {
            let sign = if *emergency { " in an emergency" } else { "" };
            let heard: Vec<_> = heard_by.iter().map(heard_sentence).collect();
            let heard = if heard.is_empty() { "nobody".into() } else { heard.join(", ") };
            format!("{gateway} talked for {}{sign} ({end:?}), heard by {heard}", seconds(u64::from(*duration_ms)))
        }
        Event::Isolated { .. } => "a link is isolated".into(),
        Event::EmergencyDeclared { talkgroup, .. } => format!("EMERGENCY on {talkgroup}"),
        Event::EmergencyAcknowledged { agency, .. } => format!("{agency} acknowledged the emergency"),
        Event::EmergencyCleared { reason, .. } => format!("the emergency is cleared: {reason}"),
        Event::CutMade { agency, target } => format!("RED BUTTON of {agency}: {}", target_name(target)),
        Event::CutLifted { target, .. } => format!("{} is restored", target_name(target)),
        Event::Started { .. } => "the daemon started".into(),
        Event::ClockStepped { by_ms } => format!("the clock stepped by {} s", by_ms / 1000),
        Event::AlarmRaised { alarm } => format!("alarm: {alarm:?}"),
        Event::AlarmCleared { alarm } => format!("alarm over: {alarm:?}"),
        _ => return None,
    })
}

/// Opening an incident, in its three forms.
fn opening(words: &[&str]) -> Result<Command, String> {
    let open = |template, title| Command::OpenIncident {
        template,
        title,
        kind: None,
        exercise: false,
        invite: Vec::new(),
        links: Vec::new(),
    };
    Ok(match words {
        [title] => open(None, Some((*title).into())),
        [title, "from", template] => open(Some(geography::template(template)), Some((*title).into())),
        ["exercise", title] => match open(None, Some((*title).into())) {
            Command::OpenIncident { template, title, kind, invite, links, .. } => {
                Command::OpenIncident { template, title, kind, exercise: true, invite, links }
            }
            other => other,
        },
        _ => return Err("an incident is opened by a title, from a template, or as an exercise".into()),
    })
}

fn heard_sentence(heard: &HeardBy) -> String {
    match heard.missed {
        Some(cause) => {
            format!(
                "{} {} (missed {}: {cause:?})",
                heard.gateway,
                seconds(heard.heard_ms.into()),
                seconds(heard.missed_ms.into())
            )
        }
        None => format!("{} {}", heard.gateway, seconds(heard.heard_ms.into())),
    }
}

fn target_name(target: &CutTarget) -> String {
    match target {
        CutTarget::Agency(agency) => agency.to_string(),
        CutTarget::Talkgroup(talkgroup) => talkgroup.to_string(),
    }
}

pub(super) fn cut_target(who: &str, target: &str) -> CutTarget {
    if target == who || AGENCIES.iter().any(|(name, _)| *name == target) {
        CutTarget::Agency(geography::agency(target))
    } else {
        CutTarget::Talkgroup(geography::talkgroup(target))
    }
}

fn request(talkgroup: &str, mut rest: &[&str]) -> Result<LinkRequest, String> {
    let id: TalkgroupId = geography::talkgroup(talkgroup);
    let mut request = plain_request(&id);
    while !rest.is_empty() {
        rest = match rest {
            ["for", count, unit, more @ ..] => {
                request.lease_s = Some((duration_ms(count, unit)? / 1000) as u32);
                more
            }
            ["ending", count, unit, more @ ..] => {
                request.hard_end_s = Some((duration_ms(count, unit)? / 1000) as u32);
                more
            }
            ["again", more @ ..] => {
                request.shared_incidents = true;
                more
            }
            ["listening", more @ ..] => {
                request.direction = Direction::Listen;
                more
            }
            ["louder", more @ ..] => {
                request.gain = Gain(300);
                more
            }
            _ => return Err("for 20 m, ending 30 m, again, listening, louder".into()),
        };
    }
    Ok(request)
}
