//! A paper-trading bot: follows the weight of the top five levels of one book. bot [SECONDS] [CHANNEL]
//!
//! It acts on a fresh book only, pays the spread and the fee, and walks the depth for its price. Not advice.

mod common;

use std::time::{Duration, Instant};

use bookwire_client::{Action, Event, Level, Refused, Subscription};

const SIZE: f64 = 0.01; // base units
const FEE_BPS: f64 = 10.0;
const TILT: f64 = 0.65; // share of one side that makes us act

fn weight(levels: &[&Level]) -> f64 {
    levels.iter().take(5).map(|level| level.quantity.to_f64()).sum()
}

fn main() -> Result<(), Refused> {
    let (mut client, end) = (common::client(), common::end());
    let options = Subscription { interval: Some(Duration::ZERO), ..Default::default() };
    let channel = client.subscribe(&common::argument(2, "binance:BTC-USDT"), options)?;
    let (mut position, mut cash) = (0.0, 0.0);
    while Instant::now() < end {
        let Some(event) = client.next(Duration::from_millis(100)) else { continue };
        common::tell(&event);
        let Some(book) = client.book(&channel) else { continue };
        if !matches!(event, Event::Book { .. }) || !book.fresh(Duration::from_secs(3)) {
            continue; // resyncing, down or cut off: hands off
        }
        let (bids, asks) = (weight(&book.bids()), weight(&book.asks()));
        let tilt = bids / (bids + asks);
        let (sign, action) = match tilt {
            high if high > TILT && position <= 0.0 => (1.0, Action::Buy),
            low if low < 1.0 - TILT && position >= 0.0 => (-1.0, Action::Sell),
            _ => continue,
        };
        let Some(price) = book.average_price(action, SIZE) else { continue }; // not so much on offer
        position += sign * SIZE;
        cash -= sign * SIZE * price + SIZE * price * FEE_BPS / 10_000.0;
        let worth = cash + position * book.mid().unwrap_or(0.0);
        println!("{action:?} {SIZE} at {price:.2}: tilt {tilt:.2}, position {position:+.2}, {worth:+.2}");
    }
    Ok(())
}
