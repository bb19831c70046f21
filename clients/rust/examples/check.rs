//! Proves a box and this client: deltas must give the gateway's own snapshot of the same moment.
//!
//! check [SECONDS] [CHANNEL ...]: one connection keeps books by deltas, another is sent whole snapshots. Each second a
//! line of JSON: what was compared, what differed, how many books are live, what broke on the way.

mod common;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bookwire_client::{Book, Event, Kind, Level, Subscription};

const KEPT: usize = 5000; // moments that wait for the other connection

type Moment = (String, Option<u64>, i64);
type Levels = (Vec<Level>, Vec<Level>);

/// Books by moment, the newest KEPT of them.
#[derive(Default)]
struct Moments(HashMap<Moment, Levels>, VecDeque<Moment>);

#[derive(Default)]
struct Comparison {
    moments: [Moments; 2], // kept by deltas, sent whole
    compared: u64,
    different: u64,
}

impl Comparison {
    /// Compares the two books of a moment as soon as both are there.
    fn meet(&mut self, own: usize, book: &Book) {
        let levels = |side: Vec<&Level>| side.into_iter().cloned().collect::<Vec<_>>();
        let moment = (book.channel.clone(), book.seq, book.pub_ns);
        let levels = (levels(book.bids()), levels(book.asks()));
        if let Some(other) = self.moments[1 - own].0.get(&moment) {
            self.compared += 1;
            self.different += u64::from(*other != levels);
        }
        let Moments(mine, order) = &mut self.moments[own];
        mine.insert(moment.clone(), levels);
        order.push_back(moment);
        if order.len() > KEPT {
            mine.remove(&order.pop_front().expect("more than none"));
        }
    }
}

fn follow(own: usize, channels: &[String], comparison: &Mutex<Comparison>) {
    let (mut client, end) = (common::client(), common::end());
    let interval = Some(Duration::from_millis(if own == 0 { 0 } else { 100 }));
    for channel in channels {
        let options = Subscription { depth: 50, deltas: own == 0, interval, ..Default::default() };
        client.subscribe(channel, options).expect("channel");
    }
    let (mut deltas, mut emptied, mut notices, mut disconnects) = (0, 0, 0, 0);
    let mut told = Instant::now();
    while Instant::now() < end {
        match client.next(Duration::from_millis(100)) {
            Some(Event::Book { channel, kind }) => {
                deltas += u64::from(kind == Kind::Delta);
                let book = client.book(&channel).filter(|book| book.whole);
                emptied += u64::from(book.is_some_and(|book| kind == Kind::Snapshot && book.best_bid().is_none()));
                book.into_iter().for_each(|book| comparison.lock().expect("unbroken").meet(own, book));
            }
            Some(Event::Disconnected { .. }) => disconnects += 1,
            Some(Event::Reconnect { .. }) => notices += 1,
            Some(event) => common::tell(&event),
            None => {}
        }
        if own == 0 && told.elapsed() >= Duration::from_secs(1) {
            told = Instant::now();
            let Comparison { compared, different, .. } = *comparison.lock().expect("unbroken");
            let live = client.books().filter(|book| book.live()).count();
            let books = client.books().count();
            print!(r#"{{"compared":{compared},"different":{different},"deltas":{deltas},"emptied":{emptied},"#);
            println!(r#""notices":{notices},"disconnects":{disconnects},"live":{live},"books":{books}}}"#);
        }
    }
}

fn main() {
    let given: Vec<String> = std::env::args().skip(2).collect();
    let usual = || ["top", "consbook", "fullbook", "binance"].map(|kind| format!("{kind}:BTC-USDT")).to_vec();
    let channels = Arc::new(if given.is_empty() { usual() } else { given });
    let comparison = Arc::new(Mutex::new(Comparison::default()));
    let other = {
        let (channels, comparison) = (Arc::clone(&channels), Arc::clone(&comparison));
        std::thread::spawn(move || follow(1, &channels, &comparison))
    };
    follow(0, &channels, &comparison);
    other.join().expect("the other connection");
}
