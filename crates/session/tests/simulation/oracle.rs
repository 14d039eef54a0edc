//! A client's memory by RFC 7162 §6 and nothing else (C-11 … C-14): what it knows, and what it computes as its
//! HIGHESTMODSEQ.

use std::collections::BTreeMap;

/// A set of flags as text, sorted.
pub(crate) type Flags = Vec<String>;

/// What a client keeps on its disk between connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) uid_validity: u64,
    /// HIGHESTMODSEQ by C-14; 0 while no synchronisation was ever complete.
    pub(crate) mod_seq: u64,
    pub(crate) messages: BTreeMap<u64, Flags>,
    /// The first UID that was not fetched in order: an unsolicited FETCH may tell of later ones before.
    pub(crate) next_uid: u64,
}

/// What it knows while connected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) kept: Kept,
    /// The UID at each number, 0 while unknown.
    pub(crate) numbers: Vec<u64>,
    /// HIGHESTMODSEQ of the SELECT, stored once the synchronisation is complete [C-11].
    selected: u64,
    pub(crate) synced: bool,
    /// Since the last tagged response: the last HIGHESTMODSEQ code, and the greatest MODSEQ.
    code: Option<u64>,
    greatest: u64,
    /// The `.SILENT` STORE under way, as sign and flag: a FETCH without FLAGS says that it was done.
    pub(crate) silent: Option<(&'static str, &'static str)>,
    /// Whether the next SEARCH lists all messages, and what the last such one listed.
    pub(crate) searches_all: bool,
    pub(crate) searched: Option<Vec<u64>>,
}

impl Oracle {
    pub(crate) fn connect(kept: &Kept) -> Self {
        let mut kept = kept.clone();
        kept.messages.retain(|uid, _| *uid < kept.next_uid);
        Self { kept, ..Self::default() }
    }

    /// The first UID that this client has not fetched in order.
    pub(crate) fn next_uid(&self) -> u64 {
        self.kept.next_uid.max(1)
    }

    /// What was new has been fetched: no number is without a UID.
    pub(crate) fn fetched_new(&mut self) {
        if !self.numbers.contains(&0) {
            let last = self.numbers.iter().max().copied().unwrap_or(0);
            self.kept.next_uid = self.kept.next_uid.max(last + 1);
        }
    }

    /// After a quick resync the messages that are known and not vanished are the first ones, in order.
    pub(crate) fn number_known(&mut self) -> Result<(), String> {
        let next = self.next_uid();
        let known: Vec<u64> = self.kept.messages.range(..next).map(|(uid, _)| *uid).collect();
        for (i, uid) in known.iter().enumerate() {
            match self.numbers.get_mut(i) {
                Some(slot) if *slot == 0 || slot == uid => *slot = *uid,
                Some(slot) => return Err(format!("number {} is UID {slot}, not {uid}", i + 1)),
                None => return Err(format!("{} messages known, {} there", known.len(), i)),
            }
        }
        Ok(())
    }

    /// The synchronisation is complete: now the value of the SELECT counts [C-11].
    pub(crate) fn complete(&mut self) {
        self.synced = true;
        self.kept.mod_seq = self.selected.max(self.kept.mod_seq);
    }

