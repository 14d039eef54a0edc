//! The entry points for fuzzing on seeds and on mutations of them: the same ones in each run.

use imap::fuzz;

/// Seeds; the first octet of commands and responses says how they are cut.
const SEEDS: [&[u8]; 34] = [
    b"\x03a SELECT INBOX (CONDSTORE QRESYNC (77 100 1:15 (1,3 11,13)))\r\n",
    b"\x07a UID FETCH 1:* (FLAGS MODSEQ BODY.PEEK[1.2.HEADER.FIELDS (From \"T o\")]<0.100>) (CHANGEDSINCE 5 VANISHED)\r\n",
    b"\x02a STORE 1,3:5 (UNCHANGEDSINCE 9223372036854775807) +FLAGS.SILENT (\\Seen $x)\r\n",
    b"\x01a SEARCH RETURN (MIN ALL) CHARSET UTF-8 OR (SEEN 1:3) NOT MODSEQ \"/flags/\\\\draft\" all 5 BEFORE 1-Feb-1994\r\n",
    b"\x04a LOGIN {1+}\r\nu {3}\r\nabc\r\nb NOOP\r\n",
    b"\x05a APPEND x (\\Seen) \"17-Jul-1996 02:44:25 -0700\" {4+}\r\nbody {3+}\r\nabc\r\nc NOOP\r\n",
    b"\x09a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (a% \"b*\") RETURN (CHILDREN STATUS (MESSAGES HIGHESTMODSEQ))\r\n",
    b"\x03a CREATE Entw&APw-rfe (USE (\\Sent))\r\n",
    b"\x03a ID (\"name\" NIL)\r\na AUTHENTICATE PLAIN AGEAYg==\r\na ENABLE CONDSTORE\r\n",
    b"\x05a SETACL INBOX/Drafts {5+}\r\n-Zo\xc3\xab +cda\r\nb DELETEACL x $team\r\nc LISTRIGHTS ~/Mail/saved smith\r\n",
    b"\x0ba GETACL a\r\na MYRIGHTS a\r\nb LIST \"\" % RETURN (MYRIGHTS STATUS (DELETED-STORAGE))\r\n",
    b"\x06a SETQUOTA \"#user/alice\" (STORAGE 510 X-Y 9223372036854775807)\r\na GETQUOTA \"\"\r\na GETQUOTAROOT INBOX\r\n",
    b"\x09* ACL INBOX Fred rwipslxetda -Fred wetd\r\n* LISTRIGHTS a b \"\" lr s c d 0\r\n* MYRIGHTS a lrs\r\n* QUOTA \"\" (STORAGE 10 512)\r\n* QUOTAROOT a \"\" b\r\n",
    b"\x0c* OK [HIGHESTMODSEQ 715194045007]\r\n* OK [CLOSED]\r\na OK [MODIFIED 7,9] x\r\n",
    b"\x06* 1 FETCH (UID 4 MODSEQ (12121231000) FLAGS (\\Seen) BODY[]<0> {3}\r\nabc)\r\n",
    b"\x02* VANISHED (EARLIER) 41,43:116,118\r\n* SEARCH 2 5 (MODSEQ 917162500)\r\n",
    b"\x08* ESEARCH (TAG \"a\") UID ALL 1:3,5 MODSEQ 1236\r\n* STATUS x (UNSEEN 1 APPENDLIMIT NIL)\r\n",
    b"\x08* LIST (\\Noselect) \"/\" a (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n",
    b"\x10* FLAGS (\\Seen x)\r\n* ID (\"a\" {1}\r\nb)\r\n+ x\r\n* 5 EXPUNGE\r\n* CAPABILITY A B\r\n",
    b"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
    "Entwürfe/&-".as_bytes(),
    b"&AGE-&2AA-",
    b"%/*b%\0a/b/c",
    b"a*c\0a/b/c",
    b" 1-Feb-2024 23:59:60 +1400",
    b"17-Jul-1996 02:44:25 -0700",
    b"Subject: =?utf-8?q?h=C3=A9llo?=\r\n  folded\r\nFrom: \"A, B\" <a@b>, g: c@d;\r\n\r\nbody\r\n",
    b"Content-Type: multipart/mixed; boundary=\"b 1\"\r\n\r\n--b 1\r\n\r\none\r\n--b 1\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny\r\n--b 1--\r\n",
    b"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\nin\n--b--\n",
    b"Content-Type: text/html; charset=\"a\\\"b\" (c (d)); n*0=x\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+",
    b"\x01\x02()\x02()\x02()\x00\x00\x05\x01\x00\x02\x03\x00",
    b"MAIL FROM:<a@b.c> SIZE=100 BODY=8BITMIME SMTPUTF8",
    b"RCPT TO:<\"a b\"@c>",
    b"Subject: x\r\n\r\n.dot\r\n..\r\n.\r\n\n.\n\r\n",
];

/// Mutations of each seed.
const ROUNDS: usize = 400;

/// A generator of numbers that are the same in each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap_or(0)
    }
}

/// The seed after a few changes, now and then with a piece of another one.
fn mutate(seed: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    const ODD: [u8; 16] = *b"\0\r\n {}()\"\\*%&-\xff9";
    let mut octets = seed.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(octets.len() + 1);
        let end = (at + numbers.below(8)).min(octets.len());
        let odd = ODD.get(numbers.below(ODD.len())).copied().unwrap_or_default();
        match numbers.below(6) {
            0 => octets.insert(at, odd),
            1 => octets.truncate(at),
            2 => drop(octets.drain(at..end)),
            3 => drop(octets.splice(at..end, [odd])),
            4 => {
                let from = numbers.below(other.len());
                let piece = other.iter().skip(from).take(20).copied();
                drop(octets.splice(at..end, piece));
            }
            _ => {
                let again: Vec<u8> = octets.iter().skip(at).take(10).copied().collect();
                drop(octets.splice(at..at, again));
            }
        }
    }
    octets
}

#[test]
fn seeds_and_their_mutations_hold() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for seed in SEEDS {
        for round in 0..ROUNDS {
            let other = SEEDS.get(numbers.below(SEEDS.len())).copied().unwrap_or_default();
            let octets = if round == 0 { seed.to_vec() } else { mutate(seed, other, &mut numbers) };
            for (_, entry) in fuzz::ENTRIES {
                entry(&octets);
            }
        }
    }
}
