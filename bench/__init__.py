"""Measures of Bookwire against its peers and against plain floors, all in one run on one machine.

``python -m bench`` prints one table: what was measured, the target, whether it held. The method and
dated figures are in docs/benchmarks.md. Nothing here is part of the product.
"""
