//! The bodies of one mailbox: each is copied once, whichever mailbox has it first.

use super::{At as _, MigrateError, Migration};
use crate::engine::{BodyId, BodyRef, BodyRow, Commit, EngineError};
use crate::tree::Tree;
use std::collections::BTreeMap;

/// Bodies whose rows are asked for together.
const ASKED: usize = 256;
/// Octets after which what was copied is made durable.
const SYNC_OCTETS: u64 = 32 << 20;
/// What is read of a body at once.
const PIECE: u64 = 1 << 20;

/// Bodies, and how many messages have each.
pub(super) type References = Vec<(BodyId, i32)>;

impl Migration<'_> {
    /// Brings those of these messages' bodies that are not there; answers what the mailbox refers to.
    pub(super) fn bodies(&mut self, name: &str, tree: &Tree) -> Result<References, MigrateError> {
        let mut counts: BTreeMap<BodyId, i32> = BTreeMap::new();
        for (_, message) in tree.iter() {
            *counts.entry(message.body).or_default() += 1;
        }
        let references: References = counts.into_iter().collect();
        let (mut copied, mut octets) = (Vec::new(), 0);
        for some in references.chunks(ASKED) {
            let ids: Vec<BodyId> = some.iter().map(|(id, _)| *id).collect();
            let what = || format!("messages of `{name}`");
            for row in self.from.engine.bodies(&ids).in_source(what)? {
                if self.is_there(name, &row)? {
                    continue;
                }
                octets += row.body.len;
                copied.push(self.copy(name, row)?);
                if octets >= SYNC_OCTETS || copied.len() >= ASKED {
                    self.keep(name, std::mem::take(&mut copied), std::mem::take(&mut octets))?;
                }
            }
        }
        self.keep(name, copied, octets)?;
        Ok(references)
    }

    /// Whether the target has this very body.
    fn is_there(&self, name: &str, row: &BodyRow) -> Result<bool, MigrateError> {
        let what = || format!("message {} of `{name}`", row.id.0);
        match self.to.engine.bodies(&[row.id]) {
            Ok(found) => {
                let same = |there: &BodyRow| {
                    (there.body.len, there.body.crc, &there.meta)
                        == (row.body.len, row.body.crc, &row.meta)
                };
                match found.first() {
                    Some(there) if same(there) => Ok(true),
                    _ => Err(MigrateError::BodyTaken(row.id.0)),
                }
            }
            Err(EngineError::Damaged(_)) => Ok(false),
            Err(error) => Err(error).in_target(what),
        }
    }

    /// Copies the octets, and finds out whether they are what was once stored [H8].
    fn copy(&self, name: &str, row: BodyRow) -> Result<BodyRow, MigrateError> {
        let what = || format!("message {} of `{name}`", row.id.0);
        let mut writer = self.to.bodies.writer().in_target(what)?;
        let mut piece = Vec::new();
        let mut at = 0;
        while at < row.body.len {
            let end = row.body.len.min(at + PIECE);
            piece.clear();
            self.from.bodies.read(&row.body, at..end, &mut piece).in_source(what)?;
            writer.write(&piece).in_target(what)?;
            at = end;
        }
        let body = writer.finish().in_target(what)?;
        let sums = |body: &BodyRef| (body.len, body.crc);
        if sums(&body) != sums(&row.body) {
            let why =
                "its octets are not what was stored: restore it, or expunge the message".into();
            return Err(EngineError::Damaged(why)).in_source(what);
        }
        Ok(BodyRow { body, ..row })
    }

    /// Makes copied bodies durable, then their rows. What refers to them comes later.
    fn keep(&mut self, name: &str, bodies: Vec<BodyRow>, octets: u64) -> Result<(), MigrateError> {
        if bodies.is_empty() {
            return Ok(());
        }
        let what = || format!("messages of `{name}`");
        self.to.bodies.sync().in_target(what)?;
        let commit = Commit { bodies, now: self.now, ..Commit::default() };
        self.to.engine.commit(&commit).in_target(what)?;
        self.moved.octets += octets;
        (self.tell)(name, &self.moved);
        Ok(())
    }
}
