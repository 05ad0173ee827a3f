"""A gRPC client on h2 that shows each step, for what no gRPC library lets a program do."""

import socket
import struct

import h2.config
import h2.connection
import h2.events
import h2.settings
from bad_server import field, grpc_message, varint

LIMIT_S = 20


def request(body_bytes, response_bytes):
    """SimpleRequest with response_size and payload.body"""
    return grpc_message(varint(2 << 3) + varint(response_bytes) + field(3, field(2, bytes(body_bytes))))


class RawClient:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.trailers = {}  # of each stream that has ended
        self.bytes = {}  # received of each
        self.resets = {}
        self.pings = []  # that were answered
        self.goaway = False
        self.ended = False
        self.until(lambda: self.h2.remote_settings.initial_window_size > 65535)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.socket.close()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def read(self):
        """What comes next, and what h2 makes of it."""
        self.flush()
        data = self.socket.recv(65536)
        self.ended = not data
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                self.bytes[event.stream_id] = self.bytes.get(event.stream_id, 0) + len(event.data)
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                self.trailers[event.stream_id] = dict(event.headers)
            elif isinstance(event, h2.events.StreamReset):
                self.resets[event.stream_id] = event.error_code
            elif isinstance(event, h2.events.PingAckReceived):
                self.pings.append(event.ping_data)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goaway = True
        self.flush()

    def until(self, condition):
        while not condition():
            assert not self.ended, "the server closed the connection"
            self.read()

    def start(self):
        """The headers of a call of UnaryCall."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [
            (":method", "POST"), (":scheme", "http"), (":path", "/grpc.testing.TestService/UnaryCall"),
            (":authority", "test"), ("te", "trailers"), ("content-type", "application/grpc")])
        self.flush()
        return stream

    def send(self, stream, message, end=True, frame_bytes=16384, pad_bytes=None):
        """Waits for window where there is none."""
        overhead = 0 if pad_bytes is None else pad_bytes + 1
        while message:
            self.until(lambda: self.h2.local_flow_control_window(stream) > overhead)
            size = min(frame_bytes, self.h2.local_flow_control_window(stream) - overhead)
            self.h2.send_data(stream, message[:size], pad_length=pad_bytes)
            message = message[size:]
            self.flush()
        if end:
            self.h2.end_stream(stream)
        self.flush()

    def finish(self, stream, response_bytes):
        self.until(lambda: stream in self.trailers or stream in self.resets)
        assert self.trailers.get(stream, {}).get(b"grpc-status") == b"0", \
            (self.trailers.get(stream), self.resets.get(stream))
        assert self.bytes[stream] >= response_bytes

    def call(self, body_bytes=100, response_bytes=100):
        stream = self.start()
        self.send(stream, request(body_bytes, response_bytes))
        self.finish(stream, response_bytes)

    def send_goaway(self):
        """Without h2, which would hear nothing any more."""
        self.flush()
        self.socket.sendall(struct.pack(">I", 8)[1:] + b"\x07\x00" + bytes(4) + struct.pack(">II", 0, 0))
