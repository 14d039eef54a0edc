//! Structures of messages, well formed and not.

use super::*;
use crate::command::SectionLabel;

const MIXED: &[u8] = b"From: Ann <ann@example.org>, \"B. C\" <b.c@example.net> (x)\r\n\
To: friends: d@e.f, g@h;, solo@host\r\n\
Subject: =?utf-8?q?h=C3=A9llo?=\r\n  folded\r\n\
Date: Mon, 7 Feb 1994 21:52:25 -0800\r\n\
Content-Type: multipart/mixed; boundary=\"b 1\"; x=y\r\n\
\r\n\
preamble\r\n\
--b 1\r\n\
\r\n\
one\r\ntwo\r\n\
--b 1\r\n\
Content-Type: message/rfc822\r\n\
Content-Disposition: attachment; filename=\"a;b.eml\"\r\n\
\r\n\
Subject: inner\r\n\
Content-Type: text/html; charset=utf-8\r\n\
Content-Transfer-Encoding: quoted-printable\r\n\
\r\n\
<p>caf=C3=A9</p>\r\n\
--b 1--\r\n\
epilogue\r\n";

fn section(part: &[u32], text: SectionText) -> FetchSection {
    FetchSection { label: SectionLabel::Body, part: part.to_vec(), text, partial: None, peek: true }
}

fn octets(raw: &[u8], part: &[u32], text: SectionText) -> Option<String> {
    let piece = analyse(raw).section(&section(part, text))?;
    Some(match piece {
        Piece::Octets(range) => String::from_utf8_lossy(header::slice(raw, &range)).into_owned(),
        Piece::Fields { header, names, not } => {
            let header = header::slice(raw, &header);
            String::from_utf8(filter_fields(header, &names, not)).unwrap()
        }
    })
}

