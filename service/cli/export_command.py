"""`vigie export`: write static files. `service.cli.export` has the export itself, which is slow to import."""

from pathlib import Path

import click

from riskmodel.cli.options import REGION_OPTION
from riskmodel.home import Home
from service.cli.context import settings_of


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@REGION_OPTION
@click.pass_obj
def export(home: Home, folder: Path, region: str) -> None:
    """Write every lasting address of the service as a file into FOLDER, for a file server or a CDN."""
    from datetime import UTC, datetime

    from service.cli.export import export as run
    from service.cli.export_versions import CURRENT

    settings_of(home, region)
    result = run(home, folder, datetime.now(UTC))
    manifest = result.manifest
    snapshot = f"snapshot {manifest['snapshot_id']}{' (SIMULATED)' if manifest['simulated'] else ''}"
    if not result.changed:
        click.echo(f"{folder / CURRENT} is up to date: {snapshot}")
        return
    encodings = ("", *result.encodings)
    sizes = [f"{result.size(encoding) / 1e6:.1f} MB{encoding and ' ' + encoding}" for encoding in encodings]
    if "br" not in result.encodings:
        click.echo("for Brotli copies, run pip install 'vigie[export]'")
    click.echo(f"{folder / CURRENT}: {len(manifest['files']):,} addresses of {snapshot}, {', '.join(sizes)}")
    for path in result.left:
        click.echo(
            f"{path} is no longer served, but contains files that are not part of the export: remove it yourself"
        )
