"""A client of the session host, for tests: frames over the abstract socket, or over `attach` in a container."""

import os
import socket
import struct
import subprocess
import time

HELLO, RUN, TEXT, OPEN, INPUT, RESIZE, SIGNAL, CREDIT, FORGET, RESET, PING, FOLLOW, CARRY, GIVE, DIAL, SEND, FINISH, CUT, PORTS = (
    range(1, 20)
)
WELCOME, CHANNEL, SHELL, READY, DATA, END, DONE, INPUT_DONE, ERROR, PONG, SNAPSHOT = range(0x81, 0x8C)
DIALED, ROOM, CLOSED, LISTENING = range(0x8C, 0x90)
TOKEN = bytes(range(32))


class Closed(Exception):
    """The host closed the connection."""


def text(body):
    return body.split(b"\0", 1)[0].decode(errors="surrogateescape")


class Stream:
    def __init__(self):
        self.data, self.start, self.next, self.eof, self.dropped = bytearray(), 0, 0, None, 0


class Channel:
    def __init__(self):
        self.streams, self.done, self.error, self.input_done = [Stream(), Stream()], None, None, 0
        self.dialed, self.room, self.closed = False, 65536, None


class Client:
    """Keeps what it hears in `channels`; `window` bytes of credit are kept open on every stream."""

    def __init__(self, connection, token=TOKEN, window=1 << 20, hello=True):
        self.connection, self.window = connection, window
        self.channels, self.shells, self.pongs, self.snapshots, self.greeting = {}, [], {}, {}, None
        self.known, self.ready, self.buffer, self.order = {}, False, b"", []
        self.listening = []
        self.next = 0
        if hello:
            self.send(HELLO, b"\1" + token)
            self.until(lambda: self.ready)
            self.next = self.greeting[2]

    def send(self, kind, body=b""):
        self.connection.sendall(struct.pack(">IB", len(body) + 1, kind) + body)

    def channel(self, number):
        return self.channels.setdefault(number, Channel())

    def until(self, condition, seconds=20):
        limit = time.monotonic() + seconds
        while not condition():
            self.connection.settimeout(max(0.001, limit - time.monotonic()))
            self.receive()

    def pump(self, seconds):
        """Listens for a while."""
        limit = time.monotonic() + seconds
        while (left := limit - time.monotonic()) > 0:
            self.connection.settimeout(left)
            try:
                self.receive()
            except TimeoutError:
                return

    def receive(self):
        part = self.connection.recv(1 << 18)
        if not part:
            raise Closed
        self.buffer += part
        while len(self.buffer) >= 4:
            length = struct.unpack(">I", self.buffer[:4])[0]
            assert 1 <= length <= 69632, length
            if len(self.buffer) < 4 + length:
                return
            frame, self.buffer = self.buffer[4 : 4 + length], self.buffer[4 + length :]
            self.take(frame[0], frame[1:])

    def take(self, kind, body):
        if kind == WELCOME:
            self.greeting = struct.unpack(">BQIB", body)
        elif kind == CHANNEL:
            fields = struct.unpack(">IBBQQBQQB", body)
            self.known[fields[0]] = fields[1:]
        elif kind == SHELL:
            self.order.append("shell")
            self.shells.append((*struct.unpack(">III", body[:12]), text(body[12:])))
        elif kind == READY:
            self.ready = True
        elif kind == DATA:
            number, index, offset = struct.unpack(">IBQ", body[:13])
            self.data(number, index, offset, body[13:])
        elif kind == END:
            number, index, end = struct.unpack(">IBQ", body)
            stream = self.channel(number).streams[index]
            assert stream.next == end, (stream.next, end)
            stream.eof = end
        elif kind == DONE:
            number, how, code, out, err, jobs = struct.unpack(">IBiQQH", body[:27])
            self.order.append("done")
            self.channel(number).done = (how, code, out, err, jobs, text(body[27:]))
        elif kind == INPUT_DONE:
            number, total = struct.unpack(">IQ", body)
            self.channel(number).input_done = total
        elif kind == ERROR:
            self.channel(struct.unpack(">I", body[:4])[0]).error = (body[4], text(body[5:]))
        elif kind == PONG:
            cookie, processes, terminals = struct.unpack(">QII", body)
            self.pongs[cookie] = (processes, terminals)
        elif kind == SNAPSHOT:
            cookie, total = struct.unpack(">QI", body[:12])
            assert (len(body) > 12) == (total > 0) and len(body) < 8192
            parts = self.snapshots.setdefault(cookie, (total, bytearray()))
            assert parts[0] == total
            parts[1].extend(body[12:])
        elif kind == DIALED:
            self.channel(*struct.unpack(">I", body)).dialed = True
        elif kind == ROOM:
            number, room = struct.unpack(">IQ", body)
            self.channel(number).room = room
        elif kind == CLOSED:
            self.channel(struct.unpack(">I", body[:4])[0]).closed = (body[4], text(body[5:]))
        elif kind == LISTENING:
            self.order.append("listening")
            self.listening.append(self.ports_of(body))
        else:
            raise AssertionError(f"unknown frame {kind:#x}")

    def ports_of(self, body):
        """{port: (where, pid, age, program)}"""
        cookie, count = struct.unpack(">QH", body[:10])
        ports, at = {}, 10
        for _ in range(count):
            port, where, pid, age = struct.unpack(">HBII", body[at : at + 11])
            program = text(body[at + 11 :])
            ports[port] = (where, pid, age, program)
            at += 12 + len(program)
        assert at == len(body)
        return cookie, ports

    def ports(self, watch=0, cookie=5):
        before = len(self.listening)
        self.send(PORTS, struct.pack(">QB", cookie, watch))
        self.until(lambda: len(self.listening) > before)
        return self.listening[-1][1]

    def dial(self, port, family=0, path="", window=None):
        self.next += 1
        window = self.window if window is None else window
        self.send(DIAL, struct.pack(">IBHI", self.next, family, port, window) + path.encode() + b"\0")
        return self.next

    def pass_on(self, number, data):
        self.send(SEND, struct.pack(">I", number) + data)

    def finish_sending(self, number):
        self.send(FINISH, struct.pack(">I", number))

    def cut(self, number):
        self.send(CUT, struct.pack(">I", number))

    def data(self, number, index, offset, data):
        stream = self.channel(number).streams[index]
        assert offset >= stream.next and data, (number, index, offset, stream.next)
        stream.dropped += offset - stream.next
        stream.next = offset + len(data)
        stream.data += data
        if self.window:
            self.credit(number, index, stream.next + self.window)

    def credit(self, number, index, limit):
        self.send(CREDIT, struct.pack(">IBQ", number, index, limit))

    def start(self, command, status=0, window=None, number=None):
        data = command if isinstance(command, bytes) else command.encode()
        self.next = number or self.next + 1
        window = self.window if window is None else window
        self.send(RUN, struct.pack(">IBII", self.next, status, window, len(data)) + data[:60000])
        for at in range(60000, len(data), 65536):
            self.send(TEXT, struct.pack(">I", self.next) + data[at : at + 65536])
        return self.next

    def finish(self, number, seconds=20):
        channel = self.channel(number)
        self.until(lambda: channel.error or self.is_complete(channel), seconds)
        return channel

    def is_complete(self, channel):
        if not channel.done:
            return False
        return all(channel.streams[i].next >= channel.done[2 + i] for i in range(2))

    def run(self, command, status=0, seconds=20):
        """(stdout, stderr, code, how), each stream up to the command's own end."""
        channel = self.finish(self.start(command, status), seconds)
        if channel.error:
            return channel.error
        out, err = (bytes(channel.streams[i].data[: channel.done[2 + i] - channel.streams[i].dropped]) for i in range(2))
        return out, err, channel.done[1], channel.done[0]

    def open(self, arguments, rows=24, columns=80, cwd="/", env=(), ring=0, window=None):
        self.next += 1
        window = self.window if window is None else window
        strings = [cwd.encode(), *(a.encode() for a in arguments), b"", *(e.encode() for e in env)]
        body = struct.pack(">IHHII", self.next, rows, columns, window, ring) + b"".join(s + b"\0" for s in strings)
        self.send(OPEN, body)
        return self.next

    def input(self, number, data):
        self.send(INPUT, struct.pack(">I", number) + data)

    def signal(self, number, signal, scope):
        self.send(SIGNAL, struct.pack(">IBB", number, signal, scope))

    def follow(self, number, index, start, limit):
        stream = self.channel(number).streams[index]
        stream.start = stream.next = start
        self.send(FOLLOW, struct.pack(">IBQQ", number, index, start, limit))

    def forget(self, number):
        self.send(FORGET, struct.pack(">I", number))

    def reset(self, keep):
        self.send(RESET, bytes([keep]))

    def ping(self, cookie=7):
        self.pongs.pop(cookie, None)
        self.send(PING, struct.pack(">Q", cookie))
        self.until(lambda: cookie in self.pongs)
        return self.pongs[cookie]

    def carry(self, cookie=3):
        """The snapshot of the idle shell; empty when there is none."""
        self.snapshots.pop(cookie, None)
        self.send(CARRY, struct.pack(">Q", cookie))
        self.until(lambda: cookie in self.snapshots and len(self.snapshots[cookie][1]) >= self.snapshots[cookie][0])
        total, data = self.snapshots[cookie]
        assert len(data) == total, (len(data), total)
        return bytes(data)

    def give(self, data, part=65536):
        """The code of the refusal; None when a shell was started with it."""
        shells = len(self.shells)
        self.channel(0).error = None
        for at in range(0, len(data), part):
            self.send(GIVE, struct.pack(">I", len(data)) + data[at : at + part])
        self.until(lambda: self.channel(0).error or len(self.shells) > shells)
        return self.channel(0).error and self.channel(0).error[0]

    def close(self):
        self.connection.close()


def connect(name):
    for _ in range(400):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect("\0" + name)
            return connection
        except ConnectionRefusedError:
            connection.close()
            time.sleep(0.005)
    raise TimeoutError("the host does not listen")


class Host:
    """A host outside a container."""

    def __init__(self, program, cwd="/tmp", orphan=0, shell=("/bin/bash",), wrapper=(), env=None):
        self.name = f"berth-test-{os.getpid()}-{time.monotonic_ns()}"
        arguments = [*wrapper, program, "serve", "--socket", self.name, "--cwd", cwd]
        arguments += ["--orphan-after", str(orphan), "--", *shell]
        self.process = subprocess.Popen(arguments, env={**os.environ, **(env or {})}, start_new_session=True)

    def client(self, **options):
        return Client(connect(self.name), **options)

    def stop(self):
        self.process.terminate()
        return self.process.wait(20)
