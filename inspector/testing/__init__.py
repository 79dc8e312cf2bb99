"""Fakes that are shipped, and the contract suites that fakes and real adapters both pass. No SQL, no brokers."""
