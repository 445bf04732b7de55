"""Jobs a second through huey on SQLite: huey_peer.py FOLDER PORT SECONDS"""
import sys
import time

from huey import SqliteHuey

folder, _, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
huey = SqliteHuey(filename=folder + "/huey.db", fsync=True, results=True)


@huey.task()
def nothing():
    return None


start, jobs = time.monotonic(), 0
while time.monotonic() - start < seconds:
    # One process enqueues and dequeues in turn, as a client and a worker would.
    for _ in range(50):
        nothing()
    for _ in range(50):
        huey.execute(huey.dequeue())
        jobs += 1
print(jobs / (time.monotonic() - start))
