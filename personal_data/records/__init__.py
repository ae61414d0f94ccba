"""The tables. Everything that happened can be told from these rows.

Ids are made here (`new_id`), never taken from a caller. Times are seconds since the epoch, UTC, as floats: due-ness and
leases are then plain arithmetic in SQL on both databases. JSON columns hold lists of ids, scores and settings; text
that somebody wrote has a column of its own.
"""

from personal_data.records.base import Record, new_id, now
from personal_data.records.debates import (
    Debate,
    Hypothesis,
    Member,
    Position,
    ResolvedQuestion,
    Review,
    Society,
    Verdict,
)
from personal_data.records.learning import AdapterVersion, Job, Judgement, Rollout, TrainingRun
from personal_data.records.memories import Import, ImportedMemory, Memory, MemoryOutbox, MemoryVersion
from personal_data.records.people import Agent, ChatMessage, Conversation, Feedback, Key, Model, User
from personal_data.records.sharing import Disclosure, Erasure, ErasureMark, Grant

__all__ = [
    "AdapterVersion",
    "Agent",
    "ChatMessage",
    "Conversation",
    "Debate",
    "Disclosure",
    "Erasure",
    "ErasureMark",
    "Feedback",
    "Grant",
    "Hypothesis",
    "Import",
    "ImportedMemory",
    "Job",
    "Judgement",
    "Key",
    "Member",
    "Memory",
    "MemoryOutbox",
    "MemoryVersion",
    "Model",
    "Position",
    "Record",
    "ResolvedQuestion",
    "Review",
    "Rollout",
    "Society",
    "TrainingRun",
    "User",
    "Verdict",
    "new_id",
    "now",
]
