"""What every test may ask for."""

from __future__ import annotations

import locale
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers import finding_examples, record_schema, source_tree
from tests.helpers.cases import NO_SAMPLES, real_samples, samples_folder
from tests.helpers.in_browser import browser, show  # noqa: F401 (fixtures, for the tests of pages)
from tests.helpers.orthanc import archive_address, archive_credentials, archive_server  # noqa: F401 (for those of archives)

# The same examples on every run, so that what passes here passes everywhere. VERIMASK_EXAMPLES=5000 looks for new ones.
_WANTED = os.environ.get("VERIMASK_EXAMPLES")
settings.register_profile(
    "tests",
    max_examples=int(_WANTED or 50),
    derandomize=_WANTED is None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.register_profile("few", settings.get_profile("tests"), max_examples=10)  # where all were tried already
settings.load_profile("tests")


# What nothing can be done about: every other check that is skipped fails in CI.
_MAY_BE_SKIPPED = ("no Python 3.6 to 3.9 here", "RLE holds whole bytes")


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores: many tests wait for what they start, as a browser, an archive or a command."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 2


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = (yield).get_result()  # type: ignore[func-returns-value]
    _fail_if_skipped(report)
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed or report.skipped


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    _fail_if_skipped((yield).get_result())  # type: ignore[func-returns-value]


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not os.environ.get("CI") or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    if not any(known in reason for known in _MAY_BE_SKIPPED):
        report.outcome, report.longrepr = "failed", f"a skipped check fails in CI. {reason}"


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Say last of all, after the counts, what was not tested for want of the real samples."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a worker
        return
    reasons = [str(report.longrepr) for report in reporter.stats.get("skipped", [])]
    if count := sum(NO_SAMPLES in reason for reason in reasons):
        reporter.ensure_newline()
        reporter.write_line(
            f"{count} test{'s were' if count > 1 else ' was'} skipped for want of the real samples, which would be at "
            f"{samples_folder()} (VERIMASK_SAMPLES)."
        )


@pytest.fixture(autouse=True)
def _locale_as_before() -> Iterator[None]:
    """ITK's DICOM writer sets the locale of its whole process to C; what later tests read from pipes would then be ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    if locale.setlocale(locale.LC_ALL) != before:
        locale.setlocale(locale.LC_ALL, before)


@pytest.fixture(scope="session", autouse=True)
def _watched() -> Iterator[None]:
    """See every record and every finding that any test makes in this process."""
    with pytest.MonkeyPatch.context() as patch:
        record_schema.watch(patch)
        finding_examples.watch(patch)
        yield


@pytest.fixture(autouse=True)
def _records_fit_their_schema(_watched: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test whose records break the schema, or that no longer makes the finding it is the example of."""
    record_schema.violations.clear()
    finding_examples.seen.clear()
    yield
    test = request.node.nodeid
    finding_examples.collect(test)
    assert record_schema.violations == []
    # A test that failed or was skipped may not have come so far; other examples of Hypothesis may say something else.
    if not request.node.stash.get(_FAILED, False) and _WANTED is None:
        assert finding_examples.changed(test) == [], "run python -m tests.helpers.finding_examples"


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real DICOM samples; the test is skipped where it is absent."""
    return real_samples()


@pytest.fixture(scope="session")
def source_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git knows of the sources, and no more: what builds there has found all it needs."""
    return source_tree.copy(tmp_path_factory.mktemp("source") / "verimask")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, source_copy: Path) -> Path:
    """A folder with the wheel's files, as pip puts them into site-packages; with the viewer where it is built here."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "source"  # setuptools builds in the source folder
    shutil.copytree(source_copy, tree)
    has_viewer = source_tree.add_viewer(tree)
    wheel = source_tree.build_wheel(tree, folder, **({} if has_viewer else {source_tree.WITHOUT: "1"}))
    with ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"
