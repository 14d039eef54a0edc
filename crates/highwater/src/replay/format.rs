//! A report in words, in JSON and in JUnit's XML.

use super::{Outcome, Played, RFC, Report, Tally};
use client::dialogue::{Cite, Failure};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What RFC 7162 calls its sections.
const SECTIONS: [(&str, &str); 36] = [
    ("1", "Introduction"),
    ("2", "Requirements notation, definitions"),
    ("3.1", "CONDSTORE extension"),
    ("3.1.1", "Advertising CONDSTORE"),
    ("3.1.2.1", "HIGHESTMODSEQ response code"),
    ("3.1.2.2", "NOMODSEQ response code"),
    ("3.1.3", "STORE and UID STORE"),
    ("3.1.4.1", "CHANGEDSINCE FETCH modifier"),
    ("3.1.4.2", "MODSEQ data item in FETCH"),
    ("3.1.5", "MODSEQ criterion in SEARCH"),
    ("3.1.6", "Modified SEARCH response"),
    ("3.1.7", "HIGHESTMODSEQ in STATUS"),
    ("3.1.8", "CONDSTORE parameter"),
    ("3.1.10", "ESORT and ESEARCH"),
    ("3.1.11", "Quality of implementation"),
    ("3.1.12", "Server implementation"),
    ("3.2", "QRESYNC extension"),
    ("3.2.2", "Advertising QRESYNC"),
    ("3.2.3", "Use of ENABLE"),
    ("3.2.4", "Additional requirements"),
    ("3.2.5", "QRESYNC parameter"),
    ("3.2.5.1", "Mod-sequence and UIDs"),
    ("3.2.5.2", "Message sequence match data"),
    ("3.2.6", "VANISHED UID FETCH modifier"),
    ("3.2.7", "EXPUNGE"),
    ("3.2.8", "CLOSE"),
    ("3.2.9", "UID EXPUNGE"),
    ("3.2.10", "VANISHED response"),
    ("3.2.10.1", "VANISHED (EARLIER)"),
    ("3.2.10.2", "VANISHED without the tag"),
    ("3.2.11", "CLOSED response code"),
    ("4", "Long command lines"),
    ("5.3", "Additional state on the server"),
    ("6", "Synchronization sequence"),
    ("7", "Formal syntax"),
    ("8", "Security considerations"),
];

/// The report for people.
pub(crate) fn text(report: &Report) -> String {
    let mut out = format!("{}\n\n", report.server);
    let rows = report.by_section();
    let (ours, others): (Vec<_>, Vec<_>) = rows.iter().partition(|(cite, _)| cite.rfc == RFC);
    let _ = writeln!(out, "{:<44} passed  failed  skipped", format!("RFC {RFC}"));
    let mut ours = ours;
    ours.sort_by_key(|(cite, _)| numbers(cite));
    for (cite, tally) in ours {
        row(&mut out, &named(cite), *tally);
    }
    let _ = writeln!(out, "\n{:<44} passed  failed  skipped", "the base and other extensions");
    for (cite, tally) in others {
        row(&mut out, &cite.to_string(), *tally);
    }
    let uncited = report.played.iter().filter(|played| played.sections.is_empty());
    let mut tally = Tally::default();
    uncited.for_each(|played| tally.count(&played.outcome));
    if tally != Tally::default() {
        row(&mut out, "no section named", tally);
    }
    out.push_str("\nA dialogue counts in every section that it is about.\n");
    for (reason, count) in report.skips() {
        let _ = writeln!(out, "skipped {count}: {reason}");
    }
    for failure in report.failures() {
        let _ = write!(out, "\nFAILED {failure}\n");
    }
    let Tally { passed, failed, skipped } = report.tally();
    let _ = write!(out, "\n{passed} passed, {failed} failed, {skipped} skipped");
    out
}

fn row(out: &mut String, name: &str, tally: Tally) {
    let Tally { passed, failed, skipped } = tally;
    let _ = writeln!(out, "{name:<44} {passed:>6}  {failed:>6}  {skipped:>7}");
}

/// The section's number and name.
fn named(cite: &Cite) -> String {
    let Some(section) = cite.section.as_deref() else { return "as a whole".into() };
    let name = SECTIONS.iter().find(|(number, _)| *number == section).map(|(_, name)| *name);
    format!("§{section:<9} {}", name.unwrap_or_default()).trim_end().to_owned()
}

/// By number, not by letter: 3.1.10 after 3.1.9.
fn numbers(cite: &Cite) -> Vec<u32> {
    let section = cite.section.as_deref().unwrap_or_default();
    section.split('.').filter_map(|part| part.parse().ok()).collect()
}

/// The report for programs.
pub(crate) fn json(report: &Report) -> Value {
    let Tally { passed, failed, skipped } = report.tally();
    let sections = report.by_section();
    let sections = sections.iter().map(|(cite, tally)| {
        json!({
            "rfc": cite.rfc, "section": cite.section,
            "passed": tally.passed, "failed": tally.failed, "skipped": tally.skipped,
        })
    });
    json!({
        "server": report.server,
        "version": env!("CARGO_PKG_VERSION"),
        "passed": passed, "failed": failed, "skipped": skipped,
        "sections": sections.collect::<Vec<_>>(),
        "dialogues": report.played.iter().map(dialogue).collect::<Vec<_>>(),
    })
}

