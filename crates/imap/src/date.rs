//! Dates and times as IMAP writes them.
//!
//! # Standards
//! RFC 3501 §9 (`date`, `date-time`), §6.4.4 (dates of SEARCH disregard time and zone).

use crate::command::{Date, DateTime};
use crate::parse::{Cursor, DecodeError};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const SECONDS_PER_DAY: i64 = 86_400;

impl Date {
    /// The day with this year, month (1–12) and day of month, `None` when there is none (Gregorian calendar).
    /// The years are those of four digits, 0 to 9999.
    #[must_use]
    pub fn from_civil(year: i32, month: u32, day: u32) -> Option<Self> {
        if !(0..=9999).contains(&year) || !(1..=12).contains(&month) {
            return None;
        }
        if day == 0 || day > days_in_month(year, month) {
            return None;
        }
        let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
        let (era, of_era) = (y.div_euclid(400), y.rem_euclid(400));
        let of_year = i32::try_from((153 * m + 2) / 5 + day - 1).ok()?;
        let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        Some(Self { days: era * 146_097 + days - 719_468 })
    }

    /// Year, month (1–12) and day of month.
    #[must_use]
    pub fn civil(self) -> (i32, u32, u32) {
        let z = i64::from(self.days) + 719_468;
        let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let m = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * m + 2) / 5 + 1;
        let month = if m < 10 { m + 3 } else { m - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let small = |n: i64| u32::try_from(n).unwrap_or(1);
        (i32::try_from(year).unwrap_or(i32::MAX), small(month), small(day))
    }

    /// The day as `date-text` writes it, `1-Feb-1994`; `None` outside the years 0 to 9999, which it cannot say.
    #[must_use]
    pub fn text(self) -> Option<String> {
        let (year, month, day) = self.civil();
        let name = MONTHS.get(month as usize - 1)?;
        (0..=9999).contains(&year).then(|| format!("{day}-{name}-{year:04}"))
    }
}

impl DateTime {
    /// The day in the time's own zone, as BEFORE, ON and SINCE compare it.
    #[must_use]
    pub fn local_date(self) -> Date {
        let local = self.unix.saturating_add(i64::from(self.zone_minutes) * 60);
        let clamp = i64::from(i32::MAX) / 2;
        let days = local.div_euclid(SECONDS_PER_DAY).clamp(-clamp, clamp);
        Date { days: i32::try_from(days).unwrap_or(0) }
    }

    /// Reads a `date-time`, quotes included.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        date_time(&mut Cursor::new(text.as_bytes())).ok()
    }

    /// The time as `date-time` writes it, quotes included: `"17-Jul-1996 02:44:25 -0700"`. A year that four digits
    /// cannot say becomes the nearest one that they can.
    #[must_use]
    pub fn octets(self) -> [u8; 28] {
        let (year, month, day) = self.local_date().civil();
        let year = year.clamp(0, 9999).unsigned_abs();
        let local = self.unix.saturating_add(i64::from(self.zone_minutes) * 60);
        let of_day = u32::try_from(local.rem_euclid(SECONDS_PER_DAY)).unwrap_or(0);
        let zone = u32::from(self.zone_minutes.unsigned_abs());
        let mut text = *b"\" 1-Jan-0000 00:00:00 +0000\"";
        let mut put = |at: usize, octets: &[u8]| {
            text.iter_mut().skip(at).zip(octets).for_each(|(place, octet)| *place = *octet);
        };
        if day < 10 {
            put(2, &two_digits(day)[1..])
        } else {
            put(1, &two_digits(day))
        }
        put(4, MONTHS.get(month as usize - 1).unwrap_or(&"Jan").as_bytes());
        put(8, &two_digits(year / 100));
        put(10, &two_digits(year % 100));
        put(13, &two_digits(of_day / 3600));
        put(16, &two_digits(of_day / 60 % 60));
        put(19, &two_digits(of_day % 60));
        put(22, if self.zone_minutes < 0 { b"-" } else { b"+" });
        put(23, &two_digits(zone / 60));
        put(25, &two_digits(zone % 60));
        text
    }
}

/// The last two digits of a number.
fn two_digits(number: u32) -> [u8; 2] {
    [number / 10, number % 10].map(|digit| b'0' + u8::try_from(digit % 10).unwrap_or(0))
}

fn days_in_month(year: i32, month: u32) -> u32 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `date = date-text / DQUOTE date-text DQUOTE; date-text = date-day "-" date-month "-" date-year`
pub(crate) fn date(c: &mut Cursor<'_>) -> Result<Date, DecodeError> {
    let quoted = c.take(b'"');
    let at = c.at();
    let day = digits(c, 1, 2)?;
    let date = rest_of_date(c, day, at)?;
    if quoted {
        c.byte(b'"', "the closing quote")?;
    }
    Ok(date)
}

