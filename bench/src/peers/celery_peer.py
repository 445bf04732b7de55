"""Jobs a second through celery on redis: celery_peer.py FOLDER PORT SECONDS"""
import subprocess
import sys
import time

from celery import Celery

folder, port, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
url = "redis://127.0.0.1:%s/0" % port
app = Celery("celery_peer", broker=url, backend=url)
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="nothing")
def nothing():
    return None


if __name__ == "__main__":
    source = __file__.rsplit("/", 1)[0]
    program = (
        "import sys; sys.argv = ['x', %r, %r, %r]; sys.path.insert(0, %r); import celery_peer; "
        "celery_peer.app.worker_main(['worker', '-c', '2', '-l', 'ERROR', '--without-gossip', '--without-mingle'])"
    ) % (folder, port, str(seconds), source)
    worker = subprocess.Popen([sys.executable, "-B", "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # The worker is running from here on.
        nothing.delay().get(timeout=30)
        start, jobs, under_way = time.monotonic(), 0, []
        while time.monotonic() - start < seconds:
            under_way = [nothing.delay() for _ in range(64)]
            for one in under_way:
                one.get(timeout=30)
                jobs += 1
        print(jobs / (time.monotonic() - start))
    finally:
        worker.terminate()
        worker.wait()
