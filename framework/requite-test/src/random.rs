//! Names and passwords that no other test run has.

use ring::rand::{SecureRandom, SystemRandom};

/// Twelve random hex digits: enough that two runs side by side never choose the same.
pub(crate) fn suffix() -> String {
    let mut bytes = [0; 6];
    SystemRandom::new().fill(&mut bytes).expect("the system's random source never fails once it is up");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
