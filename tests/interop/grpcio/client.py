"""Interop client on grpcio's blocking API, with the flags of grpc-go's.

--test_case may be a list with commas. Prints `case NAME: ok` or `case NAME: FAILED why` a case; the
exit code is 0 if all have passed.

grpcio's client has no flag for one message of a stream to go uncompressed. Its core leaves the flag
clear when compressing makes a message no smaller, so the uncompressed message of
client_compressed_streaming holds bytes that do not compress instead of zeros; on the wire it is
what the case wants.
"""
import argparse
import queue
import random
import sys
import time

import grpc

import service
from service import messages

REQUEST_SIZES = (27182, 8, 1828, 45904)
RESPONSE_SIZES = (31415, 9, 2653, 58979)
LARGE_REQUEST, LARGE_RESPONSE = 271828, 314159
SPECIAL_MESSAGE = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
CALL_S = 10


class Failed(Exception):
    """What a case found wrong."""


def check(holds, what):
    if not holds:
        raise Failed(what)


def check_size(payload, wanted):
    check(len(payload.body) == wanted, f"{len(payload.body)} bytes came, not {wanted}")


def failure(call):
    """The status of a call that must not succeed."""
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise Failed("the call succeeded")


def check_code(error, wanted):
    check(error.code() == wanted, f"the status is {error.code()} ({error.details()}), not {wanted}")


class Stub:
    """The service's methods on a channel; with `seeing`, what they return is service.reading's."""

    def __init__(self, channel, seeing=False):
        kinds = {(False, False): channel.unary_unary, (True, False): channel.stream_unary,
                 (False, True): channel.unary_stream, (True, True): channel.stream_stream}
        for name, (request, response, *streams) in service.METHODS.items():
            read = service.reading(response) if seeing else response.FromString
            setattr(self, name, kinds[tuple(streams)](
                f"/{service.TEST_SERVICE}/{name}", request_serializer=request.SerializeToString,
                response_deserializer=read))


class Sending:
    """The requests of a stream, given one at a time; leaving the `with` block half-closes."""

    def __init__(self):
        self._requests = queue.SimpleQueue()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._requests.put(None)

    def send(self, request):
        self._requests.put(request)

    def __iter__(self):
        return iter(self._requests.get, None)


def large_request(**fields):
    return messages.SimpleRequest(response_size=LARGE_RESPONSE,
                                  payload=service.zeros(LARGE_REQUEST), **fields)


def ping(size, answer):
    return messages.StreamingOutputCallRequest(
        response_parameters=[messages.ResponseParameters(size=answer)], payload=service.zeros(size))


