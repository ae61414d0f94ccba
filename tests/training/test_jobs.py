"""The doorbell: ids only, JSON only, and never in anybody's way."""

from __future__ import annotations

import base64
import json
import logging
import socket
import subprocess
import sys

import pytest

from personal_data.errors import ConfigurationError
from personal_data.settings import Settings
from training import jobs


def messages(settings: Settings) -> list[dict[str, str]]:
    return [json.loads(path.read_text()) for path in sorted(settings.broker_dir.glob("*.msg"))]


def test_a_message_is_json_and_says_nothing_but_the_id(settings: Settings) -> None:
    jobs.nudge("job_1", settings)
    jobs.nudge("job_2")  # the settings of the environment: the same folder
    first, second = messages(settings)
    assert first["content-type"] == second["content-type"] == "application/json"
    assert json.loads(base64.b64decode(first["body"]))[:2] == [["job_1"], {}]
    assert json.loads(base64.b64decode(second["body"]))[:2] == [["job_2"], {}]


def test_only_json_is_accepted(settings: Settings) -> None:
    conf = jobs.build_app(settings).conf
    assert conf.accept_content == conf.result_accept_content == ["json"]
    assert conf.task_serializer == conf.result_serializer == conf.event_serializer == "json"


@pytest.mark.parametrize("scheme", ["redis://127.0.0.1:{}/0", "amqp://guest:guest@127.0.0.1:{}//"])
def test_a_broker_that_is_away_stops_nobody(scheme: str, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as nobody:  # bound but not listening: refused
        nobody.bind(("127.0.0.1", 0))
        away = settings.model_copy(update={"broker_url": scheme.format(nobody.getsockname()[1])})
        with caplog.at_level(logging.WARNING, logger="training.jobs"):
            jobs.nudge("job_1", away)
    assert "job job_1 waits for the next sweep" in caplog.text
    assert "guest" not in caplog.text


def test_a_broker_folder_that_is_gone_stops_nobody(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    jobs.nudge("job_1", settings)
    settings.broker_dir.rename(settings.broker_dir.with_name("gone"))
    jobs.nudge("job_2", settings)
    assert "job job_2 waits for the next sweep" in caplog.text


@pytest.mark.parametrize("url", ["sqs://key:secret@", "filesystem://", "memory://", "nonsense"])
def test_other_brokers_are_refused_without_repeating_their_password(url: str, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="broker_url") as caught:
        jobs.nudge("job_1", settings.model_copy(update={"broker_url": url}))
    assert "secret" not in str(caught.value)


def test_the_job_room_imports_no_model_library_and_only_its_doors_import_celery() -> None:
    code = (
        "import sys, training.ledger, training.schedule, training.child; assert 'celery' not in sys.modules\n"
        "import training.jobs, training.worker\n"
        "assert not {'torch', 'transformers', 'peft', 'litellm', 'chromadb', 'langgraph'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
