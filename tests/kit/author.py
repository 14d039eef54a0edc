"""Someone who changes an account at random and remembers what they did.

The seed decides what is done; what it is done to also depends on what the server
holds by then, so that a seed repeats a run in its choices and not in its timing.
"""

import random
import threading

from . import mailboxes, wire

KEYWORDS = ["$Forwarded", "$Label1", "NonJunk", "work"]
PALETTE = mailboxes.FLAGS + KEYWORDS
WEIGHTS = {"flag": 12, "add": 4, "expunge": 1, "move": 2, "copy": 1, "create": 0.2}
BOXES_MADE_MAX = 2
UIDS_MAX = 6
CONTESTED = 12


class Author:
    """One connection that changes things, in a thread of its own while `with` lasts.

    `owns(digest)` tells whose a message is: True for this author's alone, None for
    anybody's, False for somebody else's, which is let be. `ledger` holds where each
    message of their own has to be, and with which flags: {digest: (mailbox, flags)}.
    `share` of the changes are to their own. Nothing changes while `busy` is held.
    """

    def __init__(self, name, address, seed, taken, fresh, owns, weights=WEIGHTS, share=0.6, pause=0.1):
        self.name = name
        self.chance = random.Random(f"{seed} {name}")
        self.connection = wire.Connection(address, "user1")
        self.boxes = sorted(taken)
        self.fresh = [message for message in fresh if owns(mailboxes.digest(message))]
        self.owns = owns
        self.weights = weights
        self.share = share
        self.pause = pause
        self.done = dict.fromkeys(weights, 0)
        self.known = {}
        self.made = 0
        self.ledger = {
            digest: (box, flags) for box in taken for digest, flags in taken[box].items() if owns(digest)
        }
        self.gone = set()
        self.error = None
        self.busy = threading.Lock()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_error):
        self.over.set()
        self.thread.join()
        self.connection.close()

    def work(self):
        """Change one thing after the other until it is over; pauses set the pace."""
        try:
            while not self.over.wait(self.chance.uniform(0, self.pause)):
                with self.busy:
                    self.step()
        except Exception as error:  # whatever it is, the test reports it
            self.error = error

    def step(self):
        """One change, of a kind drawn by weight."""
        [kind] = self.chance.choices(list(self.weights), list(self.weights.values()))
        box = self.chance.choice(self.boxes)
        if kind == "create":
            happened = self.create()
        elif kind == "add":
            happened = self.add(box)
        else:
            self.connection.must(f"SELECT {mailboxes.quoted(box)}")
            uids, own = self.choose(box)
            happened = uids and getattr(self, kind)(box, uids, own)
        self.done[kind] += bool(happened)

    def choose(self, box):
        """Some messages: ({uid: digest}, whether they are this author's own).

        Of those that are anybody's only the newest, so that authors meet at them.
        """
        own = self.chance.random() < self.share
        present = self.look(box)
        candidates = [uid for uid in sorted(present) if self.owns(present[uid]) is (True if own else None)]
        candidates = candidates if own else candidates[-CONTESTED:]
        count = min(len(candidates), self.chance.randint(1, UIDS_MAX))
        return {uid: present[uid] for uid in self.chance.sample(candidates, count)}, own

    def look(self, box):
        """What the selected mailbox holds: {uid: digest}; each message is read once."""
        known = self.known.setdefault(box, {})
        [found] = [r for r in self.connection.must("UID SEARCH ALL") if r.startswith(b"* SEARCH")]
        uids = [int(word) for word in found.split()[2:]]
        unknown = [str(uid) for uid in uids if uid not in known]
        if unknown:
            for response in self.connection.must(f"UID FETCH {','.join(unknown)} (UID BODY.PEEK[])"):
                fields = wire.fetch_fields(response)
                if fields and fields[3] is not None:
                    known[fields[1]] = mailboxes.digest(fields[3])
        return {uid: known[uid] for uid in uids if uid in known}

    def change(self, command, own):
        """Send a command; only messages that others touch too may have gone before it."""
        tagged, _ = self.connection.command(command)
        if own and not tagged.startswith("OK"):
            raise wire.WireError(f"{command} was answered: {tagged}")
        return tagged.startswith("OK")

    def flag(self, box, uids, own):
        """Set, clear or (on own messages) replace some flags and keywords."""
        sign = self.chance.choice(["+", "-", ""] if own else ["+", "-"])
        flags = frozenset(self.chance.sample(PALETTE, self.chance.randint(1, 3)))
        if not self.change(f"UID STORE {joined(uids)} {sign}FLAGS.SILENT ({' '.join(sorted(flags))})", own):
            return False
        for digest in uids.values() if own else ():
            before = self.ledger[digest][1]
            self.ledger[digest] = (box, {"+": before | flags, "-": before - flags, "": flags}[sign])
        return True

    def expunge(self, _box, uids, own):
        """Delete messages for good."""
        self.change(rf"UID STORE {joined(uids)} +FLAGS.SILENT (\Deleted)", own)
        self.change(f"UID EXPUNGE {joined(uids)}", own)
        for digest in uids.values() if own else ():
            del self.ledger[digest]
            self.gone.add(digest)
        return True

    def move(self, box, uids, own):
        """Move messages to another mailbox."""
        target = self.chance.choice([name for name in self.boxes if name != box])
        moved = self.change(f"UID MOVE {joined(uids)} {mailboxes.quoted(target)}", own)
        for digest in uids.values() if own else ():
            self.ledger[digest] = (target, self.ledger[digest][1])
        return moved

    def copy(self, box, uids, own):
        """Copy messages that are anybody's; of one's own there is one each."""
        target = self.chance.choice([name for name in self.boxes if name != box])
        return not own and self.change(f"UID COPY {joined(uids)} {mailboxes.quoted(target)}", own)

    def add(self, box):
        """Append a message of their own that was nowhere yet."""
        if not self.fresh:
            return False
        message = self.fresh.pop()
        flags = frozenset(self.chance.sample(PALETTE, self.chance.randint(0, 3)))
        self.connection.append(mailboxes.quoted(box), message, " ".join(sorted(flags)))
        self.ledger[mailboxes.digest(message)] = (box, flags)
        return True

    def create(self):
        """Make a mailbox, and use it from now on."""
        if self.made == BOXES_MADE_MAX:
            return False
        self.made += 1
        name = f"{self.name} {self.made}"
        self.connection.must(f"CREATE {mailboxes.quoted(name)}")
        self.boxes.append(name)
        return True


def joined(uids):
    """UIDs as IMAP writes a set of them."""
    return ",".join(str(uid) for uid in sorted(uids))
