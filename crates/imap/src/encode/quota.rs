//! QUOTA and QUOTAROOT.

use super::{astring, mailbox, put};
use crate::quota::{QuotaRoot, ResourceUsage};
use std::io::Write;

/// `* QUOTA root (resource used limit …)`; what is not named has no limit (RFC 9208 §4.2.1).
pub fn quota(out: &mut Vec<u8>, root: &QuotaRoot, usages: &[ResourceUsage]) {
    out.extend_from_slice(b"* QUOTA ");
    astring(out, &root.0);
    out.extend_from_slice(b" (");
    for (i, ResourceUsage { resource, used, limit }) in usages.iter().enumerate() {
        put!(out, "{}{resource} {used} {limit}", if i > 0 { " " } else { "" });
    }
    out.extend_from_slice(b")\r\n");
}

/// `* QUOTAROOT mailbox root …` (RFC 9208 §4.2.2)
pub fn quota_root(out: &mut Vec<u8>, name: &str, roots: &[QuotaRoot]) {
    out.extend_from_slice(b"* QUOTAROOT ");
    mailbox(out, name);
    for root in roots {
        out.push(b' ');
        astring(out, &root.0);
    }
    out.extend_from_slice(b"\r\n");
}
