//! The framer on made-up input: the same frames however the octets are cut, and never more held than allowed.

use imap::frame::{Frame, Framer, Limits};
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    line_bytes_max: 120,
    literal_bytes_max: 40,
    command_bytes_max: 400,
    message_bytes_max: 1000,
    literals_max: 4,
};

/// Pieces that are most of what the framer looks for.
const PIECES: [&[u8]; 20] = [
    b"a NOOP\r\n",
    b"a LOGIN ",
    b"a APPEND x ",
    b"a APPEND ",
    b"(\\Seen) ",
    b"(\\Foo) ",
    b"\"17-Jul-1996 02:44:25 -0700\" ",
    b"{3}\r\n",
    b"{3+}\r\n",
    b"{0+}\n",
    b"~{3+}\r\n",
    b"{50+}\r\n",
    b"{60}\r\n",
    b"{99999999999999999999+}\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"abcdefghijklmnopqrstuvwxyz",
    b"\0\xff",
];

/// The frames of the pieces, message data joined; messages are accepted or refused by their order.
fn frames(pieces: &[&[u8]], accept: &[bool]) -> Vec<Frame> {
    let mut framer = Framer::new(LIMITS);
    let mut frames = Vec::new();
    let mut message = Vec::new();
    let mut accept = accept.iter().cycle();
    for piece in pieces {
        framer.push(piece);
        while let Some(frame) = framer.next() {
            match &frame {
                Frame::Message(_) if *accept.next().unwrap_or(&true) => framer.accept_message(),
                Frame::Message(_) => framer.refuse_message(),
                Frame::MessageData(data) => {
                    message.extend_from_slice(data);
                    continue;
                }
                Frame::MessageEnd => {
                    let data = std::mem::take(&mut message);
                    frames.push(Frame::MessageData(data.into()));
                }
                Frame::Command(command) => assert!(command.len() <= 400 + 120 + 20),
                _ => {}
            }
            frames.push(frame);
        }
    }
    frames
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn frames_do_not_depend_on_how_octets_are_cut(
        chosen in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..14),
        size in 1_usize..40,
        accept in prop::collection::vec(any::<bool>(), 1..4),
    ) {
        let octets = chosen.concat();
        let cut: Vec<&[u8]> = octets.chunks(size).collect();
        prop_assert_eq!(frames(&[&octets], &accept), frames(&cut, &accept));
    }

    #[test]
    fn any_octets_are_framed_and_parsed_without_panic(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        for frame in frames(&[&octets], &[true]) {
            if let Frame::Command(command) = frame {
                let _ = imap::parse::command(&command);
            }
        }
    }
}
