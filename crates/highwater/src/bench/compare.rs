//! Two reports side by side: what the second has to the first, row by row.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::report::{aligned, ratio, shown};

const FORMAT: u64 = 1;
/// Figures that are compared, and whether less of it is better.
const FIGURES: [(&str, &str); 4] = [
    ("cpu_us", "CPU µs"),
    ("per_second", "per s"),
    ("median_us", "median µs"),
    ("memory_kib", "KiB"),
];

/// The table of ratios, second to first.
pub(crate) fn compare(first: &Path, second: &Path) -> Result<String> {
    let (first, second) = (read(first)?, read(second)?);
    let mut head = vec!["workload".to_owned()];
    for (_, title) in FIGURES {
        head.extend([format!("{title} A"), "B".to_owned(), "B/A".to_owned()]);
    }
    let mut lines = vec![head];
    for row in rows(&first)? {
        let name = text(row, "workload");
        let Some(other) = rows(&second)?.iter().find(|other| text(other, "workload") == name)
        else {
            lines.push(vec![name.to_owned(), "is not in B".to_owned()]);
            continue;
        };
        lines.push(line(name, row, other));
    }
    for row in rows(&second)? {
        let name = text(row, "workload");
        if !rows(&first)?.iter().any(|other| text(other, "workload") == name) {
            lines.push(vec![name.to_owned(), "is not in A".to_owned()]);
        }
    }
    let server = |report: &Value| format!("{}  {}", text(report, "url"), text(report, "server"));
    Ok(format!("A: {}\nB: {}\n\n{}", server(&first), server(&second), aligned(&lines, 1)))
}

fn line(name: &str, first: &Value, second: &Value) -> Vec<String> {
    let mut cells = vec![name.to_owned()];
    let wrong: Vec<String> = [("A", first), ("B", second)]
        .iter()
        .filter(|(_, row)| text(row, "state") != "ok")
        .map(|(which, row)| format!("{which} {}: {}", text(row, "state"), text(row, "why")))
        .collect();
    if !wrong.is_empty() {
        cells.push(wrong.join("; "));
        return cells;
    }
    for (figure, _) in FIGURES {
        let (a, b) = (first.get(figure), second.get(figure));
        let both = ratio(b, a).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        cells.extend([shown(a), shown(b), both]);
    }
    cells
}

fn read(file: &Path) -> Result<Value> {
    let unreadable = || format!("{} cannot be read as a report of highwater bench", file.display());
    let text = std::fs::read_to_string(file).with_context(unreadable)?;
    let report: Value = serde_json::from_str(&text).with_context(unreadable)?;
    if report.get("format").and_then(Value::as_u64) != Some(FORMAT) {
        bail!("{} is no report of highwater bench --json, or of another version", file.display());
    }
    Ok(report)
}

fn rows(report: &Value) -> Result<&Vec<Value>> {
    report.get("rows").and_then(Value::as_array).context("a report has no rows")
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}
