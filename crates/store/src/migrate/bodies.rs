//! The bodies of one mailbox: each is copied once, whichever mailbox has it first.

use super::{At as _, MigrateError, Migration, Side, Whose};
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
    pub(super) fn bodies(
        &mut self,
        whose: Whose<'_>,
        tree: &Tree,
    ) -> Result<References, MigrateError> {
        let references = referred(tree);
        let (mut copied, mut octets) = (Vec::new(), 0);
        for some in references.chunks(ASKED) {
            let ids: Vec<BodyId> = some.iter().map(|(id, _)| *id).collect();
            let what = || whose.to_string();
            for row in self.from.engine.bodies(&ids).in_source(what)? {
                if self.is_there(whose, &row)? {
                    continue;
                }
                octets += row.body.len;
                copied.push(self.copy(whose, row)?);
                if octets >= SYNC_OCTETS || copied.len() >= ASKED {
                    self.keep(whose, std::mem::take(&mut copied), std::mem::take(&mut octets))?;
                }
            }
        }
        self.keep(whose, copied, octets)?;
        Ok(references)
    }

    /// Whether the target has this very body.
    fn is_there(&self, whose: Whose<'_>, row: &BodyRow) -> Result<bool, MigrateError> {
        let what = || format!("body {} of {whose}", row.id.0);
        match self.to.engine.bodies(&[row.id]) {
            Ok(found) => match found.first() {
                Some(there) if is_same(there, row) => Ok(true),
                _ => Err(MigrateError::BodyTaken(row.id.0)),
            },
            Err(EngineError::Damaged(_)) => Ok(false),
            Err(error) => Err(error).in_target(what),
        }
    }

    /// Copies the octets, and finds out whether they are what was once stored [H8].
    fn copy(&self, whose: Whose<'_>, row: BodyRow) -> Result<BodyRow, MigrateError> {
        let what = || format!("body {} of {whose}", row.id.0);
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

    /// Reads all that these messages have in the target: it is what the source has, and its octets are there [H8].
    pub(super) fn check_bodies(&self, whose: Whose<'_>, tree: &Tree) -> Result<(), MigrateError> {
        for some in referred(tree).chunks(ASKED) {
            let ids: Vec<BodyId> = some.iter().map(|(id, _)| *id).collect();
            let here = self.from.engine.bodies(&ids).in_source(|| whose.to_string())?;
            let there = self.to.engine.bodies(&ids).in_target(|| whose.to_string())?;
            for (here, there) in here.iter().zip(&there) {
                if !is_same(there, here) {
                    let what = "what is kept of a message";
                    return Err(MigrateError::Differs { whose: whose.to_string(), what });
                }
                let what = || format!("body {} of {whose}", here.id.0);
                read(self.to, &there.body).in_target(what)?;
            }
        }
        Ok(())
    }

    /// Makes copied bodies durable, then their rows. What refers to them comes later.
    fn keep(
        &mut self,
        whose: Whose<'_>,
        bodies: Vec<BodyRow>,
        octets: u64,
    ) -> Result<(), MigrateError> {
        if bodies.is_empty() {
            return Ok(());
        }
        let what = || whose.to_string();
        self.to.bodies.sync().in_target(what)?;
        let commit = Commit { bodies, now: self.now, ..Commit::default() };
        self.to.engine.commit(&commit).in_target(what)?;
        self.moved.octets += octets;
        (self.tell)(whose.account, &self.moved);
        Ok(())
    }
}

/// The bodies of these messages, in the order of their numbers.
fn referred(tree: &Tree) -> References {
    let mut counts: BTreeMap<BodyId, i32> = BTreeMap::new();
    for (_, message) in tree.iter() {
        *counts.entry(message.body).or_default() += 1;
    }
    counts.into_iter().collect()
}

/// Whether two places have the same body, wherever each keeps it.
fn is_same(one: &BodyRow, other: &BodyRow) -> bool {
    (one.body.len, one.body.crc, &one.meta) == (other.body.len, other.body.crc, &other.meta)
}

/// Reads a body to its end, piece by piece, and tests its checksum.
fn read(side: Side<'_>, body: &BodyRef) -> Result<(), EngineError> {
    let (mut at, mut sum, mut piece) = (0, crc32fast::Hasher::new(), Vec::new());
    while at < body.len {
        let end = body.len.min(at + PIECE);
        piece.clear();
        side.bodies.read(body, at..end, &mut piece)?;
        sum.update(&piece);
        at = end;
    }
    if sum.finalize() == body.crc {
        return Ok(());
    }
    Err(EngineError::Damaged("its octets are not what was stored".into()))
}
