//! Starts the binary, waits for its `ready` line, and speaks line protocols to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// A test that hangs fails after this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary with these arguments.
pub(crate) fn highwater(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.args(arguments).env_remove("HIGHWATER_STORE");
    command
}

/// Runs the binary to its end, with this on its standard input.
pub(crate) fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = highwater(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A process that needs no input may have ended already.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("the binary ends")
}

/// Runs the binary and expects success; answers its standard output.
pub(crate) fn run_ok(arguments: &[&str], input: &str) -> String {
    let output = run(arguments, input);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {}\n{out}{err}", output.status);
    out
}

pub(crate) fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    ready: String,
}

impl Server {
    /// A server with mail in a temporary directory, and account `test` with password `test`.
    pub(crate) fn ephemeral(more: &[&str]) -> Self {
        Self::start(&[&["serve", "--ephemeral", "--exit-with-parent"], more].concat())
    }

    /// A server on this data directory, on free ports.
    pub(crate) fn on(data: &Path, more: &[&str]) -> Self {
        let data = data.to_str().expect("a path in UTF-8");
        let free = "127.0.0.1:0";
        let fixed =
            ["serve", "--data", data, "--no-demo", "--imap", free, "--imaps", free, "--lmtp", free];
        Self::start(&[&fixed, more].concat())
    }

    fn start(arguments: &[&str]) -> Self {
        let mut child = highwater(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut ready = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        out.read_line(&mut ready).expect("a line");
        assert!(ready.starts_with("ready "), "{arguments:?}: {ready:?}");
        Self { child, ready }
    }

    /// The address of a listener.
    pub(crate) fn address(&self, name: &str) -> &str {
        let key = format!(" {name}=");
        let at = self.ready.find(&key).expect("the listener is in the ready line") + key.len();
        self.ready[at..].split_whitespace().next().expect("an address")
    }

    /// A connection in clear text to a listener.
    pub(crate) fn connect(&self, name: &str) -> Client<TcpStream> {
        Client::new(tcp(self.address(name)))
    }

    /// A connection to the IMAPS listener.
    pub(crate) fn connect_tls(&self) -> Client<Tls> {
        Client::new(tls(tcp(self.address("imaps"))))
    }

    /// A connection that has logged in as `test`.
    pub(crate) fn log_in(&self) -> Client<TcpStream> {
        let mut client = self.connect("imap");
        client.line();
        client.ok("LOGIN test test");
        client
    }

    /// Asks the server to end.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill");
        assert!(sent.success());
    }

    /// Waits until it has ended.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("the server ends")
    }

    /// Ends it at once, as a power cut would the process.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("the server ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A TLS connection.
pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn tcp(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream
}

/// Does the client's half of a handshake; the self-signed certificate is taken as it is.
pub(crate) fn tls(stream: TcpStream) -> Tls {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).expect("a handshake");
    }
    stream
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]
    }
}

/// A client that reads and writes lines.
pub(crate) struct Client<S: Read + Write> {
    stream: BufReader<S>,
    tags: u32,
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream: BufReader::new(stream), tags: 0 }
    }

    /// The connection itself; what was read ahead is lost.
    pub(crate) fn into_inner(self) -> S {
        self.stream.into_inner()
    }

    pub(crate) fn inner(&self) -> &S {
        self.stream.get_ref()
    }

    /// Sends these octets.
    pub(crate) fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(octets.as_ref()).expect("the server listens");
        self.stream.get_mut().flush().expect("the server listens");
    }

    /// The next line without its end; empty at the end of the connection.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(_) => text(&line).trim_end().to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => String::new(),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => String::new(),
            Err(error) => panic!("no line: {error}"),
        }
    }

    /// Lines up to and with the first that begins so.
    pub(crate) fn until(&mut self, start: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            assert!(!line.is_empty() || lines.len() < 10_000, "{start} did not come: {lines:?}");
            let found = line.starts_with(start);
            lines.push(line);
            if found {
                return lines;
            }
        }
    }

    /// Sends a command; answers the lines up to the tagged one.
    pub(crate) fn command(&mut self, command: &str) -> Vec<String> {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send(format!("{tag} {command}\r\n"));
        self.until(&format!("{tag} "))
    }

    /// Sends a command that must be answered OK.
    pub(crate) fn ok(&mut self, command: &str) -> Vec<String> {
        let lines = self.command(command);
        assert!(lines[lines.len() - 1].contains(" OK"), "{command}: {lines:?}");
        lines
    }

    /// How many messages a mailbox has.
    pub(crate) fn count(&mut self, mailbox: &str) -> u32 {
        let lines = self.ok(&format!("STATUS {mailbox} (MESSAGES)"));
        let digits: String = lines[0]
            .rsplit("MESSAGES ")
            .next()
            .expect("a number")
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse().expect("a number")
    }
}
