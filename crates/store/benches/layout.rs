//! Which layout in the database: deltas with folded pages, a row per message, or pages alone.
//!
//! `cargo bench -p highwater-store --bench layout -- [--messages N] [--rounds N] [--singles N]
//! [--directory PATH]`
//!
//! Every layout has a database of its own with the same settings (WAL, a sync at each commit, checkpoints
//! outside the timing). In each round each layout takes its turn, in another order each time. Bytes are
//! what the process gave to `write` (`wchar` of /proc/self/io), those of commits and those of checkpoints
//! apart. State is in memory in all layouts, as in the server: no commit reads what it changes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a program for measuring, which ends at the first error and prints"
)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

const LEAF: u64 = 128;
const MANY: u64 = 10_000;
/// As `Options::fold_bytes` of the store.
const FOLD_OCTETS: usize = 256 << 10;

fn main() {
    // `cargo test --all-targets` runs this, too, without what `cargo bench` adds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return println!("nothing measured; run it with `cargo bench`");
    }
    let options = Options::from_arguments();
    let own = tempfile::tempdir_in(&options.directory).unwrap();
    println!(
        "{} messages, {} rounds, {} single changes a round, leaves of {LEAF}, SQLite {}",
        options.messages,
        options.rounds,
        options.singles,
        rusqlite::version()
    );
    let mut layouts: Vec<Layout> = Kind::ALL
        .into_iter()
        .map(|kind| Layout::create(kind, own.path(), options.messages))
        .collect();
    let mut floor = Floor::create(own.path());
    let mut table: Vec<Vec<Sample>> = vec![Vec::new(); layouts.len()];
    let mut random = Random(42);
    for round in 0..options.rounds {
        floor.measure(options.singles);
        for turn in 0..layouts.len() {
            let which = (turn + round) % layouts.len();
            let sample = layouts[which].measure(&mut random, options.singles);
            table[which].push(sample);
        }
    }
    report(&floor, &layouts, &table);
}

struct Options {
    messages: u64,
    rounds: usize,
    singles: usize,
    directory: PathBuf,
}

impl Options {
    fn from_arguments() -> Self {
        let mut options =
            Self { messages: 1_000_000, rounds: 5, singles: 200, directory: std::env::temp_dir() };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().unwrap();
            match name.as_str() {
                "--messages" => options.messages = value().parse().unwrap(),
                "--rounds" => options.rounds = value().parse().unwrap(),
                "--singles" => options.singles = value().parse().unwrap(),
                "--directory" => options.directory = value().into(),
                _ => {} // What `cargo bench` itself adds.
            }
        }
        assert!(options.messages >= 100 * LEAF, "too few messages for 10,000 of them to differ");
        options
    }
}

/// As much of a message as the server keeps in its state.
#[derive(Clone, Copy)]
struct Message {
    uid: u64,
    flags: u64,
    modseq: u64,
    size: u64,
    body: u64,
}

impl Message {
    fn new(uid: u64) -> Self {
        Self { uid, flags: uid % 8, modseq: uid, size: 2000 + uid * 7 % 60_000, body: uid }
    }

    /// UID, flags, arrival, modseq above it, date, zone, save date, size, body, floor, items.
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { uid, flags, modseq, size, body } = *self;
        let date = 1_700_000_000 + uid * 60;
        for number in [uid, flags, uid, modseq - uid, date, 0, date, size, body, 0, 1, 5, modseq] {
            encode(out, number);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Deltas,
    Rows,
    RowsIndexed,
    Pages,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Deltas, Self::Rows, Self::RowsIndexed, Self::Pages];

    fn name(self) -> &'static str {
        match self {
            Self::Deltas => "deltas + pages",
            Self::Rows => "row per message",
            Self::RowsIndexed => "row + modseq index",
            Self::Pages => "pages alone",
        }
    }

    fn is_rows(self) -> bool {
        matches!(self, Self::Rows | Self::RowsIndexed)
    }
}

struct Layout {
    kind: Kind,
    path: PathBuf,
    connection: Connection,
    messages: Vec<Message>,
    modseq: u64,
    /// Octets of deltas since the last fold, and the leaves that they touch.
    pending: usize,
    touched: BTreeSet<u64>,
    octets_after_load: u64,
}

/// Time and bytes of one operation.
#[derive(Clone, Copy, Default)]
struct Cost {
    time: Duration,
    commit: f64,
    checkpoint: f64,
}

#[derive(Clone, Copy, Default)]
struct Sample {
    single: Cost,
    together: Cost,
    scattered: Cost,
    /// A fold of the deltas that `FOLD_OCTETS` hold, and how many single changes these are.
    fold: Cost,
    folded: usize,
    open_cold: Duration,
    open_warm: Duration,
}

