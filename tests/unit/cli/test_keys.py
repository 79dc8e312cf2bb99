"""`inspector keys`: whose versions are taken, and what of a version a signature holds fast."""

from __future__ import annotations

import asyncio
import os
import pwd
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from inspector.config.config import Config
from inspector.config.loading import load, parse
from inspector.domain import Provenance
from inspector.operation.opening import database_of, registry_of
from inspector.operation.signing_keys import SigningImpossible, key_file, make_key, secret_key_of, vouching
from inspector.operation.version_signatures import version_signature
from inspector.store import audit
from inspector.store.tables import product_versions
from inspector.training.enrol import Enrolment
from inspector.vision.artifacts.envelope import seal, unseal

WHY = ("--reason", "a trial")


@pytest.fixture
def key(shell: Callable[..., Any], line: Config) -> Path:
    """The file of this plant's own key, plant-a."""
    made = shell("keys", "make", "plant-a", *WHY)
    assert made.code == 0, made.err
    return key_file(line)


@pytest.fixture
def signed(line: Config, key: Path, disc: Enrolment) -> Config:
    """A live version of `disc`, signed as `enroll` does it."""

    async def add() -> None:
        async with registry_of(line) as registry:
            signature = await version_signature(line, registry, disc.digest, disc.manifest)
            assert signature is not None
            await registry.add_version(
                "disc", disc.artifact, disc.manifest, by="ada", activate=True, provenance=Provenance("x", signature)
            )

    asyncio.run(add())
    return line


@pytest.fixture
def other(shell: Callable[..., Any], line: Config, tmp_path: Path) -> tuple[str, str]:
    """The options that name a second plant, with a key of its own: plant-b."""
    assert shell("init", str(tmp_path / "second")).code == 0
    config = ("--config", str(tmp_path / "second" / "inspector.toml"))
    assert shell("keys", "make", "plant-b", *WHY, *config).code == 0
    return config


def audited(line: Config) -> list[tuple[str, str | None, str | None, str]]:
    async def read() -> list[tuple[str, str | None, str | None, str]]:
        async with database_of(line) as database:
            return [(each.object, each.old, each.new, each.reason) for each in await audit.entries(database)]

    return asyncio.run(read())


def states(line: Config) -> list[str]:
    return [found.words for _, found in asyncio.run(vouching(line))]


def rewrite(line: Config, **values: Any) -> None:
    """What somebody with write access to the database does."""

    async def write() -> None:
        async with database_of(line) as database, database.writing() as connection:
            await connection.execute(sa.update(product_versions).values(**values))

    asyncio.run(write())


def test_keys_make_writes_a_secret_that_its_owner_alone_reads(key: Path, line: Config) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    ((what, old, new, reason),) = audited(line)
    assert (what, old, reason) == ("key/plant-a", None, "a trial")
    assert "made here, ed25519 " in str(new)
    database = (line.agent.state_dir / "inspector.db").read_bytes()
    assert key.read_bytes().splitlines()[1] not in database


def test_keys_make_under_any_umask_writes_the_same_mode(shell: Callable[..., Any], line: Config) -> None:
    before = os.umask(0)
    try:
        assert shell("keys", "make", "plant-a", *WHY).code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(key_file(line).stat().st_mode) == 0o600


def test_keys_make_over_a_link_is_refused_and_writes_nothing(shell: Callable[..., Any], line: Config) -> None:
    key_file(line).parent.mkdir(parents=True, exist_ok=True)
    key_file(line).symlink_to("elsewhere")
    answer = shell("keys", "make", "plant-a", *WHY)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert not Path("elsewhere").exists()
    assert shell("keys", "list", "--json").document == []


