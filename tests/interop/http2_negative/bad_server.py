"""A gRPC server that misbehaves in HTTP/2, as gRPC's doc/http2-interop-test-descriptions.md describes:
one case a server, on a port of its own, with what it saw.

It stands on h2, a state machine without sockets, and knows of gRPC no more than these cases need: each
request is UnaryCall of grpc.testing.TestService, and is answered with a payload of zeros.
"""

import socket
import threading

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

RESPONSE_BYTES = 314_159
REQUEST_BYTES_MIN = 271_828
# Of each DATA frame in the cases about padding; the padding is several times as much.
FRAME_BYTES = 64
PAD_BYTES = 255
LIMIT_S = 60


def varint(number):
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7f | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number, content):
    """A field of protobuf with a length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def grpc_message(content):
    return b"\0" + len(content).to_bytes(4, "big") + content


def response():
    """SimpleResponse.payload.body"""
    return grpc_message(field(1, field(2, bytes(RESPONSE_BYTES))))


class BadServer:
    def __init__(self, case):
        self.case = case
        self.conversations = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        # Wakes accept().
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(LIMIT_S)
        for conversation in self.conversations:
            conversation.end()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.conversations.append(Conversation(self, connection, len(self.conversations)))


class Conversation:
    """One connection."""

    def __init__(self, server, connection, number):
        self.case = server.case
        self.number = number
        self.requests = 0
        self.pings_sent = 0
        self.pings_answered = 0
        self.pinged_last = False
        self.open = set()
        self.open_most = 0  # at a time, since the client has taken the limit of one
        self.limited = False
        self.said_goaway = False
        self.wrong = []
        self.socket = connection
        self.socket.settimeout(LIMIT_S)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.received = {}  # bytes of each request
        self.unsent = {}  # (bytes, how it ends) of each response
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def end(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.thread.join(LIMIT_S)
        self.socket.close()

    def _run(self):
        try:
            self.h2.initiate_connection()
            self._flush()
            while data := self.socket.recv(65536):
                if self.said_goaway:
                    # For h2 the connection is over, though the client may still update windows.
                    continue
                for event in self.h2.receive_data(data):
                    self._on(event)
                for stream in list(self.unsent):
                    self._send_on(stream)
                self._flush()
        except ConnectionResetError:
            pass  # it has left, with something of ours unread; what it got of its calls is its own test
        except (OSError, h2.exceptions.ProtocolError) as error:
            self.wrong.append(repr(error))

    def _flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def _on(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.open.add(event.stream_id)
            if self.limited:
                self.open_most = max(self.open_most, len(self.open))
            self.received[event.stream_id] = 0
            self._ping()
            if self.case == "rst_after_header":
                self._send_headers(event.stream_id)
                self._reset(event.stream_id)
        elif isinstance(event, h2.events.DataReceived):
            self.received[event.stream_id] += len(event.data)
            if event.flow_controlled_length and event.stream_id in self.open:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id in self.open:
            self._on_request(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self._forget(event.stream_id)
        elif isinstance(event, h2.events.PingAckReceived):
            self.pings_answered += 1
            if event.ping_data != b"lever123":
                self.wrong.append(f"a PING was answered with {event.ping_data}")
        elif isinstance(event, h2.events.SettingsAcknowledged):
            setting = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
            if setting in event.changed_settings and event.changed_settings[setting].new_value == 1:
                self.limited = True

    def _on_request(self, stream):
        self.requests += 1
        if self.received[stream] < REQUEST_BYTES_MIN:
            self.wrong.append(f"a request of {self.received[stream]} bytes")
        if self.case == "max_streams" and self.requests == 1:
            self.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        self._send_headers(stream)
        self._ping()
        message = response()
        if self.case == "rst_during_data":
            self.unsent[stream] = (message[:len(message) // 2], self._reset)
        elif self.case == "rst_after_data":
            self.unsent[stream] = (message, self._reset)
        else:
            self.unsent[stream] = (message, self._finish)

    def _send_headers(self, stream):
        self._ping()
        self.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc+proto")])

    def _send_on(self, stream):
        message, end = self.unsent[stream]
        padded = self.case == "data_frame_padding"
        small = padded or self.case == "no_df_padding_sanity_test"
        while message:
            room = self.h2.local_flow_control_window(stream) - (PAD_BYTES + 1 if padded else 0)
            size = min(FRAME_BYTES if small else self.h2.max_outbound_frame_size, len(message), room)
            if size <= 0:
                break
            self.h2.send_data(stream, message[:size], pad_length=PAD_BYTES if padded else None)
            message = message[size:]
        self.unsent[stream] = (message, end)
        if message:
            return
        if not self.pinged_last:
            self.pinged_last = True
            self._ping()
        # A client that has its answer may go; until then it owes one to each PING.
        if self.pings_answered == self.pings_sent:
            del self.unsent[stream]
            end(stream)

    def _finish(self, stream):
        self.h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        self._forget(stream)
        if self.case == "goaway" and self.number == 0:
            self.h2.close_connection()
            self.said_goaway = True

    def _reset(self, stream):
        self.h2.reset_stream(stream)  # NO_ERROR
        self._forget(stream)

    def _forget(self, stream):
        self.open.discard(stream)
        self.unsent.pop(stream, None)

    def _ping(self):
        if self.case == "ping":
            self.h2.ping(b"lever123")
            self.pings_sent += 1
