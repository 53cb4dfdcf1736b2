//! The registrar against a model that only knows lists, in generated worlds, and by sentences.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::net::SocketAddr;

use crosspatch::domain::random::Entropy;
use crosspatch::domain::time::MonoTime;
use crosspatch::sip::flow::{Flow, Transport};
use crosspatch::sip::registrar::{
    Contact, Contacts, RegisterRefusal, Registrar, RegistrarLimits, Registration, TEXT_BYTES_MAX,
};

const NOW: MonoTime = MonoTime::from_millis(1_000_000);
const LIMITS: RegistrarLimits =
    RegistrarLimits { expires_min_s: 60, expires_max_s: 3600, bindings_per_phone: 3, bindings: 8 };

fn flow(port: u16) -> Flow {
    let remote = SocketAddr::from(([198, 51, 100, 9], port));
    Flow { transport: Transport::Udp, remote, local: SocketAddr::from(([192, 0, 2, 1], 5060)) }
}

fn contact(uri: &str) -> Contact {
    Contact { uri: uri.to_owned(), q_thousandths: 1000, expires_s: None, instance: None }
}

fn request(cseq: u32, uris: &[&str]) -> Registration {
    let contacts = Contacts::These(uris.iter().copied().map(contact).collect());
    Registration { call_id: "a".to_owned(), cseq, contacts, expires_s: Some(600), flow: flow(5060) }
}

fn uris(registrar: &Registrar<u8>, phone: u8, now: MonoTime) -> Vec<String> {
    registrar.bindings(&phone, now).into_iter().map(|binding| binding.uri.clone()).collect()
}

#[test]
fn a_phone_is_found_at_every_contact_best_first_until_it_ends() {
    let mut registrar = Registrar::new(LIMITS);
    let mut several = request(1, &["sip:a@x", "sip:b@x"]);
    if let Contacts::These(contacts) = &mut several.contacts {
        contacts[0].q_thousandths = 300;
        contacts[0].expires_s = Some(60);
    }
    registrar.register(&1, &several, NOW).unwrap();
    registrar.register(&1, &Registration { call_id: "b".into(), ..request(1, &["sip:c@x"]) }, NOW.plus_ms(5)).unwrap();
    assert_eq!(uris(&registrar, 1, NOW), ["sip:c@x", "sip:b@x", "sip:a@x"], "by q, then the youngest");
    assert_eq!(registrar.bindings(&1, NOW)[2].expires_s(NOW.plus_ms(1)), 60);
    assert_eq!(uris(&registrar, 1, NOW.plus_ms(60_000)), ["sip:c@x", "sip:b@x"]);
    assert_eq!(registrar.expire(NOW.plus_ms(60_000)), [1]);
    assert_eq!((registrar.len(), registrar.expire(NOW.plus_ms(60_001))), (2, vec![]));
    assert!(uris(&registrar, 2, NOW).is_empty());
}

#[test]
fn what_was_overtaken_on_its_way_changes_nothing() {
    let mut registrar = Registrar::new(LIMITS);
    registrar.register(&1, &request(7, &["sip:a@x"]), NOW).unwrap();
    for late in [
        request(7, &["sip:a@x"]),
        request(6, &["sip:b@x", "sip:a@x"]),
        Registration { expires_s: Some(0), ..request(7, &["sip:a@x"]) },
        Registration { contacts: Contacts::All, expires_s: Some(0), ..request(7, &[]) },
    ] {
        assert_eq!(registrar.register(&1, &late, NOW), Err(RegisterRefusal::OutOfOrder));
        assert_eq!(uris(&registrar, 1, NOW), ["sip:a@x"]);
    }
    assert_eq!(RegisterRefusal::OutOfOrder.status(), 500);
    let restarted = Registration { call_id: "b".into(), ..request(1, &["SIP:a@X"]) };
    assert_eq!(registrar.register(&1, &restarted, NOW), Ok(()), "another Call-ID begins anew");
    assert_eq!(registrar.len(), 1);
    assert_eq!(registrar.register(&1, &request(1, &["sip:a@x"]), NOW.plus_ms(600_000)), Ok(()), "it had ended");
}

