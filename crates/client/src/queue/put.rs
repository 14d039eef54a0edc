//! Putting jobs into the queue. Any mail that is delivered to the mailbox is a job as well.

use super::{Marks, Outcome, Queue};
use crate::conversation::NewMessage;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use imap::command::{AppendHead, DateTime, SearchKey};
use imap::number::Uid;

/// A job that is to be put.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewJob {
    /// The message: see [`message`].
    pub octets: Vec<u8>,
    /// 0 to 3, three the most urgent.
    pub priority: u8,
    /// When it is due, seconds since 1970 on the server's clock: its INTERNALDATE.
    pub due: Option<i64>,
}

/// The header field by which jobs are the same.
pub(super) const KEY: &str = "X-Queue-Key";

/// A message around something that is none: text as it is, anything else in base64.
#[must_use]
pub fn message(subject: &str, key: Option<&str>, body: &[u8]) -> Vec<u8> {
    let plain = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let key = key.map(|key| format!("X-Queue-Key: {}\r\n", plain(key))).unwrap_or_default();
    let text = std::str::from_utf8(body).ok().filter(|text| !text.contains('\0'));
    let long = body.split(|b| *b == b'\n').any(|line| line.len() > 998);
    let (kind, encoding, body) = match text.filter(|_| !long) {
        Some(text) => {
            let lines = text.replace("\r\n", "\n").replace('\n', "\r\n");
            ("text/plain; charset=utf-8", "8bit", lines)
        }
        None => {
            let encoded = BASE64_STANDARD.encode(body);
            let lines = encoded.as_bytes().chunks(76).map(String::from_utf8_lossy);
            let lines = lines.map(|line| format!("{line}\r\n")).collect();
            ("application/octet-stream", "base64", lines)
        }
    };
    let head = format!(
        "Subject: {}\r\n{key}MIME-Version: 1.0\r\nContent-Type: {kind}\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n",
        plain(subject),
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// Messages in one APPEND.
const BATCH_MAX: usize = 100;
/// Octets in one APPEND.
const BATCH_BYTES_MAX: usize = 4 << 20;

impl Queue {
    /// Puts jobs; answers their UIDs, as far as the server tells them.
    ///
    /// # Errors
    /// What may end the connection; then some may have been put.
    pub async fn put(&mut self, jobs: &[NewJob]) -> Outcome<Vec<Uid>> {
        let multi = self.connection.has("MULTIAPPEND");
        let mailbox = self.mailbox.clone();
        let mut uids = Vec::new();
        let mut rest = jobs;
        while !rest.is_empty() {
            let mut octets = 0;
            let fits = rest.iter().take_while(|job| {
                octets += job.octets.len();
                octets <= BATCH_BYTES_MAX
            });
            let count = if multi { fits.count().clamp(1, BATCH_MAX) } else { 1 };
            let (batch, after) = rest.split_at(count.min(rest.len()));
            rest = after;
            let messages =
                batch.iter().map(|job| NewMessage { head: head(job), octets: &job.octets });
            let messages: Vec<_> = messages.collect();
            let ticket = self.connection.submit_append(&mailbox, &messages)?;
            let answer = self.answer(ticket).await?.ok()?;
            if let Some((_, put)) = answer.append_uid() {
                uids.extend(put.iter().filter_map(Uid::new));
            }
        }
        Ok(uids)
    }

    /// The jobs with this key that wait or run, by UID.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn with_key(&mut self, key: &str) -> Outcome<Vec<Uid>> {
        let mut keys = super::alphabet::not_done_key();
        keys.push(SearchKey::Header(KEY.into(), key.as_bytes().to_vec()));
        let found = self.search(keys).await?;
        let uids: Vec<Uid> = found.into_iter().filter_map(Uid::new).collect();
        // SEARCH finds parts of a key as well: the headers decide.
        let heads = self.headers(&uids, KEY).await?;
        let same = heads.iter().filter(|(_, head)| key_of(head).as_deref() == Some(key));
        Ok(same.map(|(uid, _)| *uid).collect())
    }
}

/// The key that a message's header gives it.
pub(super) fn key_of(message: &[u8]) -> Option<String> {
    let lines = message.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    for line in lines.take_while(|line| !line.is_empty()) {
        let Some(at) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) = line.split_at(at);
        if name.eq_ignore_ascii_case(KEY.as_bytes()) {
            let value = String::from_utf8_lossy(value.get(1..).unwrap_or_default());
            return Some(value.trim().to_owned());
        }
    }
    None
}

fn head(job: &NewJob) -> AppendHead {
    let marks = Marks { priority: job.priority.min(3), ..Marks::default() };
    let internal_date = job.due.map(|unix| DateTime { unix, zone_minutes: 0 });
    AppendHead { first: None, flags: marks.flags(), internal_date }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_and_anything_else_becomes_base64() {
        let made = String::from_utf8(message("a\r\nb", Some("k 1"), b"one\ntwo\r\n")).unwrap();
        assert!(made.starts_with("Subject: ab\r\nX-Queue-Key: k 1\r\n"), "{made}");
        assert!(made.ends_with("8bit\r\n\r\none\r\ntwo\r\n"), "{made}");
        assert_eq!(key_of(made.as_bytes()).as_deref(), Some("k 1"));
        for body in [&b"\0"[..], &[0xff; 200], &[b'x'; 2000]] {
            let made = String::from_utf8(message("x", None, body)).unwrap();
            assert!(made.contains("base64\r\n\r\n"));
            assert!(made.lines().all(|line| line.len() < 100));
            assert_eq!(key_of(made.as_bytes()), None);
        }
    }

    #[test]
    fn a_key_is_the_headers_and_not_the_bodys() {
        assert_eq!(key_of(b"x-QUEUE-key:  a b \r\n\r\n").as_deref(), Some("a b"));
        assert_eq!(key_of(b"Subject: x\n\nX-Queue-Key: no\n"), None);
    }
}
