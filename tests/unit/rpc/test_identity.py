"""Keys, tokens, and the cache of tokens that were verified."""

import json
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from recast.csbs.v1.backup_service_pb2 import GetBackupRequest
from recast.csbs.v1.backup_service_pb2_grpc import BackupServiceStub
from recast.faults import Kind, Refusal, RemoteRefusal, RequestInvalid, TokenInvalid
from recast.rpc.channel import connect
from recast.rpc.identity import Caller, ServiceTokens, Signer, Verifier, acting_for, create_keys
from recast.rpc.status import refusal_from_status, status_from_refusal
from recast.rpc.trust import Keys, TrustFile

ME = Caller("me", "demo", "user")


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        """Seconds since 1970."""
        return self.now


class CountsVerifications(Verifier):
    """Counts the verifications of signatures."""

    count = 0

    def _verify(self, token: str, keys: Keys) -> tuple[Caller, float]:
        self.count += 1
        return super()._verify(token, keys)


@pytest.fixture
def clock() -> Clock:
    """A clock that stands at this moment."""
    return Clock()


@pytest.fixture
def verifier(keys: Path, clock: Clock) -> CountsVerifications:
    """A verifier that has seen no token."""
    return CountsVerifications(TrustFile(keys / "trusted.json").keys, clock)


