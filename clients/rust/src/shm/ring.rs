//! The update ring: what has come since, record by record.

use std::sync::atomic::{fence, Ordering};

use super::segment::{RING_HEAD, RING_RESERVED};
use super::{Copy, ReadError, Record, RecordType, Segment};

const RECORD_BYTES: u64 = 80;
const LEVEL_BYTES: u64 = 24;

impl Segment {
    /// The ring from `position` on: yields what has come and then None; iterate again later. After an Overrun it
    /// goes on at the head.
    pub fn records(&self, position: u64) -> Ring<'_> {
        Ring { segment: self, position }
    }

    /// The ring from now on.
    pub fn records_from_now(&self) -> Ring<'_> {
        self.records(self.word(RING_HEAD).load(Ordering::Acquire))
    }

    /// Has the writer claimed the place again that was just read?
    pub(super) fn lapped(&self, position: u64) -> bool {
        fence(Ordering::Acquire);
        self.word(RING_RESERVED).load(Ordering::Relaxed).wrapping_sub(position) > self.ring_bytes
    }
}

pub struct Ring<'a> {
    segment: &'a Segment,
    pub position: u64,
}

impl Ring<'_> {
    fn overrun(&mut self) -> Option<Result<Record, ReadError>> {
        self.position = self.segment.word(RING_HEAD).load(Ordering::Acquire);
        Some(Err(ReadError::Overrun))
    }
}

impl Iterator for Ring<'_> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let segment = self.segment;
        let head = segment.word(RING_HEAD).load(Ordering::Acquire);
        while self.position != head {
            let left = head.wrapping_sub(self.position);
            if left > segment.ring_bytes || self.position % 8 != 0 {
                return self.overrun();
            }
            let place = self.position & (segment.ring_bytes - 1);
            let first = segment.word(segment.ring_offset + place).load(Ordering::Relaxed);
            let (bytes, kind) = (first & 0xffff_ffff, (first >> 32) as u8);
            if bytes % 8 != 0 || bytes == 0 || bytes > left.min(segment.ring_bytes - place) {
                return self.overrun();
            }
            if kind == 0 {
                if segment.lapped(self.position) {
                    return self.overrun();
                }
                self.position += bytes;
                continue;
            }
            let mut words = vec![0; bytes as usize / 8];
            segment.copy(segment.ring_offset + place, &mut words);
            if segment.lapped(self.position) {
                return self.overrun();
            }
            let Some(record) = record_of(&Copy(&words), bytes) else { return self.overrun() };
            self.position += bytes;
            return Some(Ok(record));
        }
        None
    }
}

fn record_of(raw: &Copy, bytes: u64) -> Option<Record> {
    if bytes < RECORD_BYTES {
        return None;
    }
    let (bids, asks) = (u64::from(raw.u32(64)), u64::from(raw.u32(68)));
    if bytes != RECORD_BYTES + (bids + asks) * LEVEL_BYTES {
        return None;
    }
    let changes = |from: u64, to: u64| (from..to).map(|at| raw.level((RECORD_BYTES + at * LEVEL_BYTES) as usize)).collect();
    Some(Record {
        kind: match raw.u8(4) {
            1 => RecordType::Delta,
            2 => RecordType::Reset,
            3 => RecordType::State,
            _ => return None,
        },
        price_exponent: raw.u8(6),
        quantity_exponent: raw.u8(7),
        book: raw.u32(8),
        epoch: raw.u32(12),
        sequence: raw.u64(16),
        exchange_ns: raw.i64(32),
        receive_ns: raw.i64(40),
        published_ns: raw.i64(56),
        state: raw.u32(72),
        reason: raw.u32(76),
        bids: changes(0, bids),
        asks: changes(bids, bids + asks),
    })
}
