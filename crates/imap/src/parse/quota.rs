//! GETQUOTA and SETQUOTA.

use super::{Cursor, DecodeError, Parsed};
use crate::command::CommandBody;
use crate::quota::{QuotaRoot, Resource};

/// `getquota = "GETQUOTA" SP quota-root-name` (RFC 9208 §7)
pub(super) fn get_quota(c: &mut Cursor<'_>) -> Parsed<CommandBody> {
    c.space()?;
    Ok(CommandBody::GetQuota(root(c)?))
}

/// `setquota = "SETQUOTA" SP quota-root-name SP setquota-list` (RFC 9208 §7)
pub(super) fn set_quota(c: &mut Cursor<'_>) -> Parsed<CommandBody> {
    c.space()?;
    let root = root(c)?;
    c.space()?;
    Ok(CommandBody::SetQuota { root, limits: limits(c)? })
}

/// `quota-root-name = astring`
pub(crate) fn root(c: &mut Cursor<'_>) -> Parsed<QuotaRoot> {
    Ok(QuotaRoot(c.astring("a quota root")?.into_owned()))
}

/// `setquota-list = "(" [setquota-resource *(SP setquota-resource)] ")"`, each resource once: of two limits, none
/// would be the one meant.
fn limits(c: &mut Cursor<'_>) -> Parsed<Vec<(Resource, u64)>> {
    const LIMITS_MAX: usize = 30;
    let mut limits: Vec<(Resource, u64)> = Vec::new();
    c.byte(b'(', "( and limits")?;
    while !c.take(b')') {
        if !limits.is_empty() {
            c.space()?;
        }
        let at = c.at();
        let resource = Resource::from_name(c.atom("a resource")?);
        if limits.len() == LIMITS_MAX || limits.iter().any(|(known, _)| *known == resource) {
            return Err(DecodeError::new(at, "at most 30 resources, each once"));
        }
        c.space()?;
        limits.push((resource, c.number()?));
    }
    Ok(limits)
}
