import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from lever_testing import Host  # noqa: E402


@pytest.fixture
def host():
    with Host() as running:
        yield running


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    # The log of the host is what one wants to see of an end-to-end test that failed.
    if report.when == "call" and report.failed and "host" in item.fixturenames:
        running = item.funcargs.get("host")
        if running is not None:
            report.sections.append(("log of the host", "".join(running.log[-200:])))
