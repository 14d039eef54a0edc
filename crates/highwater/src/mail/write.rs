//! Mail written to files: mbox (mboxrd) or Maildir++, with flags, keywords and dates.
//!
//! # Invariants
//! - A file that stands there already is never overwritten.
//! - A Maildir message appears whole or not at all: it is written in `tmp` and renamed into `cur`.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use imap::command::DateTime;
use time::OffsetDateTime;

/// How exported mail is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Format {
    /// One file per mailbox; flags go into Status, X-Status and X-Keywords headers at the top.
    Mbox,
    /// One file per message; lossless but for more than 26 keywords in a folder.
    Maildir,
}

/// A message to write.
pub(crate) struct Exported<'a> {
    /// Its mailbox.
    pub(crate) mailbox: &'a str,
    /// Its number there, which makes its name unique.
    pub(crate) uid: u32,
    /// Flags and keywords as IMAP writes them.
    pub(crate) flags: &'a [String],
    /// When it arrived.
    pub(crate) date: DateTime,
    /// Its octets.
    pub(crate) octets: &'a [u8],
}

/// Writes messages below a directory.
pub(crate) struct Exporter {
    format: Format,
    root: PathBuf,
    mboxes: HashMap<String, BufWriter<File>>,
    folders: HashMap<String, Vec<String>>,
    /// Keywords that found no letter.
    pub(crate) keywords_lost: u64,
}

impl Exporter {
    /// Writes below this directory, which is made now and must be empty.
    pub(crate) fn create(format: Format, root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("{} cannot be made", root.display()))?;
        let mut entries =
            fs::read_dir(root).with_context(|| format!("{} cannot be read", root.display()))?;
        if entries.next().is_some() {
            anyhow::bail!("{} is not empty: name a directory that is new", root.display());
        }
        let (mboxes, folders) = (HashMap::new(), HashMap::new());
        Ok(Self { format, root: root.into(), mboxes, folders, keywords_lost: 0 })
    }

    /// Writes one message.
    pub(crate) fn write(&mut self, message: &Exported<'_>) -> Result<()> {
        let written = match self.format {
            Format::Mbox => self.write_mbox(message),
            Format::Maildir => self.write_maildir(message),
        };
        written.with_context(|| format!("message {} of {}", message.uid, message.mailbox))
    }

    /// Writes what is still in memory.
    pub(crate) fn finish(mut self) -> Result<()> {
        for (_, mut mbox) in self.mboxes.drain() {
            mbox.flush()?;
            mbox.get_ref().sync_all()?;
        }
        Ok(())
    }

    fn write_mbox(&mut self, message: &Exported<'_>) -> Result<()> {
        let name = message.mailbox;
        if !self.mboxes.contains_key(name) {
            let path = self.root.join(format!("{}.mbox", file_name(name)));
            let file = OpenOptions::new().write(true).create_new(true).open(&path);
            let file = file.with_context(|| format!("{} cannot be made", path.display()))?;
            self.mboxes.insert(name.into(), BufWriter::new(file));
        }
        let Some(out) = self.mboxes.get_mut(name) else { return Ok(()) };
        let date = OffsetDateTime::from_unix_timestamp(message.date.unix)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (weekday, month) = (date.weekday().to_string(), date.month().to_string());
        writeln!(
            out,
            "From highwater {} {} {:2} {:02}:{:02}:{:02} {}",
            weekday.get(..3).unwrap_or_default(),
            month.get(..3).unwrap_or_default(),
            date.day(),
            date.hour(),
            date.minute(),
            date.second(),
            date.year()
        )?;
        write_status(out, message.flags)?;
        let mut ended = true;
        for line in lf_lines(message.octets) {
            let marks = line.iter().take_while(|&&octet| octet == b'>').count();
            if line.get(marks..).is_some_and(|rest| rest.starts_with(b"From ")) {
                out.write_all(b">")?;
            }
            out.write_all(&line)?;
            ended = line.ends_with(b"\n");
        }
        out.write_all(if ended { b"\n" } else { b"\n\n" })?;
        Ok(())
    }

    fn write_maildir(&mut self, message: &Exported<'_>) -> Result<()> {
        let folder = self.root.join(match message.mailbox {
            "INBOX" => String::new(),
            name => format!(".{}", imap::utf7::encode(&name.replace('.', "_")).replace('/', ".")),
        });
        if !self.folders.contains_key(message.mailbox) {
            for part in ["cur", "new", "tmp"] {
                fs::create_dir_all(folder.join(part))?;
            }
            self.folders.insert(message.mailbox.into(), Vec::new());
        }
        let letters = self.letters(message, &folder)?;
        let unique = format!("{}.M{}.highwater", message.date.unix.max(0), message.uid);
        let unfinished = folder.join("tmp").join(&unique);
        let mut file = OpenOptions::new().write(true).create_new(true).open(&unfinished)?;
        for line in lf_lines(message.octets) {
            file.write_all(&line)?;
        }
        let seconds = u64::try_from(message.date.unix).unwrap_or(0);
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds))?;
        fs::rename(&unfinished, folder.join("cur").join(format!("{unique}:2,{letters}")))?;
        Ok(())
    }

    /// The flags as letters in ASCII order; a keyword's letter is noted in `dovecot-keywords`.
    fn letters(&mut self, message: &Exported<'_>, folder: &Path) -> Result<String> {
        let Some(known) = self.folders.get_mut(message.mailbox) else { return Ok(String::new()) };
        let (mut letters, before) = (Vec::new(), known.len());
        for flag in message.flags {
            let letter = match flag.as_str() {
                "\\Draft" => b'D',
                "\\Flagged" => b'F',
                "$Forwarded" => b'P',
                "\\Answered" => b'R',
                "\\Seen" => b'S',
                "\\Deleted" => b'T',
                keyword => {
                    let place = known.iter().position(|name| name == keyword);
                    let place = place.unwrap_or(known.len());
                    let Some(letter) = (b'a'..=b'z').nth(place) else {
                        self.keywords_lost += 1;
                        continue;
                    };
                    if place == known.len() {
                        known.push(keyword.into());
                    }
                    letter
                }
            };
            letters.push(letter);
        }
        if known.len() > before {
            let lines = known.iter().enumerate().map(|(at, name)| format!("{at} {name}\n"));
            fs::write(folder.join("dovecot-keywords"), lines.collect::<String>())?;
        }
        letters.sort_unstable();
        Ok(letters.into_iter().map(char::from).collect())
    }
}

