//! The dialect of the transcripts.
//!
//! ```text
//! # a comment; a line `== title` begins a new dialogue with a fresh server
//! server without=CONDSTORE,QRESYNC      switches capabilities off (in process only)
//! admin user bob                        a user besides alex, whose password is secret too (in process only), and
//! admin shared NAME                     a mailbox below Shared/
//! admin acl NAME IDENTIFIER RIGHTS      its entries
//! admin seen private NAME               \Seen of alex's mailbox is each user's own; `shared` takes it back
//! admin group team bob                  a member of a group; `-bob` takes him out
//! admin quota alex messages=3           limits: octets, messages, mailboxes; `Shared` for the shared mailboxes
//! mailbox NAME n                        a new mailbox with n messages
//! five NAME                             a new mailbox with (), (\Seen), (\Deleted), ($Work), ()
//! message NAME flags=(\Seen) text="…"   one more message in it
//! connect 1                             a connection that does not log in by itself
//! C1: a NOOP                            sent by connection 1, with CRLF; lines that follow each other go in one piece
//! C1< octets\r\n                        sent without CRLF; `{*}` in the line before becomes its length
//! S1: * 1 EXISTS                        expected; untagged lines match in any order
//! S1: !* VANISHED                       no such line
//! S1: ---                               what was expected so far comes before what follows
//! S1: ...                               other lines may come too
//! S1: a OK []                           no response code; without [] one that only informs may come
//! S1: * CAPABILITY X Y …                these are listed, in any order
//! S1: closed                            the server ends the connection
//! assert $m > $h
//! ```

/// One step of a dialogue.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Server { without: Vec<String> },
    Admin { words: Vec<String> },
    Mailbox { name: String, count: usize },
    Five { name: String },
    Message { name: String, flags: String, date: String, text: Option<String> },
    Connect { connection: usize },
    Send { connection: usize, lines: Vec<Sent> },
    Expect { connection: usize, lines: Vec<String> },
    Assert { left: String, operator: String, right: String },
}

/// Something sent.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    Line(String),
    Octets(String),
}

/// A dialogue with its place.
#[derive(Clone, Debug)]
pub(crate) struct Dialogue {
    pub title: String,
    pub steps: Vec<(usize, Step)>,
}

/// Reads a file's dialogues.
pub(crate) fn dialogues(file: &str, text: &str) -> Vec<Dialogue> {
    let mut all: Vec<Dialogue> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        if let Some(title) = line.strip_prefix("== ") {
            all.push(Dialogue { title: format!("{file}: {title}"), steps: Vec::new() });
            continue;
        }
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if all.is_empty() {
            all.push(Dialogue { title: file.to_owned(), steps: Vec::new() });
        }
        add(&mut all.last_mut().unwrap().steps, number, line);
    }
    all
}

fn add(steps: &mut Vec<(usize, Step)>, number: usize, line: &str) {
    let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
    let connection = |head: &str| head[1..head.len() - 1].parse::<usize>().ok();
    let kind = (head.chars().next(), head.chars().last());
    if let ((Some('C'), Some(':' | '<')), Some(c)) =
        (kind, (head.len() > 2).then(|| connection(head)).flatten())
    {
        let sent =
            if head.ends_with(':') { Sent::Line(rest.into()) } else { Sent::Octets(rest.into()) };
        match steps.last_mut() {
            Some((_, Step::Send { connection, lines })) if *connection == c => lines.push(sent),
            _ => steps.push((number, Step::Send { connection: c, lines: vec![sent] })),
        }
        return;
    }
    if let ((Some('S'), Some(':')), Some(c)) =
        (kind, (head.len() > 2).then(|| connection(head)).flatten())
    {
        match steps.last_mut() {
            Some((_, Step::Expect { connection, lines }))
                if *connection == c && !lines.last().is_some_and(|l| ends_block(l)) =>
            {
                lines.push(rest.into());
            }
            _ => steps.push((number, Step::Expect { connection: c, lines: vec![rest.into()] })),
        }
        return;
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    let step = match head {
        "server" => {
            let list = rest.strip_prefix("without=").expect("server without=A,B");
            Step::Server { without: list.split(',').map(str::to_owned).collect() }
        }
        "admin" => Step::Admin { words: words.iter().map(|word| (*word).to_owned()).collect() },
        "mailbox" => Step::Mailbox { name: words[0].into(), count: words[1].parse().unwrap() },
        "message" => Step::Message {
            name: words[0].into(),
            flags: value(rest, "flags=(", ')').unwrap_or_default(),
            date: value(rest, "date=\"", '"').unwrap_or_default(),
            text: value(rest, "text=\"", '"').map(|t| unescape(&t)),
        },
        "five" => Step::Five { name: words[0].into() },
        "connect" => Step::Connect { connection: words[0].parse().unwrap() },
        "assert" => Step::Assert {
            left: words[0].into(),
            operator: words[1].into(),
            right: words[2].into(),
        },
        _ => panic!("line {number} is not in the dialect: {line}"),
    };
    steps.push((number, step));
}

/// A tagged line, a continuation or the end: nothing belongs to the same answer after it.
pub(crate) fn ends_block(line: &str) -> bool {
    !(line.starts_with('*') || line.starts_with('!') || line == "..." || line == "---")
}

fn value(text: &str, begin: &str, end: char) -> Option<String> {
    let from = text.find(begin)? + begin.len();
    let rest = &text[from..];
    Some(rest[..rest.find(end)?].to_owned())
}

/// `\r`, `\n`, `\q` (a quotation mark) and `\\` in what is written down.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('r') => out.push('\r'),
                Some('n') => out.push('\n'),
                Some('q') => out.push('"'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            (c, false) => out.push(c),
        }
    }
    out
}
