//! The messages that are measured with: generated, each the same whenever it is made, shaped like real mail.
//!
//! # Invariants
//! - A message is known by its number: from it follow its octets, and what a search finds in it.
//! - A size that is asked for is met exactly, if it is not below 1,000 octets.

/// A word of the subjects of one message in [`RARE`], within a longer one.
pub(super) const IN_SUBJECT: &str = "uokka";
/// A word of the texts of one message in [`RARE`], within a longer one.
pub(super) const IN_BODY: &str = "ombatt";
/// How rare those are.
pub(super) const RARE: u64 = 100;

const WORDS: [&str; 32] = [
    "meeting", "report", "invoice", "question", "travel", "server", "garden", "window", "letter",
    "answer", "monday", "budget", "picture", "contract", "morning", "delivery", "schedule",
    "holiday", "version", "number", "update", "family", "kitchen", "project", "review", "ticket",
    "payment", "station", "library", "weather", "music", "coffee",
];
const NAMES: [&str; 8] = [
    "Ann Lee",
    "Bob Stone",
    "Carla Diaz",
    "Dan Wu",
    "Eve Marsh",
    "Finn Olsen",
    "Gita Rao",
    "Hugo Weiss",
];

/// Whether the subject of message `number` has [`IN_SUBJECT`].
pub(super) fn has_in_subject(number: u64) -> bool {
    number % RARE == 7
}

/// Whether the text of message `number` has [`IN_BODY`].
pub(super) fn has_in_body(number: u64) -> bool {
    number % RARE == 11
}

/// The message of this number, `octets` long: multipart/mixed with a text in two forms and a part in base64.
pub(super) fn message(number: u64, octets: usize) -> Vec<u8> {
    let mut draw = Draw(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut out = head(number, &mut draw);
    let boundary = format!("=_part_{number:08x}");
    out.push_str(&format!("--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"));
    if has_in_body(number) {
        out.push_str("The wombatted lawn is behind the house.\r\n");
    }
    let end = format!(
        "\r\n--{boundary}\r\nContent-Type: application/octet-stream; name=\"data-{number}.bin\"\r\n\
         Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"data-{number}.bin\"\r\n\r\n"
    );
    let last = format!("\r\n--{boundary}--\r\n");
    let room = octets.saturating_sub(out.len() + end.len() + last.len());
    let for_text = room.min(800 + room / 4);
    text(&mut out, for_text, &mut draw);
    out.push_str(&end);
    attachment(&mut out, room - for_text, &mut draw);
    out.push_str(&last);
    out.into_bytes()
}

fn head(number: u64, draw: &mut Draw) -> String {
    let from = draw.of(&NAMES);
    let to = draw.of(&NAMES);
    let rare = if has_in_subject(number) { " quokkas" } else { "" };
    let subject = format!("{} {} {}{rare}", draw.of(&WORDS), draw.of(&WORDS), number);
    let id = draw.next();
    let address = |name: &str| name.to_lowercase().replace(' ', ".");
    let (day, hour, minute) = (1 + number % 28, number % 24, number % 60);
    format!(
        "Return-Path: <{from_address}@example.org>\r\n\
         Received: from mx.example.org (mx.example.org [192.0.2.25])\r\n\tby mail.example.com with ESMTPS id {id:016x};\r\n\
         \t{day} Jan 2026 {hour:02}:{minute:02}:11 +0000\r\n\
         From: \"{from}\" <{from_address}@example.org>\r\n\
         To: \"{to}\" <{to_address}@example.com>\r\n\
         Subject: {subject}\r\n\
         Date: {day} Jan 2026 {hour:02}:{minute:02}:07 +0000\r\n\
         Message-ID: <{number}.{id:016x}@example.org>\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"=_part_{number:08x}\"\r\n\r\n",
        from_address = address(from),
        to_address = address(to),
    )
}

/// Words in lines, exactly so many octets.
fn text(out: &mut String, octets: usize, draw: &mut Draw) {
    let end = out.len() + octets;
    let mut line = 0;
    while out.len() + 14 < end {
        let word = draw.of(&WORDS);
        out.push_str(word);
        line += word.len() + 1;
        out.push_str(if line > 68 { "\r\n" } else { " " });
        if line > 68 {
            line = 0;
        }
    }
    out.extend(std::iter::repeat_n('.', end - out.len()));
}

/// Base64 in lines, exactly so many octets.
fn attachment(out: &mut String, octets: usize, draw: &mut Draw) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let end = out.len() + octets;
    let mut line = 0;
    while out.len() + 2 < end {
        if line == 76 {
            out.push_str("\r\n");
            line = 0;
            continue;
        }
        let at = usize::try_from(draw.next() % 64).unwrap_or_default();
        out.push(char::from(DIGITS.get(at).copied().unwrap_or(b'A')));
        line += 1;
    }
    out.extend(std::iter::repeat_n('A', end - out.len()));
}

/// Numbers that look drawn and are the same each time (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Draw(pub(super) u64);

impl Draw {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not nought.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        let at = usize::try_from(self.below(words.len() as u64)).unwrap_or_default();
        words.get(at).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_size_and_what_is_searched_for() {
        for (number, size) in
            [(0, 1000), (7, 1024), (11, 1024), (99_999_999, 4096), (107, 30 * 1024)]
        {
            let octets = message(number, size);
            assert_eq!(octets.len(), size, "{number}");
            assert_eq!(octets, message(number, size), "{number}");
            let text = String::from_utf8(octets).unwrap();
            let structure = imap::message::analyse(text.as_bytes());
            let shown = String::from_utf8_lossy(structure.bodystructure()).to_uppercase();
            assert!(shown.contains("MIXED") && shown.contains("BASE64"), "{shown}");
            assert_eq!(text.contains(IN_SUBJECT), has_in_subject(number), "{number}");
            assert_eq!(text.contains(IN_BODY), has_in_body(number), "{number}");
            assert!(
                text.split("\r\n").all(|line| line.len() < 200 && !line.contains(['\r', '\n']))
            );
        }
    }
}
