"""The options of the environment (`AWS_*`) that obstore does not read: plain HTTP, a credentials file."""

import configparser
from collections.abc import Mapping
from pathlib import Path

_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


def options_from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`allow_http` by AWS_ALLOW_HTTP; credentials by AWS_SHARED_CREDENTIALS_FILE, profile AWS_PROFILE
    (`default`), the file of AWS's own tools. As with those, AWS_ACCESS_KEY_ID takes precedence over the file.

    The file is read each time a store is opened, so a key can change without a restart. ValueError for a
    file that cannot be read or holds no such profile.
    """
    options = {"allow_http": environ["AWS_ALLOW_HTTP"]} if environ.get("AWS_ALLOW_HTTP") else {}
    path = environ.get("AWS_SHARED_CREDENTIALS_FILE")
    if not path or environ.get("AWS_ACCESS_KEY_ID"):
        return options
    return options | _credentials(Path(path), environ.get("AWS_PROFILE") or "default")


def _credentials(path: Path, profile: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        parser.read_string(path.read_text(), str(path))
        section = parser[profile]
        missing = [key for key in _KEYS[:2] if not section.get(key)]
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError) as problem:
        raise ValueError(f"credentials of profile {profile!r} in {path}: {problem}") from problem
    if missing:
        raise ValueError(f"credentials of profile {profile!r} in {path}: no {' and no '.join(missing)}")
    return {key: section[key] for key in _KEYS if key in section}
