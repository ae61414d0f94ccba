"""Claim: the engine serves many people's adapters at once, answers at once, and does not grow.

`python -m benchmarks.serving` starts the engine as users do and talks to it over HTTP on loopback: 32 people with an
adapter each against a FastAPI server that takes a lock and calls PEFT's `set_adapter`; time to the first token against
what a prefill and two decode steps take; what HTTP adds to a request; how fast an adapter is put into its slot with
10,000 registered; what adapters and 10,000 requests cost in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from http.client import HTTPConnection
from multiprocessing import get_context
from pathlib import Path
from queue import SimpleQueue
from random import Random
from statistics import mean, median, quantiles
from tempfile import TemporaryDirectory

import httpx
import torch

from agents.adapters import read_adapter
from agents.engine.allocator import keep_freed_memory
from agents.engine.generation import Batch, Prompt
from agents.engine.lora import AdapterStack
from agents.engine.residents import Residents
from agents.engine.scheduler import Job, Scheduler, Told
from agents.messages import SamplingParams
from benchmarks.checkpoints import Size, endless, save_adapters, save_checkpoint
from benchmarks.figures import KEEP_FREED, Figure, finish, machine
from benchmarks.roofline import measure

USERS, PROMPT, NEW, RANK = 32, 64, 64, 8
TOKEN = "benchmark"
REGISTERED = 10_000


@contextmanager
def engine(folder: Path, *options: str) -> Iterator[tuple[str, int]]:
    """Our engine's process; its address and process id."""
    command = [sys.executable, "-m", "agents.engine.server", "--model", "base", "--base", str(folder), *options]
    environment = os.environ | {"FOLKMOOT_ENGINE_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[1], process.pid
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def lock_server(folder: Path, adapters: Path) -> Iterator[str]:
    """The peer's process; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.lock_server", str(folder), str(adapters), str(port)]
    process = subprocess.Popen(
        command, env=os.environ | KEEP_FREED | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx.get(f"{url}/health")
                break
            except httpx.TransportError:
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(20)


@asynccontextmanager
async def people(url: str) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=USERS, max_keepalive_connections=USERS)
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=600, limits=limits, trust_env=False) as client:
        yield client


def prompt(rng: Random, size: Size) -> list[int]:
    return [rng.randrange(4, size.vocabulary) for _ in range(PROMPT)]


async def ask(client: httpx.AsyncClient, model: str, ids: list[int], new: int = NEW) -> None:
    body = {"model": model, "prompt": ids, "max_tokens": new, "temperature": 0}
    (await client.post("/v1/completions", json=body)).raise_for_status()


async def requests_per_second(url: str, names: list[str], size: Size, each: int) -> float:
    """Every person asks `each` times in turn; completed requests a second."""

    async def person(client: httpx.AsyncClient, number: int) -> None:
        rng = Random(number)
        for _ in range(each):
            await ask(client, names[number], prompt(rng, size))

    async with people(url) as client:
        await ask(client, names[0], prompt(Random(0), size))
        started = time.perf_counter()
        await asyncio.gather(*(person(client, number) for number in range(len(names))))
        return len(names) * each / (time.perf_counter() - started)


async def first_tokens(url: str, names: list[str], size: Size, each: int) -> list[float]:
    """Seconds to the first token of streams, while the same people keep the engine full; one asks at a time anew.

    The client reads bare sockets: a client library that parses 32 streams on the second core would be measured too.
    """
    seconds: list[float] = []
    host, port = address(url)

    async def person(number: int) -> None:
        rng = Random(number)
        for turn in range(each):
            body = {"model": names[number], "prompt": prompt(rng, size), "temperature": 0, "stream": True}
            body["max_tokens"] = rng.randint(NEW // 2, NEW)  # so that they do not all come back at once
            content = json.dumps(body)
            reader, writer = await asyncio.open_connection(host, port)
            started = time.perf_counter()
            head = f"POST /v1/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {TOKEN}\r\n"
            fields = f"connection: close\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n"
            writer.write(f"{head}{fields}\r\n{content}".encode())
            if b" 200 " not in (answer := await reader.readuntil(b"\r\n\r\n")):
                raise SystemExit(f"the engine refused: {answer.decode()}")
            await reader.readuntil(b"data: ")
            if turn:  # the first round comes all at once and waits for 32 prefills
                seconds.append(time.perf_counter() - started)
            while await reader.read(1 << 16):
                pass
            writer.close()

    await asyncio.gather(*(person(number) for number in range(len(names))))
    return seconds


def address(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)


def inside(folder: Path, adapters: list[Path], size: Size) -> tuple[float, float]:
    """Median seconds of one prefill and of one decode step of 32 rows, without a server."""
    base = endless(folder)
    stack = AdapterStack(base, slots=USERS + 1, rank=RANK)
    for slot, path in enumerate(adapters[:USERS], start=1):
        stack.load(slot, read_adapter(path, base_sha256=base.sha256))
    batch, rng = Batch(base, stack), Random(5)
    prefills = []
    for slot in range(1, USERS + 1):
        started = time.perf_counter()
        batch.join([Prompt(base, tuple(prompt(rng, size)), SamplingParams(max_tokens=NEW), slot=slot)])
        prefills.append(time.perf_counter() - started)
    steps = []
    for _ in range(NEW // 2):
        started = time.perf_counter()
        batch.step()
        steps.append(time.perf_counter() - started)
    return median(prefills), median(steps)


def http_overhead(url: str, folder: Path, size: Size, count: int) -> tuple[list[float], list[float]]:
    """Seconds of a one-token request over a kept connection, and of the same job given to the same scheduler in this
    process; interleaved."""
    base = endless(folder)
    stack = AdapterStack(base, slots=2, rank=1)
    scheduler = Scheduler(Batch(base, stack), Residents(stack))
    scheduler.start()
    told: SimpleQueue[Told] = SimpleQueue()
    connection = HTTPConnection(*address(url))
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    over, bare = [], []
    for number in range(count + 5):
        ids = prompt(Random(number), size)
        body = json.dumps({"model": "base", "prompt": ids, "max_tokens": 1, "temperature": 0})
        started = time.perf_counter()
        connection.request("POST", "/v1/completions", body, headers)
        reply = connection.getresponse()
        reply.read()
        between = time.perf_counter()
        if reply.status != 200:
            raise SystemExit(f"the engine refused: {reply.status}")
        asked = Prompt(base, tuple(ids), SamplingParams(max_tokens=1), live=False)
        scheduler.submit(Job([asked], None, live=False, tell=told.put))
        told.get()
        if number >= 5:
            over.append(between - started)
            bare.append(time.perf_counter() - between)
    scheduler.close()
    return over, bare


def activation(folder: Path, adapters: list[Path]) -> tuple[list[float], list[float], float]:
    """With 10,000 registered: seconds to pin one that is resident, one that is on disk; and memory over weights."""
    torch.set_num_threads(1)
    base = endless(folder)
    stack = AdapterStack(base, slots=1025, ranks=(8, 16))
    residents = Residents(stack)
    known = []
    for number in range(REGISTERED):
        residents.register(f"person-{number}", adapters[number % len(adapters)])
        known.append(residents.find(f"person-{number}"))
    before = resident_bytes(os.getpid())
    cold = [_pin(residents, adapter) for adapter in known[:1000]]
    weights = sum(bank.flat[0].numel() * 4 for bank in stack.banks if bank.rank == RANK) * 1000
    cost = (resident_bytes(os.getpid()) - before) / weights
    rng = Random(1)
    warm = [_pin(residents, known[rng.randrange(1000)]) for _ in range(1000)]
    return warm, cold, cost


def _pin(residents: Residents, adapter: object) -> float:
    started = time.perf_counter()
    residents.acquire(adapter)  # type: ignore[arg-type]
    seconds = time.perf_counter() - started
    residents.release(adapter)  # type: ignore[arg-type]
    return seconds


def resident_bytes(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024


async def soak(url: str, process: int, names: list[str], size: Size, count: int) -> tuple[int, int]:
    """Resident bytes of the engine after a tenth of the requests and after all of them."""
    left = iter(range(count))
    tenth = 0

    async def person(client: httpx.AsyncClient, seed: int) -> None:
        nonlocal tenth
        rng = Random(seed)
        for number in left:
            ids = prompt(rng, size)[: rng.randint(1, PROMPT)]
            await ask(client, rng.choice(names), ids, new=rng.randint(1, 4))
            if number == count // 10:
                tenth = resident_bytes(process)

    async with people(url) as client:
        await asyncio.gather(*(person(client, seed) for seed in range(USERS)))
    return tenth, resident_bytes(process)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=4, help="requests a person")
    parser.add_argument("--requests", type=int, default=10_000, help="of the memory run")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    size = Size()
    print(f"serving, {machine()}\n{size.name}, fp32, rank {RANK}, {USERS} people, {PROMPT} + {NEW} tokens; {measure()}")
    with TemporaryDirectory() as scratch:
        folder = save_checkpoint(Path(scratch) / "base", size)
        adapters = save_adapters(endless(folder), Path(scratch) / "adapters", [RANK] * USERS)
        return finish(_measure(folder, adapters, size, options.each, options.requests))


def _measure(folder: Path, adapters: list[Path], size: Size, each: int, requests: int) -> list[Figure]:
    names = [path.name for path in adapters]
    quiet = [inside(folder, adapters, size)]
    with lock_server(folder, adapters[0].parent) as url:
        theirs = asyncio.run(requests_per_second(url, names, size, 1))
    with engine(folder, "--max-loras", "64") as (url, process):
        client = httpx.Client(base_url=url, headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False)
        for name, path in zip(names, adapters, strict=True):
            client.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": str(path)}).raise_for_status()
        ours = asyncio.run(requests_per_second(url, names, size, each))
        first = asyncio.run(first_tokens(url, names, size, 2 * each))
        quiet.append(inside(folder, adapters, size))
        over, bare = http_overhead(url, folder, size, 200)
        tenth, whole = asyncio.run(soak(url, process, names, size, requests))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:  # with no freed memory to use again
        warm, cold, cost = fresh.submit(activation, folder, adapters).result()
    prefill, step = map(mean, zip(*quiet, strict=True))
    added = median(over) - median(bare)
    waited = (median(first) - prefill) / step
    growth = whole / tenth - 1
    print(f"  requests a second: ours {ours:.1f}, lock and set_adapter {theirs:.2f}; ratio {ours / theirs:.1f}")
    p99 = quantiles(first, n=100)[98]
    print(
        f"  first token, {len(first)} streams: p50 {median(first) * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms; "
        f"a prefill {prefill * 1e3:.1f} ms, a step of 32 rows {step * 1e3:.1f} ms"
    )
    print(f"  HTTP adds {added * 1e3:.2f} ms to a request of {median(bare) * 1e3:.2f} ms (n = {len(over)})")
    print(
        f"  pinning an adapter, {REGISTERED:,} registered: resident {median(warm) * 1e6:.0f} us "
        f"(p99 {quantiles(warm, n=100)[98] * 1e6:.0f}), from disk {median(cold) * 1e6:.0f} us "
        f"(p99 {quantiles(cold, n=100)[98] * 1e6:.0f})"
    )
    print(f"  1,000 resident adapters take {cost:.2f} times their weights")
    print(f"  {requests:,} requests: {tenth / 2**20:.0f} MiB after a tenth, {whole / 2**20:.0f} MiB at the end")
    return [
        Figure("serving.requests_vs_lock_and_set_adapter", ours / theirs, ">=", 6),
        Figure("serving.first_token_p50_beyond_prefill_in_steps", waited, "<=", 2),
        Figure("serving.http_ms_per_request", added * 1e3, "<=", 1.5),
        Figure("serving.activation_ms", median(warm) * 1e3, "<=", 1),
        Figure("serving.page_in_ms", median(cold) * 1e3, "<=", 5),
        Figure("serving.resident_adapter_over_weights", cost, "<=", 1.1),
        Figure("serving.memory_growth_over_requests", growth, "<=", 0.02),
    ]


if __name__ == "__main__":
    sys.exit(main())
