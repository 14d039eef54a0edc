//! QUOTA and QUOTAROOT.
//!
//! # Standards
//! RFC 9208 §4.2 and §7.

use super::data::mailbox;
use super::value::value;
use super::{Parsed, Response, Value};
use crate::parse::{Cursor, DecodeError, quota_root};
use crate::quota::{Resource, ResourceUsage};

/// `quota-response = "QUOTA" SP quota-root-name SP quota-list`
pub(super) fn quota(c: &mut Cursor<'_>) -> Parsed<Response> {
    c.space()?;
    let root = quota_root(c)?;
    c.space()?;
    let at = c.at();
    let list = value(c)?;
    let (triplets, odd) = list.list().unwrap_or_default().as_chunks::<3>();
    if !odd.is_empty() || list.list().is_none() {
        return Err(DecodeError::new(at, "a list of resources with usage and limit"));
    }
    Ok(Response::Quota { root, usages: triplets.iter().filter_map(usage).collect() })
}

/// `quota-resource = resource-name SP resource-usage SP resource-limit`; `None` when a number is none of 63 bits.
fn usage([name, used, limit]: &[Value; 3]) -> Option<ResourceUsage> {
    let resource = Resource::from_name(name.octets()?);
    Some(ResourceUsage { resource, used: used.number()?, limit: limit.number()? })
}

/// `quotaroot-response = "QUOTAROOT" SP mailbox *(SP quota-root-name)`
pub(super) fn quota_roots(c: &mut Cursor<'_>) -> Parsed<Response> {
    c.space()?;
    let mailbox = mailbox(c)?;
    let mut roots = Vec::new();
    while c.take(b' ') && !c.is_end() {
        roots.push(quota_root(c)?);
    }
    Ok(Response::QuotaRoots { mailbox, roots })
}
