//! Arbitrage in 30 lines: newest values, both fees, nothing stale. arbitrage_30 [SECONDS] [SYMBOL]

mod common;

use std::time::Duration;

use bookwire_client::{Book, Refused, Subscription};

const THRESHOLD: f64 = 10.0; // quote units of profit

fn fee(book: &Book) -> f64 {
    let own = [("binance:", 0.0010), ("bybit:", 0.0010), ("okx:", 0.0020)]; // your own tier's; others 0.0030
    own.iter().find(|(name, _)| book.channel.starts_with(name)).map_or(0.0030, |(_, fee)| *fee)
}

fn main() -> Result<(), Refused> {
    let (mut client, end) = (common::client(), common::end());
    let symbol = common::argument(2, "BTC-USDT");
    for name in client.symbols()?.remove(&symbol).expect("SYMBOL is carried") {
        let options = Subscription { interval: Some(Duration::ZERO), ..Default::default() };
        client.subscribe(&format!("{name}:{symbol}"), options)?;
    }
    while common::run_for(&mut client, Duration::from_millis(100), end) {
        let fresh: Vec<&Book> = client.books().filter(|book| book.fresh(Duration::from_secs(2))).collect();
        for buy in &fresh {
            for sell in &fresh {
                let (Some(ask), Some(bid)) = (buy.best_ask(), sell.best_bid()) else { continue };
                let size = ask.quantity.min(bid.quantity).to_f64();
                let (paid, got) = (ask.price.to_f64() * (1.0 + fee(buy)), bid.price.to_f64() * (1.0 - fee(sell)));
                if size * (got - paid) > THRESHOLD {
                    println!("buy {size} of {} for {paid}, sell to {} for {got}", buy.channel, sell.channel);
                }
            }
        }
        print!("{} of {} books fresh\r", fresh.len(), client.books().count());
    }
    Ok(())
}
