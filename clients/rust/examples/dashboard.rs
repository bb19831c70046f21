//! A price dashboard in the terminal: the best bid and offer of every symbol over all exchanges. dashboard [SECONDS]

mod common;

use std::io::IsTerminal;
use std::time::Duration;

use bookwire_client::{Book, Refused, Subscription};

fn line(book: &Book) -> String {
    let symbol = book.channel.trim_start_matches("top:");
    let told = || {
        let (bid, ask) = (book.best_bid()?, book.best_ask()?);
        let (spread, age) = (book.spread_bps()?, book.age()?.as_secs_f64());
        Some(format!(
            "{symbol:<12} {:>14} {:>12} {:>12} {:<14} {spread:>7.2} bp {age:>5.1} s old {:>8} updates",
            bid.quantity, bid.price, ask.price, ask.quantity, book.deltas
        ))
    };
    let fresh = book.fresh(Duration::from_secs(3));
    told().filter(|_| fresh).unwrap_or_else(|| format!("{symbol:<12} not live"))
}

fn main() -> Result<(), Refused> {
    let (mut client, end) = (common::client(), common::end());
    for symbol in client.symbols()?.keys().take(40) {
        client.subscribe(&format!("top:{symbol}"), Subscription::default())?;
    }
    while common::run_for(&mut client, Duration::from_millis(500), end) {
        if std::io::stdout().is_terminal() {
            print!("\x1b[H\x1b[2J");
        }
        let link = if client.connected() { "connected" } else { "RECONNECTING" };
        println!("{link}, {} symbols", client.books().count());
        for book in client.books() {
            println!("{}", line(book));
        }
    }
    Ok(())
}
