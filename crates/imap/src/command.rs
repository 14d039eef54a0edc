//! Commands that a client sends, as typed values.
//!
//! One variant per command; what a command takes is a struct of its own, so that one file of `session` can
//! serve one command. Mailbox names are decoded (UTF-8, `INBOX` in capitals); strings are bytes where RFC 3501
//! allows any byte.
//!
//! # Standards
//! RFC 3501 §6 and §9, RFC 4466 (parameters and modifiers), RFC 7162 §7, RFC 5258 and RFC 5819 (LIST),
//! RFC 6154 (SPECIAL-USE), RFC 8514 (SAVEDATE), RFC 4314 (ACL), RFC 8440 (LIST-MYRIGHTS), RFC 9208 (QUOTA),
//! RFC 4978 (COMPRESS), RFC 5465 (NOTIFY).

mod notify;
mod search;

use crate::acl::{Identifier, RightsChange};
use crate::flag::Flag;
use crate::number::{ModSeqOrZero, UidValidity};
use crate::quota::{QuotaRoot, Resource};
use crate::set::SequenceSet;
pub use notify::{Notify, NotifyEvent, NotifyGroup, NotifyMailboxes};
pub use search::{EntryKind, ModSeqItem, Search, SearchKey, SearchReturn};
use std::fmt;

/// A client's tag: what the tagged response begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag(pub Box<str>);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A mailbox name as the store knows it: UTF-8, hierarchy delimiter `/`, `INBOX` always in capitals.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MailboxName(pub String);

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A password on its way to be checked: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A field of ID with its value, `None` for NIL (RFC 2971 §3.3).
pub type IdField = (Vec<u8>, Option<Vec<u8>>);

/// One complete command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// The client's tag.
    pub tag: Tag,
    /// What it asks for.
    pub body: CommandBody,
}

/// What a command asks for. APPEND is not among them: its messages are streamed, see [`AppendHead`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandBody {
    /// `CAPABILITY`
    Capability,
    /// `NOOP`
    Noop,
    /// `LOGOUT`
    Logout,
    /// `ID` (RFC 2971): field and value pairs, or `None` for NIL.
    Id(Option<Vec<IdField>>),
    /// `STARTTLS`
    StartTls,
    /// `AUTHENTICATE` (RFC 3501 §6.2.2, RFC 4959): mechanism in capitals, initial response decoded.
    Authenticate {
        /// Mechanism name in capitals.
        mechanism: String,
        /// The decoded initial response; `=` is `Some(empty)`.
        initial: Option<Secret>,
    },
    /// `LOGIN`
    Login {
        /// User name, any bytes.
        user: Vec<u8>,
        /// Password, any bytes.
        password: Secret,
    },
    /// `ENABLE` (RFC 5161): the names in capitals, unknown ones included.
    Enable(Vec<String>),
    /// `SELECT` and `EXAMINE`
    Select(Select),
    /// `CREATE` (RFC 3501 §6.3.3, RFC 6154 §3)
    Create {
        /// The new mailbox.
        mailbox: MailboxName,
        /// `USE (…)`: attribute names without backslash, as typed; `None` when no USE parameter was given.
        special_use: Option<Vec<String>>,
    },
    /// `DELETE`
    Delete(MailboxName),
    /// `RENAME`
    Rename {
        /// The old name.
        from: MailboxName,
        /// The new name.
        to: MailboxName,
    },
    /// `SUBSCRIBE`
    Subscribe(MailboxName),
    /// `UNSUBSCRIBE`
    Unsubscribe(MailboxName),
    /// `LIST`, plain or extended
    List(List),
    /// `LSUB`
    Lsub {
        /// The reference.
        reference: String,
        /// The pattern, with `*` and `%`.
        pattern: String,
    },
    /// `NAMESPACE` (RFC 2342)
    Namespace,
    /// `STATUS`
    Status {
        /// The mailbox asked about.
        mailbox: MailboxName,
        /// What is asked.
        items: Vec<StatusItem>,
    },
    /// `IDLE` (RFC 2177)
    Idle,
    /// `COMPRESS DEFLATE` (RFC 4978)
    Compress,
    /// `NOTIFY` (RFC 5465): what to be told of, or `None` for NONE.
    Notify(Option<Notify>),
    /// `CHECK`
    Check,
    /// `CLOSE`
    Close,
    /// `UNSELECT` (RFC 3691)
    Unselect,
    /// `EXPUNGE`, or `UID EXPUNGE` with its set (RFC 4315)
    Expunge(Option<SequenceSet>),
    /// `SEARCH` and `UID SEARCH`
    Search(Search),
    /// `FETCH` and `UID FETCH`
    Fetch(Fetch),
    /// `STORE` and `UID STORE`
    Store(Store),
    /// `COPY` and `UID COPY`
    Copy(Transfer),
    /// `MOVE` and `UID MOVE` (RFC 6851)
    Move(Transfer),
    /// `SETACL` (RFC 4314 §3.1)
    SetAcl {
        /// The mailbox.
        mailbox: MailboxName,
        /// Whose rights change.
        identifier: Identifier,
        /// How.
        change: RightsChange,
    },
    /// `DELETEACL` (RFC 4314 §3.2)
    DeleteAcl {
        /// The mailbox.
        mailbox: MailboxName,
        /// Whose entry goes.
        identifier: Identifier,
    },
    /// `GETACL` (RFC 4314 §3.3)
    GetAcl(MailboxName),
    /// `LISTRIGHTS` (RFC 4314 §3.4)
    ListRights {
        /// The mailbox.
        mailbox: MailboxName,
        /// Who might be given rights.
        identifier: Identifier,
    },
    /// `MYRIGHTS` (RFC 4314 §3.5)
    MyRights(MailboxName),
    /// `GETQUOTA` (RFC 9208 §4.1.1)
    GetQuota(QuotaRoot),
    /// `GETQUOTAROOT` (RFC 9208 §4.1.2); the mailbox need not exist.
    GetQuotaRoot(MailboxName),
    /// `SETQUOTA` (RFC 9208 §4.1.3)
    SetQuota {
        /// The quota root.
        root: QuotaRoot,
        /// The new limits, each resource once; resources not named are no longer limited.
        limits: Vec<(Resource, u64)>,
    },
}

