"""The settings that a store in S3 reads from the environment."""

from pathlib import Path

import pytest

from recast.chunkstore import StoreUnavailable, open_objects
from recast.chunkstore.s3_environment import options_from_environment

FILE = """[default]
aws_access_key_id = DEFAULTKEY
aws_secret_access_key = a%secret

[other]
aws_access_key_id = OTHERKEY
aws_secret_access_key = secret
aws_session_token = token
"""


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    """A credentials file with two profiles."""
    path = tmp_path / "credentials"
    path.write_text(FILE)
    return path


def test_an_environment_without_the_variables_adds_nothing() -> None:
    """Without the variables obstore alone decides."""
    assert options_from_environment({"AWS_REGION": "here"}) == {}


def test_credentials_are_read_from_the_file(credentials: Path) -> None:
    """The file's default profile gives the credentials, and AWS_PROFILE another's."""
    named = {"AWS_SHARED_CREDENTIALS_FILE": str(credentials)}
    assert options_from_environment(named) == {
        "aws_access_key_id": "DEFAULTKEY",
        "aws_secret_access_key": "a%secret",
    }
    assert options_from_environment(named | {"AWS_PROFILE": "other"}) == {
        "aws_access_key_id": "OTHERKEY",
        "aws_secret_access_key": "secret",
        "aws_session_token": "token",
    }


def test_a_key_in_the_environment_comes_first(credentials: Path) -> None:
    """AWS_ACCESS_KEY_ID wins over the file."""
    environ = {"AWS_SHARED_CREDENTIALS_FILE": str(credentials), "AWS_ACCESS_KEY_ID": "MINE"}
    assert options_from_environment(environ) == {}


def test_plain_http_is_allowed_by_the_environment() -> None:
    """AWS_ALLOW_HTTP becomes the option."""
    assert options_from_environment({"AWS_ALLOW_HTTP": "true"}) == {"allow_http": "true"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "default"),
        ("[other]\n", "default"),
        ("[default]\naws_access_key_id = A\n", "aws_secret_access_key"),
        ("no section", "section"),
        (None, "No such file"),
    ],
)
def test_a_store_without_credentials_names_the_reason(
    text: str | None, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unusable credentials file is named, with the missing part, when the store is opened."""
    path = tmp_path / "credentials"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(StoreUnavailable, match=problem) as raised:
        open_objects("s3://bucket/prefix")
    assert str(path) in str(raised.value)
