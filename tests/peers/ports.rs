//! Free pairs of UDP ports, below those that the system hands out by itself, so that nobody takes one between our look
//! and its use. And when a program has opened the one it was told.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Mutex;
use std::time::Duration;

use super::{PATIENCE, now};

/// An even port whose odd neighbour is free as well; never twice in one run.
pub fn free_pair() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap();
    // Other runs on this machine, and other tests where each has a process of its own, begin elsewhere.
    let first = FIRST + (std::process::id() % AREAS) as u16 * AREA;
    let ring = (first..LAST).chain(FIRST..first).step_by(2);
    let is_free = |port: u16| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let found = ring.into_iter().find(|port| !given.contains(port) && is_free(*port) && is_free(*port + 1));
    let port = found.expect("this machine has free UDP ports");
    given.insert(port);
    port
}

/// Waits until somebody listens on each of these UDP ports.
pub fn wait_until_bound(ports: &[u16]) {
    let deadline = now() + PATIENCE;
    loop {
        let table = std::fs::read_to_string("/proc/net/udp").unwrap();
        let local = |line: &str| u16::from_str_radix(line.split_whitespace().nth(1)?.split_once(':')?.1, 16).ok();
        let is_bound = |port: &u16| table.lines().any(|line| local(line) == Some(*port));
        if ports.iter().all(is_bound) {
            return;
        }
        assert!(now() < deadline, "nobody listens on all of {ports:?}");
        // Nothing tells when a stranger binds.
        std::thread::sleep(Duration::from_millis(10));
    }
}

const FIRST: u16 = 12_000;
const LAST: u16 = 32_000;
/// The greediest test takes 2,010 ports.
const AREA: u16 = 2_500;
const AREAS: u32 = 8;