class Cases:
    def __init__(self, flags):
        self._flags = flags
        self._channel = self._connect(())
        self._stub = Stub(self._channel)

    def _connect(self, options):
        target = f"{self._flags.server_host}:{self._flags.server_port}"
        if not self._flags.use_tls:
            return grpc.insecure_channel(target, options=options)
        if self._flags.server_host_override:
            options += (("grpc.ssl_target_name_override", self._flags.server_host_override),)
        roots = service.read_file(self._flags.ca_file) if self._flags.ca_file else None
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), options=options)

    def empty_unary(self):
        reply = self._stub.EmptyCall(service.empty.Empty(), timeout=CALL_S)
        check(reply == service.empty.Empty(), "the reply is not empty")

    def large_unary(self):
        check_size(self._stub.UnaryCall(large_request(), timeout=CALL_S).payload, LARGE_RESPONSE)

    def client_streaming(self):
        requests = (messages.StreamingInputCallRequest(payload=service.zeros(size))
                    for size in REQUEST_SIZES)
        total = self._stub.StreamingInputCall(requests, timeout=CALL_S).aggregated_payload_size
        check(total == 74922, f"the sum is {total}")

    def server_streaming(self):
        wanted = [messages.ResponseParameters(size=size) for size in RESPONSE_SIZES]
        request = messages.StreamingOutputCallRequest(response_parameters=wanted)
        sizes = [len(reply.payload.body)
                 for reply in self._stub.StreamingOutputCall(request, timeout=CALL_S)]
        check(sizes == list(RESPONSE_SIZES), f"the replies have {sizes} bytes")

    def ping_pong(self):
        with Sending() as requests:
            replies = self._stub.FullDuplexCall(iter(requests), timeout=CALL_S)
            for size, answer in zip(REQUEST_SIZES, RESPONSE_SIZES):
                requests.send(ping(size, answer))
                check_size(next(replies).payload, answer)
        check(next(replies, None) is None, "a reply came after the last")

    def empty_stream(self):
        replies = list(self._stub.FullDuplexCall(iter(()), timeout=CALL_S))
        check(replies == [], f"{len(replies)} replies came")

    def client_compressed_unary(self):
        expects = large_request(expect_compressed=messages.BoolValue(value=True))
        probe = failure(lambda: self._stub.UnaryCall(expects, timeout=CALL_S))
        check_code(probe, grpc.StatusCode.INVALID_ARGUMENT)
        reply = self._stub.UnaryCall(expects, timeout=CALL_S, compression=grpc.Compression.Gzip)
        check_size(reply.payload, LARGE_RESPONSE)
        plain = large_request(expect_compressed=messages.BoolValue(value=False))
        check_size(self._stub.UnaryCall(plain, timeout=CALL_S).payload, LARGE_RESPONSE)

    def client_compressed_streaming(self):
        first = messages.StreamingInputCallRequest(
            expect_compressed=messages.BoolValue(value=True), payload=service.zeros(27182))
        probe = failure(lambda: self._stub.StreamingInputCall(iter([first]), timeout=CALL_S))
        check_code(probe, grpc.StatusCode.INVALID_ARGUMENT)
        stubborn = messages.Payload(body=random.Random(1).randbytes(45904))
        second = messages.StreamingInputCallRequest(
            expect_compressed=messages.BoolValue(value=False), payload=stubborn)
        total = self._stub.StreamingInputCall(
            iter([first, second]), timeout=CALL_S,
            compression=grpc.Compression.Gzip).aggregated_payload_size
        check(total == 73086, f"the sum is {total}")

    def server_compressed_unary(self):
        """Twice each: where this program sees the flag, and where grpcio inflates."""
        with self._connect(service.SEES_COMPRESSION) as channel:
            seeing = Stub(channel, seeing=True)
            for wanted in (True, False):
                request = large_request(response_compressed=messages.BoolValue(value=wanted))
                reply, compressed = seeing.UnaryCall(request, timeout=CALL_S)
                check_size(reply.payload, LARGE_RESPONSE)
                check(compressed == wanted, f"asked for {wanted}, compressed is {compressed}")
                reply = self._stub.UnaryCall(request, timeout=CALL_S)
                check_size(reply.payload, LARGE_RESPONSE)

    def server_compressed_streaming(self):
        """Twice: where this program sees the flags, and where grpcio inflates."""
        asked = [(31415, True), (92653, False)]
        request = messages.StreamingOutputCallRequest(response_parameters=[
            messages.ResponseParameters(size=size, compressed=messages.BoolValue(value=wanted))
            for size, wanted in asked])
        with self._connect(service.SEES_COMPRESSION) as channel:
            got = [(len(reply.payload.body), compressed) for reply, compressed in
                   Stub(channel, seeing=True).StreamingOutputCall(request, timeout=CALL_S)]
        check(got == asked, f"sizes and flags are {got}")
        sizes = [len(reply.payload.body)
                 for reply in self._stub.StreamingOutputCall(request, timeout=CALL_S)]
        check(sizes == [size for size, _ in asked], f"the replies have {sizes} bytes")

    def custom_metadata(self):
        sent = ((service.INITIAL_KEY, "test_initial_metadata_value"),
                (service.TRAILING_KEY, b"\xab\xab\xab"))
        reply, call = self._stub.UnaryCall.with_call(large_request(), metadata=sent, timeout=CALL_S)
        check_size(reply.payload, LARGE_RESPONSE)
        self._check_echo(call)
        replies = self._stub.FullDuplexCall(iter([ping(LARGE_REQUEST, LARGE_RESPONSE)]),
                                            metadata=sent, timeout=CALL_S)
        check([len(each.payload.body) for each in replies] == [LARGE_RESPONSE], "wrong replies")
        self._check_echo(replies)

    @staticmethod
    def _check_echo(call):
        initial = dict(call.initial_metadata()).get(service.INITIAL_KEY)
        check(initial == "test_initial_metadata_value", f"initial metadata is {initial!r}")
        trailing = dict(call.trailing_metadata()).get(service.TRAILING_KEY)
        check(trailing == b"\xab\xab\xab", f"trailing metadata is {trailing!r}")

    def _check_status(self, message, stream):
        status = messages.EchoStatus(code=2, message=message)
        errors = [failure(lambda: self._stub.UnaryCall(
            messages.SimpleRequest(response_status=status), timeout=CALL_S))]
        if stream:
            request = messages.StreamingOutputCallRequest(response_status=status)
            errors.append(failure(lambda: list(self._stub.FullDuplexCall(iter([request]),
                                                                         timeout=CALL_S))))
        for error in errors:
            check_code(error, grpc.StatusCode.UNKNOWN)
            check(error.details() == message, f"the message is {error.details()!r}")

    def status_code_and_message(self):
        self._check_status("test status message", stream=True)

    def special_status_message(self):
        self._check_status(SPECIAL_MESSAGE, stream=False)

    def _check_unimplemented(self, path):
        call = self._channel.unary_unary(path, service.empty.Empty.SerializeToString,
                                         service.empty.Empty.FromString)
        check_code(failure(lambda: call(service.empty.Empty(), timeout=CALL_S)),
                   grpc.StatusCode.UNIMPLEMENTED)

    def unimplemented_method(self):
        self._check_unimplemented(f"/{service.TEST_SERVICE}/UnimplementedCall")

    def unimplemented_service(self):
        self._check_unimplemented("/grpc.testing.UnimplementedService/UnimplementedCall")

    def cancel_after_begin(self):
        with Sending() as requests:
            call = self._stub.StreamingInputCall.future(iter(requests), timeout=CALL_S)
            call.cancel()
            check(call.cancelled(), "the call was not cancelled")
            check(call.code() == grpc.StatusCode.CANCELLED, f"the status is {call.code()}")

    def cancel_after_first_response(self):
        with Sending() as requests:
            replies = self._stub.FullDuplexCall(iter(requests), timeout=CALL_S)
            requests.send(ping(27182, 31415))
            check_size(next(replies).payload, 31415)
            replies.cancel()
            check(replies.code() == grpc.StatusCode.CANCELLED, f"the status is {replies.code()}")

    def timeout_on_sleeping_server(self):
        with Sending() as requests:
            replies = self._stub.FullDuplexCall(iter(requests), timeout=0.001)
            requests.send(messages.StreamingOutputCallRequest(payload=service.zeros(27182)))
            check_code(failure(lambda: next(replies)), grpc.StatusCode.DEADLINE_EXCEEDED)

    def rpc_soak(self):
        flags = self._flags
        started = time.monotonic()
        done, failures = 0, []
        while done < flags.soak_iterations:
            check(time.monotonic() - started < flags.soak_overall_timeout_seconds,
                  f"only {done} of {flags.soak_iterations} calls were made in time")
            before = time.monotonic()
            try:
                check_size(self._stub.UnaryCall(large_request(), timeout=CALL_S).payload,
                           LARGE_RESPONSE)
                took_ms = (time.monotonic() - before) * 1000
                check(took_ms <= flags.soak_per_iteration_max_acceptable_latency_ms,
                      f"a call took {took_ms:.0f} ms")
            except (Failed, grpc.RpcError) as error:
                failures.append(str(error))
            done += 1
        check(len(failures) <= flags.soak_max_failures, f"{len(failures)} failed: {failures[:1]}")


