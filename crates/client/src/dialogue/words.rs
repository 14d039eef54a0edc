//! The words of a line: splitting, comparing, filling in what is bound.

use super::pattern::Bound;

/// Words, parenthesised lists and strings, split at spaces outside them.
pub(super) fn split(text: &str) -> Vec<String> {
    let (mut out, mut current) = (Vec::new(), String::new());
    let (mut depth, mut quoted) = (0i32, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => {
                current.push(c);
                current.extend(chars.next());
                continue;
            }
            '{' if !quoted => {
                literal(&mut chars, &mut current);
                continue;
            }
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            ' ' if !quoted && depth == 0 => {
                out.push(std::mem::take(&mut current));
                continue;
            }
            _ => {}
        }
        current.push(c);
    }
    if !current.is_empty() {
        out.push(current);
    }
    out
}

/// A literal is one word, whatever is in it.
fn literal(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, current: &mut String) {
    current.push('{');
    let mut digits = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    current.push_str(&digits);
    if chars.peek() == Some(&'}') {
        let octets: usize = digits.parse().unwrap_or(0);
        current.extend(chars.by_ref().take(octets.saturating_add(3)));
    }
}

/// What stands between parentheses.
pub(super) fn inner(text: &str) -> Option<&str> {
    text.strip_prefix('(')?.strip_suffix(')')
}

/// Whether two words are the same: in any case, sets of numbers in any order; `*` is any word.
pub(super) fn same(want: &str, have: &str) -> bool {
    want == "*"
        || want.eq_ignore_ascii_case(have)
        || numbers(want).is_some_and(|w| numbers(have) == Some(w))
}

/// As [`same`], and a string is the same as atom, quoted and literal.
pub(super) fn same_string(want: &str, have: &str) -> bool {
    let nil = |text: &str| text.eq_ignore_ascii_case("NIL");
    same(want, have) || (!nil(want) && !nil(have) && plain(want).eq_ignore_ascii_case(&plain(have)))
}

/// The value of a string, however it is written.
pub(super) fn plain(text: &str) -> String {
    if let Some(inside) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        let mut out = String::new();
        let mut chars = inside.chars();
        while let Some(c) = chars.next() {
            out.extend(if c == '\\' { chars.next() } else { Some(c) });
        }
        return out;
    }
    match text.strip_prefix('{').and_then(|rest| rest.split_once("}\r\n")) {
        Some((_, value)) => value.to_owned(),
        None => text.to_owned(),
    }
}

/// A set of numbers, in any order.
fn numbers(text: &str) -> Option<Vec<(u64, u64)>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (a, b) = part.split_once(':').unwrap_or((part, part));
        let (a, b): (u64, u64) = (a.parse().ok()?, b.parse().ok()?);
        all.push((a.min(b), a.max(b)));
    }
    all.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (a, b) in all {
        match joined.last_mut() {
            Some(last) if a <= last.1.saturating_add(1) => last.1 = last.1.max(b),
            _ => joined.push((a, b)),
        }
    }
    Some(joined)
}

/// Whether two lists of flags are the same; `\Recent` counts only where it is expected.
pub(super) fn flags(want: &str, have: &str) -> bool {
    let recent = want.to_ascii_lowercase().contains("\\recent");
    let set = |text: &str| {
        let words = text.trim_matches(['(', ')']).split_whitespace().map(str::to_ascii_lowercase);
        let mut all: Vec<String> = words.filter(|flag| recent || flag != "\\recent").collect();
        all.sort();
        all
    };
    set(want) == set(have)
}

/// Whether a text can be a name to bind.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Replaces `$name`, `$(name)`, `$(name+1)` and `$(name-1)` by what is bound.
pub(super) fn substitute(text: &str, bound: &Bound) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let found = in_parentheses(after, bound).or_else(|| {
            let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let (name, tail) = after.split_at(end.unwrap_or(after.len()));
            bound.get(name).map(|value| (value.clone(), tail))
        });
        match found {
            Some((value, tail)) => {
                out.push_str(&value);
                rest = tail;
            }
            None => {
                out.push('$');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn in_parentheses<'a>(after: &'a str, bound: &Bound) -> Option<(String, &'a str)> {
    let (inside, tail) = after.strip_prefix('(')?.split_once(')')?;
    if let Some(value) = bound.get(inside) {
        return Some((value.clone(), tail));
    }
    let sign = inside.find(['+', '-'])?;
    let (name, by) = inside.split_at(sign);
    let value: i64 = bound.get(name)?.parse().ok()?;
    Some((value.checked_add(by.parse().ok()?)?.to_string(), tail))
}

/// `\r`, `\n`, `\q` (a quotation mark) and `\\` in what is written down.
pub(super) fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next() {
            Some('r') => '\r',
            Some('n') => '\n',
            Some('q') => '"',
            Some(other) => other,
            None => '\\',
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_outside_lists_strings_and_literals() {
        assert_eq!(
            split("a (b c) \"d e\" {3}\r\n) ( f"),
            ["a", "(b c)", "\"d e\"", "{3}\r\n) (", "f"]
        );
        assert_eq!(split("{99999999999999999999}\r\nx"), ["{99999999999999999999}\r\nx"]);
    }

    #[test]
    fn sets_are_the_same_in_any_order_and_strings_however_they_are_written() {
        assert!(same("1:3", "3,1,2") && same("*", "x") && !same("1:3", "1:4"));
        assert!(same("18446744073709551615", "18446744073709551615"));
        assert!(same_string("abc", "\"ABC\"") && same_string("\"a b\"", "{3}\r\na b"));
        assert!(!same_string("\"nil\"", "NIL") && !same_string("NIL", "\"\""));
    }

    #[test]
    fn what_is_bound_is_filled_in_and_what_is_not_stays() {
        let bound = Bound::from([("m".into(), "7".into()), ("s".into(), "x".into())]);
        assert_eq!(substitute("$m $(m-1) $(m)1 $(s+1) $t $", &bound), "7 6 71 $(s+1) $t $");
        assert_eq!(unescape("a\\r\\n\\q\\\\\\"), "a\r\n\"\\\\");
    }
}
