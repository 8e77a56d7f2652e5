"""Take a file into the archive, and report what became of every row."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from riskmodel.errors import BadInput, Refused
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.events.manifest import Ingest, Kind, realm
from riskmodel.events.releases import published
from riskmodel.events.table import HARMLESS, OTHER_KIND, TWICE, CheckedBatch

_SHOWN_ROWS = 5
"""How many quarantined rows a report shows."""

MIN_LOSS, MIN_LOSS_SHARE = 5, 0.05
"""From this number and share of unusable rows on, a file enters only if the user accepts the loss."""

_DOUBTS = {
    "no_type": "no type of violence, so that the deaths are not state-based",
    "ends_before_start": "the event ends before it starts",
    "bounds_out_of_order": "best is not between low and high",
}
"""Flags of rows that enter, with deaths that many such rows make doubtful."""

_CAUSES = {
    "id ": "a spreadsheet rounded the ids; take the original file",
    "date_start ": "a spreadsheet rewrote the dates; take the original file, or state --dates dmy or --dates mdy",
    "month ": "a spreadsheet rewrote the months; write them YYYY-MM",
    "country_id ": "the numbers of countries are not those of UCDP (Gleditsch and Ward)",
    "iso3 ": "the codes of countries are not ISO 3166-1 alpha-3",
    "the event ends": "columns were swapped",
    "best is not between": "columns were swapped",
    "best ": "numbers with thousands separators, or columns that were moved",
    "deaths_": "numbers with thousands separators, or columns that were moved",
    "country and month": "the table has several rows for a month, by group or by type: add them up first",
    "the row does not split": "a quotation mark is missing, or a text has the separator in it",
    "a missing quotation": "a quotation mark is missing",
}
"""What usually causes rows to fall out, by the beginning of the rule."""


class Content(Protocol):
    """A file on disk. `content_sha256` is known once all of it has been read.

    `cleaned` has the numbers of the rows from which control characters were removed so far. `swallowed` counts rows
    that a missing quotation mark hid in others. `cut_off` says whether the last row is incomplete, and `unended`
    whether the last line has no end.
    """

    path: Path
    content_sha256: str
    cleaned: set[int]
    swallowed: int
    cut_off: bool
    unended: bool

    @property
    def form(self) -> "Form": ...


class Form(Protocol):
    """How a file is written."""

    def notes(self) -> tuple[str, ...]:
        """Return what is unusual, in words."""


class Loss(BadInput):
    """So many rows of a file fall out that the rest would read as peace."""


class Source(Protocol):
    """A file that a provider's module has opened."""

    kind: Kind
    source: str
    variant: str
    schema: pa.Schema
    simulated: bool

    @property
    def table(self) -> Content: ...

    def read(self, today: date) -> Iterator[CheckedBatch]:
        """Yield all rows in batches."""

    def release_and_coverage(self) -> tuple[str | None, list[Coverage]]:
        """Return the release and coverage that the content proves, once all rows have been read."""


@dataclass(frozen=True)
class IngestReport:
    """What became of one file.

    `already_archived` says that the archive had it before. `quarantined` describes the first quarantined rows,
    `flags` counts rows by flag. `retires_simulation` says that these are the first real data. `notes` says how the file
    is written, where that is unusual. `unended` says that its last line has no end.
    """

    path: Path
    ingest: Ingest
    already_archived: bool
    retires_simulation: bool
    quarantined: tuple[str, ...]
    flags: Mapping[str, int]
    notes: tuple[str, ...] = ()
    unended: bool = False


