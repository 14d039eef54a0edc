//! What is written, letter by letter.

use super::*;
use crate::acl::{Identifier, Rights};
use crate::command::{FetchSection, SectionLabel, SectionText};
use crate::quota::{QuotaRoot, Resource, ResourceUsage};

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

#[test]
fn rights_are_shown_with_the_virtual_ones() {
    // RFC 4314 §3.2 and §2.1.1, RFC 8440 §4.
    let of = |letters| Rights::parse(letters).unwrap();
    let who = |name| Identifier::new(name).unwrap();
    let (fred, not_fred, team) = (who("Fred"), who("-Fred"), who("$team"));
    assert_eq!(
        written(|o| {
            acl(o, "INBOX", [(&fred, Rights::ALL), (&not_fred, of("wetd")), (&team, of("w"))]);
        }),
        "* ACL INBOX Fred lrswipkxtecda -Fred wted $team w\r\n"
    );
    assert_eq!(written(|o| acl(o, "a b", [])), "* ACL \"a b\"\r\n");
    let (zoe, nil) = (who("Zo\u{eb}"), who("nil"));
    assert_eq!(
        written(|o| acl(o, "x", [(&zoe, Rights::NONE), (&nil, of("l"))])),
        "* ACL x {4}\r\nZo\u{eb} \"\" \"nil\" l\r\n"
    );
    assert_eq!(written(|o| my_rights(o, "foo", of("lrs"))), "* MYRIGHTS foo lrs\r\n");
    assert_eq!(written(|o| my_rights(o, "foo", of("x"))), "* MYRIGHTS foo xc\r\n");
}

#[test]
fn each_virtual_right_is_listed_once_where_its_members_are() {
    // RFC 4314 §2.1.1 and §3.4; here `c` is `kx` and `d` is `et`.
    let smith = Identifier::new("smith").unwrap();
    for (required, optional, expected) in [
        ("la", vec!["r", "swikxte"], "la r swikxtecd"),
        ("", vec!["lr", "s", "w", "i", "p", "k", "x", "t"], "\"\" lr s w i p k x t c d"),
        ("", vec!["lr", "s", "k", "xte"], "\"\" lr s k xtecd"),
        ("", vec!["lr", "s", "k", "x", "te"], "\"\" lr s k x te c d"),
        ("", vec!["lr", "swte", "k", "x"], "\"\" lr swted k x c"),
        ("lrswipkxtea", vec![], "lrswipkxteacd"),
        ("lt", vec!["e", "", "k"], "ltd e k c"),
        ("", vec![], "\"\""),
    ] {
        let of = |letters: &str| Rights::parse(letters).unwrap();
        let optional: Vec<_> = optional.into_iter().map(of).collect();
        let line = written(|o| list_rights(o, "~/Mail/saved", &smith, of(required), &optional));
        assert_eq!(line, format!("* LISTRIGHTS ~/Mail/saved smith {expected}\r\n"));
    }
}

#[test]
fn quotas_are_lists_of_triplets() {
    // RFC 9208 §4.1.2 and §4.2.
    let root = |name: &str| QuotaRoot(name.into());
    let usage = |resource, used, limit| ResourceUsage { resource, used, limit };
    let usages = [usage(Resource::Storage, 54, 111), usage(Resource::Message, 42, 1000)];
    assert_eq!(
        written(|o| quota(o, &root("#user/alice"), &usages)),
        "* QUOTA #user/alice (STORAGE 54 111 MESSAGE 42 1000)\r\n"
    );
    assert_eq!(written(|o| quota(o, &root(""), &[])), "* QUOTA \"\" ()\r\n");
    assert_eq!(
        written(|o| quota_root(o, "INBOX", &[root("#user/alice"), root("a b")])),
        "* QUOTAROOT INBOX #user/alice \"a b\"\r\n"
    );
    assert_eq!(written(|o| quota_root(o, "comp.mail.mime", &[])), "* QUOTAROOT comp.mail.mime\r\n");
}

#[test]
fn namespaces_are_lists_or_nil() {
    // RFC 2342 §5, examples 5.1 and 5.5.
    let of = |prefix: &str, delimiter| Namespace { prefix: prefix.into(), delimiter };
    let own = vec![of("", Some('/'))];
    assert_eq!(
        written(|o| namespaces(o, &Namespaces { personal: own.clone(), ..Namespaces::default() })),
        "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n"
    );
    let shared = ["#shared/", "#public/", "#ftp/"].map(|prefix| of(prefix, Some('/'))).to_vec();
    let all = Namespaces { personal: own, others: vec![of("~", None)], shared };
    assert_eq!(
        written(|o| namespaces(o, &all)),
        "* NAMESPACE ((\"\" \"/\")) ((\"~\" NIL)) \
         ((\"#shared/\" \"/\")(\"#public/\" \"/\")(\"#ftp/\" \"/\"))\r\n"
    );
}
