//! Exact decimals as the gateway writes them.

use std::cmp::Ordering;
use std::fmt;

const PLACES_MAX: u8 = 36; // 10^36 and what is added to it fit an i128

/// `mantissa / 10^places`, without trailing zeros, so that equal numbers are equal values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    mantissa: i128,
    places: u8,
}

impl Decimal {
    pub fn new(mantissa: i128, places: u8) -> Self {
        let (mut mantissa, mut places) = (mantissa, places);
        while places > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            places -= 1;
        }
        Decimal { mantissa, places }
    }

    /// Digits with at most one point; None for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() || fraction.len() > PLACES_MAX as usize {
            return None;
        }
        let mut mantissa: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            if !digit.is_ascii_digit() {
                return None;
            }
            mantissa = mantissa.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
        }
        Some(Decimal::new(if negative { -mantissa } else { mantissa }, fraction.len() as u8))
    }

    pub fn is_zero(&self) -> bool {
        self.mantissa == 0
    }

    pub fn to_f64(self) -> f64 {
        // by its digits: a division of two rounded numbers would round twice
        self.to_string().parse().unwrap_or(f64::NAN)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let parts = |each: &Decimal, places: u8| {
            let unit = 10i128.pow(u32::from(each.places));
            let up = 10i128.pow(u32::from(places - each.places));
            (each.mantissa.div_euclid(unit), each.mantissa.rem_euclid(unit) * up)
        };
        let places = self.places.max(other.places);
        parts(self, places).cmp(&parts(other, places))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = usize::from(self.places);
        let digits = format!("{:0>width$}", self.mantissa.unsigned_abs(), width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let point = if places > 0 { "." } else { "" };
        out.pad_integral(self.mantissa >= 0, "", &format!("{whole}{point}{fraction}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn digits_survive_and_order_is_by_value() {
        for text in ["0", "1", "45000.5", "0.00000001", "123456789012345678.123456789", "-2.5"] {
            assert_eq!(Decimal::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Decimal::parse("45000.50"), Decimal::parse("45000.5"));
        let sorted = ["-2.5", "-2.4", "0", "0.09", "0.1", "9", "10.01", "10.1"];
        for pair in sorted.windows(2) {
            assert!(Decimal::parse(pair[0]) < Decimal::parse(pair[1]), "{pair:?}");
        }
        assert_eq!(Decimal::parse("64000.07").unwrap().to_f64(), 64000.07);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "-", ".", ".5", "1e5", "1.2.3", "x", "1_000"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
        assert_eq!(Decimal::parse(&"9".repeat(60)), None);
    }
}
