"""Say what was checked, count it, and fail loudly."""

import sys


class Report:
    """Counts of one script's checks."""

    def __init__(self, title):
        self.title = title
        self.passed = 0
        self.failed = 0

    def check(self, holds, what, detail=""):
        """Record one check; a failure is printed at once with its detail."""
        if holds:
            self.passed += 1
            print(f"  ok    {what}", flush=True)
        else:
            self.failed += 1
            print(f"  FAIL  {what}" + (f"\n        {detail}" if detail else ""), flush=True)
        return bool(holds)

    def equal(self, found, expected, what):
        """Check that two values are the same, showing where they differ."""
        return self.check(found == expected, what, difference(found, expected))

    def note(self, text):
        """A figure worth reading that is no check."""
        print(f"        {text}", flush=True)

    def finish(self):
        """Print the sum and leave with the exit code that says it."""
        if self.passed + self.failed == 0:
            self.check(False, "at least one check ran")
        print(f"{self.title}: {self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed else 0)


def difference(found, expected):
    """A short account of how two values differ."""
    if isinstance(found, (dict, set)) and type(found) is type(expected):
        missing = [key for key in expected if key not in found]
        extra = [key for key in found if key not in expected]
        text = f"{len(missing)} missing {missing[:3]!r}, {len(extra)} too many {extra[:3]!r}"
        if isinstance(found, dict):
            unlike = [key for key in expected if key in found and found[key] != expected[key]]
            shown = [(key, found[key], expected[key]) for key in unlike[:3]]
            text += f", {len(unlike)} unlike {shown!r}"
        return text[:1500]
    return f"found {found!r}, expected {expected!r}"[:1500]
