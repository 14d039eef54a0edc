"""Read a `strace -f -yy -ttt` trace into calls with a begin and an end.

Only what durability needs is kept: writes to and syncs of files below the data
directory, new names and renames there, and what was received and sent on TCP
sockets. A call cut in two by another thread (`<unfinished ...>`) is joined.
"""

import re
from dataclasses import dataclass

CALLS = (
    "openat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,fsync,fdatasync,sync_file_range,"
    "rename,renameat,renameat2,sendto,sendmsg,recvfrom,recvmsg,read,readv"
)
LINE = re.compile(r"^(\d+) +(\d+\.\d+) (.*)$")
RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)", re.S)
DESCRIPTOR = re.compile(r"^(?:AT_FDCWD|\d+)<((?:->|[^<>])*)>")
SOCKET = re.compile(r"TCP:\[[\d.]+:(\d+)->[\d.]+:(\d+)\]")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "v": "\v", "f": "\f", '"': '"', "\\": "\\"}
ESCAPE = re.compile(r"\\([0-7]{1,3}|.)", re.S)


@dataclass
class Call:
    """One system call: its place in the order of begins and of ends."""

    name: str
    begun: int
    ended: int
    result: int
    path: str = ""
    port: int = 0
    local: int = 0
    data: str = ""
    created: bool = False


def read(lines, folder):
    """The calls that concern `folder` and TCP sockets, in the order of their ends."""
    open_calls, calls = {}, []
    for number, raw in enumerate(lines):
        line = LINE.match(raw.rstrip("\n"))
        if line is None:
            continue
        thread, _, text = line.groups()
        if text.endswith("<unfinished ...>"):
            open_calls[thread] = (number, text[: -len("<unfinished ...>")])
            continue
        begun = number
        resumed = RESUMED.match(text)
        if resumed:
            if thread not in open_calls:
                continue
            begun, first = open_calls.pop(thread)
            text = first + resumed.group(2)
        call = parse(text, begun, number, folder)
        if call is not None:
            calls.append(call)
    return calls


def parse(text, begun, ended, folder):
    """One joined call, or None when it is of no interest."""
    found = CALL.match(text)
    if found is None:
        return None
    name, arguments, result = found.group(1), found.group(2), int(found.group(3))
    call = Call(name, begun, ended, result)
    if name in ("rename", "renameat", "renameat2"):
        names = [unescape(part) for part in QUOTED.findall(arguments)]
        if result != 0 or len(names) != 2 or not names[1].startswith(folder):
            return None
        call.path, call.data = names
        return call
    if name == "openat":
        names = QUOTED.findall(arguments)
        if "O_CREAT" not in arguments or not names or not names[0].startswith(folder) or result < 0:
            return None
        call.path, call.created = unescape(names[0]), True
        return call
    descriptor = DESCRIPTOR.match(arguments)
    if descriptor is None:
        return None
    target = descriptor.group(1)
    socket = SOCKET.search(target)
    if socket:
        call.local, call.port = int(socket.group(1)), int(socket.group(2))
    elif target.startswith(folder):
        call.path = target.removesuffix(" (deleted)")
    else:
        return None
    call.data = "".join(unescape(part) for part in QUOTED.findall(arguments))
    return call


def unescape(text):
    """The characters that strace wrote with backslashes."""
    if "\\" not in text:
        return text
    return ESCAPE.sub(lambda m: chr(int(m.group(1), 8)) if m.group(1).isdigit() else ESCAPES.get(m.group(1), m.group(1)), text)
