//! Responses of the RFCs, of other servers, and all that our own side writes.

use super::*;
use crate::command::{DateTime, FetchSection, SectionLabel, SectionText};
use crate::encode::{self, ESearch, FetchLine};
use crate::message::analyse;
use crate::namespace::Namespace;
use crate::number::{Uid, UidValidity};
use crate::quota::Resource;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// RFC 7162's own responses, each kind once.
const EXAMPLES: &str = r#"* 172 EXISTS
* 1 RECENT
* OK [UNSEEN 12] Message 12 is first unseen
* OK [UIDVALIDITY 3857529045] UIDs valid
* OK [UIDNEXT 4392] Predicted next UID
* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
* OK [PERMANENTFLAGS (\Deleted \Seen \*)] Limited
* OK [HIGHESTMODSEQ 715194045007]
A142 OK [READ-WRITE] SELECT completed
* OK [NOMODSEQ] Sorry, this mailbox format doesn't support
* 1 FETCH (UID 4 MODSEQ (12121231000))
a103 OK Conditional Store completed
* 50 FETCH (MODSEQ (12111230047))
d105 OK [MODIFIED 7,9] Conditional STORE failed
* 7 FETCH (MODSEQ (320162342) FLAGS (\Seen \Deleted))
* 101 FETCH (MODSEQ (303011130956) FLAGS ($Processed))
a107 OK
* 101 FETCH (MODSEQ (303011130956) FLAGS ($Processed \Deleted \Answered))
* 1 FETCH (MODSEQ (320172342) FLAGS (\SEEN))
B001 NO [MODIFIED 2] Some of the messages no longer exist.
* 4 EXPUNGE
* 2 FETCH (MODSEQ (320172340) FLAGS (\Deleted \Answered))
* 4 FETCH (UID 8 MODSEQ (29738) FLAGS ($NoJunk $AutoJunk $MDNSent))
* SEARCH 2 5 6 7 11 12 18 19 20 23 (MODSEQ 917162500)
* SEARCH
* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292 HIGHESTMODSEQ 7011231777)
* ESEARCH (TAG "a") ALL 1:3,5 MODSEQ 1236
* ESEARCH (TAG "a") ALL 5,3,2,1 MODSEQ 1236
* OK [HIGHESTMODSEQ 90060128194045007] Highest mailbox mod-sequence
A02 OK [READ-WRITE] Sorry, UIDVALIDITY mismatch
* OK [CLOSED]
* VANISHED (EARLIER) 41,43:116,118,120:211,214:540
* 49 FETCH (UID 117 FLAGS (\Seen \Answered) MODSEQ (90060115194045001))
* SEARCH 404 406 407 408 410 412
A202 OK [HIGHESTMODSEQ 20010715194045319] expunged
. OK [HIGHESTMODSEQ 20010715194045319] Ok
* VANISHED 405,407,410,425
* OK [HIGHESTMODSEQ 99] VANISHED reply with MODSEQ 100 is delayed
A150 OK [MODIFIED 3] done
* 2 FETCH (UID 6 MODSEQ (20010715205008000) FLAGS (\Deleted))"#;

fn read(line: &str) -> Response {
    parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn known(line: &str) -> Code {
    match read(line) {
        Response::Status { code: Some(ResponseCode::Known(code)), .. } => code,
        other => panic!("{line}: {other:?}"),
    }
}

fn set(ranges: &[(u32, u32)]) -> UidSet {
    UidSet::from_ranges(ranges.iter().copied())
}

fn number(n: u32) -> SeqNum {
    SeqNum::new(n).unwrap()
}

fn mod_sequence(n: u64) -> ModSeq {
    ModSeq::new(n).unwrap()
}

/// The one response in the octets, framed and parsed.
fn only(octets: &[u8]) -> Response {
    let mut framer = ResponseFramer::new(ResponseLimits::default());
    framer.push(octets);
    let response = framer.next().unwrap().unwrap();
    assert!(framer.next().is_none() && framer.is_idle(), "{}", String::from_utf8_lossy(octets));
    parse(&response).unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(octets)))
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Response {
    let mut out = Vec::new();
    write(&mut out);
    only(&out)
}