#[test]
fn a_star_removes_all_and_nothing_else() {
    let mut registrar = Registrar::new(LIMITS);
    registrar.register(&1, &request(1, &["sip:a@x", "sip:b@x"]), NOW).unwrap();
    registrar.register(&2, &request(1, &["sip:c@x"]), NOW).unwrap();
    let star = |expires_s| Registration { contacts: Contacts::All, expires_s, ..request(2, &[]) };
    for expires_s in [None, Some(60)] {
        assert_eq!(registrar.register(&1, &star(expires_s), NOW), Err(RegisterRefusal::Malformed));
    }
    registrar.register(&1, &star(Some(0)), NOW).unwrap();
    assert_eq!((uris(&registrar, 1, NOW).len(), uris(&registrar, 2, NOW).len()), (0, 1));
}

#[test]
fn an_end_is_neither_too_near_nor_too_far() {
    let mut registrar = Registrar::new(LIMITS);
    let asking = |cseq, expires_s| Registration { expires_s, ..request(cseq, &["sip:a@x"]) };
    assert_eq!(registrar.register(&1, &asking(1, Some(59)), NOW), Err(RegisterRefusal::TooBrief(60)));
    assert_eq!((RegisterRefusal::TooBrief(60).status(), registrar.len()), (423, 0));
    for (cseq, asked, given) in [(1, Some(60), 60), (2, Some(3601), 3600), (3, Some(u32::MAX), 3600), (4, None, 3600)] {
        registrar.register(&1, &asking(cseq, asked), NOW).unwrap();
        assert_eq!(registrar.bindings(&1, NOW)[0].expires_s(NOW), given);
    }
    registrar.register(&1, &asking(5, Some(0)), NOW).unwrap();
    assert!(registrar.is_empty());
}

#[test]
fn the_same_device_over_another_flow_replaces_itself() {
    let mut registrar = Registrar::new(LIMITS);
    let device = |cseq, uri: &str, number, port| {
        let contact = Contact { instance: Some(("<urn:uuid:1>".into(), number)), ..contact(uri) };
        Registration { contacts: Contacts::These(vec![contact]), flow: flow(port), ..request(cseq, &[]) }
    };
    registrar.register(&1, &device(1, "sip:a@x", 1, 1000), NOW).unwrap();
    registrar.register(&1, &device(2, "sip:a@y", 1, 2000), NOW).unwrap();
    assert_eq!(uris(&registrar, 1, NOW), ["sip:a@y"]);
    assert_eq!(registrar.bindings(&1, NOW)[0].flow, flow(2000));
    registrar.register(&1, &device(3, "sip:a@y", 2, 3000), NOW).unwrap();
    assert_eq!(registrar.len(), 2, "a second flow of the device");
    assert_eq!(registrar.lost(&flow(2000), NOW), [1]);
    assert_eq!(registrar.bindings(&1, NOW)[0].flow, flow(3000));
    assert_eq!(registrar.lost(&flow(2000), NOW), [0; 0]);
}

#[test]
fn a_flow_is_pinged_when_nothing_came_over_it_and_forgotten_with_its_last_binding() {
    let mut registrar = Registrar::new(LIMITS);
    registrar.register(&1, &request(1, &["sip:a@x"]), NOW).unwrap();
    registrar
        .register(&2, &Registration { flow: flow(2000), ..request(1, &["sip:b@x"]) }, NOW.plus_ms(10_000))
        .unwrap();
    let quiet = |registrar: &Registrar<u8>, at| registrar.quiet(30_000, NOW.plus_ms(at)).copied().collect::<Vec<_>>();
    assert_eq!(quiet(&registrar, 29_999), []);
    assert_eq!(quiet(&registrar, 30_000), [flow(5060)]);
    registrar.heard(&flow(5060), NOW.plus_ms(30_000));
    registrar.heard(&flow(9999), NOW.plus_ms(30_000));
    assert_eq!(quiet(&registrar, 45_000), [flow(2000)]);
    registrar.expire(NOW.plus_ms(700_000));
    assert_eq!(quiet(&registrar, 900_000), [], "nobody is behind them any more");
}