fn rest_of_date(c: &mut Cursor<'_>, day: u32, at: usize) -> Result<Date, DecodeError> {
    c.byte(b'-', "a date like 1-Feb-1994")?;
    let month = MONTHS.iter().zip(1..).find(|(name, _)| c.take_word(name));
    let (_, month) = month.ok_or_else(|| c.error("a month like Feb"))?;
    c.byte(b'-', "a date like 1-Feb-1994")?;
    let year = i32::try_from(digits(c, 4, 4)?).unwrap_or(0);
    Date::from_civil(year, month, day).ok_or_else(|| DecodeError::new(at, "a day that exists"))
}

/// `date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE`
pub(crate) fn date_time(c: &mut Cursor<'_>) -> Result<DateTime, DecodeError> {
    c.byte(b'"', "a date and time in quotes")?;
    let at = c.at();
    let day = if c.take(b' ') { digits(c, 1, 1)? } else { digits(c, 1, 2)? };
    let date = rest_of_date(c, day, at)?;
    c.space()?;
    let hour = below(c, 24)?;
    c.byte(b':', "a time like 02:44:25")?;
    let minute = below(c, 60)?;
    c.byte(b':', "a time like 02:44:25")?;
    let second = below(c, 61)?;
    c.space()?;
    let east = match c.peek() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(c.error("a zone like +0100")),
    };
    c.skip(1);
    let zone = (below(c, 24)? * 60 + below(c, 60)?).cast_signed() * east;
    c.byte(b'"', "the closing quote")?;
    let of_day = i64::from(hour * 3600 + minute * 60 + second);
    let unix = i64::from(date.days) * SECONDS_PER_DAY + of_day - i64::from(zone) * 60;
    Ok(DateTime { unix, zone_minutes: i16::try_from(zone).unwrap_or(0) })
}

/// Two digits below a limit.
fn below(c: &mut Cursor<'_>, limit: u32) -> Result<u32, DecodeError> {
    let at = c.at();
    let value = digits(c, 2, 2)?;
    if value < limit { Ok(value) } else { Err(DecodeError::new(at, "a time and zone that exist")) }
}

fn digits(c: &mut Cursor<'_>, min: usize, max: usize) -> Result<u32, DecodeError> {
    let mut value = 0;
    for n in 0..max {
        match c.peek() {
            Some(b @ b'0'..=b'9') => value = value * 10 + u32::from(b - b'0'),
            _ if n >= min => break,
            _ => return Err(c.error("a digit of a date")),
        }
        c.skip(1);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DateTime, DecodeError> {
        date_time(&mut Cursor::new(text.as_bytes()))
    }

    #[test]
    fn the_rfcs_own_example() {
        let time = parse("\"17-Jul-1996 02:44:25 -0700\"").unwrap();
        assert_eq!(time.unix, 837_596_665);
        assert_eq!(&time.octets(), b"\"17-Jul-1996 02:44:25 -0700\"");
        assert_eq!(time.local_date().civil(), (1996, 7, 17));
    }

    #[test]
    fn a_time_is_written_with_its_zone_and_a_day_of_one_digit_with_a_space() {
        for said in [
            "\" 9-Feb-2024 00:00:07 +0000\"",
            "\"31-Dec-9999 23:59:59 -1200\"",
            "\"10-Oct-2026 10:09:08 +0545\"",
        ] {
            assert_eq!(parse(said).unwrap().octets(), said.as_bytes(), "{said}");
        }
        let never = DateTime { unix: i64::MAX, zone_minutes: i16::MIN };
        assert!(never.octets().starts_with(b"\""), "what no clock says is still a text");
    }

    #[test]
    fn days_that_are_not_there_are_refused() {
        for bad in
            ["30-Feb-2020", "29-Feb-2021", "0-Jan-2020", "1-Foo-2020", "1-Jan-20", "32-Jan-2020"]
        {
            assert!(date(&mut Cursor::new(bad.as_bytes())).is_err(), "{bad}");
        }
        for bad in [" 1-Jan-2020 24:00:00 +0000", " 1-Jan-2020 00:00:00 0000", "x"] {
            assert!(parse(&format!("\"{bad}\"")).is_err(), "{bad}");
        }
        assert!(parse("\" 9-Feb-2024 00:00:60 +0000\"").is_ok(), "leap seconds are let through");
    }

    #[test]
    fn four_digits_can_say_the_year_0() {
        let said = "\" 1-Jan-0000 00:00:00 +0000\"";
        assert_eq!(parse(said).unwrap().octets(), said.as_bytes());
        assert_eq!(Date { days: -719_528 }.text().as_deref(), Some("1-Jan-0000"));
        assert_eq!(Date { days: -719_529 }.text(), None);
    }

    #[test]
    fn every_day_comes_back() {
        for days in (-719_528..2_900_000).step_by(97) {
            let (y, m, d) = Date { days }.civil();
            assert_eq!(Date::from_civil(y, m, d), Some(Date { days }));
        }
    }
}
