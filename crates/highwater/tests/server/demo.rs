//! The demo, small: what it prints was counted, and it ends with an error when that does not hold.

use crate::support::{run, text};

#[test]
fn the_demo_shows_what_it_promises() {
    let output = run(&["demo", "--jobs", "60", "--workers", "5", "--messages", "400"], "");
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    for expected in
        ["Queue: 60 jobs", "  60 acknowledged once", "0 twice, 0 lost", "has heard of all 20"]
    {
        assert!(said.contains(expected), "no {expected:?} in:\n{said}");
    }
    let wrong = run(&["demo", "--workers", "1"], "");
    assert_eq!(wrong.status.code(), Some(2));
}
