"""`python -m riskmodel` is `vigie`."""

from riskmodel.cli import main

main()
