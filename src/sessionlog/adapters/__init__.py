"""Adapters: the session stores of agent frameworks, over any store of this package.

One module per framework, each an extra of the package with the versions that were tested. Importing a module imports
its framework; importing this package imports none.
"""
