//! Whether the lines that came are those that were expected, and what they bind.

use super::pattern::{Bound, Rules};

/// How often a line is tried against a pattern in one block; what needs more has no match that anybody would see.
const TRIES_MAX: usize = 200_000;

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
    let mut tries = TRIES_MAX;
    let Some(bound) = assign(rules, &wanted, came, (&mut used, &mut tries), bound) else {
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
    (used, tries): (&mut [bool], &mut usize),
    bound: &Bound,
) -> Option<Bound> {
    let Some((first, rest)) = wanted.split_first() else { return Some(bound.clone()) };
    for (at, candidate) in came.iter().enumerate() {
        if used.get(at) != Some(&false) {
            continue;
        }
        *tries = tries.checked_sub(1)?;
        let Some(with) = rules.line(first.pattern, candidate, bound) else { continue };
        mark(used, at, true);
        if let Some(done) = assign(rules, rest, came, (used, tries), &with) {
            return Some(done);
        }
        mark(used, at, false);
    }
    if first.optional { assign(rules, rest, came, (used, tries), bound) } else { None }
}

fn mark(used: &mut [bool], at: usize, value: bool) {
    if let Some(place) = used.get_mut(at) {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Measure;
    use super::*;

    fn holds(measure: Measure, expected: &str, came: &str) -> Result<(), String> {
        let rules = Rules { measure, uid_owed: false, by_change: false };
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        segments(rules, &lines(expected), &lines(came), &Bound::new()).map(drop)
    }

    #[test]
    fn marks_are_for_others_only() {
        for (expected, came) in [
            ("?* 1 EXPUNGE\n* 2 EXPUNGE", "* 2 EXPUNGE"),
            ("?!* 1 EXPUNGE\n...", "* 1 EXPUNGE"),
            ("* 2 EXPUNGE", "* 2 EXPUNGE\n* 1 FETCH (FLAGS ())"),
            ("* 2 EXPUNGE", "* 2 EXPUNGE\n* 7 EXISTS\n* OK hello"),
        ] {
            assert!(holds(Measure::Ours, expected, came).is_err(), "{expected}");
            assert_eq!(holds(Measure::Rfc, expected, came), Ok(()), "{expected}");
        }
        for (expected, came) in [
            ("!* 1 EXPUNGE\n...", "* 1 EXPUNGE"),
            ("* 2 EXPUNGE", "* 2 EXPUNGE\n* 1 EXPUNGE"),
            ("* 2 EXPUNGE\n---\n* 1 EXPUNGE", "* 1 EXPUNGE\n* 2 EXPUNGE"),
            ("* 2 EXPUNGE", "* 2 EXPUNGE\n* 1 FETCH (UID 1)"),
            (
                "* 1 FETCH (MODSEQ ($m))\n* 2 FETCH (MODSEQ ($m))",
                "* 1 FETCH (MODSEQ (3))\n* 2 FETCH (MODSEQ (4))",
            ),
        ] {
            assert!(holds(Measure::Rfc, expected, came).is_err(), "{expected}");
        }
    }

    #[test]
    fn what_nobody_can_tell_apart_is_not_tried_for_ever() {
        let expected = format!("{}* 1 EXPUNGE", "* $a FETCH (FLAGS ())\n".repeat(30));
        let came = "* 1 FETCH (FLAGS ())\n".repeat(30);
        assert!(holds(Measure::Ours, &expected, &came).is_err());
    }
}
