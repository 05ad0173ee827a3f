"""Service and client in this process, without a host: `lever test`."""

import unittest

import lever.testing
import service


class Service(unittest.IsolatedAsyncioTestCase):
    async def test_says_hello(self):
        async with lever.testing.start({"{{name}}": service}) as t:
            self.assertEqual(await t.client.invoke("/{{name}}/say_hello", "Ann"), "Hello, Ann!")

    async def test_echoes_what_it_is_sent_after_the_greeting(self):
        async with lever.testing.start({"{{name}}": service}) as t:
            async with t.client.stream("/{{name}}/echo_chan", "hi") as stream:
                await stream.write({"n": 1})
                await stream.end()
                self.assertEqual([message async for message in stream], ["hi", {"n": 1}])


if __name__ == "__main__":
    unittest.main()
