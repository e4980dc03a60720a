"""Calls by RQ and by Celery on the server at REDIS: python rivals.py redis://127.0.0.1:6379/ [CALLS]

Prints lines of a name, calls a second, and the median of one call in microseconds. Needs `pip install rq celery[redis]`.
"""

import logging
import subprocess
import sys
import time

URL = sys.argv[1] if sys.argv[1:2] and sys.argv[1].startswith("redis") else None


def square(number):
    return number * number


def millisecond(number):
    time.sleep(0.001)
    return number


def median(call, count):
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return sorted(times)[count // 2] * 1e6


def rate(calls, run):
    begun = time.perf_counter()
    run()
    return calls / (time.perf_counter() - begun)


def rq(url, calls):
    from redis import Redis
    from rq import Queue
    import rivals

    line = Redis.from_url(url)
    for name, kind, share in [("rq", "rq.Worker", 20), ("rq-simple", "rq.SimpleWorker", 2)]:
        command = [sys.executable, "-m", "rq.cli", "worker", "-q", "--url", url, "-w", kind, name]
        workers = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
        try:
            queue = Queue(name, connection=line)

            def one():
                job = queue.enqueue(rivals.square, 12)
                while job.return_value() is None:
                    pass

            one()

            def many(function, count):
                jobs = queue.enqueue_many([Queue.prepare_data(function, (n,)) for n in range(count)])
                for number, job in enumerate(jobs):
                    while (value := job.return_value()) is None:
                        time.sleep(0.001)
                    assert value == function(number)

            count = calls // share
            slow = rate(count, lambda: many(rivals.millisecond, count))
            tiny = rate(count, lambda: many(rivals.square, count))
            print(name, f"{slow:.0f} {tiny:.0f} {median(one, 50):.0f}", flush=True)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


def celery(url, calls):
    from celery import group
    from rivals import application

    app, functions = application(url)
    command = [sys.executable, "-m", "celery", "-A", "rivals:app", "worker", "-c", "2", "-l", "ERROR"]
    worker = subprocess.Popen(
        command, env={**__import__("os").environ, "RIVALS_URL": url}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        slow, tiny = functions
        tiny.delay(12).get(timeout=60)
        count = calls // 2
        each = lambda task: group(task.s(n) for n in range(count))().get(timeout=300)
        by_one = rate(count, lambda: each(slow)), rate(count, lambda: each(tiny))
        print("celery", f"{by_one[0]:.0f} {by_one[1]:.0f} {median(lambda: tiny.delay(12).get(), 200):.0f}", flush=True)
        fifty = lambda task: task.chunks(((n,) for n in range(calls)), 50)().get(timeout=300)
        by_fifty = rate(calls, lambda: fifty(slow)), rate(calls, lambda: fifty(tiny))
        print("celery-50", f"{by_fifty[0]:.0f} {by_fifty[1]:.0f} 0", flush=True)
    finally:
        worker.terminate()
        worker.wait()


def application(url):
    from celery import Celery

    app = Celery("rivals", broker=url, backend=url)
    return app, (app.task(name="millisecond")(millisecond), app.task(name="square")(square))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.path.insert(0, sys.path[0])
    calls = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    rq(URL, calls)
    celery(URL, calls)
else:
    import os

    if "RIVALS_URL" in os.environ:
        app, _ = application(os.environ["RIVALS_URL"])
