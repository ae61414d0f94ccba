"""The stages of an improvement: each trains a candidate in the policy slot, measures it and lets the gate decide.

A stage reads no tables and publishes nothing; `training/improve.py` hands it a bench and acts on its result.
"""
