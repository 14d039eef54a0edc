//! Commands made up at random come back from the parser; what cannot be said is refused.

use super::*;
use crate::acl::{Identifier, Rights, RightsChange};
use crate::command::*;
use crate::flag::{Keyword, SystemFlag};
use crate::frame::{Frame, Framer, Limits};
use crate::number::{ModSeqOrZero, UidValidity};
use crate::parse;
use crate::quota::{QuotaRoot, Resource};
use crate::set::SetBound;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use std::num::NonZeroU32;

fn octets() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-zA-Z0-9]{0,8}|NIL|nil|\\]".prop_map(String::into_bytes),
        "[ -~]{0,12}".prop_map(String::into_bytes),
        vec(1_u8.., 0..12),
        vec(Just(b'x'), 990..1010),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-zA-Z&/%*]{0,8}",
        1 => any::<String>().prop_map(|name| name.replace(['\0', '\r', '\n'], "ü")),
    ]
}

fn mailbox() -> impl Strategy<Value = MailboxName> {
    let other = |name: &String| {
        let head = name.get(..5).unwrap_or_default();
        !name.is_empty() && !head.eq_ignore_ascii_case("INBOX")
    };
    let inbox = select(vec!["INBOX".to_owned(), "INBOX/x".to_owned()]);
    prop_oneof![1 => inbox, 5 => name().prop_filter("other than INBOX", other)]
        .prop_map(MailboxName)
}

fn atom() -> impl Strategy<Value = String> {
    "[A-Z0-9=+.-]{1,10}"
}

fn secret() -> impl Strategy<Value = Secret> {
    octets().prop_map(Secret)
}

fn keyword() -> impl Strategy<Value = Keyword> {
    "[$a-z+.}-]{1,9}".prop_filter_map("a keyword", |name| Keyword::new(&name))
}

fn flags() -> impl Strategy<Value = Vec<Flag>> {
    let system = select(SystemFlag::ALL.to_vec());
    let flag = prop_oneof![system.prop_map(Flag::System), keyword().prop_map(Flag::Keyword)];
    vec(flag, 0..5).prop_map(|flags| {
        flags
            .iter()
            .enumerate()
            .filter(|(i, f)| !flags[..*i].contains(f))
            .map(|(_, f)| f.clone())
            .collect()
    })
}

fn mod_seq() -> impl Strategy<Value = ModSeqOrZero> {
    prop_oneof![0..20_u64, 0..=i64::MAX as u64, Just(i64::MAX as u64)]
        .prop_filter_map("63 bits", ModSeqOrZero::new)
}

fn set() -> impl Strategy<Value = SequenceSet> {
    let bound = prop_oneof![
        4 => (1_u32..).prop_map(|n| SetBound::Number(NonZeroU32::new(n).unwrap())),
        1 => Just(SetBound::Star),
    ];
    let ranges = vec((bound.clone(), bound), 1..5);
    prop_oneof![9 => ranges.prop_map(SequenceSet::Ranges), 1 => Just(SequenceSet::Saved)]
}

fn status_items() -> impl Strategy<Value = Vec<StatusItem>> {
    proptest::sample::subsequence(StatusItem::ALL.to_vec(), 1..10)
}

fn plain_set(numbers: &[u32]) -> SequenceSet {
    let bound = |n: &u32| SetBound::Number(NonZeroU32::new(*n).unwrap());
    SequenceSet::Ranges(numbers.iter().map(|n| (bound(n), bound(n))).collect())
}

fn ascending() -> impl Strategy<Value = SequenceSet> {
    proptest::collection::btree_set(1_u32.., 3)
        .prop_map(|numbers| plain_set(&numbers.into_iter().collect::<Vec<_>>()))
}

fn select_command() -> impl Strategy<Value = Select> {
    let match_data = option::of((ascending(), ascending()));
    let qresync = (1_u32.., mod_seq(), option::of(ascending()), match_data).prop_map(
        |(validity, mod_seq, known_uids, match_data)| QResync {
            uid_validity: UidValidity::new(validity).unwrap(),
            mod_seq,
            known_uids,
            match_data,
        },
    );
    (mailbox(), any::<bool>(), any::<bool>(), option::of(qresync)).prop_map(
        |(mailbox, read_only, condstore, qresync)| Select {
            mailbox,
            read_only,
            condstore,
            qresync,
        },
    )
}

