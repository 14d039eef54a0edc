//! ACL, LISTRIGHTS and MYRIGHTS.
//!
//! # Standards
//! RFC 4314 §3.6 to §3.8 and §7.

use super::data::mailbox;
use super::{Parsed, Response};
use crate::acl::Rights;
use crate::parse::{Cursor, identifier};

/// `acl-data = "ACL" SP mailbox *(SP identifier SP rights)`
pub(super) fn acl(c: &mut Cursor<'_>) -> Parsed<Response> {
    c.space()?;
    let mailbox = mailbox(c)?;
    let mut entries = Vec::new();
    while c.take(b' ') && !c.is_end() {
        let identifier = identifier(c)?;
        c.space()?;
        entries.push((identifier, rights(c)?));
    }
    Ok(Response::Acl { mailbox, entries })
}

/// `listrights-data = "LISTRIGHTS" SP mailbox SP identifier SP rights *(SP rights)`
pub(super) fn list_rights(c: &mut Cursor<'_>) -> Parsed<Response> {
    c.space()?;
    let mailbox = mailbox(c)?;
    c.space()?;
    let identifier = identifier(c)?;
    c.space()?;
    let required = rights(c)?;
    let mut optional = Vec::new();
    while c.take(b' ') && !c.is_end() {
        optional.push(rights(c)?);
    }
    // What is left of a set of virtual or unknown rights says nothing.
    optional.retain(|set| !set.is_empty());
    Ok(Response::ListRights { mailbox, identifier, required, optional })
}

/// `myrights-data = "MYRIGHTS" SP mailbox SP rights`
pub(super) fn my_rights(c: &mut Cursor<'_>) -> Parsed<Response> {
    c.space()?;
    let mailbox = mailbox(c)?;
    c.space()?;
    Ok(Response::MyRights { mailbox, rights: rights(c)? })
}

/// `rights = astring`
fn rights(c: &mut Cursor<'_>) -> Parsed<Rights> {
    let letters = c.astring("rights")?;
    Ok(Rights::as_shown(&String::from_utf8_lossy(&letters)))
}
