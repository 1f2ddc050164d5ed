//! Every example is run, and what it prints is read as a user would read it.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use requite_test::{NatsServer, ServerBinary};

/// The longest takes half a minute.
const LIMIT: Duration = Duration::from_secs(300);

/// What an example prints when it starts its own nats-server.
fn output(program: &str) -> String {
    output_on(program, "")
}

/// What an example prints on the server at `url`, whatever the environment says. One that hangs is killed.
fn output_on(program: &str, url: &str) -> String {
    let mut command = Command::new(program);
    let mut child = command.env("NATS_URL", url).stdout(Stdio::piped()).spawn().expect("it can be started");
    let mut stdout = child.stdout.take().expect("piped");
    let (done, is_done) = mpsc::channel();
    let reading = thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.read_to_end(&mut bytes);
        let _gave_up_waiting = done.send(());
        read.map(|_| bytes)
    });
    if is_done.recv_timeout(LIMIT).is_err() {
        child.kill().expect("it can be killed");
    }
    let bytes = reading.join().expect("reading does not panic").expect("a pipe can be read");
    let text = String::from_utf8(bytes).expect("examples print text");
    let status = child.wait().expect("it was started");
    assert!(status.success(), "{program} ended with {status}, by us if it took {LIMIT:?}:\n{text}");
    text
}

/// The numbers of the line that begins with `runs=`.
fn numbers(text: &str) -> HashMap<&str, u64> {
    let line = text.lines().rfind(|line| line.starts_with("runs=")).expect("there is a summary");
    let pairs = line.split(' ').map(|pair| pair.split_once('=').expect("a name and a number"));
    pairs.map(|(name, number)| (name, number.parse().expect("a number"))).collect()
}

fn count(text: &str, what: &str) -> u64 {
    text.lines().filter(|line| line.contains(what)).count() as u64
}

#[test]
fn quickstart_runs_once_and_answers_every_send() {
    let text = output(env!("CARGO_BIN_EXE_quickstart"));
    let numbers = numbers(&text);
    assert_eq!((numbers["runs"], numbers["redeliveries"]), (1, 0), "{text}");
    // 18 s of work, a second of patience; a slow machine loses patience later, not more often.
    assert!((10..=20).contains(&numbers["sends"]), "{text}");
    assert_eq!(numbers["answers"], numbers["sends"], "{text}");
    // One heartbeat each second.
    assert!((12..=20).contains(&numbers["heartbeats"]), "{text}");
    // The numbers are those of what was shown before; a publish that is in doubt is made again, under its id.
    assert!(count(&text, "sends the request") >= numbers["sends"], "{text}");
    assert!(count(&text, "lost patience") + 1 >= numbers["sends"], "{text}");
    for seen in ["accepted", "started, attempt 1", "heartbeat", "outcome of attempt 1"] {
        assert!(count(&text, seen) >= 1, "{seen}: {text}");
    }
    assert!(text.contains("receipt: 4200 cents, charged in attempt 1"), "{text}");
    assert!(text.trim_end().lines().last().is_some_and(|line| line.starts_with("runs=1 sends=")), "{text}");
}

#[test]
fn typed_contract_brings_the_error_as_its_own_type() {
    let text = output(env!("CARGO_BIN_EXE_typed_contract"));
    assert!(text.contains("opened account 1, after the worker was busy once"), "{text}");
    assert!(text.contains("refused: Ada has account 1"), "{text}");
    // Two attempts of each `open`, one of `count`.
    assert!(text.contains("accounts: 1, runs: 5"), "{text}");
}

#[test]
fn attach_brings_the_answer_to_the_restarted_caller() {
    let text = output(env!("CARGO_BIN_EXE_attach"));
    let killed = text.lines().position(|line| line == "killed it").expect("a caller is killed");
    let answers: Vec<_> = text.lines().skip(killed).filter(|line| line.contains("has the answer")).collect();
    assert_eq!(answers.len(), 1, "{text}");
    assert!(answers[0].ends_with("report of 2026, built in attempt 1"), "{text}");
    assert_eq!((count(&text, "has the answer"), numbers(&text)["runs"]), (1, 1), "{text}");
}