fn list_command() -> impl Strategy<Value = List> {
    let selects = vec![
        vec![],
        vec![ListSelect::Subscribed, ListSelect::RecursiveMatch],
        vec![ListSelect::SpecialUse, ListSelect::Remote],
    ];
    use ListReturn::{Children, MyRights, SpecialUse, Subscribed};
    let plain = [Subscribed, Children, SpecialUse, MyRights];
    let returned = prop_oneof![select(plain.to_vec()), status_items().prop_map(ListReturn::Status)];
    (name(), vec(name(), 1..4), select(selects), vec(returned, 0..3), any::<bool>()).prop_map(
        |(reference, patterns, select, returns, extended)| {
            let options = !select.is_empty() || !returns.is_empty() || patterns.len() > 1;
            List { reference, patterns, select, returns, extended: extended || options }
        },
    )
}

fn section() -> impl Strategy<Value = FetchSection> {
    let names = || vec(octets(), 1..3);
    let text = prop_oneof![
        Just(SectionText::All),
        Just(SectionText::Header),
        Just(SectionText::Text),
        Just(SectionText::Mime),
        names().prop_map(SectionText::HeaderFields),
        names().prop_map(SectionText::HeaderFieldsNot),
    ];
    let number = 0..=i64::MAX as u64;
    let partial = option::of((number, 1..=i64::MAX as u64));
    (vec(1_u32.., 0..4), text, partial, any::<bool>()).prop_map(|(part, text, partial, peek)| {
        let mime = text == SectionText::Mime && part.is_empty();
        let text = if mime { SectionText::All } else { text };
        FetchSection { label: SectionLabel::Body, part, text, partial, peek }
    })
}

fn whole(label: SectionLabel, text: SectionText, peek: bool) -> FetchItem {
    FetchItem::Section(FetchSection { label, part: Vec::new(), text, partial: None, peek })
}

fn fetch_command() -> impl Strategy<Value = Fetch> {
    let plain = vec![
        FetchItem::Envelope,
        FetchItem::Flags,
        FetchItem::InternalDate,
        FetchItem::SaveDate,
        FetchItem::Size,
        FetchItem::Uid,
        FetchItem::ModSeq,
        FetchItem::Body,
        FetchItem::BodyStructure,
        whole(SectionLabel::Rfc822, SectionText::All, false),
        whole(SectionLabel::Rfc822Header, SectionText::Header, true),
        whole(SectionLabel::Rfc822Text, SectionText::Text, false),
    ];
    let plain = proptest::sample::subsequence(plain, 1..12);
    (any::<bool>(), set(), plain, option::of(section()), option::of(mod_seq()), any::<bool>())
        .prop_map(|(uid, set, mut items, section, changed_since, vanished)| {
            items.extend(section.map(FetchItem::Section));
            Fetch { uid, set, items, changed_since, vanished }
        })
}

fn day() -> impl Strategy<Value = Date> {
    (-719_162..2_932_897).prop_map(|days| Date { days })
}

fn key() -> impl Strategy<Value = SearchKey> {
    use SearchKey as K;
    let system = || select(SystemFlag::ALL.to_vec());
    let header = select(vec!["BCC", "CC", "FROM", "TO", "SUBJECT", "from"]);
    let header = prop_oneof![header.prop_map(|name| name.as_bytes().to_vec()), octets()];
    let entry = prop_oneof![system().prop_map(Flag::System), keyword().prop_map(Flag::Keyword)];
    let kinds = select(vec![EntryKind::Private, EntryKind::Shared, EntryKind::All]);
    let entry =
        option::of((entry, kinds).prop_map(|(flag, kind)| ModSeqItem { flag: Some(flag), kind }));
    let dated: [fn(Date) -> K; 9] = [
        K::Before,
        K::On,
        K::Since,
        K::SentBefore,
        K::SentOn,
        K::SentSince,
        K::SavedBefore,
        K::SavedOn,
        K::SavedSince,
    ];
    let leaf = prop_oneof![
        select(vec![K::All, K::New, K::Old, K::Recent, K::SaveDateSupported]),
        system().prop_map(K::Flag),
        system().prop_map(K::NotFlag),
        keyword().prop_map(K::Keyword),
        keyword().prop_map(K::NotKeyword),
        (header, octets()).prop_map(|(name, text)| K::Header(name, text)),
        octets().prop_map(K::Body),
        octets().prop_map(K::Text),
        (select(dated.to_vec()), day()).prop_map(|(key, day)| key(day)),
        (0..=i64::MAX as u64).prop_map(K::Larger),
        (0..=i64::MAX as u64).prop_map(K::Smaller),
        (1_u32..).prop_map(K::Older),
        (1_u32..).prop_map(K::Younger),
        set().prop_map(K::Uid),
        set().prop_map(K::Numbers),
        (entry, mod_seq()).prop_map(|(item, at_least)| K::ModSeq { item, at_least }),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|key| K::Not(Box::new(key))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| K::Or(Box::new(a), Box::new(b))),
            vec(inner, 1..4).prop_map(K::And),
        ]
    })
}

