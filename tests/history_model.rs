//! Histories of a storage at random: edits of every sort, backups of every kind, stops and crashes, what goes on from
//! them, tags, prunes, and several commands at once, against a model that knows what was in the storage at each backup
//! and which one it should build on. Whatever happens, every backup that is listed verifies and is restored as the
//! storage was then, and no prune takes what was to stay.
//!
//! A failing history names its seed; `JETBAK_MODEL_SEED=… cargo test --test history_model` runs it alone. Where a process
//! was killed, the same seed may meet another moment. `JETBAK_MODEL_KEEP=1` keeps the machine of a failing history below
//! the directory for temporary files, and `JETBAK_MODEL_THREADS` says how many histories live at once.

mod common;
mod history;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::Dice;
use history::{History, Met};

/// So many histories, several at a time: most of the time they wait until files are old enough to be believed.
fn histories(count: usize) {
    let given = std::env::var("JETBAK_MODEL_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    if let Some(seed) = given {
        History::begin(seed).live();
        return;
    }
    let mut dice = Dice::new();
    let seeds: Vec<u64> =
        (0..count).map(|_| (u64::from(dice.number(u32::MAX)) << 32) | u64::from(dice.number(u32::MAX)) | 1).collect();
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(0);
    let met = std::sync::Mutex::new(Met::default());
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match std::panic::catch_unwind(|| History::begin(*seed).live()) {
                        Ok(lived) => met.lock().expect("no panic under it").add(&lived),
                        Err(_) => drop(failed.fetch_add(1, Ordering::Relaxed)),
                    }
                }
            });
        }
    });
    assert_eq!(failed.into_inner(), 0, "histories that went wrong; each named its seed above");
    let met = met.into_inner().expect("no panic under it");
    println!("{met:?}");
    assert!(met.is_everything(), "a history of {count} met too little: {met:?}");
}

fn threads() -> usize {
    std::env::var("JETBAK_MODEL_THREADS").ok().and_then(|threads| threads.parse().ok()).unwrap_or(20)
}

#[test]
fn random_histories_are_restored_at_every_backup() {
    histories(100);
}

#[test]
#[ignore = "takes many minutes"]
fn two_thousand_histories() {
    histories(2000);
}
