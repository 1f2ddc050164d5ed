//! Streams: whoever reads sees the items of one attempt, or those of attempts that went on behind each other, from the
//! first on, without gap and without repeat; and all of them if the call has a value and the reader did not leave.

use super::Case;
use crate::entry::{Answer, Class, Close, End, Flow, Piece};

/// The methods whose later attempts go on behind what is stored.
const RESUME: [&str; 2] = ["resume", "trade"];

pub(super) fn streams_come_whole_and_in_order(case: &Case<'_>) -> Vec<String> {
    let wrong = |flow: &&Flow| {
        let what = match &flow.end {
            End::Reads(call) => reads(case, flow, call),
            End::Takes(_) => takes(case, flow),
            End::Sends(call) => sends(case, flow, call),
            End::Fills(_) => Ok(()),
        };
        what.err().map(|what| format!("{what}: {flow:?}"))
    };
    case.flows.iter().filter_map(wrong).collect()
}

/// The last item and its attempt, if everything before it follows.
fn follows(flow: &Flow, resumes: bool) -> Result<(u64, Option<u32>), String> {
    let (mut last_item, mut of) = (0, None);
    for piece in &flow.pieces {
        match piece {
            Piece::Restarted(attempt) if resumes => {
                return Err(format!("attempt {attempt} begins anew what goes on"));
            }
            Piece::Restarted(attempt) => {
                if of.is_some_and(|of| of >= *attempt) {
                    return Err(format!("attempt {attempt} is no later one"));
                }
                (last_item, of) = (0, Some(*attempt));
            }
            Piece::Items { attempt, first, last } => {
                if *first != last_item + 1 {
                    return Err(format!("{first} does not follow on {last_item}"));
                }
                // The attempt that begins anew may have ended before its first item, and a later one sent it.
                let may_be_later = resumes || last_item == 0;
                if of.is_some_and(|of| if may_be_later { of > *attempt } else { of != *attempt }) {
                    return Err(format!("attempt {attempt} behind {of:?}"));
                }
                (last_item, of) = (*last, Some(*attempt));
            }
        }
    }
    Ok((last_item, of))
}

fn reads(case: &Case<'_>, flow: &Flow, call: &str) -> Result<(), String> {
    let call = case.calls.get(call).ok_or("nobody made this call")?;
    let resumes = RESUME.contains(&&*call.invoke.method);
    let (last, of) = follows(flow, resumes)?;
    if let Close::Wrong(why) | Close::Other(why) = &flow.close {
        return Err(why.clone());
    }
    let Some(answer) = call.answer() else { return Ok(()) };
    match (answer.class, &flow.close) {
        (Class::Ok, Close::All) => all_of_it(answer, last, of, resumes),
        (Class::Ok, Close::Left) => part_of_it(answer, last, of, resumes),
        (_, Close::Left) => Ok(()),
        (Class::Ok, _) | (_, Close::All) => Err(format!("the call ended as {:?}", answer.class)),
        _ => Ok(()),
    }
}

fn all_of_it(answer: &Answer, last: u64, of: Option<u32>, resumes: bool) -> Result<(), String> {
    if answer.sent != Some(last) {
        return Err(format!("{last} items of {:?}", answer.sent));
    }
    // A stream of nothing is of no attempt.
    let is_of = |attempt: u32, of: u32| if resumes { of <= attempt } else { of == attempt };
    match (answer.attempt, of) {
        (Some(attempt), Some(of)) if last > 0 && !is_of(attempt, of) => {
            Err(format!("the value is of attempt {attempt}, the items of {of}"))
        }
        _ => Ok(()),
    }
}

/// Who left while an earlier attempt sent was not told that a later one began anew.
fn part_of_it(answer: &Answer, last: u64, of: Option<u32>, resumes: bool) -> Result<(), String> {
    if of > answer.attempt {
        return Err(format!("the value is of attempt {:?}, the items of {of:?}", answer.attempt));
    }
    if (resumes || of == answer.attempt) && Some(last) > answer.sent {
        return Err(format!("{last} items of {:?}", answer.sent));
    }
    Ok(())
}

fn takes(case: &Case<'_>, flow: &Flow) -> Result<(), String> {
    let (last, _) = follows(flow, false)?;
    if flow.pieces.iter().any(|piece| matches!(piece, Piece::Restarted(_))) {
        return Err("a caller goes on, and does not begin anew".to_owned());
    }
    if let Close::Wrong(why) = &flow.close {
        return Err(why.clone());
    }
    let mut finished = case.flows.iter().filter(|it| is_finished(it) && is_same(it, flow));
    match finished.find(|it| flow.close == Close::All && last_of(it) != last) {
        Some(sent) => Err(format!("took {last} of {}", last_of(sent))),
        None => Ok(()),
    }
}

/// The handler whose value it is got all that was sent.
fn sends(case: &Case<'_>, flow: &Flow, call: &str) -> Result<(), String> {
    if let Close::Wrong(why) = &flow.close {
        return Err(why.clone());
    }
    let answer = case.calls.get(call).ok_or("nobody made this call")?.answer();
    let Some(answer) = answer.filter(|it| it.class == Class::Ok && is_finished(flow)) else {
        return Ok(());
    };
    let sent = last_of(flow);
    if answer.taken == Some(sent) { Ok(()) } else { Err(format!("{:?} of {sent} arrived", answer.taken)) }
}

fn is_same(one: &Flow, other: &Flow) -> bool {
    (&one.caller, &one.id) == (&other.caller, &other.id)
}

/// A caller's end that was told that all is stored, and that nothing follows.
fn is_finished(flow: &Flow) -> bool {
    matches!(flow.end, End::Sends(_)) && flow.close == Close::All
}

fn last_of(flow: &Flow) -> u64 {
    match flow.pieces.last() {
        Some(Piece::Items { last, .. }) => *last,
        _ => 0,
    }
}
