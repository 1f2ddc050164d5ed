//! Run with `cargo run --bin progress_bar`: a bar shows how far a handler is; Ctrl-C cancels the call.

#![allow(clippy::print_stdout, reason = "what an example prints is what it shows")]

use std::time::Duration;

use examples::Nats;
use indicatif::{ProgressBar, ProgressStyle};
use requite::{CallEvent, Progress, prelude::*};

const PAGES: u32 = 200;

struct Press;

#[service(name = "press")]
impl Press {
    /// Prints pages, and says how many there are in the end.
    #[handler]
    async fn print(&self, cx: &Context, pages: u32) -> u32 {
        for page in 0..pages {
            cx.progress(Progress::of(page, pages).message(format!("page {}", page + 1)));
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
                // What is printed is of use: a value, and not an error.
                () = cx.cancelled() => return page,
            }
        }
        pages
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let nats = Nats::from_env().await?;
    // Not `run`, which would take Ctrl-C for itself.
    let server = Server::connect(nats.url()).await?.serve(Press).start().await?;
    let press = PressClient::connect(nats.url()).await?;

    let mut call = press.print(PAGES).start().await?;
    let mut events = call.events();
    let bar = ProgressBar::new(u64::from(PAGES));
    bar.set_style(ProgressStyle::with_template("[{bar:40}] {pos:>3}/{len} {msg}")?);
    let mut moves = 0;
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            interrupt = tokio::signal::ctrl_c() => {
                interrupt?;
                bar.suspend(|| println!("cancelled"));
                call.cancel().await?;
                continue;
            }
        };
        match event {
            Some(CallEvent::Started { .. }) => bar.suspend(|| println!("it runs; Ctrl-C cancels it")),
            Some(CallEvent::Progress(progress)) => {
                moves += 1;
                bar.set_position(progress.done().unwrap_or(0));
                bar.set_message(progress.text().unwrap_or_default().to_owned());
            }
            Some(_) => {}
            None => break,
        }
    }
    let pages = call.await?;
    bar.finish_and_clear();
    println!("the bar moved {moves} times");
    println!("printed {pages} of {PAGES} pages");
    server.shutdown().await;
    Ok(())
}
