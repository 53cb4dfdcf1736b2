//! What a stop and a start mean for ends and moments. A lease is never longer after a restart than before it, and
//! never shorter because a clock was set. Used by `evolve` of `Started`, so that a second replay gives the same.

use std::sync::Arc;

use crate::domain::event::{Alarm, Event, Recorded, Stream};
use crate::domain::floor::BurstEnd;
use crate::domain::incident::Actor;
use crate::domain::time::{MonoTime, Now};

use super::control::without_call;
use super::partings::Parting;
use super::state::{Emergency, Incident, Invitation, Link, Member, Patch, Position, Proposal, State, Talking, Term};

/// Every time that stands in a state.
enum Moment<'a> {
    Past(&'a mut Now),
    End(&'a mut Term),
}

impl State {
    /// Moves a replayed state onto this start's clocks. An end keeps the smaller of what was left when the journal
    /// last spoke and what is left by the wall clock; a wall clock that runs behind leaves the former.
    pub fn rebase(&mut self, now: Now) {
        let known = self.known;
        self.each_moment(&mut |moment| match moment {
            Moment::Past(past) => {
                let by_wall = now.wall.ms_after(past.wall);
                let ago_ms = by_wall.max(known.mono.ms_since(past.mono));
                past.mono = MonoTime::from_millis(now.mono.as_millis().saturating_sub(ago_ms));
            }
            Moment::End(term) => {
                let left_ms = term.end.ms_since(known.mono).min(term.ends.ms_after(now.wall));
                *term = Term::after(left_ms, now);
            }
        });
        self.known = now;
    }

    /// The wall clock was set: what people read moves with it, what decides does not.
    pub fn step_wall(&mut self, by_ms: i64) {
        self.each_moment(&mut |moment| match moment {
            Moment::Past(past) => past.wall.0 = past.wall.0.saturating_add(by_ms),
            Moment::End(term) => term.ends.0 = term.ends.0.saturating_add(by_ms),
        });
    }

    /// What a start records: that it happened, and an end for every burst that the stop left open.
    pub fn restarted(&self, version: &str, now: Now) -> Vec<Recorded> {
        let recorded = |stream, event| Recorded { stream, actor: Actor::Recovery, at: now, event };
        let started = Event::Started { version: version.to_owned(), epoch: self.epoch + 1 };
        let mut records = vec![recorded(Stream::Node, started)];
        // A start reads the journal and writes to it: what failed before is known again if it still does.
        for alarm in self.alarms.iter().filter(|alarm| matches!(alarm, Alarm::JournalFailing { .. })) {
            records.push(recorded(Stream::Node, Event::AlarmCleared { alarm: alarm.clone() }));
        }
        // Calls end with their daemon, and nobody dials again by itself.
        for line in self.configuration.gateways.keys() {
            records.extend(without_call(self, line).into_iter().map(|(stream, event)| recorded(stream, event)));
        }
        for (burst, by_patch) in &self.talking {
            for (patch, talking) in by_patch {
                let event = Event::Talked {
                    incident: talking.incident,
                    patch: *patch,
                    burst: *burst,
                    talkgroup: talking.talkgroup.clone(),
                    gateway: talking.gateway.clone(),
                    talker: talking.talker,
                    emergency: talking.emergency,
                    duration_ms: u32::try_from(self.known.mono.ms_since(talking.at.mono)).unwrap_or(u32::MAX),
                    end: BurstEnd::Restart,
                    heard_by: Vec::new(),
                };
                records.push(recorded(Stream::Incident(talking.incident), event));
            }
        }
        records
    }

    /// Visits every time; a new field of the state does not compile until it is named here.
    fn each_moment(&mut self, visit: &mut dyn FnMut(Moment<'_>)) {
        let State {
            configuration: _,
            proposals,
            incidents,
            emergencies,
            cuts: _,
            positions,
            alarms: _,
            losses_confirmed: _,
            talking,
            partings,
            epoch: _,
            known: _,
        } = self;
        for Proposal { configuration: _, what: _, at } in proposals.values_mut() {
            visit(Moment::Past(at));
        }
        for incident in incidents.values_mut() {
            each_incident_moment(Arc::make_mut(incident), visit);
        }
        for emergency in emergencies.values_mut() {
            let Emergency { agency: _, talkgroup: _, talker: _, place: _, by: _, at, acknowledged } = emergency;
            visit(Moment::Past(at));
            acknowledged.values_mut().for_each(|at| visit(Moment::Past(at)));
        }
        for position in positions.values_mut() {
            match position {
                Position::Staffed { since } | Position::Lost { since } => visit(Moment::Past(since)),
            }
        }
        for talking in talking.values_mut().flat_map(|by_patch| by_patch.values_mut()) {
            let Talking { incident: _, talkgroup: _, gateway: _, talker: _, emergency: _, at } = talking;
            visit(Moment::Past(at));
        }
        for Parting { at, cause: _ } in
            partings.values_mut().flat_map(|of_agency| Arc::make_mut(of_agency).values_mut())
        {
            visit(Moment::Past(at));
        }
    }
}

fn each_incident_moment(incident: &mut Incident, visit: &mut dyn FnMut(Moment<'_>)) {
    let Incident {
        title: _,
        kind: _,
        exercise: _,
        host: _,
        offered: _,
        template: _,
        lease_s: _,
        opened,
        first: _,
        members,
        invitations,
        patches,
        closing,
    } = incident;
    visit(Moment::Past(opened));
    for Member { since, by: _, hand_over } in members.values_mut() {
        visit(Moment::Past(since));
        if let Some(hand_over) = hand_over {
            visit(Moment::Past(&mut hand_over.at));
        }
    }
    for Invitation { by: _, at, note: _, proposed: _, escalated: _ } in invitations.values_mut() {
        visit(Moment::Past(at));
    }
    for Patch { name: _, floor: _, parties: _, links, talked } in patches.values_mut() {
        talked.values_mut().for_each(|at| visit(Moment::Past(at)));
        links.values_mut().for_each(|link| each_link_moment(link, visit));
    }
    if let Some(closing) = closing {
        visit(Moment::End(closing));
    }
}

fn each_link_moment(link: &mut Link, visit: &mut dyn FnMut(Moment<'_>)) {
    let Link {
        talkgroup: _,
        owner: _,
        by: _,
        since,
        grant: _,
        host_direction: _,
        gain: _,
        priority: _,
        lease,
        leased,
        hard_end,
        used,
        warned_s: _,
        overtime,
        idle_warned: _,
        confirmed_receive: _,
        confirmed_transmit: _,
        isolated,
    } = link;
    visit(Moment::Past(since));
    visit(Moment::Past(leased));
    visit(Moment::End(lease));
    visit(Moment::End(hard_end));
    if let Some(used) = used {
        visit(Moment::Past(used));
    }
    if let Some(overtime) = overtime {
        visit(Moment::Past(&mut overtime.since));
    }
    if let Some(isolated) = isolated {
        visit(Moment::End(&mut isolated.until));
    }
}