#[test]
fn crash_is_finished_by_the_second_worker_as_attempt_2() {
    let text = output(env!("CARGO_BIN_EXE_crash"));
    assert_eq!((count(&text, "begins attempt"), count(&text, "ends attempt")), (2, 1), "{text}");
    let worker = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    let begun: Vec<_> = text.lines().filter(|line| line.contains("begins attempt")).collect();
    assert!(worker(begun[0]).is_some() && worker(begun[0]) != worker(begun[1]), "{text}");
    // Both attempts have the same idempotency key.
    let key = |line: &str| line.split_whitespace().last().map(str::to_owned);
    assert_eq!(key(begun[0]), key(begun[1]), "{text}");
    let answer = text.lines().last().unwrap_or_default();
    let second = worker(begun[1]).unwrap_or_default();
    assert!(answer.ends_with(&format!("7 sacks ground by worker {second} in attempt 2")), "{text}");
}

#[test]
fn resume_goes_on_at_the_checkpoint_and_writes_every_row_once() {
    let text = output(env!("CARGO_BIN_EXE_resume"));
    let begun: Vec<u32> =
        text.lines().filter_map(|line| line.split_once("behind row ")?.1.parse().ok()).collect();
    assert!(begun.len() == 3 && begun[0] == 0, "{text}");
    // It is killed when it says that this row is stored, and may come a little further.
    assert!(begun[1] >= 3_000 && begun[2] >= 6_000, "{text}");
    assert!(text.contains("the import was ended by attempt 3"), "{text}");
    assert!(text.trim_end().ends_with("every row is there once, in its order: true"), "{text}");
}

/// What `progress_bar` prints, with Ctrl-C once it says that it may be pressed, or without.
fn progress_bar(interrupted: bool) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_progress_bar"));
    let mut child = command.env("NATS_URL", "").stdout(Stdio::piped()).spawn().expect("it can be started");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map(Result::unwrap);
    let mut text = String::new();
    for line in lines.by_ref() {
        text += &line;
        text.push('\n');
        if line.contains("Ctrl-C") && interrupted {
            let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
            assert!(interrupt.expect("there is `kill`").success());
        }
    }
    assert!(child.wait().is_ok_and(|status| status.success()), "{text}");
    text
}

#[test]
fn progress_bar_shows_all_of_it_or_as_much_as_there_is_at_ctrl_c() {
    let text = progress_bar(false);
    assert!(text.contains("printed 200 of 200 pages"), "{text}");
    let moves = text.lines().find_map(|line| line.strip_prefix("the bar moved ")?.strip_suffix(" times"));
    assert!(moves.and_then(|it| it.parse::<u32>().ok()).is_some_and(|moves| moves > 5), "{text}");
    let text = progress_bar(true);
    assert!(text.contains("cancelled"), "{text}");
    let pages = text.lines().find_map(|line| line.strip_prefix("printed ")?.strip_suffix(" of 200 pages"));
    assert!(pages.and_then(|it| it.parse::<u32>().ok()).is_some_and(|pages| pages < 200), "{text}");
}

#[test]
fn nested_deadline_reaches_the_third_service() {
    let text = output(env!("CARGO_BIN_EXE_nested_deadline"));
    let left = |who: &str| {
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix(who)?.split_once("part; "));
        let left = lines.map(|(_, left)| left.strip_suffix(" s are left")?.parse::<f32>().ok());
        left.map(|left| left.expect("a number")).collect::<Vec<_>>()
    };
    for (nth, deadline) in [7.0, 10.0].into_iter().enumerate() {
        for (who, hop) in [("shop", 1.0), ("warehouse", 2.0), ("carrier", 3.0)] {
            assert!(left(who)[nth] <= deadline - hop, "{who}: {text}");
        }
    }
    let cents = |within: &str| -> u32 {
        let line = text.lines().find(|line| line.contains(within)).expect("an answer in time");
        line.split(' ').rev().nth(1).expect("a price").parse().expect("a number")
    };
    assert!(cents("within 10 s") < cents("within 7 s"), "{text}");
}

