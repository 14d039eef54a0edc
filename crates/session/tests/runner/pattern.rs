//! Whether what came is what was expected, and what it binds.

use std::collections::HashMap;

/// Names bound so far.
pub(crate) type Bound = HashMap<String, String>;

/// Matches an expected line against one that came; answers the bindings with what it adds.
pub(crate) fn line(expected: &str, came: &str, bound: &Bound) -> Option<Bound> {
    let mut bound = bound.clone();
    let expected = &expected.replace("\\r\\n", "\r\n");
    if let Some(names) = expected.strip_prefix("* CAPABILITY ").and_then(|e| e.strip_suffix(" …"))
    {
        // What is listed has no order.
        let listed: Vec<&str> = came.strip_prefix("* CAPABILITY ")?.split(' ').collect();
        return names.split(' ').all(|name| listed.contains(&name)).then_some(bound);
    }
    if let (Some((seq, items)), Some((seq_came, items_came))) = (fetch(expected), fetch(came)) {
        word(&seq, &seq_came, &mut bound)?;
        for (name, value) in &items {
            let (_, found) = items_came.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
            let same = if name.eq_ignore_ascii_case("FLAGS") {
                flags(value, found)
            } else {
                tokens(value, found, true, &mut bound)?;
                true
            };
            if !same {
                return None;
            }
        }
        return Some(bound);
    }
    if status(expected).is_some() || status(came).is_some() {
        let (head, code) = status(expected)?;
        let (head_came, code_came) = status(came)?;
        tokens(&head, &head_came, true, &mut bound)?;
        return match (code.as_deref(), code_came.as_deref()) {
            (Some(""), came) => came.is_none().then_some(bound),
            (Some(code), Some(came)) => tokens(code, came, true, &mut bound).map(|()| bound),
            (Some(_), None) => None,
            (None, None) => Some(bound),
            (None, Some(came)) => {
                let ok = head.ends_with(" OK");
                let plain = [
                    "HIGHESTMODSEQ",
                    "READ-WRITE",
                    "READ-ONLY",
                    "CAPABILITY",
                    "APPENDUID",
                    "COPYUID",
                ];
                (!ok || plain.iter().any(|p| came.starts_with(p))).then_some(bound)
            }
        };
    }
    let exact = !expected.starts_with('+') && !expected.ends_with('…');
    tokens(expected.trim_end_matches('…').trim_end(), came, exact, &mut bound)?;
    Some(bound)
}

/// `* n FETCH (…)` as its number and items.
fn fetch(text: &str) -> Option<(String, Vec<(String, String)>)> {
    let rest = text.strip_prefix("* ")?;
    let (seq, rest) = rest.split_once(' ')?;
    let rest = rest.strip_prefix("FETCH (")?.strip_suffix(')')?;
    let all = split(rest);
    let mut items = Vec::new();
    let mut i = 0;
    while i < all.len() {
        let mut name = all[i].clone();
        // BODY[HEADER.FIELDS (X)] is one name.
        while name.contains('[') && !name.contains(']') && i + 1 < all.len() {
            i += 1;
            name = format!("{name} {}", all[i]);
        }
        let value = all.get(i + 1).cloned().unwrap_or_default();
        items.push((name, value));
        i += 2;
    }
    Some((seq.to_owned(), items))
}

/// A status line: what is before the code, and the code. The text means nothing.
fn status(text: &str) -> Option<(String, Option<String>)> {
    let mut words = text.splitn(3, ' ');
    let (tag, word) = (words.next()?, words.next()?);
    if !["OK", "NO", "BAD", "BYE", "PREAUTH"].contains(&word) || tag == "+" {
        return None;
    }
    let rest = words.next().unwrap_or_default();
    let code = rest.strip_prefix('[').and_then(|r| {
        r.rfind(']').map(|end| {
            // The code ends at the first bracket outside quotes and parentheses.
            let first = r.find(']').unwrap_or(end);
            r[..first].to_owned()
        })
    });
    Some((format!("{tag} {word}"), code))
}

