//! Durations as people write them: `500ms`, `60s`, `10m`, `1h`, `2d`.

use std::time::Duration;

/// Reads a duration.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let wrong = || format!("expected a time like 500ms, 60s, 10m, 1h or 2d: {text}");
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let milliseconds = match text.get(digits.len()..).unwrap_or_default() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(wrong)
}

/// Reads a duration that is not nothing.
pub(super) fn some_duration(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration < Duration::from_millis(100) {
        return Err("100ms is the least".into());
    }
    Ok(duration)
}

/// Reads two durations, `10s..1h`.
pub(super) fn range(text: &str) -> Result<(Duration, Duration), String> {
    let wrong = || format!("expected a least and a most, like 10s..1h: {text}");
    let (least, most) = text.split_once("..").ok_or_else(wrong)?;
    let (least, most) = (duration(least)?, duration(most)?);
    if least <= most { Ok((least, most)) } else { Err(wrong()) }
}

/// Says a number of seconds as people do.
pub(super) fn said(seconds: i64) -> String {
    match seconds {
        ..0 => format!("in {}", said(seconds.saturating_neg())),
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_said() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2d"), Ok(Duration::from_hours(48)));
        assert_eq!(range("10s..1h"), Ok((Duration::from_secs(10), Duration::from_hours(1))));
        for wrong in ["", "s", "1", "-1s", "1w", "1.5s", "99999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(
            range("1h..10s").is_err() && range("1h").is_err() && some_duration("99ms").is_err()
        );
        assert_eq!(
            (said(59), said(-180), said(90_000)),
            ("59s".into(), "in 3m".into(), "25h".into())
        );
    }
}
