//! Rights and identifiers of access control lists.
//!
//! # Invariants
//! - A [`Rights`] holds real rights only: the virtual `c` and `d` are replaced when read and added when shown.
//! - An [`Identifier`] can be said on the wire and stands for someone.
//!
//! # Standards
//! RFC 4314 §2. Of the two readings that §2.1.1 offers for RFC 2086, `c` is `k` with `x` and `d` is `e` with `t`.

use std::fmt;

/// A set of the rights `l r s w i p k x t e a` (RFC 4314 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rights(u16);

/// Letters that are no right at all, or not one to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RightsError {
    /// A capital letter (RFC 4314 §2.1).
    UpperCase(char),
    /// No right has this letter (RFC 4314 §3.1).
    Unknown(char),
}

impl fmt::Display for RightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpperCase(letter) => write!(f, "rights in lower case, not {letter}"),
            Self::Unknown(letter) => {
                write!(f, "rights out of {}cd, not {letter}", Rights::ALL)
            }
        }
    }
}

impl std::error::Error for RightsError {}

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);
    /// `l`: the mailbox is visible to LIST and LSUB.
    pub const LOOKUP: Self = Self(1);
    /// `r`: SELECT, STATUS and what reads messages.
    pub const READ: Self = Self(1 << 1);
    /// `s`: keeping `\Seen` across sessions.
    pub const SEEN: Self = Self(1 << 2);
    /// `w`: changing flags other than `\Seen` and `\Deleted`.
    pub const WRITE: Self = Self(1 << 3);
    /// `i`: APPEND, and COPY or MOVE into the mailbox.
    pub const INSERT: Self = Self(1 << 4);
    /// `p`: sending mail to the mailbox's own address.
    pub const POST: Self = Self(1 << 5);
    /// `k`: creating mailboxes below this one.
    pub const CREATE: Self = Self(1 << 6);
    /// `x`: deleting the mailbox itself.
    pub const DELETE_MAILBOX: Self = Self(1 << 7);
    /// `t`: setting and clearing `\Deleted`.
    pub const DELETE_MESSAGES: Self = Self(1 << 8);
    /// `e`: EXPUNGE, and expunging as part of CLOSE.
    pub const EXPUNGE: Self = Self(1 << 9);
    /// `a`: reading and changing the access control list.
    pub const ADMINISTER: Self = Self(1 << 10);
    /// Every right.
    pub const ALL: Self = Self((1 << 11) - 1);

    /// Each right with its letter, in the order in which they are written.
    const LETTERS: [(char, Self); 11] = [
        ('l', Self::LOOKUP),
        ('r', Self::READ),
        ('s', Self::SEEN),
        ('w', Self::WRITE),
        ('i', Self::INSERT),
        ('p', Self::POST),
        ('k', Self::CREATE),
        ('x', Self::DELETE_MAILBOX),
        ('t', Self::DELETE_MESSAGES),
        ('e', Self::EXPUNGE),
        ('a', Self::ADMINISTER),
    ];

    /// The virtual rights of RFC 2086 with their members (RFC 4314 §2.1.1).
    pub(crate) const VIRTUAL: [(char, Self); 2] = [
        ('c', Self::CREATE.union(Self::DELETE_MAILBOX)),
        ('d', Self::DELETE_MESSAGES.union(Self::EXPUNGE)),
    ];

    /// The rights with these letters, in any order and however often; `c` and `d` stand for their members.
    ///
    /// # Errors
    /// The first letter that is no right (RFC 4314 §3.1).
    pub fn parse(letters: &str) -> Result<Self, RightsError> {
        letters.chars().try_fold(Self::NONE, |rights, letter| match Self::of_letter(letter) {
            Some(right) => Ok(rights.union(right)),
            None if letter.is_uppercase() => Err(RightsError::UpperCase(letter)),
            None => Err(RightsError::Unknown(letter)),
        })
    }

    /// The rights that a server shows: the virtual `c` and `d` say nothing (RFC 4314 §2.1.1), unknown ones neither.
    pub(crate) fn as_shown(letters: &str) -> Self {
        let is_real = |letter: &char| Self::VIRTUAL.iter().all(|(virtual_, _)| virtual_ != letter);
        letters.chars().filter(is_real).filter_map(Self::of_letter).fold(Self::NONE, Self::union)
    }

    fn of_letter(letter: char) -> Option<Self> {
        let mut all = Self::LETTERS.into_iter().chain(Self::VIRTUAL);
        all.find(|(known, _)| *known == letter).map(|(_, right)| right)
    }

    /// The rights in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The rights in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The rights that are not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all rights of the other are here.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is no right.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each right alone, in the order in which they are written.
    pub fn iter(self) -> impl Iterator<Item = Self> {
        Self::LETTERS.into_iter().map(|(_, right)| right).filter(move |right| self.contains(*right))
    }

    /// The letters as ACL and MYRIGHTS show them: with `c` and `d` where one of their members is set, before `a`.
    #[must_use]
    pub fn shown_with_virtual(self) -> String {
        let mut text = self.without(Self::ADMINISTER).to_string();
        let has_member = |members: Self| !self.intersection(members).is_empty();
        let shown = Self::VIRTUAL.into_iter().filter(|(_, members)| has_member(*members));
        text.extend(shown.map(|(letter, _)| letter));
        text.extend(self.contains(Self::ADMINISTER).then_some('a'));
        text
    }
}

