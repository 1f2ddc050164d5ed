//! CPU time of a process, where the system tells it: CPU per call is far less noisy than calls per second.

use std::time::Duration;

/// CPU time that a process has used so far, all threads, user and system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuTime(Duration);

impl CpuTime {
    /// `None` where there is no `/proc`.
    pub(crate) fn of_process(pid: u32) -> Option<CpuTime> {
        CpuTime::read(&format!("/proc/{pid}/stat"))
    }

    pub(crate) fn of_this_process() -> Option<CpuTime> {
        CpuTime::read("/proc/self/stat")
    }

    pub(crate) fn since(self, earlier: CpuTime) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    fn read(file: &str) -> Option<CpuTime> {
        let stat = std::fs::read_to_string(file).ok()?;
        // The second field is the program's name in parentheses and may hold spaces; count from behind it.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let user: u64 = fields.nth(11)?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        // Linux counts these in hundredths of a second on every architecture (USER_HZ).
        Some(CpuTime(Duration::from_millis((user + system) * 10)))
    }
}
