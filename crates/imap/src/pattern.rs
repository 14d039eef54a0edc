//! LIST patterns: `*` matches anything, `%` anything but the hierarchy delimiter.
//!
//! # Invariants
//! - Time is at most the product of the lengths of pattern and name, whatever the pattern.
//!
//! # Standards
//! RFC 3501 §6.3.8.

/// Whether the pattern matches the whole name.
#[must_use]
pub fn matches(pattern: &str, name: &str, delimiter: char) -> bool {
    let name: Vec<char> = name.chars().collect();
    // reached[i]: the pattern so far matches the first i characters.
    let mut reached = vec![false; name.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    for wanted in pattern.chars() {
        let mut next = vec![false; reached.len()];
        let mut before = false;
        for (i, slot) in next.iter_mut().enumerate() {
            let here = reached.get(i).copied().unwrap_or(false);
            let ch = i.checked_sub(1).and_then(|i| name.get(i));
            *slot = match wanted {
                '*' => here || before,
                '%' => here || (before && ch != Some(&delimiter)),
                plain => ch == Some(&plain) && i > 0 && reached.get(i - 1) == Some(&true),
            };
            before = *slot;
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards() {
        for (pattern, name, expected) in [
            ("*", "a/b", true),
            ("%", "a/b", false),
            ("%", "a", true),
            ("", "", true),
            ("", "a", false),
            ("a/%", "a/b", true),
            ("a/%", "a/b/c", false),
            ("%/%", "a/b", true),
            ("a*c", "a/b/c", true),
            ("*b%", "a/bc/d", false),
            ("*b%", "a/bc", true),
            ("%%%", "ü", true),
        ] {
            assert_eq!(matches(pattern, name, '/'), expected, "{pattern} {name}");
        }
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199), '/'));
    }
}
