//! The RFCs' sections and the ids of requirements that a comment names.

use std::fmt;

/// A section of an RFC, or all of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cite {
    /// The RFC's number.
    pub rfc: u32,
    /// The section's number, `3.1.3`.
    pub section: Option<String>,
}

impl fmt::Display for Cite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.section {
            Some(section) => write!(f, "RFC {} §{section}", self.rfc),
            None => write!(f, "RFC {}", self.rfc),
        }
    }
}

/// What a comment cites: `RFC 7162 §3.1, §3.2.4; RFC 2180`. A `§` belongs to the RFC before it.
#[must_use]
pub fn cites(comment: &str) -> Vec<Cite> {
    let mut all: Vec<Cite> = Vec::new();
    let mut words = comment.split([' ', '#', '(']).filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        if word == "RFC" {
            let number_after = words.next_if(|next| number(next).is_some());
            all.extend(number_after.and_then(number).map(|rfc| Cite { rfc, section: None }));
        } else if let Some(section) = word.strip_prefix('§')
            && let Some(last) = all.last().cloned()
        {
            let digit = |c: &char| c.is_ascii_digit() || *c == '.';
            let section: String = section.chars().take_while(digit).collect();
            let section = Some(section.trim_end_matches('.').to_owned());
            if last.section.is_none() {
                all.pop();
            }
            all.push(Cite { rfc: last.rfc, section: section.filter(|s| !s.is_empty()) });
        }
    }
    all.dedup();
    all
}

fn number(word: &str) -> Option<u32> {
    word.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

/// The requirements that a comment names between brackets: `[S-23 a] [H1, S-63]`.
#[must_use]
pub fn ids(comment: &str) -> Vec<String> {
    let inside = comment.split('[').skip(1).filter_map(|part| Some(part.split_once(']')?.0));
    let words = inside.flat_map(|inside| inside.split([',', ' ']));
    let is_id = |word: &&str| {
        let number = word.strip_prefix("S-").or(word.strip_prefix("C-")).unwrap_or_default();
        !number.is_empty() && number.bytes().all(|octet| octet.is_ascii_digit())
    };
    words.filter(is_id).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_belong_to_the_rfc_before_them() {
        let shown =
            |text: &str| cites(text).iter().map(Cite::to_string).collect::<Vec<_>>().join("|");
        assert_eq!(
            shown("# RFC 7162 §3.1.3 example 11, RFC 2180 §4.2.3 [S-70]."),
            "RFC 7162 §3.1.3|RFC 2180 §4.2.3"
        );
        assert_eq!(shown("# RFC 7162 §3.1.11, §3.2.4 [S-48]"), "RFC 7162 §3.1.11|RFC 7162 §3.2.4");
        assert_eq!(shown("# (RFC 7888 §3)."), "RFC 7888 §3");
        assert_eq!(shown("# RFC 3501, RFC 7162."), "RFC 3501|RFC 7162");
        assert_eq!(shown("# the RFC §3"), "");
        assert_eq!(ids("# [S-23 a] [H3, S-9] [x] [S-] [C-1"), ["S-23", "S-9"]);
    }
}
