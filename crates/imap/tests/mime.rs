//! Structures of real messages, read by someone else's parser of responses.
//!
//! The messages are a few of our own and, where Python is installed with its tests, those of its `email` package:
//! nobody here wrote them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

use imap::command::{FetchSection, SectionLabel, SectionText};
use imap::message::{Piece, Structure, analyse, filter_fields};
use imap_codec::ResponseCodec;
use imap_codec::decode::Decoder;
use imap_codec::imap_types::body::{BodyStructure, SpecificFields};
use imap_codec::imap_types::fetch::MessageDataItem;
use imap_codec::imap_types::response::{Data, Response};
use proptest::prelude::*;
use std::path::PathBuf;
use std::process::Command;

/// Messages that are well formed, odd, or broken in one way each.
const OWN: [&[u8]; 12] = [
    b"",
    b"\r\n",
    b"no header at all",
    b"Subject: x\r\n\r\nbody\r\n",
    b"Subject: \xff\xfe\0 x\r\nFrom: \xc3\xa9 <\0@\xff>\r\n\r\n\0\xff\r\n",
    b"Content-Type: multipart/mixed\r\n\r\nno boundary\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\nno parts\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n",
    b"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\nin\n--b\n\nSubject: y\n\n--b--\n",
    b"Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/a; boundary=\"b c\"\r\n\r\n--b c\r\n\r\n1\r\n--b c--\r\n",
    b"Content-Type: text/plain; charset=\"a\r\n b\"; name*0=x; name*1*=y\r\nContent-Language: de, en\r\n\r\nx",
    b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=aa\r\n\r\n\
      --aa\r\n\r\nx\r\n--aa--\r\n--a--\r\n",
];

/// The messages of the `email` package's tests, if they are on this machine.
fn foreign() -> Vec<(String, Vec<u8>)> {
    let script = "import test.test_email, os; print(os.path.dirname(test.test_email.__file__))";
    let answer = Command::new("python3").args(["-c", script]).output();
    let directory = answer.ok().filter(|answer| answer.status.success());
    let directory =
        directory.map(|answer| String::from_utf8_lossy(&answer.stdout).trim().to_owned());
    let Some(data) = directory.map(|directory| PathBuf::from(directory).join("data")) else {
        eprintln!("NOTE: Python's email tests are not installed; only our own messages were tried");
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&data).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Ok(octets) = std::fs::read(entry.path()) {
            found.push((name, octets));
        }
    }
    eprintln!("NOTE: {} messages of Python's email tests were tried", found.len());
    found
}

