//! LIST patterns: `*` matches anything, `%` anything but the hierarchy delimiter.
//!
//! # Invariants
//! - Time is at most the product of the lengths of pattern and name, whatever the pattern.
//! - A pattern with one wildcard, as nearly all have, is compared without an allocation.
//!
//! # Standards
//! RFC 3501 §6.3.8.

const WILDCARDS: [char; 2] = ['*', '%'];

/// Whether the pattern matches the whole name.
#[must_use]
pub fn matches(pattern: &str, name: &str, delimiter: char) -> bool {
    let (Some(first), Some(last)) = (pattern.find(WILDCARDS), pattern.rfind(WILDCARDS)) else {
        return pattern == name;
    };
    let (before, rest) = pattern.split_at(first);
    let (wild, after) = rest.split_at(last + 1 - first);
    let middle = name.strip_prefix(before).and_then(|name| name.strip_suffix(after));
    middle.is_some_and(|middle| match wild {
        "*" => true,
        "%" => !middle.contains(delimiter),
        _ => matches_any(wild, middle, delimiter),
    })
}

/// Likewise, for any pattern.
fn matches_any(pattern: &str, name: &str, delimiter: char) -> bool {
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
    use super::{matches, matches_any};

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
            ("a*a", "a", false),
            ("a%a", "aa", true),
            ("a%a", "a/a", false),
            ("ü*é", "üxé", true),
            ("a", "a", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, name, '/'), expected, "{pattern} {name}");
        }
        for (pattern, name) in
            [("*", "a/b"), ("a%", "ab"), ("%b", "a/b"), ("a", "a"), ("", "a"), ("%", "")]
        {
            let plain = matches(pattern, name, '/');
            assert_eq!(plain, matches_any(pattern, name, '/'), "{pattern} {name}");
        }
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199), '/'));
    }
}