fn search_command() -> impl Strategy<Value = Search> {
    use SearchReturn::{All, Count, Max, Min, Save};
    let returns = proptest::sample::subsequence(vec![Min, Max, All, Count, Save], 0..5);
    let charset = option::of(prop_oneof![Just("UTF-8".to_owned()), any::<String>()]);
    let charset = charset.prop_map(|charset| charset.map(|name| name.replace('\0', "")));
    (any::<bool>(), option::of(returns), charset, vec(key(), 1..4))
        .prop_map(|(uid, returns, charset, keys)| Search { uid, returns, charset, keys })
}

fn store_command() -> impl Strategy<Value = Store> {
    let actions = select(vec![StoreAction::Replace, StoreAction::Add, StoreAction::Remove]);
    (any::<bool>(), set(), option::of(mod_seq()), actions, any::<bool>(), flags()).prop_map(
        |(uid, set, unchanged_since, action, silent, flags)| Store {
            uid,
            set,
            unchanged_since,
            action,
            silent,
            flags,
        },
    )
}

fn acl_command() -> impl Strategy<Value = CommandBody> {
    use CommandBody as C;
    let identifier = || {
        let text = prop_oneof!["[-$a-zA-Z@.]{1,9}", "NIL", "[^\\p{C}]{1,20}"];
        text.prop_filter_map("an identifier", |text| Identifier::new(&text))
    };
    let rights = proptest::sample::subsequence(Rights::ALL.iter().collect::<Vec<_>>(), 0..=11)
        .prop_map(|rights| rights.into_iter().fold(Rights::NONE, Rights::union));
    let changes: [fn(Rights) -> RightsChange; 3] =
        [RightsChange::Set, RightsChange::Add, RightsChange::Remove];
    let change = (select(changes.to_vec()), rights).prop_map(|(change, rights)| change(rights));
    prop_oneof![
        2 => (mailbox(), identifier(), change)
            .prop_map(|(mailbox, identifier, change)| C::SetAcl { mailbox, identifier, change }),
        1 => (mailbox(), identifier())
            .prop_map(|(mailbox, identifier)| C::DeleteAcl { mailbox, identifier }),
        1 => (mailbox(), identifier())
            .prop_map(|(mailbox, identifier)| C::ListRights { mailbox, identifier }),
        1 => mailbox().prop_map(C::GetAcl),
        1 => mailbox().prop_map(C::MyRights),
    ]
}

fn quota_command() -> impl Strategy<Value = CommandBody> {
    use CommandBody as C;
    let names = vec!["STORAGE", "MESSAGE", "MAILBOX", "ANNOTATION-STORAGE", "X"];
    let limits = proptest::sample::subsequence(names, 0..=5).prop_flat_map(|names| {
        let numbers = vec(0..=i64::MAX as u64, names.len());
        numbers.prop_map(move |numbers| {
            let resources = names.iter().map(|name| Resource::from_name(name.as_bytes()));
            resources.zip(numbers).collect()
        })
    });
    prop_oneof![
        octets().prop_map(|root| C::GetQuota(QuotaRoot(root))),
        mailbox().prop_map(C::GetQuotaRoot),
        (octets(), limits).prop_map(|(root, limits)| C::SetQuota { root: QuotaRoot(root), limits }),
    ]
}

