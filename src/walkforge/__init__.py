"""Walkforge trains market models and refuses to let one out that fools its maker.

The rooms of this package are imported by name: `from walkforge import study, market`.
Nothing heavy happens here, so that `walkforge --help` answers at once.
"""

__version__ = "0.1.0"
