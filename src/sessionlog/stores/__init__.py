"""Stores: each a module of its own, native to its medium, behind the one protocol of :mod:`sessionlog.store`."""
