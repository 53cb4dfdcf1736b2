//! Tables: homing, slices, meet and diff, each against the naive rule over generated tables.

use crosspatch::dispatch::routes::{Homes, compile, diff, meet, narrows, slice};
use crosspatch::domain::command::Command;
use crosspatch::domain::id::*;
use crosspatch::domain::order::{LegSpec, Order, RouteTable};
use crosspatch::domain::port::ShardId;
use crosspatch::domain::random::Entropy;

use crate::rig::*;

fn linked() -> Desk {
    let mut desk = Desk::new(configuration());
    let incident = desk.open("police", &["pd-1", "pd-2"]);
    desk.join("police", incident, "fire", &["fd-1", "fd-2"]);
    desk.join("police", incident, "ems", &["em-1"]);
    desk
}

#[test]
fn of_gateway_and_talkgroup_the_shorter_talk_limit_counts() {
    for (talkgroup_ms, gateway_ms, counts_ms) in [(20_000, 60_000, 20_000), (60_000, 20_000, 20_000)] {
        let mut configured = configuration();
        configured.talkgroups.get_mut(&talkgroup("em-1")).unwrap().talk_limit_ms = talkgroup_ms;
        configured.gateways.get_mut(&gateway("gw-em-1")).unwrap().port.receive.talk_limit_ms = gateway_ms;
        let table = compile(&Desk::new(configured).state, 2);
        let spec = table.ports.iter().find(|spec| spec.port == port("gw-em-1")).unwrap();
        assert_eq!(spec.receive.talk_limit_ms, counts_ms);
    }
}

/// What a shard has after these orders, done naively.
fn obey(table: &mut RouteTable, orders: &[Order]) {
    fn put<T, I: PartialEq>(list: &mut Vec<T>, item: T, id: impl Fn(&T) -> I) {
        list.retain(|other| id(other) != id(&item));
        list.push(item);
    }
    for order in orders {
        match order.clone() {
            Order::OpenPort(port) => put(&mut table.ports, port, |p| p.port),
            Order::ClosePort(port) => table.ports.retain(|p| p.port != port),
            Order::SetGroup(group) => put(&mut table.groups, group, |g| g.group),
            Order::DropGroup(group) => table.groups.retain(|g| g.group != group),
            Order::OpenPatch(patch) => put(&mut table.patches, patch, |p| p.patch),
            Order::ClosePatch(patch) => {
                table.patches.retain(|p| p.patch != patch);
                assert!(table.legs.iter().all(|leg| leg.patch != patch), "legs leave before their patch closes");
            }
            Order::Join(leg) => {
                assert!(table.patches.iter().any(|p| p.patch == leg.patch), "a leg joins a patch that is open");
                put(&mut table.legs, leg, |l| l.leg);
            }
            Order::Leave(leg) => table.legs.retain(|l| l.leg != leg),
            Order::Emergency { port, talker, open: true } => table.emergencies.push((port, talker)),
            Order::Emergency { port, talker, open: false } => table.emergencies.retain(|e| *e != (port, talker)),
            Order::Only(only) => *table = only,
            Order::Revoke { .. } | Order::Key { .. } | Order::Announce { .. } => {
                panic!("a table never leads to {order:?}")
            }
        }
    }
    table.ports.sort_by_key(|p| p.port);
    table.groups.sort_by_key(|g| g.group);
    table.patches.sort_by_key(|p| p.patch);
    table.legs.sort_by_key(|l| l.leg);
    table.emergencies.sort_unstable();
}

/// A table with parts left out, silenced or changed.
fn disturbed(table: &RouteTable, entropy: &mut Entropy) -> RouteTable {
    let mut other = table.clone();
    other.ports.retain(|_| entropy.percent(90));
    other.patches.retain(|_| entropy.percent(90));
    other.legs.retain(|leg| {
        entropy.percent(85)
            && other.patches.iter().any(|p| p.patch == leg.patch)
            && other.ports.iter().any(|p| p.port == leg.port)
    });
    for leg in &mut other.legs {
        leg.hears &= entropy.percent(80);
        leg.talks &= entropy.percent(80);
        leg.audience &= entropy.next_u64() | entropy.next_u64();
        if entropy.percent(10) {
            leg.gain.0 += 100;
        }
    }
    for port in &mut other.ports {
        if entropy.percent(5) {
            port.trim.0 += 100;
        }
        if entropy.percent(5) {
            port.peer = crosspatch::domain::port::PeerRule::Static(([127, 0, 0, 1], 9).into());
        }
    }
    if let Some(port) = other.ports.first().filter(|_| entropy.percent(30)) {
        other.emergencies.push((port.port, Default::default()));
    }
    other
}

fn leg_of(table: &RouteTable, leg: LegId) -> Option<&LegSpec> {
    table.legs.iter().find(|l| l.leg == leg)
}

/// Every way from a talker's port to a listener's port.
fn ways(table: &RouteTable) -> std::collections::BTreeSet<(PortId, PortId, PatchId)> {
    let open = |leg: &&LegSpec| table.ports.iter().any(|p| p.port == leg.port);
    let mut ways = std::collections::BTreeSet::new();
    for talker in table.legs.iter().filter(open) {
        for ear in table.legs.iter().filter(open) {
            if ear.patch == talker.patch && ear.port != talker.port && talker.talks && ear.hears && ear.meets(talker) {
                ways.insert((talker.port, ear.port, ear.patch));
            }
        }
    }
    ways
}

