"""accord labels: what people are asked and what they said, in and out of the label database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from accord.cli.common import DEFAULT_STORE, StoreOption, say, user_errors
from accord.cli.data import SOURCE_HELP, ColumnOption, FormatOption
from accord.cli.label_database import campaign_named, opened_labels
from accord.cli.readings import read_options
from accord.errors import UserError
from accord.paths import text_file

app = typer.Typer(
    help="What people are asked and what they said: labels.db in the store, or where ACCORD_LABELS says.",
    no_args_is_help=True,
)
CampaignArgument = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Its name.")]


@app.command(name="list")
def list_(store: StoreOption = DEFAULT_STORE) -> None:
    """The campaigns, and how far they are."""
    with opened_labels(store) as database:
        from accord.labels import campaigns

        with database.reading() as connection:
            found = campaigns.every(connection)
            for one in found:
                progress = campaigns.progress(connection, one)
                state = "open" if one.open else "closed"
                answers = f"{progress.num_answers} of {progress.num_wanted} answers"
                say(f"{one.name}: {state}, {answers} to {progress.num_items} items by {progress.num_annotators} people")
        if not found:
            say("there is no campaign yet: accord labels import, live or red-team makes one")


@app.command(name="import")
def import_(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=f"Comparisons: {SOURCE_HELP}")],
    campaign: Annotated[str, typer.Option("--campaign", metavar="NAME", help="A new one, or one to add to.")],
    overlap: Annotated[int, typer.Option("--overlap", min=1, max=100, help="People who are asked about each.")] = 1,
    safety: Annotated[bool, typer.Option("--safety", help="Ask of each response whether it is safe.")] = False,
    strengths: Annotated[
        bool, typer.Option("--strengths/--no-strengths", help="Of two, ask by how much one is better.")
    ] = True,
    guideline: Annotated[Path | None, typer.Option("--guideline", metavar="FILE", help="What they are told.")] = None,
    gold: Annotated[bool, typer.Option("--gold", help="Their best response is known: they check who answers.")] = False,
    form: FormatOption = "auto",
    columns: ColumnOption = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Put comparisons before people. Judgements that they have are not taken along."""
    with opened_labels(store) as database:
        from accord.data.derive import mean_grades
        from accord.data.formats.readers import read_source
        from accord.labels import campaigns
        from accord.labels.campaigns import Settings
        from accord.monitor.data_text import left_out_lines

        reading = read_source(source, read_options(form, "comparisons", columns))
        left_out = list(left_out_lines(reading))
        if not reading.records:
            what = "\n".join(["no row can be asked about", *left_out])
            raise UserError(what, where=source, remedy='Responses that nobody has judged have `"judgements": []`.')
        text = text_file(guideline, "the guideline") if guideline else ""
        known = [_best(mean_grades(said, len(one.responses))) for one, said in reading.records] if gold else None
        if known and None in known:
            what = f"{known.count(None)} of {len(known)} comparisons have no single best response"
            raise UserError(what, where=source, remedy="Leave them out, or leave out --gold.")
        now = database.now()
        with database.writing() as connection:
            settings = Settings(overlap=overlap, safety=safety, strengths=strengths)
            before = campaigns.named(connection, campaign)
            to = before or campaigns.create(connection, now, campaign, settings)
            if text:
                campaigns.set_guideline(connection, now, to.id, text)
            comparisons = [one for one, _ in reading.records]
            num = campaigns.add_items(connection, now, to.id, comparisons, known)
        for line in left_out:
            say(line)
        there = len(comparisons) - num
        new = "1 item is" if num == 1 else f"{num} items are"
        say(f"{new} new in {campaign!r}" + (f", and {there} were there" if there else ""))
        asked = settings.model_dump(exclude_defaults=True)
        if before and any(getattr(before.settings, name) != value for name, value in asked.items()):
            say(f"{campaign!r} goes on asking as it did: an owner changes how on the campaign's page")


