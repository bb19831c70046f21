//! Every ordered pair of exchanges for every symbol, through the depth, after both taker fees.
//!
//! arbitrage_scanner [SECONDS] [CAPITAL]: each second the best pairs, in basis points of CAPITAL (10000).

mod common;

use std::time::Duration;

use bookwire_client::{Action, Book, Refused, Subscription};

const FRESH: Duration = Duration::from_secs(3);

/// Put in those of your own tier.
fn taker_fee(book: &Book) -> f64 {
    match book.channel.split(':').next() {
        Some("binance" | "bybit") => 0.0010,
        Some("okx") => 0.0020,
        _ => 0.0030,
    }
}

/// What is left of the capital after buying here, selling there and both fees, in basis points.
fn net_bps(buy: &Book, sell: &Book, capital: f64) -> Option<f64> {
    if !buy.fresh(FRESH) || !sell.fresh(FRESH) {
        return None;
    }
    let size = capital / buy.best_ask()?.price.to_f64();
    let paid = buy.average_price(Action::Buy, size)? * (1.0 + taker_fee(buy));
    let got = sell.average_price(Action::Sell, size)? * (1.0 - taker_fee(sell));
    Some((got / paid - 1.0) * 10_000.0)
}

fn symbol(book: &Book) -> &str {
    book.channel.rsplit(':').next().unwrap_or_default()
}

fn main() -> Result<(), Refused> {
    let (mut client, end) = (common::client(), common::end());
    let capital: f64 = common::argument(2, "10000").parse().expect("CAPITAL is a number");
    for (symbol, exchanges) in client.symbols()?.into_iter().filter(|(symbol, _)| symbol.ends_with("-USDT")) {
        for exchange in exchanges {
            client.subscribe(&format!("{exchange}:{symbol}"), Subscription { depth: 100, ..Default::default() })?;
        }
    }
    while common::run_for(&mut client, Duration::from_secs(1), end) {
        let books: Vec<&Book> = client.books().collect();
        let mut found = Vec::new();
        for buy in &books {
            for sell in books.iter().filter(|sell| symbol(sell) == symbol(buy) && sell.channel != buy.channel) {
                found.extend(net_bps(buy, sell, capital).map(|net| (net, &buy.channel, &sell.channel)));
            }
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        let fresh = books.iter().filter(|book| book.fresh(FRESH)).count();
        println!("{fresh} fresh books, {} pairs", found.len());
        for (net, buy, sell) in found.iter().take(5) {
            println!("  buy {buy:<20} sell {sell:<20} net {net:8.2} bps {:9.2}", net / 10_000.0 * capital);
        }
    }
    Ok(())
}
