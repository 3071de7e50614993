"""What a store's tests need, shipped so that stores made elsewhere can prove themselves; free of any test runner.

:mod:`sessionlog.testing.conformance` holds the contract of :mod:`sessionlog.store` as functions that raise
``AssertionError``; :mod:`sessionlog.testing.faults` makes the file store's N-th system call fail, fall short or kill.
"""
