"""Load for examples/leaderboard, and a check of what comes of it:

    load.py [--boards N] [--players N] [--calls N] [--workers N]         with LEVER_HOST set

Workers add scores to random boards, as fast as they are answered. Then every board must say what was added to it:
also where a new version is deployed meanwhile. Prints one line of JSON, and exits with 1 if a call has failed or a
score is not what it should be.
"""

import argparse
import asyncio
import json
import random
import sys
import time

import lever


async def work(client, options, numbers, expected, failed):
    for _ in numbers:
        board = f"board-{random.randrange(options.boards)}"
        player = f"player-{random.randrange(options.players)}"
        points = random.randint(1, 10)
        try:
            await client.invoke(f"/leaderboard/{board}/add", player, points)
        except lever.LeverError as error:
            failed.append(f"{board}: {error.code}: {error}")
            continue
        scores = expected.setdefault(board, {})
        scores[player] = scores.get(player, 0) + points


async def main(options):
    client = lever.Client()
    expected, failed, wrong = {}, [], []
    numbers = iter(range(options.calls))
    began = time.monotonic()
    await asyncio.gather(*(work(client, options, numbers, expected, failed) for _ in range(options.workers)))
    took = time.monotonic() - began
    origins = {}
    for board, scores in expected.items():
        top = await client.invoke(f"/leaderboard/{board}/top", options.players)
        if dict(top) != scores or [score for _, score in top] != sorted(scores.values(), reverse=True):
            wrong.append(board)
        origin = (await client.invoke(f"/leaderboard/{board}/about"))["origin"]
        origins[origin] = origins.get(origin, 0) + 1
    await client.close()
    print(json.dumps({"calls": options.calls, "failed": len(failed), "boards": len(expected),
                      "wrong": len(wrong), "origins": origins, "calls_per_s": round(options.calls / took)}))
    for line in failed[:5]:
        print(line, file=sys.stderr)
    return 1 if failed or wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, value in (("boards", 20), ("players", 50), ("calls", 5000), ("workers", 16)):
        parser.add_argument(f"--{name}", type=int, default=value)
    sys.exit(asyncio.run(main(parser.parse_args())))
