//! Entry points for fuzzing: each takes any octets and asserts what must hold of them.
//!
//! # Invariants
//! - None of these fails or panics on any input.

use crate::command::{AppendHead, CommandBody, FetchSection, SectionLabel, SectionText};
use crate::command_encode::{self, Literals};
use crate::frame::{Frame, Framer, Limits};
use crate::lmtp::{self, DotStream};
use crate::message::{Piece, Structure, analyse, searchable_text};
use crate::parse::{self, Cursor, DecodeError};
use crate::response::{self, ResponseFramer, ResponseLimits, Value};
use crate::{date, pattern, utf7};

/// What an entry point is.
pub type Entry = fn(&[u8]);

/// All entry points with their names.
pub const ENTRIES: [(&str, Entry); 8] = [
    ("commands", commands),
    ("responses", responses),
    ("names", names),
    ("patterns", patterns),
    ("dates", dates),
    ("messages", messages),
    ("structures", structures),
    ("lmtp", lmtp),
];

/// Frames and commands: frames do not depend on how the octets are cut, and commands come back when written.
///
/// # Panics
/// When that does not hold.
pub fn commands(octets: &[u8]) {
    let Some((size, octets)) = octets.split_first() else { return };
    let whole = frames(&[octets]);
    let cut: Vec<&[u8]> = octets.chunks(usize::from(*size).max(1)).collect();
    assert_eq!(whole, frames(&cut), "frames depend on how octets are cut");
    for frame in &whole {
        match frame {
            Frame::Command(command) => check_command(command),
            Frame::Message(start) => check_append_head(&start.head),
            _ => {}
        }
    }
}

/// What parses is written and parses again as the same; an error lies within the command.
fn check_command(octets: &[u8]) {
    match parse::command(octets) {
        Ok(command) => {
            // Only a flag that SEARCH MODSEQ names and nobody knows cannot be said again.
            let Ok(encoded) = command_encode::command(&command, Literals::NonSynchronising) else {
                assert!(matches!(command.body, CommandBody::Search(_)), "a command that is lost");
                return;
            };
            let line = encoded.octets.strip_suffix(b"\r\n").unwrap_or(&encoded.octets);
            assert_eq!(parse::command(line), Ok(command), "another command");
        }
        Err(error) => {
            let DecodeError { at, expected } = error.error;
            assert!(at <= octets.len() && !expected.is_empty(), "an error outside the command");
        }
    }
}

/// What precedes a message is written and read again as the same.
fn check_append_head(head: &AppendHead) {
    let encoded = command_encode::append_head(head, 5, Literals::NonSynchronising);
    let text = encoded.as_ref().ok().and_then(|encoded| encoded.octets.strip_suffix(b"{5+}\r\n"));
    let again = text.map(|text| parse::append_head(text, head.first.is_some()));
    assert_eq!(again.as_ref(), Some(&Ok(head.clone())), "another head");
}

/// All frames, with messages accepted and their octets joined.
fn frames(pieces: &[&[u8]]) -> Vec<Frame> {
    let limits = Limits { line_bytes_max: 1000, command_bytes_max: 2000, ..Limits::default() };
    let mut framer = Framer::new(limits);
    let (mut frames, mut message) = (Vec::new(), Vec::new());
    for piece in pieces {
        framer.push(piece);
        while let Some(frame) = framer.next() {
            match frame {
                Frame::Message(_) => framer.accept_message(),
                Frame::MessageData(ref data) => {
                    message.extend_from_slice(data);
                    continue;
                }
                Frame::MessageEnd => {
                    frames.push(Frame::MessageData(std::mem::take(&mut message).into()));
                }
                _ => {}
            }
            frames.push(frame);
        }
    }
    frames
}

/// Responses: they do not depend on how the octets are cut, and an error lies within the response.
///
/// # Panics
/// When that does not hold.
pub fn responses(octets: &[u8]) {
    let Some((size, octets)) = octets.split_first() else { return };
    let limits =
        ResponseLimits { text_bytes_max: 1000, literal_bytes_max: 500, response_bytes_max: 2000 };
    let framed = |size: usize| {
        let mut framer = ResponseFramer::new(limits);
        let mut framed = Vec::new();
        for piece in octets.chunks(size) {
            framer.push(piece);
            while let Some(response) = framer.next() {
                framed.push(response);
            }
        }
        framed
    };
    let whole = framed(octets.len().max(1));
    assert_eq!(whole, framed(usize::from(*size).max(1)), "responses depend on how octets are cut");
    for response in whole.iter().flatten() {
        if let Err(DecodeError { at, expected }) = response::parse(response) {
            assert!(at <= response.len() && !expected.is_empty(), "an error outside the response");
        }
    }
}

