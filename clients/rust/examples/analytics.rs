//! An analytics dashboard: how each exchange quotes a symbol. analytics [SECONDS] [SYMBOL]
//!
//! Each second, over what was seen so far: share of time live, mean spread, what a market order of 50,000 quote
//! units costs against the mid, and each exchange's share of the depth within 10 basis points.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use bookwire_client::{Action, Book, Refused, Subscription};

const ORDER: f64 = 50_000.0;
const WITHIN: f64 = 10.0 / 10_000.0;

/// Sums over the looks at which the book was live.
#[derive(Default)]
struct Figures {
    looks: f64,
    live: f64,
    spread_bps: f64,
    cost_bps: f64,
    near: f64,
}

impl Figures {
    fn look(&mut self, book: &Book) {
        self.looks += 1.0;
        let (Some(mid), Some(spread_bps)) = (book.mid(), book.spread_bps()) else { return };
        if !book.fresh(Duration::from_secs(3)) {
            return;
        }
        self.live += 1.0;
        self.spread_bps += spread_bps;
        let paid = book.average_price(Action::Buy, ORDER / mid).unwrap_or(f64::NAN); // deeper than we look
        self.cost_bps += (paid / mid - 1.0) * 10_000.0;
        let near = |price: f64| (price - mid).abs() <= mid * WITHIN;
        let levels = book.bids().into_iter().chain(book.asks());
        self.near += levels.filter(|level| near(level.price.to_f64())).map(|level| level.quantity.to_f64()).sum::<f64>();
    }
}

fn main() -> Result<(), Refused> {
    let (mut client, end) = (common::client(), common::end());
    let symbol = common::argument(2, "BTC-USDT");
    let mut figures = BTreeMap::new();
    for name in client.symbols()?.remove(&symbol).expect("SYMBOL is carried") {
        let options = Subscription { depth: 500, ..Default::default() };
        figures.insert(client.subscribe(&format!("{name}:{symbol}"), options)?, Figures::default());
    }
    let mut looks = 0;
    while common::run_for(&mut client, Duration::from_millis(100), end) {
        client.books().for_each(|book| figures.entry(book.channel.clone()).or_default().look(book));
        looks += 1;
        if looks % 10 > 0 {
            continue;
        }
        let near = figures.values().map(|each| each.near).sum::<f64>().max(f64::MIN_POSITIVE);
        println!("{symbol:<20} live %  spread bp  cost bp  depth share %");
        for (channel, each) in &figures {
            let (up, share, live) = (each.live / each.looks, each.near / near, each.live.max(1.0));
            let (spread, cost) = (each.spread_bps / live, each.cost_bps / live);
            println!("{channel:<20} {:>6.1} {spread:>10.3} {cost:>8.2} {:>14.1}", up * 100.0, share * 100.0);
        }
    }
    Ok(())
}
