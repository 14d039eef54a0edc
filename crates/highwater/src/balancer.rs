//! The PROXY header: a load balancer's word for where a connection comes from.
//!
//! # Invariants
//! - It is expected from the configured addresses, always, and never taken from any other: who could say where it comes
//!   from could log in as if from this machine.
//! - Not one octet behind the header is read, since a TLS handshake follows.
//!
//! # Standards
//! The PROXY protocol, versions 1 and 2 (HAProxy's document of 2020-03-05).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

/// A balancer sends the header with its first packet; this is ample.
const TIME_FOR_HEADER: Duration = Duration::from_secs(5);
/// The shortest line, `PROXY UNKNOWN`; of version 2 all but the last octet of what stands before the addresses.
const SHORTEST: usize = 15;
/// Version 1 with two IPv6 addresses.
const LONGEST_TEXT: usize = 107;
/// What version 2 begins with; command, family and a length of two octets follow, then the addresses.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// What a balancer may say besides the addresses in version 2.
const LONGEST_BINARY: usize = 4096;

/// Whether connections from this address begin with a PROXY header.
pub(crate) fn is_balancer(balancers: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    balancers.iter().any(|network| network.contains(&address))
}

/// Reads the header: the address of the client, or the balancer's own when it connects for itself (a health check).
///
/// # Errors
/// `InvalidData` when no header comes first, `TimedOut` when none comes, else what reading failed with.
pub(crate) async fn client_address<S: AsyncRead + Unpin>(
    stream: &mut S,
    balancer: SocketAddr,
) -> io::Result<SocketAddr> {
    let octets = timeout(TIME_FOR_HEADER, header(stream)).await??;
    let (header, used) = ProxyHeader::parse(&octets, ParseConfig::default()).map_err(invalid)?;
    if used != octets.len() {
        return Err(invalid("its length is wrong"));
    }
    Ok(header.proxied_address().map_or(balancer, |proxied| proxied.source))
}

/// The octets of the header and no more.
async fn header<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; SHORTEST];
    stream.read_exact(&mut octets).await?;
    if octets.starts_with(b"PROXY ") {
        while !octets.ends_with(b"\r\n") {
            if octets.len() == LONGEST_TEXT {
                return Err(invalid("its line does not end"));
            }
            octets.push(stream.read_u8().await?);
        }
        return Ok(octets);
    }
    if !octets.starts_with(SIGNATURE) {
        return Err(invalid("something else came first"));
    }
    let length = [octets.pop().unwrap_or_default(), stream.read_u8().await?];
    octets.extend(length);
    let mut rest = vec![0; u16::from_be_bytes(length).into()];
    if rest.len() > LONGEST_BINARY {
        return Err(invalid("it is too long"));
    }
    stream.read_exact(&mut rest).await?;
    octets.append(&mut rest);
    Ok(octets)
}

fn invalid(why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no PROXY header: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BALANCER: &str = "10.0.0.1:40000";

    async fn read(mut octets: &[u8]) -> Result<(String, usize), String> {
        let balancer = BALANCER.parse().unwrap();
        let address = client_address(&mut octets, balancer).await.map_err(|e| e.to_string())?;
        Ok((address.to_string(), octets.len()))
    }

    /// A header of version 2: command, family, addresses and more.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut octets = SIGNATURE.to_vec();
        octets.extend([0x20 | command, family]);
        octets.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        octets.extend_from_slice(rest);
        octets
    }

    #[tokio::test]
    async fn a_header_of_either_version_says_who_the_client_is_and_nothing_behind_it_is_read() {
        let text = b"PROXY TCP4 192.0.2.7 10.0.0.2 52953 993\r\n\x16\x03";
        assert_eq!(read(text).await, Ok(("192.0.2.7:52953".into(), 2)));
        let six = b"PROXY TCP6 2001:db8::7 2001:db8::2 52953 993\r\nabc";
        assert_eq!(read(six).await, Ok(("[2001:db8::7]:52953".into(), 3)));
        let mut two =
            binary(1, 0x11, &[192, 0, 2, 7, 10, 0, 0, 2, 0xce, 0xd9, 3, 0xe1, 4, 0, 1, 9]);
        two.extend(b"\x16\x03\x01");
        assert_eq!(read(&two).await, Ok(("192.0.2.7:52953".into(), 3)));
    }

    #[tokio::test]
    async fn a_balancer_that_speaks_for_itself_is_its_own_client() {
        assert_eq!(read(b"PROXY UNKNOWN\r\n").await, Ok((BALANCER.into(), 0)));
        assert_eq!(read(&binary(0, 0, &[])).await, Ok((BALANCER.into(), 0)));
    }

    #[tokio::test]
    async fn what_is_no_header_is_an_error() {
        for octets in [
            &b"a LOGIN user password\r\n"[..],
            b"PROXY TCP4 192.0.2.7 10.0.0.2 52953\r\n more",
            b"PROXY TCP4 one two 1 2\r\n",
            b"PROXY ",
            &[b"PROXY ".as_slice(), &[b'x'; 200]].concat(),
            &binary(1, 0x11, &[1, 2, 3]),
            &binary(9, 0x11, &[0; 12]),
            &binary(1, 0x11, &[0; 5000]),
        ] {
            assert!(read(octets).await.is_err(), "{octets:?}");
        }
    }

    #[test]
    fn only_the_configured_addresses_are_balancers() {
        let balancers = ["10.0.0.0/24".parse().unwrap(), "2001:db8::1/128".parse().unwrap()];
        for (address, is) in [
            ("10.0.0.9", true),
            ("::ffff:10.0.0.9", true),
            ("10.0.1.9", false),
            ("2001:db8::1", true),
        ] {
            assert_eq!(is_balancer(&balancers, address.parse().unwrap()), is, "{address}");
        }
    }
}