/// Modified UTF-7: what decodes comes back, and is the only form of its name in printable US-ASCII.
///
/// # Panics
/// When that does not hold.
pub fn names(octets: &[u8]) {
    if let Ok(name) = utf7::decode(octets) {
        let encoded = utf7::encode(&name);
        assert_eq!(utf7::decode(encoded.as_bytes()).as_ref(), Ok(&name), "a name that changes");
        if octets.iter().all(|b| matches!(b, b' '..=b'~')) {
            assert_eq!(encoded.as_bytes(), octets, "a name in two forms");
        }
        assert!(pattern::matches("*", &name, '/'), "a name that * does not match");
        assert_eq!(pattern::matches("%", &name, '/'), !name.contains('/'), "% and the delimiter");
    }
}

/// Patterns: a pattern and a name, cut at the first NUL, match as the definition says.
///
/// # Panics
/// When that does not hold.
pub fn patterns(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    let Some((pattern, name)) = text.split_once('\0') else { return };
    let matched = pattern::matches(pattern, name, '/');
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
    // The definition takes exponential time.
    if pattern.iter().filter(|ch| matches!(ch, '*' | '%')).count() <= 4 && name.len() <= 20 {
        assert_eq!(matched, matches_by_definition(&pattern, &name), "another match");
    }
}

fn matches_by_definition(pattern: &[char], name: &[char]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((wild @ ('*' | '%'), behind)), rest) => {
            let skips = |(ch, after): (&char, &[char])| {
                (*wild == '*' || *ch != '/') && matches_by_definition(pattern, after)
            };
            matches_by_definition(behind, name) || rest.is_some_and(skips)
        }
        (Some((wanted, behind)), rest) => {
            rest.is_some_and(|(ch, after)| ch == wanted && matches_by_definition(behind, after))
        }
    }
}

/// Dates and times: what is read is written as what is read as the same again; days likewise.
///
/// # Panics
/// When that does not hold.
pub fn dates(octets: &[u8]) {
    let quoted = [b"\"", octets, b"\""].concat();
    if let Ok(moment) = date::date_time(&mut Cursor::new(&quoted)) {
        let again = date::date_time(&mut Cursor::new(&moment.octets()));
        assert_eq!(again, Ok(moment), "another moment");
    }
    if let Ok(day) = date::date(&mut Cursor::new(octets)) {
        let text = day.text().unwrap_or_default();
        assert_eq!(date::date(&mut Cursor::new(text.as_bytes())), Ok(day), "another day");
    }
}

/// Messages: header and body are all of the message, its parts lie inside it, what goes on the wire is well formed,
/// and the stored form comes back.
///
/// # Panics
/// When that does not hold.
pub fn messages(octets: &[u8]) {
    let structure = analyse(octets);
    let stored = structure.as_bytes();
    assert_eq!(Structure::from_bytes(stored).as_ref(), Ok(&structure), "another structure");
    let section = |text| {
        let label = SectionLabel::Body;
        let section = FetchSection { label, part: Vec::new(), text, partial: None, peek: true };
        match structure.section(&section) {
            Some(Piece::Octets(range)) => range,
            _ => 0..0,
        }
    };
    let (header, text) = (section(SectionText::Header), section(SectionText::Text));
    assert_eq!((header.start, header.end, text.end), (0, text.start, octets.len() as u64));
    let envelope = value(structure.envelope());
    assert_eq!(envelope.list().map(<[Value]>::len), Some(10), "an envelope has ten fields");
    for body in [structure.body(), structure.bodystructure()] {
        assert!(value(body).list().is_some(), "a body that is no list");
    }
    parts_lie_inside(&structure, &mut Vec::new(), octets.len() as u64, &mut 1000);
    let _ = searchable_text(octets, true);
}

/// The value that the octets must be.
fn value(octets: &[u8]) -> Value {
    let value = Value::parse(octets);
    assert!(value.is_ok(), "not well formed: {value:?}");
    value.unwrap_or(Value::Nil)
}

