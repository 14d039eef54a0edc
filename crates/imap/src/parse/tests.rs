//! Commands of the RFCs, and what is wrong with those that are not.

use super::*;
use crate::acl::{Identifier, Rights, RightsChange};
use crate::command::*;
use crate::quota::{QuotaRoot, Resource};

fn parsed(text: &str) -> CommandBody {
    match command(text.as_bytes()) {
        Ok(command) => command.body,
        Err(error) => panic!("{text}: {}", error.error),
    }
}

fn refused(text: &str) -> String {
    match command(text.as_bytes()) {
        Ok(command) => panic!("{text} was taken as {command:?}"),
        Err(error) => {
            assert!(error.tag.is_some(), "{text}");
            error.error.to_string()
        }
    }
}

#[test]
fn select_takes_its_parameters() {
    // [S-5] [S-40] [S-41] [S-114] [S-116]
    let CommandBody::Select(s) =
        parsed("a select inbox (qresync (77 100 1:15 (1,3 11,13)) CondStore)")
    else {
        panic!()
    };
    assert_eq!((s.mailbox.0.as_str(), s.condstore, s.read_only), ("INBOX", true, false));
    let q = s.qresync.unwrap();
    assert_eq!((q.known_uids.unwrap().to_string().as_str(), q.mod_seq.value()), ("1:15", 100));
    parsed("a SELECT INBOX (QRESYNC (77 100 (1,3 11,13)))");
    parsed("a SELECT INBOX (QRESYNC (77 0))");
    for bad in [
        "INBOX ()",
        "INBOX (FOO)",
        "INBOX (CONDSTORE CONDSTORE)",
        "INBOX (QRESYNC)",
        "INBOX (QRESYNC (77))",
        "INBOX (QRESYNC (77 100 1:*))",
        "INBOX (QRESYNC (77 100 1:20 (1:* 11:15)))",
        "INBOX (QRESYNC (0 100))",
        "INBOX (QRESYNC 77 100)",
        "INBOX (QRESYNC (77 100 1:15 (1,2 11)))",
        "INBOX (QRESYNC (77 100 1:15 (2,1 11,12)))",
        "INBOX (QRESYNC (77 9223372036854775808))",
        "INBOX extra",
    ] {
        refused(&format!("a SELECT {bad}"));
    }
    parsed("a SELECT INBOX (QRESYNC (1 1 1:4294967295 (1:4294967295 1:4294967295)))");
}

#[test]
fn store_takes_one_condition_between_set_and_item() {
    // [S-61]
    let CommandBody::Store(s) =
        parsed("a uid store 15,11 (unchangedsince 0) +flags.silent (x \\SEEN X)")
    else {
        panic!()
    };
    assert_eq!(s.unchanged_since, ModSeqOrZero::new(0));
    assert_eq!((s.uid, s.silent, s.action, s.flags.len()), (true, true, StoreAction::Add, 2));
    parsed("a STORE 1 FLAGS ()");
    parsed("a STORE 1 -FLAGS \\Seen $x");
    for bad in [
        "1 (UNCHANGEDSINCE 105 UNCHANGEDSINCE 105) +FLAGS (x)",
        "1 (UNCHANGEDSINCE 105) (UNCHANGEDSINCE 105) +FLAGS (x)",
        "1 (UNCHANGEDSINCE) +FLAGS (x)",
        "1 (UNCHANGEDSINCE -1) +FLAGS (x)",
        "1 (UNCHANGEDSINCE 9223372036854775808) +FLAGS (x)",
        "1 (BOGUS 1) +FLAGS (x)",
        "1 () +FLAGS (x)",
        "1 +FLAGS (x) (UNCHANGEDSINCE 1)",
        "1 +FLAGS (\\Recent)",
        "1 +FLAGS (\\Foo)",
        "0 +FLAGS (x)",
        "1 +FLAGS",
    ] {
        refused(&format!("a STORE {bad}"));
    }
}