#[test]
fn the_meet_allows_exactly_what_both_tables_allow() {
    let table = compile(&linked().state, 2);
    let mut entropy = Entropy::new(7);
    for _ in 0..300 {
        let (a, b) = (disturbed(&table, &mut entropy), disturbed(&table, &mut entropy));
        let both = meet(&a, &b);
        let same_peer = |port: &PortId| {
            let peer = |t: &RouteTable| t.ports.iter().find(|p| p.port == *port).map(|p| p.peer.clone());
            peer(&a) == peer(&b)
        };
        let expected: std::collections::BTreeSet<_> = ways(&a)
            .intersection(&ways(&b))
            .filter(|(talker, ear, _)| same_peer(talker) && same_peer(ear))
            .copied()
            .collect();
        // An audience may be cut on either side, so the ways of the meet can be fewer than the common ways only if
        // neither table alone cuts them: they are equal.
        assert_eq!(ways(&both), expected);
        assert_eq!(meet(&both, &a), both, "meeting again takes nothing more");
        assert!(!narrows(&both, &both));
        assert_eq!(narrows(&a, &b), {
            let m = meet(&a, &b);
            m.ports != a.ports || m.legs != a.legs || m.patches != a.patches || m.groups != a.groups
        });
    }
}

#[test]
fn the_orders_of_a_difference_lead_from_one_table_to_the_other() {
    let table = compile(&linked().state, 2);
    let mut entropy = Entropy::new(8);
    for _ in 0..300 {
        let (a, b) = (disturbed(&table, &mut entropy), disturbed(&table, &mut entropy));
        let mut have = a.clone();
        let change = diff(&a, &b);
        obey(&mut have, &change.orders);
        let mut want = b.clone();
        obey(&mut want, &[]);
        assert_eq!(have, want);
        assert_eq!(diff(&b, &b).orders, []);
        let lost = ways(&a).difference(&ways(&b)).count();
        assert!(lost == 0 || change.narrows, "ways were lost and nobody waits for it");
    }
}

#[test]
fn what_takes_is_ordered_before_what_gives() {
    let mut desk = linked();
    let before = compile(&desk.state, 1);
    desk.order("police", Command::Unlink { link: desk.link_of("pd-1") });
    let incident = *desk.state.incidents.keys().next().unwrap();
    desk.order("police", Command::AddPatch { incident, name: patch("tac"), floor: None });
    let orders = diff(&before, &compile(&desk.state, 1)).orders;
    let last_leave = orders.iter().rposition(|o| matches!(o, Order::Leave(_))).unwrap();
    let first_open = orders.iter().position(|o| matches!(o, Order::OpenPatch(_))).unwrap();
    assert!(last_leave < first_open);
}

#[test]
fn a_shard_knows_its_ports_and_every_leg_of_their_patches() {
    let table = compile(&linked().state, 3);
    for shard in (0..3).map(ShardId) {
        let own = slice(&table, shard);
        assert!(own.ports.iter().all(|p| p.home == shard));
        for port in &own.ports {
            for leg in table.legs.iter().filter(|leg| leg.port == port.port) {
                let whole = table.legs.iter().filter(|other| other.patch == leg.patch).count();
                assert_eq!(own.legs.iter().filter(|other| other.patch == leg.patch).count(), whole);
                assert!(own.patches.iter().any(|p| p.patch == leg.patch));
            }
            assert!(own.groups.iter().any(|g| Some(g.group) == port.group));
        }
        for patch in table.patches.iter().filter(|p| p.home == shard) {
            assert!(own.patches.contains(patch), "its floor lives here");
        }
    }
    let ports: usize = (0..3).map(|s| slice(&table, ShardId(s)).ports.len()).sum();
    assert_eq!(ports, table.ports.len(), "each port lives on exactly one shard");
    assert!(leg_of(&table, LegId(0)).is_none());
}

#[test]
fn talkgroups_joined_by_rf_channels_share_a_shard_and_others_spread() {
    let mut configured = configuration();
    for at in 0..40 {
        let id = format!("tg-{at}");
        configured.talkgroups.insert(talkgroup(&id), a_talkgroup("ems"));
        configured.gateways.insert(gateway(&format!("gw-{at}")), a_gateway("ems", &id, 41_000 + at));
    }
    let spread = Homes::of(&configured, 4);
    let mut used = [0; 4];
    configured.talkgroups.keys().for_each(|t| used[usize::from(spread.of_talkgroup(t).0)] += 1);
    assert!(used.iter().all(|count| *count >= 4), "{used:?}");
    for (name, channel) in [("gw-1", "a"), ("gw-7", "a"), ("gw-7b", "b"), ("gw-30", "b")] {
        let mut shared = match name {
            "gw-7b" => a_gateway("ems", "tg-7", 42_000),
            other => configured.gateways[&gateway(other)].clone(),
        };
        shared.port.rf_channel = Some(RfChannelId::new(channel).unwrap());
        configured.gateways.insert(gateway(name), shared);
    }
    let homes = Homes::of(&configured, 4);
    let home = |id: &str| homes.of_talkgroup(&talkgroup(id));
    assert!(home("tg-1") == home("tg-7") && home("tg-7") == home("tg-30"), "one cluster over two channels");
}
