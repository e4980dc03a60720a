"""The other side of a connection, played by CPython's own multiprocessing: one command a line on standard input, one
answer a line on standard output. Runs under 2.7 and everything since.

    key HEX | key none                      the key of listeners and clients made from now on
    listen inet | listen unix PATH          -> ok inet HOST PORT | ok unix PATH
    listen abstract NAME                    -> ok abstract NAME
    accept [bare]                           bare: no handshake, whatever the key
    connect inet HOST PORT | unix PATH | abstract NAME [bare]
    deliver [DIGEST] | answer               one half of a handshake, with the key
    send_bytes HEX | recv_bytes [MAX]       -> ok HEX
    send_pattern LENGTH | recv_pattern LENGTH
    echo                                    receives bytes and sends them back
    poll SECONDS                            -> ok True | ok False
    send EXPRESSION                         sends the object, pickled
    recv EXPRESSION                         receives an object and compares it with this one, type for type
    close | unlisten | version
An answer begins with "ok" or with "error TYPE: text".
"""
from __future__ import print_function

import binascii
import multiprocessing.connection as mc
import sys


def unhex(text):
    return binascii.unhexlify(text.encode("ascii"))


def tohex(data):
    return binascii.hexlify(data).decode("ascii")


def pattern(length):
    """The bytes 0 to 250 over and over: 251 is a prime, so no block of any usual size repeats."""
    return (bytes(bytearray(range(251))) * (length // 251 + 1))[:length]


def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(k in b and same(a[k], b[k]) for k in a)
    return a == b or (a != a and b != b)


class Peer(object):
    def __init__(self):
        self.authkey = None
        self.listener = None
        self.connection = None

    def key(self, text):
        self.authkey = None if text == "none" else unhex(text)

    def listen(self, family, name=None):
        address = {"inet": ("localhost", 0), "unix": name, "abstract": "\0%s" % name}[family]
        self.listener = mc.Listener(address, backlog=16, authkey=self.authkey)
        address = self.listener.address
        if family == "inet":
            return "inet %s %d" % address
        return "%s %s" % (family, name)

    def accept(self, bare=None):
        if bare:
            self.connection = self.listener._listener.accept()
        else:
            self.connection = self.listener.accept()

    def connect(self, family, *rest):
        rest = list(rest)
        key = self.authkey
        if rest[-1] == "bare":
            key = None
            rest.pop()
        address = {"inet": lambda: (rest[0], int(rest[1])), "unix": lambda: rest[0], "abstract": lambda: "\0" + rest[0]}
        self.connection = mc.Client(address[family](), authkey=key)

    def deliver(self, digest=None):
        if digest is None:
            mc.deliver_challenge(self.connection, self.authkey)
        else:
            mc.deliver_challenge(self.connection, self.authkey, digest)

    def answer(self):
        mc.answer_challenge(self.connection, self.authkey)

    def send_bytes(self, text=""):
        self.connection.send_bytes(unhex(text))

    def recv_bytes(self, most=None):
        return tohex(self.connection.recv_bytes() if most is None else self.connection.recv_bytes(int(most)))

    def send_pattern(self, length):
        self.connection.send_bytes(pattern(int(length)))

    def recv_pattern(self, length):
        got = self.connection.recv_bytes()
        if got != pattern(int(length)):
            raise ValueError("%d bytes came, which are not the pattern" % len(got))

    def echo(self):
        self.connection.send_bytes(self.connection.recv_bytes())

    def poll(self, seconds):
        return repr(bool(self.connection.poll(float(seconds))))

    def send(self, *expression):
        self.connection.send(eval(" ".join(expression)))

    def recv(self, *expression):
        got, wanted = self.connection.recv(), eval(" ".join(expression))
        if not same(got, wanted):
            raise ValueError("%r came instead of %r" % (got, wanted))

    def close(self):
        self.connection.close()

    def unlisten(self):
        self.listener.close()

    def version(self):
        return "%d.%d.%d" % sys.version_info[:3]


def main():
    peer = Peer()
    while True:
        line = sys.stdin.readline()
        if not line:
            return
        words = line.split()
        try:
            answer = getattr(peer, words[0])(*words[1:])
            text = "ok" if answer is None else "ok %s" % answer
        except Exception as error:
            text = "error %s: %s" % (type(error).__name__, str(error).replace("\n", " "))
        print(text)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
