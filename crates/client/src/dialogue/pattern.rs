//! Whether a line that came is the one that was expected, and what it binds.

use super::Measure;
use super::words::{flags, inner, is_name, same, same_string, split, substitute};
use std::collections::HashMap;

/// Names bound so far.
pub(super) type Bound = HashMap<String, String>;

/// Response codes that no server owes anybody, whatever it refuses: those of RFC 5530, and some of later RFCs.
const CODES_NOT_OWED: [&str; 15] = [
    "ALREADYEXISTS",
    "AUTHENTICATIONFAILED",
    "AUTHORIZATIONFAILED",
    "CANNOT",
    "CLIENTBUG",
    "EXPUNGEISSUED",
    "HASCHILDREN",
    "INUSE",
    "LIMIT",
    "NONEXISTENT",
    "NOPERM",
    "OVERQUOTA",
    "TOOBIG",
    "UNAVAILABLE",
    "USEATTR",
];

/// Codes that only inform: they may come with OK although nobody expects them.
const CODES_THAT_INFORM: [&str; 6] =
    ["HIGHESTMODSEQ", "READ-WRITE", "READ-ONLY", "CAPABILITY", "APPENDUID", "COPYUID"];

/// Codes that say something about mod-sequences; `[]` forbids them to everybody.
const CODES_OF_CONDSTORE: [&str; 2] = ["HIGHESTMODSEQ", "MODIFIED"];

/// How lines are compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// By whose measure.
    pub(super) measure: Measure,
    /// Whether a UID that is expected in FETCH is owed: it was asked for, or QRESYNC is enabled.
    pub(super) uid_owed: bool,
    /// Whether what was sent chooses messages by what changed, so that each FETCH counts.
    pub(super) by_change: bool,
}

impl Rules {
    pub(super) fn lenient(self) -> bool {
        self.measure == Measure::Rfc
    }

    /// What a server may say at any time without it meaning anything to a dialogue.
    pub(super) fn is_noise(self, line: &str) -> bool {
        let upper = line.to_ascii_uppercase();
        let ours = upper.ends_with(" RECENT")
            || upper.starts_with("* FLAGS ")
            || upper.starts_with("* OK [PERMANENTFLAGS ");
        let anybody = || {
            upper.ends_with(" EXISTS")
                || ["* OK ", "* NO ", "* CAPABILITY "].iter().any(|head| upper.starts_with(head))
                || !self.by_change && fetch(line).is_some_and(|fetch| fetch.tells_flags())
        };
        ours || self.lenient() && anybody()
    }

    /// Matches an expected line against one that came; answers the bindings with what it adds.
    pub(super) fn line(self, expected: &str, came: &str, bound: &Bound) -> Option<Bound> {
        let mut bound = bound.clone();
        let expected = &expected.replace("\\r\\n", "\r\n");
        if let Some(names) = listed(expected, "* CAPABILITY ") {
            let there = came.strip_prefix("* CAPABILITY ")?;
            return capabilities(names, there, bound);
        }
        if let (Some(want), Some(have)) = (fetch(expected), fetch(came)) {
            return self.fetch(&want, &have, &mut bound).map(|()| bound);
        }
        if status(expected).is_some() || status(came).is_some() {
            return self.status(&status(expected)?, &status(came)?, bound);
        }
        if self.lenient()
            && !expected.ends_with('…')
            && let Some(holds) = self.sorted(expected, came, &mut bound)
        {
            return holds.then_some(bound);
        }
        let exact = !expected.starts_with('+') && !expected.ends_with('…');
        self.tokens(expected.trim_end_matches('…').trim_end(), came, exact, &mut bound)?;
        Some(bound)
    }

    fn fetch(self, want: &Fetch, have: &Fetch, bound: &mut Bound) -> Option<()> {
        self.word(&want.number, &have.number, bound)?;
        for (name, value) in &want.items {
            let bare = name.strip_suffix('!');
            let owed = bare.is_some()
                || self.uid_owed
                || !self.lenient()
                || !name.eq_ignore_ascii_case("UID");
            let name = bare.unwrap_or(name);
            let found = have.items.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
            let Some((_, found)) = found else {
                if owed {
                    return None;
                }
                continue;
            };
            if name.eq_ignore_ascii_case("FLAGS") {
                flags(value, found).then_some(())?;
            } else if self.lenient() && name.eq_ignore_ascii_case("INTERNALDATE") {
                (value == "*" || same_moment(value, found)).then_some(())?;
            } else {
                self.tokens(value, found, true, bound)?;
            }
        }
        Some(())
    }