impl fmt::Display for Rights {
    /// The letters in the order `lrswipkxtea`; nothing for no right.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = Self::LETTERS.into_iter().filter(|(_, right)| self.contains(*right));
        held.map(|(letter, _)| letter).try_for_each(|letter| fmt::Write::write_char(f, letter))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rights({self})")
    }
}

/// What SETACL does with the rights that an identifier has (RFC 4314 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RightsChange {
    /// These instead of what there was.
    Set(Rights),
    /// `+`: these too.
    Add(Rights),
    /// `-`: these no longer.
    Remove(Rights),
}

impl RightsChange {
    /// What the text asks for: letters with `+` before them add, with `-` remove, without either replace
    /// (RFC 4314 §3.1).
    ///
    /// # Errors
    /// The first letter that is no right.
    pub fn parse(text: &str) -> Result<Self, RightsError> {
        match (text.strip_prefix('+'), text.strip_prefix('-')) {
            (Some(letters), _) => Rights::parse(letters).map(Self::Add),
            (_, Some(letters)) => Rights::parse(letters).map(Self::Remove),
            (None, None) => Rights::parse(text).map(Self::Set),
        }
    }

    /// What becomes of the rights.
    #[must_use]
    pub const fn apply(self, before: Rights) -> Rights {
        match self {
            Self::Set(rights) => rights,
            Self::Add(rights) => before.union(rights),
            Self::Remove(rights) => before.without(rights),
        }
    }
}

/// Who an entry of an access control list is about: UTF-8 of 1 to 255 octets without control characters, not
/// prepared and not looked up (RFC 4314 §2).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Identifier(Box<str>);

impl Identifier {
    /// The greatest length of an identifier in octets.
    pub const LEN_MAX: usize = 255;
    /// The identifier that stands for everyone.
    pub const ANYONE: &'static str = "anyone";