impl Layout {
    fn create(kind: Kind, directory: &Path, count: u64) -> Self {
        let path = directory.join(format!("{}.db", kind.name().replace([' ', '+'], "")));
        let connection = connect(&path);
        let messages: Vec<Message> = (1..=count).map(Message::new).collect();
        connection.execute_batch(TABLES).unwrap();
        if kind == Kind::RowsIndexed {
            let index = "CREATE INDEX message_modseq ON message(mailbox, modseq)";
            connection.execute_batch(index).unwrap();
        }
        let mut layout = Self {
            kind,
            path,
            connection,
            messages,
            modseq: count,
            pending: 0,
            touched: BTreeSet::new(),
            octets_after_load: 0,
        };
        layout.load();
        layout
    }

    fn load(&mut self) {
        self.connection.execute_batch("BEGIN").unwrap();
        self.connection.execute("INSERT INTO mailbox VALUES(1, ?1)", [self.modseq]).unwrap();
        if self.kind.is_rows() {
            let sql = "INSERT INTO message VALUES(1,?1,?2,?3,?1,?4,0,?4,?5,?6,x'0005')";
            let mut insert = self.connection.prepare(sql).unwrap();
            for Message { uid, flags, modseq, size, body } in &self.messages {
                let date = 1_700_000_000 + uid * 60;
                insert.execute(params![uid, modseq, flags, date, size, body]).unwrap();
            }
        } else {
            let leaves = (0..(self.messages.len() as u64).div_ceil(LEAF)).collect();
            self.write_leaves(&leaves);
        }
        self.connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        self.octets_after_load = fs::metadata(&self.path).unwrap().len();
    }

    fn measure(&mut self, random: &mut Random, singles: usize) -> Sample {
        let count = self.messages.len() as u64;
        let mut sample = Sample { single: self.singles(random, singles), ..Sample::default() };
        let from = random.below(count - MANY);
        sample.together = self.cost(|it| it.change(&(from..from + MANY).collect::<Vec<_>>()));
        let step = count / MANY;
        sample.scattered =
            self.cost(|it| it.change(&(0..MANY).map(|n| n * step).collect::<Vec<_>>()));
        if self.kind == Kind::Deltas {
            (sample.fold, sample.folded) = self.whole_fold(random);
            // What an open finds: pages, and half as many deltas as make a fold.
            while self.pending < FOLD_OCTETS / 2 {
                self.delta_in_bulk(random);
            }
            self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        }
        sample.open_cold = self.open(true);
        sample.open_warm = self.open(false);
        sample
    }

    /// Single changes, each of a message anywhere; the median time, the mean of bytes.
    fn singles(&mut self, random: &mut Random, singles: usize) -> Cost {
        let mut times = Vec::new();
        let mut cost = self.cost(|it| {
            for _ in 0..singles {
                let which = random.below(it.messages.len() as u64);
                let start = Instant::now();
                it.change(&[which]);
                times.push(start.elapsed());
            }
        });
        cost.time = median(&mut times);
        cost.commit /= singles as f64;
        cost.checkpoint /= singles as f64;
        cost
    }

    fn cost(&mut self, work: impl FnOnce(&mut Self)) -> Cost {
        let before = written();
        let start = Instant::now();
        work(self);
        let time = start.elapsed();
        let after = written();
        self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        let [commit, checkpoint] = [after - before, written() - after].map(|octets| octets as f64);
        Cost { time, commit, checkpoint }
    }

    /// One STORE, one transaction.
    fn change(&mut self, which: &[u64]) {
        self.modseq += 1;
        for at in which {
            let message = &mut self.messages[*at as usize];
            message.flags ^= 1;
            message.modseq = self.modseq;
        }
        self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        match self.kind {
            Kind::Deltas => self.write_delta(which),
            Kind::Pages => {
                self.write_leaves(&which.iter().map(|at| at / LEAF).collect());
                self.write_mailbox();
            }
            Kind::Rows | Kind::RowsIndexed => {
                let sql =
                    "UPDATE message SET modseq=?2, flags=?3, items=?4 WHERE mailbox=1 AND uid=?1";
                let mut update = self.connection.prepare_cached(sql).unwrap();
                let mut items = vec![1, 5];
                encode(&mut items, self.modseq);
                for at in which {
                    let Message { uid, flags, .. } = self.messages[*at as usize];
                    update.execute(params![uid, self.modseq, flags, items]).unwrap();
                }
                drop(update);
                self.write_mailbox();
            }
        }
        self.connection.execute_batch("COMMIT").unwrap();
    }