@app.command()
def live(
    campaign: CampaignArgument,
    safety: Annotated[bool, typer.Option("--safety", help="Ask of each response whether it is safe.")] = False,
    guideline: Annotated[Path | None, typer.Option("--guideline", metavar="FILE", help="What they are told.")] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """A campaign in which people write the prompts, and the policies of `accord web --policy` answer."""
    _create(store, campaign, guideline, safety=safety, live=True)
    say(f"people can write in {campaign!r}")


@app.command(name="red-team")
def red_team(
    campaign: CampaignArgument,
    pairs: Annotated[bool, typer.Option("--pairs", help="Two policies answer, which is not said.")] = False,
    guideline: Annotated[Path | None, typer.Option("--guideline", metavar="FILE", help="What they are told.")] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """A campaign in which people try to break the policies of `accord web --policy`."""
    _create(store, campaign, guideline, red_team=True, pairs=pairs)
    say(f"red-teamers can attack in {campaign!r}")


@app.command()
def export(
    campaign: CampaignArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A .jsonl, .csv or .parquet file; also .jsonl.gz.")],
    form: Annotated[Literal["trl", "accord"], typer.Option("--form", help="TRL's columns, or Accord's own.")] = "trl",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write what people said until now, signed with pseudonyms."""
    with opened_labels(store) as database:
        from accord.data.writers import write_source
        from accord.labels.snapshot import judged

        if out.exists():
            raise UserError("there is a file already", where=str(out), remedy="Name another one, or remove it.")
        with database.reading() as connection:
            records = [one for one in judged(connection, campaign_named(connection, campaign).id) if one[1]]
        if not records:
            raise UserError(f"nobody has answered in {campaign!r} yet")
        written = write_source(out, "comparisons", records, form=form)
        ties = f" ({written.num_ties} without an order were left out)" if written.num_ties else ""
        say(f"{written.num_rows} rows are in {out}{ties}")


@app.command(name="red-team-export")
def red_team_export(
    campaign: CampaignArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A .jsonl, .csv or .parquet file; also .jsonl.gz.")],
    what: Annotated[
        Literal["sft", "pairs", "prompts", "suite"],
        typer.Option("--as", help="Safe replies; preferences; violating prompts; those of held-out attacks, to test."),
    ],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write what a red team found as data to train on, or as a suite to test with, which share no kind of attack."""
    with opened_labels(store) as database:
        from accord.data.writers import write_rows, write_source
        from accord.labels.red_team_export import KINDS, records, suite_rows

        if out.exists():
            raise UserError("there is a file already", where=str(out), remedy="Name another one, or remove it.")
        with database.reading() as connection:
            of = campaign_named(connection, campaign)
            found: list[Any] = [*(suite_rows if what in ("prompts", "suite") else records)(connection, of, what)]
        if not found:
            raise UserError(f"{campaign!r} has nothing of that kind yet", remedy="Attack, and rate what comes back.")
        if what in ("prompts", "suite"):
            write_rows(out, found)
            say(f"{len(found)} rows are in {out}")
        else:
            say(f"{write_source(out, KINDS[what], found).num_rows} rows are in {out}")


@app.command()
def replay(
    earlier: Annotated[str, typer.Argument(metavar="EARLIER", help="A red-team campaign, with violations.")],
    into: Annotated[str, typer.Option("--into", metavar="CAMPAIGN", help="Another one; made if it is not there.")],
    policies: Annotated[
        list[str], typer.Option("--policy", metavar="MODEL", help="One to ask, as `accord serve` names it.")
    ],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Put the prompts that broke a policy to others. People rate what these reply, and `mitigated` counts it."""
    with opened_labels(store) as database:
        from accord.cli.replay import put_again

        with database.reading() as connection:
            before = campaign_named(connection, earlier)
        put_again(database, before, into, policies, str(store))


@app.command()
def mitigated(campaign: CampaignArgument, store: StoreOption = DEFAULT_STORE) -> None:
    """Of prompts that broke an earlier policy, the share that a later one handles: in all, and of held-out attacks."""
    with opened_labels(store) as database:
        from accord.cli.replay import mitigated_lines

        with database.reading() as connection:
            lines = mitigated_lines(connection, campaign_named(connection, campaign))
        for line in lines:
            say(line)


@app.command()
def erase(
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="A person, and all they said.")] = None,
    item: Annotated[
        str | None, typer.Option("--item", metavar="ID", help="An item, and all that was said of it.")
    ] = None,
    campaign: Annotated[str | None, typer.Option("--campaign", metavar="NAME", help="Of the item.")] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Replace a person, or an item, by a tombstone; and list what was made from it before."""
    with opened_labels(store) as database:
        from accord.labels.erase import erase_item, erase_user, holders

        if (user is None) == (item is None) or (item is None) != (campaign is None):
            raise UserError("name what is erased", remedy="Give --user NAME, or --item ID with --campaign NAME.")
        with database.writing() as connection:
            if user is not None:
                word = erase_user(connection, database.now(), user)
            else:
                word = item or ""
                erase_item(connection, database.now(), campaign_named(connection, campaign or "").id, word)
        say("erased; new snapshots and exports lack it")
        found = holders(store, word)
        for line in found:
            say(f"  {line}")
        say("delete these to erase it there, too" if found else "nothing else in this store holds it")


@app.command()
def backup(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A file that is not there yet.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Copy the database, also while it is used."""
    with opened_labels(store) as database:
        from accord.labels.migrate import backup as copy

        copy(database, out)
        say(f"the labels are in {out}")


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What `accord labels backup` wrote.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Make a copy the store's database. One that is there is never overwritten."""
    with user_errors():
        from accord.labels.migrate import restore as copy

        say(f"the labels are in {copy(source, store)}")


@app.command()
def migrate(store: StoreOption = DEFAULT_STORE) -> None:
    """Bring an older database to this version's schema. A copy of it is kept."""
    with user_errors():
        from accord.labels.migrate import labels_of_store

        labels_of_store(store, migrate=True).close()
        say("the labels have this version's schema")


def _create(store: Path, name: str, guideline: Path | None, **settings: bool) -> None:
    """A campaign without items."""
    with opened_labels(store) as database:
        from accord.labels import campaigns
        from accord.labels.campaigns import Settings

        text = text_file(guideline, "the guideline") if guideline else ""
        with database.writing() as connection:
            campaigns.create(connection, database.now(), name, Settings.model_validate(settings), text)


def _best(grades: list[float | None]) -> int | None:
    """The response with the highest grade, if it is the only one."""
    known = [grade for grade in grades if grade is not None]
    best = [i for i, grade in enumerate(grades) if known and grade == max(known)]
    return best[0] if len(best) == 1 and len(known) > 1 else None
