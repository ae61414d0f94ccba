"""The report of an improvement, over HTTP and by the command line: three forms, its owner's alone."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa

from api.cli import main
from api.commands import learning
from personal_data.errors import InvalidInput, NotFound
from personal_data.records import Agent, Job, Judgement, Rollout, TrainingRun
from tests.api.conftest import Person, Platform

HOSTILE = "<script>alert(1)</script>"


def improved(platform: Platform, person: Person) -> str:
    """An improvement of this person that a worker has done."""
    job_id: str = person.client.improve(request_id=f"of-{person.handle}-{len(person.client.improvements())}")["id"]
    with platform.database.session() as session:
        job = session.get_one(Job, job_id)
        job.state, job.result, job.finished_at = "done", {"decision": "refused"}, job.created_at + 1
        agent = session.scalars(sa.select(Agent).where(Agent.handle == person.handle)).one()
        run = TrainingRun(
            job_id=job_id,
            token=1,
            stage="environment",
            agent_id=agent.id,
            recipe={"reward": "blind", "seed": 7},
            steps=[{"step": 0, "reward_blind": 0.5, "reward_truth": 0.25}],
            gate={
                "checks": [{"name": HOSTILE, "ok": False, "before": 0.5, "after": 0.25, "n": 4}],
                "samples": [{"prompt": HOSTILE, "before": "4", "after": "5"}],
            },
            decision="refused",
        )
        session.add(run)
        session.flush()
        row = {"prompt": "2+2?", "completion": "5", "rewards": {"blind": 1.0}, "finish_reason": "stop"}
        session.add(Rollout(run_id=run.id, step=0, group=0, **row))
        session.add(Judgement(run_id=run.id, step=0, prompt="2+2?", said=f"{HOSTILE} answer: 5", verdict=["5"]))
    return job_id


def options(platform: Platform, **given: Any) -> Namespace:
    return Namespace(**({"job": None, "save": None, "plots": None, "json": False, "url": platform.url} | given))


def test_an_improvement_is_kept_in_three_forms(platform: Platform, ada: Person) -> None:
    job_id = improved(platform, ada)
    told = json.loads(ada.client.report(job_id))
    assert (told["version"], told["id"], told["agent"]) == (1, job_id, ada.handle)
    assert told["stages"][0]["samples"][0]["prompt"] == HOSTILE
    assert told["stages"][0]["rollouts"][0]["best"][0]["completion"] == "5"
    assert told["stages"][0]["judgements"][0]["said"] == f"{HOSTILE} answer: 5"
    assert f"\n```\n{HOSTILE}\n```\n" in ada.client.report(job_id, "md")
    page = ada.client.report(job_id, "html")
    assert "<script" not in page and "&lt;script&gt;" in page and "default-src 'none'" in page
    assert 'aria-label="Reward, mean of the rollouts: blind (teaches): 0.5 at first' in page
    with pytest.raises(InvalidInput):
        ada.client.report(job_id, "exe")


@pytest.mark.parametrize(
    ("form", "kind"),
    [("json", "application/json"), ("md", "text/markdown; charset=utf-8"), ("html", "text/html; charset=utf-8")],
)
def test_it_is_a_file_to_save(platform: Platform, ada: Person, form: str, kind: str) -> None:
    job_id = improved(platform, ada)
    path, headers = f"/api/improvements/{job_id}/report", {"Authorization": f"Bearer {ada.key}"}
    answer = platform.http.get(path, params={"form": form}, headers=headers)
    assert answer.headers["content-type"] == kind
    assert answer.headers["content-disposition"] == f'attachment; filename="{job_id}.{form}"'
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_each_plot_is_a_file_of_its_own(platform: Platform, ada: Person, ben: Person) -> None:
    job_id = improved(platform, ada)
    assert ada.client.plots(job_id) == ["environment-reward", "environment-gate"]
    path, headers = f"/api/improvements/{job_id}/plots", {"Authorization": f"Bearer {ada.key}"}
    for name in ada.client.plots(job_id):
        answer = platform.http.get(f"{path}/{name}.svg", headers=headers)
        assert answer.headers["content-type"] == "image/svg+xml"
        assert answer.headers["content-disposition"] == f'attachment; filename="{job_id}-{name}.svg"'
        svg = ElementTree.fromstring(answer.text)
        assert svg.tag == "{http://www.w3.org/2000/svg}svg" and svg.get("viewBox")
        assert "<script" not in answer.text
    with pytest.raises(NotFound, match=r"no plot 'no' of improvement .*; known: environment-reward, environment-gate"):
        ada.client.plot(job_id, "no")
    for asked in (lambda: ben.client.plots(job_id), lambda: ben.client.plot(job_id, "environment-gate")):
        with pytest.raises(NotFound, match="no improvement"):
            asked()
    waiting = ada.client.improve()["id"]
    assert ada.client.plots(waiting) == []
    with pytest.raises(NotFound, match="known: none, nothing was recorded yet"):
        ada.client.plot(waiting, "environment-gate")


def test_it_is_its_owners_alone(platform: Platform, ada: Person, ben: Person) -> None:
    job_id = improved(platform, ada)
    for form in ("json", "md", "html"):
        with pytest.raises(NotFound, match="no improvement"):
            ben.client.report(job_id, form)
    debate = ada.client.ask(platform.moot(ada), "solve it")["id"]
    with platform.database.session() as session:
        other = session.scalars(sa.select(Job.id).where(Job.subject_id == debate)).one()
    with pytest.raises(NotFound, match="no improvement"):
        ada.client.report(other)


def test_the_command_shows_the_latest_that_is_done_and_saves_any(
    platform: Platform, ada: Person, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLKMOOT_KEY", ada.key)
    with pytest.raises(NotFound, match="no improvement is done yet"):
        learning.report(options(platform))
    first, second = improved(platform, ada), improved(platform, ada)
    ada.client.improve()
    capsys.readouterr()
    learning.report(options(platform))
    shown = capsys.readouterr().out
    assert shown.startswith("# Improvement of agent:") and second in shown and first not in shown
    learning.report(options(platform, json=True))
    assert json.loads(capsys.readouterr().out)["id"] == second
    assert main(["report", first, "--save", str(tmp_path / "report.html"), "--url", platform.url]) == 0
    assert capsys.readouterr().out == f"the report of {first} is in {tmp_path / 'report.html'}\n"
    assert first in (tmp_path / "report.html").read_text()
    assert main(["report", first, "--plots", str(tmp_path / "plots" / "here"), "--url", platform.url]) == 0
    assert capsys.readouterr().out == f"2 plots of {first} are in {tmp_path / 'plots' / 'here'}\n"
    written = sorted((tmp_path / "plots" / "here").iterdir())
    assert [path.name for path in written] == ["environment-gate.svg", "environment-reward.svg"]
    assert written[1].read_text() == ada.client.plot(first, "environment-reward")
    with pytest.raises(InvalidInput, match="a report is"):
        learning.report(options(platform, save=tmp_path / "report.exe"))


def test_what_is_cancelled_before_it_began_has_a_report(platform: Platform, ada: Person) -> None:
    job_id = ada.client.improve()["id"]
    ada.client.cancel_improvement(job_id)
    assert "No result: cancelled." in ada.client.report(job_id, "md")
