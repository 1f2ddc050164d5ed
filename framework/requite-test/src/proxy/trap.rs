//! Traps: a message that stops everything that passes through a proxy, so that a test can strike at exactly this step.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a client.
    ToServer,
    /// From the server.
    ToClient,
}

/// Where the message is when everything stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// In the proxy: it goes first when the proxy thaws, and is lost if the connections are cut.
    Before,
    /// On its way to the other side.
    After,
}

/// A trap that was set, see [`Proxy::trap`](super::Proxy::trap). It springs once.
#[derive(Debug)]
pub struct Trap {
    pub(super) sprung: oneshot::Receiver<Vec<u8>>,
}

impl Trap {
    /// Waits until the message comes by, and returns it. From then on the proxy is frozen.
    pub async fn sprung(self) -> Vec<u8> {
        self.sprung.await.expect("the proxy outlives what waits for it")
    }
}

/// The traps of a proxy that have not sprung yet.
#[derive(Clone, Default)]
pub(super) struct Traps(Arc<Mutex<Vec<Set>>>);

/// Tells the message that springs a trap.
type Matches = Box<dyn Fn(&[u8]) -> bool + Send>;

struct Set {
    direction: Direction,
    hold: Hold,
    matches: Matches,
    spring: oneshot::Sender<Vec<u8>>,
}

impl std::fmt::Debug for Traps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Traps").field(&self.all().len()).finish()
    }
}

impl Traps {
    pub(super) fn set(
        &self,
        direction: Direction,
        hold: Hold,
        matches: impl Fn(&[u8]) -> bool + Send + 'static,
    ) -> Trap {
        let (spring, sprung) = oneshot::channel();
        self.all().push(Set { direction, hold, matches: Box::new(matches), spring });
        Trap { sprung }
    }

    /// Takes out the trap that this message springs.
    pub(super) fn take(&self, direction: Direction, message: &[u8]) -> Option<Sprung> {
        let mut all = self.all();
        // A trap that nobody waits for any more is none.
        all.retain(|set| !set.spring.is_closed());
        let at = all.iter().position(|set| set.direction == direction && (set.matches)(message))?;
        let Set { hold, spring, .. } = all.swap_remove(at);
        Some(Sprung { hold, spring })
    }

    fn all(&self) -> MutexGuard<'_, Vec<Set>> {
        self.0.lock().expect("what decides whether a message matches does not panic")
    }
}

/// A trap that springs.
pub(super) struct Sprung {
    pub(super) hold: Hold,
    spring: oneshot::Sender<Vec<u8>>,
}

impl Sprung {
    /// Tells the test; everything stands still by now.
    pub(super) fn tell(self, message: &[u8]) {
        let _gave_up_waiting = self.spring.send(message.to_vec());
    }
}

/// The length of the message of the NATS protocol at the beginning of `bytes`, if all of it is there.
pub(super) fn first_message(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|two| two == b"\r\n")?;
    let mut words = bytes[..line].split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let length = match words.next() {
        Some(b"PUB" | b"HPUB" | b"MSG" | b"HMSG") => {
            let size = words.next_back().and_then(|word| std::str::from_utf8(word).ok());
            line + 2 + size.and_then(|size| size.parse::<usize>().ok()).unwrap_or(0) + 2
        }
        _ => line + 2,
    };
    (bytes.len() >= length).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::first_message;

    #[test]
    fn messages_are_told_apart() {
        let text = b"PING\r\nPUB a.b 4\r\n\r\n\r\n\r\nHPUB a _INBOX.1 12 14\r\nNATS/1.0\r\n\r\nok\r\n+OK\r\n";
        let mut rest = &text[..];
        let mut found = Vec::new();
        while let Some(length) = first_message(rest) {
            let (message, after) = rest.split_at(length);
            found.push(std::str::from_utf8(message).unwrap());
            rest = after;
        }
        assert_eq!(rest, b"");
        let last = "HPUB a _INBOX.1 12 14\r\nNATS/1.0\r\n\r\nok\r\n";
        assert_eq!(found, ["PING\r\n", "PUB a.b 4\r\n\r\n\r\n\r\n", last, "+OK\r\n"]);
    }

    #[test]
    fn half_a_message_is_none() {
        for half in ["", "PIN", "PING\r", "MSG a 1 5\r\n", "MSG a 1 5\r\nhello\r"] {
            assert_eq!(first_message(half.as_bytes()), None, "{half:?}");
        }
    }
}
