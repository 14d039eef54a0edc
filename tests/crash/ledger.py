"""What the server acknowledged, and what must therefore be there after a crash.

A change is `pending` from the moment it is sent until its tagged answer: after a
crash it may have happened or not. What was acknowledged must have happened.
"""

import threading


class Box:
    """One mailbox that only one worker changes: {mark: set of keywords}."""

    def __init__(self):
        self.live = {}
        self.uids = {}


class Ledger:
    """The acknowledged state of one worker, and the mod-sequences it was told."""

    def __init__(self, number):
        self.number = number
        self.home, self.moved = f"Work{number}", f"Work{number}moved"
        self.boxes = {self.home: Box(), self.moved: Box()}
        self.delivered = set()
        self.pending = None
        self.shared_flags = set()

    def judge(self, found):
        """Differences between `found` {box: {mark: keywords}} and what must be."""
        faults = []
        allowed = self.states()
        if found not in allowed:
            expected = allowed[0]
            for name in expected:
                lost = [mark for mark in expected[name] if mark not in found[name]]
                extra = [mark for mark in found[name] if mark not in expected[name]]
                unlike = [(mark, found[name][mark], expected[name][mark]) for mark in expected[name]
                          if mark in found[name] and found[name][mark] != expected[name][mark]]
                if lost or extra or unlike:
                    faults.append(f"{name}: lost {lost[:3]}, unexpected {extra[:3]}, flags {unlike[:3]}; "
                                  f"pending {self.pending}")
        return faults

    def states(self):
        """The states that are right: without the pending change, and with it."""
        now = {name: dict(box.live) for name, box in self.boxes.items()}
        if self.pending is None or self.pending[0] == "deliver":
            return [now]
        return [now, self.applied(now, self.pending)]

    def applied(self, state, change):
        """`state` after `change`."""
        kind, mark, *more = change
        after = {name: dict(content) for name, content in state.items()}
        if kind == "append":
            after[self.home][mark] = frozenset()
        elif kind == "flags":
            after[self.home][mark] = frozenset(more)
        elif kind == "move":
            after[self.moved][mark] = after[self.home].pop(mark)
        elif kind == "expunge":
            after[self.home].pop(mark)
        return after

    def acknowledge(self):
        """The pending change was answered OK."""
        if self.pending[0] == "deliver":
            self.delivered.add(self.pending[1])
        else:
            state = self.applied({name: dict(box.live) for name, box in self.boxes.items()}, self.pending)
            for name, content in state.items():
                self.boxes[name].live = content
        self.pending = None

    def settle(self, found):
        """After a crash: what is there is what counts from now on."""
        for name, content in found.items():
            self.boxes[name].live = dict(content)
        self.pending = None


class Told:
    """Mod-sequences of the shared mailbox, as all clients were told of them."""

    def __init__(self):
        self.lock = threading.Lock()
        self.changes = set()
        self.highest = 0
        self.twice = []
        self.acknowledged = 0

    def change(self, modseq):
        """A change of one message was acknowledged with this mod-sequence."""
        with self.lock:
            if modseq is None or modseq in self.changes:
                self.twice.append(modseq)
            else:
                self.changes.add(modseq)
                self.highest = max(self.highest, modseq)

    def seen(self, modseq):
        """A mod-sequence or HIGHESTMODSEQ was told."""
        with self.lock:
            self.highest = max(self.highest, modseq)
