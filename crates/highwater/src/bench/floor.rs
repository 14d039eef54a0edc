//! What this machine can do at best: syncs of its disk, octets through its loopback.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::tally::to_float;

const TIME: Duration = Duration::from_millis(700);
const SYNCED_OCTETS: usize = 4096;
const CHUNK: usize = 30 * 1024;

/// Single fdatasyncs in this folder, each of 4 KiB appended to one file, per second.
pub(super) fn syncs(folder: &Path) -> std::io::Result<f64> {
    let file = tempfile::NamedTempFile::new_in(folder)?;
    let mut out = OpenOptions::new().append(true).open(file.path())?;
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < TIME {
        out.write_all(&[0x78; SYNCED_OCTETS])?;
        out.sync_data()?;
        count += 1;
    }
    Ok(to_float(count) / begun.elapsed().as_secs_f64())
}

/// Octets that one thread can send to another through a TCP connection to loopback, in millions per second.
pub(super) fn loopback() -> std::io::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut reader = TcpStream::connect(listener.local_addr()?)?;
    let (mut writer, _) = listener.accept()?;
    std::thread::scope(|threads| {
        threads.spawn(move || {
            let chunk = [0x78; CHUNK];
            // It ends when the reader goes.
            while writer.write_all(&chunk).is_ok() {}
        });
        let mut buffer = vec![0; 256 * 1024];
        let begun = Instant::now();
        let mut octets = 0;
        while begun.elapsed() < TIME {
            octets += reader.read(&mut buffer)? as u64;
        }
        let rate = to_float(octets) / begun.elapsed().as_secs_f64() / 1e6;
        drop(reader);
        Ok(rate)
    })
}