fn notify_command() -> impl Strategy<Value = CommandBody> {
    let mailboxes = prop_oneof![
        1 => Just(NotifyMailboxes::Selected),
        3 => vec(mailbox(), 1..4).prop_map(NotifyMailboxes::Mailboxes),
    ];
    let events = vec(select(NotifyEvent::ALL.to_vec()), 0..4);
    let group = (mailboxes, events);
    let group = group.prop_map(|(mailboxes, events)| NotifyGroup { mailboxes, events });
    (any::<bool>(), vec(group, 1..4))
        .prop_map(|(status, groups)| CommandBody::Notify(Some(Notify { status, groups })))
}

fn body() -> impl Strategy<Value = CommandBody> {
    use CommandBody as C;
    let plain = vec![
        C::Capability,
        C::Noop,
        C::Logout,
        C::StartTls,
        C::Namespace,
        C::Idle,
        C::Compress,
        C::Notify(None),
        C::Check,
        C::Close,
        C::Unselect,
        C::Expunge(None),
        C::Id(None),
    ];
    let transfer = || {
        (any::<bool>(), set(), mailbox()).prop_map(|(uid, set, mailbox)| Transfer {
            uid,
            set,
            mailbox,
        })
    };
    let one_name = prop_oneof![
        mailbox().prop_map(C::Delete),
        mailbox().prop_map(C::Subscribe),
        mailbox().prop_map(C::Unsubscribe),
        (mailbox(), mailbox()).prop_map(|(from, to)| C::Rename { from, to }),
        (mailbox(), option::of(vec(atom(), 0..3)))
            .prop_map(|(mailbox, special_use)| C::Create { mailbox, special_use }),
        (mailbox(), status_items()).prop_map(|(mailbox, items)| C::Status { mailbox, items }),
        (name(), name()).prop_map(|(reference, pattern)| C::Lsub { reference, pattern }),
    ];
    prop_oneof![
        1 => select(plain),
        1 => vec((octets(), option::of(octets())), 0..4).prop_map(|fields| C::Id(Some(fields))),
        1 => (atom(), option::of(secret()))
            .prop_map(|(mechanism, initial)| C::Authenticate { mechanism, initial }),
        1 => (octets(), secret()).prop_map(|(user, password)| C::Login { user, password }),
        1 => vec(atom(), 1..4).prop_map(C::Enable),
        1 => set().prop_map(|set| C::Expunge(Some(set))),
        2 => select_command().prop_map(C::Select),
        2 => list_command().prop_map(C::List),
        3 => one_name,
        2 => acl_command(),
        1 => quota_command(),
        1 => notify_command(),
        4 => search_command().prop_map(C::Search),
        3 => fetch_command().prop_map(C::Fetch),
        3 => store_command().prop_map(C::Store),
        1 => transfer().prop_map(C::Copy),
        1 => transfer().prop_map(C::Move),
    ]
}

