//! COMPRESS=DEFLATE: both directions compressed, below IMAP and above TLS.
//!
//! # Invariants
//! - What follows the OK's CRLF is compressed, even if it came with it.
//! - Whatever is sent can be read at once: every write ends with a flush.
//! - What is unpacked is handed on in pieces of bounded size, and unpacked when the piece before was taken.
//!
//! # Standards
//! RFC 4978, RFC 1951.

use super::{Connection, Until};
use crate::error::Error;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use imap::command::CommandBody;
use tokio::time::timeout;

/// How much is unpacked, or made room for, at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Both directions' state.
pub(super) struct Deflate {
    outward: Compress,
    inward: Decompress,
}

impl Deflate {
    fn new() -> Self {
        let outward = Compress::new(Compression::default(), false);
        Self { outward, inward: Decompress::new(false) }
    }

    /// Adds the octets to what is to be sent, so that the server can read all of them.
    pub(super) fn pack(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let mut rest = octets;
        loop {
            out.reserve(rest.len().clamp(256, PIECE_BYTES));
            let before = self.outward.total_in();
            let packed = self.outward.compress_vec(rest, out, FlushCompress::Sync);
            packed.map_err(|error| Error::Protocol(error.to_string()))?;
            rest = behind(rest, self.outward.total_in() - before);
            // Room that is left says that nothing is held back.
            if rest.is_empty() && out.len() < out.capacity() {
                return Ok(());
            }
        }
    }

    /// Takes of the octets as many as stand for a piece of bounded size, and answers that; nothing is left when it is
    /// empty.
    pub(super) fn unpack(&mut self, octets: &mut Vec<u8>) -> Result<Vec<u8>, Error> {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        loop {
            let before = self.inward.total_in();
            let unpacked = self.inward.decompress_vec(octets, &mut piece, FlushDecompress::Sync);
            unpacked
                .map_err(|error| Error::Protocol(format!("it does not decompress: {error}")))?;
            let used = self.inward.total_in() - before;
            octets.drain(..usize::try_from(used).unwrap_or(usize::MAX).min(octets.len()));
            // It may stop early, and says that nothing is left only by doing nothing.
            match (piece.is_empty(), used == 0) {
                (false, _) => return Ok(piece),
                (true, false) => {}
                (true, true) if octets.is_empty() => return Ok(piece),
                (true, true) => {
                    let why = "octets behind the end of what is compressed";
                    return Err(Error::Protocol(why.into()));
                }
            }
        }
    }
}

fn behind(octets: &[u8], count: u64) -> &[u8] {
    octets.get(usize::try_from(count).unwrap_or(usize::MAX)..).unwrap_or_default()
}

impl Connection {
    /// Compresses everything from here on: worth its turn before much is fetched. Log in first; a second time is one
    /// time.
    ///
    /// # Errors
    /// [`Error::Lacks`] without COMPRESS=DEFLATE, and as [`Connection::run`]; after NO the connection goes on as it was.
    pub async fn compress(&mut self) -> Result<(), Error> {
        if self.deflate.is_some() {
            return Ok(());
        }
        if !self.has("COMPRESS=DEFLATE") {
            return Err(Error::Lacks("COMPRESS=DEFLATE"));
        }
        let ticket = self.submit(CommandBody::Compress)?;
        let answer = loop {
            if let Some(answer) = self.core.take_answer(ticket) {
                break answer;
            }
            // Line by line, as what is behind the answer is of another kind.
            if let Some(at) = self.inbox.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.inbox.drain(..=at).collect();
                self.record.keep(false, &line);
                self.core.receive(&line)?;
                continue;
            }
            self.alive()?;
            let turn = timeout(self.patience, self.turn(Until::Received)).await;
            turn.map_err(|_| Error::TimedOut)??;
        };
        let answer = answer.ok();
        if answer.is_ok() {
            self.deflate = Some(Deflate::new());
        }
        while self.take_piece()? {}
        answer.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Octets that do not compress.
    fn noise(count: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn every_message_can_be_read_whole_as_soon_as_it_was_packed() {
        let (mut here, mut there) = (Deflate::new(), Deflate::new());
        let (small, large) = (b"a1 NOOP\r\n".to_vec(), noise(300_000));
        for octets in [&small, &large, &small, &vec![b'x'; 1_000_000], &noise(PIECE_BYTES)] {
            let mut packed = Vec::new();
            here.pack(octets, &mut packed).unwrap();
            assert!(packed.len() <= octets.len() + octets.len() / 100 + 64);
            let (first, second) = packed.split_at(packed.len() / 3);
            let mut unpacked = Vec::new();
            for part in [first, second] {
                let mut part = part.to_vec();
                loop {
                    let piece = there.unpack(&mut part).unwrap();
                    assert!(piece.len() <= PIECE_BYTES);
                    unpacked.extend_from_slice(&piece);
                    if piece.is_empty() {
                        break;
                    }
                }
                assert!(part.is_empty());
            }
            assert!(unpacked == *octets, "{} octets", octets.len());
        }
    }

    #[test]
    fn what_is_no_deflate_or_comes_behind_its_end_is_an_error() {
        assert!(Deflate::new().unpack(&mut vec![0xff; 9]).is_err());
        // An empty last block, and one octet more.
        assert!(Deflate::new().unpack(&mut vec![3, 0]).is_ok());
        assert!(Deflate::new().unpack(&mut vec![3, 0, 0]).is_err());
    }
}
