//! What the tests that cross crate borders share. The tests themselves are the targets beside this folder.
//!
//! | module | what |
//! |---|---|
//! | `entry`, `ledger` | what was seen, written to a file outside NATS |
//! | `mill`, `caller`, `stream` | services, calls and streams that write down what they see |
//! | `dam` | a service whose streams are large |
//! | `role`, `process` | both as processes of their own, to kill and to freeze |
//! | `store` | what the streams hold in the end |
//! | `checker` | the promises, held against both |
//! | `faults` | one fault in one step, as a table |
//! | `soak`, `random` | random faults under random load |
//! | `proof` | every checker at its full size, in one table |

pub mod caller;
pub mod checker;
pub mod dam;
pub mod entry;
pub mod faults;
pub mod hash;
pub mod ledger;
pub mod mill;
pub mod process;
pub mod proof;
pub mod random;
pub mod role;
pub mod soak;
pub mod store;
pub mod stream;
