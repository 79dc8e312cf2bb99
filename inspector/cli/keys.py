"""`inspector keys`: this plant's signing key, and the keys of other plants whose versions are taken."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from inspector.cli.terminal import console
from inspector.cli.terminal.escapes import shown
from inspector.operation.user import current_user

if TYPE_CHECKING:
    from inspector.domain import TrustedKey

NAME: Final = "keys"
HELP: Final = "Make the key that signs versions, and choose whose signatures count."

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the key, for example the plant's.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="The reason; it is kept in the audit.")]

app = typer.Typer(no_args_is_help=True, epilog="Example: inspector keys list")


@app.command(epilog='Example: inspector keys make plant-a --reason "artifacts travel by stick"')
def make(
    name: NameArgument,
    *,
    reason: ReasonOption,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Make this plant's signing key. Versions that are enrolled here are signed from then on.

    The secret key is a file in the state folder that its owner alone can read, and never leaves it. With
    signing.key_secret the key is a credential, which is listed here and not made.
    """
    from inspector.config.loading import load
    from inspector.operation.signing_keys import key_file, make_key, unsigned_live

    loaded = load(config)
    key = asyncio.run(make_key(loaded, name, by=current_user(), reason=reason))
    unsigned = asyncio.run(unsigned_live(loaded))
    if as_json:
        console.print_json(_document(key) | {"unsigned_live": unsigned})
        return
    where = "" if loaded.signing.key_secret else f" Its secret part is {key_file(loaded)}; keep a copy locked away."
    _say(f"{name} signs what is enrolled here from now on (fingerprint {key.fingerprint}).{where}")
    if unsigned:
        _say(
            f"Live and unsigned: {', '.join(unsigned)}. They go on judging; `inspector keys sign PRODUCT --reason ...` "
            "signs what somebody has looked at."
        )


@app.command(epilog="Example: inspector keys show > plant-a.key")
def show(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The key; else this plant's own.")] = None,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """The public key as a line, for `inspector keys trust` in another plant."""
    from inspector.config.loading import load
    from inspector.errors import UsageError
    from inspector.operation.signing_keys import known_keys
    from inspector.signing.keys import PublicKey

    keys = [known.key for known in asyncio.run(known_keys(load(config)))]
    found = [key for key in keys if (key.is_own if name is None else key.name == name)]
    if not found:
        raise UsageError("There is no such key; `inspector keys list` shows those that there are.")
    if len(found) > 1:
        raise UsageError(f"There are several keys of this plant: {', '.join(key.name for key in found)}; name one.")
    (key,) = found
    if as_json:
        console.print_json(_document(key))
    else:
        _say(PublicKey(key.text).line(key.name))


@app.command(epilog='Example: inspector keys trust plant-b plant-b.key --reason "fingerprint told by phone"')
def trust(
    name: NameArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `inspector keys show` wrote there; - reads it.")],
    *,
    reason: ReasonOption,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Take versions that this key has signed. Compare the fingerprint with the other plant by another way."""
    from inspector.config.loading import load
    from inspector.operation.key_lines import read_key_line
    from inspector.operation.signing_keys import trust_key

    key = asyncio.run(trust_key(load(config), name, read_key_line(file), by=current_user(), reason=reason))
    if as_json:
        console.print_json(_document(key))
    else:
        _say(f"Versions that {name} has signed are taken from now on (fingerprint {key.fingerprint}).")


@app.command("list", epilog="Example: inspector keys list")
def list_(config: console.ConfigOption = None, as_json: console.JsonOption = False) -> None:
    """The keys whose signatures count here."""
    from inspector.cli.terminal.rendering import ABSENT, local_time, show, table
    from inspector.config.loading import load
    from inspector.operation.signing_keys import known_keys

    keys = asyncio.run(known_keys(load(config)))
    if as_json:
        console.print_json(
            [_document(each.key) | {"signs_here": each.signs_here, "live": list(each.live)} for each in keys]
        )
        return
    if not keys:
        _say(
            "There is no key: versions are taken and judge without a signature. "
            "`inspector keys make NAME --reason ...` makes one."
        )
        return
    made = table("Name", "Fingerprint", "Whose", "Signs here", "Live versions", "Since", "By")
    for each in keys:
        key = each.key
        whose, signs = ("this plant" if key.is_own else "another plant"), ("yes" if each.signs_here else "no")
        live = ", ".join(each.live) or ABSENT
        made.add_row(key.name, key.fingerprint, whose, signs, live, local_time(key.added_at), key.added_by)
    show(made)


@app.command(epilog='Example: inspector keys forget plant-b --reason "their line was sold"')
def forget(
    name: NameArgument,
    *,
    insist: Annotated[bool, typer.Option("--insist", help="Also where live versions rest on it; audited.")] = False,
    reason: ReasonOption,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Take no more versions that this key has signed. Agents that start refuse live ones that rest on it alone."""
    from inspector.config.loading import load
    from inspector.operation.signing_keys import forget_key, key_file

    loaded = load(config)
    key = asyncio.run(forget_key(loaded, name, by=current_user(), reason=reason, insists=insist))
    if as_json:
        console.print_json(_document(key))
        return
    file = f" Its secret part, where it is here, is {key_file(loaded)}; remove it." if key.is_own else ""
    _say(f"Signatures of {name} count no more.{file}")


@app.command(epilog='Example: inspector keys sign bottle --reason "enrolled before there was a key"')
def sign(
    product: Annotated[str, typer.Argument(metavar="PRODUCT", help="Name of the product.")],
    version: Annotated[int | None, typer.Option(min=1, help="This version; else the live or newest one.")] = None,
    *,
    reason: ReasonOption,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Vouch for a version that is here already, as it stands, with this plant's key."""
    from inspector.config.loading import load
    from inspector.operation.countersigning import sign_version
    from inspector.operation.product_versions import version_of

    loaded = load(config)
    number = asyncio.run(version_of(loaded, product, version)).version
    signed = asyncio.run(sign_version(loaded, product, number, by=current_user(), reason=reason))
    if as_json:
        key = None if signed.signature is None else signed.signature.key
        console.print_json({"product": product, "version": number, "signature_key": key})
    else:
        _say(f"{product} version {number} is signed, at its threshold of {signed.threshold:.4g}.")


def _say(line: str) -> None:
    console.out.print(shown(line), highlight=False, soft_wrap=True)


def _document(key: TrustedKey) -> dict[str, Any]:
    from inspector.signing.keys import PublicKey
    from inspector.stream.verdict_record import format_time

    return {
        "name": key.name,
        "fingerprint": key.fingerprint,
        "line": PublicKey(key.text).line(key.name),
        "own": key.is_own,
        "added_at": format_time(key.added_at),
        "added_by": key.added_by,
    }