#[test]
fn server_stream_is_produced_no_faster_than_it_is_read_and_read_twice() {
    let text = output(env!("CARGO_BIN_EXE_server_stream"));
    let numbers = numbers(&text);
    assert_eq!((numbers["runs"], numbers["read"]), (1, 5_000), "{text}");
    // 8 MiB are 2,087 entries; there is one more that waits for room, and one that the reader has in hand.
    assert!((1..=2_094).contains(&numbers["most_ahead"]), "{text}");
    let readers = |what: &str| {
        let lines = text.lines().filter(|line| line.ends_with(what));
        lines.filter_map(|line| line.trim().split(' ').nth(1)).collect::<BTreeSet<_>>()
    };
    // Two processes, which both have all of it and the bank's own error.
    assert_eq!(readers("has read 5000 entries").len(), 2, "{text}");
    let ended = readers("awaits the call: the books end with entry 5000");
    assert_eq!(ended, readers("has read 5000 entries"), "{text}");
}

#[test]
fn fan_in_brings_every_file_as_it_was_sent() {
    let text = output(env!("CARGO_BIN_EXE_fan_in"));
    let numbers = numbers(&text);
    let beside = fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap().map(|entry| entry.unwrap().path());
    let mut files = vec![8 << 20];
    files.extend(beside.filter(|path| path.is_file()).map(|path| fs::metadata(path).unwrap().len()));
    let (count_of, bytes) = (files.len() as u64, files.iter().sum::<u64>());
    assert_eq!((numbers["runs"], numbers["files"], numbers["bytes"]), (count_of, count_of, bytes), "{text}");
    assert!(text.contains(&format!("{count_of} handlers read, each a stream of its own")), "{text}");
    assert_eq!(count(&text, "SHA256:"), count_of, "{text}");
}

#[test]
fn chat_goes_on_behind_a_cut_without_loss_or_repeat() {
    let text = output(env!("CARGO_BIN_EXE_chat"));
    let numbers = numbers(&text);
    assert_eq!((numbers["runs"], numbers["lost"], numbers["repeated"]), (1, 0, 0), "{text}");
    assert_eq!([numbers["sent"], numbers["heard"], numbers["received"]], [7; 3], "{text}");
    let said = |who: &str| {
        let lines = text.lines().filter_map(|line| Some(line.split_once(who)?.1.to_owned()));
        lines.collect::<Vec<_>>()
    };
    assert_eq!(said("guest   ").len(), 7, "{text}");
    assert_eq!(said("waiter  noted: "), said("guest   "), "{text}");
    let at = |what: &str| text.lines().position(|line| line.ends_with(what)).expect(what);
    for (earlier, later) in
        [("soup.", "cut"), ("cut", "guest   Hello?"), ("guest   And some bread.", "healed")]
    {
        assert!(at(earlier) < at(later), "{text}");
    }
    assert!(at("healed") < at("noted: Hello?"), "{text}");
}

#[test]
fn blocked_thread_keeps_its_request_for_four_leases() {
    let text = output(env!("CARGO_BIN_EXE_blocked_thread"));
    let numbers = numbers(&text);
    assert_eq!((numbers["runs"], numbers["redeliveries"]), (1, 0), "{text}");
    // One heartbeat each second, from the keeper's own thread.
    assert!((16..=27).contains(&numbers["heartbeats"]), "{text}");
    assert!(numbers["blocked"] >= 1, "{text}");
    assert!(text.contains("12 boxes packed in attempt 1"), "{text}");
}

#[tokio::test]
async fn examples_take_the_server_that_nats_url_names() {
    let server = NatsServer::start().await.unwrap();
    let url = server.url();
    let text = tokio::task::spawn_blocking(move || output_on(env!("CARGO_BIN_EXE_typed_contract"), &url));
    let text = text.await.unwrap();
    assert!(text.starts_with(&format!("nats-server at {}, as NATS_URL says", server.url())), "{text}");
    assert!(text.contains("opened account 1"), "{text}");
}

#[test]
fn nats_server_takes_the_configuration_of_this_repository() {
    let server = ServerBinary::find().unwrap();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    // `-t` reads the file, says what it thinks of it, and starts nothing.
    let read =
        Command::new(server.path()).args(["-c", "nats.conf", "-t"]).current_dir(root).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}
