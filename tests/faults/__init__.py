"""The fault suite: real processes, faults caused on purpose, and rows counted against deliveries.

`python -m tests.faults` runs it (`make faults`); tests/acceptance/test_faults.py runs those marked fast.
A module for each area registers its faults with `@fault(...)`; a module that is added here is found by itself.
Nothing here is imported by the product, and the product's own counters are not believed: deliveries are
counted by the cameras, rejects by a subscriber of their own, rows by reading the database.
"""
