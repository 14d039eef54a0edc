//! Whether the lines that came are those that were expected, and what they bind.

use super::pattern::{Bound, Rules};

/// Matches parts that are separated by `---`, in this order.
///
/// Answers the bindings, or what is wrong.
pub(super) fn segments(
    rules: Rules,
    expected: &[String],
    came: &[String],
    bound: &Bound,
) -> Result<Bound, String> {
    let Some(at) = expected.iter().position(|line| line == "---") else {
        return block(rules, expected, came, bound);
    };
    let open = expected.iter().any(|line| line == "...");
    let part = |lines: &[String]| {
        let more = open.then(|| "...".to_owned());
        lines.iter().cloned().chain(more).collect::<Vec<String>>()
    };
    let (first, rest) = expected.split_at(at);
    let (first, rest) = (part(first), part(rest.get(1..).unwrap_or_default()));
    let mut why = String::from("the order is wrong");
    for cut in 0..=came.len() {
        let (before, after) = came.split_at(cut);
        let both = block(rules, &first, before, bound)
            .and_then(|with| segments(rules, &rest, after, &with));
        match both {
            Ok(done) => return Ok(done),
            Err(reason) => why = reason,
        }
    }
    Err(format!("{why} (in this order)"))
}

/// Matches expected untagged lines against those that came, each of them once.
fn block(
    rules: Rules,
    expected: &[String],
    came: &[String],
    bound: &Bound,
) -> Result<Bound, String> {
    let open = expected.iter().any(|line| line == "...");
    let lines = expected.iter().filter(|line| *line != "...").map(|line| Line::of(line, rules));
    let (forbidden, wanted): (Vec<Line<'_>>, Vec<Line<'_>>) =
        lines.flatten().partition(|line| line.forbidden);
    for Line { pattern, .. } in forbidden {
        let head = format!("{pattern}…");
        let begins = |line: &&String| {
            rules.line(pattern, line, bound).is_some() || rules.line(&head, line, bound).is_some()
        };
        if let Some(found) = came.iter().find(begins) {
            return Err(format!("came but must not: {found}"));
        }
    }
    let mut used = vec![false; came.len()];
    let Some(bound) = assign(rules, &wanted, came, &mut used, bound) else {
        return Err(missing(rules, &wanted, came, bound));
    };
    let extra = came.iter().zip(&used).filter(|(_, used)| !**used).map(|(line, _)| line);
    let extra: Vec<&str> = extra.map(String::as_str).filter(|line| !rules.is_noise(line)).collect();
    if !open && !extra.is_empty() {
        return Err(format!("came and was not expected: {}", joined(&extra)));
    }
    Ok(bound)
}

/// An expected line, without its marks.
#[derive(Clone, Copy)]
struct Line<'a> {
    pattern: &'a str,
    /// `!`: it must not come.
    forbidden: bool,
    /// `?`: others may do without.
    optional: bool,
}

impl<'a> Line<'a> {
    /// Nothing for `?!`, what others may well say, unless we are the ones measured.
    fn of(line: &'a str, rules: Rules) -> Option<Self> {
        let optional = line.strip_prefix('?');
        let rest = optional.unwrap_or(line);
        let forbidden = rest.strip_prefix('!');
        let pattern = forbidden.unwrap_or(rest);
        let (forbidden, optional) = (forbidden.is_some(), optional.is_some() && rules.lenient());
        (!(forbidden && optional)).then_some(Self { pattern, forbidden, optional })
    }
}

fn missing(rules: Rules, wanted: &[Line<'_>], came: &[String], bound: &Bound) -> String {
    let comes = |want: &str| came.iter().any(|line| rules.line(want, line, bound).is_some());
    let wanted = wanted.iter().filter(|want| !want.optional).map(|want| want.pattern);
    let missing: Vec<&str> = wanted.clone().filter(|want| !comes(want)).collect();
    if missing.is_empty() {
        let wanted: Vec<&str> = wanted.collect();
        return format!("expected together, and did not come so: {}", joined(&wanted));
    }
    format!("expected and did not come: {}", joined(&missing))
}

fn joined(lines: &[&str]) -> String {
    lines.join("; ")
}

fn assign(
    rules: Rules,
    wanted: &[Line<'_>],
    came: &[String],
    used: &mut [bool],
    bound: &Bound,
) -> Option<Bound> {
    let Some((first, rest)) = wanted.split_first() else { return Some(bound.clone()) };
    for (at, candidate) in came.iter().enumerate() {
        if used.get(at) != Some(&false) {
            continue;
        }
        let Some(with) = rules.line(first.pattern, candidate, bound) else { continue };
        mark(used, at, true);
        if let Some(done) = assign(rules, rest, came, used, &with) {
            return Some(done);
        }
        mark(used, at, false);
    }
    if first.optional { assign(rules, rest, came, used, bound) } else { None }
}

fn mark(used: &mut [bool], at: usize, value: bool) {
    if let Some(place) = used.get_mut(at) {
        *place = value;
    }
}