#[test]
fn the_rfcs_own_examples() {
    for line in EXAMPLES.lines() {
        let response = read(line);
        assert!(!matches!(response, Response::Unknown(_)), "{line}");
        match &response {
            Response::Status { code: Some(code), .. } => {
                assert!(matches!(code, ResponseCode::Known(_)), "{line}");
            }
            Response::Fetch { items, .. } => {
                let unknown = items.iter().any(|item| matches!(item, FetchData::Unknown { .. }));
                assert!(!unknown, "{line}");
            }
            _ => {}
        }
        assert_eq!(only(format!("{line}\r\n").as_bytes()), response, "{line}");
    }
    assert_eq!(known("d105 OK [MODIFIED 7,9] x"), Code::Modified(set(&[(7, 7), (9, 9)])));
    assert_eq!(
        read("* VANISHED (EARLIER) 300:310,405"),
        Response::Vanished { earlier: true, uids: set(&[(300, 310), (405, 405)]) }
    );
    let seen = FlagName::new("\\Seen");
    assert_eq!(
        read("* 1 FETCH (MODSEQ (320172342) FLAGS (\\SEEN))"),
        Response::Fetch {
            number: number(1),
            items: vec![FetchData::ModSeq(mod_sequence(320_172_342)), FetchData::Flags(vec![seen])]
        }
    );
}

#[test]
fn codes_stand_without_text_and_unknown_ones_are_kept() {
    // [C-21, C-22]
    assert_eq!(known("* OK [HIGHESTMODSEQ 5]"), Code::HighestModSeq(mod_sequence(5)));
    assert_eq!(known("* OK [CLOSED]"), Code::Closed);
    assert_eq!(known("* ok [closed] x"), Code::Closed);
    for (line, name, arguments) in [
        ("* OK [HIGHESTMODSEQ 0] x", "HIGHESTMODSEQ", "0"),
        ("* OK [HIGHESTMODSEQ 9223372036854775808]", "HIGHESTMODSEQ", "9223372036854775808"),
        ("* OK [HIGHESTMODSEQ]", "HIGHESTMODSEQ", ""),
        ("* OK [X-NEW a \"]\" b] x", "X-NEW", "a \"]\" b"),
        ("* OK [new \"] x", "NEW", "\""),
        ("a OK [MODIFIED 0 35] x", "MODIFIED", "0 35"),
        ("a OK [COPYUID 1 5,3 7:8] x", "COPYUID", "1 5,3 7:8"),
        ("a OK [UIDNEXT 0]", "UIDNEXT", "0"),
        ("a OK [CLOSED x]", "CLOSED", "x"),
    ] {
        let Response::Status { code: Some(code), .. } = read(line) else { panic!("{line}") };
        let other = ResponseCode::Other { name: name.into(), arguments: arguments.into() };
        assert_eq!(code, other, "{line}");
    }
    let Response::Status { code: None, text, .. } = read("* OK [no end") else { panic!() };
    assert_eq!(text, "[no end");
}

