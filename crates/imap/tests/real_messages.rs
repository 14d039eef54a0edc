//! Messages that nobody here wrote, their parts compared with what Python's `email` package finds.
//!
//! Where Python or the data of its tests are not installed this says so; with `HIGHWATER_REQUIRE_CORPUS` set it fails.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests fail loudly"
)]

use imap::command::{FetchSection, SectionLabel, SectionText};
use imap::message::{Piece, Structure, analyse};
use imap::response::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// Where the two differ and both may, since the messages are broken.
const DIFFERENT: [(&str, &str); 5] = [
    (
        "msg_19.txt",
        "a header ends at an empty line and nowhere else (RFC 5322 §2.1), there at the first odd line",
    ),
    ("msg_35.txt", "likewise"),
    ("msg_38.txt", "likewise, in a part"),
    ("msg_47.txt", "likewise, in a part"),
    ("msg_37.txt", "each delimiter begins a part, there one behind another does not"),
];

/// Prints, for each message and part: file, path, content type, and the body's octets in hex.
///
/// `-` stands for those that hold other parts, and for `message/…`, in which this package parses what we do not. A
/// multipart without delimiters is text there; here it holds one empty part, as the grammar of BODY wants.
const SCRIPT: &str = r#"
import email, os, test.test_email
data = os.path.join(os.path.dirname(test.test_email.__file__), "data")

def walk(name, part, path):
    kind = part.get_content_type()
    payload = part.get_payload()
    if kind.startswith("multipart/") and isinstance(payload, list):
        print(name, ".".join(path) or "0", kind, "-")
        for number, child in enumerate(payload, 1):
            walk(name, child, path + [str(number)])
    elif kind == "message/rfc822" and isinstance(payload, list):
        print(name, ".".join(path), kind, "-")
        inner = payload[0]
        single = not inner.get_content_type().startswith("multipart/")
        walk(name, inner, path + ["1"] if single else path)
    elif kind.startswith("multipart/"):
        print(name, ".".join(path) or "0", kind, "-")
        print(name, ".".join(path + ["1"]), "text/plain", "empty")
    elif isinstance(payload, list):
        print(name, ".".join(path), kind, "-")
    else:
        octets = payload.encode("ascii", "surrogateescape")
        print(name, ".".join(path), kind, octets.hex() or "empty")

for name in sorted(os.listdir(data)):
    if name.startswith("msg_"):
        with open(os.path.join(data, name), "rb") as file:
            octets = file.read()
        message = email.message_from_bytes(octets)
        print(name, "source", "-", octets.hex())
        walk(name, message, [] if message.get_content_type().startswith("multipart/") else ["1"])
"#;

/// A part: its type in small letters, and its octets unless it holds other parts.
#[derive(PartialEq, Eq, Debug)]
struct Part {
    kind: String,
    octets: Option<Vec<u8>>,
}

type Parts = BTreeMap<String, Vec<Part>>;

fn from_hex(text: &str) -> Vec<u8> {
    let text = if text == "empty" { "" } else { text };
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// What Python finds: for each file its octets and its parts by path.
fn theirs() -> Option<BTreeMap<String, (Vec<u8>, Parts)>> {
    let answer = Command::new("python3").args(["-c", SCRIPT]).output().ok()?;
    if !answer.status.success() {
        return None;
    }
    let mut found: BTreeMap<String, (Vec<u8>, Parts)> = BTreeMap::new();
    for line in String::from_utf8(answer.stdout).unwrap().lines() {
        let [name, path, kind, hex] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let message = found.entry(name.to_owned()).or_default();
        if path == "source" {
            message.0 = from_hex(hex);
            continue;
        }
        let octets = (hex != "-").then(|| from_hex(hex));
        message.1.entry(path.to_owned()).or_default().push(Part { kind: kind.to_owned(), octets });
    }
    Some(found).filter(|found| !found.is_empty())
}

/// The octets of a part's body.
fn body(raw: &[u8], structure: &Structure, path: &[u32]) -> Vec<u8> {
    let (label, text) = (SectionLabel::Body, SectionText::All);
    let section = FetchSection { label, part: path.to_vec(), text, partial: None, peek: true };
    match structure.section(&section) {
        Some(Piece::Octets(range)) => raw[range.start as usize..range.end as usize].to_vec(),
        other => panic!("{path:?}: {other:?}"),
    }
}

/// Collects the parts that BODYSTRUCTURE tells of, numbered as RFC 3501 §6.4.5 does.
fn ours(raw: &[u8], structure: &Structure, tree: &Value, path: &[u32], parts: &mut Parts) {
    let fields = tree.list().unwrap();
    let shown = path.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
    let shown = if shown.is_empty() { "0".to_owned() } else { shown };
    let mut add = |kind: String, octets| {
        let kind = kind.to_ascii_lowercase();
        parts.entry(shown.clone()).or_default().push(Part { kind, octets });
    };
    let below = |number: usize| [path, &[number as u32]].concat();
    let children = fields.iter().take_while(|field| field.list().is_some()).count();
    if children > 0 {
        add(format!("multipart/{}", fields[children].text().unwrap()), None);
        for (index, child) in fields[..children].iter().enumerate() {
            ours(raw, structure, child, &below(index + 1), parts);
        }
        return;
    }
    let kind = format!("{}/{}", fields[0].text().unwrap(), fields[1].text().unwrap());
    let octets = body(raw, structure, path);
    assert_eq!(fields[6].number(), Some(octets.len() as u64), "{shown}");
    if kind.eq_ignore_ascii_case("message/rfc822") {
        add(kind, None);
        let inner = &fields[8];
        let single = inner.list().unwrap()[0].list().is_none();
        ours(raw, structure, inner, &if single { below(1) } else { path.to_vec() }, parts);
    } else {
        let is_message = kind.to_ascii_lowercase().starts_with("message/");
        add(kind, (!is_message).then_some(octets));
    }
}

#[test]
fn parts_are_those_that_another_package_finds() {
    let Some(messages) = theirs() else {
        let install =
            "python3 with its test package: libpython3-testsuite on Debian, python3-test on Fedora";
        assert!(
            std::env::var_os("HIGHWATER_REQUIRE_CORPUS").is_none(),
            "the messages of Python's email tests are missing; install {install}"
        );
        eprintln!("NOTE: no real messages were tried; install {install}");
        return;
    };
    let mut different = Vec::new();
    for (name, (raw, theirs)) in &messages {
        let structure = analyse(raw);
        let tree = Value::parse(structure.bodystructure()).unwrap();
        let single = tree.list().unwrap()[0].list().is_none();
        let mut found = Parts::new();
        ours(raw, &structure, &tree, if single { &[1] } else { &[] }, &mut found);
        let may_differ = DIFFERENT.iter().any(|(other, _)| other == name);
        if (*theirs != found) != may_differ {
            different.push(format!("{name}\n  theirs {theirs:?}\n  ours {found:?}"));
        }
    }
    eprintln!("NOTE: {} messages were compared", messages.len());
    assert!(different.is_empty(), "{}", different.join("\n"));
}
