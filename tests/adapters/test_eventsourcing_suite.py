"""The eventsourcing library's own cases, over the persistence module."""

import tempfile
import unittest
from typing import ClassVar

import pytest

from . import suites

pytest.importorskip("eventsourcing", reason="needs the eventsourcing library: pip install 'sessionlog[eventsourcing]'")
pytest.importorskip("Crypto", reason="the library's cases need pycryptodome: pip install 'eventsourcing[crypto]'")

import eventsourcing.tests.application as applications
import eventsourcing.tests.persistence as cases
import eventsourcing.tests.projection as projections
from eventsourcing.utils import Environment

import sessionlog.adapters.eventsourcing as adapter

MODULE = "sessionlog.adapters.eventsourcing"


def environment() -> dict[str, str]:
    return {"PERSISTENCE_MODULE": MODULE, "SESSIONLOG_STORE": tempfile.mkdtemp()}


def factory() -> adapter.Factory:
    return adapter.Factory(Environment("Suite", environment()))


class _Case:
    __test__ = False  # the test at the end runs them, and counts


class _Aggregate(_Case, cases.AggregateRecorderTestCase):
    def create_recorder(self) -> adapter.SessionlogAggregateRecorder:
        return factory().aggregate_recorder()


class _Application(_Case, cases.ApplicationRecorderTestCase):
    def create_recorder(self) -> adapter.SessionlogApplicationRecorder:
        return factory().application_recorder()


class _Tracking(_Case, cases.TrackingRecorderTestCase):
    def create_recorder(self) -> adapter.SessionlogTrackingRecorder:
        return factory().tracking_recorder()


class _Process(_Case, cases.ProcessRecorderTestCase):
    def create_recorder(self) -> adapter.SessionlogProcessRecorder:
        return factory().process_recorder()


class _NonInterleaving(_Case, cases.NonInterleavingNotificationIDsBaseCase):
    def create_recorder(self) -> adapter.SessionlogApplicationRecorder:
        return factory().application_recorder()


class OtherTrackingRecorder(adapter.SessionlogTrackingRecorder):
    pass


class _Factory(_Case, cases.InfrastructureFactoryTestCase):
    def setUp(self) -> None:
        self.env = Environment("Suite", environment())
        super().setUp()

    def expected_factory_class(self) -> type:
        return adapter.Factory

    def expected_aggregate_recorder_class(self) -> type:
        return adapter.SessionlogAggregateRecorder

    def expected_application_recorder_class(self) -> type:
        return adapter.SessionlogApplicationRecorder

    def expected_tracking_recorder_class(self) -> type:
        return adapter.SessionlogTrackingRecorder

    def tracking_recorder_subclass(self) -> type:
        return OtherTrackingRecorder

    def expected_process_recorder_class(self) -> type:
        return adapter.SessionlogProcessRecorder


class _Example(_Case, applications.ExampleApplicationTestCase):
    expected_factory_topic = f"{MODULE}:Factory"

    def setUp(self) -> None:
        self.enterContext(pytest.MonkeyPatch.context()).setattr("os.environ", environment())


class _Projection(_Case, projections.EventSourcedProjectionTestCase):
    env: ClassVar = environment()


CASES: tuple[type[unittest.TestCase], ...] = (
    _Aggregate,
    _Application,
    _Tracking,
    _Process,
    _NonInterleaving,
    _Factory,
    _Example,
    _Projection,
)


def test_the_library_s_cases_pass() -> None:
    """Every case for recorders and factories passes, and so do the library's example application and a projection."""
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(map(load, CASES)))
    assert result.wasSuccessful()
    assert not result.skipped
    suites.report("eventsourcing", "eventsourcing.tests: all for recorders", passed=result.testsRun, deselected={})
    assert result.testsRun == 24
