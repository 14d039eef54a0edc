//! Commands as a client writes them: the other way of [`crate::parse`].
//!
//! # Invariants
//! - What is written parses back to the same command.
//! - Strings that cannot be quoted become literals; where a client must wait before it sends one is told.
//! - What the wire cannot say (NUL, empty lists, numbers beyond 63 bits) is an error, never something else.
//!
//! # Standards
//! RFC 3501 §9, RFC 4466, RFC 7162 §7, RFC 7888 (non-synchronising literals), RFC 4314 §7, RFC 9208 §7.

mod acl;
mod fetch;
mod notify;
mod quota;
mod search;

use crate::command::{
    AppendHead, Command, CommandBody, IdField, List, ListReturn, ListSelect, MailboxName, QResync,
    Select, StatusItem, Store, StoreAction, Transfer,
};
use crate::encode::put;
use crate::flag::Flag;
use crate::parse::is_atom_char;
use crate::set::SequenceSet;
use crate::utf7;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt;
use std::io::Write;

/// Which literals the server takes without being asked first (RFC 7888).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Literals {
    /// None: every literal is synchronising.
    Synchronising,
    /// Those of at most 4096 octets: the server has LITERAL-.
    UpTo4096,
    /// All: the server has LITERAL+.
    NonSynchronising,
}

/// A command ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    /// The whole command, its CRLF included.
    pub octets: Vec<u8>,
    /// Before the octet at each of these offsets, ascending, the client waits for a continuation request.
    pub waits: Vec<usize>,
}

/// What of a command the wire cannot say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncodeError {
    /// What could have been said instead.
    pub expected: &'static str,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot be sent: expected {}", self.expected)
    }
}

impl std::error::Error for EncodeError {}

/// The longest string that stands in the line itself, so that lines stay short.
const LINE_STRING_MAX: usize = 1000;

type Written = Result<(), EncodeError>;

fn unless(bad: bool, expected: &'static str) -> Written {
    if bad { Err(EncodeError { expected }) } else { Ok(()) }
}

/// Writes a command.
///
/// # Errors
/// When the wire cannot say what the command holds.
pub fn command(command: &Command, literals: Literals) -> Result<Encoded, EncodeError> {
    let mut w = Writer::new(literals);
    w.tag(&command.tag.0)?;
    w.body(&command.body)?;
    w.text("\r\n");
    Ok(Encoded { octets: w.out, waits: w.waits })
}

/// Writes what precedes a message of this many octets in APPEND, up to and with the literal's announcement.
///
/// The message follows, behind a wait if the last of [`Encoded::waits`] is the end; then another head or CRLF.
///
/// # Errors
/// When the wire cannot say what the head holds.
pub fn append_head(
    head: &AppendHead,
    size: usize,
    literals: Literals,
) -> Result<Encoded, EncodeError> {
    let mut w = Writer::new(literals);
    if let Some((tag, mailbox)) = &head.first {
        w.tag(&tag.0)?;
        w.text("APPEND ");
        w.mailbox(mailbox)?;
    }
    w.text(" ");
    if !head.flags.is_empty() {
        w.flags(&head.flags);
        w.text(" ");
    }
    if let Some(date) = head.internal_date {
        unless(date.local_date().text().is_none(), "a day of the years 1 to 9999")?;
        w.out.extend_from_slice(&date.octets());
        w.text(" ");
    }
    w.literal_header(size);
    Ok(Encoded { octets: w.out, waits: w.waits })
}

/// A command being written.
struct Writer {
    out: Vec<u8>,
    waits: Vec<usize>,
    literals: Literals,
}