    /// Status lines: their text means nothing.
    fn status(self, want: &Status, have: &Status, mut bound: Bound) -> Option<Bound> {
        self.word(&want.tag, &have.tag, &mut bound)?;
        let strict = want.word.strip_suffix('!');
        let refusal = |word: &str| word == "NO" || word == "BAD";
        let alike = |wanted: &str| {
            wanted == have.word
                || self.lenient() && strict.is_none() && refusal(wanted) && refusal(&have.word)
        };
        let mut words = strict.unwrap_or(&want.word).split('|');
        let others = if self.lenient() { usize::MAX } else { 1 };
        if !words.by_ref().take(others).any(alike) {
            return None;
        }
        let of = |codes: &[&str], code: &str| codes.iter().any(|known| code.starts_with(known));
        match (want.code.as_deref(), have.code.as_deref()) {
            (Some(""), None) | (None, None) => Some(bound),
            (Some(""), Some(came)) => {
                (self.lenient() && !of(&CODES_OF_CONDSTORE, came)).then_some(bound)
            }
            (Some(code), _) if self.lenient() && of(&CODES_NOT_OWED, code) => Some(bound),
            (Some(_), None) if self.lenient() && want.optional => Some(bound),
            (Some(code), Some(came)) => {
                let same = match (permanent(code), permanent(came)) {
                    (Some(want), Some(have)) if self.lenient() => includes_words(&want, &have),
                    _ => self.tokens(code, came, true, &mut bound).is_some(),
                };
                same.then_some(bound)
            }
            (Some(_), None) => None,
            (None, Some(came)) => {
                let silent = have.word == "OK" && !of(&CODES_THAT_INFORM, came);
                let kept = self.lenient() && !of(&CODES_OF_CONDSTORE, came);
                (!silent || kept).then_some(bound)
            }
        }
    }

    /// Responses whose parts have no order, and to which an RFC lets servers add; `None` for any other.
    fn sorted(self, expected: &str, came: &str, bound: &mut Bound) -> Option<bool> {
        let (want, have) = (split(expected), split(came));
        let kind = want.get(1)?.to_ascii_uppercase();
        if !have.get(1)?.eq_ignore_ascii_case(&kind) {
            return None;
        }
        let (want, have) = (want.get(2..)?, have.get(2..)?);
        Some(match kind.as_str() {
            "FLAGS" => match (want, have) {
                ([want], [have]) => includes_words(&split(inner(want)?), &split(inner(have)?)),
                _ => false,
            },
            "ENABLED" => want.is_empty() == have.is_empty() && includes_words(want, have),
            "LIST" | "LSUB" => self.list(want, have, bound).is_some(),
            "STATUS" => match (want, have) {
                ([want, items], [have, there]) => {
                    self.word(want, have, bound).is_some()
                        && self.pairs(inner(items)?, inner(there)?, bound).is_some()
                }
                _ => false,
            },
            "SEARCH" => self.tokens(&in_order(want), &in_order(have), true, bound).is_some(),
            "ESEARCH" => {
                let (want, have) = (esearch(want), esearch(have));
                (want.0 == have.0) && self.pairs(&want.1, &have.1, bound).is_some()
            }
            _ => return None,
        })
    }

    /// `(attributes) delimiter name …`: more attributes may come.
    fn list(self, want: &[String], have: &[String], bound: &mut Bound) -> Option<()> {
        let (want_flags, want) = want.split_first()?;
        let (have_flags, have) = have.split_first()?;
        let (want_flags, have_flags) = (split(inner(want_flags)?), split(inner(have_flags)?));
        includes_words(&want_flags, &have_flags).then_some(())?;
        (want.len() <= have.len()).then_some(())?;
        want.iter().zip(have).try_for_each(|(want, have)| self.word(want, have, bound))
    }

    /// Names with values, in any order.
    fn pairs(self, want: &str, have: &str, bound: &mut Bound) -> Option<()> {
        let (want, have) = (split(want), split(have));
        for pair in want.chunks(2) {
            let [name, value] = pair else { return None };
            let mut there = have.chunks(2);
            let found =
                there.find(|pair| pair.first().is_some_and(|n| n.eq_ignore_ascii_case(name)));
            self.word(value, found?.get(1)?, bound)?;
        }
        (want.len() == have.len()).then_some(())
    }

    fn tokens(self, expected: &str, came: &str, exact: bool, bound: &mut Bound) -> Option<()> {
        let (want, have) = (split(expected), split(came));
        if want.len() > have.len() || (exact && want.len() != have.len()) {
            return None;
        }
        for (want, have) in want.iter().zip(&have) {
            match (inner(want), inner(have)) {
                (Some(want), Some(have)) if !want.is_empty() || have.is_empty() => {
                    self.tokens(want, have, true, bound)?;
                }
                _ => self.word(want, have, bound)?,
            }
        }
        Some(())
    }