class TestKeys:
    """The files."""

    def test_keys_are_their_owner_s_alone(self, tmp_path: Path) -> None:
        """Private keys are readable by their owner alone, and so is their folder."""
        folder = tmp_path / "a" / "keys"
        create_keys(folder)
        assert {path.name for path in folder.iterdir()} == {
            "people.pem",
            "csbs.pem",
            "ims.pem",
            "ecs.pem",
            "trusted.json",
        }
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for path in folder.glob("*.pem"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_making_keys_again_changes_nothing(self, tmp_path: Path) -> None:
        """Existing keys are not replaced, so that tokens stay valid."""
        create_keys(tmp_path)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        create_keys(tmp_path)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_a_missing_key_is_made(self, tmp_path: Path) -> None:
        """A missing key is made, and trusted, beside the existing ones."""
        create_keys(tmp_path)
        existing = (tmp_path / "people.pem").read_bytes()
        (tmp_path / "ims.pem").unlink()
        (tmp_path / "trusted.json").unlink()
        create_keys(tmp_path)
        assert (tmp_path / "people.pem").read_bytes() == existing
        signer = Signer.load(tmp_path / "ims.pem")
        caller = Caller("ims", "demo", "service")
        made = signer.token(caller, now=time.time(), lifetime_seconds=60)
        assert Verifier.load(tmp_path / "trusted.json").verify(made) == caller

    def test_the_trust_file_holds_no_secret(self, keys: Path) -> None:
        """The trust file holds public keys with their claims, and nothing private."""
        trusted = json.loads((keys / "trusted.json").read_text())["keys"]
        assert {key["kid"] for key in trusted} == {"people", "csbs", "ims", "ecs"}
        for key in trusted:
            assert not {"d", "p", "q", "k"} & set(key)
            assert (key["kty"], key["crv"], key["alg"]) == ("EC", "P-256", "ES256")
        rights = {key["kid"]: (key["roles"], key.get("subject")) for key in trusted}
        assert rights["people"] == (["user", "operator"], None)
        assert rights["ims"] == (["service"], "ims")

    def test_another_kind_of_key_is_refused(self, tmp_path: Path) -> None:
        """A key that is not an elliptic curve's is refused when it is loaded."""
        path = tmp_path / "people.pem"
        key = ed25519.Ed25519PrivateKey.generate()
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        path.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
        with pytest.raises(ValueError, match="elliptic curve"):
            Signer.load(path)


class TestTokens:
    """The cache of tokens."""

    def test_a_token_is_verified_once(self, verifier: CountsVerifications, keys: Path, clock: Clock) -> None:
        """A token that was verified is known until it expires, and is then verified again."""
        token = Signer.load(keys / "people.pem").token(ME, now=clock.now, lifetime_seconds=60)
        assert [verifier.verify(token) for _ in range(5)] == [ME] * 5
        assert verifier.count == 1
        clock.now += 61
        with pytest.raises(TokenInvalid, match="the token of me has expired"):
            verifier.verify(token)
        assert verifier.count == 2

    def test_a_token_that_is_not_trusted_is_not_remembered(self, verifier: CountsVerifications) -> None:
        """A token that was refused is verified again at each call."""
        for _ in range(2):
            with pytest.raises(TokenInvalid):
                verifier.verify("a.b.c")
        assert verifier.count == 2

    def test_many_tokens_do_not_fill_the_memory(self, verifier: CountsVerifications, keys: Path) -> None:
        """A verifier forgets tokens beyond ten thousand, and trusts them all the same."""
        signer = Signer.load(keys / "people.pem")
        token = signer.token(ME, now=time.time(), lifetime_seconds=60)
        verifier.verify(token)
        verifier._seen |= {str(number): (ME, 0.0) for number in range(10_000)}
        verifier.verify(signer.token(ME, now=time.time(), lifetime_seconds=70))
        assert len(verifier._seen) == 1
        assert verifier.verify(token) == ME

    def test_a_service_s_token_names_it_and_its_project(
        self, verifier: CountsVerifications, keys: Path, clock: Clock
    ) -> None:
        """A service calls in its own name, on behalf of the project that it acts for at the moment."""
        tokens = ServiceTokens(Signer.load(keys / "ims.pem"), "ims", clock)
        with acting_for("demo"):
            assert verifier.verify(tokens()) == Caller("ims", "demo", "service")
            with acting_for("other"):
                assert verifier.verify(tokens()) == Caller("ims", "other", "service")
            assert verifier.verify(tokens()) == Caller("ims", "demo", "service")

    def test_a_service_s_token_is_renewed_in_time(self, keys: Path, clock: Clock) -> None:
        """A service uses a token for half its life, and then makes a new one."""
        tokens = ServiceTokens(Signer.load(keys / "ims.pem"), "ims", clock)
        with acting_for("demo"):
            first = tokens()
            assert tokens() == first
            clock.now += 299
            assert tokens() == first
            clock.now += 2
            assert tokens() != first


DAY, HOUR = 86400.0, 3600.0


class TestClocks:
    """Clocks that are wrong (FAULT-N06)."""

    @pytest.mark.fault("FAULT-N06")
    @pytest.mark.parametrize(
        ("ahead", "text"),
        [
            (DAY, "csbs's clock is 24 h ahead of ims's"),
            (-DAY, "csbs's clock is 24 h behind ims's"),
            (-HOUR, "csbs's clock is 60 min behind ims's"),
            (9 * DAY, "csbs's clock is 9 days ahead of ims's"),
        ],
    )
    def test_the_clock_of_a_peer_is_named(self, keys: Path, clock: Clock, ahead: float, text: str) -> None:
        """A service's token that a peer refuses is a reason to wait; the text has the difference."""
        tokens = ServiceTokens(Signer.load(keys / "ims.pem"), "ims", clock)
        peer = Verifier(TrustFile(keys / "trusted.json").keys, Clock(clock.now + ahead))
        with acting_for("demo"), pytest.raises(TokenInvalid) as caught:
            peer.verify(tokens())
        assert caught.value.facts["token_subject"] == "ims"
        assert {"token_issue_time", "token_expire_time", "server_time"} < caught.value.facts.keys()
        arrived = refusal_from_status(status_from_refusal(caught.value, "csbs.recast"))
        refusal = tokens.refusal(arrived)
        assert (refusal.kind, refusal.text) == (Kind.UNAVAILABLE, f"csbs refuses ims's token: {text}")

    @pytest.mark.fault("FAULT-N06")
    def test_a_call_to_a_peer_with_another_clock_is_unavailable(self, server: Any, clock: Clock) -> None:
        """Over the wire, too: a service that is a day behind waits; a person's token is refused as before."""
        clock.now -= DAY
        tokens = ServiceTokens(Signer.load(server.keys / "ims.pem"), "ims", clock)
        stub = BackupServiceStub(connect(server.target, tokens))
        with acting_for("demo"), pytest.raises(Refusal) as caught:
            stub.GetBackup(GetBackupRequest(name="projects/demo/backups/b"))
        assert caught.value.kind is Kind.UNAVAILABLE
        assert caught.value.text.endswith("clock is 24 h ahead of ims's")
        stale = server.token(ME, now=clock.now)
        with pytest.raises(RemoteRefusal, match="the token of me has expired, 24 h ago") as caught:
            server.backups(stale).GetBackup(GetBackupRequest(name="projects/demo/backups/b"))
        assert caught.value.kind is Kind.UNAUTHENTICATED

    @pytest.mark.fault("FAULT-N06")
    def test_an_unknown_key_is_a_reason_to_wait(self, keys: Path, tmp_path: Path, clock: Clock) -> None:
        """A trust file that is being replaced ends no work either; other refusals stay as they are."""
        create_keys(tmp_path / "others")
        tokens = ServiceTokens(Signer.load(keys / "ims.pem"), "ims", clock)
        peer = Verifier(TrustFile(tmp_path / "others" / "trusted.json").keys, clock)
        with acting_for("demo"), pytest.raises(TokenInvalid) as caught:
            peer.verify(tokens())
        arrived = refusal_from_status(status_from_refusal(caught.value, "csbs.recast"))
        assert tokens.refusal(arrived).kind is Kind.UNAVAILABLE
        other = refusal_from_status(status_from_refusal(RequestInvalid(problem="x"), "csbs.recast"))
        assert tokens.refusal(other) is other

    @pytest.mark.fault("FAULT-N06")
    def test_after_a_clock_was_set_back_a_token_is_made_anew(self, keys: Path, clock: Clock) -> None:
        """A token made while the clock was ahead is not reused until that time comes again."""
        tokens = ServiceTokens(Signer.load(keys / "ims.pem"), "ims", clock)
        with acting_for("demo"):
            first = tokens()
            clock.now -= DAY
            assert tokens() != first

    @pytest.mark.fault("FAULT-N06")
    @pytest.mark.parametrize(
        "expires",
        [float("nan"), float("inf"), None, "soon", [1], 10**400],
        ids=["nan", "inf", "none", "text", "list", "huge"],
    )
    def test_a_time_of_expiry_is_a_number(self, keys: Path, verifier: Verifier, expires: object) -> None:
        """A token whose expiry is no time is not valid for ever."""
        people = (keys / "people.pem").read_bytes()
        claims = {"iss": "recast", "aud": "recast", "sub": "me", "project": "demo", "role": "user"}
        made = jwt.encode(claims | {"exp": expires}, people, algorithm="ES256", headers={"kid": "people"})
        with pytest.raises(TokenInvalid):
            verifier.verify(made)


class TestLifetimes:
    """The longest lifetime of a token."""

    @pytest.mark.parametrize(
        ("key", "caller", "longest"),
        [
            ("people", ME, 3600),
            ("people", Caller("me", "demo", "operator"), 3600),
            ("ims", Caller("ims", "demo", "service"), 600),
        ],
    )
    @pytest.mark.fault("FAULT-TOKENS")
    def test_a_token_for_too_long_is_refused(
        self, keys: Path, key: str, caller: Caller, longest: int
    ) -> None:
        """A token is valid for an hour at most, a service's for ten minutes, and the skew of a clock."""
        verifier, signer = Verifier.load(keys / "trusted.json"), Signer.load(keys / f"{key}.pem")
        for seconds in (longest, longest + 30):
            made = signer.token(caller, now=time.time(), lifetime_seconds=seconds)
            assert verifier.verify(made) == caller
        for seconds in (longest + 120, 8 * 3600, 10**9):
            with pytest.raises(TokenInvalid, match=f"valid for more than {longest} s"):
                verifier.verify(signer.token(caller, now=time.time(), lifetime_seconds=seconds))

    def test_the_longest_lifetimes_are_settings(self, keys: Path) -> None:
        """A service can allow longer or shorter lifetimes."""
        verifier = Verifier.load(keys / "trusted.json", people_seconds=7200, service_seconds=60)
        people, ims = (Signer.load(keys / f"{name}.pem") for name in ("people", "ims"))
        assert verifier.verify(people.token(ME, now=time.time(), lifetime_seconds=7200)) == ME
        made = ims.token(Caller("ims", "demo", "service"), now=time.time(), lifetime_seconds=600)
        with pytest.raises(TokenInvalid):
            verifier.verify(made)


class TestTrustFiles:
    """A trust file that changes while a service runs."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A folder of keys that a test changes."""
        create_keys(tmp_path)
        return tmp_path

    def write(self, folder: Path, names: set[str]) -> None:
        """Replaces the trust file by one with these keys, as an operator does: by a rename."""
        trusted = json.loads((folder / "all.json").read_text())["keys"]
        new = folder / "new.json"
        new.write_text(json.dumps({"keys": [each for each in trusted if each["kid"] in names]}))
        new.rename(folder / "trusted.json")

    @pytest.mark.fault("FAULT-TOKENS")
    def test_a_removed_key_stops_at_once(self, folder: Path) -> None:
        """A token that was verified before is refused once its key is gone, and trusted when it is back."""
        (folder / "all.json").write_bytes((folder / "trusted.json").read_bytes())
        verifier = Verifier.load(folder / "trusted.json")
        token = Signer.load(folder / "people.pem").token(ME, now=time.time(), lifetime_seconds=60)
        assert verifier.verify(token) == ME
        self.write(folder, {"ims"})
        with pytest.raises(TokenInvalid, match="people"):
            verifier.verify(token)
        self.write(folder, {"ims", "people"})
        assert verifier.verify(token) == ME

    @pytest.mark.parametrize("damage", ["", "{", '{"keys": [{}]}', '{"keys": 1}', None])
    @pytest.mark.fault("FAULT-TOKENS")
    def test_an_unreadable_file_changes_nothing(self, folder: Path, damage: str | None) -> None:
        """While the file is damaged or absent the keys of before are trusted; a good file counts again."""
        path = folder / "trusted.json"
        good = path.read_bytes()
        verifier = Verifier.load(path)
        path.unlink()
        if damage is not None:
            path.write_text(damage)
        token = Signer.load(folder / "people.pem").token(ME, now=time.time(), lifetime_seconds=60)
        assert verifier.verify(token) == ME
        path.write_bytes(good)
        assert verifier.verify(token) == ME
