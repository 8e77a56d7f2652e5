"""One module for each source of data: it reads the source's files or its web interface into tables.

To add a source, write a module here that reads its files. Then add it where the sources are listed: its kind of
table in `riskmodel.events.manifest.Kind`, its columns in `riskmodel.sources.recognition`, its command in
`riskmodel.cli.ingest` (and `riskmodel.cli.pull`, if it is downloaded), and, for a table by month, its indicators in
`riskmodel.indicators.monthly_tables`.
"""
