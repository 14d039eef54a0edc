//! Responses that we write, read by someone else's parser.
#![allow(clippy::panic, reason = "tests fail loudly")]

use imap::command::{DateTime, FetchSection, SectionLabel, SectionText, StatusItem, Tag};
use imap::encode::{self, Code, FetchLine, Status};
use imap::namespace::{Namespace, Namespaces};
use imap::number::{ModSeq, SeqNum, Uid, UidValidity};
use imap::quota::{QuotaRoot, Resource, ResourceUsage};
use imap::set::UidSet;
use imap_codec::ResponseCodec;
use imap_codec::decode::Decoder;
use proptest::prelude::*;

/// Asserts that the octets are exactly one response.
fn is_one_response(octets: &[u8]) {
    let shown = String::from_utf8_lossy(octets);
    match ResponseCodec::default().decode(octets) {
        Ok((rest, _)) => assert!(rest.is_empty(), "{shown}"),
        Err(error) => panic!("{shown}: {error:?}"),
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) {
    let mut out = Vec::new();
    write(&mut out);
    is_one_response(&out);
}

/// Codes whose form takes more than a word.
fn codes(text: &str, set: &UidSet) -> Vec<Code> {
    let name: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    vec![
        Code::AppendUid(UidValidity::MAX, set.clone()),
        Code::BadCharset(vec!["UTF-8".into(), "US-ASCII".into()]),
        Code::BadCharset(Vec::new()),
        Code::Capability("IMAP4rev1 CONDSTORE QRESYNC".into()),
        Code::CopyUid(UidValidity::MIN, set.clone(), set.clone()),
        Code::HighestModSeq(ModSeq::MAX),
        Code::Modified(set.clone()),
        Code::PermanentFlags(format!("\\Seen x{name} \\*")),
        Code::UidNext(Uid::MAX),
        Code::UidValidity(UidValidity::MAX),
        Code::Unseen(SeqNum::MIN),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn text_and_names_never_break_a_response(
        text in any::<String>(),
        ranges in prop::collection::vec((1_u32.., 0_u32..5), 1..20),
    ) {
        let set = UidSet::from_ranges(ranges.iter().map(|(low, more)| (*low, low.saturating_add(*more))));
        let tag = Tag("a1".into());
        for code in codes(&text, &set) {
            written(|out| encode::tagged(out, &tag, Status::No, Some(&code), &text));
            written(|out| encode::untagged(out, Status::Ok, Some(&code), &text));
        }
        written(|out| encode::untagged(out, Status::Bye, None, &text));
        written(|out| encode::untagged(out, Status::Bad, None, &format!("[{text}")));
        written(|out| encode::list(out, false, &["\\Noselect"], Some('/'), &text, None));
        written(|out| encode::list(out, true, &[], None, &text, None));
        written(|out| encode::status(out, &text, &[(StatusItem::Messages, Some(1)), (StatusItem::UidNext, Some(2))]));
        let roots = [QuotaRoot(text.replace('\0', "").into()), QuotaRoot(Vec::new())];
        let usage = |resource| ResourceUsage { resource, used: 1, limit: i64::MAX as u64 };
        let usages = [Resource::Storage, Resource::Message, Resource::Mailbox].map(usage);
        written(|out| encode::quota_root(out, &text, &roots));
        for root in &roots {
            written(|out| encode::quota(out, root, &usages));
        }
        let of = |prefix: &str, delimiter| Namespace { prefix: prefix.into(), delimiter };
        let personal = vec![of("", Some('/')), of(&text, None)];
        let all = Namespaces { personal, others: vec![of(&text, Some('\\'))], shared: Vec::new() };
        written(|out| encode::namespaces(out, &all));
        written(|out| encode::id(out, &[("name", &text)]));
        written(|out| encode::vanished(out, true, &set));
        let firsts = UidSet::from_ranges(set.ranges().iter().map(|range| (range.0, range.0)));
        written(|out| encode::search(out, &firsts, Some(ModSeq::MAX)));
        written(|out| encode::search(out, &UidSet::new(), Some(ModSeq::MAX)));
    }

    #[test]
    fn items_of_fetch_follow_the_grammar(
        octets in prop::collection::vec(1_u8.., 0..40),
        names in prop::collection::vec("[!-~]{1,8}", 1..4),
        unix in -2_000_000_000_i64..30_000_000_000,
        zone_minutes in -720_i16..=840,
        start in prop::option::of(0_u64..u64::from(u32::MAX)),
    ) {
        let section = FetchSection {
            label: SectionLabel::Body,
            part: vec![1, 2],
            text: SectionText::HeaderFieldsNot(names.into_iter().map(String::into_bytes).collect()),
            partial: start.map(|start| (start, 10)),
            peek: true,
        };
        written(|out| {
            let mut line = FetchLine::begin(out, SeqNum::MIN);
            line.uid(Uid::MAX).mod_seq(ModSeq::MAX).flags(["\\Seen", "x"]).size(0);
            line.internal_date(DateTime { unix, zone_minutes }).section(&section, Some(&octets));
            line.section(&section, None);
            line.end();
        });
    }
}