    fn write_mailbox(&self) {
        let mut update =
            self.connection.prepare_cached("UPDATE mailbox SET modseq=?1 WHERE id=1").unwrap();
        update.execute([self.modseq]).unwrap();
    }

    /// The head is tested as the engine does; the delta holds UIDs as ranges and the change of flags.
    fn write_delta(&mut self, which: &[u64]) {
        let mut head = self
            .connection
            .prepare_cached("SELECT max(seq) FROM delta WHERE account=1 AND number=1")
            .unwrap();
        let _: Option<u64> = head.query_row([], |row| row.get(0)).unwrap();
        let mut delta = vec![1, 0, 1];
        encode(&mut delta, self.modseq);
        for run in which.chunk_by(|one, next| one + 1 == *next) {
            encode(&mut delta, run[0]);
            encode(&mut delta, run.len() as u64);
        }
        let mut insert =
            self.connection.prepare_cached("INSERT INTO delta VALUES(1,1,?1,?2)").unwrap();
        insert.execute(params![self.modseq, delta]).unwrap();
        self.pending += delta.len();
        self.touched.extend(which.iter().map(|at| at / LEAF));
    }

    fn write_leaves(&self, leaves: &BTreeSet<u64>) {
        let mut replace = self
            .connection
            .prepare_cached("INSERT OR REPLACE INTO page VALUES(1,1,?1,?2)")
            .unwrap();
        for leaf in leaves {
            let mut octets = Vec::new();
            let from = (leaf * LEAF) as usize;
            let to = (from + LEAF as usize).min(self.messages.len());
            self.messages[from..to].iter().for_each(|message| message.encode(&mut octets));
            replace.execute(params![leaf, octets]).unwrap();
        }
    }

    /// Deltas of single changes that are not timed.
    fn delta_in_bulk(&mut self, random: &mut Random) {
        self.connection.execute_batch("BEGIN").unwrap();
        for _ in 0..1000 {
            let at = random.below(self.messages.len() as u64);
            self.modseq += 1;
            self.messages[at as usize].modseq = self.modseq;
            self.write_delta(&[at]);
        }
        self.connection.execute_batch("COMMIT").unwrap();
    }

    /// A fold after as many single changes as a fold waits for.
    fn whole_fold(&mut self, random: &mut Random) -> (Cost, usize) {
        self.fold();
        let first = self.modseq;
        while self.pending < FOLD_OCTETS {
            self.delta_in_bulk(random);
        }
        self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        let changes = (self.modseq - first) as usize;
        (self.cost(Self::fold), changes)
    }

    fn fold(&mut self) {
        self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let touched = std::mem::take(&mut self.touched);
        self.write_leaves(&touched);
        self.connection.execute("DELETE FROM delta", []).unwrap();
        self.write_mailbox();
        self.connection.execute_batch("COMMIT").unwrap();
        self.pending = 0;
    }

    /// Reads the whole mailbox into memory on a new connection.
    fn open(&self, cold: bool) -> Duration {
        if cold {
            forget(&self.path);
        }
        let start = Instant::now();
        let connection = connect(&self.path);
        let found =
            if self.kind.is_rows() { read_rows(&connection) } else { read_pages(&connection) };
        let time = start.elapsed();
        assert_eq!(found, self.messages.len());
        time
    }
}

const TABLES: &str = "
CREATE TABLE mailbox(id INTEGER PRIMARY KEY, modseq INTEGER NOT NULL);
CREATE TABLE delta(account INTEGER NOT NULL, number INTEGER NOT NULL, seq INTEGER NOT NULL,
  octets BLOB NOT NULL, PRIMARY KEY(account, number, seq)) WITHOUT ROWID;
CREATE TABLE page(account INTEGER NOT NULL, number INTEGER NOT NULL, key INTEGER NOT NULL,
  octets BLOB NOT NULL, PRIMARY KEY(account, number, key)) WITHOUT ROWID;
CREATE TABLE message(mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, modseq INTEGER NOT NULL,
  flags INTEGER NOT NULL, arrival INTEGER NOT NULL, date INTEGER NOT NULL, zone INTEGER NOT NULL,
  saved INTEGER NOT NULL, size INTEGER NOT NULL, body INTEGER NOT NULL, items BLOB NOT NULL,
  PRIMARY KEY(mailbox, uid)) WITHOUT ROWID;
";

fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
             PRAGMA cell_size_check = ON; PRAGMA cache_size = -16384;",
        )
        .unwrap();
    connection
}

fn read_rows(connection: &Connection) -> usize {
    let sql = "SELECT uid, modseq, flags, arrival, date, zone, saved, size, body, items
               FROM message WHERE mailbox=1 ORDER BY uid";
    let mut select = connection.prepare(sql).unwrap();
    let mut rows = select.query([]).unwrap();
    let mut messages: Vec<([u64; 9], Vec<u8>)> = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let numbers = std::array::from_fn(|column| row.get(column).unwrap());
        messages.push((numbers, row.get(9).unwrap()));
    }
    messages.len()
}