/// `SELECT` or `EXAMINE` with its parameters (RFC 4466 §2.1, RFC 7162 §3.1.8 and §3.2.5) [S-40].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Select {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// Whether the command was EXAMINE.
    pub read_only: bool,
    /// `(CONDSTORE)` was given.
    pub condstore: bool,
    /// `(QRESYNC (…))`, if given.
    pub qresync: Option<QResync>,
}

/// The arguments of `SELECT … (QRESYNC (…))` (RFC 7162 §3.2.5) [S-114].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QResync {
    /// The last known UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// The last known mod-sequence; 0 is accepted and means everything.
    pub mod_seq: ModSeqOrZero,
    /// The known UIDs; never holds `*`.
    pub known_uids: Option<SequenceSet>,
    /// Sequence match data: message numbers and the UIDs that belong to them; never hold `*`.
    pub match_data: Option<(SequenceSet, SequenceSet)>,
}

/// `LIST` with everything that RFC 5258, RFC 5819 and RFC 6154 add.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List {
    /// The reference name.
    pub reference: String,
    /// One or more patterns, decoded.
    pub patterns: Vec<String>,
    /// Selection options, in the order given.
    pub select: Vec<ListSelect>,
    /// Return options, in the order given.
    pub returns: Vec<ListReturn>,
    /// Whether any of the extended syntax was used (options or a list of patterns).
    pub extended: bool,
}

/// A selection option of LIST (RFC 5258 §3.1, RFC 6154 §2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListSelect {
    /// `SUBSCRIBED`
    Subscribed,
    /// `REMOTE`
    Remote,
    /// `RECURSIVEMATCH`
    RecursiveMatch,
    /// `SPECIAL-USE`
    SpecialUse,
}

/// A return option of LIST (RFC 5258 §3.2, RFC 5819, RFC 6154 §2, RFC 8440).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListReturn {
    /// `SUBSCRIBED`
    Subscribed,
    /// `CHILDREN`
    Children,
    /// `SPECIAL-USE`
    SpecialUse,
    /// `STATUS (…)`
    Status(Vec<StatusItem>),
    /// `MYRIGHTS` (RFC 8440)
    MyRights,
}

/// An item of STATUS (RFC 3501 §6.3.10, RFC 7162 §3.1.7, RFC 8438, RFC 7889, RFC 9051, RFC 9208 §4.1.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusItem {
    /// `MESSAGES`
    Messages,
    /// `RECENT`
    Recent,
    /// `UIDNEXT`
    UidNext,
    /// `UIDVALIDITY`
    UidValidity,
    /// `UNSEEN`
    Unseen,
    /// `DELETED`
    Deleted,
    /// `DELETED-STORAGE`, octets
    DeletedStorage,
    /// `SIZE`
    Size,
    /// `HIGHESTMODSEQ`
    HighestModSeq,
    /// `APPENDLIMIT`
    AppendLimit,
}

impl StatusItem {
    /// All items.
    pub const ALL: [Self; 10] = [
        Self::Messages,
        Self::Recent,
        Self::UidNext,
        Self::UidValidity,
        Self::Unseen,
        Self::Deleted,
        Self::DeletedStorage,
        Self::Size,
        Self::HighestModSeq,
        Self::AppendLimit,
    ];