    fn word(self, want: &str, have: &str, bound: &mut Bound) -> Option<()> {
        let same = |want: &str| match self.measure {
            Measure::Ours => same(want, have),
            Measure::Rfc => same_string(want, have),
        };
        if let Some(name) = want.strip_prefix('$').filter(|name| is_name(name)) {
            if let Some(value) = bound.get(name) {
                return same(value).then_some(());
            }
            bound.insert(name.to_owned(), have.to_owned());
            return Some(());
        }
        same(&substitute(want, bound)).then_some(())
    }
}

/// The names of `HEAD name name …`, with the ellipsis at the end.
fn listed<'a>(expected: &'a str, head: &str) -> Option<&'a str> {
    expected.strip_prefix(head)?.strip_suffix(" …")
}

/// The flags of `PERMANENTFLAGS (…)`.
fn permanent(code: &str) -> Option<Vec<String>> {
    code.strip_prefix("PERMANENTFLAGS ").and_then(inner).map(split)
}

/// Names that are all there, in any order; `$name` stands for all that there are.
fn capabilities(names: &str, there: &str, mut bound: Bound) -> Option<Bound> {
    let sorted = |names: &str| {
        let mut all: Vec<String> = names.split(' ').map(str::to_ascii_uppercase).collect();
        all.sort();
        all.join(" ")
    };
    if let Some(name) = names.strip_prefix('$') {
        let all = bound.entry(name.to_owned()).or_insert_with(|| sorted(there));
        return (*all == sorted(there)).then_some(bound);
    }
    let there: Vec<&str> = there.split(' ').collect();
    let listed = |name: &str| there.iter().any(|other| other.eq_ignore_ascii_case(name));
    names.split(' ').all(listed).then_some(bound)
}

/// Whether two dates with times are the same moment, in whatever zones.
fn same_moment(want: &str, have: &str) -> bool {
    let moment = |text: &str| imap::command::DateTime::read(text).map(|date| date.unix);
    moment(want).is_some_and(|want| moment(have) == Some(want))
}

fn includes_words(names: &[String], there: &[String]) -> bool {
    names.iter().all(|name| there.iter().any(|other| other.eq_ignore_ascii_case(name)))
}

/// Numbers by size, then what is none.
fn in_order(words: &[String]) -> String {
    let mut words = words.to_vec();
    words.sort_by_key(|word| word.parse::<u64>().unwrap_or(u64::MAX));
    words.join(" ")
}

/// The tag, whether it is about UIDs, and the results.
fn esearch(words: &[String]) -> ((String, bool), String) {
    let tag = words.iter().find_map(|word| inner(word)).unwrap_or_default();
    let tag = split(tag).get(1).map(|tag| super::words::plain(tag)).unwrap_or_default();
    let rest = words.iter().filter(|word| inner(word).is_none());
    let (uid, rest): (Vec<_>, Vec<_>) = rest.partition(|word| word.eq_ignore_ascii_case("UID"));
    let rest: Vec<&str> = rest.into_iter().map(String::as_str).collect();
    ((tag, !uid.is_empty()), rest.join(" "))
}

/// `* n FETCH (…)` as its number and items.
struct Fetch {
    number: String,
    items: Vec<(String, String)>,
}

fn fetch(text: &str) -> Option<Fetch> {
    let (number, rest) = text.strip_prefix("* ")?.split_once(' ')?;
    let all = split(rest.strip_prefix("FETCH (")?.strip_suffix(')')?);
    let mut items = Vec::new();
    let mut words = all.into_iter();
    while let Some(mut name) = words.next() {
        // BODY[HEADER.FIELDS (X)] is one name.
        while name.contains('[') && !name.contains(']') {
            let Some(more) = words.next() else { break };
            name = format!("{name} {more}");
        }
        items.push((name, words.next().unwrap_or_default()));
    }
    Some(Fetch { number: number.to_owned(), items })
}

impl Fetch {
    /// Whether it tells flags and perhaps who has them: what may come unasked.
    fn tells_flags(&self) -> bool {
        let names = || self.items.iter().map(|(name, _)| name.to_ascii_uppercase());
        names().any(|name| name == "FLAGS" || name == "MODSEQ")
            && names().all(|name| ["FLAGS", "UID", "MODSEQ"].contains(&name.as_str()))
    }
}

/// A status line without its text.
struct Status {
    tag: String,
    word: String,
    code: Option<String>,
    /// The code is followed by a question mark.
    optional: bool,
}

