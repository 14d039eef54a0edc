//! ACL, LISTRIGHTS and MYRIGHTS.
//!
//! # Invariants
//! - The virtual `c` and `d` are shown wherever RFC 4314 §2.1.1 wants them for clients of RFC 2086.

use super::{astring, mailbox};
use crate::acl::{Identifier, Rights};

/// `* ACL mailbox identifier rights …` (RFC 4314 §3.6)
pub fn acl<'a>(
    out: &mut Vec<u8>,
    name: &str,
    entries: impl IntoIterator<Item = (&'a Identifier, Rights)>,
) {
    out.extend_from_slice(b"* ACL ");
    mailbox(out, name);
    for (identifier, rights) in entries {
        out.push(b' ');
        astring(out, identifier.as_str().as_bytes());
        out.push(b' ');
        astring(out, rights.shown_with_virtual().as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// `* MYRIGHTS mailbox rights` (RFC 4314 §3.8), also behind LIST (RFC 8440 §3).
pub fn my_rights(out: &mut Vec<u8>, name: &str, rights: Rights) {
    out.extend_from_slice(b"* MYRIGHTS ");
    mailbox(out, name);
    out.push(b' ');
    astring(out, rights.shown_with_virtual().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `* LISTRIGHTS mailbox identifier required optional …` (RFC 4314 §3.7): the identifier as the client gave it, what
/// it always has, and what it may be given, each set of tied rights together. The sets do not overlap.
pub fn list_rights(
    out: &mut Vec<u8>,
    name: &str,
    identifier: &Identifier,
    required: Rights,
    optional: &[Rights],
) {
    out.extend_from_slice(b"* LISTRIGHTS ");
    mailbox(out, name);
    out.push(b' ');
    astring(out, identifier.as_str().as_bytes());
    for letters in letters_shown_once(required, optional) {
        out.push(b' ');
        astring(out, letters.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// The letters of each set, the required one first, with each virtual right once: in the required set if a member is
/// there, else in the set that ties a member to other rights, else alone (RFC 4314 §2.1.1).
fn letters_shown_once(required: Rights, optional: &[Rights]) -> Vec<String> {
    let sets: Vec<Rights> = std::iter::once(required)
        .chain(optional.iter().copied().filter(|set| !set.is_empty()))
        .collect();
    let mut shown: Vec<String> = sets.iter().map(Rights::to_string).collect();
    for (letter, members) in Rights::VIRTUAL {
        let has_member = |set: &Rights| !set.intersection(members).is_empty();
        let is_tied = |set: &Rights| has_member(set) && !set.without(members).is_empty();
        let place = if has_member(&required) { Some(0) } else { sets.iter().position(is_tied) };
        match place.and_then(|place| shown.get_mut(place)) {
            Some(letters) => letters.push(letter),
            None if sets.iter().any(has_member) => shown.push(letter.into()),
            None => {}
        }
    }
    shown
}
