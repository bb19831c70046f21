//! Arbitrage in 30 lines: newest values, fees, nothing stale. arbitrage_30 [SECONDS] [SYMBOL] [PROFIT]

mod common;

use std::time::Duration;

use bookwire_client::{ArbTerms, Refused};

const CAPITAL: f64 = 10_000.0; // most that a trade may cost, in the quote asset
const MAX_AGE: Duration = Duration::from_secs(2);

fn main() -> Result<(), Refused> {
    let (mut client, end) = (common::client(), common::end());
    let threshold: f64 = common::argument(3, "10").parse().expect("PROFIT is a number");
    // The box walks every pair of LIVE books through the depth, with the taker fees of its [arb.fees].
    let terms = ArbTerms { min_bp: Some(0.0), capital: Some(CAPITAL), ..Default::default() };
    let channel = client.subscribe_arb(&common::argument(2, "BTC-USDT"), terms)?;
    while common::run_for(&mut client, Duration::from_millis(100), end) {
        let arb = client.arb(&channel).expect("subscribed");
        let rows = arb.rows(MAX_AGE); // none while nothing is heard, none with an old quote
        for row in rows.iter().filter(|row| row.profit > threshold) {
            let (buy, sell) = (&row.buy, &row.sell);
            print!("buy {} at {} for {:.2}, sell at {} for ", row.size, buy.exchange, buy.vwap, sell.exchange);
            println!("{:.2}: {:.2}, {:.1} bp, {:?} old", sell.vwap, row.profit, row.net_bp, row.age);
        }
        print!("{} pairs cross, {}\r", rows.len(), if arb.fresh(MAX_AGE) { "heard" } else { "not heard" });
    }
    Ok(())
}
