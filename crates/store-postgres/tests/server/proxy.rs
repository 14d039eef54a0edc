//! What stands between a node and its server: passes on frames of the protocol, and cuts, hangs or counts as told.

#![allow(dead_code, reason = "each test uses some of it")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What is done to the next COMMIT that comes by, once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Plan {
    /// It passes.
    #[default]
    Pass,
    /// It does not arrive, the connection ends.
    CutCommit,
    /// It arrives and is done; its answer does not arrive, the connection ends.
    CutReply,
    /// It does not arrive, and the connection stays.
    HoldCommit,
    /// It arrives and is done; its answer does not arrive, and the connection stays.
    HoldReply,
    /// Nothing arrives in either direction from the start of a connection on.
    HoldAll,
}

#[derive(Default)]
struct State {
    plan: Plan,
    /// Whether what comes together is gathered, so that round trips can be counted.
    gathers: bool,
    /// The server's port, for connections that come.
    server: u16,
    trips: usize,
    carried_out: usize,
}

/// A proxy.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// One before the server at this port of the loopback address.
    pub(crate) fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State { server, ..State::default() };
        let proxy = Self { port, state: Arc::new(Mutex::new(state)) };
        let serving = proxy.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = serving.lock().server;
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else {
                    continue;
                };
                serving.serve(&client, &server);
            }
        });
        proxy
    }

    /// The URL that leads through it.
    pub(crate) fn url(&self, url: &str, server: u16) -> String {
        url.replace(&format!(":{server}/"), &format!(":{}/", self.port))
    }

    /// From now on connections lead to another server; those that are there stay.
    pub(crate) fn lead_to(&self, server: u16) {
        self.lock().server = server;
    }

    pub(crate) fn plan(&self, plan: Plan) {
        self.lock().plan = plan;
    }

    /// How many plans were carried out.
    pub(crate) fn carried_out(&self) -> usize {
        self.lock().carried_out
    }

    /// From now on what a client sends without waiting goes on together, and counts as one.
    pub(crate) fn count(&self) {
        let mut state = self.lock();
        (state.gathers, state.trips) = (true, 0);
    }

    /// Round trips since, except those of a connection that listens for notifications.
    pub(crate) fn trips(&self) -> usize {
        std::mem::take(&mut self.lock().trips)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, client: &TcpStream, server: &TcpStream) {
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let mine = Arc::new(Mutex::new(Plan::Pass));
        let pumps: [(TcpStream, TcpStream, bool); 2] = [
            (client.try_clone().unwrap(), server.try_clone().unwrap(), true),
            (server.try_clone().unwrap(), client.try_clone().unwrap(), false),
        ];
        for (from, to, is_client) in pumps {
            let mut pump =
                Pump { proxy: self.clone(), mine: Arc::clone(&mine), from, to, is_client };
            std::thread::spawn(move || {
                pump.run();
                let _ = pump.from.shutdown(Shutdown::Both);
                let _ = pump.to.shutdown(Shutdown::Both);
            });
        }
    }
}

/// One direction of one connection.
struct Pump {
    proxy: Proxy,
    /// What is being done to this connection.
    mine: Arc<Mutex<Plan>>,
    from: TcpStream,
    to: TcpStream,
    is_client: bool,
}

impl Pump {
    fn mine(&self) -> Plan {
        *self.mine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry_out(&self, plan: Plan) {
        *self.mine.lock().unwrap_or_else(PoisonError::into_inner) = plan;
        let mut state = self.proxy.lock();
        state.plan = Plan::Pass;
        state.carried_out += 1;
    }

    fn run(&mut self) {
        let (mut octets, mut is_first, mut listens) = (Vec::new(), self.is_client, false);
        while self.receive(&mut octets) {
            let mut out = Vec::new();
            while let Some(len) = frame_len(&octets, is_first) {
                let frame: Vec<u8> = octets.drain(..len).collect();
                is_first = false;
                listens |=
                    self.is_client && frame.starts_with(b"Q") && frame[5..].starts_with(b"LISTEN");
                if self.proxy.lock().plan == Plan::HoldAll {
                    *self.mine.lock().unwrap_or_else(PoisonError::into_inner) = Plan::HoldAll;
                }
                match self.look(&frame) {
                    None => {
                        let _ = self.to.write_all(&out);
                        return;
                    }
                    Some(true) => out.extend(frame),
                    Some(false) => {}
                }
            }
            if self.is_client && !listens && !out.is_empty() {
                self.proxy.lock().trips += 1;
            }
            if self.to.write_all(&out).is_err() {
                return;
            }
        }
    }

    /// Whether a frame goes on; `None` ends the connection.
    fn look(&self, frame: &[u8]) -> Option<bool> {
        let asks = self.is_client && frame.starts_with(b"Q") && frame[5..].starts_with(b"COMMIT");
        let answers =
            !self.is_client && frame.starts_with(b"C") && frame[5..].starts_with(b"COMMIT");
        if asks {
            let plan = self.proxy.lock().plan;
            if plan != Plan::Pass {
                self.carry_out(plan);
            }
        }
        match self.mine() {
            Plan::Pass => Some(true),
            Plan::CutCommit if self.is_client => None,
            Plan::CutReply if answers => None,
            Plan::HoldReply | Plan::CutReply => Some(self.is_client),
            Plan::CutCommit | Plan::HoldCommit | Plan::HoldAll => Some(false),
        }
    }

    /// Some more octets, and where they are gathered whatever comes before a silence; false at the end.
    fn receive(&mut self, octets: &mut Vec<u8>) -> bool {
        const SILENCE: Duration = Duration::from_millis(30);
        let mut piece = [0; 64 * 1024];
        let mut some = false;
        loop {
            self.from.set_read_timeout(some.then_some(SILENCE)).unwrap();
            match self.from.read(&mut piece) {
                Ok(0) => return some,
                Ok(len) => octets.extend_from_slice(&piece[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return some,
            }
            some = true;
            if !(self.is_client && self.proxy.lock().gathers) {
                return true;
            }
        }
    }
}

/// The length of the first frame, if it is there whole; the first that a client sends has no type.
fn frame_len(octets: &[u8], is_first: bool) -> Option<usize> {
    let at = usize::from(!is_first);
    let len = u32::from_be_bytes(octets.get(at..at + 4)?.try_into().unwrap());
    let len = at + usize::try_from(len).unwrap();
    (octets.len() >= len).then_some(len)
}
