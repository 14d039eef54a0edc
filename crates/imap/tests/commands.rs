//! Commands written by someone else's encoder, read by our framer and parser.
//!
//! `imap-codec` makes up commands and writes them. Whatever both sides know must be understood, and what is refused
//! must be refused for a reason that is meant.
#![allow(clippy::panic, reason = "tests fail loudly")]

use arbitrary::{Arbitrary, Unstructured};
use imap::command::CommandBody as Ours;
use imap::frame::{Frame, Framer, Limits};
use imap_codec::CommandCodec;
use imap_codec::encode::Encoder;
use imap_codec::imap_types::command::{Command, CommandBody as Theirs};
use proptest::prelude::*;

/// What we mean to refuse although the other side writes it, by what the error says was expected.
const STRICTER: [&str; 16] = [
    // RFC 3501 §5.1.3; names are made up of any octets.
    "a mailbox name in modified UTF-7",
    "a - that ends the encoded part",
    "modified base64 of non-ASCII characters",
    "one encoded part instead of two side by side",
    "a mailbox name without NUL, CR and LF",
    "a mailbox name that is not empty",
    // RFC 7162 §7; parameters may be given once, mod-sequences have 63 bits, and no set of QRESYNC has `*`; §3.2.5.2:
    // its match data ascends and comes in pairs.
    "CONDSTORE or QRESYNC, each at most once",
    "CHANGEDSINCE or VANISHED, each at most once",
    ") behind the one UNCHANGEDSINCE",
    "a number up to 9223372036854775807",
    "a set of numbers without *",
    "two ascending sets of equally many elements",
    // RFC 3501 §9 wants at least one item; the other side writes empty lists.
    "a FETCH item",
    "a status item",
    // RFC 3501 §9: flag-extension is for standards to come, and no flag of such is known here.
    "\\Answered, \\Flagged, \\Deleted, \\Seen, \\Draft or a keyword (\\Recent cannot be set)",
    // RFC 9208 §4.1.3; of two limits of one resource, none would be the one meant.
    "at most 30 resources, each once",
];

/// Whether only the other side knows the command or what it asks for: SORT, THREAD, COMPRESS, BINARY.
fn is_foreign(octets: &[u8], theirs: &Theirs<'_>) -> bool {
    let names =
        matches!(theirs, Theirs::Sort { .. } | Theirs::Thread { .. } | Theirs::Compress { .. });
    let item = b"BINARY";
    names || octets.windows(item.len()).any(|text| text == item)
}

/// What became of one written command.
enum Read {
    Parsed(Box<imap::command::Command>),
    Appended,
    Refused(String),
}

fn read(octets: &[u8]) -> Read {
    let mut framer = Framer::new(Limits::default());
    framer.push(octets);
    while let Some(frame) = framer.next() {
        match frame {
            Frame::Message(_) => framer.accept_message(),
            Frame::MessageData(_) | Frame::MessageEnd | Frame::Continue => {}
            Frame::AppendEnd => return Read::Appended,
            Frame::Command(whole) => {
                assert!(framer.is_idle(), "{}", String::from_utf8_lossy(octets));
                return match imap::parse::command(&whole) {
                    Ok(command) => Read::Parsed(Box::new(command)),
                    Err(error) => Read::Refused(error.error.expected.into_owned()),
                };
            }
            Frame::Invalid { error, .. } => return Read::Refused(error.expected.into_owned()),
            other => panic!("{other:?}: {}", String::from_utf8_lossy(octets)),
        }
    }
    panic!("no frame: {}", String::from_utf8_lossy(octets));
}

/// Whether both are the same command in the same form, UID or not.
fn is_same(ours: &Ours, theirs: &Theirs<'_>) -> bool {
    match (ours, theirs) {
        (Ours::Select(ours), Theirs::Select { .. }) => !ours.read_only,
        (Ours::Select(ours), Theirs::Examine { .. }) => ours.read_only,
        (Ours::Fetch(ours), Theirs::Fetch { uid, .. }) => ours.uid == *uid,
        (Ours::Store(ours), Theirs::Store { uid, flags, .. }) => {
            ours.uid == *uid && ours.flags.len() <= flags.len()
        }
        (Ours::Search(ours), Theirs::Search { uid, .. }) => ours.uid == *uid,
        (Ours::Copy(ours), Theirs::Copy { uid, .. })
        | (Ours::Move(ours), Theirs::Move { uid, .. }) => ours.uid == *uid,
        (Ours::Expunge(set), Theirs::Expunge) => set.is_none(),
        (Ours::Expunge(set), Theirs::ExpungeUid { .. }) => set.is_some(),
        (ours, theirs) => {
            let name = format!("{ours:?}").to_ascii_uppercase();
            name.starts_with(theirs.name())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn what_another_encoder_writes_is_understood(seed in prop::collection::vec(any::<u8>(), 0..400)) {
        let Ok(theirs) = Command::arbitrary(&mut Unstructured::new(&seed)) else { return Ok(()) };
        let octets = CommandCodec::default().encode(&theirs).dump();
        if is_foreign(&octets, &theirs.body) {
            return Ok(());
        }
        let shown = String::from_utf8_lossy(&octets);
        match read(&octets) {
            Read::Parsed(ours) => {
                prop_assert_eq!(&*ours.tag.0, theirs.tag.as_ref());
                prop_assert!(is_same(&ours.body, &theirs.body), "{} became {:?}", shown, ours.body);
            }
            Read::Appended => prop_assert_eq!(theirs.body.name(), "APPEND"),
            Read::Refused(why) => prop_assert!(STRICTER.contains(&why.as_str()), "{} {}", shown, why),
        }
    }
}