#[test]
fn limits_hold_for_a_phone_for_all_and_for_every_text() {
    let mut registrar = Registrar::new(LIMITS);
    for (cseq, uri) in [(1, "sip:a@x"), (2, "sip:b@x"), (3, "sip:c@x"), (4, "sip:d@x")] {
        registrar.register(&1, &request(cseq, &[uri]), NOW.plus_ms(cseq.into())).unwrap();
    }
    assert_eq!(uris(&registrar, 1, NOW), ["sip:d@x", "sip:c@x", "sip:b@x"], "the oldest gave way");
    assert_eq!(registrar.displaced(), 1);
    let four = ["sip:a@x", "sip:b@x", "sip:c@x", "sip:d@x"];
    assert_eq!(registrar.register(&1, &request(9, &four), NOW), Err(RegisterRefusal::Malformed));
    assert_eq!(registrar.register(&1, &request(9, &["sip:a@x", "SIP:a@x"]), NOW), Err(RegisterRefusal::Malformed));
    for phone in [2, 3] {
        registrar.register(&phone, &request(1, &four[..2]), NOW).unwrap();
    }
    assert_eq!(registrar.register(&4, &request(1, &four[..2]), NOW), Err(RegisterRefusal::Full));
    assert_eq!((registrar.len(), registrar.refused_full(), RegisterRefusal::Full.status()), (7, 1, 503));
    assert_eq!(registrar.register(&4, &request(1, &four[..1]), NOW), Ok(()));
    assert_eq!(registrar.register(&3, &request(2, &four[..2]), NOW), Ok(()), "whoever has a place refreshes it");
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    assert_eq!(registrar.register(&3, &request(3, &[&long]), NOW), Err(RegisterRefusal::TooLong));
    assert_eq!(
        registrar.register(&3, &Registration { call_id: long, ..request(3, &["sip:a@x"]) }, NOW),
        Err(RegisterRefusal::TooLong)
    );
}

/// A binding as the model keeps it.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    phone: u8,
    uri: String,
    q: u16,
    call_id: String,
    cseq: u32,
    ends: MonoTime,
    refreshed: MonoTime,
    flow: Flow,
}

/// The registrar as the RFC tells it: one list, gone through again and again.
#[derive(Default)]
struct Model(Vec<Entry>);

impl Model {
    fn register(&mut self, phone: u8, request: &Registration, now: MonoTime) -> Result<(), RegisterRefusal> {
        let mut draft: Vec<Entry> =
            self.0.iter().filter(|entry| entry.phone != phone || entry.ends > now).cloned().collect();
        let overtaken = |entry: &Entry| entry.call_id == request.call_id && entry.cseq >= request.cseq;
        match &request.contacts {
            Contacts::All => {
                if request.expires_s != Some(0) {
                    return Err(RegisterRefusal::Malformed);
                }
                if draft.iter().any(|entry| entry.phone == phone && overtaken(entry)) {
                    return Err(RegisterRefusal::OutOfOrder);
                }
                draft.retain(|entry| entry.phone != phone);
            }
            Contacts::These(contacts) => {
                if contacts.len() > LIMITS.bindings_per_phone {
                    return Err(RegisterRefusal::Malformed);
                }
                for (at, contact) in contacts.iter().enumerate() {
                    if contacts[..at].iter().any(|other| other.uri == contact.uri) {
                        return Err(RegisterRefusal::Malformed);
                    }
                    if draft.iter().any(|entry| entry.phone == phone && entry.uri == contact.uri && overtaken(entry)) {
                        return Err(RegisterRefusal::OutOfOrder);
                    }
                    let asked = contact.expires_s.or(request.expires_s).unwrap_or(3600);
                    if asked > 0 && asked < 60 {
                        return Err(RegisterRefusal::TooBrief(60));
                    }
                    draft.retain(|entry| entry.phone != phone || entry.uri != contact.uri);
                    if asked > 0 {
                        draft.push(Entry {
                            phone,
                            uri: contact.uri.clone(),
                            q: contact.q_thousandths,
                            call_id: request.call_id.clone(),
                            cseq: request.cseq,
                            ends: now.plus_ms(u64::from(asked.min(3600)) * 1000),
                            refreshed: now,
                            flow: request.flow,
                        });
                    }
                }
                while draft.iter().filter(|entry| entry.phone == phone).count() > LIMITS.bindings_per_phone {
                    let own = draft.iter().enumerate().filter(|(_, entry)| entry.phone == phone);
                    let oldest = own.min_by_key(|(_, entry)| (entry.refreshed, entry.uri.clone())).unwrap().0;
                    draft.remove(oldest);
                }
            }
        }
        let own = |entries: &[Entry]| entries.iter().filter(|entry| entry.phone == phone).count();
        if draft.len() > LIMITS.bindings && own(&draft) > own(&self.0) {
            return Err(RegisterRefusal::Full);
        }
        self.0 = draft;
        Ok(())
    }

