"""`python -m riskmodel` is `vigie`."""

from riskmodel.cli.main import main

main()
