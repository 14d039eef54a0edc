//! Rules about the source itself: the walls between crates, what files look like, that the table of
//! requirements, the code and the tests agree, and that links lead somewhere.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; the lint exempts only the test functions themselves"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Lines in a source file, its tests not counted.
const LINES_MAX: usize = 600;

/// Requirements of servers and of clients in docs/rfc7162.md.
const SERVER_RULES: u32 = 174;
const CLIENT_RULES: u32 = 36;

/// Which crates each crate may name, tests included. Not all of them need exist.
const ARROWS: [(&str, &[&str]); 6] = [
    ("imap", &[]),
    ("store", &["imap"]),
    ("store-postgres", &["imap", "store"]),
    ("session", &["imap", "store"]),
    ("client", &["imap"]),
    ("highwater", &["imap", "store", "store-postgres", "session", "client"]),
];

/// Where what people wrote is kept.
const FOLDERS: [&str; 5] = ["bench", "crates", "docs", "tests", "tools"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The files below a folder, hidden ones left out.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || ["target", "__pycache__", "node_modules"].contains(&&*name) {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|e| e == ending)
}

fn sources() -> impl Iterator<Item = PathBuf> {
    files(&root().join("crates")).into_iter().filter(|path| has_ending(path, "rs"))
}

/// Every file that somebody wrote and that is text, with what stands in it; this one left out.
fn everything() -> Vec<(PathBuf, String)> {
    let top = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = top.filter(|path| path.is_file()).collect();
    all.retain(|path| !path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')));
    all.extend(FOLDERS.iter().flat_map(|folder| files(&root().join(folder))));
    all.retain(|path| !path.ends_with(file!()) && !path.ends_with("Cargo.lock"));
    let text = |path: PathBuf| std::fs::read_to_string(&path).ok().map(|text| (path, text));
    all.into_iter().filter_map(text).collect()
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

const TESTS_BEGIN: &str = "#[cfg(test)]\nmod tests {";

/// The source before its unit tests.
fn without_tests(text: &str) -> &str {
    text.split(TESTS_BEGIN).next().unwrap_or(text)
}

/// What tests there are in a file: all of it when it is made of tests.
fn tests_of<'a>(path: &Path, text: &'a str) -> &'a str {
    let all = !shown(path).contains("/src/") || path.ends_with("tests.rs");
    if all { text } else { text.split_once(TESTS_BEGIN).map_or("", |(_, tests)| tests) }
}

/// The crates of this workspace that a manifest names, under whatever name and for whatever purpose.
fn named_crates(manifest: &toml::Table) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (key, value) in manifest {
        let Some(table) = value.as_table() else { continue };
        // Tests may look down from above: the mirror of `client` watches the sessions of a simulation.
        if key == "dev-dependencies" {
            continue;
        }
        if !key.ends_with("dependencies") {
            found.extend(named_crates(table)); // [target.'…'.dependencies]
            continue;
        }
        for (name, how) in table {
            let told = |what| how.get(what).and_then(toml::Value::as_str);
            let path = told("path").and_then(|path| path.rsplit('/').next());
            let package = told("package").unwrap_or(name);
            found.extend(
                [Some(package), path]
                    .into_iter()
                    .flatten()
                    .map(|name| name.strip_prefix("highwater-").unwrap_or(name).to_owned()),
            );
        }
    }
    found
}

#[test]
fn crates_know_only_those_below_them() {
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((_, may)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            wrong.push(format!("{name} has no arrows stated here"));
            continue;
        };
        let manifest: toml::Table = read(&folder.join("Cargo.toml")).parse().unwrap();
        for other in named_crates(&manifest) {
            let ours = ARROWS.iter().any(|(known, _)| *known == other);
            if ours && !may.contains(&other.as_str()) {
                wrong.push(format!("{name} names {other}"));
            }
        }
    }
    assert_none("arrows that point upwards", &wrong);
}

#[test]
fn every_file_says_what_it_is_for_and_fits_in_a_head() {
    let mut wrong = Vec::new();
    for path in sources() {
        let text = read(&path);
        if !text.starts_with("//!") {
            wrong.push(format!("{} does not begin with //!", shown(&path)));
        }
        let lines = without_tests(&text).lines().count();
        if shown(&path).contains("/src/") && lines > LINES_MAX {
            wrong.push(format!("{} has {lines} lines, {LINES_MAX} at most", shown(&path)));
        }
        if path.ends_with("mod.rs") {
            wrong.push(format!("{} is to be named after its module", shown(&path)));
        }
    }
    assert_none("files", &wrong);
}

