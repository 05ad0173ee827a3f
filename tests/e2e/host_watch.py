"""A host's Watch session as any gRPC program speaks it, with the classes made from host.proto: who asks there for a
way to an instance gets an address and a token."""

import base64
import json
import queue

import grpc

import admin_api


class Watcher:
    """Of one service. It is somebody from outside, as every plain client is."""

    def __init__(self, host_address, service, environment="dev.lever"):
        self.messages, stubs = admin_api.modules("host")
        self.channel = grpc.insecure_channel(host_address, [("grpc.use_local_subchannel_pool", 1)])
        self._sent = queue.Queue()
        hello = self.messages.FromWatcher(hello=self.messages.WatcherHello(protocol_min=1, protocol_max=1))
        self._sent.put(hello)
        self._answers = stubs.HostStub(self.channel).Watch(iter(self._sent.get, None))
        assert next(self._answers).WhichOneof("message") == "welcome"
        self._sent.put(self.messages.FromWatcher(subscribe=self.messages.Subscribe(
            environment=environment, service=service)))
        self._id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._sent.put(None)
        self.channel.close()

    def _next(self, kind):
        for message in self._answers:
            if message.WhichOneof("message") == kind:
                return getattr(message, kind)
        raise AssertionError(f"the watch ended before {kind} came")

    def instances(self):
        """Of the next table that has some."""
        while True:
            rows = self._next("routes").instances
            if rows:
                return list(rows)

    def introduce(self, instance):
        """A way to it by its address: an Introduced, whose status is a lever_status."""
        self._id += 1
        self._sent.put(self.messages.FromWatcher(introduce=self.messages.Introduce(
            id=self._id, instance=instance, by_address=True)))
        return self._next("introduced")


def claims(token):
    """What a token says."""
    text = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
