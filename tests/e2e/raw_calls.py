"""Calls by plain grpcio: lever.v1.Lever without any code of Lever's, as docs/wire.md says them."""

import concurrent.futures
import time

import grpc
import msgpack

import admin_api


class CallError(Exception):
    """Trouble of the platform. `executed` is "no" or "unknown"."""

    def __init__(self, code, details, executed):
        super().__init__(f"{code}: {details} (executed: {executed})")
        self.code, self.details, self.executed = code, details, executed


class MethodError(Exception):
    """The method's own error, with its value."""

    def __init__(self, value):
        super().__init__(repr(value))
        self.value = value


def call_error(error):
    trailers = dict(error.trailing_metadata() or ())
    executed = "no" if trailers.get("lever-executed") == "no" else "unknown"
    return CallError(error.code().name, error.details(), executed)


class Caller:
    """A client of one host. Threads may share it."""

    def __init__(self, address):
        self.messages, stubs = admin_api.modules("lever")
        # A pool of its own: grpc would share connections between channels to the same address.
        self.channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self.stub = stubs.LeverStub(self.channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def _request(self, arguments):
        return self.messages.Message(value=msgpack.packb(list(arguments)))

    @staticmethod
    def _metadata(url, environment):
        """Of "/service/method" or "/service/resource/method"."""
        parts = url.split("/")
        resource = [("lever-resource", parts.pop(2))] if len(parts) == 4 else []
        where = f"lever://{environment}" if environment else ""
        return (("lever-url", where + "/".join(parts)), *resource)

    def value(self, message):
        kind = message.WhichOneof("body")
        if kind == "error_value":
            raise MethodError(msgpack.unpackb(message.error_value, strict_map_key=False))
        if kind == "raw":
            return message.raw
        return msgpack.unpackb(message.value, strict_map_key=False, timestamp=3)

    def invoke(self, url, *arguments, timeout_s=60, environment=None, compression=None):
        try:
            return self.value(self.stub.Invoke(self._request(arguments), timeout=timeout_s,
                                               metadata=self._metadata(url, environment),
                                               compression=compression))
        except grpc.RpcError as error:
            raise call_error(error) from None

    def start(self, url, *arguments, timeout_s=60):
        """A call that goes on; see `Attempt`."""
        return Attempt(self, self.stub.Invoke.future(
            self._request(arguments), timeout=timeout_s, metadata=self._metadata(url, None)))

    def stream(self, url, arguments=(), messages=(), timeout_s=None):
        """The messages of a stream; `messages` are sent after the arguments."""
        def requests():
            yield self._request(arguments)
            for message in messages:
                yield self.messages.Message(value=msgpack.packb(message))
        try:
            for reply in self.stub.Stream(requests(), timeout=timeout_s,
                                          metadata=self._metadata(url, None)):
                yield self.value(reply)
        except grpc.RpcError as error:
            raise call_error(error) from None


class Attempt:
    """One call under way, with the times of its start and its end."""

    def __init__(self, caller, future):
        self.caller, self.future = caller, future
        self.sent_s = time.monotonic()
        self.ended_s = None
        future.add_done_callback(self._ended)

    def _ended(self, _):
        self.ended_s = time.monotonic()

    def result(self, timeout_s=90):
        """The answer, or raises CallError or MethodError."""
        try:
            return self.caller.value(self.future.result(timeout_s))
        except grpc.RpcError as error:
            raise call_error(error) from None
        except concurrent.futures.CancelledError:
            raise CallError("CANCELLED", "", "unknown") from None
