"""Who is right, decided by counting and by records of who was right before, never by a model.

One file a family of rules, each a pure function of its arguments: no database, no clock, no hidden chance. A rule takes
a `Ballot` (what the members say) and gives a `Posterior` (how probable each answer is, and that none of them is right).
Doors: `plurality.plurality` when nothing is known of the members, `selector.select` once there are resolved questions.
What a debate stores of a decision is `society.state.Decision`; who may speak and what it costs is decided elsewhere.
"""
