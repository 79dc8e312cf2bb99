"""Ends each run with the contract suites by name: which sources, databases and fakes passed the same tests.

Registered as a pytest plugin by tests/conftest.py. A suite is a class whose name ends in Contract; what passes it is
a subclass that pytest collects.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

PROPERTY = "contract_suite"


class ContractSuites:
    """Counts outcomes by suite and by who was tested."""

    def __init__(self) -> None:
        self._outcomes: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            cls = getattr(item, "cls", None)
            suites = [base.__name__ for base in (cls.__mro__ if cls else ()) if base.__name__.endswith("Contract")]
            if suites:
                item.user_properties.append((PROPERTY, [suites[-1], cls.__name__.removeprefix("Test")]))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A property of the report comes here from the workers of pytest-xdist as well.
        for name, member in report.user_properties:
            if name == PROPERTY and (report.when == "call" or not report.passed):
                self._outcomes[member[0]][member[1]][report.outcome] += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._outcomes:
            return
        terminalreporter.section("contract suites")
        for suite, members in sorted(self._outcomes.items()):
            terminalreporter.write_line(suite)
            for name, outcomes in sorted(members.items()):
                said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
                terminalreporter.write_line(f"  {name}: {said}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(ContractSuites())
