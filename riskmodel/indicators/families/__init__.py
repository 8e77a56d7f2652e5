"""One module for each family of indicators: each declares its indicators once, with titles, units and computation.

To add an indicator, declare it in the module of its family, and show it at work in `tests/spec/`. A new family is
listed in `riskmodel.indicators.panel`.
"""
