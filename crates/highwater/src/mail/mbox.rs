//! mbox files: one file, messages after `From ` lines.
//!
//! # Invariants
//! - A message begins at a `From ` line at the start of the file or after an empty line, nowhere else; in a
//!   file whose first `From ` line has a date, only at one that has a date.
//! - One empty line before the next `From ` line belongs to the file, not to the message.
//! - `Status`, `X-Status` and `X-Keywords` are read as flags and left where they are.
//!
//! # Standards
//! RFC 4155 (the default mbox format), and the mboxrd and mboxo ways of quoting.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use imap::command::DateTime;
use time::{Date, Month};

use super::{BadMessage, FiledMessage, at, keyword, with_crlf};

/// The longest line that is kept as one; a longer one is read in pieces.
const LINE_PIECE_MAX: u64 = 64 * 1024;

/// How lines that look like `From ` lines were quoted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub(crate) enum Quoting {
    /// One `>` was put before every `From `, `>From `, `>>From ` …
    #[default]
    Mboxrd,
    /// One `>` was put before `From ` alone.
    Mboxo,
}

/// Reads an mbox file.
pub(crate) struct MboxReader {
    file: PathBuf,
    input: BufReader<File>,
    quoting: Quoting,
    len: u64,
    len_max: u64,
    done: u64,
    /// The `From ` line that has been read already, and its offset.
    from_line: Option<(Vec<u8>, u64)>,
    /// Whether a `From ` line without a date is text.
    dated: bool,
}

impl MboxReader {
    pub(super) fn open(path: &Path, quoting: Quoting, len_max: u64) -> Result<Self, BadMessage> {
        let bad = |why: String| BadMessage { position: path.display().to_string(), why };
        let file = File::open(path).map_err(|error| bad(error.to_string()))?;
        let len = file.metadata().map_err(|error| bad(error.to_string()))?.len();
        let mut reader = Self {
            file: path.into(),
            input: BufReader::with_capacity(256 * 1024, file),
            quoting,
            len,
            len_max,
            done: 0,
            from_line: None,
            dated: false,
        };
        let first = reader.piece().map_err(|error| bad(error.to_string()))?;
        if first.starts_with(b"From ") {
            reader.dated = date_of(&String::from_utf8_lossy(&first)).is_some();
            reader.from_line = Some((first, 0));
        } else if !first.is_empty() {
            return Err(BadMessage {
                position: at(path, 0),
                why: "expected a line that begins with `From `: this is no mbox file".into(),
            });
        }
        Ok(reader)
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// A line with its end, or a piece of a very long one; empty at the end of the file.
    fn piece(&mut self) -> std::io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let read = (&mut self.input).take(LINE_PIECE_MAX).read_until(b'\n', &mut line)?;
        self.done += read as u64;
        Ok(line)
    }

    pub(super) fn next_message(&mut self) -> Option<Result<FiledMessage, BadMessage>> {
        let (from_line, offset) = self.from_line.take()?;
        let position = at(&self.file, offset);
        let bad = |why| Some(Err(BadMessage { position: position.clone(), why }));
        let octets = match self.read_body() {
            Ok(Some(octets)) => octets,
            Ok(None) => return bad(format!("the message is longer than {} octets", self.len_max)),
            Err(error) => return bad(format!("cannot be read: {error}")),
        };
        if octets.is_empty() {
            return bad("there is no message after the `From ` line".into());
        }
        Some(Ok(FiledMessage {
            folder: String::new(),
            position: at(&self.file, offset),
            flags: flags_in_header(&octets),
            date: date_of(&String::from_utf8_lossy(&from_line)),
            octets: with_crlf(octets),
        }))
    }

    /// Reads up to the next `From ` line; `None` when the message is too long.
    fn read_body(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut octets = Vec::new();
        let (mut empty_before, mut line_start, mut too_long) = (false, true, false);
        loop {
            let offset = self.done;
            let piece = self.piece()?;
            let from = line_start && empty_before && self.is_from_line(&piece);
            if piece.is_empty() || from {
                self.from_line = from.then_some((piece, offset));
                break;
            }
            let empty = line_start && matches!(piece.as_slice(), b"\n" | b"\r\n");
            let quoted = line_start && self.is_quoted(&piece);
            line_start = piece.ends_with(b"\n");
            empty_before = empty;
            too_long |= (octets.len() + piece.len()) as u64 > self.len_max;
            if !too_long {
                octets.extend_from_slice(piece.get(usize::from(quoted)..).unwrap_or_default());
            }
        }
        if too_long {
            return Ok(None);
        }
        if empty_before {
            let end = if octets.ends_with(b"\r\n") { 2 } else { 1 };
            octets.truncate(octets.len().saturating_sub(end));
        }
        Ok(Some(octets))
    }

    fn is_from_line(&self, line: &[u8]) -> bool {
        line.starts_with(b"From ")
            && (!self.dated || date_of(&String::from_utf8_lossy(line)).is_some())
    }

    fn is_quoted(&self, line: &[u8]) -> bool {
        let marks = line.iter().take_while(|&&octet| octet == b'>').count();
        let enough = match self.quoting {
            Quoting::Mboxrd => marks >= 1,
            Quoting::Mboxo => marks == 1,
        };
        enough && line.get(marks..).is_some_and(|rest| rest.starts_with(b"From "))
    }
}