def test_keys_make_again_is_refused_and_keeps_the_key(shell: Callable[..., Any], key: Path) -> None:
    before = key.read_bytes()
    answer = shell("keys", "make", "plant-c", *WHY)
    assert (answer.code, "There is a key plant-a already" in answer.err) == (2, True)
    assert key.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_keys_that_others_can_read_sign_nothing(shell: Callable[..., Any], signed: Config, mode: int) -> None:
    key_file(signed).chmod(mode)
    answer = shell("products", "threshold", "disc", "--level", "1.1", *WHY)
    assert (answer.code, "may be read by others" in answer.err) == (2, True)
    assert states(signed) == ["signed by plant-a"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_keys_of_another_user_sign_nothing_and_say_whose_they_are() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # so that the file's own mode is what keeps it closed
        line = parse({"agent": {"name": "a", "state_dir": folder}}, None)
        asyncio.run(make_key(line, "plant-a", by="ada", reason="a trial"))
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
        try:
            with pytest.raises(SigningImpossible, match=r"Permission denied.*run this as its owner"):
                secret_key_of(line)
            with pytest.raises(PermissionError):
                key_file(line).read_bytes()
        finally:
            os.seteuid(0)
        assert secret_key_of(line) is not None


def test_keys_from_a_credential_need_no_file(
    shell: Callable[..., Any], line: Config, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPECTOR_SECRET_SIGNING_KEY", key.read_text())
    key.unlink()
    assert not shell("keys", "list", "--json").document[0]["signs_here"]
    before, header, after = Path("inspector.toml").read_text().partition("[signing]")
    Path("inspector.toml").write_text(before + header + after.replace("#key_secret =", "key_secret =", 1))
    assert load(Path("inspector.toml")).signing.key_secret == "signing-key"
    assert shell("keys", "list", "--json").document[0]["signs_here"]


def test_keys_trust_takes_another_plants_versions_until_it_is_forgotten(
    shell: Callable[..., Any], signed: Config, other: tuple[str, str]
) -> None:
    assert shell("products", "export", "disc").code == 0
    take = ("products", "import", "disc-1.artifact", "--activate", *WHY, *other)
    refused = shell(*take)
    assert (refused.code, "nothing proves who made it" in refused.err) == (2, True)
    assert shell("products", "list", "--json", *other).document == []
    Path("a.key").write_text(shell("keys", "show").out)
    assert shell("keys", "trust", "plant-a", "a.key", *WHY, *other).code == 0
    taken = shell(*take)
    assert taken.code == 0, taken.err
    (row,) = shell("products", "list", "--json", *other).document
    assert (row["live"], row["signature"], row["signer"]) == (True, "signed", "plant-a")
    assert "by plant-a" in shell("products", "list", *other).out
    assert "signed by plant-a" in shell("products", "show", "disc", *other).out
    there = load(Path(other[1]))
    (told,) = [new for what, _, new, _ in audited(there) if what == "product/disc/live"]
    assert told is not None
    assert told.startswith("version 1: threshold ")
    assert "signed by plant-a, from disc-1.artifact, checked by" in told
    kept = shell("keys", "forget", "plant-a", *WHY, *other)
    assert (kept.code, "Live versions rest on the key plant-a: disc" in kept.err) == (2, True)
    assert shell("keys", "forget", "plant-a", "--insist", *WHY, *other).code == 0
    assert states(there) == [f"signed by a key that is not trusted here ({row['signature_key']})"]
    objects = [what for what, *_ in audited(there)]
    assert objects.count("key/plant-a") == 2


def test_import_of_an_unsigned_file_where_there_are_keys_needs_trust_and_a_reason(
    shell: Callable[..., Any], signed: Config, other: tuple[str, str], disc: Enrolment
) -> None:
    Path("bare.artifact").write_bytes(seal(disc.artifact))
    take = ("products", "import", "bare.artifact", *other)
    assert "is unsigned, so that nothing proves who made it" in shell(*take).err
    assert shell(*take, "--trust").code == 2
    assert shell(*take, "--trust", "--reason", "from the maker's hands").code == 0
    there = load(Path(other[1]))
    assert states(there) == ["signed by plant-b"], "this plant vouches for what its people trust"
    (origin,) = [(new, why) for what, _, new, why in audited(there) if what.endswith("/origin")]
    assert origin[1] == "from the maker's hands"
    assert "unsigned, trusted by a person" in str(origin[0])


@pytest.mark.usefixtures("line")
def test_without_any_key_everything_goes_on_as_before(
    shell: Callable[..., Any], line: Config, loadable: Callable[[str], int]
) -> None:
    loadable("disc")
    assert shell("products", "export", "disc").code == 0
    assert shell("products", "threshold", "disc", "--level", "1.1", *WHY).code == 0
    assert shell("products", "import", "disc-1.artifact", "--activate", *WHY).code == 0
    assert states(line) == ["unsigned"]
    assert "unsigned" in shell("products", "list").out
    assert shell("products", "activate", "disc", "1", *WHY).code == 0


def test_keys_make_lets_live_versions_go_on_and_names_them(
    shell: Callable[..., Any], line: Config, loadable: Callable[[str], int]
) -> None:
    loadable("disc")
    made = shell("keys", "make", "plant-a", *WHY)
    assert "Live and unsigned: disc" in " ".join(made.out.split())
    assert shell("products", "activate", "disc", "1", *WHY).code == 0
    signing = shell("keys", "sign", "disc", *WHY)
    assert signing.code == 0, signing.err
    assert states(line) == ["signed by plant-a"]
    assert audited(line)[-1][:2] == ("product/disc/version 1/signature", None)


def test_import_of_a_signed_file_that_was_changed_is_refused_whatever_a_person_says(
    shell: Callable[..., Any], signed: Config, disc: Enrolment, enrolments: list[Enrolment]
) -> None:
    """The signature of one artifact on another: it proves that somebody meant harm."""
    assert shell("products", "export", "disc").code == 0
    signature = unseal(Path("disc-1.artifact").read_bytes()).signature
    Path("odd.artifact").write_bytes(seal(enrolments[1].artifact, signature=signature))
    answer = shell("products", "import", "odd.artifact", "--trust", *WHY)
    assert (answer.code, "it was changed since plant-a signed it" in answer.err) == (1, True)


def test_threshold_moved_in_the_database_shows_and_does_not_go_live(shell: Callable[..., Any], signed: Config) -> None:
    rewrite(signed, threshold=1e308)
    assert states(signed) == ["signed by plant-a, but its threshold was moved without a signature"]
    assert "moved" in shell("products", "list").out
    for command in ("activate", "shadow"):
        answer = shell("products", command, "disc", "1", *WHY)
        assert answer.code == 2
        assert "1 is not " in answer.err


def test_threshold_moved_by_a_person_is_signed_again(shell: Callable[..., Any], signed: Config) -> None:
    assert shell("products", "threshold", "disc", "--level", "1.2", *WHY).code == 0
    assert states(signed) == ["signed by plant-a"]
    assert shell("products", "threshold", "disc", "--level", "1", *WHY).code == 0
    assert states(signed) == ["signed by plant-a"]


def test_threshold_of_a_signed_version_without_the_key_stays_where_it_is(
    shell: Callable[..., Any], signed: Config
) -> None:
    key_file(signed).unlink()
    answer = shell("products", "threshold", "disc", "--level", "1.2", *WHY)
    assert (answer.code, "move it on the machine that has" in " ".join(answer.err.split())) == (2, True)
    assert states(signed) == ["signed by plant-a"]


def test_artifact_exchanged_in_the_database_is_not_signed(shell: Callable[..., Any], signed: Config) -> None:
    rewrite(signed, digest="0" * 64)
    assert states(signed) == ["changed since plant-a signed it"]


@pytest.mark.parametrize("odd", ["/dev/zero", "pipe", "empty", "binary"])
@pytest.mark.usefixtures("line")
def test_keys_trust_of_what_is_no_key_is_one_sentence(shell: Callable[..., Any], odd: str) -> None:
    os.mkfifo("pipe")
    Path("empty").write_bytes(b"")
    Path("binary").write_bytes(b"\xff\xfe\x00" * 50)
    answer = shell("keys", "trust", "plant-b", odd, *WHY)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
