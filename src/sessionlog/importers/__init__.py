"""Importers: one foreign transcript format each, turned into sessions of a store.

They all promise the same: streamed (no file is held in memory), idempotent (a second import adds nothing, a grown file
adds just what is new), complete (every line of the source is imported, or listed with the reason why not), and honest
about where a session came from: its second record is an ``extension`` entry of domain ``import``.
"""
