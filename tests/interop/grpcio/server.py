"""Interop server on grpcio's asyncio API, with the flags of grpc-go's.

grpcio does not inflate what it receives here, this program does (service.py says why); what grpcio
inflates by itself is seen by the client.
"""
import argparse
import asyncio

import grpc

import service
from service import messages

STATUS = {code.value[0]: code for code in grpc.StatusCode}


async def begin(context, compression=grpc.Compression.NoCompression):
    """Echoes the metadata that the cases send, and begins the response.

    With the metadata unsent, grpcio would forget the compression of a unary response.
    """
    sent = dict(context.invocation_metadata())
    context.set_compression(compression)
    await context.send_initial_metadata(
        tuple((key, sent[key]) for key in (service.INITIAL_KEY,) if key in sent))
    context.set_trailing_metadata(
        tuple((key, sent[key]) for key in (service.TRAILING_KEY,) if key in sent))


def compression_of(wanted):
    return grpc.Compression.Gzip if wanted else grpc.Compression.NoCompression


async def echo_status(request, context):
    status = request.response_status
    if status.code != 0:
        await context.abort(STATUS.get(status.code, grpc.StatusCode.UNKNOWN), status.message)


async def check_compression(request, compressed, context):
    if request.HasField("expect_compressed") and request.expect_compressed.value != compressed:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT,
                            f"expect_compressed is {request.expect_compressed.value}, and the "
                            f"message was {'' if compressed else 'not '}compressed")


async def send_responses(request, context):
    for wanted in request.response_parameters:
        await asyncio.sleep(wanted.interval_us / 1e6)
        if not wanted.compressed.value:
            context.disable_next_message_compression()
        await context.write(messages.StreamingOutputCallResponse(
            payload=service.zeros(wanted.size)))


class TestService:
    async def EmptyCall(self, request, context):
        return service.empty.Empty()

    async def UnaryCall(self, request, context):
        request, compressed = request
        await check_compression(request, compressed, context)
        await begin(context, compression_of(request.response_compressed.value))
        await echo_status(request, context)
        return messages.SimpleResponse(payload=service.zeros(request.response_size))

    async def StreamingInputCall(self, requests, context):
        total = 0
        async for request, compressed in requests:
            await check_compression(request, compressed, context)
            total += len(request.payload.body)
        return messages.StreamingInputCallResponse(aggregated_payload_size=total)

    async def StreamingOutputCall(self, request, context):
        request, _ = request
        await begin(context, compression_of(
            any(wanted.compressed.value for wanted in request.response_parameters)))
        await echo_status(request, context)
        await send_responses(request, context)

    async def FullDuplexCall(self, requests, context):
        await begin(context)
        async for request, _ in requests:
            await echo_status(request, context)
            await send_responses(request, context)

    async def HalfDuplexCall(self, requests, context):
        held = [request async for request, _ in requests]
        for request in held:
            await send_responses(request, context)


def handlers():
    """The method table; what is not in it is UNIMPLEMENTED, by grpcio itself."""
    kinds = {(False, False): grpc.unary_unary_rpc_method_handler,
             (True, False): grpc.stream_unary_rpc_method_handler,
             (False, True): grpc.unary_stream_rpc_method_handler,
             (True, True): grpc.stream_stream_rpc_method_handler}
    implementation = TestService()
    table = {name: kinds[tuple(streams)](getattr(implementation, name),
                                  request_deserializer=service.reading(request),
                                  response_serializer=response.SerializeToString)
             for name, (request, response, *streams) in service.METHODS.items()}
    return grpc.method_handlers_generic_handler(service.TEST_SERVICE, table)


async def serve(flags):
    server = grpc.aio.server(options=service.SEES_COMPRESSION)
    server.add_generic_rpc_handlers((handlers(),))
    address = f"127.0.0.1:{flags.port}"
    if flags.use_tls:
        pair = (service.read_file(flags.tls_key_file), service.read_file(flags.tls_cert_file))
        server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    else:
        server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--use_tls", type=service.truth, nargs="?", const=True, default=False)
    parser.add_argument("--tls_cert_file")
    parser.add_argument("--tls_key_file")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
