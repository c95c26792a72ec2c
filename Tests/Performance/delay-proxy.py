# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""delay-proxy.py PORT TARGET-PORT MILLISECONDS MEGABITS: forwards TCP connections on the loopback device as a line of so many megabits a second
in each direction does, for all connections together, whose every byte comes so much later. For machines whose kernel has no netem."""

import asyncio
import sys

port, target, delay, rate = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000, float(sys.argv[4]) * 125_000
# When the line is free again, by direction.
free = [0.0, 0.0]


async def forward(reader, writer, direction):
    loop, queue = asyncio.get_running_loop(), asyncio.Queue(256)

    async def deliver():
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0, due - loop.time()))
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()

    delivery = asyncio.create_task(deliver())
    try:
        while data := await reader.read(1 << 14):
            free[direction] = max(free[direction], loop.time()) + len(data) / rate
            await queue.put((free[direction] + delay, data))
    except ConnectionError:
        pass
    await queue.put((max(free[direction], loop.time()) + delay, b""))
    await asyncio.gather(delivery, return_exceptions=True)


async def connected(reader, writer):
    # The handshake takes a round trip, too.
    await asyncio.sleep(2 * delay)
    back, forth = await asyncio.open_connection("127.0.0.1", target, limit=1 << 20)
    await asyncio.gather(forward(reader, forth, 0), forward(back, writer, 1), return_exceptions=True)


async def main():
    server = await asyncio.start_server(connected, "127.0.0.1", port, limit=1 << 20)
    async with server:
        await server.serve_forever()


asyncio.run(main())
