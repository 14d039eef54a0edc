//! Frames, whole and cut at every octet.

use super::*;

/// Runs the octets through, accepting messages unless told to refuse; frames in a readable form.
fn run(pieces: &[&[u8]], limits: Limits, accept: bool) -> Vec<String> {
    let mut framer = Framer::new(limits);
    let mut frames = Vec::new();
    let mut message = Vec::new();
    for piece in pieces {
        framer.push(piece);
        while let Some(frame) = framer.next() {
            frames.push(match frame {
                Frame::Command(c) => format!("command {}", String::from_utf8_lossy(&c)),
                Frame::Line(l) => format!("line {}", String::from_utf8_lossy(&l)),
                Frame::Continue => "continue".into(),
                Frame::Message(m) => {
                    if accept {
                        framer.accept_message();
                    } else {
                        framer.refuse_message();
                    }
                    format!("message {} {} {}", m.size, m.synchronising, m.head.flags.len())
                }
                Frame::MessageData(d) => {
                    message.extend_from_slice(&d);
                    continue;
                }
                Frame::MessageEnd => {
                    let text = String::from_utf8_lossy(&std::mem::take(&mut message)).into_owned();
                    format!("end {text}")
                }
                Frame::AppendEnd => "append end".into(),
                Frame::AppendBroken(_) => "append broken".into(),
                Frame::MessageRefused => "refused".into(),
                Frame::Invalid { tag, fatal, .. } => {
                    format!("invalid {} {fatal}", tag.map_or_else(String::new, |t| t.to_string()))
                }
            });
        }
    }
    assert!(matches!(framer.state, State::Dead) || framer.is_idle(), "{:?}", framer.state);
    frames
}

fn check(octets: &[u8], accept: bool, expected: &[&str]) {
    let whole = run(&[octets], Limits::default(), accept);
    assert_eq!(whole, expected, "{}", String::from_utf8_lossy(octets));
    let single: Vec<&[u8]> = octets.chunks(1).collect();
    assert_eq!(run(&single, Limits::default(), accept), expected, "octet by octet");
}

#[test]
fn commands_and_held_literals() {
    check(b"a NOOP\r\nb CHECK\n", true, &["command a NOOP", "command b CHECK"]);
    check(
        b"a LOGIN {1}\r\nx {2+}\r\nyz\r\n",
        true,
        &["continue", "command a LOGIN {1}\r\nx {2+}\r\nyz"],
    );
    check(b"a LOGIN {0+}\r\n x\r\n", true, &["command a LOGIN {0+}\r\n x"]);
}

#[test]
fn messages_pass_through() {
    check(
        b"a APPEND INBOX (\\Seen) {3}\r\nm\0m\r\n",
        true,
        &["message 3 true 1", "end m\0m", "append end"],
    );
    check(
        b"a append {5+}\r\nINBOX {1+}\r\n1 (x y) {0+}\r\n\r\nb NOOP\r\n",
        true,
        &[
            "message 1 false 0",
            "end 1",
            "message 0 false 2",
            "end ",
            "append end",
            "command b NOOP",
        ],
    );
}

#[test]
fn refused_messages_are_swallowed_or_never_come() {
    check(
        b"a APPEND I {3}\r\nb NOOP\r\n",
        false,
        &["message 3 true 0", "refused", "command b NOOP"],
    );
    check(
        b"a APPEND I {3+}\r\nabc {2+}\r\nde\r\nb NOOP\r\n",
        false,
        &["message 3 false 0", "refused", "command b NOOP"],
    );
}

#[test]
fn what_follows_a_message_must_fit() {
    check(
        b"a APPEND I {1+}\r\nx junk\r\nb NOOP\r\n",
        true,
        &["message 1 false 0", "end x", "append broken", "command b NOOP"],
    );
    check(
        b"a APPEND I {1+}\r\nx junk {2+}\r\nyy\r\nb NOOP\r\n",
        true,
        &["message 1 false 0", "end x", "append broken", "command b NOOP"],
    );
}

#[test]
fn limits_are_kept() {
    let limits = Limits { line_bytes_max: 20, literal_bytes_max: 4, ..Limits::default() };
    let long = [b"a ".as_slice(), &[b'x'; 40], b"\r\n"].concat();
    assert_eq!(run(&[&long], limits, true), ["invalid a true"]);
    assert_eq!(
        run(&[b"a LOGIN {5}\r\nb NOOP\r\n"], limits, true),
        ["invalid a false", "command b NOOP"]
    );
    assert_eq!(
        run(&[b"a LOGIN {5+}\r\nabcde x\r\nb NOOP\r\n"], limits, true),
        ["invalid a false", "command b NOOP"]
    );
    let huge = b"a LOGIN {99999999999+}\r\n";
    assert_eq!(run(&[huge], Limits::default(), true), ["invalid a true"]);
}