fn read_pages(connection: &Connection) -> usize {
    let mut messages: Vec<[u64; 13]> = Vec::new();
    let mut select = connection
        .prepare("SELECT octets FROM page WHERE account=1 AND number=1 ORDER BY key")
        .unwrap();
    let mut rows = select.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let mut octets = row.get_ref(0).unwrap().as_blob().unwrap();
        while !octets.is_empty() {
            messages.push(std::array::from_fn(|_| decode(&mut octets)));
        }
    }
    let mut select = connection
        .prepare("SELECT seq, octets FROM delta WHERE account=1 AND number=1 ORDER BY seq")
        .unwrap();
    let mut rows = select.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let mut octets = &row.get_ref(1).unwrap().as_blob().unwrap()[3..];
        let modseq = decode(&mut octets);
        while !octets.is_empty() {
            let (from, count) = (decode(&mut octets), decode(&mut octets));
            for at in from..from + count {
                messages[at as usize][3] = modseq;
            }
        }
    }
    messages.len()
}

/// Bare appends and overwrites with a sync each: what any design pays on this disk.
struct Floor {
    growing: File,
    length: u64,
    preallocated: File,
    appends: Vec<Duration>,
    overwrites: Vec<Duration>,
}

impl Floor {
    fn create(directory: &Path) -> Self {
        let growing = File::create(directory.join("growing")).unwrap();
        let mut preallocated = File::create(directory.join("preallocated")).unwrap();
        preallocated.write_all(&vec![0; 1 << 20]).unwrap();
        preallocated.sync_all().unwrap();
        Self { growing, length: 0, preallocated, appends: Vec::new(), overwrites: Vec::new() }
    }

    fn measure(&mut self, times: usize) {
        for number in 0..times as u64 {
            let start = Instant::now();
            self.growing.write_all_at(&[7; 100], self.length).unwrap();
            self.growing.sync_data().unwrap();
            self.appends.push(start.elapsed());
            self.length += 100;
            let start = Instant::now();
            self.preallocated.write_all_at(&[7; 100], number * 100).unwrap();
            self.preallocated.sync_data().unwrap();
            self.overwrites.push(start.elapsed());
        }
    }
}

fn report(floor: &Floor, layouts: &[Layout], table: &[Vec<Sample>]) {
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let [append, overwrite] =
        [&floor.appends, &floor.overwrites].map(|times| us(median(&mut times.clone())));
    println!("floor: append 100 B + fdatasync {append:.0} µs, overwrite {overwrite:.0} µs");
    for (layout, samples) in layouts.iter().zip(table) {
        println!("\n{} ({} octets as loaded)", layout.kind.name(), layout.octets_after_load);
        let line = |name: &str, cost: fn(&Sample) -> Cost| {
            let mut times: Vec<_> = samples.iter().map(|sample| cost(sample).time).collect();
            let middle = us(median(&mut times));
            let [least, most] = [times[0], times[times.len() - 1]].map(us);
            let octets = |part: fn(&Cost) -> f64| {
                let mut all: Vec<_> = samples.iter().map(|sample| part(&cost(sample))).collect();
                all.sort_by(f64::total_cmp);
                all[all.len() / 2]
            };
            let (commit, checkpoint) = (octets(|cost| cost.commit), octets(|cost| cost.checkpoint));
            println!(
                "  {name:<22} {middle:>9.0} µs [{least:.0}–{most:.0}]  {commit:>11.0} B commit  \
                 {checkpoint:>11.0} B checkpoint"
            );
        };
        line("one message", |sample| sample.single);
        line("10,000 in a row", |sample| sample.together);
        line("10,000 scattered", |sample| sample.scattered);
        if layout.kind == Kind::Deltas {
            line("fold", |sample| sample.fold);
            println!("    after {} single changes", samples[0].folded);
        }
        line("open, cold", |sample| Cost { time: sample.open_cold, ..Cost::default() });
        line("open, warm", |sample| Cost { time: sample.open_warm, ..Cost::default() });
    }
}

/// Drops the file from the page cache.
fn forget(path: &Path) {
    let file = format!("of={}", path.display());
    let done = Command::new("dd")
        .args([&file, "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"])
        .status();
    assert!(done.unwrap().success(), "dd could not drop the file from the cache");
}

fn written() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()).unwrap()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn encode(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn decode(octets: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = octets.split_first().unwrap();
        *octets = rest;
        number |= u64::from(first & 0x7F) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    number
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }
}
