"""The ledger, on both databases: leases, fencing, retries, and what holds under any order of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy.orm import Session

from personal_data.database import Database
from personal_data.errors import Conflict, InvalidInput, LeaseLost, NotFound
from personal_data.records import Feedback, Job, User
from training import ledger
from training.ledger import Lease

LEASE_S = 50.0


class SteppedDatabase(Database):
    """A database whose clock a test can move; everything else is as in production."""

    step = 0.0

    def clock(self, session: Session) -> float:
        return super().clock(session) + self.step


@pytest.fixture
def stepped(any_database: Database) -> SteppedDatabase:
    database = SteppedDatabase(any_database.url)
    add_people(database)
    return database


def add_people(database: Database) -> None:
    with database.session() as session:
        session.add_all([User(id="usr_ada", handle="ada", name="Ada"), User(id="usr_bob", handle="bob", name="Bob")])


def enqueue(database: Database, key: str = "k", **changes: object) -> str:
    job = {"kind": "improve", "user_id": "usr_ada", "subject_id": "agt_ada", "idempotency_key": key} | changes
    with database.session() as session:
        return ledger.enqueue(session, **job).id  # type: ignore[arg-type]


def claim(database: Database, **which: object) -> Lease | None:
    return ledger.claim(database, lease_s=LEASE_S, **which)  # type: ignore[arg-type]


def must_claim(database: Database, **which: object) -> Lease:
    lease = claim(database, **which)
    assert lease is not None
    return lease


def finish(database: Database, lease: Lease) -> None:
    """Close the job together with one recorded effect."""
    with database.session() as session:
        ledger.fence(session, lease)
        session.add(Feedback(user_id=lease.user_id, prompt=[], chosen=lease.job_id))
        ledger.finish(session, lease, {"published": 1})


def effects(database: Database) -> Counter[str]:
    with database.session() as session:
        return Counter(session.scalars(sa.select(Feedback.chosen)))


def job(database: Database, job_id: str) -> Job:
    with database.session() as session:
        return session.get_one(Job, job_id)


def test_a_job_runs_from_enqueue_to_its_recorded_effect(stepped: SteppedDatabase) -> None:
    job_id = enqueue(stepped, payload={"seed": 7})
    lease = must_claim(stepped, kinds=["improve"])
    expected = Lease(job_id, "improve", "usr_ada", "agt_ada", {"seed": 7}, token=1, attempts=1)
    assert lease == expected == ledger.lease_of(stepped, job_id, 1)
    assert claim(stepped) is None
    assert not ledger.progress(stepped, lease, "environment", 1, 10, "rolling out")
    pulse = ledger.heartbeat(stepped, lease, LEASE_S)
    assert pulse.progress == {"stage": "environment", "done": 1, "total": 10, "note": "rolling out"}
    finish(stepped, lease)
    row = job(stepped, job_id)
    assert (row.state, row.result, row.lease_until, row.error) == ("done", {"published": 1}, None, None)
    assert row.finished_at is not None
    assert effects(stepped) == {job_id: 1}


def test_the_same_key_is_the_same_job_whatever_became_of_it(stepped: SteppedDatabase) -> None:
    job_id = enqueue(stepped)
    assert enqueue(stepped) == job_id
    finish(stepped, must_claim(stepped))
    assert enqueue(stepped) == job_id
    assert claim(stepped) is None


@pytest.mark.parametrize("change", [{"user_id": "usr_bob"}, {"kind": "debate"}, {"subject_id": "agt_bob"}])
def test_a_key_never_hands_out_another_persons_job(stepped: SteppedDatabase, change: dict[str, str]) -> None:
    enqueue(stepped)
    with pytest.raises(Conflict):
        enqueue(stepped, **change)


def test_a_key_that_is_too_long_is_refused(stepped: SteppedDatabase) -> None:
    with pytest.raises(InvalidInput):
        enqueue(stepped, "k" * 201)


def test_a_job_is_enqueued_with_its_business_write_or_not_at_all(stepped: SteppedDatabase) -> None:
    with pytest.raises(ZeroDivisionError), stepped.session() as session:
        session.add(User(id="usr_eve", handle="eve", name="Eve"))
        ledger.enqueue(session, kind="improve", user_id="usr_eve", subject_id="a", idempotency_key="k")
        raise ZeroDivisionError
    assert claim(stepped) is None


def test_one_subject_runs_one_job_of_a_kind_at_a_time(stepped: SteppedDatabase) -> None:
    first, second = enqueue(stepped, "1"), enqueue(stepped, "2")
    other_kind, other_agent = enqueue(stepped, "3", kind="debate"), enqueue(stepped, "4", subject_id="agt_bob")
    held = must_claim(stepped)
    assert held.job_id == first
    assert claim(stepped, job_id=second) is None
    assert {must_claim(stepped).job_id, must_claim(stepped).job_id} == {other_kind, other_agent}
    assert claim(stepped) is None
    finish(stepped, held)
    assert must_claim(stepped).job_id == second


def test_kinds_and_ids_narrow_a_claim(stepped: SteppedDatabase) -> None:
    job_id = enqueue(stepped)
    assert claim(stepped, kinds=["debate"]) is None
    assert claim(stepped, job_id=job_id, kinds=["debate"]) is None
    assert claim(stepped, job_id="job_unknown") is None
    assert must_claim(stepped, job_id=job_id, kinds=["debate", "improve"]).job_id == job_id


def test_not_before_is_kept(stepped: SteppedDatabase) -> None:
    with stepped.session() as session:
        soon = stepped.clock(session) + 100
    enqueue(stepped, not_before=soon)
    assert claim(stepped) is None
    assert ledger.sweep(stepped) == []
    stepped.step = 200
    assert must_claim(stepped).attempts == 1


def every_call(database: Database, lease: Lease) -> list[Callable[[], object]]:
    return [
        partial(ledger.heartbeat, database, lease, LEASE_S),
        partial(ledger.progress, database, lease, "s", 0, 1),
        partial(ledger.fail, database, lease, "late", retry=True),
        partial(ledger.release, database, lease),
        partial(ledger.lease_of, database, lease.job_id, lease.token),
        partial(finish, database, lease),
    ]


def test_a_zombie_is_fenced_off_from_every_call(stepped: SteppedDatabase) -> None:
    job_id = enqueue(stepped)
    zombie = must_claim(stepped)
    stepped.step = LEASE_S + 10
    heir = must_claim(stepped)
    assert (heir.token, heir.attempts) == (2, 2)
    for call in every_call(stepped, zombie):
        with pytest.raises(LeaseLost):
            call()
    assert effects(stepped) == {}
    finish(stepped, heir)
    for call in every_call(stepped, heir):
        with pytest.raises(LeaseLost):
            call()
    assert effects(stepped) == {job_id: 1}


def test_an_expired_lease_cannot_come_back_after_another_job_took_the_subject(stepped: SteppedDatabase) -> None:
    enqueue(stepped, "1")
    second = enqueue(stepped, "2")
    zombie = must_claim(stepped)
    stepped.step = LEASE_S + 10
    must_claim(stepped, job_id=second)
    with pytest.raises(LeaseLost):
        ledger.heartbeat(stepped, zombie, LEASE_S)


def test_a_late_heartbeat_keeps_a_lease_that_nobody_took_back(stepped: SteppedDatabase) -> None:
    enqueue(stepped)
    lease = must_claim(stepped)
    stepped.step = 3600  # a laptop that slept, or a clock that was put forward
    ledger.heartbeat(stepped, lease, LEASE_S)
    assert ledger.sweep(stepped) == []
    finish(stepped, lease)


def test_a_clock_that_is_put_back_only_delays(stepped: SteppedDatabase) -> None:
    job_id = enqueue(stepped)
    lease = must_claim(stepped)
    stepped.step = -3600
    assert claim(stepped) is None
    ledger.heartbeat(stepped, lease, LEASE_S)
    finish(stepped, lease)
    assert effects(stepped) == {job_id: 1}


def test_a_poison_job_is_buried_with_a_readable_error(stepped: SteppedDatabase) -> None:
    job_id = enqueue(stepped, max_attempts=2)
    for _ in range(2):
        must_claim(stepped)
        stepped.step += LEASE_S + 10
    assert ledger.sweep(stepped) == []
    row = job(stepped, job_id)
    assert row.state == "dead"
    assert row.error == "gave up after 2 attempts; the last one: its worker died or stalled: the lease ran out"
    assert claim(stepped) is None


def test_failures_wait_longer_each_time_and_then_bury_the_job(stepped: SteppedDatabase) -> None:
    job_id = enqueue(stepped, max_attempts=2)
    assert ledger.fail(stepped, must_claim(stepped), "out of memory", retry=True) == "queued"
    assert claim(stepped) is None
    stepped.step = 10
    assert ledger.fail(stepped, must_claim(stepped), "out of memory", retry=True) == "dead"
    assert job(stepped, job_id).error == "gave up after 2 attempts; the last one: out of memory"


def test_a_final_failure_is_not_tried_again(stepped: SteppedDatabase) -> None:
    job_id = enqueue(stepped)
    assert ledger.fail(stepped, must_claim(stepped), "this agent cannot be trained", retry=False) == "failed"
    assert job(stepped, job_id).error == "this agent cannot be trained"


def test_a_released_job_has_lost_no_attempt_and_its_holder_the_token(stepped: SteppedDatabase) -> None:
    enqueue(stepped, max_attempts=1)
    lease = must_claim(stepped)
    ledger.release(stepped, lease)
    heir = must_claim(stepped)
    assert (heir.token, heir.attempts) == (2, 1)
    with pytest.raises(LeaseLost):
        finish(stepped, lease)


def cancel(database: Database, job_id: str) -> str:
    with database.session() as session:
        return ledger.cancel(session, job_id).state


def test_cancelling_stops_a_waiting_job_at_once_and_a_running_one_soon(stepped: SteppedDatabase) -> None:
    waiting, running = enqueue(stepped, "1", subject_id="a"), enqueue(stepped, "2", subject_id="b")
    lease = must_claim(stepped, job_id=running)
    assert cancel(stepped, waiting) == cancel(stepped, waiting) == "cancelled"
    assert cancel(stepped, running) == "leased"
    assert ledger.heartbeat(stepped, lease, LEASE_S).cancel_requested
    assert ledger.progress(stepped, lease, "s", 0, 1)
    with pytest.raises(Conflict, match="cancelled by its owner"):
        finish(stepped, lease)
    assert effects(stepped) == {}
    assert ledger.fail(stepped, lease, "stopped", retry=False) == "cancelled"
    assert claim(stepped) is None


def test_a_cancelled_job_whose_worker_died_is_not_run_again(stepped: SteppedDatabase) -> None:
    job_id = enqueue(stepped)
    must_claim(stepped)
    cancel(stepped, job_id)
    stepped.step = LEASE_S + 10
    assert claim(stepped) is None
    assert job(stepped, job_id).state == "cancelled"


def test_cancelling_looks_at_the_row_as_it_is_now(postgresql: Database) -> None:
    """The api reads the job first, to see whose it is; a worker may claim it between that and the cancel."""
    add_people(postgresql)
    job_id = enqueue(postgresql)
    with postgresql.session() as session:
        seen = session.get_one(Job, job_id)
        assert seen.state == "queued"
        must_claim(postgresql)
        assert ledger.cancel(session, job_id).state == "leased"
    assert job(postgresql, job_id).cancel_requested


def test_only_what_exists_and_has_not_ended_can_be_cancelled(stepped: SteppedDatabase) -> None:
    job_id = enqueue(stepped)
    finish(stepped, must_claim(stepped))
    with pytest.raises(Conflict, match="done"):
        cancel(stepped, job_id)
    with pytest.raises(NotFound):
        cancel(stepped, "job_unknown")


def test_the_sweep_rings_for_jobs_that_wait_and_not_too_often(stepped: SteppedDatabase) -> None:
    job_id, blocked = enqueue(stepped, "1"), enqueue(stepped, "2")
    assert ledger.sweep(stepped, kinds=[]) == ledger.sweep(stepped, kinds=["debate"]) == []
    assert ledger.sweep(stepped, kinds=["improve"], limit=1) == [job_id]
    assert ledger.sweep(stepped, kinds=["improve"]) == [blocked]
    assert ledger.sweep(stepped) == []
    stepped.step = 20
    assert ledger.sweep(stepped) == [job_id, blocked]
    must_claim(stepped, job_id=job_id)
    stepped.step = 40
    assert ledger.sweep(stepped) == []
    stepped.step = 20 + LEASE_S + 10
    assert ledger.sweep(stepped) == [job_id, blocked]


def test_racing_claimers_get_one_lease_a_subject(stepped: SteppedDatabase) -> None:
    for turn in range(15):
        for key in range(4):
            enqueue(stepped, f"{turn}:{key}")
        with ThreadPoolExecutor(4) as pool:
            leases = [lease for lease in pool.map(lambda _: claim(stepped), range(4)) if lease is not None]
        assert len(leases) == 1
        finish(stepped, leases[0])


def test_racing_enqueues_of_one_key_make_one_job(stepped: SteppedDatabase) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: enqueue(stepped), range(8)))) == 1


class LedgerMachine(RuleBasedStateMachine):
    """Any order of events. Time moves in steps of 30 s under leases of 50 s, so that no comparison is a close call."""

    def __init__(self, database: SteppedDatabase) -> None:
        super().__init__()
        self.database = database
        database.step = 0.0
        with database.session() as session:
            session.execute(sa.delete(Feedback))
            session.execute(sa.delete(Job))
        self.owners: dict[str, tuple[str, str]] = {}
        self.live: dict[str, tuple[int, float]] = {}
        self.tokens: dict[str, int] = {}
        self.leases: list[Lease] = []
        self.done: set[str] = set()

    def lapse(self) -> None:
        self.live = {job_id: held for job_id, held in self.live.items() if held[1] > self.database.step}

    def holds(self, lease: Lease) -> bool:
        return self.live.get(lease.job_id, (0, 0.0))[0] == lease.token

    def attempt(self, lease: Lease, call: Callable[[], object], *, ends: bool) -> bool:
        if not self.holds(lease):
            with pytest.raises(LeaseLost):
                call()
            return False
        call()
        if ends:
            del self.live[lease.job_id]
        return True

    @rule(key=st.sampled_from("abcd"), user=st.sampled_from(["usr_ada", "usr_bob"]), subject=st.sampled_from("xy"))
    def enqueue(self, key: str, user: str, subject: str) -> None:
        if self.owners.setdefault(key, (user, subject)) == (user, subject):
            enqueue(self.database, key, user_id=user, subject_id=subject, max_attempts=4)
        else:
            with pytest.raises(Conflict):
                enqueue(self.database, key, user_id=user, subject_id=subject)

    @rule()
    def claim(self) -> None:
        self.lapse()
        subjects = {lease.subject_id for lease in self.leases if self.holds(lease)}
        lease = claim(self.database)
        if lease is not None:
            assert lease.subject_id not in subjects
            earlier = [known.token for known in self.leases if known.subject_id == lease.subject_id]
            assert lease.token == max(earlier, default=0) + 1
            self.tokens[lease.job_id] = lease.token
            self.live[lease.job_id] = (lease.token, self.database.step + LEASE_S)
            self.leases.append(lease)

    @rule(steps=st.integers(1, 3))
    def stall(self, steps: int) -> None:
        self.database.step += 30.0 * steps

    @rule()
    def sweep(self) -> None:
        self.lapse()
        ledger.sweep(self.database)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def heartbeat(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        if self.attempt(lease, partial(ledger.heartbeat, self.database, lease, LEASE_S), ends=False):
            self.live[lease.job_id] = (lease.token, self.database.step + LEASE_S)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        if self.holds(lease) and job(self.database, lease.job_id).cancel_requested:
            with pytest.raises(Conflict, match="cancelled by its owner"):
                finish(self.database, lease)
        elif self.attempt(lease, partial(finish, self.database, lease), ends=True):
            self.done.add(lease.job_id)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), retry=st.booleans())
    def fail(self, data: st.DataObject, retry: bool) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        self.attempt(lease, partial(ledger.fail, self.database, lease, "error", retry=retry), ends=True)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        self.attempt(lease, partial(ledger.release, self.database, lease), ends=True)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(self.leases)).job_id
        if job(self.database, job_id).state in ("done", "failed", "dead"):
            with pytest.raises(Conflict):
                cancel(self.database, job_id)
        else:
            cancel(self.database, job_id)

    @invariant()
    def what_always_holds(self) -> None:
        with self.database.session() as session:
            jobs = session.scalars(sa.select(Job)).all()
        leased = [(row.kind, row.subject_id) for row in jobs if row.state == "leased"]
        assert len(leased) == len(set(leased))
        assert all(row.token >= self.tokens.get(row.id, 0) for row in jobs)
        assert all(row.attempts <= row.max_attempts for row in jobs)
        assert {row.id for row in jobs if row.state == "done"} == self.done
        assert effects(self.database) == dict.fromkeys(self.done, 1)

    def teardown(self) -> None:
        """Whatever happened before: with a worker that works, every job ends."""
        for _ in range(8):
            self.database.step += 1000.0
            while (lease := claim(self.database)) is not None:
                finish(self.database, lease)
        with self.database.session() as session:
            left = sa.select(Job.state).where(Job.state.in_(["queued", "leased"]))
            assert session.scalars(left).all() == []


def test_any_order_of_events_keeps_the_promises(stepped: SteppedDatabase) -> None:
    class OnThisDatabase(LedgerMachine):
        def __init__(self) -> None:
            super().__init__(stepped)

    run_state_machine_as_test(
        OnThisDatabase,
        settings=hypothesis_settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