/// Words, parenthesised lists and strings, split at spaces outside them.
pub(crate) fn split(text: &str) -> Vec<String> {
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
                // A literal is one word.
                current.push(c);
                let mut digits = String::new();
                while let Some(d) = chars.peek().copied().filter(char::is_ascii_digit) {
                    digits.push(d);
                    chars.next();
                }
                current.push_str(&digits);
                if chars.peek() == Some(&'}') {
                    let len: usize = digits.parse().unwrap_or(0);
                    current.extend(chars.by_ref().take(len + 3));
                }
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

fn tokens(expected: &str, came: &str, exact: bool, bound: &mut Bound) -> Option<()> {
    let (want, have) = (split(expected), split(came));
    if want.len() > have.len() || (exact && want.len() != have.len()) {
        return None;
    }
    // The numbers of SEARCH are a set.
    for (want, have) in want.iter().zip(&have) {
        let inner =
            |t: &str| t.strip_prefix('(').and_then(|t| t.strip_suffix(')')).map(str::to_owned);
        match (inner(want), inner(have)) {
            (Some(want), Some(have)) if !want.is_empty() || have.is_empty() => {
                tokens(&want, &have, true, bound)?;
            }
            _ => word(want, have, bound)?,
        }
    }
    Some(())
}

fn word(want: &str, have: &str, bound: &mut Bound) -> Option<()> {
    if let Some(name) = want.strip_prefix('$').filter(|n| is_name(n)) {
        match bound.get(name) {
            Some(value) => return same(value, have).then_some(()),
            None => {
                bound.insert(name.to_owned(), have.to_owned());
                return Some(());
            }
        }
    }
    same(&substitute(want, bound), have).then_some(())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn same(want: &str, have: &str) -> bool {
    want == "*"
        || want.eq_ignore_ascii_case(have)
        || numbers(want).is_some_and(|w| numbers(have) == Some(w))
}

/// A set of numbers, in any order.
fn numbers(text: &str) -> Option<Vec<(u64, u64)>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (a, b) = part.split_once(':').unwrap_or((part, part));
        all.push((a.parse().ok()?, b.parse().ok()?));
    }
    all.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (a, b) in all {
        match joined.last_mut() {
            Some(last) if a <= last.1 + 1 => last.1 = last.1.max(b),
            _ => joined.push((a, b)),
        }
    }
    Some(joined)
}

fn flags(want: &str, have: &str) -> bool {
    let set = |text: &str, recent: bool| {
        let mut all: Vec<String> = text
            .trim_matches(['(', ')'])
            .split_whitespace()
            .map(str::to_ascii_lowercase)
            .filter(|f| recent || f != "\\recent")
            .collect();
        all.sort();
        all
    };
    let recent = want.to_ascii_lowercase().contains("\\recent");
    set(want, recent) == set(have, recent)
}

/// Replaces `$name`, and `$(name+1)` or `$(name-1)`, by what is bound.
pub(crate) fn substitute(text: &str, bound: &Bound) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some((inner, tail)) = after.strip_prefix('(').and_then(|a| a.split_once(')'))
            && let Some(sign) = inner.find(['+', '-'])
            && let Some(value) = bound.get(&inner[..sign])
        {
            let (value, by): (i64, i64) = (value.parse().unwrap(), inner[sign..].parse().unwrap());
            out.push_str(&(value + by).to_string());
            rest = tail;
            continue;
        }
        let end =
            after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
        match bound.get(&after[..end]) {
            Some(value) => {
                out.push_str(value);
                rest = &after[end..];
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

/// Matches a block of expected untagged lines against those that came, each of them once.
///
/// Answers the bindings, or what is wrong.
pub(crate) fn block(expected: &[String], came: &[String], bound: &Bound) -> Result<Bound, String> {
    let open = expected.iter().any(|l| l == "...");
    let forbidden: Vec<&str> = expected.iter().filter_map(|l| l.strip_prefix('!')).collect();
    let wanted: Vec<&String> =
        expected.iter().filter(|l| *l != "..." && *l != "---" && !l.starts_with('!')).collect();
    for pattern in forbidden {
        let begins = |l: &&String| {
            let head = format!("{pattern}…");
            line(pattern, l, bound).is_some() || line(&head, l, bound).is_some()
        };
        if let Some(found) = came.iter().find(begins) {
            return Err(format!("came but must not: {found}"));
        }
    }
    let mut used = vec![false; came.len()];
    let Some(bound) = assign(&wanted, came, &mut used, bound) else {
        let missing: Vec<&str> = wanted
            .iter()
            .filter(|w| !came.iter().any(|c| line(w, c, bound).is_some()))
            .map(|w| w.as_str())
            .collect();
        return Err(format!("expected and did not come: {missing:?}"));
    };
    let extra: Vec<&String> =
        came.iter().zip(&used).filter(|(l, used)| !**used && !noise(l)).map(|(l, _)| l).collect();
    if !open && !extra.is_empty() {
        return Err(format!("came and was not expected: {extra:?}"));
    }
    Ok(bound)
}

/// What a server may say at any time without it meaning anything to a test.
fn noise(line: &str) -> bool {
    let upper = line.to_ascii_uppercase();
    upper.ends_with(" RECENT")
        || upper.starts_with("* FLAGS ")
        || upper.starts_with("* OK [PERMANENTFLAGS ")
}

fn assign(
    wanted: &[&String],
    came: &[String],
    used: &mut Vec<bool>,
    bound: &Bound,
) -> Option<Bound> {
    let Some((first, rest)) = wanted.split_first() else { return Some(bound.clone()) };
    for (i, candidate) in came.iter().enumerate() {
        if used[i] {
            continue;
        }
        if let Some(with) = line(first, candidate, bound) {
            used[i] = true;
            if let Some(done) = assign(rest, came, used, &with) {
                return Some(done);
            }
            used[i] = false;
        }
    }
    None
}