#[test]
fn items_come_in_any_order_and_strange_numbers_are_unknown() {
    // [C-19, C-20]
    let Response::Fetch { items, .. } = read(
        "* 3 FETCH (FLAGS (\\Foo $x \\Recent \\*) X-GM-MSGID 12 MODSEQ (18446744073709551615) \
         BINARY.SIZE[1.2] 7 BODY[HEADER.FIELDS (From \"T o\")]<5> NIL MODSEQ (0) UID 0 X (a (b) \"c\") UID 9)",
    ) else {
        panic!()
    };
    let unknown = |item: &FetchData| match item {
        FetchData::Unknown { name, .. } => Some(name.clone()),
        _ => None,
    };
    let names: Vec<_> = items.iter().filter_map(unknown).collect();
    assert_eq!(names, ["X-GM-MSGID", "MODSEQ", "BINARY.SIZE[1.2]", "MODSEQ", "UID", "X"]);
    assert_eq!(items.last(), Some(&FetchData::Uid(Uid::new(9).unwrap())));
    let Some(FetchData::Flags(flags)) = items.first() else { panic!() };
    assert_eq!(flags[0], FlagName::Other("\\Foo".into()));
    assert_eq!(flags[1], FlagName::new("$X"));
    assert_eq!(flags[2..], [FlagName::Recent, FlagName::Any]);
    assert_eq!(
        read("* SEARCH 1 (MODSEQ 9223372036854775808)"),
        Response::Search { numbers: vec![1], mod_seq: None }
    );
    let Response::ESearch(result) =
        read("* ESEARCH UID COUNT 2 X (1 2) MODSEQ 99999999999999999999")
    else {
        panic!()
    };
    assert_eq!(result, ESearchResult { uid: true, count: Some(2), ..ESearchResult::default() });
    assert_eq!(
        read(
            "* STATUS inbox (HIGHESTMODSEQ 9223372036854775808 NEW (1) APPENDLIMIT NIL UNSEEN -1 )"
        ),
        Response::MailboxStatus {
            mailbox: MailboxName("INBOX".into()),
            items: vec![(StatusItem::AppendLimit, None)]
        }
    );
}

#[test]
fn other_servers_are_understood() {
    assert_eq!(read("* SEARCH "), Response::Search { numbers: vec![], mod_seq: None });
    assert_eq!(read("+"), Response::Continue(vec![]));
    assert_eq!(read("+ idling"), Response::Continue(b"idling".to_vec()));
    assert_eq!(read("* METADATA x"), Response::Unknown(b"* METADATA x".to_vec()));
    assert_eq!(read("* 5 FROBBED"), Response::Unknown(b"* 5 FROBBED".to_vec()));
    assert_eq!(read("* ID NIL"), Response::Id(None));
    let Response::Namespace(spaces) =
        read("* NAMESPACE ((\"\" \"/\")(\"#m\" NIL \"X\" (\"y\"))) NIL ((\"s/\" \"/\"))")
    else {
        panic!()
    };
    let of = |prefix: &str, delimiter| Namespace { prefix: prefix.into(), delimiter };
    assert_eq!(spaces.personal, [of("", Some('/')), of("#m", None)]);
    assert!(spaces.others.is_empty() && spaces.shared.len() == 1);
    let Response::List(entry) = read("* LIST () \"\\\\\" Entw&APw-rfe") else { panic!() };
    assert_eq!((entry.delimiter, entry.name.0.as_str()), (Some('\\'), "Entwürfe"));
    for bad in [
        "",
        "*",
        "* ",
        "a",
        "a FROB",
        "a BYE x",
        "* 0 EXPUNGE",
        "* 4294967296 EXISTS",
        "* VANISHED 1:*",
        "* VANISHED",
        "* VANISHED $",
        "* SEARCH 0",
        "* SEARCH x",
        "* 1 FETCH (UID 1",
        "* 1 FETCH UID 1",
        "* 1 FETCH (BODY[] x)",
        "* 1 FETCH (ENVELOPE NIL)",
        "* LIST () \"/\" &",
        "* ID (\"a\")",
        "* 1 EXISTS x",
    ] {
        assert!(parse(bad.as_bytes()).is_err(), "{bad}");
    }
    let deep = format!("* 1 FETCH (X {})", "(".repeat(100_000));
    assert!(parse(deep.as_bytes()).is_err());
}

#[test]
fn text_for_people_holds_no_literals() {
    let mut framer = ResponseFramer::new(ResponseLimits::default());
    framer.push(
        b"* OK set {3}\r\na NO x {99999999999999999999}\r\n+ {1}\r\n* 1 FETCH (X {1}\r\na)\r\n",
    );
    let lines: Vec<_> = std::iter::from_fn(|| framer.next()).map(Result::unwrap).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[3].as_ref(), b"* 1 FETCH (X {1}\r\na)");
}