/// The flags that `Status`, `X-Status` and `X-Keywords` tell.
fn flags_in_header(octets: &[u8]) -> Vec<String> {
    let mut flags = Vec::new();
    for line in octets.split(|&octet| octet == b'\n') {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        let Some((name, value)) = line.split_once(':') else {
            if line.is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "status" | "x-status" => {
                flags.extend(value.chars().filter_map(status_flag).map(str::to_owned));
            }
            "x-keywords" => flags.extend(value.split_whitespace().filter_map(keyword)),
            _ => {}
        }
    }
    flags.sort();
    flags.dedup();
    flags
}

fn status_flag(letter: char) -> Option<&'static str> {
    match letter {
        'R' => Some("\\Seen"),
        'A' => Some("\\Answered"),
        'F' => Some("\\Flagged"),
        'D' => Some("\\Deleted"),
        'T' => Some("\\Draft"),
        _ => None,
    }
}

/// The date at the end of a `From ` line: `Sat Jan  3 01:05:34 1996`, with a zone before or after the
/// year in some programs' files.
fn date_of(from_line: &str) -> Option<DateTime> {
    let words: Vec<_> = from_line.split_whitespace().collect();
    let (at, month) = words
        .iter()
        .enumerate()
        .rev()
        .find_map(|(at, word)| month(word).map(|month| (at, month)))?;
    let day = words.get(at + 1)?.parse().ok()?;
    let mut clock = words.get(at + 2)?.split(':').map(str::parse::<u8>);
    let hour = clock.next()?.ok()?;
    let minute = clock.next()?.ok()?;
    let second = clock.next().transpose().ok()?.unwrap_or(0);
    let rest = words.get(at + 3..)?;
    let year = rest.iter().find_map(|word| word.parse::<u16>().ok().filter(|_| word.len() == 4))?;
    let zone_minutes = rest.iter().find_map(|word| zone(word)).unwrap_or(0);
    let date = Date::from_calendar_date(year.into(), month, day).ok()?;
    let unix = date.with_hms(hour, minute, second.min(59)).ok()?.assume_utc().unix_timestamp();
    Some(DateTime { unix: unix - i64::from(zone_minutes) * 60, zone_minutes })
}

fn month(word: &str) -> Option<Month> {
    const NAMES: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let at = (word.len() == 3).then(|| NAMES.find(word)).flatten()?;
    Month::try_from(u8::try_from(at / 3).ok()? + 1).ok()
}

fn zone(word: &str) -> Option<i16> {
    let (sign, digits) = match word.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let number: i16 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    let minutes = number / 100 * 60 + number % 100;
    (number % 100 < 60 && minutes < 24 * 60).then_some(sign * minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, quoting: Quoting) -> Vec<Result<FiledMessage, BadMessage>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut reader = MboxReader::open(file.path(), quoting, 1000).unwrap();
        std::iter::from_fn(|| reader.next_message()).collect()
    }

    #[test]
    fn messages_come_with_flags_dates_and_crlf() {
        let text = "From a@b Thu Jan  1 00:01:00 1970\nSubject: x\nStatus: RO\nX-Status: AF\n\
                    X-Keywords: $Work bad(word\n\nFrom here on\n\nFrom c Fri Jan 02 00:00:00 +0100 1970\n\
                    Subject: y\n\ntwo\n\n\n";
        let messages: Vec<_> =
            read(text, Quoting::Mboxrd).into_iter().map(Result::unwrap).collect();
        let [one, two] = messages.as_slice() else { panic!("{messages:?}") };
        assert_eq!(one.flags, ["$Work", "\\Answered", "\\Flagged", "\\Seen"]);
        assert_eq!(one.date, Some(DateTime { unix: 60, zone_minutes: 0 }));
        assert!(one.octets.ends_with(b"\r\n\r\nFrom here on\r\n"));
        assert_eq!(two.date, Some(DateTime { unix: 86_400 - 3600, zone_minutes: 60 }));
        assert_eq!(two.octets, b"Subject: y\r\n\r\ntwo\r\n\r\n");
    }

    #[test]
    fn quoted_from_lines_lose_one_mark() {
        let text = "From a\nS: x\n\n>From b\n>>From c\n> From d\n";
        let body = |quoting| {
            let octets = read(text, quoting).remove(0).unwrap().octets;
            String::from_utf8(octets).unwrap()
        };
        assert_eq!(body(Quoting::Mboxrd), "S: x\r\n\r\nFrom b\r\n>From c\r\n> From d\r\n");
        assert_eq!(body(Quoting::Mboxo), "S: x\r\n\r\nFrom b\r\n>>From c\r\n> From d\r\n");
    }

    #[test]
    fn a_bad_message_is_named_and_the_next_is_read() {
        let text = format!("From a\nS: x\n\n{}\n\nFrom b\nS: y\n\nz\n", "x".repeat(1000));
        let messages = read(&text, Quoting::Mboxrd);
        let bad = messages[0].as_ref().unwrap_err();
        assert!(bad.position.ends_with(":0") && bad.why.contains("longer than 1000"), "{bad}");
        assert_eq!(messages[1].as_ref().unwrap().octets, b"S: y\r\n\r\nz\r\n");
    }

    #[test]
    fn a_file_without_from_line_is_no_mbox() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "Subject: x\n").unwrap();
        let error = MboxReader::open(file.path(), Quoting::Mboxrd, 9).err().unwrap();
        assert!(error.to_string().contains("no mbox"), "{error}");
    }

    #[test]
    fn dates_that_are_none_are_none() {
        for line in ["From ", "From x Foo Jan", "From x Jan 99 00:00:00 2000", "From Jan 1 1 2000"]
        {
            assert_eq!(date_of(line), None, "{line}");
        }
    }
}
