"""Records the first minute with Orchestra as a moving picture: record.py PROGRAM > first-minute.svg

Starts a master and a worker of its own, types the commands below into a terminal, and draws what that
shows at the time at which it showed it. Nothing but Python's own library; an engine with the image gcc.
"""
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import urllib.request
from html import escape
from pathlib import Path

COLUMNS, ROWS = 96, 20
COMMANDS = [
    "orchestra submit --name tests 'for n in 1 2 3; do echo test $n passed; sleep 1; done'",
    "orchestra logs -f tests",
    "orchestra explain tests",
    "orchestra submit --queue night './backup.sh'",
    "orchestra explain @latest",
    "orchestra run 'g++ Hello.cpp -o Hello && ./Hello'",
]
# Seconds: between two keys, and before each command.
KEY, PAUSE = 0.03, 1.2
CELL, LINE, EDGE = 8.4, 19, 16
COLOURS = {"31": "#ff8b83", "32": "#5bc788", "33": "#dba856", "34": "#7aa7ff", "36": "#5cb8e6", "2": "#98a3b3"}
REPOSITORY = Path(__file__).resolve().parents[2]


class Screen:
    """What a terminal makes of the few things that the program writes."""

    def __init__(self):
        self.lines, self.row, self.column, self.colour, self.rest = [[]], 0, 0, None, ""

    def write(self, text):
        text = self.rest + text
        self.rest = ""
        while text:
            order = re.match(r"\x1b\[([?\d;]*)([A-Za-z])", text)
            if order:
                self.obey(order[1], order[2])
                text = text[order.end():]
            elif text.startswith("\x1b"):
                self.rest = text
                return
            else:
                self.put(text[0])
                text = text[1:]

    def put(self, char):
        if char == "\n":
            self.row += 1
            if self.row == len(self.lines):
                self.lines.append([])
        elif char == "\r":
            self.column = 0
        else:
            if self.column == COLUMNS:
                self.column = 0
                self.put("\n")
            line = self.lines[self.row]
            line.extend([(" ", None)] * (self.column + 1 - len(line)))
            line[self.column] = (char, self.colour)
            self.column += 1

    def obey(self, numbers, order):
        number = int(numbers) if numbers.isdigit() else 0
        if order == "m":
            codes = [code for code in numbers.split(";") if code in COLOURS]
            self.colour = COLOURS[codes[-1]] if codes else None
        elif order == "A":
            self.row = max(0, self.row - max(1, number))
        elif order == "B":
            self.row = min(len(self.lines) - 1, self.row + max(1, number))
        elif order == "G":
            self.column = max(0, number - 1)
        elif order == "K":
            self.lines[self.row] = [] if number == 2 else self.lines[self.row][: self.column]
        elif order == "J":
            self.lines[self.row] = self.lines[self.row][: self.column]
            del self.lines[self.row + 1:]

    def shown(self):
        """Rows of the window, each of pieces of one colour."""
        rows = []
        for line in self.lines[-ROWS:]:
            pieces = []
            while line and line[-1][0] == " ":
                line = line[:-1]
            for char, colour in line:
                if pieces and pieces[-1][1] == colour:
                    pieces[-1] = (pieces[-1][0] + char, colour)
                else:
                    pieces.append((char, colour))
            rows.append(tuple(pieces))
        return rows + [()] * (ROWS - len(rows))


class Recording:
    def __init__(self):
        self.screen, self.begun, self.frames = Screen(), time.monotonic(), []

    def write(self, text):
        self.screen.write(text)
        self.frames.append((time.monotonic() - self.begun, self.screen.shown()))

    def type(self, command):
        self.write("\x1b[32m$\x1b[0m ")
        time.sleep(PAUSE)
        for char in command:
            time.sleep(KEY)
            self.write(char)
        time.sleep(0.3)
        self.write("\r\n")

    def run(self, command, environment, folder):
        self.type(command)
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        started = subprocess.Popen(
            command, shell=True, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder)
        os.close(theirs)
        while True:
            ready, _, _ = select.select([ours], [], [], 0.05)
            if ready:
                try:
                    piece = os.read(ours, 65536)
                except OSError:  # The other end is closed.
                    break
                self.write(piece.decode(errors="replace"))
            elif started.poll() is not None:
                break
        os.close(ours)
        started.wait()

    def svg(self):
        """Each row as it was, from when to when. Without motion the end of it is what there is."""
        width, height = COLUMNS * CELL + 2 * EDGE, ROWS * LINE + 2 * EDGE
        out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img" aria-labelledby="t d">',
            "<title id=\"t\">The first minute with Orchestra</title>",
            f'<desc id="d">A terminal: {escape("; ".join(COMMANDS))}</desc>',
            f'<rect width="{width:.0f}" height="{height}" rx="10" fill="#12161c"/>',
            '<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14" '
            'fill="#e3e8ee" xml:space="preserve">',
        ]
        for row in range(ROWS):
            spans, (since, last) = [], (0.0, ())
            for at, rows in self.frames:
                if rows[row] != last:
                    spans.append((since, at, last))
                    since, last = at, rows[row]
            spans.append((since, None, last))
            out += [self.row(row, *span) for span in spans if span[2]]
        return "\n".join([*out, "</g>", "</svg>", ""])

    def row(self, row, since, until, pieces):
        y, column, text = EDGE + row * LINE + 14, 0, []
        for piece, colour in pieces:
            fill = f' fill="{colour}"' if colour else ""
            x, length = EDGE + column * CELL, len(piece) * CELL
            if piece.strip():
                text.append(f'<tspan x="{x:.1f}" textLength="{length:.1f}"{fill}>{escape(piece)}</tspan>')
            column += len(piece)
        if until is None:
            turn = f'<set attributeName="visibility" to="hidden" begin="0s" end="{since:.2f}s"/>' if since else ""
            hidden = ""
        else:
            turn = f'<set attributeName="visibility" to="visible" begin="{since:.2f}s" end="{until:.2f}s"/>'
            hidden = ' visibility="hidden"'
        return f'<text y="{y}"{hidden}>{"".join(text)}{turn}</text>'


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def until_ready(url, server):
    while server.poll() is None:
        try:
            workers = urllib.request.urlopen(f"{url}/api/worker").read()
            if b'"online":true' in workers:
                return
        except OSError:
            pass
        time.sleep(0.2)
    sys.exit("the master did not start")


def main():
    # What was started ends also when this is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    program = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(program, Path(folder, "orchestra"))
        files = Path(folder, "worker-files")
        files.mkdir()
        shutil.copy(REPOSITORY / "worker-files/Hello.cpp", files)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        environment = {
            "PATH": f"{folder}:{os.environ['PATH']}", "HOME": folder, "TERM": "xterm-256color",
            "ORCHESTRA_URL": url, "ORCHESTRA_LISTEN": f"127.0.0.1:{port}",
            "ORCHESTRA_IMAGES": str(REPOSITORY / "images"), "ORCHESTRA_WORKER_FILES": str(files),
            "ORCHESTRA_WORKER_NAME": "box", "ORCHESTRA_MAX_MEMORY": "4g",
        }
        server = subprocess.Popen(
            ["orchestra", "up"], env=environment, cwd=folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, executable=program)
        try:
            until_ready(url, server)
            time.sleep(3)
            recording = Recording()
            for command in COMMANDS:
                recording.run(command, environment, folder)
            recording.write("\x1b[32m$\x1b[0m ")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    sys.stdout.write(recording.svg())


if __name__ == "__main__":
    main()
