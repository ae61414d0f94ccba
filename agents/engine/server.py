"""The engine's process: `python -m agents.engine.server --model NAME --base BASE [--embedder] --host H --port P`.

One torch process: a thread that generates, and in front of it an HTTP server (agents/engine/app.py). It prints
`ready http://HOST:PORT` when it serves, and nothing else. The token comes by --token or, unseen by other users of the
machine, by FOLKMOOT_ENGINE_TOKEN. People and agents are unknown here: whoever has the token may use every adapter.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from typing import TYPE_CHECKING

from agents.engine.allocator import keep_freed_memory
from agents.engine.base import base_folder
from personal_data.errors import ConfigurationError

if TYPE_CHECKING:
    from agents.engine.embedder import Embedder
    from agents.engine.exchange import Model

TOKEN_VARIABLE = "FOLKMOOT_ENGINE_TOKEN"  # noqa: S105 - the name of the variable, not a token
_GRACE_S = 3


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; exit status 1 and one line on stderr when it cannot start."""
    os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")
    options = _parser().parse_args(arguments)
    try:
        _check(options)
        with _listen(options.host, options.port) as listener:
            _serve(options, listener)
    except ConfigurationError as error:
        sys.stderr.write(f"engine: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m agents.engine.server", allow_abbrev=False)
    parser.add_argument("--model", help="the name under which the base is served")
    parser.add_argument("--base", help="builtin:nursery, a local folder or a hub id")
    parser.add_argument("--embedder", action="store_true", help="serve all-MiniLM-L6-v2 at /v1/embeddings")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--token", default=os.environ.get(TOKEN_VARIABLE), help=f"default: ${TOKEN_VARIABLE}")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; decoding small models likes one")
    parser.add_argument("--max-num-seqs", type=int, default=64, help="completions that decode together")
    parser.add_argument(
        "--max-num-batched-tokens", type=int, help="prompt tokens between two decode steps; default 128, on CUDA 2048"
    )
    parser.add_argument("--max-waiting", type=int, default=256, help="prompts that may wait; more get 429")
    parser.add_argument("--max-loras", type=int, default=32, help="adapters in memory at a time")
    parser.add_argument("--max-lora-rank", type=int, default=16)
    return parser


def _check(options: argparse.Namespace) -> None:
    if not options.token:
        raise ConfigurationError(f"a token is needed: --token or {TOKEN_VARIABLE}")
    if bool(options.model) != bool(options.base) or not (options.base or options.embedder):
        raise ConfigurationError("give --model and --base together, or --embedder, or all three")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=512)
        # asyncio sets this on sockets that it opens itself; without it a reply's second packet waits 40 ms for an ACK
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def _serve(options: argparse.Namespace, listener: socket.socket) -> None:
    if options.base:
        base_folder(options.base)  # a missing model is told before torch is loaded
    import torch
    import uvicorn

    from agents.engine.app import create_app

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            host, port = listener.getsockname()[:2]
            sys.stdout.write(f"ready http://{f'[{host}]' if ':' in host else host}:{port}\n")
            sys.stdout.flush()

    keep_freed_memory()
    torch.set_num_threads(options.threads)
    app = create_app(_load_model(options), _load_embedder(options), token=options.token)
    config = uvicorn.Config(
        app, loop="asyncio", log_level="warning", access_log=False, timeout_graceful_shutdown=_GRACE_S
    )
    Server(config).run(sockets=[listener])


def _load_model(options: argparse.Namespace) -> Model | None:
    if options.base is None:
        return None
    from agents.engine.base import load_base
    from agents.engine.exchange import Model
    from agents.engine.generation import Batch
    from agents.engine.lora import RANKS, AdapterStack
    from agents.engine.residents import Residents
    from agents.engine.scheduler import Scheduler

    base = load_base(options.base)
    ranks = [*(rank for rank in RANKS if rank < options.max_lora_rank), options.max_lora_rank]
    stack = AdapterStack(base, slots=options.max_loras + 1, ranks=ranks, dtype=base.model.dtype)
    residents = Residents(stack)
    piece = options.max_num_batched_tokens or (2048 if base.device.type == "cuda" else 128)
    batch = Batch(base, stack)
    scheduler = Scheduler(batch, residents, options.max_num_seqs, options.max_waiting, piece)
    return Model(options.model, base, residents, scheduler)


def _load_embedder(options: argparse.Namespace) -> Embedder | None:
    if not options.embedder:
        return None
    from agents.engine.embedder import Embedder

    return Embedder()


if __name__ == "__main__":
    sys.exit(main())