fn dialogue(played: &Played) -> Value {
    let (outcome, reason, failure) = match &played.outcome {
        Outcome::Passed => ("passed", None, None),
        Outcome::Failed(failure) => ("failed", None, Some(told(failure))),
        Outcome::Skipped(reason) => ("skipped", Some(reason.as_str()), None),
    };
    json!({
        "file": played.file, "line": played.line, "title": played.title,
        "ids": played.ids,
        "sections": played.sections.iter().map(Cite::to_string).collect::<Vec<_>>(),
        "outcome": outcome, "reason": reason, "failure": failure,
        "seconds": played.took.as_secs_f64(),
    })
}

fn told(failure: &Failure) -> Value {
    json!({
        "line": failure.line, "why": failure.why, "sent": failure.sent,
        "expected": failure.expected, "came": failure.came,
    })
}

/// The report for what shows JUnit's XML.
pub(crate) fn junit(report: &Report) -> String {
    let Tally { passed, failed, skipped } = report.tally();
    let seconds: f64 = report.played.iter().map(|played| played.took.as_secs_f64()).sum();
    let counts = format!(
        "tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"{skipped}\" time=\"{seconds:.3}\"",
        passed + failed + skipped
    );
    let name = xml(&report.server);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"highwater replay\" {counts}>");
    let _ = writeln!(out, "  <testsuite name=\"{name}\" {counts}>");
    for played in &report.played {
        case(&mut out, played);
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn case(out: &mut String, played: &Played) {
    let (file, title) = (xml(&played.file), xml(&played.title));
    let seconds = played.took.as_secs_f64();
    let _ = write!(
        out,
        "    <testcase classname=\"{file}\" name=\"{title}\" line=\"{}\" time=\"{seconds:.3}\"",
        played.line
    );
    let _ = match &played.outcome {
        Outcome::Passed => writeln!(out, "/>"),
        Outcome::Skipped(why) => {
            writeln!(out, "><skipped message=\"{}\"/></testcase>", xml(why))
        }
        Outcome::Failed(failure) => {
            let (why, all) = (xml(&failure.why), xml(&failure.to_string()));
            writeln!(out, "><failure message=\"{why}\">{all}</failure></testcase>")
        }
    };
}

/// The text with what XML gives a meaning escaped, and without what it cannot hold.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            '\r' => out.push_str("&#13;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::dialogue::cites;
    use std::time::Duration;

    fn report() -> Report {
        let failure = Failure {
            file: "f.txt".into(),
            line: 7,
            title: "a <title> & \"more\"".into(),
            why: "came\u{0}and ]]> was not \u{1b}expected".into(),
            fixture: false,
            sent: vec!["a NOOP".into()],
            expected: vec!["a OK".into()],
            came: vec!["* 1 FETCH (BODY[] {3}\r\n<&>)".into(), "a NO".into()],
        };
        let played = |outcome, section: &str| Played {
            file: "f.txt".into(),
            line: 5,
            title: "a <title> & \"more\"".into(),
            ids: vec!["S-63".into()],
            sections: cites(section).into_iter().collect(),
            outcome,
            took: Duration::from_millis(12),
        };
        Report {
            server: "imap://me@127.0.0.1:143/".into(),
            played: vec![
                played(Outcome::Passed, "RFC 7162 §3.1.10"),
                played(Outcome::Failed(Box::new(failure)), "RFC 7162 §3.1.3, §3.1.10"),
                played(Outcome::Skipped("no \"QRESYNC\"".into()), "RFC 3501 §6.4, §7"),
                played(Outcome::Passed, ""),
            ],
        }
    }

    #[test]
    fn the_summary_counts_by_section() {
        let text = text(&report());
        let line = |head: &str| {
            let found = text.lines().find(|line| line.starts_with(head));
            found.unwrap().split_whitespace().rev().take(3).collect::<Vec<_>>()
        };
        assert_eq!(line("§3.1.3 "), ["0", "1", "0"]);
        assert_eq!(line("§3.1.10 "), ["0", "1", "1"]);
        assert_eq!(line("RFC 3501"), ["1", "0", "0"]);
        assert_eq!(line("no section"), ["0", "0", "1"]);
        assert!(text.find("§3.1.3 ") < text.find("§3.1.10 "));
        assert!(text.ends_with("2 passed, 1 failed, 1 skipped"));
        assert!(text.contains("skipped 1: no \"QRESYNC\""));
        assert!(text.contains("FAILED f.txt:7: a <title>"));
    }

    #[test]
    fn json_holds_everything() {
        let value: Value = serde_json::from_str(&json(&report()).to_string()).unwrap();
        let at = |path: &str| value.pointer(path).cloned().unwrap_or_default();
        assert_eq!((at("/passed"), at("/failed"), at("/skipped")), (2.into(), 1.into(), 1.into()));
        assert_eq!(at("/dialogues/1/failure/line"), 7);
        assert_eq!(at("/dialogues/2/reason"), "no \"QRESYNC\"");
        assert_eq!(at("/dialogues/0/sections/0"), "RFC 7162 §3.1.10");
    }

    #[test]
    fn junit_is_well_formed() {
        let xml = junit(&report());
        let document = roxmltree::Document::parse(&xml).unwrap();
        let named =
            |name| document.descendants().filter(|n| n.has_tag_name(name)).collect::<Vec<_>>();
        assert_eq!(named("testcase").len(), 4);
        let failure = named("failure");
        let failure = failure.first().unwrap();
        assert_eq!(
            failure.attribute("message"),
            Some("came\u{fffd}and ]]> was not \u{fffd}expected")
        );
        assert!(failure.text().unwrap().contains("<&>"));
        let suite = named("testsuite");
        assert_eq!(suite.first().unwrap().attribute("tests"), Some("4"));
    }
}