/// The lines of a text that one of these words stands in, with where they are.
fn lines_with(path: &Path, text: &str, words: &[&str]) -> Vec<String> {
    let there = |line: &str| words.iter().any(|word| line.contains(word));
    let lines = text.lines().enumerate().filter(|(_, line)| there(line));
    lines.map(|(at, line)| format!("{}:{}: {}", shown(path), at + 1, line.trim())).collect()
}

#[test]
fn nothing_is_left_open() {
    let words = ["todo!(", "unimplemented!(", "TODO", "FIXME", "XXX:", "#[ignore"];
    let everything = everything();
    let open = everything.iter().flat_map(|(path, text)| lines_with(path, text, &words));
    assert_none("left open", &open.collect::<Vec<_>>());
}

#[test]
fn no_test_waits_on_time() {
    let words = ["sleep(", "sleep_until(", "sleep_ms("];
    let mut wrong = Vec::new();
    for (path, text) in everything().iter().filter(|(path, _)| has_ending(path, "rs")) {
        wrong.extend(lines_with(path, tests_of(path, text), &words));
    }
    assert_none("tests that wait on time", &wrong);
}

#[test]
fn nothing_names_a_place_on_one_machine() {
    let mut wrong = Vec::new();
    for (path, text) in everything() {
        for place in ["/home/", "/root/", "/Users/", "/work/"] {
            // The beginning of a path, not a folder within one.
            let begins = |at: usize| {
                let before = text.get(..at).and_then(|before| before.chars().next_back());
                !before.is_some_and(|c| c.is_alphanumeric() || "._-~}".contains(c))
            };
            if text.match_indices(place).any(|(at, _)| begins(at)) {
                wrong.push(format!("{}: {place}", shown(&path)));
            }
        }
    }
    assert_none("places on one machine", &wrong);
}

/// The requirement ids between brackets: `[S-n]`, `[H3, S-n]`, `[C-n]`.
fn ids(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in text.split('[').skip(1) {
        let Some((inside, _)) = part.split_once(']') else { continue };
        for word in inside.split([',', ' ']) {
            let number = word.strip_prefix("S-").or(word.strip_prefix("C-")).unwrap_or_default();
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
    let is_row = |line: &&str| line.starts_with("| S-") || line.starts_with("| C-");
    for line in read(&root().join("docs/rfc7162.md")).lines().filter(is_row) {
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

/// What is wrong with a row, its files read.
fn faults(id: &String, row: &Row) -> Vec<String> {
    let mut wrong = Vec::new();
    let done = row.state == "done";
    let argued = ["not applicable: ", "not yet: "]
        .iter()
        .any(|what| row.state.strip_prefix(what).is_some_and(|why| !why.is_empty()));
    if !done && !argued {
        wrong.push(format!("{id}: the state is neither done nor argued: {}", row.state));
    }
    if done && (row.code.is_empty() || row.tests.is_empty()) {
        wrong.push(format!("{id} is done and names no code or no test"));
    }
    for (places, are_code) in [(&row.code, true), (&row.tests, false)] {
        for place in places {
            let path = root().join("docs").join(place).canonicalize().unwrap_or_default();
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let part = if are_code { without_tests(&text) } else { tests_of(&path, &text) };
            if !ids(part).contains(id) {
                let what = if are_code { "code" } else { "tests" };
                wrong.push(format!("{id} is not in the {what} of {place}"));
            }
        }
    }
    wrong
}

#[test]
fn table_code_and_tests_agree() {
    let rows = table();
    let server = (1..=SERVER_RULES).map(|n| format!("S-{n}"));
    let client = (1..=CLIENT_RULES).map(|n| format!("C-{n}"));
    let missing: Vec<String> = server.chain(client).filter(|id| !rows.contains_key(id)).collect();
    assert_none("requirements without a row", &missing);
    let mut wrong: Vec<String> = rows.iter().flat_map(|(id, row)| faults(id, row)).collect();
    for path in files(&root().join("crates")) {
        if has_ending(&path, "rs") || has_ending(&path, "txt") {
            let unknown = ids(&read(&path)).into_iter().filter(|id| !rows.contains_key(id));
            wrong.extend(unknown.map(|id| format!("{} names {id}: no such row", shown(&path))));
        }
    }
    assert_none("requirements", &wrong);
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    for (path, text) in everything().iter().filter(|(path, _)| has_ending(path, "md")) {
        for target in links(text) {
            let target = target.split('#').next().unwrap_or_default();
            let leads = target.contains("://") || path.with_file_name(target).exists();
            if !target.is_empty() && !leads {
                wrong.push(format!("{}: {target}", shown(path)));
            }
        }
    }
    assert_none("dead links", &wrong);
}