/// Asks for the parts below this one, up to a number of them.
fn parts_lie_inside(structure: &Structure, path: &mut Vec<u32>, len: u64, left: &mut usize) {
    for number in 1.. {
        if *left == 0 {
            return;
        }
        *left -= 1;
        path.push(number);
        let (label, text) = (SectionLabel::Body, SectionText::All);
        let section = FetchSection { label, part: path.clone(), text, partial: None, peek: true };
        let found = structure.section(&section);
        if let Some(Piece::Octets(range)) = &found {
            assert!(range.start <= range.end && range.end <= len, "a part outside the message");
            parts_lie_inside(structure, path, len, left);
        }
        path.pop();
        if found.is_none() {
            return;
        }
    }
}

/// Stored structures: anything may be read back, and what can be is written the same way again.
///
/// # Panics
/// When that does not hold.
pub fn structures(octets: &[u8]) {
    if let Ok(structure) = Structure::from_bytes(octets) {
        let stored = structure.as_bytes();
        assert_eq!(Structure::from_bytes(stored), Ok(structure), "another structure");
    }
}

/// LMTP: commands parse or are refused with a code of refusal; a message comes out of DATA as it went in.
///
/// # Panics
/// When that does not hold.
pub fn lmtp(octets: &[u8]) {
    if let Err(refused) = lmtp::command(octets) {
        assert!((500..600).contains(&refused.code), "a refusal that is none");
    }
    let mut stuffed = Vec::new();
    let mut line_start = true;
    let mut before = 0;
    for &b in octets {
        if line_start && b == b'.' {
            stuffed.push(b'.');
        }
        stuffed.push(b);
        line_start = before == b'\r' && b == b'\n';
        before = b;
    }
    stuffed.extend_from_slice(if line_start { b".\r\n" } else { b"\r\n.\r\n" });
    let mut stream = DotStream::default();
    let mut message = Vec::new();
    for piece in stuffed.chunks(octets.len() % 7 + 1) {
        assert!(!stream.is_done(), "an end before the end");
        assert_eq!(stream.take(piece, &mut message), piece.len(), "octets behind the end");
    }
    assert!(stream.is_done(), "no end");
    let added: &[u8] = if line_start { b"" } else { b"\r\n" };
    assert_eq!(message, [octets, added].concat(), "another message");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Octets that get past the first few checks of each entry point.
    fn octets() -> impl Strategy<Value = Vec<u8>> {
        let pieces: Vec<&'static [u8]> = vec![
            b"a FETCH 1:* (FLAGS BODY[1.MIME]) (CHANGEDSINCE 5)\r\n",
            b"a SEARCH OR (NOT SEEN) HEADER x {3+}\r\nabc\r\n",
            b"a APPEND x (\\Seen) {4+}\r\n",
            b"Content-Type: multipart/x; boundary=b\r\n",
            b"--b\r\n",
            b"&AOk-",
            b"&",
            b"-",
            b"MAIL FROM:<a@b> SIZE=1",
            b"* 1 FETCH (UID 5 FLAGS (\\Seen) MODSEQ (9) BODY[1]<0> {3}\r\n",
            b"x * VANISHED (EARLIER) 1:5,9\r\n* OK [HIGHESTMODSEQ 5]\r\n",
            b"a SETACL x -Fred +cd\r\na SETQUOTA \"\" (STORAGE 1)\r\n",
            b"* ACL x a lr b c\r\n* QUOTA \"\" (STORAGE 1 2)\r\n",
            b"* ESEARCH (TAG \"a\") UID ALL 1 MODSEQ 7\r\n",
            b"* LIST (\\Sent) \"/\" a\r\n* STATUS a (UNSEEN 1)\r\n",
            b"RCPT TO:<",
            b"\r\n.\r\n",
            b"\r\n",
            b".",
            b"\r",
            b"\n",
            b"\x01\x02\x00",
        ];
        let piece = prop_oneof![
            3 => prop::sample::select(pieces).prop_map(<[u8]>::to_vec),
            1 => prop::collection::vec(any::<u8>(), 0..6),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        #[test]
        fn every_entry_point_holds(octets in octets()) {
            for (_, entry) in ENTRIES {
                entry(&octets);
            }
            structures(&[b"\x01\x00\x00\x00", octets.as_slice()].concat());
        }
    }
}