def run(cases, name):
    """Whether the case passed."""
    case = getattr(cases, name, None) if not name.startswith("_") else None
    try:
        check(case is not None, "there is no such case")
        case()
    except (Failed, grpc.RpcError) as error:
        why = " ".join(str(error).split())
        print(f"case {name}: FAILED {why}", flush=True)
        print(f"{name}: {why}", file=sys.stderr)
        return False
    print(f"case {name}: ok", flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server_host", default="127.0.0.1")
    parser.add_argument("--server_port", type=int, required=True)
    parser.add_argument("--test_case", required=True)
    parser.add_argument("--use_tls", type=service.truth, nargs="?", const=True, default=False)
    parser.add_argument("--use_test_ca", type=service.truth, nargs="?", const=True, default=True)
    parser.add_argument("--ca_file")
    parser.add_argument("--server_host_override")
    parser.add_argument("--soak_iterations", type=int, default=10)
    parser.add_argument("--soak_max_failures", type=int, default=0)
    parser.add_argument("--soak_per_iteration_max_acceptable_latency_ms", type=int, default=1000)
    parser.add_argument("--soak_overall_timeout_seconds", type=int, default=10)
    flags = parser.parse_args()
    cases = Cases(flags)
    results = [run(cases, name) for name in flags.test_case.split(",")]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
