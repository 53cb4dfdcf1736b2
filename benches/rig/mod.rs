//! What the benches share: quantiles, threads kept on cores, CPU time by thread.
//!
//! Core 0 belongs to the thread that is measured, core 1 to the talker and the listeners.

#![allow(dead_code, reason = "each bench uses its part")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::thread::{CpuSet, Pid, sched_setaffinity};

/// The core of what is measured.
pub const MEASURED: usize = 0;
/// The core of everything else.
pub const OTHERS: usize = 1;

/// A thread of this process.
#[derive(Clone, Copy)]
pub struct Thread(i32);

impl Thread {
    /// Who asks.
    pub fn own() -> Self {
        Self(rustix::thread::gettid().as_raw_nonzero().get())
    }

    /// By the name it was started with; waits until it has named itself. The newest, if there are several: an earlier
    /// one may be about to end.
    pub fn named(name: &str) -> Self {
        let is_named = |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name);
        loop {
            let tasks = fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path());
            let ids = tasks.filter(is_named).map(|task| task.file_name().unwrap().to_str().unwrap().parse().unwrap());
            match ids.max() {
                Some(id) => return Self(id),
                None => std::thread::yield_now(),
            }
        }
    }

    /// Keeps it on one core, if this machine has that many.
    pub fn pin(self, core: usize) {
        let mut set = CpuSet::new();
        set.set(core);
        let _ = sched_setaffinity(Some(Pid::from_raw(self.0).unwrap()), &set);
    }

    /// CPU time so far.
    pub fn cpu(self) -> Duration {
        let path = format!("/proc/self/task/{}/schedstat", self.0);
        let text = fs::read_to_string(path).unwrap();
        Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
    }
}

/// The value below which `share` of them lie.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len());
    values.get(at - 1).copied().unwrap_or(f64::NAN)
}