    /// The identifier, or `None` when the text is too long, has control characters or names nobody: `""` and `"-"`.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let names_someone = !text.is_empty() && text != "-" && text.len() <= Self::LEN_MAX;
        (names_someone && !text.contains(char::is_control)).then(|| Self(text.into()))
    }

    /// The identifier as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for everyone.
    #[must_use]
    pub fn is_anyone(&self) -> bool {
        &*self.0 == Self::ANYONE
    }

    /// Who loses rights by this entry: what stands behind `-`, never empty; `None` for an entry that gives them.
    #[must_use]
    pub fn negative(&self) -> Option<&str> {
        self.0.strip_prefix('-')
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_in_any_order_and_written_in_one() {
        for (letters, written, shown) in [
            ("", "", ""),
            ("lrs", "lrs", "lrs"),
            ("aerl", "lrea", "lreda"),
            ("llll", "l", "l"),
            // RFC 4314 §2.1.1: `d` expands to `et`, and `k` is enough for `c` to be shown.
            ("lrswida", "lrswitea", "lrswiteda"),
            ("lrswikda", "lrswiktea", "lrswiktecda"),
            // RFC 4314 §3.1.
            ("lrswicda", "lrswikxtea", "lrswikxtecda"),
            ("rwiptsldaex", "lrswipxtea", "lrswipxtecda"),
            ("lrswipkxtea", "lrswipkxtea", "lrswipkxtecda"),
        ] {
            let rights = Rights::parse(letters).unwrap();
            assert_eq!(
                (rights.to_string(), rights.shown_with_virtual().as_str()),
                (written.into(), shown)
            );
            assert_eq!(Rights::parse(written), Ok(rights), "{written}");
            assert_eq!(Rights::as_shown(shown), rights, "{shown}");
        }
        assert_eq!(Rights::parse("lrswipkxtea"), Ok(Rights::ALL));
        assert_eq!(Rights::as_shown("0cdnL l"), Rights::LOOKUP);
    }

    #[test]
    fn letters_that_are_no_right_are_named() {
        assert_eq!(Rights::parse("lrQswicda"), Err(RightsError::UpperCase('Q')));
        assert_eq!(Rights::parse("lrqswicda"), Err(RightsError::Unknown('q')));
        assert_eq!(Rights::parse("l0"), Err(RightsError::Unknown('0')));
        assert_eq!(Rights::parse("+l"), Err(RightsError::Unknown('+')));
        let text = Rights::parse("q").unwrap_err().to_string();
        assert_eq!(text, "rights out of lrswipkxteacd, not q");
    }

    #[test]
    fn sets_of_rights_are_sets() {
        let (lr, rs) = (Rights::LOOKUP.union(Rights::READ), Rights::READ.union(Rights::SEEN));
        assert_eq!(lr.union(rs).to_string(), "lrs");
        assert_eq!(lr.intersection(rs), Rights::READ);
        assert_eq!(lr.without(rs), Rights::LOOKUP);
        assert!(lr.contains(Rights::READ) && !lr.contains(rs) && lr.contains(Rights::NONE));
        assert!(lr.without(lr).is_empty() && !lr.is_empty());
        let each: Vec<_> = Rights::ALL.iter().map(|right| right.to_string()).collect();
        assert_eq!(each.concat(), Rights::ALL.to_string());
    }

    #[test]
    fn a_change_sets_adds_or_removes() {
        let (lr, r) = (Rights::LOOKUP.union(Rights::READ), Rights::READ);
        assert_eq!(RightsChange::Set(r).apply(lr), r);
        assert_eq!(RightsChange::Add(lr).apply(Rights::SEEN).to_string(), "lrs");
        assert_eq!(RightsChange::Remove(r).apply(lr), Rights::LOOKUP);
        assert_eq!(RightsChange::parse("lr"), Ok(RightsChange::Set(lr)));
        assert_eq!(RightsChange::parse("+lr"), Ok(RightsChange::Add(lr)));
        assert_eq!(RightsChange::parse("-r"), Ok(RightsChange::Remove(r)));
        assert_eq!(RightsChange::parse("+-r"), Err(RightsError::Unknown('-')));
    }

    #[test]
    fn identifiers_name_someone() {
        for good in ["Fred", "$team", "anyone", "-anyone", "Zoë", "a b", &"x".repeat(255)] {
            assert_eq!(Identifier::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "-", "a\0", "a\r\nb", "\u{85}", &"x".repeat(256)] {
            assert_eq!(Identifier::new(bad), None, "{bad:?}");
        }
        assert_eq!(Identifier::new("-Fred").unwrap().negative(), Some("Fred"));
        assert_eq!(Identifier::new("Fred-").unwrap().negative(), None);
        assert!(Identifier::new("anyone").unwrap().is_anyone());
        assert!(!Identifier::new("-anyone").unwrap().is_anyone());
    }
}
