//! The fuzz targets without a fuzzer: every input that was kept, every crash that was ever found, and random variations
//! of both.
//!
//! `REQUITE_FUZZ_INPUTS=100000 cargo test -p requite --lib fuzzing` plays more variations than usual.

use std::{fs, panic, path::Path};

use super::{TARGETS, Target};
use crate::broker::simulated::Random;

/// Variations for each target, if nobody says otherwise.
const INPUTS: u64 = 400;
/// What the fuzzer makes longer than this it throws away, and so it is here.
const LONGEST: usize = 4096;

/// The files of a target below `tests/fuzz/`.
fn kept(folder: &str, target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz").join(folder).join(target);
    let Ok(files) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    // Folders have no order, and a failure has to come back.
    files.sort();
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Another input, made of those that were kept as fuzzers do it.
fn vary(kept: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let pick = |random: &mut Random, end: usize| usize::try_from(random.below(end.max(1) as u64)).unwrap();
    let mut input = kept[pick(random, kept.len())].clone();
    for _ in 0..=random.below(4) {
        let at = pick(random, input.len() + 1);
        let other = &kept[pick(random, kept.len())];
        match random.below(6) {
            0 => input.insert(at, random.next().to_le_bytes()[0]),
            1 => input.truncate(at),
            2 => drop(input.splice(at.., other[pick(random, other.len() + 1).min(other.len())..].to_vec())),
            3 => drop(input.splice(at..at, random.next().to_le_bytes())),
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = match random.below(3) {
                        0 => *byte ^ (1 << random.below(8)),
                        1 => byte.wrapping_add(1),
                        _ => random.next().to_le_bytes()[0],
                    };
                }
            }
        }
    }
    input.truncate(LONGEST);
    input
}

/// Plays one input, and says which it was if it fails.
fn play(name: &str, target: Target, input: &[u8]) {
    let played = panic::catch_unwind(|| target(input));
    assert!(played.is_ok(), "{name} failed with b\"{}\"", input.escape_ascii());
}

#[test]
fn no_input_breaks_a_promise() {
    let asked = std::env::var("REQUITE_FUZZ_INPUTS").ok();
    let inputs = asked.map_or(INPUTS, |text| text.parse().expect("REQUITE_FUZZ_INPUTS is a number"));
    let counted: Vec<(usize, usize)> = std::thread::scope(|scope| {
        let running: Vec<_> = TARGETS
            .iter()
            .map(|(name, target)| {
                scope.spawn(move || {
                    let (corpus, crashes) = (kept("corpus", name), kept("crashes", name));
                    assert!(!corpus.is_empty(), "tests/fuzz/corpus/{name} is empty");
                    let all = [corpus, crashes.clone()].concat();
                    all.iter().for_each(|input| play(name, *target, input));
                    let mut random = Random::new(0);
                    (0..inputs).for_each(|_| play(name, *target, &vary(&all, &mut random)));
                    (all.len(), crashes.len())
                })
            })
            .collect();
        running.into_iter().map(|it| it.join().expect("a target failed, as is said above")).collect()
    });
    let (kept, crashes) = counted.iter().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    let (targets, varied) = (TARGETS.len(), inputs * TARGETS.len() as u64);
    println!(
        "proof | inputs, {targets} fuzz targets | {varied} variations of {kept} inputs | {crashes} former crashes"
    );
}