fn shown(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

#[test]
fn sections_are_the_octets_of_the_message() {
    use SectionText::{All, Header, HeaderFields, Mime, Text};
    assert_eq!(octets(MIXED, &[], All).unwrap().as_bytes(), MIXED);
    assert_eq!(octets(MIXED, &[1], All).as_deref(), Some("one\r\ntwo"));
    assert_eq!(octets(MIXED, &[1], Mime).as_deref(), Some("\r\n"));
    assert_eq!(octets(MIXED, &[2, 1], All).as_deref(), Some("<p>caf=C3=A9</p>"));
    assert!(octets(MIXED, &[2], Header).unwrap().starts_with("Subject: inner\r\n"));
    assert_eq!(octets(MIXED, &[2], Text).as_deref(), Some("<p>caf=C3=A9</p>"));
    assert_eq!(octets(MIXED, &[3], All), None);
    assert_eq!(octets(MIXED, &[1, 1], All), None);
    assert_eq!(octets(MIXED, &[1], Header), None);
    let fields = HeaderFields(vec![b"subject".to_vec(), b"nosuch".to_vec()]);
    assert_eq!(
        octets(MIXED, &[], fields).as_deref(),
        Some("Subject: =?utf-8?q?h=C3=A9llo?=\r\n  folded\r\n\r\n")
    );
    assert_eq!(octets(b"A: b\n\nbody", &[1], All).as_deref(), Some("body"));
}

#[test]
fn the_envelope_has_ten_fields() {
    let structure = analyse(MIXED);
    assert_eq!(
        shown(structure.envelope()),
        "(\"Mon, 7 Feb 1994 21:52:25 -0800\" \"=?utf-8?q?h=C3=A9llo?=  folded\" \
         ((\"Ann\" NIL \"ann\" \"example.org\")(\"B. C\" NIL \"b.c\" \"example.net\")) \
         ((\"Ann\" NIL \"ann\" \"example.org\")(\"B. C\" NIL \"b.c\" \"example.net\")) \
         ((\"Ann\" NIL \"ann\" \"example.org\")(\"B. C\" NIL \"b.c\" \"example.net\")) \
         ((NIL NIL \"friends\" NIL)(NIL NIL \"d\" \"e.f\")(NIL NIL \"g\" \"h\")(NIL NIL NIL NIL)\
         (NIL NIL \"solo\" \"host\")) NIL NIL NIL NIL)"
    );
}

#[test]
fn the_body_structure_has_its_extension_data() {
    let structure = analyse(MIXED);
    let text = shown(structure.bodystructure());
    assert!(text.starts_with(
        "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 8 1 NIL NIL NIL NIL)"
    ));
    assert!(text.contains("(\"attachment\" (\"filename\" \"a;b.eml\"))"), "{text}");
    assert!(text.ends_with(" \"mixed\" (\"boundary\" \"b 1\" \"x\" \"y\") NIL NIL NIL)"), "{text}");
    assert_eq!(shown(structure.body()).matches("\"mixed\")").count(), 1);
}

#[test]
fn odd_addresses_stay_well_formed() {
    for (field, expected) in [
        ("", "NIL"),
        ("undisclosed-recipients:;", "((NIL NIL \"undisclosed-recipients\" NIL)(NIL NIL NIL NIL))"),
        ("root", "((NIL NIL \"root\" \"\"))"),
        ("<@a,@b:c@d>", "((NIL \"@a,@b\" \"c\" \"d\"))"),
        ("Mr. X Y <x.y@z>", "((\"Mr. X Y\" NIL \"x.y\" \"z\"))"),
        ("a@b (Comment (nested))", "((\"Comment (nested)\" NIL \"a\" \"b\"))"),
        (",,a@b,,", "((NIL NIL \"a\" \"b\"))"),
        ("a@[1.2.3.4]", "((NIL NIL \"a\" \"[1.2.3.4]\"))"),
    ] {
        let mut out = Vec::new();
        address::addresses(&mut out, field.as_bytes());
        assert_eq!(shown(&out), expected, "{field}");
    }
}

#[test]
fn the_stored_form_comes_back_and_no_cut_is_taken_for_whole() {
    let structure = analyse(MIXED);
    let bytes = structure.as_bytes().to_vec();
    assert_eq!(Structure::from_bytes(&bytes).unwrap(), structure);
    for cut in 0..bytes.len() {
        assert!(Structure::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn deep_and_broken_messages_end() {
    let mut deep = Vec::new();
    for n in 0..300 {
        deep.extend_from_slice(
            format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n").as_bytes(),
        );
    }
    let structure = analyse(&deep);
    assert!(structure.bodystructure().len() < 1_000_000);
    assert_eq!(Structure::from_bytes(structure.as_bytes()).unwrap(), structure);
    for odd in [
        b"".as_slice(),
        b"\r\n",
        b"no colon",
        b": x\n\n",
        b"Content-Type: multipart/mixed\r\n\r\nx",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b--\r\n",
        b"Content-Type: message/rfc822\r\n\r\n",
        b"Subject: \0\xff\r\n\r\n\0",
        b"Content-Type: text/\r\nFrom: \"\\\r\n\r\n",
    ] {
        let structure = analyse(odd);
        assert!(structure.envelope().starts_with(b"(") && structure.body().starts_with(b"("));
        assert!(!structure.envelope().contains(&0));
    }
}

#[test]
fn text_is_decoded_for_searching() {
    assert_eq!(searchable_field(MIXED, b"SUBJECT"), ["héllo folded"]);
    let text = searchable_text(MIXED, true);
    assert!(text.contains("café") && text.contains("héllo"), "{text}");
    let body = searchable_text(MIXED, false);
    assert!(body.contains("café") && body.contains("one") && !body.contains("héllo"), "{body}");
    assert_eq!(sent_date(MIXED).unwrap().civil(), (1994, 2, 7));
    assert_eq!(sent_date(b"Date: nonsense\r\n\r\n"), None);
}

#[test]
fn a_boundary_may_be_encoded_or_in_pieces() {
    for form in [
        "boundary=b",
        "boundary*=us-ascii''%62",
        "boundary*0=\"b\"",
        "boundary*0*=''%62; boundary*1=c",
    ] {
        let part = if form.contains("*1") { "bc" } else { "b" };
        let raw = format!(
            "Content-Type: multipart/x; {form}\r\n\r\n--{part}\r\n\r\none\r\n--{part}--\r\n"
        );
        assert_eq!(
            octets(raw.as_bytes(), &[1], SectionText::All).as_deref(),
            Some("one"),
            "{form}"
        );
    }
}

#[test]
fn a_filtered_header_ends_as_the_header_does() {
    let names = [b"a".to_vec()];
    for (header, kept) in [
        ("A: 1\r\nB: 2\r\n\r\n", "A: 1\r\n\r\n"),
        ("A: 1\nB: 2\n\n", "A: 1\n\n"),
        ("B: 2\r\nA: 1\r\n\n", "A: 1\r\n\n"),
        ("B: 2\r\nA: 1", "A: 1"),
        ("A: 1\r\nB: 2\r\n", "A: 1\r\n"),
        ("\r\n", "\r\n"),
        ("", ""),
    ] {
        assert_eq!(shown(&filter_fields(header.as_bytes(), &names, false)), kept, "{header:?}");
    }
}

#[test]
fn searching_a_deeply_nested_message_needs_no_stack() {
    let deep = b"Content-Type: message/rfc822\n\n".repeat(100_000);
    assert!(searchable_text(&deep, true).len() < 10_000);
    let mut nested = Vec::new();
    for n in 0..20_000 {
        let part = format!("Content-Type: multipart/x; boundary={n}\r\n\r\n--{n}\r\n");
        nested.extend_from_slice(part.as_bytes());
    }
    assert!(searchable_text(&nested, true).len() < 10_000);
}

#[test]
fn text_in_every_encoding_is_found() {
    let no_boundary = b"Content-Type: multipart/mixed\r\n\r\nlost\r\n";
    assert!(searchable_text(no_boundary, false).contains("lost"));
    for (kind, encoding, body) in [
        ("text/plain; charset=iso-8859-1", "8bit", b"caf\xe9".as_slice()),
        ("text/plain; charset=\"UTF-8\"", "Base64", b"Y2Fm\r\nw6k="),
        ("text/html; charset=iso-8859-15", "quoted-printable", b"c=\r\naf=E9"),
        ("text/plain", "7bit", "caf\u{e9}".as_bytes()),
        ("text/plain; charset*=us-ascii''utf-16be", "base64", b"AGMAYQBmAOk="),
    ] {
        let head = format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n");
        let text = searchable_text(&[head.as_bytes(), body].concat(), false);
        assert!(text.contains("caf\u{e9}"), "{kind} {encoding}: {text:?}");
    }
}
