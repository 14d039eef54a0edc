//! Rules about the source itself: the walls between crates, what files look like, and that the table of
//! requirements, the code and the tests agree.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; the lint exempts only the test functions themselves"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Lines in a source file, its tests not counted.
const LINES_MAX: usize = 600;

/// Which crates each crate may name, tests included.
const ARROWS: [(&str, &[&str]); 4] = [
    ("imap", &[]),
    ("store", &["imap"]),
    ("session", &["imap", "store"]),
    ("highwater", &["imap", "store", "session"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The files below a folder with one of these endings.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden && !path.ends_with("target") {
            found.extend(files(&path, endings));
        } else if path.extension().is_some_and(|e| endings.iter().any(|ending| e == *ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// The source before its unit tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

#[test]
fn crates_know_only_those_below_them() {
    let there: BTreeSet<String> = std::fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let known: BTreeSet<String> = ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(there, known, "every crate has its arrows stated here");
    let mut wrong = Vec::new();
    for (name, may) in ARROWS {
        let manifest = read(&root().join("crates").join(name).join("Cargo.toml"));
        for (other, _) in ARROWS {
            let names = |line: &str| {
                line.starts_with(&format!("{other}.")) || line.starts_with(&format!("{other} "))
            };
            if manifest.lines().any(names) && !may.contains(&other) {
                wrong.push(format!("{name} names {other}"));
            }
        }
    }
    assert_none("arrows that point upwards", &wrong);
}

#[test]
fn every_file_says_what_it_is_for_and_fits_in_a_head() {
    let mut wrong = Vec::new();
    for path in files(&root().join("crates"), &["rs"]) {
        let text = read(&path);
        if !text.starts_with("//!") {
            wrong.push(format!("{} does not begin with //!", shown(&path)));
        }
        let lines = without_tests(&text).lines().count();
        let source = shown(&path).contains("/src/");
        if source && lines > LINES_MAX {
            wrong.push(format!("{} has {lines} lines, {LINES_MAX} at most", shown(&path)));
        }
        if path.ends_with("mod.rs") && source {
            wrong.push(format!("{} is to be named after its module", shown(&path)));
        }
    }
    assert_none("files", &wrong);
}

#[test]
fn nothing_is_left_open() {
    let here = Path::new(file!()).file_name().unwrap();
    let words = ["todo!(", "unimplemented!(", "TODO", "FIXME", "XXX:", "#[ignore"];
    let mut wrong = Vec::new();
    for path in files(&root().join("crates"), &["rs"]) {
        let text = read(&path);
        let is_test = shown(&path).contains("/tests/");
        for (number, line) in text.lines().enumerate().filter(|_| path.file_name() != Some(here)) {
            let open = words.iter().any(|word| line.contains(word));
            let waits = is_test && (line.contains("sleep(") || line.contains("sleep_until("));
            if open || waits {
                wrong.push(format!("{}:{}: {}", shown(&path), number + 1, line.trim()));
            }
        }
    }
    assert_none("left open, or waiting on time", &wrong);
}

/// The requirement ids between brackets: `[S-12]`, `[H3, S-11]`.
fn ids(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in text.split('[').skip(1) {
        let Some((inside, _)) = part.split_once(']') else { continue };
        for word in inside.split([',', ' ']) {
            let number = word.strip_prefix("S-").unwrap_or_default();
            if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
                found.insert(word.to_owned());
            }
        }
    }
    found
}

/// A row of docs/rfc7162.md.
struct Row {
    state: String,
    code: Vec<String>,
    tests: Vec<String>,
}

fn table() -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    for line in read(&root().join("docs/rfc7162.md")).lines().filter(|l| l.starts_with("| S-")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, _, _, state, code, tests] = cells.as_slice() else { panic!("six cells: {line}") };
        let row = Row { state: (*state).to_owned(), code: links(code), tests: links(tests) };
        assert!(rows.insert((*id).to_owned(), row).is_none(), "{id} stands twice");
    }
    rows
}

/// The targets of Markdown links.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(str::to_owned).collect()
}

#[test]
fn table_code_and_tests_agree() {
    let rows = table();
    let all: Vec<String> = (1..=174).map(|n| format!("S-{n}")).collect();
    assert!(all.iter().all(|id| rows.contains_key(id)), "every requirement has its row");
    let mut wrong = Vec::new();
    for (id, row) in &rows {
        let done = row.state == "done";
        if !done && row.state.strip_prefix("not applicable: ").is_none_or(str::is_empty) {
            wrong.push(format!("{id}: the state is neither done nor argued: {}", row.state));
        }
        if done && (row.code.is_empty() || row.tests.is_empty()) {
            wrong.push(format!("{id} is done and names no code or no test"));
        }
        for (place, is_code) in
            row.code.iter().map(|p| (p, true)).chain(row.tests.iter().map(|p| (p, false)))
        {
            let text = read(&root().join("docs").join(place));
            let text = if is_code { without_tests(&text) } else { text.as_str() };
            if !ids(text).contains(id) {
                wrong.push(format!("{id} is not in {place}"));
            }
        }
    }
    for path in files(&root().join("crates"), &["rs", "txt"]) {
        for id in ids(&read(&path)).difference(&rows.keys().cloned().collect()) {
            wrong.push(format!("{} names {id}, which has no row", shown(&path)));
        }
    }
    assert_none("requirements", &wrong);
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut documents = files(&root().join("docs"), &["md"]);
    documents.extend(std::fs::read_dir(root()).unwrap().map(|e| e.unwrap().path()));
    for path in documents.into_iter().filter(|p| p.extension().is_some_and(|e| e == "md")) {
        for target in links(&read(&path)) {
            let target = target.split('#').next().unwrap_or_default();
            let leads = target.contains("://") || path.with_file_name(target).exists();
            if !target.is_empty() && !leads {
                wrong.push(format!("{}: {target}", shown(&path)));
            }
        }
    }
    assert_none("dead links", &wrong);
}