    fn found(&self, phone: u8, now: MonoTime) -> Vec<Entry> {
        let mut found: Vec<_> =
            self.0.iter().filter(|entry| entry.phone == phone && entry.ends > now).cloned().collect();
        found.sort_by(|a, b| (b.q, b.refreshed).cmp(&(a.q, a.refreshed)).then(a.uri.cmp(&b.uri)));
        found
    }
}

fn any_request(entropy: &mut Entropy) -> Registration {
    let contacts = if entropy.percent(10) {
        Contacts::All
    } else {
        let one = |entropy: &mut Entropy| Contact {
            uri: format!("sip:{}@x", entropy.below(6)),
            q_thousandths: [1000, 500][entropy.below(2) as usize],
            expires_s: [None, None, Some(0), Some(30), Some(90), Some(9999)][entropy.below(6) as usize],
            instance: None,
        };
        Contacts::These((0..entropy.below(5)).map(|_| one(entropy)).collect())
    };
    Registration {
        call_id: ["a", "b"][entropy.below(2) as usize].to_owned(),
        cseq: entropy.below(40) as u32,
        contacts,
        expires_s: [None, Some(0), Some(0), Some(30), Some(120), Some(600)][entropy.below(6) as usize],
        flow: flow(1000 + entropy.below(4) as u16),
    }
}

#[test]
fn in_generated_worlds_the_registrar_and_a_list_agree() {
    let mut met = [0u32; 6];
    for seed in 0..300 {
        let mut entropy = Entropy::new(seed);
        let (mut registrar, mut model, mut now) = (Registrar::new(LIMITS), Model::default(), NOW);
        for step in 0..200 {
            now = now.plus_ms(entropy.below(60_000));
            let phone = entropy.below(5) as u8;
            match entropy.below(10) {
                0 => {
                    let mut lost: Vec<u8> =
                        model.0.iter().filter(|entry| entry.ends <= now).map(|entry| entry.phone).collect();
                    lost.sort_unstable();
                    lost.dedup();
                    model.0.retain(|entry| entry.ends > now);
                    assert_eq!(registrar.expire(now), lost, "seed {seed}, step {step}");
                }
                1 => {
                    let gone = flow(1000 + entropy.below(4) as u16);
                    model.0.retain(|entry| entry.flow != gone);
                    registrar.lost(&gone, now);
                }
                _ => {
                    let request = any_request(&mut entropy);
                    let (ours, theirs) =
                        (registrar.register(&phone, &request, now), model.register(phone, &request, now));
                    assert_eq!(ours, theirs, "seed {seed}, step {step}: {request:?}");
                    met[match ours {
                        Ok(()) => 0,
                        Err(RegisterRefusal::Malformed) => 1,
                        Err(RegisterRefusal::OutOfOrder) => 2,
                        Err(RegisterRefusal::TooBrief(_)) => 3,
                        Err(RegisterRefusal::Full) => 4,
                        Err(RegisterRefusal::TooLong) => 5,
                    }] += 1;
                }
            }
            assert_eq!(registrar.len(), model.0.len(), "seed {seed}, step {step}");
            for phone in 0..5 {
                let ours: Vec<_> =
                    registrar.bindings(&phone, now).into_iter().map(|b| (b.uri.clone(), b.ends, b.flow)).collect();
                let theirs: Vec<_> = model.found(phone, now).into_iter().map(|e| (e.uri, e.ends, e.flow)).collect();
                assert_eq!(ours, theirs, "seed {seed}, step {step}, phone {phone}");
            }
            let mut used: Vec<Flow> = model.0.iter().map(|entry| entry.flow).collect();
            used.sort_unstable();
            used.dedup();
            let flows: Vec<Flow> = registrar.quiet(0, now).copied().collect();
            assert_eq!(flows, used, "seed {seed}, step {step}: exactly the flows in use are pinged");
        }
    }
    assert!(met[..5].iter().all(|count| *count > 200), "every answer is met often: {met:?}");
}
