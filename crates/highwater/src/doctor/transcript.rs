//! What two connections said in a round, line by line with times: for a bug report.

use std::time::Instant;

use client::{Connection, Passage};

/// Lines of each connection that are shown at most.
const LINES_MAX: usize = 40;

/// A round that went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Transcript {
    /// What is wrong with it.
    pub(super) what: String,
    /// The dialogue.
    pub(super) lines: Vec<String>,
}

impl Transcript {
    /// What these connections have recorded, in the order of the times, and what is to be said of one moment.
    pub(super) fn of<'a>(
        what: String,
        begun: Instant,
        moment: Option<(Instant, String)>,
        connections: impl Iterator<Item = (usize, &'a Connection)>,
    ) -> Self {
        let connections = connections.map(|(number, connection)| (number, connection.recorded()));
        Self { what, lines: dialogue(begun, moment, connections) }
    }
}

fn dialogue<'a>(
    begun: Instant,
    moment: Option<(Instant, String)>,
    connections: impl Iterator<Item = (usize, &'a [Passage])>,
) -> Vec<String> {
    let timed = |at: Instant, line: String| {
        let after = at.saturating_duration_since(begun).as_secs_f64() * 1000.0;
        (at, format!("{after:9.3} ms  {line}"))
    };
    let mut lines: Vec<(Instant, String)> = Vec::new();
    lines.extend(moment.map(|(at, what)| timed(at, format!("({what})"))));
    for (number, passages) in connections {
        let mut shown = 0;
        for passage in passages {
            let text = String::from_utf8_lossy(&passage.octets);
            for line in text.lines() {
                shown += 1;
                let line = match shown {
                    1..=LINES_MAX => line,
                    _ if shown == LINES_MAX + 1 => "…",
                    _ => continue,
                };
                let side = if passage.sent { 'C' } else { 'S' };
                lines.push(timed(passage.at, format!("{side}{number}: {line}")));
            }
        }
    }
    lines.sort_by_key(|(at, _)| *at);
    lines.into_iter().map(|(_, line)| line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn lines_stand_in_the_order_of_their_times() {
        let begun = Instant::now();
        let passage = |micros, sent, octets: &[u8]| {
            let at = begun + Duration::from_micros(micros);
            Passage { at, sent, octets: octets.to_vec() }
        };
        let first = [passage(10, true, b"h1 NOOP\r\n"), passage(900, false, b"* 1\r\nh1 OK\r\n")];
        let second = [passage(20, true, b"h7 NOOP\r\n")];
        let lines = dialogue(
            begun,
            Some((begun + Duration::from_micros(30), "both sent".to_owned())),
            [(0, &first[..]), (3, &second[..])].into_iter(),
        );
        let expected = [
            "    0.010 ms  C0: h1 NOOP",
            "    0.020 ms  C3: h7 NOOP",
            "    0.030 ms  (both sent)",
            "    0.900 ms  S0: * 1",
            "    0.900 ms  S0: h1 OK",
        ];
        assert_eq!(lines, expected);
    }
}