#[test]
fn fetch_takes_modifiers_behind_the_items() {
    // [S-45] [S-46] [S-47]
    let CommandBody::Fetch(f) = parsed("a FETCH 1:* FAST (CHANGEDSINCE 104)") else { panic!() };
    assert!(!f.items.contains(&FetchItem::ModSeq) && f.items.len() == 3);
    assert_eq!(f.changed_since, ModSeqOrZero::new(104));
    let CommandBody::Fetch(f) = parsed("a UID FETCH 1 (modseq) (VANISHED ChangedSince 0)") else {
        panic!()
    };
    assert!(f.vanished && f.items == [FetchItem::ModSeq]);
    let CommandBody::Fetch(f) = parsed(
        "a FETCH 2 (BODY.PEEK[1.2.HEADER.FIELDS (From \"To\")]<0.100> BODY BODY[] RFC822.SIZE)",
    ) else {
        panic!()
    };
    assert_eq!(f.items.len(), 4);
    for bad in [
        "1 (FLAGS) (BOGUS 1)",
        "1 (FLAGS) (CHANGEDSINCE 1 CHANGEDSINCE 2)",
        "1 (FLAGS) (CHANGEDSINCE x)",
        "1 (FLAGS) ()",
        "1 (ALL)",
        "1 BODY[MIME]",
        "1 BODY[0]",
        "1 BODY[]<0.0>",
        "1 ()",
        "1 FLAGS FLAGS",
    ] {
        refused(&format!("a FETCH {bad}"));
    }
}

#[test]
fn search_mod_seq_takes_an_entry_or_not() {
    // [S-88] [S-89]
    let CommandBody::Search(s) = parsed("a SEARCH MODSEQ \"/flags/\\\\draft\" all 620162338")
    else {
        panic!()
    };
    let [SearchKey::ModSeq { item: Some(item), at_least }] = s.keys.as_slice() else { panic!() };
    assert_eq!(item.flag, Some(Flag::System(SystemFlag::Draft)));
    assert_eq!((item.kind, at_least.value()), (EntryKind::All, 620_162_338));
    parsed("a SEARCH MODSEQ 0");
    parsed("a SEARCH MODSEQ \"/flags/nosuch\" priv 1");
    parsed(
        "a UID SEARCH RETURN (MIN COUNT) CHARSET UTF-8 OR (SEEN 1:3) NOT MODSEQ 5 {3}\r\n"
            .trim_end_matches(" {3}\r\n"),
    );
    for bad in [
        "MODSEQ \"/flags/\\\\Seen\" 5",
        "MODSEQ /flags/x all 5",
        "MODSEQ",
        "MODSEQ 9223372036854775808",
        "RETURN (MIN MIN) ALL",
        "KEYWORD",
        "OLDER 0",
        "",
    ] {
        refused(&format!("a SEARCH {bad}"));
    }
    refused(&format!("a SEARCH {}ALL", "NOT ".repeat(100)));
}

#[test]
fn names_strings_and_literals() {
    assert_eq!(parsed("a DELETE {5+}\r\nINbox"), CommandBody::Delete(MailboxName("INBOX".into())));
    assert_eq!(
        parsed("a CREATE Entw&APw-rfe"),
        CommandBody::Create { mailbox: MailboxName("Entwürfe".into()), special_use: None }
    );
    parsed("a CREATE x (USE (\\Sent \\Junk))");
    parsed("a LIST \"\" *");
    parsed(
        "a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (a% \"b*\") RETURN (CHILDREN STATUS (MESSAGES HIGHESTMODSEQ))",
    );
    refused("a LIST (RECURSIVEMATCH) \"\" *");
    refused("a DELETE {5+}\r\nab");
    refused("a DELETE \"x");
    refused("a DELETE &AGE-");
    refused("a STATUS INBOX ()");
    refused("a NOOP x");
    refused("a FROB");
    refused("a APPEND INBOX x");
    assert!(command(b"").unwrap_err().tag.is_none());
    assert!(command(b"+ NOOP").unwrap_err().tag.is_none());
}

