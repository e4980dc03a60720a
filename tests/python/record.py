"""Records handshakes between versions of CPython into golden/: `record.py PYTHON2.7 PYTHON3.11 PYTHON3.13`.

Both sides are peer.py under those interpreters; between them stands a relay that writes down each frame as it passes, with
its direction. Everything random is therefore in the transcript. Needs any CPython 3.
"""
import os
import socket
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
KEY = b"peekaboo"
DIGESTS = ["md5", "sha256", "sha384", "sha3_256", "sha3_384"]


class Peer:
    def __init__(self, python):
        self.process = subprocess.Popen(
            [python, os.path.join(HERE, "peer.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.version = self.say("version")[3:]

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def quit(self):
        self.process.stdin.close()
        self.process.wait()


def exactly(source, count):
    data = b""
    while len(data) < count:
        part = source.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def relay(name, source, target, transcript):
    """Passes frames on until the end of file, which it passes on, too."""
    try:
        while True:
            header = exactly(source, 4)
            payload = exactly(source, int.from_bytes(header, "big"))
            transcript.append((name, header + payload))
            target.sendall(header + payload)
    except (EOFError, OSError):
        try:
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def outcome(answers):
    return "done" if all(answer.startswith("ok") for answer in answers) else answers[-1].split(":")[0].split()[-1]


def record(name, pythons, keys, steps):
    """`keys` are those of the server and the client, `steps` their commands once connected."""
    server, client = map(Peer, pythons)
    port = int(server.say("listen inet").split()[-1])
    outside = socket.create_server(("127.0.0.1", 0))
    threads, transcript, results = [], [], {}

    def between():
        near, _ = outside.accept()
        far = socket.create_connection(("127.0.0.1", port))
        for args in ("client", near, far), ("server", far, near):
            threads.append(threading.Thread(target=relay, args=(*args, transcript)))
            threads[-1].start()

    def play(side, peer, first):
        answers = [peer.say(first)]
        for step in steps[side]:
            if answers[-1].startswith("error"):
                break
            answers.append(peer.say(step))
        peer.say("close")
        results[side] = outcome(answers)

    middle = threading.Thread(target=between)
    middle.start()
    connect = "connect inet 127.0.0.1 %d bare" % outside.getsockname()[1]
    sides = [
        threading.Thread(target=play, args=("server", server, "accept bare")),
        threading.Thread(target=play, args=("client", client, connect)),
    ]
    for thread in sides:
        thread.start()
    for thread in [*sides, middle, *threads]:
        thread.join()
    path = os.path.join(HERE, "golden", name + ".txt")
    with open(path, "w") as out:
        out.write("# A handshake between two CPythons, frame by frame. Recorded by record.py; do not edit.\n")
        for side, peer, key in zip(("server", "client"), (server, client), keys):
            out.write("%s %s key %s %s\n" % (side, peer.version, key.hex(), results[side]))
        for side, frame in transcript:
            out.write("%s: %s\n" % (side, frame.hex()))
    print(name, results)
    server.quit()
    client.quit()


def main():
    pythons = sys.argv[1:]
    names = {python: Peer(python).version.rsplit(".", 1)[0] for python in pythons}
    key = "key %s" % KEY.hex()
    wrong = "key %s" % b"wrong".hex()
    for server in pythons:
        for client in pythons:
            pair, name = (server, client), "%s-%s" % (names[server], names[client])
            good = {"server": [key, "deliver", "answer"], "client": [key, "answer", "deliver"]}
            record(name, pair, (KEY, KEY), good)
            record(name + "-wrong-client", pair, (KEY, b"wrong"), {**good, "client": [wrong, "answer", "deliver"]})
            # The server knows the key when it judges, and another one when it is judged. (An old client's answers to a new
            # server are no other's, so nobody could play its part again.)
            old = {side: tuple(map(int, names[side].split("."))) < (3, 12) for side in pair}
            if old[client] and not old[server]:
                continue
            record(
                name + "-wrong-server",
                pair,
                (b"wrong", KEY),
                {**good, "server": [key, "deliver", wrong, "answer"]},
            )
    newest = pythons[-1]
    for digest in DIGESTS:
        steps = {"server": [key, "deliver " + digest, "answer"], "client": [key, "answer", "deliver " + digest]}
        record("%s-%s" % (names[newest], digest), (newest, newest), (KEY, KEY), steps)


if __name__ == "__main__":
    main()
