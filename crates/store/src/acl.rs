//! Who may do what with a mailbox: its entries, and what they add up to for one user.
//!
//! # Invariants
//! - The owner has every right, whatever the entries say.
//! - An entry for a user is bound to the account: a new account of the same name has none of its rights.
//! - An entry that takes rights away outweighs every entry that gives them.
//!
//! # Standards
//! RFC 4314 §2 (identifiers and negative rights).

use crate::codec::{Reader, Writer};
use crate::directory::Directory;
use crate::engine::{AccountId, EngineError};
use imap::acl::{Identifier, Rights, RightsChange};

/// What the identifier of a group begins with.
pub const GROUP_PREFIX: char = '$';
/// The most entries that a mailbox can have.
const ENTRIES_MAX: usize = 1000;

/// Whom an entry is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Grantee {
    /// Everyone who can log in, and for `p` everyone who sends mail.
    Anyone,
    /// The members of a group, by its name without `$`.
    Group(String),
    /// One user.
    User {
        /// The account.
        account: AccountId,
        /// Its name, to be shown.
        name: String,
    },
}

impl Grantee {
    /// The identifier as ACL shows it.
    #[must_use]
    pub fn identifier(&self) -> String {
        match self {
            Self::Anyone => Identifier::ANYONE.to_owned(),
            Self::Group(name) => format!("{GROUP_PREFIX}{name}"),
            Self::User { name, .. } => name.clone(),
        }
    }

    fn is(&self, user: AccountId, directory: &Directory) -> bool {
        match self {
            Self::Anyone => true,
            Self::Group(name) => directory.is_member(name, user),
            Self::User { account, .. } => *account == user,
        }
    }

    pub(crate) fn encode(&self, w: &mut Writer) {
        match self {
            Self::Anyone => w.byte(0),
            Self::Group(name) => {
                w.byte(1);
                w.text(name);
            }
            Self::User { account, name } => {
                w.byte(2);
                w.number(account.0);
                w.text(name);
            }
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, EngineError> {
        Ok(match r.byte()? {
            0 => Self::Anyone,
            1 => Self::Group(r.text()?.to_owned()),
            2 => Self::User { account: AccountId(r.number()?), name: r.text()?.to_owned() },
            other => return Err(EngineError::Damaged(format!("unknown kind of grantee {other}"))),
        })
    }
}

/// One entry: rights given to someone, or taken away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AclEntry {
    /// Whom it is about.
    pub grantee: Grantee,
    /// Whether it takes the rights away: the identifier is shown with `-` before it.
    pub negative: bool,
    /// The rights, never none.
    pub rights: Rights,
}

/// The access control list of one mailbox, without the owner.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Acl {
    entries: Vec<AclEntry>,
}