/// The octets that a section gives; `None` when there is no such part.
fn section(raw: &[u8], structure: &Structure, part: &[u32], text: SectionText) -> Option<Vec<u8>> {
    let label = SectionLabel::Body;
    let section = FetchSection { label, part: part.to_vec(), text, partial: None, peek: true };
    let cut = |range: std::ops::Range<u64>| {
        raw[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
    };
    Some(match structure.section(&section)? {
        Piece::Octets(range) => cut(range),
        Piece::Fields { header, names, not } => filter_fields(&cut(header), &names, not),
    })
}

/// Checks one message: what is written follows the grammar, and what it says of each part is what a section gives.
fn check(name: &str, raw: &[u8]) {
    let structure = analyse(raw);
    assert_eq!(Structure::from_bytes(structure.as_bytes()).as_ref(), Ok(&structure), "{name}");
    let whole = section(raw, &structure, &[], SectionText::All).unwrap();
    let header = section(raw, &structure, &[], SectionText::Header).unwrap();
    let text = section(raw, &structure, &[], SectionText::Text).unwrap();
    assert_eq!(whole, raw, "{name}");
    assert_eq!([header, text].concat(), raw, "{name}");

    let mut line = b"* 1 FETCH (ENVELOPE ".to_vec();
    line.extend_from_slice(structure.envelope());
    line.extend_from_slice(b" BODY ");
    line.extend_from_slice(structure.body());
    line.extend_from_slice(b" BODYSTRUCTURE ");
    line.extend_from_slice(structure.bodystructure());
    line.extend_from_slice(b")\r\n");
    let shown = String::from_utf8_lossy(&line).into_owned();
    let (rest, response) = match ResponseCodec::default().decode(&line) {
        Ok(decoded) => decoded,
        Err(error) => panic!("{name}: {error:?}\n{shown}"),
    };
    assert!(rest.is_empty(), "{name}: {shown}");
    let Response::Data(Data::Fetch { items, .. }) = response else { panic!("{name}: {shown}") };
    for item in items {
        if let MessageDataItem::Body(tree) | MessageDataItem::BodyStructure(tree) = item {
            let path = if matches!(tree, BodyStructure::Single { .. }) { vec![1] } else { vec![] };
            check_part(name, raw, &structure, &tree, &path);
        }
    }
}

/// Checks a part and those inside it: sizes and lines are those of the octets that its section gives.
fn check_part(
    name: &str,
    raw: &[u8],
    structure: &Structure,
    tree: &BodyStructure<'_>,
    path: &[u32],
) {
    let below = |number: usize| [path, &[u32::try_from(number).unwrap()]].concat();
    match tree {
        BodyStructure::Multi { bodies, .. } => {
            for (index, body) in bodies.as_ref().iter().enumerate() {
                check_part(name, raw, structure, body, &below(index + 1));
            }
            let beyond = below(bodies.as_ref().len() + 1);
            assert_eq!(
                section(raw, structure, &beyond, SectionText::All),
                None,
                "{name} {beyond:?}"
            );
        }
        BodyStructure::Single { body, .. } => {
            let octets = section(raw, structure, path, SectionText::All).unwrap();
            assert_eq!(octets.len(), usize::try_from(body.basic.size).unwrap(), "{name} {path:?}");
            let lines = octets.iter().filter(|b| **b == b'\n').count();
            match &body.specific {
                SpecificFields::Text { number_of_lines, .. } => {
                    assert_eq!(
                        usize::try_from(*number_of_lines).unwrap(),
                        lines,
                        "{name} {path:?}"
                    );
                }
                SpecificFields::Message { body_structure, .. } => {
                    let inner = [SectionText::Header, SectionText::Text]
                        .map(|text| section(raw, structure, path, text).unwrap());
                    assert_eq!(inner.concat(), octets, "{name} {path:?}");
                    let single = matches!(**body_structure, BodyStructure::Single { .. });
                    let inside = if single { below(1) } else { path.to_vec() };
                    check_part(name, raw, structure, body_structure, &inside);
                }
                SpecificFields::Basic { .. } => {}
            }
        }
    }
}

/// The message with every line end made CRLF, as delivery does.
fn with_crlf(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    for (index, b) in octets.iter().enumerate() {
        if *b == b'\n' && (index == 0 || octets[index - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*b);
    }
    out
}

#[test]
fn structures_say_what_sections_give() {
    for (index, raw) in OWN.iter().enumerate() {
        check(&format!("own {index}"), raw);
        check(&format!("own {index}, CRLF"), &with_crlf(raw));
    }
    for (name, raw) in foreign() {
        check(&name, &raw);
        check(&format!("{name}, CRLF"), &with_crlf(&raw));
    }
}

#[test]
fn nesting_and_numbers_are_bounded() {
    let deep = b"Content-Type: message/rfc822\r\n\r\n".repeat(5000);
    let structure = analyse(&deep);
    assert_eq!(Structure::from_bytes(structure.as_bytes()), Ok(structure));
    let mut nested = Vec::new();
    for level in 0..1000 {
        nested.extend(
            format!("Content-Type: multipart/x; boundary={level}\r\n\r\n--{level}\r\n")
                .into_bytes(),
        );
    }
    assert!(analyse(&nested).bodystructure().starts_with(b"("));
    let mut wide = b"Content-Type: multipart/x; boundary=b\r\n\r\n".to_vec();
    wide.extend(b"--b\r\n\r\n".repeat(30_000));
    let parts = analyse(&wide).body().windows(7).filter(|text| text == b"\"plain\"").count();
    assert!(parts <= 10_000, "{parts}");
}

/// Pieces from which messages are made that are almost well formed.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let pieces: [&[u8]; 26] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"\xff",
        b"--b",
        b"--b--",
        b"--b\r\n",
        b"--b--\r\n",
        b"--c\r\n",
        b"\r\n\r\n",
        b" ",
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: multipart/digest; boundary=\"c\"\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Type: text/html; a=\"b\\\"",
        b"From: a@b, <c>, g: d;\r\n",
        b"To: \"x\\",
        b"Subject: =?utf-8?q?=C3?=\r\n",
        b"Content-Disposition: inline; f=(c)\r\n",
        b"Content-Language: a,b\r\n",
        b"Content-MD5: \"\r\n",
        b"text",
        b"(",
        b"\"",
        b"Content-Location:\r\n\t x\r\n",
    ];
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    prop_oneof![4 => prop::sample::select(pieces), 1 => prop::collection::vec(any::<u8>(), 0..8)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn broken_messages_give_well_formed_structures(pieces in prop::collection::vec(piece(), 0..30)) {
        check("made up", &pieces.concat());
    }
}