#[test]
fn authenticate_decodes_its_initial_response() {
    let CommandBody::Authenticate { mechanism, initial } = parsed("a authenticate plain AGEAYg==")
    else {
        panic!()
    };
    assert_eq!(
        (mechanism.as_str(), initial.unwrap().0.as_slice()),
        ("PLAIN", b"\0a\0b".as_slice())
    );
    let CommandBody::Authenticate { initial, .. } = parsed("a AUTHENTICATE PLAIN =") else {
        panic!()
    };
    assert_eq!(initial, Some(Secret(Vec::new())));
    refused("a AUTHENTICATE PLAIN !!");
    assert_eq!(sasl_response(b"*"), Ok(SaslAnswer::Cancel));
}

#[test]
fn a_tag_is_told_only_when_it_is_one() {
    for (line, tag) in [
        ("a1 FOO", Some("a1")),
        ("a1", Some("a1")),
        ("a1 ", Some("a1")),
        ("a% NOOP", None),
        ("+ NOOP", None),
        ("", None),
        (" NOOP", None),
    ] {
        let error = command(line.as_bytes()).unwrap_err();
        assert_eq!(error.tag.as_ref().map(|tag| &*tag.0), tag, "{line}");
    }
    assert!(command(format!("{} NOOP", "a".repeat(257)).as_bytes()).unwrap_err().tag.is_none());
}

#[test]
fn the_grammars_edges() {
    for bad in [
        "FETCH 1 BODY[1.]",
        "FETCH 1 BODY[1HEADER]",
        "FETCH 1 BODY[.1]",
        "FETCH 1 BODY[1.2",
        "FETCH 1 BODY[0]",
        "FETCH 1 BODY[MIME]",
        "FETCH 1 BODY[]<9223372036854775808.1>",
        "FETCH 01 FLAGS",
        "SEARCH LARGER 9223372036854775808",
        "AUTHENTICATE PLAIN ",
        "NOOP ",
        " NOOP",
    ] {
        refused(&format!("a {bad}"));
    }
    for good in ["FETCH 1 BODY[1]", "FETCH 1 BODY[1.MIME]", "FETCH 1 BODY[]<0.9223372036854775807>"]
    {
        parsed(&format!("a {good}"));
    }
}

#[test]
fn rights_are_set_added_or_removed() {
    // RFC 4314 §3.1.
    let change = |text: &str| match parsed(text) {
        CommandBody::SetAcl { mailbox, identifier, change } => {
            (mailbox.0, identifier.to_string(), change)
        }
        other => panic!("{other:?}"),
    };
    let of = |letters| Rights::parse(letters).unwrap();
    let drafts = |who: &str, change| ("INBOX/Drafts".to_owned(), who.to_owned(), change);
    assert_eq!(
        change("A001 SeTacl inbox/Drafts David lrswida"),
        drafts("David", RightsChange::Set(of("lrswieta")))
    );
    assert_eq!(
        change("A002 SETACL INBOX/Drafts Chris +cda"),
        drafts("Chris", RightsChange::Add(of("kxeta")))
    );
    assert_eq!(
        change("a SETACL INBOX/Drafts {5}\r\n-Zo\u{eb} \"-d\""),
        drafts("-Zo\u{eb}", RightsChange::Remove(of("et")))
    );
    let none = RightsChange::Set(Rights::NONE);
    assert_eq!(change("a SETACL INBOX/Drafts $team \"\""), drafts("$team", none));
    for (bad, expected) in [
        ("John lrQswicda", "expected rights in lower case, not Q at octet 28"),
        ("John lrqswicda", "expected rights out of lrswipkxteacd, not q at octet 28"),
        ("John +-l", "expected rights out of lrswipkxteacd, not - at octet 28"),
        ("John", "expected a space at octet 27"),
        ("John l r", "expected the end of the command at octet 29"),
        ("John \"\u{fc}\"", "expected rights out of lrswipkxteacd, not \u{fc} at octet 28"),
    ] {
        assert_eq!(refused(&format!("a SETACL INBOX/Drafts {bad}")), expected);
    }
    for bad in ["\"\" l", "- l", "{3}\r\na\rb l", "( l"] {
        refused(&format!("a SETACL INBOX {bad}"));
    }
    let broken = command(b"a DELETEACL INBOX {1}\r\n\xff").unwrap_err().error;
    assert!(broken.expected.contains("UTF-8"), "{broken}");
}

