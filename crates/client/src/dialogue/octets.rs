//! Where a line of the wire ends, the literals in it counted as part of it.

/// The length of the first line with its CRLF and its literals; nothing while it is not whole.
#[must_use]
pub fn line_octets(octets: &[u8]) -> Option<usize> {
    let mut at = 0_usize;
    loop {
        at += octets.get(at..)?.iter().position(|octet| *octet == b'\n')? + 1;
        match literal_octets(octets.get(..at)?) {
            Some(octets) => at = at.checked_add(octets)?,
            None => return Some(at),
        }
    }
}

/// The length that `{n}` at the end of the line announces.
fn literal_octets(line: &[u8]) -> Option<usize> {
    let text = line.strip_suffix(b"}\r\n")?;
    let digits = text.get(text.iter().rposition(|octet| *octet == b'{')? + 1..)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_its_literals() {
        assert_eq!(line_octets(b"a\r\nb\r\n"), Some(3));
        assert_eq!(line_octets(b"x {3}\r\n\r\n) y\r\nz"), Some(14));
        assert_eq!(line_octets(b"x {3}\r\nab"), None);
        assert_eq!(line_octets(b"x {18446744073709551615}\r\nab"), None);
        assert_eq!(line_octets(b""), None);
    }
}