    /// Takes one response line, literals replaced.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), String> {
        let Some(rest) = line.strip_prefix("* ") else { return self.tagged(line) };
        self.code(rest);
        let words: Vec<&str> = rest.split_whitespace().collect();
        match words.as_slice() {
            ["VANISHED", "(EARLIER)", set] => self.vanished(set, true),
            ["VANISHED", set] => self.vanished(set, false),
            [n, "EXISTS"] => self.exists(parse(n)?),
            [n, "EXPUNGE"] => self.expunge(parse(n)?),
            [n, "FETCH", ..] => self.fetch(parse(n)?, rest),
            ["SEARCH", uids @ ..] if self.searches_all => self.all(uids),
            _ => Ok(()),
        }
    }

    fn code(&mut self, rest: &str) {
        let value = |name: &str| {
            let behind = rest.split_once(name)?.1;
            behind.split(']').next()?.trim().parse::<u64>().ok()
        };
        if let Some(value) = value("[HIGHESTMODSEQ ") {
            if self.synced {
                self.code = Some(value);
            } else {
                self.selected = value;
            }
        }
        if let Some(value) = value("[UIDVALIDITY ")
            && value != self.kept.uid_validity
        {
            // The mailbox is another one: forget everything [C-5, C-6].
            self.kept = Kept { uid_validity: value, ..Kept::default() };
        }
    }

    /// [C-14]: a code counts even if it is lower; else the greatest MODSEQ since the last tagged response.
    fn tagged(&mut self, line: &str) -> Result<(), String> {
        self.code(line);
        if self.synced {
            match self.code.take() {
                Some(code) => self.kept.mod_seq = code,
                None => self.kept.mod_seq = self.kept.mod_seq.max(self.greatest),
            }
        }
        self.greatest = 0;
        self.silent = None;
        Ok(())
    }

    /// `UID SEARCH ALL` names the UID at each number.
    fn all(&mut self, uids: &[&str]) -> Result<(), String> {
        let uids: Vec<u64> = uids.iter().map(|uid| parse(uid)).collect::<Result<_, _>>()?;
        if uids.len() != self.numbers.len() {
            return Err(format!("{} UIDs for {} messages", uids.len(), self.numbers.len()));
        }
        self.numbers.clone_from(&uids);
        self.searched = Some(uids);
        self.searches_all = false;
        Ok(())
    }

    fn exists(&mut self, count: u64) -> Result<(), String> {
        if (count as usize) < self.numbers.len() {
            return Err(format!("EXISTS fell from {} to {count}", self.numbers.len()));
        }
        self.numbers.resize(count as usize, 0);
        Ok(())
    }

    fn expunge(&mut self, number: u64) -> Result<(), String> {
        let at = number.checked_sub(1).filter(|at| (*at as usize) < self.numbers.len());
        let at = at.ok_or_else(|| format!("EXPUNGE {number} of {}", self.numbers.len()))?;
        let uid = self.numbers.remove(at as usize);
        self.kept.messages.remove(&uid);
        Ok(())
    }

    /// (EARLIER) changes no numbers [C-26]; the other lowers the count by one for each UID [C-27].
    fn vanished(&mut self, set: &str, earlier: bool) -> Result<(), String> {
        for uid in numbers(set)? {
            self.kept.messages.remove(&uid);
            if earlier {
                continue;
            }
            let at = self.numbers.iter().position(|known| *known == uid);
            // A message that was counted and never fetched is one of those whose UID is unknown.
            let at = at.or_else(|| self.numbers.iter().position(|known| *known == 0));
            let at = at.ok_or_else(|| format!("VANISHED {uid}, which was never counted"))?;
            self.numbers.remove(at);
        }
        Ok(())
    }

    fn fetch(&mut self, number: u64, rest: &str) -> Result<(), String> {
        let field = |name: &str, close: char| {
            let at = rest.find(name)? + name.len();
            rest.get(at..)?.split(close).next().map(str::to_owned)
        };
        let uid = field("UID ", ' ').map(|text| parse(text.trim_end_matches(')'))).transpose()?;
        let mod_seq = field("MODSEQ (", ')').map(|text| parse(&text)).transpose()?;
        let slot = number.checked_sub(1).and_then(|at| self.numbers.get_mut(at as usize));
        let slot =
            slot.ok_or_else(|| format!("FETCH of number {number}, beyond what was counted"))?;
        if let Some(uid) = uid {
            if *slot != 0 && *slot != uid {
                return Err(format!("number {number} was UID {slot} and is now said to be {uid}"));
            }
            *slot = uid;
        }
        let uid = *slot;
        if let Some(flags) = field("FLAGS (", ')') {
            let mut flags: Flags =
                flags.split_whitespace().filter(|f| *f != "\\Recent").map(str::to_owned).collect();
            flags.sort();
            if uid != 0 {
                self.kept.messages.insert(uid, flags);
            }
        } else if let (Some((sign, flag)), Some(_)) = (self.silent, mod_seq) {
            let known = self.kept.messages.get_mut(&uid);
            let flags = known.ok_or_else(|| format!("a silent change of the unknown UID {uid}"))?;
            match sign {
                "" => *flags = vec![flag.to_owned()],
                _ => flags.retain(|known| known != flag),
            }
            if sign == "+" {
                flags.push(flag.to_owned());
                flags.sort();
            }
        }
        self.greatest = self.greatest.max(mod_seq.unwrap_or(0));
        Ok(())
    }
}

pub(crate) fn parse(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("not a number: {text:?}"))
}

/// The numbers of a set; the sets of a simulation are small.
pub(crate) fn numbers(set: &str) -> Result<Vec<u64>, String> {
    let mut all = Vec::new();
    for range in set.split(',') {
        let (low, high) = range.split_once(':').unwrap_or((range, range));
        all.extend(parse(low)?..=parse(high)?);
    }
    Ok(all)
}