    /// The item's name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "MESSAGES",
            Self::Recent => "RECENT",
            Self::UidNext => "UIDNEXT",
            Self::UidValidity => "UIDVALIDITY",
            Self::Unseen => "UNSEEN",
            Self::Deleted => "DELETED",
            Self::DeletedStorage => "DELETED-STORAGE",
            Self::Size => "SIZE",
            Self::HighestModSeq => "HIGHESTMODSEQ",
            Self::AppendLimit => "APPENDLIMIT",
        }
    }

    /// The item with this name, in any case.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|item| item.as_str().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// What precedes a message literal in APPEND (RFC 3501 §6.3.11, RFC 3502): the mailbox stands only before the first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppendHead {
    /// Tag and mailbox, for the first message of the command.
    pub first: Option<(Tag, MailboxName)>,
    /// The flags for this message.
    pub flags: Vec<Flag>,
    /// The internal date for this message.
    pub internal_date: Option<DateTime>,
}

/// A moment with its zone: what `date-time` (RFC 3501 §9) says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DateTime {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub unix: i64,
    /// The zone's offset from UTC in minutes, −1439 ..= 1439.
    pub zone_minutes: i16,
}

/// A calendar day without zone, as SEARCH names it (RFC 3501 §9 `date`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Date {
    /// Days since 1970-01-01.
    pub days: i32,
}

/// `FETCH` and `UID FETCH` with modifiers (RFC 4466 §2.4, RFC 7162 §3.1.4.1, §3.2.6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetch {
    /// Whether the command was UID FETCH.
    pub uid: bool,
    /// The messages.
    pub set: SequenceSet,
    /// What to send; macros are already replaced by their items.
    pub items: Vec<FetchItem>,
    /// `CHANGEDSINCE n`; 0 is accepted and means everything [S-46].
    pub changed_since: Option<ModSeqOrZero>,
    /// `VANISHED`; the parser accepts it anywhere, the session refuses it where RFC 7162 §3.2.6 does.
    pub vanished: bool,
}

/// One item of FETCH (RFC 3501 §6.4.5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FetchItem {
    /// `ENVELOPE`
    Envelope,
    /// `FLAGS`
    Flags,
    /// `INTERNALDATE`
    InternalDate,
    /// `SAVEDATE` (RFC 8514)
    SaveDate,
    /// `RFC822.SIZE`
    Size,
    /// `UID`
    Uid,
    /// `MODSEQ` (RFC 7162 §3.1.4.2)
    ModSeq,
    /// `BODY` without section
    Body,
    /// `BODYSTRUCTURE`
    BodyStructure,
    /// `RFC822`, `RFC822.HEADER`, `RFC822.TEXT` and `BODY[…]<…>`
    Section(FetchSection),
}

/// A part of the message itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchSection {
    /// The name to answer with.
    pub label: SectionLabel,
    /// Part numbers, each ≥ 1; empty for the whole message.
    pub part: Vec<u32>,
    /// Which text of that part.
    pub text: SectionText,
    /// `<start.count>`: first octet and how many (count ≥ 1).
    pub partial: Option<(u64, u64)>,
    /// Whether `\Seen` stays as it is (`.PEEK`, `RFC822.HEADER`).
    pub peek: bool,
}

/// How the response names a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SectionLabel {
    /// `BODY[…]`
    Body,
    /// `RFC822`
    Rfc822,
    /// `RFC822.HEADER`
    Rfc822Header,
    /// `RFC822.TEXT`
    Rfc822Text,
}

/// `section-text` and `section-msgtext` (RFC 3501 §9).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SectionText {
    /// Everything: the whole message, or the part's body.
    All,
    /// `HEADER`
    Header,
    /// `HEADER.FIELDS (…)`, names as typed
    HeaderFields(Vec<Vec<u8>>),
    /// `HEADER.FIELDS.NOT (…)`
    HeaderFieldsNot(Vec<Vec<u8>>),
    /// `TEXT`
    Text,
    /// `MIME`, only behind part numbers
    Mime,
}

/// `STORE` and `UID STORE` (RFC 3501 §6.4.6, RFC 7162 §3.1.3) [S-61].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Store {
    /// Whether the command was UID STORE.
    pub uid: bool,
    /// The messages.
    pub set: SequenceSet,
    /// `(UNCHANGEDSINCE n)`.
    pub unchanged_since: Option<ModSeqOrZero>,
    /// What is done with the flags.
    pub action: StoreAction,
    /// `.SILENT`
    pub silent: bool,
    /// The flags named.
    pub flags: Vec<Flag>,
}

/// What STORE does with the flags it names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreAction {
    /// `FLAGS`
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// `COPY`, `MOVE` and their UID forms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// Whether the UID form was used.
    pub uid: bool,
    /// The messages.
    pub set: SequenceSet,
    /// Where to.
    pub mailbox: MailboxName,
}
