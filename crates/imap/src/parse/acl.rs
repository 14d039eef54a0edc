//! SETACL, DELETEACL, GETACL, LISTRIGHTS and MYRIGHTS.

use super::{Cursor, DecodeError, Parsed};
use crate::acl::{Identifier, RightsChange};
use crate::command::CommandBody;

/// `setacl = "SETACL" SP mailbox SP identifier SP mod-rights` (RFC 4314 §7)
pub(super) fn set_acl(c: &mut Cursor<'_>) -> Parsed<CommandBody> {
    let mailbox = c.spaced_mailbox()?;
    let identifier = spaced_identifier(c)?;
    c.space()?;
    Ok(CommandBody::SetAcl { mailbox, identifier, change: mod_rights(c)? })
}

/// `deleteacl = "DELETEACL" SP mailbox SP identifier` (RFC 4314 §7)
pub(super) fn delete_acl(c: &mut Cursor<'_>) -> Parsed<CommandBody> {
    let mailbox = c.spaced_mailbox()?;
    Ok(CommandBody::DeleteAcl { mailbox, identifier: spaced_identifier(c)? })
}

/// `listrights = "LISTRIGHTS" SP mailbox SP identifier` (RFC 4314 §7)
pub(super) fn list_rights(c: &mut Cursor<'_>) -> Parsed<CommandBody> {
    let mailbox = c.spaced_mailbox()?;
    Ok(CommandBody::ListRights { mailbox, identifier: spaced_identifier(c)? })
}

fn spaced_identifier(c: &mut Cursor<'_>) -> Parsed<Identifier> {
    c.space()?;
    identifier(c)
}

/// `identifier = astring`, in UTF-8 (RFC 4314 §2)
pub(crate) fn identifier(c: &mut Cursor<'_>) -> Parsed<Identifier> {
    let at = c.at();
    let octets = c.astring("an identifier")?;
    let identifier = std::str::from_utf8(&octets).ok().and_then(Identifier::new);
    let expected = "an identifier in UTF-8 of 1 to 255 octets without control characters";
    identifier.ok_or_else(|| DecodeError::new(at, expected))
}

/// `mod-rights = astring`: `+` adds, `-` removes, neither replaces; letters that are no right are refused
/// (RFC 4314 §3.1).
fn mod_rights(c: &mut Cursor<'_>) -> Parsed<RightsChange> {
    let at = c.at();
    let octets = c.astring("rights")?;
    let text = String::from_utf8_lossy(&octets);
    RightsChange::parse(&text).map_err(|error| DecodeError::new(at, error.to_string()))
}
