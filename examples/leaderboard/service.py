"""Leaderboards. Each is a resource: /leaderboard/<board>/<method> goes to the one instance that owns the board,
where it is an object in memory. When the board moves, or a new version is deployed, its scores go with it.
"""

import asyncio

import lever


@lever.resource
class Board:
    async def open(self, name, state, origin):
        # "carried": `state` is what close() gave where the board was before. "lost": that instance has died, and
        # whatever it knew; a board that has to outlive this writes its scores to a store with
        # lever.context().generation, its fencing token.
        self.scores = dict(state or {})
        self.origin = origin
        self.changed = asyncio.Condition()

    async def close(self, reason):
        return self.scores

    async def add(self, player: str, points: int) -> int:
        """Adds to a player's score, and gives it."""
        self.scores[player] = self.scores.get(player, 0) + points
        async with self.changed:
            self.changed.notify_all()
        return self.scores[player]

    async def score(self, player: str) -> int:
        return self.scores.get(player, 0)

    async def top(self, count: int = 10):
        """The best players, each as [player, score]."""
        ranked = sorted(self.scores.items(), key=lambda entry: (-entry[1], entry[0]))
        return ranked[:count]

    async def about(self):
        return {"board": lever.context().resource, "generation": lever.context().generation,
                "origin": self.origin, "players": len(self.scores)}

    async def watch_chan(self, stream, count: int = 3):
        """The best players now, and again each time that they have changed."""
        seen = None
        while True:
            best = await self.top(count)
            if best != seen:
                await stream.write(best)
                seen = best
                continue  # they may have changed meanwhile
            async with self.changed:
                await self.changed.wait()
