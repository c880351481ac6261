"""Lists, page by page."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from google.protobuf.message import Message

Request = TypeVar("Request", bound=Message)
Page = TypeVar("Page", bound=Message)


def pages(call: Callable[[Request], Page], request: Request) -> Iterator[Page]:
    """The pages of a list, from `request.page_token` on. `call` is a List method of a stub; `request` is
    not changed.

    for page in pages(recast.backups.ListBackups, ListBackupsRequest(parent="projects/demo")):
        for backup in page.backups: ...
    """
    following: Any = type(request)()
    following.CopyFrom(request)
    while True:
        page: Any = call(following)
        yield page
        if not page.next_page_token:
            return
        following.page_token = page.next_page_token
