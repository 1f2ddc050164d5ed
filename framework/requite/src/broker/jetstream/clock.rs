//! The clock of leases: it must count the time for which the machine was suspended, because the server's does.

use crate::protocol::time::Moment;

/// Now, by CLOCK_BOOTTIME where there is one, else by the monotonic clock.
pub(crate) fn now() -> Moment {
    #[cfg(target_os = "linux")]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(CLOCK);
    Moment(now.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec.cast_unsigned()))
}