fn status(text: &str) -> Option<Status> {
    let mut words = text.splitn(3, ' ');
    let (tag, word) = (words.next()?, words.next()?);
    let bare = word.strip_suffix('!').unwrap_or(word).split('|').next()?;
    if !["OK", "NO", "BAD", "BYE", "PREAUTH"].contains(&bare) || tag == "+" {
        return None;
    }
    let rest = words.next().unwrap_or_default();
    let code = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let optional = code.is_some_and(|(_, rest)| rest == "?");
    let code = code.map(|(code, _)| code.to_owned());
    Some(Status { tag: tag.to_owned(), word: word.to_owned(), code, optional })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Rules = Rules { measure: Measure::Ours, uid_owed: true, by_change: false };
    const RFC: Rules = Rules { measure: Measure::Rfc, uid_owed: false, by_change: false };

    /// Whether it holds by our measure and by the RFC's.
    fn holds(expected: &str, came: &str) -> (bool, bool) {
        let none = Bound::new();
        (OURS.line(expected, came, &none).is_some(), RFC.line(expected, came, &none).is_some())
    }

    #[test]
    fn what_the_rfc_leaves_open_is_held_against_us_only() {
        for (expected, came) in [
            ("a BAD", "a NO no"),
            ("a NO [NONEXISTENT]", "a NO no"),
            ("a OK []", "a OK [COPYUID 1 2 3] moved"),
            ("a OK", "a OK [CLOSED] so be it"),
            ("* LIST (\\HasChildren) \"/\" foo", "* LIST (\\X \\HasChildren) \"/\" \"foo\""),
            ("* STATUS a (MESSAGES 3 UIDNEXT 4)", "* STATUS a (UIDNEXT 4 MESSAGES 3)"),
            ("* SEARCH 1 2 (MODSEQ $m)", "* SEARCH 2 1 (MODSEQ 9)"),
            ("* ESEARCH (TAG \"a\") UID MIN 1 MAX 2", "* ESEARCH (TAG a) UID MAX 2 MIN 1"),
            ("* ENABLED QRESYNC", "* ENABLED CONDSTORE QRESYNC"),
            ("* 1 FETCH (UID 1 FLAGS (x))", "* 1 FETCH (FLAGS (x))"),
            ("a OK [HIGHESTMODSEQ $m]?", "a OK done"),
            ("a NO|OK", "a OK done"),
            ("* FLAGS (a b)", "* FLAGS (b a)"),
            (
                "* 1 FETCH (INTERNALDATE \"11-Feb-1994 10:00:00 +0100\")",
                "* 1 FETCH (INTERNALDATE \"11-Feb-1994 09:00:00 +0000\")",
            ),
        ] {
            assert_eq!(holds(expected, came), (false, true), "{expected} / {came}");
        }
    }

    #[test]
    fn what_the_rfc_asks_for_is_held_against_everybody() {
        for (expected, came) in [
            ("a BAD!", "a NO no"),
            ("* 1 FETCH (UID! 1 FLAGS (x))", "* 1 FETCH (FLAGS (x))"),
            ("a OK", "a NO no"),
            ("a OK [MODIFIED 3]", "a OK done"),
            ("a OK []", "a OK [HIGHESTMODSEQ 3] done"),
            ("a OK", "a OK [MODIFIED 3] done"),
            ("a NO [TRYCREATE]", "a NO no"),
            ("* SEARCH 1 2 (MODSEQ 8)", "* SEARCH 1 2 (MODSEQ 9)"),
            ("* SEARCH 1 2", "* SEARCH 1"),
            ("* ESEARCH (TAG \"a\") COUNT 0", "* ESEARCH (TAG \"a\") COUNT 0 MODSEQ 3"),
            ("* ENABLED", "* ENABLED X"),
            ("* 1 FETCH (FLAGS (x) MODSEQ ($m))", "* 1 FETCH (FLAGS (x))"),
            ("* STATUS a (HIGHESTMODSEQ 3)", "* STATUS a (HIGHESTMODSEQ 4)"),
        ] {
            assert_eq!(holds(expected, came), (false, false), "{expected} / {came}");
        }
    }

    #[test]
    fn nothing_that_a_server_sends_panics() {
        let odd = [
            "",
            "*",
            "* ",
            "* 1",
            "* 1 FETCH (",
            "* 1 FETCH ()",
            "* LIST",
            "* STATUS a",
            "* ESEARCH",
            "a OK [",
            "* 1 FETCH (BODY[",
            "{9}\r\n",
            "* SEARCH ) (",
            "\u{fffd}",
            "* STATUS a b",
        ];
        for expected in odd.iter().chain(&[
            "* LIST () \"/\" a",
            "* STATUS a (M 1)",
            "* ESEARCH (TAG \"a\") ALL 1",
        ]) {
            for came in odd {
                holds(expected, came);
            }
        }
    }
}
