"""The Celery app and the doorbell: `nudge(job_id)` tells a worker that the ledger holds a job.

Doors: `nudge` for whoever enqueued a job and has committed it; `build_app` for the worker. Messages carry a job id and
nothing else, as JSON. They may be lost, doubled or late: idle workers look into the ledger anyway, a bell only makes
them look at once. The api process imports this file when it first rings; torch never comes with it.
"""

from __future__ import annotations

import functools
import logging
import sys
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from celery import Celery
from kombu.exceptions import ChannelError, OperationalError
from kombu.transport import filesystem
from kombu.utils.json import dumps

from personal_data.errors import ConfigurationError
from personal_data.settings import Settings, load

QUEUE = "folkmoot"
RUN = "training.run"
TICK = "training.tick"
_BROKERS = ("redis://", "rediss://", "amqp://", "amqps://")
NUDGE_LIVES_S = 600.0
"""A job whose bell nobody heard for so long has been found by a sweep."""

log = logging.getLogger(__name__)


def nudge(job_id: str, settings: Settings | None = None) -> None:
    """Ring for a committed job. Never raises when the broker is away: the next idle worker's sweep finds the job.

    It writes a file, or waits for a broker for at most five seconds: keep it off an event loop.

    Raises:
        ConfigurationError: the settings name a broker that we do not speak to.
    """
    try:
        build_app(settings or load()).send_task(RUN, args=[job_id], expires=NUDGE_LIVES_S, retry=False)
    except (OperationalError, ChannelError, OSError) as error:
        log.warning("job %s waits for the next sweep: the broker is away (%s)", job_id, error or type(error).__name__)


def worker_command() -> list[str]:
    """How a worker is started; its settings arrive as FOLKMOOT_* variables or through the data folder.

    `celery --app training.worker worker --pool solo` is the same, but looks for `training` in the working folder first.
    """
    return [sys.executable, "-P", "-m", "training.worker"]


def build_app(settings: Settings) -> Celery:
    """The app of these settings' broker: one for each broker, kept.

    Raises:
        ConfigurationError: it is neither the data folder nor Redis nor RabbitMQ.
    """
    if settings.broker_url is not None and not settings.broker_url.startswith(_BROKERS):
        raise ConfigurationError(f"broker_url must begin with one of {', '.join(_BROKERS)}, or be left out")
    return _app(settings.broker_url, settings.broker_dir, settings.sweep_s)


@functools.cache
def _app(broker_url: str | None, broker_dir: Path, sweep_s: float) -> Celery:
    app = Celery("folkmoot", set_as_current=False)
    app.conf.update(_SAFE, beat_schedule={"tick": {"task": TICK, "schedule": sweep_s}})
    if broker_url is None:
        app.conf.update(broker_url="filesystem://localhost", broker_transport=WholeFiles)
        app.conf.broker_transport_options = _folders(broker_dir)
    else:
        app.conf.update(broker_url=broker_url, broker_transport_options=_IMPATIENT)
        app.conf.worker_disable_prefetch = broker_url.startswith("redis")  # nobody else has it
    return app


_SAFE: dict[str, Any] = {
    "task_serializer": "json",
    "result_serializer": "json",
    "event_serializer": "json",
    "accept_content": ["json"],
    "result_accept_content": ["json"],
    "task_default_queue": QUEUE,
    "task_ignore_result": True,
    "task_acks_late": False,  # the ledger owns retries
    "worker_prefetch_multiplier": 1,
    "worker_eta_task_limit": 100,
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,  # a worker waits for its broker for ever
    "broker_connection_timeout": 2.0,
}
_IMPATIENT: dict[str, Any] = {"max_retries": 1, "interval_start": 0.0, "interval_step": 0.2, "socket_timeout": 5.0}
"""A ring that fails is not worth waiting for."""


def _folders(broker_dir: Path) -> dict[str, str]:
    folder = str(broker_dir)
    return {"data_folder_in": folder, "data_folder_out": folder, "control_folder": str(broker_dir / "control")}


class _WholeFileChannel(filesystem.Channel):  # type: ignore[misc]
    """Kombu's channel writes a message under its final name, where a worker may take it half-written and die of it.

    Here a file appears whole or not at all, and one that cannot be read is dropped: the sweep finds its job. Its name
    starts with the time of day, not of boot, so that the order outlives a restart of the machine.
    """

    def _put(self, queue: str, payload: dict[str, Any], **_: Any) -> None:
        message = Path(self.data_folder_out) / f"{time.time_ns()}_{uuid.uuid4()}.{queue}.msg"
        unfinished = message.with_suffix(".part")
        unfinished.write_text(dumps(payload))
        unfinished.rename(message)

    def _get(self, queue: str) -> Any:
        try:
            return super()._get(queue)
        except ValueError as error:
            log.warning("dropped a message that cannot be read: %s", error)
            raise Empty from error


class WholeFiles(filesystem.Transport):  # type: ignore[misc]
    """Kombu's filesystem transport with whole files only."""

    Channel = _WholeFileChannel