/// `Status`, `X-Status` and `X-Keywords` as mail programs write them.
fn write_status(out: &mut impl std::io::Write, flags: &[String]) -> std::io::Result<()> {
    let has = |flag: &str| flags.iter().any(|name| name == flag);
    let (mut status, mut keywords) = (String::new(), String::new());
    for (flag, letter) in
        [("\\Answered", 'A'), ("\\Flagged", 'F'), ("\\Draft", 'T'), ("\\Deleted", 'D')]
    {
        if has(flag) {
            status.push(letter);
        }
    }
    for keyword in flags.iter().filter(|flag| !flag.starts_with('\\')) {
        keywords.push(' ');
        keywords.push_str(keyword);
    }
    writeln!(out, "Status: {}", if has("\\Seen") { "RO" } else { "O" })?;
    if !status.is_empty() {
        writeln!(out, "X-Status: {status}")?;
    }
    if !keywords.is_empty() {
        writeln!(out, "X-Keywords:{keywords}")?;
    }
    Ok(())
}

/// The lines, each CRLF at an end become LF, as files on this system have it.
fn lf_lines(octets: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    octets.split_inclusive(|&octet| octet == b'\n').map(|line| match line.strip_suffix(b"\r\n") {
        Some(text) => [text, b"\n"].concat(),
        None => line.to_vec(),
    })
}

/// A mailbox name as one file name: `/` and what is special at the start are written as `%` with hex digits.
fn file_name(mailbox: &str) -> String {
    let mut out = String::with_capacity(mailbox.len());
    for (at, c) in mailbox.chars().enumerate() {
        match c {
            '/' => out.push_str("%2F"),
            '%' => out.push_str("%25"),
            '.' if at == 0 => out.push_str("%2E"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Source, mbox::Quoting};

    fn round_trip(format: Format, file: &str) -> Vec<crate::mail::FiledMessage> {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().join("out");
        let mut exporter = Exporter::create(format, &root).unwrap();
        let flags = ["\\Seen".to_owned(), "\\Flagged".into(), "$Work".into()];
        let date = DateTime { unix: 86_400, zone_minutes: 0 };
        for (uid, octets) in
            [(1, &b"A: 1\r\n\r\nFrom x\r\n>From y\r\n"[..]), (2, b"B: 2\r\n\r\nend\r\n")]
        {
            let mailbox = "INBOX";
            exporter.write(&Exported { mailbox, uid, flags: &flags, date, octets }).unwrap();
        }
        exporter.finish().unwrap();
        assert!(Exporter::create(format, &root).is_err());
        let mut source = Source::open(&root.join(file), Quoting::Mboxrd, 1000).unwrap();
        std::iter::from_fn(|| source.next_message()).map(Result::unwrap).collect()
    }

    #[test]
    fn a_maildir_comes_back_octet_for_octet() {
        let messages = round_trip(Format::Maildir, "");
        assert_eq!(messages[0].octets, b"A: 1\r\n\r\nFrom x\r\n>From y\r\n");
        assert_eq!(messages[1].octets, b"B: 2\r\n\r\nend\r\n");
        assert_eq!(messages[0].flags, ["\\Flagged", "\\Seen", "$Work"]);
        assert_eq!(messages[0].date, Some(DateTime { unix: 86_400, zone_minutes: 0 }));
    }

    #[test]
    fn an_mbox_comes_back_with_its_status_on_top() {
        let messages = round_trip(Format::Mbox, "INBOX.mbox");
        assert_eq!(
            messages[0].octets,
            b"Status: RO\r\nX-Status: F\r\nX-Keywords: $Work\r\nA: 1\r\n\r\nFrom x\r\n>From y\r\n"
        );
        assert_eq!(messages[0].flags, ["$Work", "\\Flagged", "\\Seen"]);
        assert_eq!(messages[1].date, Some(DateTime { unix: 86_400, zone_minutes: 0 }));
    }

    #[test]
    fn mailbox_names_become_single_file_names() {
        assert_eq!(file_name("../a/b%"), "%2E.%2Fa%2Fb%25");
    }
}