def ingest(
    archive: Archive,
    source: Source,
    *,
    covers: Sequence[Coverage] = (),
    release: str | None = None,
    published_at: datetime | None = None,
    known_since: datetime | None = None,
    private: bool = False,
    accept_loss: bool = False,
    now: datetime,
) -> IngestReport:
    """Take in one file. A file that the archive already has, with the same release and coverage, adds nothing.

    `covers` and `release` override what the content proves. `published_at` is when the provider published this very
    file. `known_since` overrides the moment from which it counts as known. `private` rows never leave the home.

    Raises BadInput if no row can be read, Loss if the file is cut off or many rows cannot be used (unless
    `accept_loss`), and Refused for simulated data in an archive of real data, or for a file that the archive has with
    another `known_since`. The archive is then unchanged.
    """
    path = source.table.path
    deaths, flag_combinations = 0, Counter[str]()
    quarantined: list[str] = []
    rules = Counter[str]()
    realm_before = realm(archive.root)
    if source.simulated and realm_before == "real":
        raise Refused(f"{archive.root} holds real data; simulated data cannot be added to it")
    with archive.ingesting(source.kind, source.schema) as staging:
        for checked in source.read(now.date()):
            staging.write(checked.accepted, checked.quarantined)
            rules.update(checked.quarantined["rule"].to_pylist())
            deaths += sum(pc.sum(checked.accepted[name]).as_py() or 0 for name in death_columns(source.schema))
            if "flags" in checked.accepted.column_names:
                flag_combinations.update(_flag_combinations(checked.accepted["flags"]))
            shown = checked.quarantined.slice(0, _SHOWN_ROWS - len(quarantined)).to_pylist()
            quarantined += [_describe(path, row) for row in shown]
        if "flags" not in source.schema.names and source.table.cleaned:
            flag_combinations["control_characters"] = len(source.table.cleaned)
        if not staging.rows:
            if quarantined:
                raise BadInput(f"{path}: none of its {staging.quarantined:,} rows can be read; {quarantined[0]}")
            raise BadInput(f"{path}: it has no rows")
        if not accept_loss:
            _check_loss(source.table, staging.rows, rules, flag_combinations)
        proved_release, proved_covers = source.release_and_coverage()
        _check_release(path, proved_release, release)
        if not source.simulated:
            release, covers = release or proved_release, covers or proved_covers
        if early := [str(part) for part in covers if part.last >= np.datetime64(now.date(), "M")]:
            raise BadInput(f"{path}: nothing can cover a month that is not over: {', '.join(early)}")
        content = source.table.content_sha256
        for old in staging.ingests:
            same = (old.content_sha256, old.release, old.covers) == (content, release, tuple(map(str, covers)))
            if same and old.withdrawn_at is None:
                _check_known_since(path, old, known_since)
                return IngestReport(path, old, True, False, tuple(quarantined), {})
        entered = staging.commit(
            source=source.source,
            variant=source.variant,
            file=path.name,
            content_sha256=content,
            release=release,
            covers=covers,
            simulated=source.simulated,
            known_since=known_since or _known_since(staging.ingests, source.source, release, covers, published_at, now),
            now=now,
            deaths=0 if source.kind == "protests" else int(deaths),
            flagged=flag_combinations.total(),
            private=private,
        )
    retires = realm_before == "simulated" and realm(archive.root) == "real"
    flags = dict(_rows_by_flag(flag_combinations).most_common())
    notes, unended = source.table.form.notes(), source.table.unended
    return IngestReport(path, entered, False, retires, tuple(quarantined), flags, notes, unended)