/// What the server's framer makes of a command sent as told: a wait ends when it asks.
fn received(encoded: &Encoded) -> Vec<u8> {
    let mut framer = Framer::new(Limits::default());
    let mut from = 0;
    for &wait in &encoded.waits {
        framer.push(&encoded.octets[from..wait]);
        assert_eq!(framer.next(), Some(Frame::Continue));
        assert_eq!(framer.next(), None);
        from = wait;
    }
    framer.push(&encoded.octets[from..]);
    match framer.next() {
        Some(Frame::Command(command)) => command.to_vec(),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn commands_come_back(
        tag in "[A-Za-z0-9.]{1,6}",
        body in body(),
        literals in select(vec![Literals::Synchronising, Literals::UpTo4096, Literals::NonSynchronising]),
    ) {
        let sent = Command { tag: Tag(tag.into()), body };
        let encoded = command(&sent, literals).unwrap();
        let octets = received(&encoded);
        prop_assert_eq!(parse::command(&octets), Ok(sent), "{}", String::from_utf8_lossy(&octets));
    }

    #[test]
    fn heads_of_append_come_back(
        first in option::of(mailbox()),
        flags in flags(),
        date in option::of((-62_135_000_000_i64..253_402_000_000, -1439_i16..=1439)),
        size in 0_usize..10_000,
    ) {
        let internal_date = date.map(|(unix, zone_minutes)| DateTime { unix, zone_minutes });
        let first = first.map(|mailbox| (Tag("a".into()), mailbox));
        let head = AppendHead { first, flags, internal_date };
        let encoded = append_head(&head, size, Literals::NonSynchronising).unwrap();
        let announced = format!("{{{size}+}}\r\n");
        let text = encoded.octets.strip_suffix(announced.as_bytes()).unwrap();
        prop_assert_eq!(parse::append_head(text, head.first.is_some()), Ok(head.clone()));
    }
}

#[test]
fn literals_wait_unless_the_server_takes_them_at_once() {
    let login = |user: &[u8], literals| {
        let body = CommandBody::Login { user: user.to_vec(), password: Secret(b"p".to_vec()) };
        command(&Command { tag: Tag("a".into()), body }, literals).unwrap()
    };
    let encoded = login(b"\xff", Literals::Synchronising);
    assert_eq!(encoded.octets, b"a LOGIN {1}\r\n\xff p\r\n");
    assert_eq!(encoded.waits, [13]);
    let encoded = login(b"\xff", Literals::UpTo4096);
    assert_eq!((encoded.octets, encoded.waits), (b"a LOGIN {1+}\r\n\xff p\r\n".to_vec(), vec![]));
    assert_eq!(login(&[b'x'; 4097], Literals::UpTo4096).waits.len(), 1);
    assert!(login(&[b'x'; 4097], Literals::NonSynchronising).waits.is_empty());
}

#[test]
fn what_the_wire_cannot_say_is_refused() {
    let tag = || Tag("a".into());
    let inbox = || MailboxName("INBOX".into());
    let keys = |key| {
        let search = Search { uid: false, returns: None, charset: None, keys: vec![key] };
        CommandBody::Search(search)
    };
    let fetch = |items| {
        let set = plain_set(&[1]);
        CommandBody::Fetch(Fetch { uid: false, set, items, changed_since: None, vanished: false })
    };
    let section = |part, text, partial| {
        let label = SectionLabel::Body;
        fetch(vec![FetchItem::Section(FetchSection { label, part, text, partial, peek: false })])
    };
    let set_quota = |resource, limit| CommandBody::SetQuota {
        root: QuotaRoot(Vec::new()),
        limits: vec![(resource, limit)],
    };
    let mut deep = SearchKey::All;
    for _ in 0..65 {
        deep = SearchKey::Not(Box::new(deep));
    }
    let unknown = Some(ModSeqItem { flag: None, kind: EntryKind::All });
    for body in [
        CommandBody::Login { user: b"\0".to_vec(), password: Secret(Vec::new()) },
        CommandBody::Delete(MailboxName(String::new())),
        CommandBody::Delete(MailboxName("a\r\nb NOOP".into())),
        CommandBody::Lsub { reference: String::new(), pattern: "\0".into() },
        CommandBody::Enable(Vec::new()),
        CommandBody::Enable(vec!["A B".into()]),
        CommandBody::Id(Some(vec![(Vec::new(), None); 31])),
        CommandBody::Authenticate { mechanism: "\r\n".into(), initial: None },
        CommandBody::Create { mailbox: inbox(), special_use: Some(vec![String::new()]) },
        CommandBody::Status { mailbox: inbox(), items: Vec::new() },
        CommandBody::Expunge(Some(SequenceSet::Ranges(Vec::new()))),
        CommandBody::GetAcl(MailboxName(String::new())),
        CommandBody::Notify(Some(Notify { status: true, groups: Vec::new() })),
        CommandBody::GetQuota(QuotaRoot(b"\0".to_vec())),
        set_quota(Resource::Storage, 1 << 63),
        set_quota(Resource::Other("A B".into()), 1),
        keys(SearchKey::And(Vec::new())),
        keys(SearchKey::Larger(1 << 63)),
        keys(SearchKey::Older(0)),
        keys(SearchKey::On(Date { days: i32::MAX })),
        keys(SearchKey::ModSeq { item: unknown, at_least: ModSeqOrZero::ZERO }),
        keys(deep),
        fetch(Vec::new()),
        section(vec![0], SectionText::All, None),
        section(vec![], SectionText::Mime, None),
        section(vec![], SectionText::HeaderFields(Vec::new()), None),
        section(vec![], SectionText::All, Some((0, 0))),
    ] {
        let refused = command(&Command { tag: tag(), body: body.clone() }, Literals::Synchronising);
        assert!(refused.is_err(), "{body:?}");
    }
    for bad in ["", "+", "a b", "ü", "*"] {
        let noop = Command { tag: Tag(bad.into()), body: CommandBody::Noop };
        assert!(command(&noop, Literals::Synchronising).is_err(), "{bad}");
    }
}
