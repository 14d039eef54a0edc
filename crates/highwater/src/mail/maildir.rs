//! Maildir and Maildir++: a directory with a file per message, folders beside or below it.
//!
//! # Invariants
//! - Only names are kept in memory, never messages; `tmp` is never read.
//! - A message is known by its folder and the unique part of its file name, which no flag changes.

use std::collections::VecDeque;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use imap::command::DateTime;

use super::{BadMessage, FiledMessage, at, keyword, with_crlf};

/// How deep folders may lie in each other.
const DEPTH_MAX: usize = 32;

/// Reads a Maildir with all its folders.
pub(crate) struct MaildirReader {
    folders: VecDeque<Folder>,
    len: u64,
    len_max: u64,
    done: u64,
}

struct Folder {
    /// Below the root, levels separated by `/`; empty for the root.
    name: String,
    /// The names behind the letters a to z, by Dovecot's `dovecot-keywords`.
    keywords: Vec<Option<String>>,
    messages: VecDeque<PathBuf>,
}

impl MaildirReader {
    pub(super) fn open(root: &Path, len_max: u64) -> Result<Self, BadMessage> {
        let mut reader = Self { folders: VecDeque::new(), len: 0, len_max, done: 0 };
        reader.add_folders(root, "", 0).map_err(|error| BadMessage {
            position: root.display().to_string(),
            why: error.to_string(),
        })?;
        if reader.folders.is_empty() {
            return Err(BadMessage {
                position: root.display().to_string(),
                why: "expected a Maildir: a directory with `cur` and `new` in it".into(),
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

    fn add_folders(&mut self, directory: &Path, name: &str, depth: usize) -> std::io::Result<()> {
        if directory.join("cur").is_dir() {
            self.add_folder(directory, name)?;
        }
        let mut below: Vec<_> = fs::read_dir(directory)?
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !matches!(name.as_str(), "cur" | "new" | "tmp"))
            .collect();
        below.sort();
        for folder in below.iter().filter(|_| depth < DEPTH_MAX) {
            let path = directory.join(folder);
            let readable = decoded(
                folder
                    .strip_prefix('.')
                    .map_or_else(|| folder.clone(), |levels| levels.replace('.', "/")),
            );
            let full = if name.is_empty() { readable } else { format!("{name}/{readable}") };
            self.add_folders(&path, &full, depth + 1)?;
        }
        Ok(())
    }

    fn add_folder(&mut self, directory: &Path, name: &str) -> std::io::Result<()> {
        let mut messages = Vec::new();
        for part in ["cur", "new"] {
            let part = directory.join(part);
            if !part.is_dir() {
                continue;
            }
            for entry in fs::read_dir(part)? {
                let entry = entry?;
                let metadata = fs::metadata(entry.path());
                let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                if hidden || metadata.as_ref().is_ok_and(|metadata| !metadata.is_file()) {
                    continue;
                }
                self.len += metadata.map_or(0, |metadata| metadata.len());
                messages.push((order(&entry.file_name().to_string_lossy()), entry.path()));
            }
        }
        messages.sort();
        let keywords = fs::read_to_string(directory.join("dovecot-keywords"))
            .map_or_else(|_| Vec::new(), |text| keywords(&text));
        let messages = messages.into_iter().map(|(_, path)| path).collect();
        self.folders.push_back(Folder { name: name.into(), keywords, messages });
        Ok(())
    }

    pub(super) fn next_message(&mut self) -> Option<Result<FiledMessage, BadMessage>> {
        loop {
            let folder = self.folders.front_mut()?;
            let Some(path) = folder.messages.pop_front() else {
                self.folders.pop_front();
                continue;
            };
            let read = read(&path, folder, self.len_max);
            self.done += fs::metadata(&path).map_or(0, |metadata| metadata.len());
            let bad = |why| BadMessage { position: path.display().to_string(), why };
            return Some(read.map_err(bad));
        }
    }
}

fn read(path: &Path, folder: &Folder, len_max: u64) -> Result<FiledMessage, String> {
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    let file = fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mut octets = Vec::new();
    file.take(len_max + 1).read_to_end(&mut octets).map_err(failed)?;
    if octets.len() as u64 > len_max {
        return Err(format!("the message is longer than {len_max} octets"));
    }
    if octets.is_empty() {
        return Err("the file is empty".into());
    }
    let modified = metadata.modified().map_err(failed)?;
    let unix = match modified.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(0),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(0),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (unique, letters) = split_name(&name);
    let directory = path.parent().and_then(Path::parent).unwrap_or(path);
    Ok(FiledMessage {
        folder: folder.name.clone(),
        position: at(directory, unique),
        flags: letters.chars().filter_map(|letter| flag(letter, &folder.keywords)).collect(),
        date: Some(DateTime { unix, zone_minutes: 0 }),
        octets: with_crlf(octets),
    })
}

/// The unique part of a file name, and the flag letters behind `:2,` (`!` or `;` where `:` cannot be).
fn split_name(name: &str) -> (&str, &str) {
    [":2,", "!2,", ";2,"].iter().find_map(|mark| name.rsplit_once(mark)).unwrap_or((name, ""))
}

/// In what order messages arrived: by the seconds that a name begins with, then by name.
fn order(name: &str) -> (u64, String) {
    let digits: String = name.chars().take_while(char::is_ascii_digit).collect();
    (digits.parse().unwrap_or(u64::MAX), name.to_owned())
}

fn flag(letter: char, keywords: &[Option<String>]) -> Option<String> {
    let system = match letter {
        'D' => "\\Draft",
        'F' => "\\Flagged",
        'P' => "$Forwarded",
        'R' => "\\Answered",
        'S' => "\\Seen",
        'T' => "\\Deleted",
        'a'..='z' => {
            let index = usize::try_from(u32::from(letter) - u32::from('a')).ok()?;
            return keywords.get(index)?.clone();
        }
        _ => return None,
    };
    Some(system.to_owned())
}

/// `dovecot-keywords`: lines with a number from 0 and a keyword.
fn keywords(text: &str) -> Vec<Option<String>> {
    let mut names = vec![None; 26];
    for line in text.lines() {
        let Some((index, name)) = line.split_once(' ') else { continue };
        let slot = index.parse::<usize>().ok().and_then(|index| names.get_mut(index));
        if let Some(slot) = slot {
            *slot = keyword(name.trim());
        }
    }
    names
}

/// Maildir++ writes names in modified UTF-7; some programs write UTF-8.
fn decoded(name: String) -> String {
    imap::utf7::decode(name.as_bytes()).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn all(root: &Path) -> Vec<Result<FiledMessage, BadMessage>> {
        let mut reader = MaildirReader::open(root, 100).unwrap();
        std::iter::from_fn(|| reader.next_message()).collect()
    }

    #[test]
    fn folders_flags_and_keywords_are_read() {
        let root = tempfile::tempdir().unwrap();
        file(root.path(), "cur/10.a:2,FSa", "A: 1\n\n");
        file(root.path(), "new/9.b", "B: 1\n\n");
        file(root.path(), "tmp/1.c", "C: 1\n\n");
        file(root.path(), "dovecot-keywords", "0 $Work\n1 (bad\n");
        file(root.path(), ".Archive.2024/cur/1.x:2,RTPD", "X: 1\n\n");
        file(root.path(), "Nested/Deep/cur/2.y:2,", "Y: 1\n\n");
        let messages: Vec<_> = all(root.path()).into_iter().map(Result::unwrap).collect();
        let seen: Vec<_> = messages
            .iter()
            .map(|message| (message.folder.as_str(), message.flags.join(" ")))
            .collect();
        assert_eq!(
            seen,
            [
                ("", String::new()),
                ("", "\\Flagged \\Seen $Work".into()),
                ("Archive/2024", "\\Answered \\Deleted $Forwarded \\Draft".into()),
                ("Nested/Deep", String::new()),
            ]
        );
        assert!(messages[1].position.ends_with(":10.a"), "{}", messages[1].position);
        assert_eq!(messages[1].octets, b"A: 1\r\n\r\n");
    }

    #[test]
    fn a_bad_file_is_named_and_the_next_is_read() {
        let root = tempfile::tempdir().unwrap();
        file(root.path(), "cur/1.a:2,", "");
        file(root.path(), "cur/2.b:2,", &"x".repeat(101));
        file(root.path(), "cur/3.c:2,", "C: 1\n\n");
        let messages = all(root.path());
        assert!(messages[0].as_ref().unwrap_err().position.contains("1.a"));
        assert!(messages[1].as_ref().unwrap_err().why.contains("longer"));
        assert!(messages[2].is_ok());
    }

    #[test]
    fn a_directory_without_maildir_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert!(MaildirReader::open(root.path(), 1).err().unwrap().why.contains("Maildir"));
    }
}
