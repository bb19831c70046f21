//! What all examples share: the gateway's address, the end after some seconds, every event but books told.
#![allow(dead_code)] // no example uses all of it

use std::time::{Duration, Instant};

use bookwire_client::{Client, Event};

/// The n-th argument, or `default`.
pub fn argument(place: usize, default: &str) -> String {
    std::env::args().nth(place).unwrap_or_else(|| default.to_owned())
}

pub fn client() -> Client {
    Client::new(&std::env::var("BOOKWIRE_URL").unwrap_or_else(|_| "ws://127.0.0.1:8081/".to_owned()))
}

/// When to stop: the first argument in seconds, else in a year.
pub fn end() -> Instant {
    Instant::now() + Duration::from_secs_f64(argument(1, "31536000").parse().expect("SECONDS is a number"))
}

pub fn tell(event: &Event) {
    match event {
        Event::Book { .. } | Event::Arb { .. } | Event::Heartbeat { .. } | Event::Connected { attempt: 1 } => {}
        other => eprintln!("{other:?}"),
    }
}

/// Takes in what comes for so long, or until the end.
pub fn run_for(client: &mut Client, time: Duration, end: Instant) -> bool {
    let until = end.min(Instant::now() + time);
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        if let Some(event) = client.next(left) {
            tell(&event);
        }
    }
    Instant::now() < end
}