#[test]
fn access_control_lists_are_asked_for() {
    // RFC 4314 §3.2 to §3.5.
    let inbox = || MailboxName("INBOX".into());
    let who = |name: &str| Identifier::new(name).unwrap();
    assert_eq!(
        parsed("B002 DeleteAcl INBOX Fred"),
        CommandBody::DeleteAcl { mailbox: inbox(), identifier: who("Fred") }
    );
    assert_eq!(parsed("A002 getacl inbox"), CommandBody::GetAcl(inbox()));
    assert_eq!(
        parsed("a001 LISTRIGHTS ~/Mail/saved smith"),
        CommandBody::ListRights {
            mailbox: MailboxName("~/Mail/saved".into()),
            identifier: who("smith")
        }
    );
    assert_eq!(parsed("A003 MYRIGHTS INBOX"), CommandBody::MyRights(inbox()));
    for bad in ["DELETEACL INBOX", "GETACL", "GETACL \"\"", "LISTRIGHTS x", "MYRIGHTS x y"] {
        refused(&format!("a {bad}"));
    }
    // RFC 8440 §4.
    let CommandBody::List(list) = parsed("A01 LIST \"\" % RETURN (myrights CHILDREN)") else {
        panic!()
    };
    assert_eq!(list.returns, [ListReturn::MyRights, ListReturn::Children]);
}

#[test]
fn quotas_are_asked_for_and_set() {
    // RFC 9208 §4.1.
    let root = |name: &str| QuotaRoot(name.into());
    assert_eq!(
        parsed("G0001 GETQUOTA \"!partition/sda4\""),
        CommandBody::GetQuota(root("!partition/sda4"))
    );
    assert_eq!(
        parsed("G0002 GETQUOTAROOT inbox"),
        CommandBody::GetQuotaRoot(MailboxName("INBOX".into()))
    );
    let limits = |text: &str| match parsed(&format!("a SETQUOTA \"\" {text}")) {
        CommandBody::SetQuota { root, limits } if root.0.is_empty() => limits,
        other => panic!("{other:?}"),
    };
    assert_eq!(limits("()"), []);
    assert_eq!(
        limits("(STORAGE 510 message 0 Mailbox 9223372036854775807 annotation-storage 1)"),
        [
            (Resource::Storage, 510),
            (Resource::Message, 0),
            (Resource::Mailbox, i64::MAX as u64),
            (Resource::Other("ANNOTATION-STORAGE".into()), 1),
        ]
    );
    let many: String = (0..31).map(|n| format!(" X{n} 1")).collect();
    for bad in [
        "STORAGE 1",
        "(STORAGE)",
        "(STORAGE -1)",
        "(STORAGE 9223372036854775808)",
        "(STORAGE 1 storage 1)",
        "(STORAGE 1",
        "(1)",
        &format!("({})", many.trim()),
    ] {
        refused(&format!("a SETQUOTA \"\" {bad}"));
    }
    let CommandBody::Status { items, .. } =
        parsed("S0003 STATUS INBOX (MESSAGES DELETED DELETED-STORAGE)")
    else {
        panic!()
    };
    assert_eq!(items, [StatusItem::Messages, StatusItem::Deleted, StatusItem::DeletedStorage]);
}
