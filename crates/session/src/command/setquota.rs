//! SETQUOTA (RFC 9208 §4.1.3): not for users, so QUOTASET is not offered.

use crate::refusal::{Refusal, Stop};
use crate::session::{Reply, Session};

impl Session {
    /// Refuses.
    pub(crate) fn set_quota() -> Result<Reply, Stop> {
        let mut refusal = Refusal::no_permission();
        refusal.text = "Limits are set by the administrator: highwater quota set".into();
        Err(refusal.into())
    }
}