#[test]
fn limits_end_the_connection_once() {
    let limits =
        ResponseLimits { text_bytes_max: 30, literal_bytes_max: 10, response_bytes_max: 60 };
    for (octets, whole) in [
        (b"* 1 FETCH (X {10}\r\n0123456789)\r\n".to_vec(), true),
        (b"* 1 FETCH (X {11}\r\n".to_vec(), false),
        (b"* 1 FETCH (X {99999999999999999999}\r\n".to_vec(), false),
        (vec![b'x'; 33], false),
        (b"* 1 (X {9}\r\n012345678{9}\r\n012345678{9}\r\n012345678{9}\r\n".to_vec(), false),
    ] {
        let mut framer = ResponseFramer::new(limits);
        framer.push(&octets);
        assert_eq!(framer.next().unwrap().is_ok(), whole, "{}", String::from_utf8_lossy(&octets));
        framer.push(b"* OK\r\n");
        assert_eq!(framer.next().is_some(), whole);
        assert!(framer.is_idle());
    }
}

#[test]
fn rights_of_other_servers_are_read_without_the_virtual_ones() {
    // RFC 4314 §2.1.1 and §3.
    let of = |letters| Rights::parse(letters).unwrap();
    let who = |name| Identifier::new(name).unwrap();
    let inbox = || MailboxName("INBOX".into());
    let entries = vec![(who("Fred"), of("rwipslxeta")), (who("-Fred"), of("wet"))];
    let acl = |entries| Response::Acl { mailbox: inbox(), entries };
    assert_eq!(read("* ACL inbox Fred rwipslxetad -Fred wetd "), acl(entries));
    assert_eq!(read("* ACL \"INBOX\" anyone \"\""), acl(vec![(who("anyone"), Rights::NONE)]));
    assert_eq!(read("* ACL INBOX"), acl(vec![]));
    let optional = ["l", "r", "s", "w", "i", "p", "k", "x", "t", "e", "a"].map(of).to_vec();
    assert_eq!(
        read("* LISTRIGHTS INBOX anyone \"\" l r s w i p k x t e c d a 0 1 2 3 4 5 6 7 8 9"),
        Response::ListRights {
            mailbox: inbox(),
            identifier: who("anyone"),
            required: Rights::NONE,
            optional
        }
    );
    assert_eq!(
        read("* MYRIGHTS INBOX rwiptsldaex"),
        Response::MyRights { mailbox: inbox(), rights: of("rwiptslaex") }
    );
    for bad in ["ACL", "ACL x a", "ACL x a l b", "ACL x - l", "LISTRIGHTS x a", "MYRIGHTS x"] {
        assert!(parse(format!("* {bad}").as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn quotas_of_other_servers_are_read() {
    // RFC 9208 §4.1.2.
    let root = |name: &str| QuotaRoot(name.into());
    let roots = vec![root("#user/alice"), root("!partition/sda4")];
    let mailbox = MailboxName("INBOX".into());
    assert_eq!(
        read("* QUOTAROOT INBOX \"#user/alice\" \"!partition/sda4\""),
        Response::QuotaRoots { mailbox, roots }
    );
    let usages = vec![ResourceUsage { resource: Resource::Storage, used: 10, limit: 512 }];
    for line in [
        "* QUOTA \"\" (STORAGE 10 512)",
        "* QUOTA \"\" (storage 10 512 MESSAGE -1 1 X 1 9223372036854775808)",
    ] {
        assert_eq!(read(line), Response::Quota { root: root(""), usages: usages.clone() });
    }
    for bad in ["QUOTA", "QUOTA x", "QUOTA x NIL", "QUOTA x (STORAGE 1)", "QUOTAROOT"] {
        assert!(parse(format!("* {bad}").as_bytes()).is_err(), "{bad}");
    }
}

/// Some of the rights.
fn some_rights() -> impl Strategy<Value = Rights> {
    proptest::sample::subsequence(Rights::ALL.iter().collect::<Vec<_>>(), 0..=11)
        .prop_map(|rights| rights.into_iter().fold(Rights::NONE, Rights::union))
}

/// The status response with this code, from our own side.
fn status_with(code: &Code) -> Response {
    written(|out| encode::untagged(out, Status::Ok, Some(code), "x"))
}

#[test]
fn every_code_that_is_written_is_known() {
    let some = set(&[(1, 3), (7, 7)]);
    let bare = code::BARE;
    let validity = UidValidity::MAX;
    let others = [
        Code::AppendUid(validity, some.clone()),
        Code::BadCharset(vec!["UTF-8".into(), "US-ASCII".into()]),
        Code::BadCharset(vec![]),
        Code::Capability("IMAP4rev1 QRESYNC".into()),
        Code::CopyUid(validity, some.clone(), set(&[(9, 12)])),
        Code::HighestModSeq(ModSeq::MAX),
        Code::Modified(some),
        Code::PermanentFlags("\\Seen $x \\*".into()),
        Code::UidNext(Uid::MAX),
        Code::UidValidity(UidValidity::MIN),
        Code::Unseen(SeqNum::MAX),
    ];
    for code in bare.into_iter().chain(others) {
        let text = "x".to_owned();
        let known = Some(ResponseCode::Known(code.clone()));
        let expected = Response::Status { tag: None, status: Status::Ok, code: known, text };
        assert_eq!(status_with(&code), expected);
    }
}

#[test]
fn names_and_results_that_are_written_come_back() {
    let some = set(&[(1, 3), (7, 7)]);
    assert_eq!(
        written(|o| encode::capability(o, "A B=c")),
        Response::Capability(vec!["A".into(), "B=c".into()])
    );
    assert_eq!(
        written(|o| encode::enabled(o, &["QRESYNC"])),
        Response::Enabled(vec!["QRESYNC".into()])
    );
    assert_eq!(written(|o| encode::enabled(o, &[])), Response::Enabled(vec![]));
    assert_eq!(written(|o| encode::exists(o, 0)), Response::Exists(0));
    assert_eq!(written(|o| encode::recent(o, 4)), Response::Recent(4));
    assert_eq!(written(|o| encode::expunge(o, number(4))), Response::Expunge(number(4)));
    let gone = Response::Vanished { earlier: true, uids: some.clone() };
    assert_eq!(written(|o| encode::vanished(o, true, &some)), gone);
    let flags = vec![FlagName::new("\\Seen"), FlagName::new("$x")];
    assert_eq!(written(|o| encode::flags(o, "\\Seen $x")), Response::Flags(flags));
    assert_eq!(written(|o| encode::continuation(o, "go")), Response::Continue(b"go".to_vec()));
    assert_eq!(
        written(|o| encode::continuation_base64(o, b"a")),
        Response::Continue(b"YQ==".to_vec())
    );
    let of = |prefix: &str, delimiter| vec![Namespace { prefix: prefix.into(), delimiter }];
    let shared = [of("Öffentlich/", Some('/')), of("#\"", None)].concat();
    for all in [
        Namespaces { personal: of("", Some('/')), ..Namespaces::default() },
        Namespaces { personal: of("", Some('\\')), others: of("~", Some('/')), shared },
        Namespaces::default(),
    ] {
        assert_eq!(written(|o| encode::namespaces(o, &all)), Response::Namespace(all));
    }
    let fields = vec![(b"name".to_vec(), Some("é\"".as_bytes().to_vec()))];
    assert_eq!(written(|o| encode::id(o, &[("name", "é\"")])), Response::Id(Some(fields)));
    let ranges = [(1, 1), (8, 12), (98, 101), (9999, 10_000), (u32::MAX - 6, u32::MAX)];
    let found = UidSet::from_ranges(ranges);
    let numbers = Response::Search { numbers: found.iter().collect(), mod_seq: Some(ModSeq::MAX) };
    assert_eq!(written(|o| encode::search(o, &found, Some(ModSeq::MAX))), numbers);
    let tag = Tag("a\\\"]".into());
    let (min, max, count) = (Some(1), Some(7), Some(4));
    let (all, mod_seq) = (Some(some), Some(ModSeq::MIN));
    let result = ESearch { tag: &tag, uid: true, min, max, count, all: all.clone(), mod_seq };
    let tag = Some(tag.clone());
    let expected = ESearchResult { tag, uid: true, min, max, count, all, mod_seq };
    assert_eq!(written(|o| encode::esearch(o, &result)), Response::ESearch(expected));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn text_and_names_that_are_written_come_back(text in any::<String>(), name in any::<String>()) {
        let tag = Tag("a".into());
        let no = written(|out| encode::tagged(out, &tag, Status::No, None, &text));
        let is_no = matches!(no, Response::Status { tag: Some(ref t), status: Status::No, code: None, .. } if *t == tag);
        prop_assert!(is_no, "{:?}", no);
        let name = name.replace(['\0', '\r', '\n'], "x");
        let childinfo: &[&str] = &["SUBSCRIBED"];
        let entry = written(|out| encode::list(out, false, &["\\Sent"], Some('/'), &name, Some(childinfo)));
        let name = MailboxName(crate::parse::canonical(name));
        let child_info = Some(vec!["SUBSCRIBED".to_owned()]);
        let attributes = vec!["\\Sent".to_owned()];
        let expected = ListEntry { attributes, delimiter: Some('/'), name: name.clone(), child_info };
        prop_assert_eq!(entry, Response::List(expected));
        let items = vec![(StatusItem::HighestModSeq, Some(i64::MAX as u64)), (StatusItem::AppendLimit, None)];
        let status = written(|out| encode::status(out, &name.0, &items));
        prop_assert_eq!(status, Response::MailboxStatus { mailbox: name, items });
    }

    #[test]
    fn rights_that_are_written_come_back(
        name in any::<String>(),
        who in "[^\\p{C}]{1,20}",
        rights in some_rights(),
        ties in vec(0_usize..4, 11),
    ) {
        let name = name.replace(['\0', '\r', '\n'], "x");
        let mailbox = MailboxName(crate::parse::canonical(name));
        let identifier = Identifier::new(&format!("x{who}")).unwrap();
        let entries = vec![(identifier.clone(), rights)];
        let sent = entries.iter().map(|(identifier, rights)| (identifier, *rights));
        let acl = written(|out| encode::acl(out, &mailbox.0, sent));
        prop_assert_eq!(acl, Response::Acl { mailbox: mailbox.clone(), entries });
        let mine = written(|out| encode::my_rights(out, &mailbox.0, rights));
        prop_assert_eq!(mine, Response::MyRights { mailbox: mailbox.clone(), rights });
        let mut optional = vec![Rights::NONE; 4];
        for (right, tie) in Rights::ALL.without(rights).iter().zip(ties) {
            optional[tie] = optional[tie].union(right);
        }
        let line = |out: &mut Vec<u8>| encode::list_rights(out, &mailbox.0, &identifier, rights, &optional);
        let listed = written(line);
        optional.retain(|set| !set.is_empty());
        let expected = Response::ListRights { mailbox, identifier, required: rights, optional };
        prop_assert_eq!(listed, expected);
    }

    #[test]
    fn quotas_that_are_written_come_back(
        name in any::<String>(),
        roots in vec(vec(1_u8.., 0..12), 0..4),
        numbers in vec((0..=i64::MAX as u64, 0..=i64::MAX as u64), 0..=4),
    ) {
        let name = name.replace(['\0', '\r', '\n'], "x");
        let mailbox = MailboxName(crate::parse::canonical(name));
        let roots: Vec<_> = roots.into_iter().map(QuotaRoot).collect();
        let names = ["STORAGE", "MESSAGE", "MAILBOX", "X"];
        let resources = names.map(|name| Resource::from_name(name.as_bytes()));
        let usage = |(resource, (used, limit))| ResourceUsage { resource, used, limit };
        let usages: Vec<_> = resources.into_iter().zip(numbers).map(usage).collect();
        for root in &roots {
            let quota = written(|out| encode::quota(out, root, &usages));
            let expected = Response::Quota { root: root.clone(), usages: usages.clone() };
            prop_assert_eq!(quota, expected);
        }
        let governing = written(|out| encode::quota_root(out, &mailbox.0, &roots));
        prop_assert_eq!(governing, Response::QuotaRoots { mailbox, roots });
    }

    #[test]
    fn items_that_are_written_come_back(
        octets in option::of(vec(any::<u8>(), 0..40)),
        names in vec(vec(1_u8.., 0..8), 1..4),
        unix in -2_000_000_000_i64..30_000_000_000,
        zone_minutes in -720_i16..=840,
        origin in option::of(0..=i64::MAX as u64),
        part in vec(1_u32.., 0..4),
    ) {
        let date = DateTime { unix, zone_minutes };
        let section = FetchSection {
            label: SectionLabel::Body,
            part: part.clone(),
            text: SectionText::HeaderFields(names.clone()),
            partial: origin.map(|origin| (origin, 10)),
            peek: false,
        };
        let whole = FetchSection {
            label: SectionLabel::Rfc822,
            part: vec![],
            text: SectionText::All,
            partial: None,
            peek: false,
        };
        let response = written(|out| {
            let mut line = FetchLine::begin(out, SeqNum::MAX);
            line.section(&section, octets.as_deref()).uid(Uid::MAX).mod_seq(ModSeq::MAX);
            line.flags(["\\Seen", "x"]).size(i64::MAX as u64).internal_date(date);
            line.save_date(None).save_date(Some(date)).section(&whole, octets.as_deref());
            line.end();
        });
        let items = vec![
            FetchData::Section(SectionData {
                label: SectionLabel::Body,
                part,
                text: SectionText::HeaderFields(names),
                origin,
                octets: octets.clone(),
            }),
            FetchData::Uid(Uid::MAX),
            FetchData::ModSeq(ModSeq::MAX),
            FetchData::Flags(vec![FlagName::new("\\Seen"), FlagName::new("x")]),
            FetchData::Size(i64::MAX as u64),
            FetchData::InternalDate(date),
            FetchData::SaveDate(None),
            FetchData::SaveDate(Some(date)),
            FetchData::Section(SectionData {
                label: SectionLabel::Rfc822,
                part: vec![],
                text: SectionText::All,
                origin: None,
                octets,
            }),
        ];
        prop_assert_eq!(response, Response::Fetch { number: SeqNum::MAX, items });
    }

    #[test]
    fn structures_that_are_written_are_values(octets in vec(any::<u8>(), 0..60), field in "[ -~]{0,30}") {
        let message = [b"Content-Type: ", field.as_bytes(), b"\r\nFrom: ", &octets, b"\r\n\r\n", &octets].concat();
        let structure = analyse(&message);
        let response = written(|out| {
            let mut line = FetchLine::begin(out, SeqNum::MIN);
            line.raw("ENVELOPE", structure.envelope()).raw("BODY", structure.body());
            line.raw("BODYSTRUCTURE", structure.bodystructure());
            line.end();
        });
        let Response::Fetch { items, .. } = response else { panic!() };
        let [FetchData::Envelope(envelope), FetchData::Body(_), FetchData::BodyStructure(_)] = items.as_slice() else { panic!() };
        prop_assert_eq!(envelope.list().unwrap().len(), 10);
    }

    #[test]
    fn responses_do_not_depend_on_how_octets_are_cut(
        pieces in vec(
            prop_oneof![
                4 => proptest::sample::select(vec![
                    "* 1 FETCH (X ", "{3}\r\n", "{11}\r\n", "{99}\r\n", "~{0}\r\n", "* OK {3}\r\n", "a NO", "\r\n", "\n",
                    "\r", "* ", "abcdefghijklmnop", ")",
                ]).prop_map(|piece| piece.as_bytes().to_vec()),
                1 => vec(any::<u8>(), 0..5),
            ],
            0..14,
        ),
        size in 1_usize..20,
    ) {
        let limits = ResponseLimits { text_bytes_max: 40, literal_bytes_max: 20, response_bytes_max: 60 };
        let octets = pieces.concat();
        let frames = |size: usize| {
            let mut framer = ResponseFramer::new(limits);
            let mut frames = Vec::new();
            for piece in octets.chunks(size) {
                framer.push(piece);
                while let Some(frame) = framer.next() {
                    frames.push(frame);
                }
            }
            frames
        };
        let whole = frames(octets.len().max(1));
        prop_assert_eq!(&whole, &frames(size));
        for response in whole.iter().flatten() {
            prop_assert!(response.len() <= 60 + 42);
            let _ = parse(response);
        }
    }
}