def _check_loss(table: Content, rows: int, rules: Counter[str], flag_combinations: Counter[str]) -> None:
    """Raise Loss if a file is cut off, or if many of its rows fall out: then its coverage would be false."""
    # If most rows are of protest, the file is probably one of protest, and its few other rows are the slip.
    harmless = HARMLESS if rules[OTHER_KIND] <= rows else (TWICE,)
    fallen = Counter({rule: count for rule, count in rules.items() if rule not in harmless})
    doubtful = sum(count for flags, count in flag_combinations.items() if not _DOUBTS.keys().isdisjoint(flags.split()))
    lost = fallen.total() + doubtful + table.swallowed
    flags = _rows_by_flag(flag_combinations)
    fallen.update({reason: flags[flag] for flag, reason in _DOUBTS.items() if flags[flag]})
    if table.swallowed:
        fallen["a missing quotation mark hides rows in others"] = table.swallowed
    total = rows + rules.total() + table.swallowed
    many = lost >= max(MIN_LOSS, MIN_LOSS_SHARE * total)
    if not (many or table.cut_off):
        return
    reasons = "; ".join(f"{reason}: {count:,}" for reason, count in fallen.most_common(_SHOWN_ROWS))
    causes = [cause for start, cause in _CAUSES.items() if any(reason.startswith(start) for reason in fallen)]
    if table.cut_off:
        causes.insert(0, "the file is cut off: its last row is incomplete")
    cause = f". Likely cause: {causes[0]}" if causes else ""
    raise Loss(
        f"{table.path}: {lost:,} of {total:,} rows cannot be used ({reasons}){cause}. Nothing was taken in, "
        "because what is missing would read as peace"
    )


def _rows_by_flag(combinations: Mapping[str, int]) -> Counter[str]:
    flags = Counter[str]()
    for combination, rows in combinations.items():
        flags.update(dict.fromkeys(combination.split(), rows))
    return flags


def death_columns(schema: pa.Schema) -> list[str]:
    """Return the columns whose sum is all deaths that a file knows: best estimates of events, or of country-months.

    `deaths_all` includes the types, which are not added again.
    """
    for total in ("deaths", "deaths_all"):
        if total in schema.names:
            return [total]
    return [name for name in schema.names if name.startswith("deaths_")]


def _flag_combinations(flags: pa.ChunkedArray) -> dict[str, int]:
    """Return how many rows have each combination of flags; rows without a flag are left out."""
    counts = flags.cast(pa.string()).value_counts().to_pylist()
    return {entry["values"]: entry["counts"] for entry in counts if entry["values"]}


def _check_release(path: Path, proved: str | None, declared: str | None) -> None:
    """Raise BadInput if a file is declared to be of another year or kind of release than its content proves."""
    if proved and declared and _year_and_kind(proved) != _year_and_kind(declared):
        raise BadInput(f"{path}: its content is that of release {proved}, not {declared}; leave --release out")


def _year_and_kind(release: str) -> tuple[str, bool]:
    """Return the year of a release, and whether it is a candidate."""
    return release.split(".")[0], release.count(".") > 1


def _known_since(
    ingests: Sequence[Ingest],
    source: str,
    release: str | None,
    covers: Sequence[Coverage],
    published_at: datetime | None,
    now: datetime,
) -> datetime:
    """Return since when the content is known.

    The first file of a release is known since the release's nominal day, or since it was published if that was later:
    candidates can appear months after their day, and an answer as of a past day must not know them before. A later file
    of the same release revises it. It is known since it was published, or else since now.
    """
    revises = any(
        old.source == source and old.release == release and any(a.meets(b) for a in covers for b in _coverage(old))
        for old in ingests
    )
    if release is None or revises:
        return min(published_at or now, now)
    return min(max(published(release), published_at or published(release)), now)


def _check_known_since(path: Path, archived: Ingest, known_since: datetime | None) -> None:
    if known_since and known_since.replace(microsecond=0) != datetime.fromisoformat(archived.known_since):
        raise Refused(
            f"{path}: it is in the archive as ingest {archived.id}, known since {archived.known_since[:10]}; to change "
            f"that, first vigie archive withdraw {archived.id}"
        )


def _coverage(ingest: Ingest) -> list[Coverage]:
    return [Coverage.parse(text) for text in ingest.covers]


def _describe(path: Path, row: dict[str, object]) -> str:
    """Return one line for a quarantined row: file, row, rule and value."""
    value = f" ({row['value']!r})" if row["value"] is not None else ""
    return f"{path}: row {row['row']}: {row['rule']}{value}"
