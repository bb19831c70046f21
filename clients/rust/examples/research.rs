//! Writes a study's raw material as CSV: research [SECONDS] [FILE] [SYMBOL]
//!
//! One row for each update of each exchange, exact decimals, with our sequence and stamps; a row with empty prices
//! where a book was not live, so that no gap looks like a quiet market.

mod common;

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

use bookwire_client::{Event, Subscription};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut client, end) = (common::client(), common::end());
    let symbol = common::argument(3, "BTC-USDT");
    let mut out = BufWriter::new(File::create(common::argument(2, "study.csv"))?);
    writeln!(out, "channel,seq,recv_ms,pub_ns,bid,bid_qty,ask,ask_qty")?;
    for name in client.symbols()?.remove(&symbol).ok_or("SYMBOL is not carried")? {
        let options = Subscription { depth: 50, interval: Some(Duration::ZERO), ..Default::default() };
        client.subscribe(&format!("{name}:{symbol}"), options)?;
    }
    while Instant::now() < end {
        let Some(event) = client.next(Duration::from_millis(100)) else { continue };
        common::tell(&event);
        let Event::Book { channel, .. } = event else { continue };
        let Some(book) = client.book(&channel) else { continue };
        write!(out, "{channel},{},{},{}", book.seq.unwrap_or(0), book.ts, book.pub_ns)?;
        match (book.live(), book.best_bid(), book.best_ask()) {
            (true, Some(bid), Some(ask)) => {
                writeln!(out, ",{},{},{},{}", bid.price, bid.quantity, ask.price, ask.quantity)?
            }
            _ => writeln!(out, ",,,,")?,
        }
    }
    out.flush()?;
    Ok(())
}
