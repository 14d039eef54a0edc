//! SETQUOTA.

use super::{Writer, Written};
use crate::quota::{QuotaRoot, Resource};

impl Writer {
    /// `setquota = "SETQUOTA" SP quota-root-name SP setquota-list` (RFC 9208 §7)
    pub(super) fn set_quota(&mut self, root: &QuotaRoot, limits: &[(Resource, u64)]) -> Written {
        self.text("SETQUOTA ");
        self.astring(&root.0)?;
        self.text(" ");
        self.list(limits, |w, (resource, limit)| {
            w.atom(resource.as_str())?;
            w.text(" ");
            w.number(*limit)
        })
    }
}