impl Acl {
    /// The entries in the order in which they came.
    pub fn entries(&self) -> impl Iterator<Item = &AclEntry> {
        self.entries.iter()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the entries give this user, who is not the owner.
    pub(crate) fn rights(&self, user: AccountId, directory: &Directory) -> Rights {
        self.sum(|grantee| grantee.is(user, directory))
    }

    /// What the entries give to everyone, logged in or not: `p` is for those who send mail.
    #[must_use]
    pub fn rights_of_anyone(&self) -> Rights {
        self.sum(|grantee| *grantee == Grantee::Anyone)
    }

    fn sum(&self, is: impl Fn(&Grantee) -> bool) -> Rights {
        let add = |negative: bool| {
            let those = self.entries.iter().filter(|e| e.negative == negative && is(&e.grantee));
            those.fold(Rights::NONE, |rights, entry| rights.union(entry.rights))
        };
        add(false).without(add(true))
    }

    /// The list with one entry changed; an entry without rights goes. `None` when there would be too many.
    pub(crate) fn with(
        &self,
        grantee: &Grantee,
        negative: bool,
        change: RightsChange,
    ) -> Option<Self> {
        let mut entries = self.entries.clone();
        // The name of an account that is no more may have been taken by another: one entry for each name.
        let same =
            |e: &AclEntry| e.negative == negative && e.grantee.identifier() == grantee.identifier();
        let at = entries.iter().position(same);
        let before = at.and_then(|at| entries.get(at)).filter(|entry| entry.grantee == *grantee);
        let rights = change.apply(before.map_or(Rights::NONE, |entry| entry.rights));
        let entry = AclEntry { grantee: grantee.clone(), negative, rights };
        match at {
            Some(at) if rights.is_empty() => drop(entries.remove(at)),
            Some(at) => entries.get_mut(at).into_iter().for_each(|old| *old = entry.clone()),
            None if rights.is_empty() => {}
            None => entries.push(entry),
        }
        (entries.len() <= ENTRIES_MAX).then_some(Self { entries })
    }

    /// Whom the list gives any right.
    pub(crate) fn grantees(&self) -> impl Iterator<Item = &Grantee> {
        self.entries.iter().filter(|entry| !entry.negative).map(|entry| &entry.grantee)
    }

    pub(crate) fn encode(&self, w: &mut Writer) {
        w.number(self.entries.len() as u64);
        for entry in &self.entries {
            entry.grantee.encode(w);
            w.byte(u8::from(entry.negative));
            w.text(&entry.rights.to_string());
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, EngineError> {
        let entry = |r: &mut Reader<'_>| {
            let (grantee, negative) = (Grantee::decode(r)?, r.byte()? != 0);
            let rights = Rights::parse(r.text()?)
                .map_err(|error| EngineError::Damaged(format!("stored rights: {error}")))?;
            Ok(AclEntry { grantee, negative, rights })
        };
        let entries = (0..r.count()?).map(|_| entry(r)).collect::<Result<_, EngineError>>()?;
        Ok(Self { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(letters: &str) -> Rights {
        Rights::parse(letters).unwrap()
    }

    fn user(n: u64) -> Grantee {
        Grantee::User { account: AccountId(n), name: format!("user{n}") }
    }

    fn acl(entries: &[(Grantee, bool, &str)]) -> Acl {
        entries.iter().fold(Acl::default(), |acl, (grantee, negative, letters)| {
            acl.with(grantee, *negative, RightsChange::Add(rights(letters))).unwrap()
        })
    }

    #[test]
    fn rights_add_up_and_what_is_taken_away_stays_away() {
        let directory = Directory::default().with_member("team", AccountId(7), "user7");
        let team = Grantee::Group("team".into());
        let list = acl(&[
            (Grantee::Anyone, false, "l"),
            (team, false, "rs"),
            (user(7), false, "w"),
            (user(8), false, "lrw"),
            (user(8), true, "w"),
            (Grantee::Anyone, true, "s"),
        ]);
        assert_eq!(list.rights(AccountId(7), &directory), rights("lrw"));
        assert_eq!(list.rights(AccountId(8), &directory), rights("lr"));
        assert_eq!(list.rights(AccountId(9), &directory), rights("l"));
        assert_eq!(list.rights_of_anyone(), rights("l"));
    }

    #[test]
    fn an_entry_without_rights_goes_and_a_new_account_takes_the_entry_of_its_name() {
        let list = acl(&[(user(7), false, "lr")]);
        let list = list.with(&user(7), false, RightsChange::Remove(rights("lr"))).unwrap();
        assert!(list.is_empty());
        let list = acl(&[(user(7), false, "lr")]);
        let new = Grantee::User { account: AccountId(99), name: "user7".into() };
        let list = list.with(&new, false, RightsChange::Add(rights("s"))).unwrap();
        assert_eq!(list.rights(AccountId(7), &Directory::default()), Rights::NONE);
        assert_eq!(list.rights(AccountId(99), &Directory::default()), rights("s"));
        let mut w = Writer::default();
        list.encode(&mut w);
        assert_eq!(Acl::decode(&mut Reader::new(&w.out)).unwrap(), list);
    }
}
