"""Jobs a second through procrastinate on a PostgreSQL of its own: procrastinate_peer.py FOLDER PORT SECONDS"""
import asyncio
import glob
import os
import pwd
import shutil
import subprocess
import sys
import time

import procrastinate

folder, port, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
ROUND = 512
data = folder + "/postgres"
programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
# The server refuses to run as root.
user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def run(*command):
    before = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] if os.geteuid() == 0 else []
    subprocess.run([*before, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def measure():
    connector = procrastinate.PsycopgConnector(
        conninfo="host=127.0.0.1 port=%s user=%s dbname=postgres" % (port, user)
    )
    app = procrastinate.App(connector=connector)

    @app.task(name="nothing")
    async def nothing():
        return None

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        start, jobs = time.monotonic(), 0
        while time.monotonic() - start < seconds:
            # Many jobs in each round, because the round includes a worker's start.
            await asyncio.gather(*(nothing.defer_async() for _ in range(ROUND)))
            await app.run_worker_async(wait=False, concurrency=64, install_signal_handlers=False)
            jobs += ROUND
        print(jobs / (time.monotonic() - start))


os.makedirs(data)
if os.geteuid() == 0:
    shutil.chown(data, user, user)
    for above in (folder, os.path.dirname(folder)):
        os.chmod(above, 0o755)
run(programs + "/initdb", "-D", data, "--auth", "trust", "--username", user)
options = "-p %s -c listen_addresses=127.0.0.1 -c unix_socket_directories=%s" % (port, data)
run(programs + "/pg_ctl", "-D", data, "-w", "-o", options, "-l", data + "/log", "start")
try:
    asyncio.run(measure())
finally:
    run(programs + "/pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
