//! A book of an exchange's shared memory, no socket between: read_shm SEGMENT SYMBOL [SECONDS]
//!
//! Copies the book, applies what comes by the ring, copies again, and so on; each book as a line of JSON (integer
//! mantissas: value = mantissa / 10^exponent). A program of your own would keep the one kept by the ring.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use bookwire_client::shm::{Level, ReadError, RecordType, Segment};

fn show(how: &str, sequence: u64, state: u32, bids: &[Level], asks: &[Level]) {
    let rows = |levels: &[Level]| {
        let row = |level: &Level| format!("[{},{},{}]", level.price, level.quantity, level.orders);
        levels.iter().map(row).collect::<Vec<_>>().join(",")
    };
    let (bids, asks) = (rows(bids), rows(asks));
    println!(r#"{{"how":"{how}","sequence":{sequence},"state":{state},"bids":[{bids}],"asks":[{asks}]}}"#);
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let (path, symbol) = (arguments.get(1).ok_or("SEGMENT?")?, arguments.get(2).ok_or("SYMBOL?")?);
    let seconds: f64 = arguments.get(3).map_or(Ok(10.0), |text| text.parse())?;
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let segment = Segment::open(path)?;
    let index = segment.index(symbol).ok_or("no such symbol in it")?;
    while Instant::now() < end && segment.alive() {
        let book = match segment.book(index, 0) {
            Ok(book) => book,
            Err(ReadError::Busy) => continue,
            Err(error) => return Err(error.into()),
        };
        show("copy", book.sequence, book.state, &book.bids, &book.asks);
        let mut bids: BTreeMap<i64, Level> = book.bids.iter().map(|level| (-level.price, *level)).collect();
        let mut asks: BTreeMap<i64, Level> = book.asks.iter().map(|level| (level.price, *level)).collect();
        let (mut sequence, mut state, mut ring) = (book.sequence, book.state, segment.records(book.ring_position));
        std::thread::sleep(Duration::from_millis(5)); // a program in a hurry looks again at once
        while let Some(Ok(record)) = ring.next() {
            if record.book != index || record.sequence <= sequence {
                continue;
            }
            if record.kind == RecordType::Reset || record.sequence != sequence + 1 {
                break; // copy anew
            }
            for (side, sign, changes) in [(&mut bids, -1, &record.bids), (&mut asks, 1, &record.asks)] {
                for level in changes {
                    side.insert(sign * level.price, *level);
                }
                side.retain(|_, level| level.quantity != 0);
            }
            (sequence, state) = (record.sequence, record.state);
        }
        let levels = |side: &BTreeMap<i64, Level>| side.values().copied().collect::<Vec<_>>();
        show("ring", sequence, state, &levels(&bids), &levels(&asks));
    }
    Ok(())
}
