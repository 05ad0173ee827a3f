"""What the fuzzing of each target begins with: made from the test vectors, and by hand."""
import gzip as gzip_format
import json
import os
import struct

VECTORS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'vectors')


def vectors(name):
    with open(os.path.join(VECTORS, f'{name}.json'), encoding='utf-8') as file:
        return json.load(file)


def strings(value):
    """All texts in a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def unhex(text):
    """The bytes of a text that is hexadecimal, or None."""
    try:
        return bytes.fromhex(text) if text else None
    except ValueError:
        return None


def address():
    texts = sorted({text for text in strings(vectors('addresses')) if len(text) < 300})
    for text in texts:
        data = text.encode('utf-8', 'surrogatepass')
        yield b'\0' + data
        yield b'\3' + data
    yield b'\1/counter/add'
    yield b'\1lever://dev.lever/counter/add'
    yield b'\2\x0a/hello/say' + b'Ann%20B'
    for query in (b'env=dev.lever', b'a=b&env=st%61ging', b'env=a&env=b', b'env=%', b'env=a+b'):
        yield b'\4' + query
    for authority in (b'localhost', b'localhost:80', b'127.0.0.1:8080', b'[::1]:1', b'a.b:65536', b'[::1'):
        yield b'\5' + authority


def value():
    for text in strings(vectors('values')):
        if len(text) < 500:
            yield b'\3' + text.encode('utf-8', 'surrogatepass')
            if unhex(text):
                yield b'\0' + unhex(text)
                yield b'\x0a' + unhex(text)
    for text in (b'2024-02-29T12:34:56.5Z', b'0001-01-01T00:00:00+01:00', b'9999-12-31T23:59:59.999999999Z'):
        yield b'\5' + text
    for size in (4, 8, 12):
        yield b'\6' + bytes(range(size))
    yield b'\7aGVsbG8h'
    yield b'\x17' + 'ä€𝄞'.encode()


def envelope():
    for text in strings(vectors('messages')):
        data = unhex(text)
        if data and len(data) < 1000:
            yield b'\0' + data
            yield b'\4' + data
            frame = b'\0' + struct.pack('>I', len(data)) + data
            yield b'\1' + frame
            yield b'\7' + frame + frame
    yield b'\1' + b'\1\0\0\0\0'
    yield b'\1' + b'\0\xff\xff\xff\xff'


TURN = b'\x09'


def frames():
    """A byte that says how it begins (role, and what the users do), then steps: see frames_fuzz.cc."""
    request, data_end, reply = b'\x42\1\0', b'\x13\1\0\x10', b'\x42\1\1'
    for mood in range(0, 128, 5):
        server, client = bytes([mood << 1 & 127]), bytes([mood << 1 & 127 | 1])
        yield server + request + TURN + data_end + TURN
        yield server + b'\x42\1\2' + b'\3\1\x30\0' + data_end + TURN + b'\x0c\0\2' + b'\x0c\0\5' + TURN
        yield client + b'\x3d\x0f' + TURN + reply + data_end + TURN
        yield client + b'\x3d\x0f' + TURN + reply + data_end + b'\x52\1\3' + TURN
        yield client + b'\x3d\2' + b'\x3d\x22' + b'\7\1\0' + TURN + b'\x0e'
    yield b'\0' + request + b'\x17\0' + b'\x08\xff' + TURN  # PINGs
    yield b'\0' + request + b'\6\1\x08' + b'\x08\xff' + TURN
    yield b'\0' + b'\4\1\4\x10' + b'\x08\x80' + TURN
    yield b'\6' + request + b'\x0b\0' + b'\x0c\0\2' + b'\x0c\0\x83' * 6 + TURN + b'\x0b\xff' + TURN
    yield b'\6' + request + b'\x0d' + TURN + b'\x37\0' + TURN + b'\x0a\x21'
    yield b'\6' + b'\x0f\1' + b'\x1f\1' + request + data_end + TURN
    yield b'\6' + request + TURN + b'\x0a\x23' + TURN + b'\x0a\x23'
    yield b'\6' + b'\2\1\0' + b'\1\1\x09\4\0' + TURN
    yield b'\x80' + b'\0\x18PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + TURN
    yield b'\x80' + b'\0\x10GET / HTTP/1.1\r\n' + TURN
    yield b'\6' + request + b'\x1d' + TURN
    yield b'\6' + request + b'\x2d' + TURN


def literal(name, value):
    return b'\x40' + bytes([len(name)]) + name + bytes([len(value)]) + value


def headers():
    """A byte for what is checked; blocks with their lengths, or fields with theirs: see headers_fuzz.cc."""
    request = b'\x83\x86\x84\x41\x01x'
    blocks = [request, request + literal(b'a', b'b'), request + b'\xbe', request + literal(b'long', b'v' * 120) * 4,
              request + b'\x20', request + b'\x3f\xe1\x1f', request + b'\xbe' * 30, b'\x83\xff\xff\xff\xff\x7f',
              request + b'\x50\x87\x35\x23\x98\xac\x57\x54\xdf\x82\x07\xff']  # Huffman
    for first in blocks:
        for second in blocks:
            for limit in (b'\0', b'\1'):
                yield limit + b''.join(struct.pack('>H', len(b) | pieces << 13) + b
                                       for b, pieces in ((first, 0), (second, 3), (request + b'\xbe', 0)))
    fields = [(b'grpc-timeout', b'5S'), (b'grpc-timeout', b'99999999H'), (b'a-bin', b'aGk,aGVsbG8='),
              (b'x-y', b'  text '), (b'grpc-status', b'14'), (b'grpc-message', b'a%20b%C3%A4%'),
              (b'lever-executed', b'no'), (b'content-type', b'application/grpc+proto'), (b'te', b'trailers'),
              (b'grpc-encoding', b'gzip'), (b':status', b'503'), (b'user-agent', b'me')]
    for name, value_ in fields:
        field = bytes([len(name)]) + name + bytes([len(value_)]) + value_
        yield b'\2\1' + field
        yield b'\2\0' + field * 2
    yield b'\2\1' + b''.join(bytes([len(n)]) + n + bytes([len(v)]) + v for n, v in fields)


def http1():
    """A byte for what is checked (the parser, or a connection, with two bytes of how), then what comes in."""
    def post(path, body, fields=b''):
        return (b'POST ' + path + b' HTTP/1.1\r\nhost: localhost\r\n' + fields +
                b'content-length: %d\r\n\r\n' % len(body) + body)

    def chunked(path, chunks, fields=b''):
        body = b''.join(b'%x\r\n' % len(chunk) + chunk + b'\r\n' for chunk in chunks)
        return (b'POST ' + path + b' HTTP/1.1\r\nhost: localhost\r\n' + fields +
                b'transfer-encoding: chunked\r\n\r\n' + body + b'0\r\n\r\n')

    lines = b'content-type: application/x-ndjson\r\n'
    inputs = [
        post(b'/hello/echo', b'["Ann",5]'),
        post(b'/hello/echo?env=dev.lever', b'[{"$bytes":"aGk="},1.5,null]', b'content-type: application/json\r\n'),
        post(b'/hello/echo', b'abc', b'content-type: application/octet-stream\r\naccept: application/octet-stream\r\n'),
        post(b'/hello/fail', b'[1]', b'lever-timeout: 1s\r\nx-a: b\r\na-bin: aGk\r\n'),
        post(b'/hello/hang', b'', b'lever-timeout: 250ms\r\nlever-idempotent: true\r\n'),
        post(b'/nobody/echo', b'[]'), post(b'/hello/res%20ource/echo', b'[]'), post(b'/hello/echo', b'[1'),
        chunked(b'/hello/echo', [b'[1,', b'2]'], b'expect: 100-continue\r\n'),
        chunked(b'/hello/echoChan', [b'[]\n', b'1\n"a"\n'], lines),
        chunked(b'/hello/failChan', [b'["x"]\n'], lines), chunked(b'/hello/hangChan', [b'[]\n', b' \n'], lines),
        chunked(b'/hello/echoChan', [b'[]\n1\n{"$error":1}\n{'], lines),
        b'GET /-/healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET /-/readyz HTTP/1.1\r\nhost: [::1]:80\r\n\r\n',
        b'OPTIONS * HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\n\r\n',
        b'OPTIONS /hello/echo HTTP/1.1\r\nhost: localhost\r\norigin: http://else\r\n'
        b'access-control-request-method: POST\r\n\r\n',
        b'POST http://localhost/hello/echo HTTP/1.1\r\nhost: else\r\nconnection: close\r\n\r\n',
        b'POST /hello/echo HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n[]',
        b'\r\n\r\nPOST /hello/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n[]',
        b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0', b'\x16\3\1\0\5hello',
    ]
    for data in inputs:
        yield b'\0' + data
        yield b'\x0e' + data + data
        for how in (b'\1\0', b'\2\5', b'\5\0', b'\x0a\x40', b'\x0b\0'):
            yield b'\1' + how + data
    yield b'\1\1\0' + b''.join(inputs[:4])


def gzip():
    """A byte for what is checked, the largest message and how it is cut, then bytes: see gzip_fuzz.cc."""
    texts = [b'', b'a', b'hello hello hello', bytes(range(256)), b'x' * 3000, b'{"a":[1,2,3]}' * 20]
    for text in texts:
        members = [gzip_format.compress(text, level, mtime=0) for level in (0, 1, 9)]
        members += [members[1] + members[2], members[1][:-3], members[1] + b'more',
                    b'\x1f\x8b\x08\x08' + members[1][4:10] + b'name\0' + members[1][10:]]
        for data in members:
            for size in range(3):
                yield bytes([size]) + data
                yield bytes([size + 160]) + data
            yield b'\7\1' + struct.pack('>I', len(data)) + data
            yield b'\x87\1' + struct.pack('>I', len(data)) + data + b'\0\0\0\0\1x'
        for times in (0, 3, 255):
            yield bytes([4, times, 0, 0]) + text
            yield bytes([0x85, times, 0x20, 14]) + text


MAKERS = {'address': address, 'value': value, 'envelope': envelope, 'frames': frames,
          'headers': headers, 'http1': http1, 'gzip': gzip}


def of(target):
    return list(MAKERS[target]()) if target in MAKERS else []
