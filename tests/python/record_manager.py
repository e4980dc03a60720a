"""Records what a client and a server of CPython's managers say to each other into ../managers/golden/.

`record_manager.py PYTHON2.7 PYTHON3.6 PYTHON3.11 PYTHON3.13` runs itself with each of them. The last one also plays a
version whose default protocol is 5, as 3.14 is. A line is the number of a connection, `>` or `<`, and a message in hex.
"""

import binascii
import gc
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def play(path, protocol):
    import multiprocessing
    from multiprocessing import managers

    try:
        import cPickle as pickle
    except ImportError:
        import pickle
        from multiprocessing.reduction import ForkingPickler

    library = os.path.dirname(os.path.dirname(os.path.abspath(managers.__file__)))
    out = open(path, "w")
    out.write("# A client and a server of a manager, message by message. Recorded by record_manager.py; do not edit.\n")

    def dumps(value):
        if sys.version_info[0] == 2:
            return pickle.dumps(value, 2)
        return bytes(ForkingPickler.dumps(value, protocol))

    class Recorded(object):
        count = 0

        def __init__(self, *args, **kwds):
            self.inner = managers.connection.Client(*args, **kwds)
            Recorded.count += 1
            self.number = Recorded.count

        def note(self, way, message):
            out.write("%d %s %s\n" % (self.number, way, binascii.hexlify(message).decode("ascii")))

        def send(self, value):
            message = dumps(value)
            self.note(">", message)
            self.inner.send_bytes(message)

        def recv(self):
            message = self.inner.recv_bytes()
            value = pickle.loads(message)
            if value[0] == "#TRACEBACK":
                # Not where this machine has its Python.
                text = value[1].replace(library, "/usr/lib/python%d.%d" % sys.version_info[:2])
                message = dumps((value[0], text))
            self.note("<", message)
            return value

        def close(self):
            self.inner.close()

        def __enter__(self):
            return self

        def __exit__(self, *why):
            self.close()

    if protocol is not None:
        # The replies of the server too: it is forked.
        plain = ForkingPickler.dumps.__func__
        ForkingPickler.dumps = classmethod(lambda cls, value, ignored=None: plain(cls, value, protocol))

    server = Serving(("127.0.0.1", 0), b"snake")
    server.start()
    real = managers.listener_client["pickle"]
    managers.listener_client["pickle"] = (real[0], Recorded)
    m = Serving(server.address, b"snake")
    m.connect()
    try:
        # A client that wants more than CPython's protocol.
        connection = Recorded(server.address, authkey=b"snake")
        managers.dispatch(connection, None, "ossature", (1, "x", None))
    except managers.RemoteError:
        pass
    steps(m)
    out.close()
    managers.listener_client["pickle"] = real
    server.shutdown()


def steps(m):
    """The same steps are in ../managers/golden.rs, for a client in Rust."""
    gc.disable()
    l = m.list([3, 1, 2])
    l.append(5)
    l.sort()
    l._callmethod("__len__")
    l._getvalue()
    failing(l.__getitem__, 9)
    del l
    d = m.dict()
    d["a"] = 1.5
    d["a"]
    d.keys()
    failing(d.__getitem__, "z")
    del d
    q = m.Queue(1)
    q.put("x")
    failing(q.put, "y", False)
    q.get()
    failing(q.get, False)
    del q
    n = m.Namespace()
    n.x = 3
    n.x
    failing(getattr, n, "y")
    del n
    v = m.Value("i", 5)
    v.set(6)
    v.get()
    del v
    k = m.Lock()
    k.acquire()
    k.release()
    failing(k.release)
    del k
    o = m.Own(10)
    o.add(5)
    failing(o.fail, "spam")
    failing(o._callmethod, "hidden")
    p = o.make()
    p.add(1)
    del p, o


def failing(call, *args):
    try:
        call(*args)
    except Exception:
        pass
    else:
        raise AssertionError("it has not failed")
    gc.collect()  # the frames of the exception keep the proxy


class OwnError(Exception):
    pass


class Own(object):
    def __init__(self, start):
        self.n = start

    def add(self, by):
        self.n += by
        return self.n

    def fail(self, text):
        raise OwnError(text, 7)

    def make(self):
        return Own(self.n)


if __name__ == "__main__":
    if sys.argv[1] == "--play":
        from multiprocessing.managers import SyncManager

        class Serving(SyncManager):
            pass

        Serving.register("Own", Own, exposed=("add", "fail", "make"), method_to_typeid={"make": "Made"})
        Serving.register("Made", None, exposed=("add", "fail", "make"), create_method=False)
        play(sys.argv[2], int(sys.argv[3]) if sys.argv[3] != "-" else None)
    else:
        folder = os.path.join(HERE, "..", "managers", "golden")
        for python in sys.argv[1:]:
            name = subprocess.check_output([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
            path = os.path.join(folder, name.decode("ascii").strip() + ".txt")
            subprocess.check_call([python, "-B", __file__, "--play", path, "-"])
        path = os.path.join(folder, "protocol-5.txt")
        subprocess.check_call([sys.argv[-1], "-B", __file__, "--play", path, "5"])
