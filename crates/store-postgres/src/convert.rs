//! Numbers on their way into columns and back.

use store::engine::LogId;
use tokio_postgres::Row;

/// A number as a `bigint`; one above what a column can hold stands for the greatest.
pub(crate) fn big(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A column that never is negative.
pub(crate) fn number(row: &Row, at: usize) -> u64 {
    u64::try_from(row.get::<_, i64>(at)).unwrap_or(0)
}

/// A log's account and number.
pub(crate) fn key(log: LogId) -> (i64, i64) {
    (big(log.account.0), i64::from(log.number))
}

/// A body's or blob's number: all 64 bits are used.
pub(crate) fn bits(id: u64) -> i64 {
    i64::from_ne_bytes(id.to_ne_bytes())
}

/// And back.
pub(crate) fn from_bits(row: &Row, at: usize) -> u64 {
    u64::from_ne_bytes(row.get::<_, i64>(at).to_ne_bytes())
}
