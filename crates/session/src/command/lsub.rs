//! LSUB (RFC 3501 §6.3.9).

use super::list::{Patterns, superiors};
use crate::refusal::Stop;
use crate::session::{Reply, Session};
use crate::shared::Sink;
use imap::encode;
use std::collections::BTreeMap;

impl Session {
    /// Lists subscribed names. With `%`, a name that is not subscribed itself but has subscribed names below
    /// that the pattern does not reach is shown with `\Noselect`.
    pub(crate) fn lsub<S: Sink>(
        &mut self,
        reference: &str,
        pattern: &str,
        sink: &mut S,
    ) -> Result<Reply, Stop> {
        if pattern.is_empty() {
            encode::list(sink.buffer(), true, &["\\Noselect"], Some('/'), "", None);
            return Ok(Reply::ok("That is the delimiter"));
        }
        let state = self.login()?.account.state();
        let patterns = Patterns::new(reference, &[pattern.to_owned()]);
        let mut names: BTreeMap<&str, bool> = BTreeMap::new();
        for name in state.subscriptions() {
            if patterns.match_name(name) {
                names.insert(name, true);
            } else if pattern.ends_with('%') {
                for above in superiors(name).filter(|above| patterns.match_name(above)) {
                    names.entry(above).or_insert(false);
                }
            }
        }
        for (name, subscribed) in names {
            let attributes: &[&str] = if subscribed { &[] } else { &["\\Noselect"] };
            encode::list(sink.buffer(), true, attributes, Some('/'), name, None);
        }
        Ok(Reply::ok("Those are the subscriptions"))
    }
}
