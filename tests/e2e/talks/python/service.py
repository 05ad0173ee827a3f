"""Answers each number of a stream, which has to be the next one, with how many it has sent and received; so it goes on
where the stream moves to. For tests/e2e/test_resume.py."""

import lever


@lever.resource
class Talk:
    async def count_chan(self, stream):
        await self.go_on(stream, 0, 0)

    async def resume(self, stream, token, last_received):
        sent, received = map(int, (token or b"0 0").split())
        if sent != last_received:
            raise ValueError(f"the caller has {last_received} messages, and its token is that of {sent}")
        await self.go_on(stream, sent, received)

    async def go_on(self, stream, sent, received):
        async def write(what):
            nonlocal sent
            sent += 1
            await stream.write([what, sent, received], token=b"%d %d" % (sent, received))

        try:
            async for number in stream:
                received += 1
                if number != received:
                    raise ValueError(f"{number} has come for {received}")
                await write("read")
        except lever.Moved:
            await write("moved")
            raise
        await write("end")
