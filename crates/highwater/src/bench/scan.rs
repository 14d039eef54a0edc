//! What is read out of a response without parsing it: a number here, a flag there.

use memchr::memmem;

/// The number of a message sequence or of messages at the beginning of `* n WORD…`, if the response is one.
pub(super) fn numbered(response: &[u8], word: &[u8]) -> Option<u64> {
    let (number, rest) = leading(response.strip_prefix(b"* ")?)?;
    rest.strip_prefix(b" ")?.starts_with(word).then_some(number)
}

/// The number that follows `before` where it first stands in the response.
pub(super) fn after(response: &[u8], before: &[u8]) -> Option<u64> {
    let at = memmem::find(response, before)?;
    leading(response.get(at + before.len()..)?).map(|(number, _)| number)
}

/// Whether `part` stands in the response.
pub(super) fn has(response: &[u8], part: &[u8]) -> bool {
    memmem::find(response, part).is_some()
}

/// How many numbers a `* SEARCH` or `* ESEARCH` response names, and their sum.
pub(super) fn found(response: &[u8]) -> Option<(u64, u64)> {
    if let Some(rest) = response.strip_prefix(b"* SEARCH") {
        let plain = rest.split(|octet| *octet == b'(').next().unwrap_or_default();
        return Some(numbers(plain.split(|octet| *octet == b' ')));
    }
    let rest = response.strip_prefix(b"* ESEARCH")?;
    let Some(at) = memmem::find(rest, b" ALL ") else { return Some((0, 0)) };
    let set = rest.get(at + 5..)?.split(|octet| *octet == b' ').next()?;
    Some(set_sum(set))
}

/// How many numbers a set has (`1:3,5`), and their sum.
pub(super) fn set_sum(set: &[u8]) -> (u64, u64) {
    let (mut count, mut sum) = (0_u64, 0_u64);
    for part in set.split(|octet| *octet == b',') {
        let Some((first, rest)) = leading(part) else { continue };
        let last = rest.strip_prefix(b":").and_then(leading).map_or(first, |(last, _)| last);
        let (first, last) = (first.min(last), first.max(last));
        let many = (last - first).saturating_add(1);
        count = count.saturating_add(many);
        // Of a set that a server makes up the sum may be anything, as long as it is not the right one.
        sum = sum.saturating_add((first.saturating_add(last)).saturating_mul(many) / 2);
    }
    (count, sum)
}

/// The first octets of a response, to be shown.
pub(super) fn text(octets: &[u8]) -> String {
    let shown = octets.get(..160).unwrap_or(octets);
    shown.escape_ascii().to_string()
}

fn numbers<'a>(words: impl Iterator<Item = &'a [u8]>) -> (u64, u64) {
    words
        .filter_map(leading)
        .fold((0, 0), |(count, sum), (number, _)| (count + 1, sum.saturating_add(number)))
}

/// The number that begins here, and what follows it.
fn leading(octets: &[u8]) -> Option<(u64, &[u8])> {
    let digits = octets.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let (number, rest) = octets.split_at_checked(digits)?;
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_where_they_stand() {
        assert_eq!(numbered(b"* 12 EXISTS", b"EXISTS"), Some(12));
        assert_eq!(numbered(b"* 12 EXPUNGE", b"EXISTS"), None);
        assert_eq!(after(b"* OK [HIGHESTMODSEQ 715] x", b"HIGHESTMODSEQ "), Some(715));
        assert_eq!(after(b"* OK [HIGHESTMODSEQ x]", b"HIGHESTMODSEQ "), None);
    }

    #[test]
    fn what_a_search_found_is_counted_in_both_forms() {
        assert_eq!(found(b"* SEARCH 1 2 3 (MODSEQ 900)"), Some((3, 6)));
        assert_eq!(found(b"* SEARCH"), Some((0, 0)));
        assert_eq!(found(b"* ESEARCH (TAG \"b1\") UID ALL 1:3,7 MODSEQ 9"), Some((4, 13)));
        assert_eq!(found(b"* ESEARCH (TAG \"b1\") UID"), Some((0, 0)));
        assert_eq!(found(b"* 1 EXISTS"), None);
        assert_eq!(set_sum(b"1:18446744073709551615").0, u64::MAX);
    }
}
