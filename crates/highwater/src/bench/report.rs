//! What came of it: a row for each workload, as a table to read and as JSON to compare.

use serde_json::{Map, Value, json};

use super::tally::Measured;
use super::{Failed, Plan, Workload, floor};

/// What a row says of its workload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// There are figures, and they are verified.
    Ok,
    /// The server has not what this needs.
    Lacks,
    /// There are no figures.
    Error,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Lacks => "n/a",
            Self::Error => "error",
        }
    }
}

/// One workload.
#[derive(Clone, Debug)]
struct Row {
    workload: Workload,
    state: State,
    /// What is lacking or wrong.
    why: Option<String>,
    figures: Map<String, Value>,
}

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    url: String,
    pub(super) server: String,
    options: Value,
    rows: Vec<Row>,
    floors: Vec<Value>,
    /// Why it could not begin, or not be cleaned up.
    failed: Option<String>,
}

const COLUMNS: [(&str, &str); 10] = [
    ("operations", "done"),
    ("per_second", "per s"),
    ("median_us", "median µs"),
    ("p95_us", "p95 µs"),
    ("p99_us", "p99 µs"),
    ("received", "octets in"),
    ("sent", "out"),
    ("cpu_us", "CPU µs"),
    ("cpu_later_us", "later"),
    ("memory_kib", "KiB"),
];
/// Figures that stand behind the columns where they are.
const DETAILS: [&str; 5] =
    ["megabytes_per_second", "write_amplification", "kib_each", "double_claims", "attempts"];

impl Report {
    pub(super) fn new(plan: &Plan) -> Self {
        let options = json!({
            "messages": plan.messages, "octets": plan.octets, "clients": plan.clients, "idlers": plan.idlers,
            "jobs": plan.jobs, "mailboxes": plan.mailboxes, "seconds": plan.time.as_secs_f64(),
            "repeat": plan.repeat, "users": plan.logins.len(), "pids": plan.pids,
        });
        let url = plan.place.to_string();
        let (rows, floors) = (Vec::new(), Vec::new());
        Self { url, server: String::new(), options, rows, floors, failed: None }
    }

    pub(super) fn add(&mut self, workload: Workload, outcome: &Result<Measured, Failed>) {
        let (state, why, figures) = match outcome {
            Ok(measured) => (State::Ok, None, measured.figures()),
            Err(failed @ Failed::Lacks(_)) => (State::Lacks, Some(failed.to_string()), Map::new()),
            Err(failed) => (State::Error, Some(failed.to_string()), Map::new()),
        };
        self.rows.push(Row { workload, state, why, figures });
    }

    /// The newest row, as one line.
    pub(super) fn last_line(&self) -> String {
        self.rows.last().map(|row| row.cells().join("  ")).unwrap_or_default()
    }

    /// Measures the machine, if the plan says where.
    pub(super) async fn take_floor(&mut self, plan: &Plan) {
        let Some(folder) = plan.floor.clone() else { return };
        let measuring = tokio::task::spawn_blocking(move || {
            Ok::<_, std::io::Error>((floor::syncs(&folder)?, floor::loopback()?))
        });
        match measuring.await {
            Ok(Ok((syncs, loopback))) => self.floors.push(json!({
                "fdatasync_per_second": syncs.round(),
                "loopback_megabytes_per_second": loopback.round(),
            })),
            Ok(Err(error)) => {
                self.failed = Some(format!("the machine cannot be measured: {error}"))
            }
            Err(error) => self.failed = Some(error.to_string()),
        }
    }

    pub(super) fn ended(mut self, failed: Option<&Failed>) -> Self {
        self.failed = failed.map(ToString::to_string).or(self.failed);
        self
    }

    /// Why it could not begin, or not be cleaned up.
    pub(crate) fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// How many rows are errors, and how many are not.
    pub(crate) fn errors(&self) -> (usize, usize) {
        let errors = self.rows.iter().filter(|row| row.state == State::Error).count();
        (errors, self.rows.len() - errors)
    }

