"""Calls by RQ and by Celery on the server at REDIS: python rivals.py redis://127.0.0.1:6379/ [SECONDS]

Prints a line as soon as it has a figure: name, row, value. Rows are calls of a millisecond and tiny ones a second, and
the median of one call in microseconds. Each figure takes about SECONDS, 4 without the word, and a rival that gives no
answer for ten times as long is left out with a line that says so. Needs `pip install rq celery[redis]`.
"""

import logging
import os
import subprocess
import sys
import time


def square(number):
    return number * number


def millisecond(number):
    time.sleep(0.001)
    return number


class Late(Exception):
    pass


class Rows:
    """Measures the rows of one rival, each within a time."""

    def __init__(self, name, seconds):
        self.name, self.seconds = name, seconds

    def say(self, row, value):
        print(f"{self.name} {row} {value:.0f}", flush=True)

    def rate(self, row, run, batch):
        """Runs batches of calls until the time is over; a batch that takes long counts whole."""
        begun, done = time.perf_counter(), 0
        while (took := time.perf_counter() - begun) < self.seconds or not done:
            run(batch)
            done += batch
        self.say(row, done / (time.perf_counter() - begun))

    def one(self, call):
        times, begun = [], time.perf_counter()
        while time.perf_counter() - begun < self.seconds and len(times) < 1000:
            at = time.perf_counter()
            call()
            times.append(time.perf_counter() - at)
        self.say("one-call", sorted(times)[len(times) // 2] * 1e6)

    def within(self, ask):
        """What `ask` gives once it is not None."""
        begun, pause = time.perf_counter(), 0.0
        while (value := ask()) is None:
            if time.perf_counter() - begun > self.seconds * 10:
                raise Late(f"no answer in {self.seconds * 10:.0f} s")
            time.sleep(pause)
            pause = min(pause + 0.0002, 0.002)
        return value


def rq(url, seconds, name, kind):
    from redis import Redis
    from rq import Queue
    import rivals

    rows, line = Rows(name, seconds), Redis.from_url(url)
    command = [sys.executable, "-m", "rq.cli", "worker", "-q", "--url", url, "-w", kind, name]
    workers = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        queue = Queue(name, connection=line)

        def one():
            assert rows.within(queue.enqueue(rivals.square, 12).return_value) == 144

        def many(function):
            def run(batch):
                jobs = queue.enqueue_many([Queue.prepare_data(function, (n,)) for n in range(batch)])
                assert [rows.within(job.return_value) for job in jobs] == [function(n) for n in range(batch)]

            return run

        one()
        rows.rate("calls-of-1-ms", many(rivals.millisecond), 50)
        rows.rate("tiny-by-time", many(rivals.square), 50)
        rows.one(one)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def celery(url, seconds):
    from celery import group
    from rivals import application

    rows, limit = Rows("celery", seconds), seconds * 10
    _, (slow, tiny) = application(url)
    command = [sys.executable, "-m", "celery", "-A", "rivals:app", "worker", "-c", "2", "-l", "ERROR"]
    environment = {**os.environ, "RIVALS_URL": url}
    worker = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        tiny.delay(12).get(timeout=limit)
        each = lambda task: lambda batch: group(task.s(n) for n in range(batch))().get(timeout=limit)
        rows.rate("calls-of-1-ms", each(slow), 200)
        rows.rate("tiny-by-time", each(tiny), 200)
        rows.one(lambda: tiny.delay(12).get(timeout=limit))
        rows.name = "celery-50"
        fifty = lambda task: lambda batch: task.chunks(((n,) for n in range(batch)), 50)().get(timeout=limit)
        rows.rate("calls-of-1-ms", fifty(slow), 2000)
        rows.rate("tiny-by-time", fifty(tiny), 2000)
    finally:
        worker.terminate()
        try:
            worker.wait(5)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def application(url):
    from celery import Celery

    app = Celery("rivals", broker=url, backend=url)
    return app, (app.task(name="millisecond")(millisecond), app.task(name="square")(square))


def main():
    logging.disable(logging.CRITICAL)
    url, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 4.0
    for name, run in [
        ("rq", lambda: rq(url, seconds, "rq", "rq.Worker")),
        ("rq-simple", lambda: rq(url, seconds, "rq-simple", "rq.SimpleWorker")),
        ("celery", lambda: celery(url, seconds)),
    ]:
        try:
            run()
        except Exception as error:  # one rival that fails does not hide the others
            print(f"# {name}: {type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    main()
elif "RIVALS_URL" in os.environ:
    app, _ = application(os.environ["RIVALS_URL"])
