//! What is written, letter by letter.

use super::*;
use crate::command::{FetchSection, SectionLabel, SectionText};

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn status_responses_always_have_text() {
    // [S-37]
    let code = Code::HighestModSeq(ModSeq::new(105).unwrap());
    assert_eq!(
        written(|o| untagged(o, Status::Ok, Some(&code), "")),
        "* OK [HIGHESTMODSEQ 105] .\r\n"
    );
    let set = UidSet::from_ranges([(4, 5), (9, 9)]);
    let line =
        written(|o| tagged(o, &Tag("d".into()), Status::Ok, Some(&Code::Modified(set)), "ü\r\n"));
    assert_eq!(line, "d OK [MODIFIED 4:5,9] ???\r\n");
}

#[test]
fn strings_are_quoted_or_literal() {
    assert_eq!(written(|o| string(o, b"a\"b\\")), "\"a\\\"b\\\\\"");
    assert_eq!(written(|o| string(o, b"a\r\0b")), "{3}\r\na\rb");
    assert_eq!(written(|o| mailbox(o, "a b")), "\"a b\"");
    assert_eq!(written(|o| mailbox(o, "Entwürfe")), "Entw&APw-rfe");
}

#[test]
fn vanished_lines_stay_short_and_empty_sets_are_silent() {
    // [S-133]
    assert_eq!(written(|o| vanished(o, true, &UidSet::new())), "");
    let many = UidSet::from_ranges((1..2000).map(|n| (n * 10, n * 10 + 3)));
    let text = written(|o| vanished(o, false, &many));
    assert!(text.lines().count() > 1 && text.lines().all(|line| line.len() < 4200));
}

#[test]
fn field_names_of_a_section_are_written_octet_for_octet() {
    let section = FetchSection {
        label: SectionLabel::Body,
        part: vec![2],
        text: SectionText::HeaderFields(vec![b"To".to_vec(), b"\xff".to_vec()]),
        partial: None,
        peek: true,
    };
    let mut out = Vec::new();
    let mut line = FetchLine::begin(&mut out, SeqNum::MIN);
    line.section(&section, None);
    line.end();
    assert_eq!(out, b"* 1 FETCH (BODY[2.HEADER.FIELDS (To {1}\r\n\xff)] NIL)\r\n");
}