#[test]
fn a_raw_line_is_given_as_it_is() {
    let mut framer = Framer::new(Limits::default());
    framer.expect_line();
    framer.push(b"DONE {3}\r\na NOOP\r\n");
    assert_eq!(framer.next(), Some(Frame::Line(Bytes::from_static(b"DONE {3}"))));
    assert_eq!(framer.next(), Some(Frame::Command(Bytes::from_static(b"a NOOP"))));
    framer.push(b"b STARTTLS\r\nc NOOP\r\n");
    framer.discard_buffered();
    assert_eq!(framer.next(), None);
}

#[test]
fn what_is_swallowed_never_becomes_a_command() {
    let limits = Limits { line_bytes_max: 300, literal_bytes_max: 4, ..Limits::default() };
    let octets =
        [b"a LOGIN {5+}\r\nabcde".as_slice(), &[b'x'; 250], b" {8+}\r\nc NOOP\r\n\r\nb NOOP\r\n"];
    let octets = octets.concat();
    for size in [1, 2, 3, 5, 7, 300] {
        let pieces: Vec<&[u8]> = octets.chunks(size).collect();
        assert_eq!(run(&pieces, limits, true), ["invalid a false", "command b NOOP"], "by {size}");
    }
    // A size that no number holds is still a size.
    let huge = b"a LOGIN {99999999999999999999999+}\r\nb NOOP\r\n";
    assert_eq!(run(&[huge], limits, true), ["invalid a true"]);
    let huge = b"a APPEND x {99999999999999999999999}\r\nb NOOP\r\n";
    let refused = ["message 9223372036854775807 true 0", "refused", "command b NOOP"];
    assert_eq!(run(&[huge], limits, false), refused);
}

#[test]
fn nothing_is_read_behind_a_fatal_error() {
    let octets = b"a LOGIN {999999999999+}\r\nb NOOP\r\n";
    check(octets, true, &["invalid a true"]);
    let limits = Limits { line_bytes_max: 20, ..Limits::default() };
    let octets = [b"a NOOP ".as_slice(), &[b'x'; 40], b"\r\nb NOOP\r\n"].concat();
    for size in [1, 2, 300] {
        let pieces: Vec<&[u8]> = octets.chunks(size).collect();
        assert_eq!(run(&pieces, limits, true), ["invalid a true"], "by {size}");
    }
}

#[test]
fn a_wrong_append_is_refused_before_its_message() {
    check(
        b"a APPEND x (\\Recent) {300000}\r\nb NOOP\r\n",
        true,
        &["invalid a false", "command b NOOP"],
    );
    check(
        b"a APPEND {1+}\r\nx (\\Foo) {3+}\r\nabc {2+}\r\nde\r\nb NOOP\r\n",
        true,
        &["invalid a false", "command b NOOP"],
    );
}

#[test]
fn many_literals_need_no_stack() {
    let limits = Limits {
        literals_max: 100_000,
        line_bytes_max: 1 << 20,
        command_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let octets = [b"a x".to_vec(), b" {0+}\r\n".repeat(100_000), b"\r\n".to_vec()].concat();
    assert_eq!(run(&[&octets], limits, true).len(), 1);
}

#[test]
fn a_literal_behind_an_awaited_line_is_no_command() {
    // RFC 7888 §3: the end of every line is looked at.
    for (octets, expected) in [
        (b"x {8+}\r\na NOOP\r\n\r\nb NOOP\r\n".as_slice(), "line x {8+}"),
        (b"DONE\r\nb NOOP\r\n", "line DONE"),
        (b"x {8}\r\nb NOOP\r\n", "line x {8}"),
    ] {
        for size in [1, octets.len()] {
            let mut framer = Framer::new(Limits::default());
            framer.expect_line();
            let mut frames = Vec::new();
            for piece in octets.chunks(size) {
                framer.push(piece);
                while let Some(frame) = framer.next() {
                    frames.push(match frame {
                        Frame::Line(l) => format!("line {}", String::from_utf8_lossy(&l)),
                        Frame::Command(c) => format!("command {}", String::from_utf8_lossy(&c)),
                        other => format!("{other:?}"),
                    });
                }
            }
            assert_eq!(frames, [expected, "command b NOOP"]);
        }
    }
}
