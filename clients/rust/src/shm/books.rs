//! Copies of books, as "A whole book" of the documentation says.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::segment::{Patience, CHUNK_BYTES, CHUNK_LEVELS, RING_HEAD};
use super::{Book, Copy, Level, ReadError, RecordType, Segment};

const SIDE: usize = 320; // of bw_book.side, 32 bytes each
const PIECE: usize = 256; // levels copied under one look at the lock, halved where the writer is busy
const PIECE_MIN: usize = 8;
const TRIES: u32 = 8;

type Levels = BTreeMap<i64, Level>; // by key: the price of bids, minus that of asks; the best is the last

fn key_of(side: usize, price: i64) -> i64 {
    if side == 0 {
        price
    } else {
        price.wrapping_neg()
    }
}

impl Segment {
    /// State, stamps and the best 4 levels a side, at one sequence.
    pub fn top(&self, index: u32) -> Result<Book, ReadError> {
        let words = self.header(self.book_at(index)?, &mut Patience::default())?;
        let header = Copy(&words);
        let best = |side: usize| {
            let count = header.u32(40 + side * 4).min(4) as usize;
            (0..count).map(|place| header.level(128 + side * 96 + place * 24)).collect()
        };
        Ok(book_of(&header, best(0), best(1), self.word(RING_HEAD).load(Ordering::Acquire)))
    }

    /// The whole book, or its best `depth` levels (0: all), at one sequence.
    pub fn book(&self, index: u32, depth: usize) -> Result<Book, ReadError> {
        let offset = self.book_at(index)?;
        let mut patience = Patience::default();
        for _ in 0..TRIES {
            match self.copy_book(index, offset, depth, &mut patience) {
                Err(ReadError::Overrun) => {}
                done => return done,
            }
        }
        Err(ReadError::Busy)
    }

    /// One try, as "A whole book" of the documentation says. Overrun: start over.
    fn copy_book(&self, index: u32, offset: u64, depth: usize, patience: &mut Patience) -> Result<Book, ReadError> {
        let mut position = self.word(RING_HEAD).load(Ordering::Acquire);
        let before = self.header(offset, patience)?;
        let mut sides = [self.walk(offset, 0, patience)?, self.walk(offset, 1, patience)?];
        let after = self.header(offset, patience)?;
        let (before, header) = (Copy(&before), Copy(&after));
        if header.u32(24) != before.u32(24) {
            return Err(ReadError::Overrun); // replaced meanwhile
        }
        if header.u64(8) != before.u64(8) {
            position = self.replay(index, (before.u64(8), header.u64(8)), position, &mut sides, patience)?;
        }
        for (side, levels) in sides.iter().enumerate() {
            if levels.len() as u64 != u64::from(header.u32(SIDE + side * 32 + 16)) {
                return Err(ReadError::Overrun);
            }
        }
        let most = if depth == 0 { usize::MAX } else { depth };
        let [bids, asks] = sides.map(|levels| levels.into_values().rev().take(most).collect());
        Ok(book_of(&header, bids, asks, position))
    }

    /// Every level that stands throughout, and some that come or go meanwhile, from best to worst.
    fn walk(&self, offset: u64, side: usize, patience: &mut Patience) -> Result<Levels, ReadError> {
        let (mut levels, mut bound, mut piece) = (Levels::new(), i64::MAX, PIECE);
        loop {
            let Some(found) = self.locked(offset, || self.below(offset, side, bound, piece)) else {
                piece = (piece / 2).max(PIECE_MIN);
                self.wait(patience)?;
                continue;
            };
            let Some(last) = found.last().filter(|(key, _)| *key < bound) else { return Ok(levels) };
            bound = last.0;
            let done = found.len() < piece;
            levels.extend(found);
            if done {
                return Ok(levels);
            }
            piece = (piece * 2).min(PIECE);
        }
    }

    /// Up to `room` levels whose key is below `bound`, best first. Numbers are bounded here; the lock tells the caller
    /// whether they were right.
    fn below(&self, offset: u64, side: usize, bound: i64, room: usize) -> Vec<(i64, Level)> {
        let side_offset = offset + (SIDE + side * 32) as u64;
        let directory = self.word(side_offset).load(Ordering::Relaxed);
        let entries = u64::from(self.u32(side_offset + 12));
        let mut found = Vec::with_capacity(room);
        if directory % 8 != 0 || directory > self.bytes || entries > (self.bytes - directory) / 16 {
            return found;
        }
        let low_key = |entry: u64| self.word(directory + entry * 16).load(Ordering::Relaxed) as i64;
        let (mut first, mut last) = (0, entries); // the entries whose lowest key is below the bound come first
        while first < last {
            let middle = (first + last) / 2;
            if low_key(middle) < bound {
                first = middle + 1;
            } else {
                last = middle;
            }
        }
        for entry in (0..first).rev() {
            let at = self.word(directory + entry * 16 + 8).load(Ordering::Relaxed);
            let (chunk, count) = (at & 0xffff_ffff, at >> 32);
            if chunk >= self.chunk_capacity || count > CHUNK_LEVELS {
                return found;
            }
            let start = self.chunk_offset + chunk * CHUNK_BYTES;
            for place in (0..count).rev() {
                let key = self.word(start + place * 8).load(Ordering::Relaxed) as i64;
                if key >= bound {
                    continue;
                }
                if found.len() == room {
                    return found;
                }
                let quantity = self.word(start + 256 + place * 8).load(Ordering::Relaxed) as i64;
                let orders = self.u32(start + 512 + place * 4);
                found.push((key, Level { price: key_of(side, key), quantity, orders }));
            }
        }
        found
    }

    /// Applies the book's records of sequences after `span.0` up to `span.1`. Overrun: start over.
    fn replay(
        &self,
        index: u32,
        span: (u64, u64),
        position: u64,
        sides: &mut [Levels; 2],
        patience: &mut Patience,
    ) -> Result<u64, ReadError> {
        let mut ring = self.records(position);
        loop {
            let Some(record) = ring.next().transpose()? else {
                self.wait(patience)?; // the book is ahead of the ring for a moment
                continue;
            };
            if record.book != index || record.sequence <= span.0 {
                continue;
            }
            if record.sequence > span.1 || record.kind == RecordType::Reset {
                return Err(ReadError::Overrun);
            }
            for (side, changes) in [&record.bids, &record.asks].into_iter().enumerate() {
                for level in changes {
                    let key = key_of(side, level.price);
                    if level.quantity == 0 {
                        sides[side].remove(&key);
                    } else {
                        sides[side].insert(key, *level);
                    }
                }
            }
            if record.sequence == span.1 {
                return Ok(ring.position);
            }
        }
    }
}

fn book_of(header: &Copy, bids: Vec<Level>, asks: Vec<Level>, ring_position: u64) -> Book {
    Book {
        sequence: header.u64(8),
        venue_sequence: header.u64(16),
        epoch: header.u32(24),
        state: header.u32(28),
        reason: header.u32(32),
        price_exponent: header.u8(36),
        quantity_exponent: header.u8(37),
        exchange_ns: header.i64(64),
        receive_ns: header.i64(72),
        published_ns: header.i64(88),
        bids,
        asks,
        ring_position,
    }
}