impl Writer {
    fn new(literals: Literals) -> Self {
        Self { out: Vec::new(), waits: Vec::new(), literals }
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// The items with a space between them.
    fn spaced<T>(
        &mut self,
        items: &[T],
        mut write: impl FnMut(&mut Self, &T) -> Written,
    ) -> Written {
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.text(" ");
            }
            write(self, item)?;
        }
        Ok(())
    }

    /// `"(" [item *(SP item)] ")"`
    fn list<T>(&mut self, items: &[T], write: impl FnMut(&mut Self, &T) -> Written) -> Written {
        self.text("(");
        self.spaced(items, write)?;
        self.text(")");
        Ok(())
    }

    /// `tag SP`
    fn tag(&mut self, tag: &str) -> Written {
        let plain = |b| (is_atom_char(b) || b == b']') && b != b'+';
        let is_tag = (1..=256).contains(&tag.len()) && tag.bytes().all(plain);
        unless(!is_tag, "a tag of 1 to 256 octets")?;
        self.text(tag);
        self.text(" ");
        Ok(())
    }

    /// `atom = 1*ATOM-CHAR`
    fn atom(&mut self, atom: &str) -> Written {
        unless(atom.is_empty() || !atom.bytes().all(is_atom_char), "an atom")?;
        self.text(atom);
        Ok(())
    }

    /// `string = quoted / literal`
    fn string(&mut self, octets: &[u8]) -> Written {
        unless(octets.contains(&0), "a string without NUL")?;
        let quotable = |b: &u8| matches!(b, 1..0x7f) && !matches!(b, b'\r' | b'\n');
        if octets.len() > LINE_STRING_MAX || !octets.iter().all(quotable) {
            self.literal_header(octets.len());
            self.out.extend_from_slice(octets);
            return Ok(());
        }
        self.text("\"");
        for &b in octets {
            if matches!(b, b'"' | b'\\') {
                self.out.push(b'\\');
            }
            self.out.push(b);
        }
        self.text("\"");
        Ok(())
    }

    /// `literal = "{" number ["+"] "}" CRLF`, without its octets
    fn literal_header(&mut self, len: usize) {
        let asks = match self.literals {
            Literals::Synchronising => true,
            Literals::UpTo4096 => len > 4096,
            Literals::NonSynchronising => false,
        };
        put!(self.out, "{{{len}{}}}\r\n", if asks { "" } else { "+" });
        if asks {
            self.waits.push(self.out.len());
        }
    }

    /// `astring = 1*ASTRING-CHAR / string`; NIL is quoted, since some would take it for none.
    fn astring(&mut self, octets: &[u8]) -> Written {
        let plain = |b: &u8| is_atom_char(*b) || *b == b']';
        if !(1..=LINE_STRING_MAX).contains(&octets.len())
            || !octets.iter().all(plain)
            || octets.eq_ignore_ascii_case(b"NIL")
        {
            return self.string(octets);
        }
        self.out.extend_from_slice(octets);
        Ok(())
    }

    /// `mailbox = "INBOX" / astring`, encoded
    fn mailbox(&mut self, mailbox: &MailboxName) -> Written {
        unless(mailbox.0.is_empty(), "a mailbox name that is not empty")?;
        self.name(&mailbox.0)
    }

    /// A mailbox name that may be empty.
    fn name(&mut self, name: &str) -> Written {
        unless(name.contains(['\0', '\r', '\n']), "a mailbox name without NUL, CR and LF")?;
        self.astring(utf7::encode(name).as_bytes())
    }

    /// `list-mailbox = 1*list-char / string`
    fn pattern(&mut self, pattern: &str) -> Written {
        unless(pattern.contains(['\0', '\r', '\n']), "a pattern without NUL, CR and LF")?;
        let encoded = utf7::encode(pattern);
        let plain = |b| is_atom_char(b) || b"%*]".contains(&b);
        if !encoded.is_empty() && encoded.bytes().all(plain) {
            self.text(&encoded);
            return Ok(());
        }
        self.string(encoded.as_bytes())
    }

    /// `sequence-set`
    fn set(&mut self, set: &SequenceSet) -> Written {
        let empty = matches!(set, SequenceSet::Ranges(ranges) if ranges.is_empty());
        unless(empty, "a set that names something")?;
        put!(self.out, "{set}");
        Ok(())
    }

    /// `number64`, up to 2^63−1
    fn number(&mut self, number: u64) -> Written {
        unless(i64::try_from(number).is_err(), "a number up to 9223372036854775807")?;
        put!(self.out, "{number}");
        Ok(())
    }

    /// `flag-list`
    fn flags(&mut self, flags: &[Flag]) {
        self.text("(");
        for (i, flag) in flags.iter().enumerate() {
            put!(self.out, "{}{flag}", if i > 0 { " " } else { "" });
        }
        self.text(")");
    }

    fn uid(&mut self, uid: bool) {
        self.text(if uid { "UID " } else { "" });
    }

    fn body(&mut self, body: &CommandBody) -> Written {
        match body {
            CommandBody::Capability => self.text("CAPABILITY"),
            CommandBody::Noop => self.text("NOOP"),
            CommandBody::Logout => self.text("LOGOUT"),
            CommandBody::StartTls => self.text("STARTTLS"),
            CommandBody::Namespace => self.text("NAMESPACE"),
            CommandBody::Idle => self.text("IDLE"),
            CommandBody::Compress => self.text("COMPRESS DEFLATE"),
            CommandBody::Notify(notify) => self.notify(notify.as_ref())?,
            CommandBody::Check => self.text("CHECK"),
            CommandBody::Close => self.text("CLOSE"),
            CommandBody::Unselect => self.text("UNSELECT"),
            CommandBody::Expunge(None) => self.text("EXPUNGE"),
            CommandBody::Expunge(Some(set)) => {
                self.text("UID EXPUNGE ");
                self.set(set)?;
            }
            CommandBody::Id(fields) => self.id(fields.as_deref())?,
            CommandBody::Authenticate { mechanism, initial } => {
                let initial = initial.as_ref().map(|secret| secret.0.as_slice());
                self.authenticate(mechanism, initial)?;
            }
            CommandBody::Login { user, password } => {
                self.text("LOGIN ");
                self.astring(user)?;
                self.text(" ");
                self.astring(&password.0)?;
            }
            CommandBody::Enable(names) => {
                unless(names.is_empty(), "a capability to enable")?;
                self.text("ENABLE ");
                self.spaced(names, |w, name| w.atom(name))?;
            }
            CommandBody::GetQuota(root) => {
                self.text("GETQUOTA ");
                self.astring(&root.0)?;
            }
            CommandBody::SetQuota { root, limits } => self.set_quota(root, limits)?,
            CommandBody::Search(search) => self.search(search)?,
            CommandBody::Fetch(fetch) => self.fetch(fetch)?,
            CommandBody::Store(store) => self.store(store)?,
            CommandBody::Copy(transfer) => self.transfer("COPY ", transfer)?,
            CommandBody::Move(transfer) => self.transfer("MOVE ", transfer)?,
            of_mailboxes => self.mailbox_command(of_mailboxes)?,
        }
        Ok(())
    }

    fn mailbox_command(&mut self, body: &CommandBody) -> Written {
        let (word, mailbox) = match body {
            CommandBody::Select(select) => return self.select(select),
            CommandBody::List(list) => return self.list_command(list),
            CommandBody::Lsub { reference, pattern } => {
                self.text("LSUB ");
                self.name(reference)?;
                self.text(" ");
                return self.pattern(pattern);
            }
            CommandBody::Rename { from, to } => {
                self.text("RENAME ");
                self.mailbox(from)?;
                self.text(" ");
                return self.mailbox(to);
            }
            CommandBody::Status { mailbox, items } => {
                self.text("STATUS ");
                self.mailbox(mailbox)?;
                self.text(" ");
                return self.status_items(items);
            }
            CommandBody::Create { mailbox, special_use } => {
                self.text("CREATE ");
                self.mailbox(mailbox)?;
                return self.special_use(special_use.as_deref());
            }
            CommandBody::SetAcl { mailbox, identifier, change } => {
                return self.set_acl(mailbox, identifier, *change);
            }
            CommandBody::DeleteAcl { mailbox, identifier } => {
                return self.acl_entry("DELETEACL ", mailbox, identifier);
            }
            CommandBody::ListRights { mailbox, identifier } => {
                return self.acl_entry("LISTRIGHTS ", mailbox, identifier);
            }
            CommandBody::GetAcl(mailbox) => ("GETACL ", mailbox),
            CommandBody::MyRights(mailbox) => ("MYRIGHTS ", mailbox),
            CommandBody::GetQuotaRoot(mailbox) => ("GETQUOTAROOT ", mailbox),
            CommandBody::Delete(mailbox) => ("DELETE ", mailbox),
            CommandBody::Subscribe(mailbox) => ("SUBSCRIBE ", mailbox),
            CommandBody::Unsubscribe(mailbox) => ("UNSUBSCRIBE ", mailbox),
            _ => return unless(true, "a command that names a mailbox"),
        };
        self.text(word);
        self.mailbox(mailbox)
    }

    /// `id = "ID" SP id-params-list` (RFC 2971 §3.3)
    fn id(&mut self, fields: Option<&[IdField]>) -> Written {
        self.text("ID ");
        let Some(fields) = fields else {
            self.text("NIL");
            return Ok(());
        };
        unless(fields.len() > 30, "at most 30 fields")?;
        self.list(fields, |w, (name, value)| {
            w.string(name)?;
            w.text(" ");
            match value {
                Some(value) => w.string(value)?,
                None => w.text("NIL"),
            }
            Ok(())
        })
    }

    /// `authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")]` (RFC 4959 §3)
    fn authenticate(&mut self, mechanism: &str, initial: Option<&[u8]>) -> Written {
        self.text("AUTHENTICATE ");
        self.atom(mechanism)?;
        match initial {
            None => {}
            Some([]) => self.text(" ="),
            Some(data) => put!(self.out, " {}", BASE64.encode(data)),
        }
        Ok(())
    }

    /// `select = "SELECT" SP mailbox [select-params]` (RFC 4466 §2.1)
    fn select(&mut self, select: &Select) -> Written {
        self.text(if select.read_only { "EXAMINE " } else { "SELECT " });
        self.mailbox(&select.mailbox)?;
        match (select.condstore, &select.qresync) {
            (false, None) => {}
            (true, None) => self.text(" (CONDSTORE)"),
            (condstore, Some(qresync)) => {
                self.text(if condstore { " (CONDSTORE QRESYNC (" } else { " (QRESYNC (" });
                self.qresync(qresync)?;
                self.text("))");
            }
        }
        Ok(())
    }

    /// `uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data]` (RFC 7162 §7)
    fn qresync(&mut self, qresync: &QResync) -> Written {
        put!(self.out, "{} {}", qresync.uid_validity, qresync.mod_seq);
        if let Some(uids) = &qresync.known_uids {
            self.text(" ");
            self.set(uids)?;
        }
        if let Some((numbers, uids)) = &qresync.match_data {
            self.text(" (");
            self.set(numbers)?;
            self.text(" ");
            self.set(uids)?;
            self.text(")");
        }
        Ok(())
    }

    /// `[SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]` (RFC 6154 §6)
    fn special_use(&mut self, uses: Option<&[String]>) -> Written {
        let Some(uses) = uses else { return Ok(()) };
        self.text(" (USE ");
        self.list(uses, |w, name| {
            w.text("\\");
            w.atom(name)
        })?;
        self.text(")");
        Ok(())
    }

    /// `list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]` (RFC 5258 §6)
    fn list_command(&mut self, list: &List) -> Written {
        unless(list.patterns.is_empty(), "a pattern")?;
        self.text("LIST ");
        if !list.select.is_empty() {
            self.list(&list.select, |w, option| {
                w.text(match option {
                    ListSelect::Subscribed => "SUBSCRIBED",
                    ListSelect::Remote => "REMOTE",
                    ListSelect::RecursiveMatch => "RECURSIVEMATCH",
                    ListSelect::SpecialUse => "SPECIAL-USE",
                });
                Ok(())
            })?;
            self.text(" ");
        }
        self.name(&list.reference)?;
        self.text(" ");
        match list.patterns.as_slice() {
            [pattern] if !list.extended => self.pattern(pattern)?,
            patterns => self.list(patterns, |w, pattern| w.pattern(pattern))?,
        }
        if !list.returns.is_empty() {
            self.text(" RETURN ");
            self.list(&list.returns, |w, option| {
                w.text(match option {
                    ListReturn::Subscribed => "SUBSCRIBED",
                    ListReturn::Children => "CHILDREN",
                    ListReturn::SpecialUse => "SPECIAL-USE",
                    ListReturn::MyRights => "MYRIGHTS",
                    ListReturn::Status(items) => {
                        w.text("STATUS ");
                        return w.status_items(items);
                    }
                });
                Ok(())
            })?;
        }
        Ok(())
    }

    /// `"(" status-att *(SP status-att) ")"`
    fn status_items(&mut self, items: &[StatusItem]) -> Written {
        unless(items.is_empty(), "a status item")?;
        self.list(items, |w, item| {
            w.text(item.as_str());
            Ok(())
        })
    }

    /// `store = "STORE" SP sequence-set [store-modifiers] SP store-att-flags` (RFC 4466 §2.5)
    fn store(&mut self, store: &Store) -> Written {
        self.uid(store.uid);
        self.text("STORE ");
        self.set(&store.set)?;
        if let Some(unchanged_since) = store.unchanged_since {
            put!(self.out, " (UNCHANGEDSINCE {unchanged_since})");
        }
        self.text(match store.action {
            StoreAction::Replace => " FLAGS",
            StoreAction::Add => " +FLAGS",
            StoreAction::Remove => " -FLAGS",
        });
        self.text(if store.silent { ".SILENT " } else { " " });
        self.flags(&store.flags);
        Ok(())
    }

    /// `copy = "COPY" SP sequence-set SP mailbox`, likewise MOVE
    fn transfer(&mut self, word: &str, transfer: &Transfer) -> Written {
        self.uid(transfer.uid);
        self.text(word);
        self.set(&transfer.set)?;
        self.text(" ");
        self.mailbox(&transfer.mailbox)
    }
}

#[cfg(test)]
mod tests;
