//! Values of the configuration file that are more than a string or a number: addresses, sizes, times.
//!
//! # Invariants
//! - What a value may be is checked while it is read, so that the error knows its line.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

/// Where to listen: a TCP address or a unix socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ListenAddress {
    /// An IP address with a port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("expected a path after unix:, such as unix:/run/highwater/lmtp".into());
            }
            return Ok(Self::Unix(path.into()));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            format!("`{text}` is no address: expected IP:PORT such as 127.0.0.1:1143 or [::1]:1143")
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The address of a machine, or of a network: `10.0.0.5`, `10.0.0.0/24`, `2001:db8::/64`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Network(pub(crate) IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let one = text.parse::<IpAddr>().map(IpNet::from);
        one.or_else(|_| text.parse()).map(Self).map_err(|_| {
            format!(
                "`{text}` is no network: expected IP or IP/PREFIX such as 10.0.0.5 or 10.0.0.0/24"
            )
        })
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A number of octets: `65536`, `"64 KiB"`, `"50 MiB"`, `"1 GiB"`, or shorter `64K`, `50M`, `1G`, `2T`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Octets(pub(crate) u64);

impl Octets {
    /// As a length in memory; what does not fit is as good as unlimited.
    pub(crate) fn as_len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Octets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim() {
            "" | "B" => 1,
            "K" | "KiB" => 1 << 10,
            "M" | "MiB" => 1 << 20,
            "G" | "GiB" => 1 << 30,
            "T" | "TiB" => 1 << 40,
            _ => return Err(size_expected(text)),
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| size_expected(text))
    }
}

fn size_expected(text: &str) -> String {
    format!(
        "`{text}` is no size: expected a number with B, KiB, MiB, GiB or TiB behind it, such as \"50 MiB\""
    )
}

impl fmt::Display for Octets {
    /// In the largest unit of which there is at least one; with one decimal place, cut off, unless it is exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let Some((unit, bits)) = units.into_iter().find(|(_, bits)| self.0 >> bits > 0) else {
            return write!(f, "{} B", self.0);
        };
        let (whole, rest) = (self.0 >> bits, self.0 & ((1 << bits) - 1));
        match rest {
            0 => write!(f, "{whole} {unit}"),
            rest => write!(f, "{whole}.{} {unit}", (rest * 10) >> bits),
        }
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match NumberOrText::deserialize(deserializer)? {
            NumberOrText::Number(n) => Ok(Self(n)),
            NumberOrText::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number, or a size such as \"50 MiB\"")]
enum NumberOrText {
    Number(u64),
    Text(String),
}

/// A length of time: `"30 s"`, `"5 min"`, `"2 h"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Time(pub(crate) Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || {
            format!(
                "`{text}` is no time: expected a number with s, min or h behind it, such as \"30 min\""
            )
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let factor = match unit.trim() {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            _ => return Err(expected()),
        };
        let seconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
        match seconds {
            Some(seconds @ 1..=31_536_000) => Ok(Self(Duration::from_secs(seconds))),
            _ => Err(format!("{}, and between 1 s and a year", expected())),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// How long something is kept: `"forever"`, `"400 days"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Keep {
    /// For ever.
    #[default]
    Forever,
    /// For so many days, at least one.
    Days(u32),
}

impl Keep {
    /// In seconds, unless for ever.
    pub(crate) fn seconds(self) -> Option<i64> {
        match self {
            Self::Forever => None,
            Self::Days(days) => Some(i64::from(days) * 24 * 60 * 60),
        }
    }
}

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "forever" {
            return Ok(Self::Forever);
        }
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        match number.parse() {
            Ok(days @ 1..) if matches!(unit.trim(), "days" | "day") => Ok(Self::Days(days)),
            _ => Err(format!(
                "`{text}` is not how long: expected \"forever\" or a number of days from 1 up, such as \"400 days\""
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A number of things of which there must be at least one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Count(pub(crate) usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match usize::deserialize(deserializer)? {
            0 => Err(de::Error::custom("expected a number from 1 up")),
            n => Ok(Self(n)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_ip_and_port_or_a_unix_path() {
        assert_eq!(
            "127.0.0.1:0".parse(),
            Ok(ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))))
        );
        assert_eq!("unix:/a/b".parse(), Ok(ListenAddress::Unix("/a/b".into())));
        assert!("localhost".parse::<ListenAddress>().is_err());
        assert!("unix:".parse::<ListenAddress>().is_err());
    }

    #[test]
    fn sizes_and_times_have_units() {
        assert_eq!("64 KiB".parse(), Ok(Octets(65_536)));
        assert_eq!("7".parse(), Ok(Octets(7)));
        assert_eq!("10G".parse(), Ok(Octets(10 << 30)));
        for (octets, shown) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2047, "1.9 KiB"), (3 << 40, "3 TiB")]
        {
            assert_eq!(Octets(octets).to_string(), shown);
        }
        assert!("7 kB".parse::<Octets>().is_err());
        assert!("99999999999999999999".parse::<Octets>().is_err());
        assert_eq!("5 min".parse(), Ok(Time(Duration::from_secs(300))));
        assert!("5".parse::<Time>().is_err());
        assert!("0 s".parse::<Time>().is_err());
    }

    #[test]
    fn kept_for_days_or_for_ever() {
        assert_eq!("forever".parse(), Ok(Keep::Forever));
        assert_eq!("400 days".parse(), Ok(Keep::Days(400)));
        assert_eq!("1 day".parse::<Keep>().unwrap().seconds(), Some(86_400));
        assert!("4294967295 days".parse::<Keep>().unwrap().seconds().is_some());
        for bad in ["", "0 days", "-1 days", "400", "400 h", "4294967296 days", "for ever"] {
            assert!(bad.parse::<Keep>().is_err(), "{bad}");
        }
    }
}