    /// As one JSON object.
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        json!({
            "format": 1, "tool": env!("CARGO_PKG_VERSION"), "url": self.url, "server": self.server,
            "options": self.options, "floors": self.floors, "rows": rows, "failed": self.failed,
        })
    }

    /// As a table.
    pub(crate) fn text(&self) -> String {
        let mut head = vec!["workload".to_owned(), "of each".to_owned()];
        head.extend(COLUMNS.iter().map(|(_, title)| (*title).to_owned()));
        let mut lines = vec![head];
        lines.extend(self.rows.iter().map(Row::cells));
        let mut out = format!("{}  {}\n\n{}", self.url, self.server, aligned(&lines, 2));
        for floor in &self.floors {
            out += &format!("\nthis machine: {floor}");
        }
        out
    }
}

impl Row {
    fn json(&self) -> Value {
        let mut row = Map::new();
        row.insert("workload".into(), json!(self.workload.name()));
        row.insert("about".into(), json!(self.workload.about()));
        row.insert("of_each".into(), json!(self.workload.thing()));
        row.insert("state".into(), json!(self.state.name()));
        if let Some(why) = &self.why {
            row.insert("why".into(), json!(why));
        }
        row.extend(self.figures.clone());
        Value::Object(row)
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.workload.name(), self.workload.thing().to_owned()];
        if let Some(why) = &self.why {
            cells.push(format!("{}: {why}", self.state.name()));
            return cells;
        }
        cells.extend(COLUMNS.iter().map(|(name, _)| shown(self.figures.get(*name))));
        let details = DETAILS.iter().filter_map(|name| {
            Some(format!("{} {}", name.replace('_', " "), shown(Some(self.figures.get(*name)?))))
        });
        cells.extend(details);
        cells
    }
}

/// A figure with as many digits as count.
pub(super) fn shown(figure: Option<&Value>) -> String {
    let Some(number) = figure.and_then(Value::as_f64) else { return "-".to_owned() };
    let digits = match number.abs() {
        small if small != 0.0 && small < 0.1 => 4,
        small if small < 10.0 && small.fract() != 0.0 => 2,
        small if small < 100.0 && small.fract() != 0.0 => 1,
        _ => 0,
    };
    format!("{number:.digits$}")
}

/// Lines whose columns stand below each other: the first `left` to the left, others to the right. What stands behind
/// the last column of the first line stands as it is.
pub(super) fn aligned(lines: &[Vec<String>], left: usize) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |at: usize| {
        let full = lines.iter().filter(|line| line.len() >= columns || at < left);
        full.filter_map(|line| line.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for line in lines {
        let mut text = String::new();
        for (at, cell) in line.iter().enumerate() {
            let pad = widths.get(at).map_or(0, |width| width.saturating_sub(cell.chars().count()));
            let pad = " ".repeat(pad);
            let whole = line.len() >= columns && at < columns;
            match (at < left, whole) {
                (true, _) => text += &format!("{cell}{pad}  "),
                (false, true) => text += &format!("{pad}{cell}  "),
                (false, false) => text += &format!("{cell}  "),
            }
        }
        out += text.trim_end();
        out.push('\n');
    }
    out
}

/// A ratio of two figures, if there are both.
pub(super) fn ratio(over: Option<&Value>, under: Option<&Value>) -> Option<f64> {
    let (over, under) = (over?.as_f64()?, under?.as_f64()?);
    (under > 0.0).then_some(over / under)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let line = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let lines = [
            line(&["a", "done", "per s"]),
            line(&["longer", "7", "8", "more"]),
            line(&["b", "error: x"]),
        ];
        let table = "a       done  per s\nlonger     7      8  more\nb       error: x\n";
        assert_eq!(aligned(&lines, 1), table);
        assert_eq!(shown(Some(&json!(0.043))), "0.0430");
        assert_eq!(shown(Some(&json!(12.34))), "12.3");
        assert_eq!(shown(Some(&json!(1234.5))), "1234");
        assert_eq!(shown(None), "-");
        assert_eq!(ratio(Some(&json!(1)), Some(&json!(0))), None);
    }
}
